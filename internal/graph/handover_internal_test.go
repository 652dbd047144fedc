package graph

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/retry"
)

// table has the slots of one mailbox for some processes, which are a millisecond
// away.
type table struct {
	t     *testing.T
	ctx   context.Context
	trips sync.WaitGroup
	all   []*process

	mu    sync.Mutex
	taken []*process
	gave  int // how often one was given back
	asked int // how often one was asked for
}

// process is one of them.
type process struct {
	*table
	*Limiter
	name   string
	served atomic.Int64
	last   atomic.Int64 // when, in milliseconds
}

const (
	trip    = time.Millisecond
	service = 100 * time.Millisecond
	ready   = 3 * time.Millisecond // what a command needs before its request
)

func newTable(t *testing.T, processes int) *table {
	t.Helper()
	tab := &table{t: t, ctx: t.Context(), taken: make([]*process, 4)}
	for n := range processes {
		p := &process{table: tab, name: fmt.Sprint("process ", n)}
		var err error
		if p.Limiter, err = NewLimiter(LimiterOptions{Slots: p, Limits: Limits{Requests: 1 << 30}}); err != nil {
			t.Fatal(err)
		}
		tab.all = append(tab.all, p)
	}
	return tab
}

func (tab *table) travel(f func()) {
	tab.trips.Go(func() {
		_ = retry.Sleep(context.WithoutCancel(tab.ctx), trip)
		f()
	})
}

func (tab *table) others(p *process, f func(other *process)) {
	tab.travel(func() {
		for _, other := range tab.all {
			if other != p {
				f(other)
			}
		}
	})
}

// Take takes a slot of the table.
func (p *process) Take(ctx context.Context, _ string, limit int) (Slot, time.Duration, error) {
	_ = retry.Sleep(context.WithoutCancel(ctx), 2*trip)
	p.table.mu.Lock()
	defer p.table.mu.Unlock()
	p.asked++
	for n := range limit {
		if p.taken[n] == nil {
			p.taken[n] = p
			return &tableSlot{p: p, n: n}, 0, nil
		}
	}
	return nil, 0, nil
}

// Want tells the others.
func (p *process) Want(mailbox string, held int) {
	p.others(p, func(other *process) { other.Wanted(mailbox, p.name, held) })
}

// Park does nothing.
func (*process) Park(string, time.Duration) {}

// Waits is never.
func (*process) Waits() time.Duration { return 0 }

type tableSlot struct {
	p    *process
	n    int
	gone atomic.Bool
}

// Usable says that it is held.
func (s *tableSlot) Usable() bool { return !s.gone.Load() }

// Lost says that it was given back.
func (s *tableSlot) Lost() bool { return s.gone.Load() }

// Release gives it back, and says so when it is free.
func (s *tableSlot) Release(next string) {
	if s.gone.Swap(true) {
		return
	}
	p := s.p
	p.travel(func() {
		p.table.mu.Lock()
		p.taken[s.n] = nil
		p.gave++
		p.table.mu.Unlock()
		p.others(p, func(other *process) {
			if other.name == next {
				other.Freed("m", "")
			} else {
				other.Freed("m", next)
			}
		})
	})
}

// work has a process make requests in the mailbox, as many as it may.
func (p *process) work(ctx context.Context, callers int, running, most *atomic.Int64, all *sync.WaitGroup) {
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				turn, wait, ok := p.line(ctx, named("m"))
				if !ok {
					_ = retry.Sleep(ctx, wait)
					continue
				}
				_ = retry.Sleep(ctx, ready)
				release, wait, ok := turn.Take(ctx)
				if !ok {
					_ = retry.Sleep(ctx, wait)
					continue
				}
				now := running.Add(1)
				most.Store(max(most.Load(), now))
				_ = retry.Sleep(context.WithoutCancel(ctx), service)
				running.Add(-1)
				p.served.Add(1)
				p.last.Store(time.Now().UnixMilli())
				release()
			}
		})
	}
}

func (tab *table) counts() (served, gave, asked int) {
	for _, p := range tab.all {
		served += int(p.served.Load())
	}
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return served, tab.gave, tab.asked
}

func TestProcessesShareAHotMailboxWithoutHoldingItUp(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		processes    int
		least        float64 // percent of what is allowed
		handed       int     // hand-overs in a minute, at most
		longest, ask int     // ms without a request of one process; questions in a minute
	}{
		{1, 99, 0, 1000, 0},
		{2, 99, 0, 1000, 130},
		{4, 99, 0, 1000, 250},
		{5, 97, 300, 3000, 1000},
		{8, 94, 400, 6000, 2000},
	} {
		t.Run(fmt.Sprint(test.processes), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tab := newTable(t, test.processes)
				ctx, cancel := context.WithCancel(t.Context())
				var running, most atomic.Int64
				var all sync.WaitGroup
				for _, p := range tab.all {
					p.work(ctx, 30, &running, &most, &all)
					_ = retry.Sleep(t.Context(), 150*time.Millisecond)
				}
				_ = retry.Sleep(t.Context(), 10*time.Second)
				served, gave, asked := tab.counts()
				longest := 0
				for range 600 {
					_ = retry.Sleep(t.Context(), 100*time.Millisecond)
					for _, p := range tab.all {
						longest = max(longest, int(time.Now().UnixMilli()-p.last.Load()))
					}
				}
				servedAll, gaveAll, askedAll := tab.counts()
				rate := 100 * float64(servedAll-served) / (60 * 4 * float64(time.Second/service))
				t.Logf("%.1f %% of the allowed rate, %d handed over, %d asked for, %d ms without a request at most",
					rate, gaveAll-gave, askedAll-asked, longest)
				if rate < test.least || gaveAll-gave > test.handed || longest > test.longest || askedAll-asked > test.ask || most.Load() > 4 {
					t.Errorf("want %+v; %d at once", test, most.Load())
				}
				cancel()
				all.Wait()
				for _, p := range tab.all {
					p.Close()
				}
				tab.trips.Wait()
			})
		})
	}
}

