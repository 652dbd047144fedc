package retry_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

func TestNextNeverComesBackEarlierThanAsked(t *testing.T) {
	t.Parallel()
	b := retry.New(retry.Policy{Initial: time.Millisecond, Max: time.Second})
	asked := &fault.Error{Kind: fault.Retry, After: 42 * time.Second, Err: errors.New("429")}
	if got := b.Next(fmt.Errorf("poll: %w", asked)); got != 42*time.Second {
		t.Errorf("Next = %v, want the 42 s that were asked for", got)
	}
}

func TestNextGrowsAndNeverGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := retry.New(retry.Policy{})
		first, last := b.Next(nil), time.Duration(0)
		for range 200 {
			_ = retry.Sleep(t.Context(), 10*time.Minute)
			if last = b.Next(nil); last < 0 {
				t.Fatal("the backoff gave up")
			}
		}
		if first > 750*time.Millisecond || last < 30*time.Second || last > 90*time.Second {
			t.Errorf("first wait %v, last %v; want about 0.5 s and about 60 s", first, last)
		}
		b.Reset()
		if got := b.Next(nil); got > 750*time.Millisecond {
			t.Errorf("wait after Reset = %v", got)
		}
	})
}

func TestDelayStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := retry.Policy{
			Initial:    time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "initial")),
			Max:        time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "max")),
			Multiplier: rapid.Float64Range(1, 10).Draw(t, "multiplier"),
		}
		attempt := rapid.IntRange(-1, math.MaxInt).Draw(t, "attempt")
		after := time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "after"))
		got := p.Delay(attempt, &fault.Error{Kind: fault.Retry, After: after, Err: errors.New("x")})
		if got < after || got > max(after, p.Max) || got < min(p.Initial, p.Max)/4 {
			t.Fatalf("Delay = %v with %+v", got, p)
		}
	})
}

func TestDelayGrowsOnRepeats(t *testing.T) {
	t.Parallel()
	var early, late time.Duration
	for range 200 {
		early += retry.Delay(1, nil)
		late += retry.Delay(8, nil)
	}
	if late < 10*early {
		t.Errorf("200 waits after attempt 8 sum to %v, after attempt 1 to %v", late, early)
	}
}

func TestDoRepeatsOnlyWhatIsSafe(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	cases := []struct {
		name  string
		err   error
		calls int
	}{
		{"retry", &fault.Error{Kind: fault.Retry, Err: boom}, 3},
		{"unmarked", boom, 3},
		{"ambiguous", &fault.Error{Kind: fault.Retry, Ambiguous: true, Err: boom}, 1},
		{"poison", &fault.Error{Kind: fault.Poison, Err: boom}, 1},
		{"reauth", &fault.Error{Kind: fault.Reauth, Err: boom}, 1},
		{"resync", &fault.Error{Kind: fault.Resync, Err: boom}, 1},
		{"fatal", &fault.Error{Kind: fault.Fatal, Err: boom}, 1},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				err := retry.Do(t.Context(), retry.Policy{Attempts: 3}, func(context.Context) error {
					calls++
					return tc.err
				})
				if calls != tc.calls || !errors.Is(err, boom) {
					t.Errorf("%d calls, error %v; want %d calls and the cause", calls, err, tc.calls)
				}
			})
		})
	}
}

func TestDoEndsWithTheFirstSuccess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		started := time.Now()
		err := retry.Do(t.Context(), retry.Policy{}, func(context.Context) error {
			if calls++; calls < 3 {
				return &fault.Error{Kind: fault.Retry, After: 20 * time.Second, Err: errors.New("429")}
			}
			return nil
		})
		if took := time.Since(started); err != nil || calls != 3 || took < 40*time.Second {
			t.Errorf("err %v after %d calls and %v; want success at call 3, 40 s later", err, calls, took)
		}
	})
}

func TestDoKeepsTheCauseWhenTheContextEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stopping := errors.New("stopping")
		ctx, cancel := context.WithCancelCause(t.Context())
		boom := errors.New("boom")
		err := retry.Do(ctx, retry.Policy{}, func(context.Context) error {
			cancel(stopping)
			return &fault.Error{Kind: fault.Retry, Code: "busy", Err: boom}
		})
		for _, want := range []error{boom, stopping, context.Canceled} {
			if !errors.Is(err, want) {
				t.Errorf("%v is not in the chain of %v", want, err)
			}
		}
		if !fault.Stopped(ctx, err) || fault.Of(err).Code != "busy" {
			t.Errorf("the mark or the stop is lost in %v", err)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		started := time.Now()
		if err := retry.Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Sleep = %v, want the deadline", err)
		}
		if took := time.Since(started); took != time.Second {
			t.Errorf("slept %v", took)
		}
		if err := retry.Sleep(ctx, 0); err == nil {
			t.Error("Sleep under an ended context must say so even without a wait")
		}
		if err := retry.Sleep(t.Context(), time.Minute); err != nil || time.Since(started) != time.Second+time.Minute {
			t.Errorf("Sleep = %v at %v", err, time.Since(started))
		}
	})
}
