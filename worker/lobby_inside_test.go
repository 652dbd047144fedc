package worker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// slotsOf are the slots of mailboxes in one process, n of each, and room for so
// many who wait for them.
type slotsOf struct {
	n, room int
	token   error

	mu      sync.Mutex
	taken   map[string]int
	waiting map[string]int
	changed chan struct{}
}

func newSlotsOf(n, room int) *slotsOf {
	return &slotsOf{n: n, room: room, taken: map[string]int{}, waiting: map[string]int{}, changed: make(chan struct{})}
}

func (s *slotsOf) free(_ context.Context, _, mailbox string) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[mailbox] >= s.n || s.waiting[mailbox] > 0 {
		return nil
	}
	s.taken[mailbox]++
	return sync.OnceFunc(func() { s.release(mailbox) })
}

func (s *slotsOf) release(mailbox string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[mailbox]--
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *slotsOf) queue(ctx context.Context, _, mailbox string) (turn, time.Duration, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[mailbox] >= s.room {
		return nil, time.Minute, false
	}
	s.waiting[mailbox]++
	defer func() { s.waiting[mailbox]-- }()
	for s.taken[mailbox] >= s.n {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if ctx.Err() != nil {
			return nil, 0, false
		}
	}
	s.taken[mailbox]++
	return taken{sync.OnceFunc(func() { s.release(mailbox) })}, 0, true
}

func (s *slotsOf) turn(context.Context, string, string) (func(), time.Duration, bool) {
	return nil, 2 * time.Minute, false
}

func (s *slotsOf) Ready(context.Context, string) error { return s.token }

func (s *slotsOf) holds(mailbox string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken[mailbox]
}

// asideOf counts who steps aside, up to a number.
type asideOf struct {
	mu   sync.Mutex
	room int
	now  int
}

func (a *asideOf) message() jet.Message {
	return jet.Message{Aside: func() (func(), bool) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.now >= a.room {
			return nil, false
		}
		a.now++
		return sync.OnceFunc(func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.now--
		}), true
	}}
}

func (a *asideOf) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func to(mailbox string) publisher.Glance {
	return publisher.Glance{Client: "c", Mailbox: mailbox, GiveUp: time.Now().Add(time.Hour)}
}

func TestThoseWhoWaitForABusyMailboxLeaveTheirPlacesToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots, aside := newSlotsOf(4, 16), &asideOf{room: 100}
		l := newLobby(slots, map[string]int{"p": 6})
		passes := make(chan *pass, 100)
		var all sync.WaitGroup
		back := 0
		var mu sync.Mutex
		for range 40 {
			all.Go(func() {
				p, wait := l.enter(t.Context(), "p", aside.message(), to("hot"), true)
				if p == nil {
					mu.Lock()
					defer mu.Unlock()
					if back++; wait != time.Minute {
						t.Errorf("given back for %s", wait)
					}
					return
				}
				passes <- p
			})
			synctest.Wait()
		}
		if len(passes) != 4 || aside.count() != 16 || back != 20 {
			t.Fatalf("%d run, %d wait at hand, %d were given back; want 4, 16 and 20", len(passes), aside.count(), back)
		}
		// The two places that are left are free for others.
		for _, other := range []string{"a", "b"} {
			p, _ := l.enter(t.Context(), "p", aside.message(), to(other), true)
			if p == nil {
				t.Fatalf("%s has to wait", other)
			}
			defer p.giveBack()
		}
		for range 20 { // all that wait at hand come in when one leaves
			(<-passes).giveBack()
			synctest.Wait()
		}
		all.Wait()
		if aside.count() != 0 || slots.holds("hot") != 0 {
			t.Errorf("%d aside, %d slots taken at the end", aside.count(), slots.holds("hot"))
		}
	})
}

func TestWhoHasASlotComesBeforeWhoHasNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots, aside := newSlotsOf(1, 16), &asideOf{room: 100}
		l := newLobby(slots, map[string]int{"p": 2})
		hot, _ := l.enter(t.Context(), "p", aside.message(), to("hot"), true)
		other, _ := l.enter(t.Context(), "p", aside.message(), to("a"), true)
		order := make(chan string, 2)
		var all sync.WaitGroup
		enter := func(name, mailbox string) {
			all.Go(func() {
				p, _ := l.enter(t.Context(), "p", aside.message(), to(mailbox), true)
				order <- name
				p.giveBack()
			})
			synctest.Wait()
		}
		enter("others", "b") // no place
		other.giveBack()     // which goes to b at once
		synctest.Wait()
		if got := <-order; got != "others" {
			t.Fatalf("%s came first", got)
		}
		enter("hot", "hot") // has a place, and gives it up to wait for the slot
		third, _ := l.enter(t.Context(), "p", aside.message(), to("c"), true)
		enter("late", "d")
		hot.take().Leave() // the slot only: its request is over, its outcome is not stored yet
		synctest.Wait()
		third.giveBack()
		synctest.Wait()
		if got := <-order; got != "hot" {
			t.Errorf("%s came before who had a slot", got)
		}
		hot.giveBack()
		all.Wait()
	})
}

func TestAFullPublisherHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots, aside := newSlotsOf(4, 16), &asideOf{room: 100}
		l := newLobby(slots, map[string]int{"p": 2, "q": 2})
		first, _ := l.enter(t.Context(), "p", aside.message(), to("a"), true)
		second, _ := l.enter(t.Context(), "p", aside.message(), to("b"), true)
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				p, _ := l.enter(t.Context(), "p", aside.message(), to("c"), true)
				p.giveBack()
			})
		}
		synctest.Wait()
		if aside.count() != 2 {
			t.Errorf("%d wait aside", aside.count())
		}
		if p, wait := l.enter(t.Context(), "p", aside.message(), to("d"), true); p != nil || wait <= 0 || wait > mostOutside {
			t.Errorf("a fifth came in or goes back for %s", wait)
		}
		if p, _ := l.enter(t.Context(), "q", aside.message(), to("a"), true); p == nil {
			t.Error("the other publisher has to wait")
		} else {
			p.giveBack()
		}
		first.giveBack()
		second.giveBack()
		all.Wait()
	})
}

func TestWhatEndsTheWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots, aside := newSlotsOf(1, 16), &asideOf{room: 1}
		l := newLobby(slots, map[string]int{"p": 2})
		hot, _ := l.enter(t.Context(), "p", aside.message(), to("hot"), true)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if p, _ := l.enter(ctx, "p", aside.message(), to("hot"), true); p != nil {
				t.Error("it came in when the worker stopped")
			}
		})
		synctest.Wait()
		if p, wait := l.enter(t.Context(), "p", aside.message(), to("hot"), true); p != nil || wait != 2*time.Minute {
			t.Errorf("with nobody more to wait aside: %v, %s", p, wait)
		}
		cancel()
		all.Wait()
		hot.giveBack()
		if n := slots.holds("hot"); n != 0 || l.rooms["p"].free/writing.share() != 2 || aside.count() != 0 {
			t.Errorf("%d slots, %d places, %d aside", n, l.rooms["p"].free/writing.share(), aside.count())
		}
	})
}

func TestWhatNeedsNoSlotWaitsForNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots, aside := newSlotsOf(1, 16), &asideOf{room: 1}
		l := newLobby(slots, map[string]int{"p": 9})
		hot, _ := l.enter(t.Context(), "p", aside.message(), to("hot"), true)
		defer hot.giveBack()
		if p, wait := l.enter(t.Context(), "nobody", aside.message(), to("hot"), false); p == nil {
			t.Errorf("no such publisher: waits for %s", wait)
		}
		if p, _ := l.enter(t.Context(), "p", aside.message(), publisher.Glance{}, false); p == nil {
			t.Error("one that cannot be read has to wait")
		}
		late := to("hot")
		late.GiveUp = time.Now()
		if p, _ := l.enter(t.Context(), "p", aside.message(), late, true); p == nil {
			t.Error("one that is given up has to wait")
		}
		early := to("hot")
		early.NotBefore = time.Now().Add(48 * time.Hour)
		if p, wait := l.enter(t.Context(), "p", aside.message(), early, true); p != nil || wait > time.Hour || wait < 45*time.Minute {
			t.Errorf("one for the day after tomorrow: %v, %s", p, wait)
		}
		early.NotBefore = time.Now().Add(time.Minute)
		if p, wait := l.enter(t.Context(), "p", aside.message(), early, true); p != nil || wait != time.Minute {
			t.Errorf("one for the next minute: %v, %s", p, wait)
		}
		slots.token = errors.New("nobody has signed in")
		if p, _ := l.enter(t.Context(), "p", aside.message(), to("hot"), true); p == nil {
			t.Error("without a token it has to wait for a slot")
		}
	})
}

func TestASlotIsTakenFromThePassOnceAndByItsCommandOnly(t *testing.T) {
	t.Parallel()
	released := 0
	p := &pass{client: "c", mailbox: "ann@contoso.example", turn: taken{func() { released++ }}}
	ctx := p.with(t.Context())
	reserved := func(ctx context.Context, client, mailbox string) turn {
		_, mine := takeReserved(ctx, client, mailbox)
		return mine
	}
	if reserved(ctx, "c", "ben@contoso.example") != nil || reserved(ctx, "d", "ann@contoso.example") != nil || reserved(t.Context(), "c", "ann@contoso.example") != nil {
		t.Error("it was taken for another")
	}
	mine := reserved(ctx, "c", "Ann@contoso.example")
	if mine == nil || reserved(ctx, "c", "ann@contoso.example") != nil {
		t.Fatal("it was not taken once")
	}
	mine.Leave()
	p.giveBack()
	if released != 1 {
		t.Errorf("released %d times", released)
	}
	unused := &pass{turn: taken{func() { released++ }}}
	unused.giveBack()
	if released != 2 {
		t.Error("a slot that nobody took was kept")
	}
}

// TestAPlaceIsFreeWhenTheRequestsAreOver: the next command may begin while the
// outcome of the one before it is written.
func TestAPlaceIsFreeWhenTheRequestsAreOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slots, aside := newSlotsOf(1, 16), &asideOf{room: 100}
		l := newLobby(slots, map[string]int{"p": 1})
		first, _ := l.enter(t.Context(), "p", aside.message(), to("a"), true)
		release, _, ok := commandSlots{}.Take(first.with(t.Context()), "c", "a")
		if !ok || l.rooms["p"].free/writing.share() != 0 {
			t.Fatalf("slot %v, %d places free", ok, l.rooms["p"].free/writing.share())
		}
		release()
		second, _ := l.enter(t.Context(), "p", aside.message(), to("a"), true)
		if second == nil {
			t.Fatal("the next one has to wait")
		}
		first.giveBack()
		if l.rooms["p"].free/writing.share() != 0 {
			t.Error("a place was given back twice")
		}
		second.giveBack()
		if l.rooms["p"].free/writing.share() != 1 || slots.holds("a") != 0 {
			t.Errorf("%d places free, %d slots taken", l.rooms["p"].free/writing.share(), slots.holds("a"))
		}
	})
}
