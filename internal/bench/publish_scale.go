package bench

import (
	"context"
	"runtime"
	"time"
)

// Scale measures what several workers carry out together, with the parts of
// [Publish]: first one number of workers, then the next, on a server of their own
// each. There is no bare loop beside them.
type Scale struct {
	// Publish says how the commands come. Its Workers are not looked at, and of its
	// Delays the first one counts; none means 100 ms.
	Publish
	// Workers are the numbers of workers. None means 1, 2 and 4.
	Workers []int
}

// ScaleReport is what came out.
type ScaleReport struct {
	CPUs      int        `json:"cpus"`
	OS        string     `json:"os"`
	Mailboxes int        `json:"mailboxes"`
	InFlight  int        `json:"in_flight"` // of each worker
	Delivery  string     `json:"delivery"`
	Delay     float64    `json:"delay_seconds"`
	Runs      []ScaleRun `json:"runs"`
}

// ScaleRun is what some workers came to.
type ScaleRun struct {
	Round   int `json:"round"`
	Workers int `json:"workers"`
	PublishMeasured
	// Ratio is the rate ÷ that of the first number of workers in the same round.
	Ratio float64 `json:"ratio"`
}

// Run measures. It returns an error where a command was not done, or its outcome
// is not stored.
func (s Scale) Run(ctx context.Context) (ScaleReport, error) {
	if len(s.Workers) == 0 {
		s.Workers = []int{1, 2, 4}
	}
	if len(s.Delays) == 0 {
		s.Delays = []time.Duration{100 * time.Millisecond}
	}
	p := s.withDefaults()
	report := ScaleReport{
		CPUs: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH,
		Mailboxes: p.Mailboxes, InFlight: p.InFlight, Delivery: p.Delivery, Delay: p.Delays[0].Seconds(),
	}
	for round := range p.Rounds {
		var first float64
		for _, n := range s.Workers {
			p.Workers = n
			m, err := p.one(ctx, PublishRun{Round: round + 1, SyncAlways: p.SyncAlways, Delay: p.Delays[0]}, false)
			if err != nil {
				return report, err
			}
			if first == 0 {
				first = m.Rate
			}
			report.Runs = append(report.Runs, ScaleRun{Round: round + 1, Workers: n, PublishMeasured: m, Ratio: m.Rate / first})
		}
	}
	return report, nil
}

// Median returns the median, least and most of the ratios of a number of workers
// over the rounds.
func (r ScaleReport) Median(workers int) (median, least, most float64) {
	var ratios []float64
	for _, run := range r.Runs {
		if run.Workers == workers {
			ratios = append(ratios, run.Ratio)
		}
	}
	return spread(ratios)
}
