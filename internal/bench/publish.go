package bench

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"
)

// Publish measures the way of commands from the stream to HTTP: a worker as it
// is deployed, and beside it a bare loop that takes the same messages from a
// stream and a consumer of the same kind, posts them and acknowledges them. A
// sink takes the requests and answers each after a delay. Each is a process of
// its own. Zero values mean what the comments say.
type Publish struct {
	// Command is how this program is told to be a part (see [Part]).
	Command []string
	// Delays are how long the sink takes for an answer, measured one after the
	// other. None means 0, 20 and 100 ms, or 20 ms alone with exactly_once.
	Delays []time.Duration
	// Messages is how many commands each measurement has at most. Zero means
	// 20,000.
	Messages int
	// For bounds the time of each measurement: it has no more commands than could
	// be done in this time if nothing but the delay took any. Zero means 5 s.
	For time.Duration
	// Size is how many bytes a command has. Zero means 1 KiB; 512 is the least.
	Size int
	// Mailboxes is over how many mailboxes they are spread, one after the other.
	// Zero means 1,000.
	Mailboxes int
	// InFlight is how many requests are made at a time. Zero means 64.
	InFlight int
	// Workers is how many workers take the commands, each with InFlight requests at
	// a time. Zero means 1. The bare loop is one in any case.
	Workers int
	// Delivery is the publisher's. Empty means at_least_once.
	Delivery string
	// Pace is how many commands a second are sent for the time from sending one to
	// its end, and Paced how many of them. Zero means 200 and 400.
	Pace, Paced int
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
	// profiles of the server and the bare loop; empty means none.
	Profile string
	// Progress is told what comes next; nil means nobody is.
	Progress func(what string)
}

// PublishReport is what came out.
type PublishReport struct {
	CPUs      int          `json:"cpus"`
	OS        string       `json:"os"`
	Size      int          `json:"size"` // of a command, in bytes
	Mailboxes int          `json:"mailboxes"`
	InFlight  int          `json:"in_flight"`
	Delivery  string       `json:"delivery"`
	Pace      int          `json:"paced_per_second"`
	Runs      []PublishRun `json:"runs"`
	// Ratios are over all rounds, one for each delay and kind of server.
	Ratios []PublishRatio `json:"ratios"`
}

// PublishRun is one measurement of the worker and of the bare loop beside it.
type PublishRun struct {
	Round      int             `json:"round"`
	SyncAlways bool            `json:"sync_always"`
	Delay      time.Duration   `json:"delay"`
	Worker     PublishMeasured `json:"worker"`
	Bare       PublishMeasured `json:"bare"`
	// Ratio is the worker's rate ÷ the bare loop's, where both make the same
	// number of requests; with exactly_once it is that of their requests.
	Ratio float64 `json:"ratio"`
	// CPURatio is the CPU time that the worker takes for a command ÷ the bare
	// loop's; zero where that cannot be told.
	CPURatio float64 `json:"cpu_ratio"`
}

// PublishMeasured is what one of the two came to.
type PublishMeasured struct {
	// Commands were done in Seconds, from the first request on until the last
	// command was acknowledged.
	Commands int     `json:"commands"`
	Seconds  float64 `json:"seconds"`
	// Rate is commands a second. Calls is how many requests each took.
	Rate  float64 `json:"rate"`
	Calls float64 `json:"calls"`
	// P50 and P99 are milliseconds from sending a command to its acknowledgment,
	// at [PublishReport.Pace].
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
	// CPU, ServerCPU and SinkCPU are CPU seconds for 10,000 commands; zero where
	// that cannot be told.
	CPU       float64 `json:"cpu_seconds_per_10000"`
	ServerCPU float64 `json:"server_cpu_seconds_per_10000"`
	SinkCPU   float64 `json:"sink_cpu_seconds_per_10000"`
	// RSSPeak is its memory at its highest, in bytes.
	RSSPeak int64 `json:"rss_peak"`
	// MostInFlight is how many requests the sink had at most at a time,
	// Connections how many connections.
	MostInFlight int `json:"most_in_flight"`
	Connections  int `json:"connections"`
	// Repeats is how many commands were done again.
	Repeats int `json:"repeats"`
}

