package graph

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"outlook-connector/internal/retry"
)

func TestIdleMailboxesAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLimiter(LimiterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 1000 {
			key := fmt.Sprint(n)
			release, _, _ := l.take(t.Context(), key)
			done, _, _ := l.charge(t.Context(), key, 10)
			done()
			if n%2 == 0 {
				l.throttled(key, 0)
			}
			release()
		}
		held, _, _ := l.take(t.Context(), "held")
		_ = retry.Sleep(t.Context(), 12*time.Minute)
		l.charge(t.Context(), "new", 0)
		if len(l.boxes) != 2 {
			t.Errorf("%d mailboxes are remembered, want the held one and the new one", len(l.boxes))
		}
		held()
	})
}

func TestAWindowNeverHoldsMoreThanItsLimit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const span = 10 * time.Minute
		limit := rapid.Int64Range(1, 50).Draw(t, "limit")
		w := newWindow(span, limit)
		now := time.Unix(1_700_000_000, 0)
		type use struct {
			at time.Time
			n  int64
		}
		var uses []use
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(span/4)).Draw(t, "pause")))
			n := rapid.Int64Range(1, limit).Draw(t, "n")
			at := w.freeAt(now, n)
			if at.After(now) {
				if at.Sub(now) > span+span/buckets {
					t.Fatalf("asked to wait %v", at.Sub(now))
				}
				if rapid.Bool().Draw(t, "give up") {
					continue
				}
				now = at
				if w.freeAt(now, n).After(now) {
					t.Fatalf("no room at the time that was promised")
				}
			}
			w.add(now, n)
			uses = append(uses, use{now, n})
			var sum int64
			for _, u := range uses {
				if now.Sub(u.at) < span {
					sum += u.n
				}
			}
			if sum > limit {
				t.Fatalf("%d within %v, limit %d", sum, span, limit)
			}
		}
	})
}

func TestWhatIsOverTheLimitByItselfPassesAlone(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	w := newWindow(time.Minute, 10)
	if at := w.freeAt(now, 11); at.After(now) {
		t.Errorf("has to wait until %v", at)
	}
	w.add(now, 11)
	if at := w.freeAt(now, 11); !at.After(now.Add(time.Minute - time.Second)) {
		t.Errorf("a second one passes at %v", at)
	}
}