func TestAnIdleSlotIsKeptUntilSomebodyWantsIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tab := newTable(t, 2)
		a, b := tab.all[0], tab.all[1]
		var releases []func()
		for range 4 {
			release, _, ok := a.take(t.Context(), named("m"))
			if !ok {
				t.Fatal("no slot")
			}
			releases = append(releases, release)
		}
		for _, release := range releases {
			release()
		}
		_ = retry.Sleep(t.Context(), 4*time.Second)
		if _, gave, _ := tab.counts(); gave != 0 {
			t.Errorf("%d were given back though nobody wants them", gave)
		}
		began := time.Now()
		release, err := b.acquire(t.Context(), named("m"))
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 20*time.Millisecond {
			t.Errorf("an idle slot was there after %v", took)
		}
		release()
		_ = retry.Sleep(t.Context(), 11*time.Second)
		if _, gave, _ := tab.counts(); gave != 5 {
			t.Errorf("%d were given back after a while, want all 5", gave)
		}
		a.Close()
		b.Close()
		tab.trips.Wait()
	})
}

func TestTheNextCommandsMakeReadyWhileTheSlotsAreInUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tab := newTable(t, 1)
		p := tab.all[0]
		var inUse []func()
		for range 4 {
			turn, _, ok := p.line(t.Context(), named("m"))
			if !ok {
				t.Fatal("no turn")
			}
			release, _, ok := turn.Take(t.Context())
			if !ok {
				t.Fatal("no slot")
			}
			inUse = append(inUse, release)
		}
		turns := make(chan *Turn, 16)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if turn, _, ok := p.line(t.Context(), named("m")); ok {
					turns <- turn
				}
			})
		}
		synctest.Wait()
		if len(turns) != 2 {
			t.Fatalf("%d make ready, want 2", len(turns))
		}
		// One that is given up lets the next one make ready.
		(<-turns).Leave()
		synctest.Wait()
		if len(turns) != 2 {
			t.Errorf("%d make ready when one has left, want 2", len(turns))
		}
		// No slot is there yet; and none goes to those who come later.
		first := <-turns
		got := make(chan func(), 1)
		all.Go(func() {
			if release, _, ok := first.Take(t.Context()); ok {
				got <- release
			}
		})
		synctest.Wait()
		if len(got) != 0 {
			t.Error("a fifth slot was given")
		}
		inUse[0]()
		if release := p.glimpse(t.Context(), named("m")); release != nil {
			t.Error("a later one came first")
		}
		synctest.Wait()
		if len(got) != 1 {
			t.Error("the next one did not get the slot")
		}
		(<-got)()
		for _, release := range inUse[1:] {
			release()
		}
		go func() {
			for turn := range turns {
				turn.Leave()
				turn.Leave() // may be called again
			}
		}()
		all.Wait()
		close(turns)
		synctest.Wait()
		b := p.boxes["m"]
		if b.standing != 0 || b.waiting != 0 || b.inUse != 0 {
			t.Errorf("at the end %d stand by, %d wait, %d use slots", b.standing, b.waiting, b.inUse)
		}
		p.Close()
		tab.trips.Wait()
	})
}

func TestATurnThatGetsNoSlotEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tab := newTable(t, 1)
		p := tab.all[0]
		var inUse []func()
		for range 4 {
			release, _, _ := p.take(t.Context(), named("m"))
			inUse = append(inUse, release)
		}
		turn, _, ok := p.line(t.Context(), named("m"))
		if !ok {
			t.Fatal("no turn")
		}
		p.park(named("m"), time.Now().Add(time.Minute))
		_, wait, ok := turn.Take(t.Context())
		if ok {
			t.Fatal("a slot of a mailbox that is to be left alone")
		}
		if wait < 50*time.Second || wait > 70*time.Second {
			t.Errorf("sent away for %v", wait)
		}
		if _, _, ok := turn.Take(t.Context()); ok {
			t.Error("taken twice")
		}
		turn.Leave()
		for _, release := range inUse {
			release()
		}
		if b := p.boxes["m"]; b.standing != 0 || b.waiting != 0 {
			t.Errorf("%d stand by, %d wait", b.standing, b.waiting)
		}
		p.Close()
		tab.trips.Wait()
	})
}