// PublishRatio is a ratio over all rounds.
type PublishRatio struct {
	SyncAlways bool          `json:"sync_always"`
	Delay      time.Duration `json:"delay"`
	// Median, Least and Most are over the rounds.
	Median float64 `json:"median"`
	Least  float64 `json:"least"`
	Most   float64 `json:"most"`
	// Target is what it should be at least; zero: nothing is set.
	Target float64 `json:"target,omitempty"`
	// CPU is the median of the ratios of CPU time, CPUTarget what it should be at
	// most; zero: nothing is set.
	CPU       float64 `json:"cpu_median"`
	CPUTarget float64 `json:"cpu_target,omitempty"`
}

// exactlyOnce is the delivery that may take several requests for a command.
const exactlyOnce = "exactly_once"

// targetsOf are the ratios to reach.
func targetsOf(delivery string, syncAlways bool, delay time.Duration) (rate, cpu float64) {
	const slow = 20 * time.Millisecond // from here on the answers take most of the time
	switch {
	case delivery == exactlyOnce:
		if !syncAlways && delay >= slow {
			return 0.95, 0
		}
	case delivery != "at_least_once":
	case syncAlways:
		return 0.4, 0
	case delay == slow:
		return 0.95, 2
	case delay > slow:
		return 0.95, 0
	case delay == 0:
		return 0.5, 0
	}
	return 0, 0
}

// Run measures. It returns an error where a command was not done, or its outcome
// is not stored.
func (p Publish) Run(ctx context.Context) (PublishReport, error) {
	p = p.withDefaults()
	report := PublishReport{
		CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Size: p.Size, Mailboxes: p.Mailboxes, InFlight: p.InFlight, Delivery: p.Delivery, Pace: p.Pace,
	}
	kinds := []bool{false, true}
	if p.SyncAlways || p.NATS != "" {
		kinds = []bool{p.SyncAlways}
	}
	for round := range p.Rounds {
		for _, syncAlways := range kinds {
			for _, delay := range p.Delays {
				run, err := p.measure(ctx, PublishRun{Round: round + 1, SyncAlways: syncAlways, Delay: delay})
				if err != nil {
					return report, err
				}
				report.Runs = append(report.Runs, run)
			}
		}
	}
	for _, syncAlways := range kinds {
		for _, delay := range p.Delays {
			report.Ratios = append(report.Ratios, publishRatio(report.Runs, p.Delivery, syncAlways, delay))
		}
	}
	return report, nil
}

func (p Publish) workers() int { return max(p.Workers, 1) }

func (p Publish) withDefaults() Publish {
	p.Messages, p.For = cmp.Or(p.Messages, 20_000), cmp.Or(p.For, 5*time.Second)
	p.Size, p.Mailboxes, p.InFlight = cmp.Or(p.Size, 1<<10), cmp.Or(p.Mailboxes, 1000), cmp.Or(p.InFlight, 64)
	p.Delivery, p.Pace, p.Paced, p.Rounds = cmp.Or(p.Delivery, "at_least_once"), cmp.Or(p.Pace, 200), cmp.Or(p.Paced, 400), cmp.Or(p.Rounds, 1)
	switch {
	case len(p.Delays) > 0:
	case p.Delivery == exactlyOnce:
		p.Delays = []time.Duration{20 * time.Millisecond}
	default:
		p.Delays = []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond}
	}
	return p
}

// measure makes both measurements. Which is first changes with the round, so that
// none is always the one for which the disk is still busy.
func (p Publish) measure(ctx context.Context, run PublishRun) (PublishRun, error) {
	steps := []func() (err error){
		func() (err error) {
			run.Bare, err = p.one(ctx, run, true)
			return err
		},
		func() (err error) {
			run.Worker, err = p.one(ctx, run, false)
			return err
		},
	}
	if run.Round%2 == 0 {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return run, err
		}
	}
	run.Ratio = run.Worker.Rate / run.Bare.Rate
	if p.Delivery == exactlyOnce {
		run.Ratio *= run.Worker.Calls
	}
	if run.Bare.CPU > 0 {
		run.CPURatio = run.Worker.CPU / run.Bare.CPU
	}
	return run, nil
}

// publishRatio sums up the rounds of one kind.
func publishRatio(runs []PublishRun, delivery string, syncAlways bool, delay time.Duration) PublishRatio {
	r := PublishRatio{SyncAlways: syncAlways, Delay: delay}
	r.Target, r.CPUTarget = targetsOf(delivery, syncAlways, delay)
	var rates, cpu []float64
	for _, run := range runs {
		if run.SyncAlways == syncAlways && run.Delay == delay {
			rates, cpu = append(rates, run.Ratio), append(cpu, run.CPURatio)
		}
	}
	r.Median, r.Least, r.Most = spread(rates)
	r.CPU, _, _ = spread(cpu)
	return r
}
