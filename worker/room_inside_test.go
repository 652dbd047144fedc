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
				if _, ok := r.enter(t.Context(), jet.Message{}); !ok {
					t.Fatal("no place")
				}
				ctx, end := context.WithCancel(t.Context())
				var all sync.WaitGroup
				all.Go(func() {
					if _, ok := r.enter(ctx, jet.Message{}); ok {
						t.Error("a place for one that does not wait any more")
					}
				})
				synctest.Wait()
				got := 0
				for range behind {
					all.Go(func() {
						if _, ok := r.enter(t.Context(), jet.Message{}); ok {
							got++
							r.leave()
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
				r.give() // where the first one has heard of its end and not said so
				r.mu.Unlock()
				all.Wait()
				if got != behind || r.free != 1 || r.others.waiting != 0 || len(r.others.called) != 0 {
					t.Errorf("%d of %d got a place; %d are free, %d wait", got, behind, r.free, r.others.waiting)
				}
			})
		})
	}
}
