package xform

import (
	"context"
	"errors"
)

var (
	errSteps = errors.New("more instructions than allowed; does the program end?")
	errWork  = errors.New("more data to go through than allowed")
)

// stopped is the channel of a context that is over.
var stopped = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// budget is what a run may still use. It is the context of the run too, since
// gojq asks its context before each instruction: that is where they are
// counted. It belongs to one run in one goroutine.
type budget struct {
	context.Context // the caller's, with the deadline

	done  <-chan struct{}
	steps int
	work  int
	broke error // why the run was stopped; nil while it may go on
}

func newBudget(ctx context.Context, l Limits) *budget {
	return &budget{Context: ctx, done: ctx.Done(), steps: l.Steps, work: l.Work}
}

// Done counts an instruction.
func (b *budget) Done() <-chan struct{} {
	if b.steps--; b.steps < 0 && b.broke == nil {
		b.broke = errSteps
	}
	if b.broke != nil {
		return stopped
	}
	return b.done
}

// Err says why the run is over.
func (b *budget) Err() error {
	if b.broke != nil {
		return b.broke
	}
	return b.Context.Err()
}

// charge takes bytes from the budget. Where there are not enough the run is
// over: the program can catch the error, but its next instruction does not come.
func (b *budget) charge(bytes int) error {
	if b.broke == nil && (bytes < 0 || bytes > b.work) {
		b.broke = errWork
	}
	if b.broke != nil {
		return b.broke
	}
	b.work -= bytes
	return nil
}

// weigh charges the size of values so many times over.
func (b *budget) weigh(times int, values ...any) error {
	for _, value := range values {
		if b.broke != nil {
			return b.broke
		}
		size, err := weigh(value, b.work)
		if err != nil {
			return err
		}
		if err := b.charge(size * times); err != nil {
			return err
		}
	}
	return nil
}

// product charges what comparing each with each costs.
func (b *budget) product(n, m int) error {
	if n > 0 && m > b.work/n {
		return b.charge(-1)
	}
	return b.charge(n * m)
}
