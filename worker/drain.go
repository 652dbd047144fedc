package worker

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// drainGrace is how long commands in hand may go on after the stop began.
	drainGrace = 20 * time.Second
	// drainRest is what the work in hand leaves of the time for a stop to what
	// comes after it: the leases are given back, the connection is drained, and an
	// embedded server closes its files.
	drainRest = 3 * time.Second
	// overtime is how long a step may go on after the end of that time: one that
	// minds its context needs a moment to return.
	overtime = 500 * time.Millisecond
)

// errOvertime is that of a step that did not mind its context.
var errOvertime = errors.New("it does not end")

// stop is a named step of the way down.
type stop struct {
	name string
	fn   func(ctx context.Context) error
}

// onStop registers a step of the way down.
func (w *Worker) onStop(name string, fn func(ctx context.Context) error) {
	w.stops = append(w.stops, stop{name, fn})
}

// unwind runs the stops, the last one first, all of them whatever they say.
func (w *Worker) unwind(ctx context.Context) error {
	var problems []error
	for len(w.stops) > 0 {
		last := w.stops[len(w.stops)-1]
		w.stops = w.stops[:len(w.stops)-1]
		if err := last.run(ctx); err != nil {
			problems = append(problems, fmt.Errorf("stop %s: %w", last.name, err))
		}
	}
	return errors.Join(problems...)
}

// run runs a step, which is left behind where it goes on for much longer than
// ctx: the process is about to be killed anyway, and the steps below it have work
// of their own to save.
func (s stop) run(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.fn(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(overtime)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return fmt.Errorf("%w: %w", errOvertime, context.Cause(ctx))
	}
}

// awaitWork waits until the work in hand has ended, but leaves a part of the time
// to the steps that come after it.
func awaitWork(ctx context.Context, ended <-chan struct{}) error {
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, left-min(drainRest, left/8))
		defer cancel()
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("work in hand did not end in time: %w", context.Cause(ctx))
	}
}
