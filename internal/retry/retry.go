// Package retry decides how long to wait before something is tried again, and
// waits. It is the one place that uses cenkalti/backoff and the one that reads
// a Retry-After header. It promises never to come back earlier than the other
// side asked for, never to give up because of a clock, and to keep the cause
// when a wait is cut short. Whether a repeat is allowed at all is the caller's
// question, except in [Do].
package retry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"outlook-connector/internal/fault"
)

// Policy says how waits grow. The zero value is usable.
type Policy struct {
	// Initial is the first wait, before jitter. Zero means 500 ms.
	Initial time.Duration
	// Max is the most that a wait grows to, before jitter; a longer wait that
	// the other side asked for is kept. Zero means 60 s.
	Max time.Duration
	// Multiplier is the growth from one wait to the next. Less than 1 means 2.
	Multiplier float64
	// Attempts is how often [Do] calls its function in all. Zero means 5. The
	// other uses of a Policy have no limit: a loop of a daemon must not stop.
	Attempts int
}

// withDefaults fills in what the zero value means.
func (p Policy) withDefaults() Policy {
	if p.Initial <= 0 {
		p.Initial = 500 * time.Millisecond
	}
	if p.Max <= 0 {
		p.Max = 60 * time.Second
	}
	p.Initial = min(p.Initial, p.Max)
	if !(p.Multiplier >= 1) { // NaN too
		p.Multiplier = 2
	}
	if p.Attempts <= 0 {
		p.Attempts = 5
	}
	return p
}

// Backoff is the waits of one operation: each is longer than the one before,
// give or take half. Make one per operation; it is not safe for concurrent
// use, like the library's value inside it.
type Backoff struct {
	waits *backoff.ExponentialBackOff
}

// New returns the waits of one operation from the start.
func New(p Policy) *Backoff {
	p = p.withDefaults()
	waits := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(p.Initial),
		backoff.WithMaxInterval(p.Max),
		backoff.WithMultiplier(p.Multiplier),
		// The library's default stops after 15 minutes, by which a loop of a
		// daemon would end silently.
		backoff.WithMaxElapsedTime(0),
	)
	return &Backoff{waits: waits}
}

// Next returns the wait before the next attempt: the backoff's, or what err
// asks for in [fault.Error.After], whichever is longer.
func (b *Backoff) Next(err error) time.Duration {
	return max(asked(err), b.waits.NextBackOff())
}

// Reset starts again with the first wait, after a success.
func (b *Backoff) Reset() { b.waits.Reset() }

// asked returns the wait that an error carries.
func asked(err error) time.Duration {
	if err == nil {
		return 0
	}
	return max(0, fault.Of(err).After)
}

// Delay returns the wait before attempt number attempt+1 for loops that keep
// the number of attempts elsewhere, such as in a ledger: full jitter under an
// exponential ceiling, but at least a quarter of Initial so that no loop spins,
// and never less than err asks for. Attempts count from 1; less means 1.
func (p Policy) Delay(attempt int, err error) time.Duration {
	p = p.withDefaults()
	ceiling := float64(p.Initial) * math.Pow(p.Multiplier, float64(max(attempt, 1)-1))
	if !(ceiling < float64(p.Max)) { // overflow to infinity too
		ceiling = float64(p.Max)
	}
	floor := float64(p.Initial) / 4
	wait := floor + rand.Float64()*(ceiling-floor)
	return max(asked(err), time.Duration(wait))
}

// Delay is [Policy.Delay] with the default policy.
func Delay(attempt int, err error) time.Duration { return Policy{}.Delay(attempt, err) }

// Do calls op until it succeeds, for uses where somebody waits for the answer.
// It repeats only what is safe to repeat: errors of kind Retry or Unknown that
// are not ambiguous. Any other error, and the error of the last attempt, comes
// back as it is. If ctx ends during a wait, the error has both the last error
// and the context's in its chain.
func Do(ctx context.Context, p Policy, op func(context.Context) error) error {
	p = p.withDefaults()
	waits := New(p)
	for attempt := 1; ; attempt++ {
		err := op(ctx)
		if err == nil {
			return nil
		}
		mark := fault.Of(err)
		again := (mark.Kind == fault.Retry || mark.Kind == fault.Unknown) && !mark.Ambiguous
		if !again || attempt >= p.Attempts || fault.Stopped(ctx, err) {
			return err
		}
		if stop := Sleep(ctx, waits.Next(err)); stop != nil {
			return fmt.Errorf("%w (no further attempt: %w)", err, stop)
		}
	}
}

// Sleep waits for d or until ctx ends. In the latter case it returns an error
// with both the context's error and its cause in the chain, at once if ctx has
// ended already. A d of zero or less does not wait.
func Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx)
	case <-timer.C:
		return nil
	}
}

// ended returns why ctx ended; errors.Is finds both ctx.Err and the cause.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}
