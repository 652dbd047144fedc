package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Feeds measures the schedule of many feeds to which nothing comes: a NATS
// server, a subscriber with the queue, the cursors and the schedule that a
// worker gives it, and in place of Microsoft Graph a function that answers with
// an empty delta page after Latency. Slots and HTTP are left out. Each is a
// process of its own. The raw figure is a bare loop over the same consumer that
// gives each message back with the same delay. Zero values mean what the
// comments say.
type Feeds struct {
	// Command is how this program is told to be a part (see [Part]).
	Command []string
	// Counts are the numbers of feeds to measure with, one after the other. None
	// means 10,000.
	Counts []int
	// Every is the time between two polls of a feed. Zero means 10 s.
	Every time.Duration
	// For is how long each measurement lasts once every feed has been polled.
	// Zero means three times Every, at least 20 s.
	For time.Duration
	// Latency is how long the answer to a poll takes, half of it to one and a
	// half times. Zero means that it is there at once.
	Latency time.Duration
	// Parallel is how many feeds are polled at a time. Zero means 64, as in a
	// worker.
	Parallel int
	// NATS is the address of a server to use; empty starts one for each
	// measurement, which syncs every write as the embedded one does. Streams with
	// a prefix of their own are made there and removed in the end.
	NATS string
	// Progress is told what comes next; nil means nobody is.
	Progress func(what string)
}

// FeedsReport is what came out.
type FeedsReport struct {
	CPUs     int           `json:"cpus"`
	OS       string        `json:"os"`
	Every    time.Duration `json:"every"`
	Latency  time.Duration `json:"latency"`
	Parallel int           `json:"parallel"`
	Runs     []FeedsRun    `json:"runs"`
}

// FeedsRun is one measurement and the raw one beside it.
type FeedsRun struct {
	Feeds      int           `json:"feeds"`
	Subscriber FeedsMeasured `json:"subscriber"`
	Raw        FeedsMeasured `json:"raw"`
}

// FeedsMeasured is what one of the two came to.
type FeedsMeasured struct {
	FeedsResult

	// CPU seconds of a second, which is how many cores are busy, and microseconds
	// for each poll; zero where the system does not tell of other processes.
	WorkerCores   float64 `json:"worker_cores"`
	ServerCores   float64 `json:"server_cores"`
	WorkerPerPoll float64 `json:"worker_us_per_poll"`
	ServerPerPoll float64 `json:"server_us_per_poll"`
	// WorkerRSS and ServerRSS are bytes at the end, PerFeed what a feed has of
	// the worker's beside what an idle one takes.
	WorkerRSS int64 `json:"worker_rss"`
	ServerRSS int64 `json:"server_rss"`
	// Written are the bytes that the server had written to its disk.
	Written int64 `json:"server_written_bytes"`
}

// Run measures.
func (f Feeds) Run(ctx context.Context) (FeedsReport, error) {
	f.Every, f.Parallel = cmp.Or(f.Every, 10*time.Second), cmp.Or(f.Parallel, 64)
	f.For = cmp.Or(f.For, max(3*f.Every, 20*time.Second))
	if len(f.Counts) == 0 {
		f.Counts = []int{10_000}
	}
	report := FeedsReport{
		CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Every: f.Every, Latency: f.Latency, Parallel: f.Parallel,
	}
	for _, n := range f.Counts {
		run := FeedsRun{Feeds: n}
		for _, raw := range []bool{true, false} {
			measured, err := f.measure(ctx, n, raw)
			if err != nil {
				return report, err
			}
			if raw {
				run.Raw = measured
			} else {
				run.Subscriber = measured
			}
		}
		report.Runs = append(report.Runs, run)
	}
	return report, nil
}

// measure makes one measurement on a server of its own, or with streams of its
// own.
func (f Feeds) measure(ctx context.Context, feeds int, raw bool) (m FeedsMeasured, err error) {
	frame := frame{command: f.Command, nats: f.NATS, progress: f.Progress}
	err = frame.withServer(ctx, true, "", func(s server) (err error) {
		m, err = f.poll(ctx, frame, s, feeds, raw)
		return err
	})
	return m, err
}

// poll makes one measurement with a server.
func (f Feeds) poll(ctx context.Context, frame frame, s server, feeds int, raw bool) (m FeedsMeasured, err error) {
	spec := FeedsSpec{
		URL: s.url, Raw: raw,
		Feeds: feeds, Every: f.Every, For: f.For, Latency: f.Latency, Parallel: f.Parallel,
	}
	what := "subscriber"
	if raw {
		what = "bare loop"
	}
	frame.tell("%d feeds every %s, %s", feeds, f.Every, what)
	p, err := spawn(ctx, what, f.Command, Spec{Feeds: &spec})
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	if _, err := p.hear(ctx); err != nil { // every feed has been polled
		return m, err
	}
	workerBefore, serverBefore, writtenBefore := p.usage(), s.usage(), writtenBy(s.own)
	result, err := p.hear(ctx)
	if err != nil {
		return m, err
	}
	if result.Feeds == nil || result.Feeds.Polls == 0 {
		return m, fmt.Errorf("the %s polled nothing", what)
	}
	m.FeedsResult = *result.Feeds
	workerAfter, serverAfter := p.usage(), s.usage()
	m.Written = writtenBy(s.own) - writtenBefore
	m.WorkerRSS, m.ServerRSS = workerAfter.RSS, serverAfter.RSS
	m.WorkerCores = (workerAfter.CPU - workerBefore.CPU) / m.Seconds
	m.ServerCores = (serverAfter.CPU - serverBefore.CPU) / m.Seconds
	m.WorkerPerPoll = 1e6 * (workerAfter.CPU - workerBefore.CPU) / float64(m.Polls)
	m.ServerPerPoll = 1e6 * (serverAfter.CPU - serverBefore.CPU) / float64(m.Polls)
	return m, nil
}

func writtenBy(p *process) int64 {
	if p == nil {
		return 0
	}
	return writtenOf(p.cmd.Process.Pid)
}
