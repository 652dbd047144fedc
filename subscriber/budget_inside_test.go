package subscriber

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inUse is how much of the budget is taken.
func inUse(b *pageBudget) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// taken takes a part of the budget.
func taken(t *testing.T, b *pageBudget, bytes int64) *pageRoom {
	t.Helper()
	r, err := b.take(t.Context(), bytes)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAPageWaitsUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		first := taken(t, b, 60)
		var second *pageRoom
		go func() { second = taken(t, b, 60) }()
		synctest.Wait()
		if second != nil {
			t.Fatal("two pages of 60 bytes are in a budget of 100")
		}
		if quiet := taken(t, b, 0); quiet == nil {
			t.Error("a feed that needs nothing waits")
		}
		first.release()
		first.release() // as a defer does once more
		synctest.Wait()
		if second == nil || b.used != 60 {
			t.Fatalf("after the release %d bytes are taken, want 60", b.used)
		}
		second.release()
		if huge := taken(t, b, 1000); huge.taken != 100 {
			t.Errorf("a page larger than the budget takes %d, want all 100", huge.taken)
		}
	})
}

func TestPagesThatGrowDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		one, two := taken(t, b, 50), taken(t, b, 50)
		ended, begun := make(chan string, 2), make(chan *pageRoom, 1)
		grow := func(name string, r *pageRoom) {
			for range 10 {
				if _, err := r.keep(t.Context(), make([]byte, 20)); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second) // in the bubble: both grow side by side
			}
			ended <- name
			r.release()
		}
		go grow("one", one)
		go grow("two", two)
		go func() { begun <- taken(t, b, 10) }()
		time.Sleep(9500 * time.Millisecond)
		if got := inUse(b); got > 100+200 || got <= 100 {
			t.Errorf("%d bytes are taken; one of two pages may go beyond 100", got)
		}
		if len(begun) > 0 || len(ended) > 0 {
			t.Error("a new page was begun while those in hand wait")
		}
		<-ended
		<-ended
		last := <-begun
		synctest.Wait()
		if got := inUse(b); got != 10 {
			t.Errorf("%d bytes are taken in the end, want 10", got)
		}
		last.release()
	})
}

// Where all who are left wait, one of them goes on.
func TestTheNextPageMayGoBeyondTheBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		one, two, three := taken(t, b, 40), taken(t, b, 40), taken(t, b, 20)
		grown := make(chan *pageRoom, 3)
		grow := func(r *pageRoom) {
			if _, err := r.keep(t.Context(), make([]byte, 90)); err != nil {
				t.Error(err)
			}
			grown <- r
		}
		for _, r := range []*pageRoom{one, two, three} {
			go grow(r)
			synctest.Wait()
		}
		for i, want := range []*pageRoom{one, two, three} {
			if len(grown) != 1 {
				t.Fatalf("%d pages go on after %d have ended, want one", len(grown), i)
			}
			r := <-grown
			if r != want {
				t.Errorf("page %d goes on out of its turn", i+1)
			}
			r.release()
			synctest.Wait()
		}
		if got := inUse(b); got != 0 {
			t.Errorf("%d bytes are taken in the end", got)
		}
	})
}

func TestWhoStopsWaitingLeavesTheLine(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		first := taken(t, b, 90)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error, 1)
		go func() {
			r, err := b.take(ctx, 100)
			r.release()
			failed <- err
		}()
		synctest.Wait()
		var small *pageRoom
		go func() { small = taken(t, b, 10) }()
		synctest.Wait()
		if small != nil {
			t.Fatal("a small page overtook a large one, which might wait for ever")
		}
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		if small == nil {
			t.Fatal("who stood behind the one that left still waits")
		}
		small.release()
		first.release()
		if b.used != 0 || len(b.begins) != 0 || len(b.growing) != 0 {
			t.Errorf("%d bytes are taken and %d wait in the end", b.used, len(b.begins)+len(b.growing))
		}
	})
}

