package graph

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestASlotThatIsGivenBackTwiceCountsOnce(t *testing.T) {
	t.Parallel()
	l, err := NewLimiter(LimiterOptions{Limits: Limits{Concurrency: 3}})
	if err != nil {
		t.Fatal(err)
	}
	take := func() func() {
		release, _, ok := l.take(t.Context(), named("ann"))
		if !ok {
			t.Fatal("no slot")
		}
		return release
	}
	first, second, third := take(), take(), take()
	for range 2 {
		second()
		third()
	}
	if b := l.boxes["ann"]; b.inUse != 1 || len(b.out) != 1 || b.measured != 2 {
		t.Errorf("%d in use (%d tickets), %d measured; want 1 and 2", b.inUse, len(b.out), b.measured)
	}
	first()
	again := take()
	second() // of a slot that somebody else has by now
	if b := l.boxes["ann"]; b.inUse != 1 {
		t.Errorf("%d in use, want 1", b.inUse)
	}
	again()
}

func TestWhatIsUnderWayIsCountedOut(t *testing.T) {
	t.Parallel()
	l, err := NewLimiter(LimiterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		release, _, _ := l.take(t.Context(), named("ann"))
		defer release()
	}
	b := l.boxes["ann"]
	one, _, _ := l.charge(t.Context(), named("ann"), 0)
	other, _, _ := l.charge(t.Context(), named("ann"), 0)
	both, _, why := l.chargeAll(t.Context(), named("ann"), 0, 5, 2)
	if why != "" || b.flying != 4 {
		t.Fatalf("%d are under way (%s), want 4", b.flying, why)
	}
	both()
	if one(); b.flying != 1 {
		t.Errorf("%d are under way, want 1", b.flying)
	}
	if other(); b.flying != 0 {
		t.Errorf("%d are under way, want none", b.flying)
	}
}

// counted is a board that counts the questions.
type counted struct {
	*board
	loads, stores int
}

// Load counts and returns what is stored.
func (c *counted) Load(ctx context.Context, mailbox string) ([]byte, uint64, error) {
	c.loads++
	return c.board.Load(ctx, mailbox)
}

// Store counts and replaces it.
func (c *counted) Store(ctx context.Context, mailbox string, data []byte, revision uint64, life time.Duration) (uint64, bool, error) {
	c.stores++
	return c.board.Store(ctx, mailbox, data, revision, life)
}

func TestUseIsReadAgainOnlyWhereSomebodyElseStoredIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const requests = 1000
		b := &board{}
		var asked [2]*counted
		for i := range asked {
			asked[i] = &counted{board: b}
			l, err := NewLimiter(LimiterOptions{Uses: asked[i], Limits: Limits{Requests: requests, RequestWindow: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			b.all = append(b.all, l)
		}
		used := 0
		use := func(l *Limiter, n int) {
			for range n {
				done, wait, _ := l.charge(t.Context(), named("ann"), 0)
				if wait > 0 {
					return
				}
				used++
				done()
				synctest.Wait()
			}
		}
		use(b.all[0], 300)
		if one := asked[0]; one.loads != 1 || one.stores < 50 {
			t.Errorf("alone: read %d times, stored %d times; want once and once in 5 requests", one.loads, one.stores)
		}
		use(b.all[1], 100)
		use(b.all[0], 100)
		if one, other := asked[0].loads, asked[1].loads; one != 2 || other != 1 {
			t.Errorf("by turns: read %d and %d times, want 2 and 1", one, other)
		}
		b.forget()
		use(b.all[0], 100)
		use(b.all[1], requests)
		if used > requests || used < requests*98/100 {
			t.Errorf("%d requests of both, limit %d", used, requests)
		}
	})
}
