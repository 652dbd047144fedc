package graph_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/graph"
	"outlook-connector/internal/retry"
)

// crowd has n commands of one mailbox wait for their turns, each with a wait of
// its own where it is sent away, and returns how often they asked and how long it
// took.
func crowd(t *testing.T, c *graph.Client, n int, service time.Duration, most *atomic.Int64) (asked int64, took time.Duration) {
	t.Helper()
	var asks, running atomic.Int64
	var wait sync.WaitGroup
	started := time.Now()
	for range n {
		wait.Go(func() {
			for {
				asks.Add(1)
				release, pause, ok := c.QueueSlot(t.Context(), "me")
				if !ok {
					_ = retry.Sleep(t.Context(), pause)
					continue
				}
				most.Store(max(most.Load(), running.Add(1)))
				_ = retry.Sleep(t.Context(), service)
				running.Add(-1)
				release()
				return
			}
		})
	}
	wait.Wait()
	return asks.Load(), time.Since(started)
}

func TestABusyMailboxIsUsedToTheFull(t *testing.T) {
	t.Parallel()
	for _, service := range []time.Duration{40 * time.Millisecond, 100 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			const n = 2000
			var most atomic.Int64
			asked, took := crowd(t, idle(t, graph.Limits{}), n, service, &most)
			ideal := n / 4 * service
			t.Logf("%v: %v for what ideally takes %v, asked %.2f times each", service, took, ideal, float64(asked)/n)
			if most.Load() > 4 || took > ideal*105/100 {
				t.Errorf("%v: %d at once, %v for what ideally takes %v", service, most.Load(), took, ideal)
			}
			if asked > 6*n {
				t.Errorf("%v: %d asked %d times", service, n, asked)
			}
		})
	}
}

func TestAtMost16WaitAtHandForAMailbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := idle(t, graph.Limits{})
		hold := func() func() {
			release, _, ok := c.QueueSlot(t.Context(), "me")
			if !ok {
				t.Fatal("no slot")
			}
			return release
		}
		releases := []func(){hold(), hold(), hold(), hold()}
		var back, got atomic.Int64
		var wait sync.WaitGroup
		for range 30 {
			wait.Go(func() {
				release, pause, ok := c.QueueSlot(t.Context(), "me")
				if !ok {
					if back.Add(1); pause <= 0 {
						t.Error("sent away for no time")
					}
					return
				}
				got.Add(1)
				release()
			})
			synctest.Wait()
		}
		if back.Load() != 14 {
			t.Errorf("%d of 30 were sent away at once, want 14", back.Load())
		}
		if release := c.FreeSlot(t.Context(), "me"); release != nil {
			t.Error("there was a free slot")
		}
		if release := c.FreeSlot(t.Context(), "other"); release == nil {
			t.Error("another mailbox has none")
		} else {
			release()
		}
		for _, release := range releases {
			release()
		}
		wait.Wait()
		if got.Load() != 16 {
			t.Errorf("%d got a slot", got.Load())
		}
	})
}

func TestPollsAreNotKeptAwayByCommandsThatWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := idle(t, graph.Limits{Concurrency: 1})
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		for range 20 { // one after the other, all the time
			wait.Go(func() {
				for ctx.Err() == nil {
					release, pause, ok := c.QueueSlot(ctx, "me")
					if !ok {
						_ = retry.Sleep(ctx, pause)
						continue
					}
					_ = retry.Sleep(t.Context(), 300*time.Millisecond)
					release()
				}
			})
		}
		_ = retry.Sleep(t.Context(), time.Second)
		for range 10 {
			asked := time.Now()
			release, pause, ok := c.InsistSlot(t.Context(), "me")
			if took := time.Since(asked); !ok || took > 400*time.Millisecond {
				t.Errorf("a poll waits %v for a slot, then %v (%v)", took, pause, ok)
				continue
			}
			_ = retry.Sleep(t.Context(), 100*time.Millisecond)
			release()
		}
		cancel()
		wait.Wait()
	})
}

func TestNobodyIsSentAwayForMoreThanTenMinutesAndNotAllTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := idle(t, graph.Limits{Concurrency: 1})
		release, _, _ := c.QueueSlot(t.Context(), "me")
		defer release()
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // so that nobody waits at hand
		minutes := map[int]int{}
		const n = 60_000
		for range n {
			_, wait, ok := c.QueueSlot(ctx, "me")
			if ok || wait <= 0 || wait > 10*time.Minute {
				t.Fatalf("sent away for %v", wait)
			}
			minutes[int(wait.Minutes())]++
		}
		for minute, count := range minutes {
			if count > n/4 {
				t.Errorf("%d of %d come back in minute %d", count, n, minute)
			}
		}
	})
}

func TestNobodyStartsBeforeARetryAfterIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := idle(t, graph.Limits{})
		release, _, _ := c.QueueSlot(t.Context(), "me")
		over := time.Now().Add(5 * time.Second)
		c.Park("me", over)
		release()
		var wait sync.WaitGroup
		for range 30 {
			wait.Go(func() {
				for {
					release, pause, ok := c.QueueSlot(t.Context(), "me")
					if ok {
						if time.Now().Before(over) {
							t.Errorf("one began %v early", time.Until(over))
						}
						release()
						return
					}
					_ = retry.Sleep(t.Context(), pause)
				}
			})
		}
		wait.Wait()
		if late := time.Since(over); late > 2*time.Second {
			t.Errorf("the last of 30 began %v after the wait was over", late)
		}
	})
}