// Whatever pages there are: all come to their end, and there is never more in
// memory than the budget and one page.
func TestTheBudgetHolds(t *testing.T) {
	t.Parallel()
	const size, largest = 1000, 700
	b := newBudget(size)
	var held, most atomic.Int64
	var all sync.WaitGroup
	for seed := range uint64(32) {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, seed))
			p := pages{budget: b, guess: new(pageGuess)}
			defer p.done()
			for range 200 {
				if err := p.next(t.Context(), 1+random.IntN(3), random.IntN(2) == 0); err != nil {
					t.Error(err)
					return
				}
				page, n := random.IntN(largest), 0
				mine := int64(0)
				for ; page > 0; n++ {
					item := min(page, 1+random.IntN(100))
					if _, err := p.keep(t.Context(), make([]byte, item)); err != nil {
						t.Error(err)
						return
					}
					page, mine = page-item, mine+int64(item)
					now := held.Add(int64(item))
					for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
					}
				}
				p.seen(n)
				held.Add(-mine)
			}
		})
	}
	all.Wait()
	if got := most.Load(); got > size+largest {
		t.Errorf("%d bytes were held at a time; the budget is %d and a page at most %d", got, size, largest)
	}
	if b.used != 0 || b.over != nil {
		t.Errorf("%d bytes are taken in the end", b.used)
	}
}

func TestTheNextPageIsGuessedFromTheLast(t *testing.T) {
	t.Parallel()
	g := new(pageGuess)
	if got := g.of(20, true); got != 20*guessItem {
		t.Errorf("of a feed that is not known: %d", got)
	}
	if got := g.of(100, false); got != 0 {
		t.Errorf("outside of a full read: %d, want nothing before something was seen", got)
	}
	p := pages{budget: newBudget(1 << 20), guess: g}
	if err := p.next(t.Context(), 20, true); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		raw := []byte("0123456789")
		kept, err := p.keep(t.Context(), raw)
		if raw[0] = 'x'; err != nil || string(kept) != "0123456789" {
			t.Fatalf("kept %q, %v", kept, err)
		}
	}
	p.seen(10) // half of them are not told
	if got := g.of(5, true); got != 50 {
		t.Errorf("a page of 10 items came where 5 were asked for: the next is taken for %d bytes, want 50", got)
	}
	if full, changed := g.of(100, true), g.of(100, false); full != 500 || changed != 50 {
		t.Errorf("after 50 bytes of 10 items: %d for 100 items of a full read, want 500; %d else, want 50", full, changed)
	}
}

func TestAPageThatWasReadGivesBackWhatItDidNotNeed(t *testing.T) {
	t.Parallel()
	b := newBudget(1 << 20)
	p := pages{budget: b, guess: new(pageGuess)}
	if err := p.next(t.Context(), 10, true); err != nil {
		t.Fatal(err)
	}
	if got := inUse(b); got != 10*guessItem {
		t.Errorf("%d bytes are taken before the page, want %d", got, 10*guessItem)
	}
	if _, err := p.keep(t.Context(), make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	p.seen(1)
	if got := inUse(b); got != 100 {
		t.Errorf("%d bytes are taken after the page, want 100", got)
	}
	p.done()
	p.done()
	if got := inUse(b); got != 0 {
		t.Errorf("%d bytes are taken in the end", got)
	}
}

func TestHowManyItemsAreAskedFor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		headers map[string]string
		link    string
		want    int
	}{
		{want: firstPage},
		{link: "next", want: 100},
		{headers: map[string]string{"prefer": `IdType="ImmutableId", OData.MaxPageSize=1000`}, want: 1000},
		{headers: map[string]string{"Prefer": `IdType="ImmutableId"`}, link: "next", want: 100},
		{headers: map[string]string{"Prefer": "odata.maxpagesize=many"}, link: "next", want: 100},
	} {
		headers := c.headers
		if headers == nil {
			headers = map[string]string{}
		}
		if got := (Request{Headers: headers}).asked(c.link, 100); got != c.want {
			t.Errorf("%v after %q: %d, want %d", c.headers, c.link, got, c.want)
		}
	}
}
