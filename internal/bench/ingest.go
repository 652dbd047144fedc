package bench

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"time"
)

// Ingest measures the way of pages into the stream, end to end: a sink serves
// delta pages, a worker as it is deployed reads, splits and commits them, and a
// NATS server stores them; each is a process of its own. Zero values mean what
// the comments say.
type Ingest struct {
	// Command is how this program is told to be a part (see [Part]).
	Command []string
	// Feeds is how many mailboxes are read at the same time. Zero means 16.
	Feeds int
	// Pages is how many pages each of them has. Zero means 64, or no bound where
	// For is set.
	Pages int
	// Items is how many items a page has. Zero means 100.
	Items int
	// Size is how many bytes an item has, at least 1 KiB. Zero means 4 KiB.
	Size int
	// For bounds the time of each measurement. Zero means no bound.
	For time.Duration
	// NATS is the address of a server to use; empty starts one for each
	// measurement. Streams with a prefix of their own are made there and removed
	// in the end.
	NATS string
	// SyncAlways measures with a server that syncs before each answer and leaves
	// out the other one. With NATS it says what that server does.
	SyncAlways bool
	// Rounds is how often all is measured, for the spread. Zero means 1.
	Rounds int
	// Profile is a folder for CPU and heap profiles of the worker and the CPU
	// profile of the server; empty means none.
	Profile string
	// Progress is told what comes next; nil means nobody is.
	Progress func(what string)
}

// IngestReport is what came out.
type IngestReport struct {
	CPUs  int           `json:"cpus"`
	OS    string        `json:"os"`
	Feeds int           `json:"feeds"`
	Pages int           `json:"pages,omitempty"` // of each feed; 0: as many as fit into For
	Items int           `json:"items"`           // of a page
	Size  int           `json:"size"`            // of an item, in bytes
	For   time.Duration `json:"for,omitempty"`
	Runs  []IngestRun   `json:"runs"`
	// Ratios are over all rounds, one for each kind of server.
	Ratios []Ratio `json:"ratios"`
}

// IngestRun is one measurement and the raw one beside it.
type IngestRun struct {
	Round      int  `json:"round"`
	SyncAlways bool `json:"sync_always"`
	// Entities were read and stored, in Seconds.
	Entities int     `json:"entities"`
	Seconds  float64 `json:"seconds"`
	// Rate is entities a second, MBps the megabytes of their bodies.
	Rate float64 `json:"rate"`
	MBps float64 `json:"mb_per_second"`
	// P50 and P99 are the milliseconds from a feed's asking for a page to its
	// asking for the next one, which is when the page is stored.
	P50 float64 `json:"page_p50_ms"`
	P99 float64 `json:"page_p99_ms"`
	// WorkerCPU, ServerCPU and SinkCPU are CPU seconds for 10,000 entities; zero
	// where that cannot be told.
	WorkerCPU float64 `json:"worker_cpu_seconds_per_10000"`
	ServerCPU float64 `json:"server_cpu_seconds_per_10000"`
	SinkCPU   float64 `json:"sink_cpu_seconds_per_10000"`
	// RSSIdle is the worker's memory before the first page, RSSPeak at its
	// highest, in bytes; zero where that cannot be told.
	RSSIdle int64 `json:"worker_rss_idle"`
	RSSPeak int64 `json:"worker_rss_peak"`
	// RawKind is "async" or "one by one", RawRate its messages a second. They are
	// the very same messages: subjects, headers, TTL and bodies.
	RawKind  string  `json:"raw_kind"`
	RawCount int     `json:"raw_messages"`
	RawRate  float64 `json:"raw_rate"`
	// BareRate is that of the bodies alone, on one subject and without headers.
	BareRate float64 `json:"bare_rate"`

	like []Sample // events that were stored
	// Ratio is Rate ÷ RawRate, BareRatio Rate ÷ BareRate.
	Ratio     float64 `json:"ratio"`
	BareRatio float64 `json:"bare_ratio"`
}

// Ratio is a ratio over all rounds.
type Ratio struct {
	SyncAlways bool   `json:"sync_always"`
	Against    string `json:"against"`
	// Median, Least and Most are over the rounds.
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
	// Target is what it should be at least.
	Target float64 `json:"target"`
}

// The kinds of raw publishing and the ratios to reach against them.
const (
	rawAsync       = "async"
	rawOneByOne    = "one by one"
	targetAsync    = 0.3
	targetOneByOne = 6
)

// oneByOneFor bounds the time of one-by-one publishing, which is slow and even.
const oneByOneFor = 5 * time.Second

