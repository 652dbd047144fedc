package worker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"outlook-connector/internal/jet"
)

func TestNoPlaceIsLostToOneWhoseWaitingEndsJustThen(t *testing.T) {
	t.Parallel()
	for n := range 6 {
		behind, said := n/2, n%2 == 0
		t.Run(fmt.Sprintf("%d behind it, said %v", behind, said), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newLobby(nil, map[string]int{"p": 1}).rooms["p"]
				before := r.free
				if _, ok := r.enter(t.Context(), jet.Message{}, writing); !ok {
					t.Fatal("no place")
				}
				ctx, end := context.WithCancel(t.Context())
				var all sync.WaitGroup
				all.Go(func() {
					if _, ok := r.enter(ctx, jet.Message{}, writing); ok {
						t.Error("a place for one that does not wait any more")
					}
				})
				synctest.Wait()
				got := 0
				for range behind {
					all.Go(func() {
						if _, ok := r.enter(t.Context(), jet.Message{}, writing); ok {
							got++
							r.leave(writing)
						}
					})
					synctest.Wait()
				}
				if said {
					end()
					synctest.Wait()
				}
				r.mu.Lock()
				end()
				r.give(writing.share()) // where the first one has heard of its end and not said so
				r.mu.Unlock()
				all.Wait()
				if got != behind || r.free != before || r.others.waiting() != 0 || len(r.others.of[writing].called) != 0 {
					t.Errorf("%d of %d got a place; %d shares are free, %d wait", got, behind, r.free, r.others.waiting())
				}
			})
		})
	}
}

// places fills a room with commands of a kind until one has to wait.
func places(t *testing.T, r *room, k kind) (n int) {
	t.Helper()
	for ; n < 1000; n++ {
		ctx, end := context.WithCancel(t.Context())
		end()
		if _, ok := r.enter(ctx, jet.Message{}, k); !ok {
			return n
		}
	}
	return n
}

func TestHalfAsManyMoreAreWrittenDownAsMakeRequests(t *testing.T) {
	t.Parallel()
	for size, want := range map[int]int{2: 1, 3: 2, 15: 10, 96: 64} { // places, requests
		if n := places(t, newRoom(size, true), writing); n != size {
			t.Errorf("%d places for %d that are written down", n, size)
		}
		if n := places(t, newRoom(size, true), straight); n != want {
			t.Errorf("%d places for %d requests", n, want)
		}
	}
}

func TestNobodyIsPassedOverForOneWhoTakesLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(3, true)
		for places(t, r, writing) < 3 { // all is taken
			t.Fatal("no places")
		}
		var order []kind
		var all sync.WaitGroup
		waiting := func(ctx context.Context, k kind) {
			all.Go(func() {
				if _, ok := r.enter(ctx, jet.Message{}, k); ok {
					order = append(order, k)
				}
			})
			synctest.Wait()
		}
		ctx, end := context.WithCancel(t.Context())
		waiting(ctx, straight)
		waiting(t.Context(), straight)
		waiting(t.Context(), writing)
		r.others.next = straight
		r.leave(writing)
		if synctest.Wait(); len(order) != 0 {
			t.Fatalf("%v took what the first one waits for", order)
		}
		end() // and the second one is first, which waits for the same
		if synctest.Wait(); len(order) != 0 {
			t.Fatalf("%v took what the first one waits for", order)
		}
		r.leave(writing)
		if synctest.Wait(); len(order) != 1 || order[0] != straight {
			t.Fatalf("%v have places, want the first", order)
		}
		r.leave(straight)
		all.Wait()
		if len(order) != 2 || order[1] != writing {
			t.Errorf("%v have places", order)
		}
	})
}

func TestOneWhoGivesUpLeavesTheWayToThoseWhoTakeLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(2, true)
		_, _ = r.enter(t.Context(), jet.Message{}, writing) // and there is room for one more of them
		ctx, end := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { _, _ = r.enter(ctx, jet.Message{}, straight) })
		synctest.Wait()
		entered := false
		all.Go(func() { _, entered = r.enter(t.Context(), jet.Message{}, writing) })
		if synctest.Wait(); entered {
			t.Fatal("it went past the one before it")
		}
		end()
		all.Wait()
		if !entered || r.others.waiting() != 0 {
			t.Errorf("entered %v, %d wait", entered, r.others.waiting())
		}
	})
}