// Run measures. It returns an error where anything that was read is not stored.
func (i Ingest) Run(ctx context.Context) (IngestReport, error) {
	i.Feeds, i.Items, i.Rounds = cmp.Or(i.Feeds, 16), cmp.Or(i.Items, 100), cmp.Or(i.Rounds, 1)
	i.Size = max(cmp.Or(i.Size, 4<<10), minItem)
	if i.For == 0 {
		i.Pages = cmp.Or(i.Pages, 64)
	}
	report := IngestReport{
		CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Feeds: i.Feeds, Pages: i.Pages, Items: i.Items, Size: i.Size, For: i.For,
	}
	kinds := []bool{false, true}
	if i.SyncAlways || i.NATS != "" {
		kinds = []bool{i.SyncAlways}
	}
	for round := range i.Rounds {
		for _, syncAlways := range kinds {
			run, err := i.measure(ctx, round+1, syncAlways)
			if err != nil {
				return report, err
			}
			report.Runs = append(report.Runs, run)
		}
	}
	for _, syncAlways := range kinds {
		report.Ratios = append(report.Ratios, ratioOf(report.Runs, syncAlways))
	}
	return report, nil
}

// ratioOf sums up the rounds of one kind.
func ratioOf(runs []IngestRun, syncAlways bool) Ratio {
	r := Ratio{SyncAlways: syncAlways, Target: targetAsync}
	if syncAlways {
		r.Target = targetOneByOne
	}
	var all []float64
	for _, run := range runs {
		if run.SyncAlways == syncAlways {
			all, r.Against = append(all, run.Ratio), run.RawKind
		}
	}
	r.Median, r.Least, r.Most = spread(all)
	return r
}

// measure makes one measurement and the raw ones. The order of these changes with
// the round, so that none is always the one for which the disk is still busy. They
// come after the pages, whose events they publish anew.
func (i Ingest) measure(ctx context.Context, round int, syncAlways bool) (run IngestRun, err error) {
	run = IngestRun{Round: round, SyncAlways: syncAlways, RawKind: rawAsync}
	if syncAlways {
		run.RawKind = rawOneByOne
	}
	if err := i.frame().withServer(ctx, syncAlways, i.profile(&run, "server.cpu"), func(s server) error { return i.pages(ctx, s, &run) }); err != nil {
		return run, err
	}
	steps := []func() error{
		func() error {
			var err error
			run.RawCount, run.RawRate, err = i.raw(ctx, &run, "the same messages", run.like)
			return err
		},
		func() error {
			var err error
			_, run.BareRate, err = i.raw(ctx, &run, "bare bodies", nil)
			return err
		},
	}
	if round%2 == 0 {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return run, err
		}
	}
	run.Ratio, run.BareRatio = run.Rate/run.RawRate, run.Rate/run.BareRate
	return run, nil
}

// raw publishes and does nothing else. It returns how many messages, and how many
// a second.
func (i Ingest) raw(ctx context.Context, run *IngestRun, what string, like []Sample) (count int, rate float64, err error) {
	spec := RawSpec{Async: run.RawKind == rawAsync, Like: like, Size: i.Size, For: i.For, Count: i.Feeds * i.Pages * i.Items}
	if i.Pages == 0 {
		spec.Count = 1 << 40 // as many as there is time for
	}
	if !spec.Async {
		spec.For = cmp.Or(i.For, oneByOneFor)
	}
	i.frame().tell("raw publishing, %s, %s%s", run.RawKind, what, synced(run.SyncAlways))
	err = i.frame().withServer(ctx, run.SyncAlways, "", func(s server) error {
		spec.URL = s.url
		p, err := spawn(ctx, "raw publisher", i.Command, Spec{Raw: &spec})
		if err != nil {
			return err
		}
		t, err := p.hear(ctx)
		if failed := p.end(); err == nil {
			err = failed
		}
		switch {
		case err != nil:
			return err
		case t.Result == nil || t.Result.Count == 0:
			return errors.New("the raw publisher told nothing")
		}
		count, rate = t.Result.Count, float64(t.Result.Count)/t.Result.Seconds
		return nil
	})
	return count, rate, err
}

// profile is the file for a profile of the measurement; empty means none.
func (i Ingest) profile(run *IngestRun, kind string) string {
	return i.frame().profileOf(run.SyncAlways, run.Round, kind)
}

func (i Ingest) frame() frame {
	return frame{command: i.Command, nats: i.NATS, profile: i.Profile, progress: i.Progress}
}
