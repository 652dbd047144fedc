package subscriber

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
)

const (
	// budgetBytes is how many bytes of items the pages in hand may have together.
	// Twice that is what they take at most, garbage included.
	budgetBytes = 32 << 20
	// guessItem is how large an item is taken to be before any was seen: a long
	// mail, because 64 feeds may begin at the same time.
	guessItem = 32 << 10
)

// pageBudget bounds the memory of all pages that are between reading and commit.
// A page must be whole before the first of its items is told, and 64 polls read
// at a time: without it, 64 pages of 1,000 long messages would be in memory at
// once.
//
// A poll takes what its page will need, by experience, before it asks Graph. A
// page that grows beyond that takes more as it comes, and where there is no more,
// one page at a time goes on all the same and the others wait. So no two pages
// ever wait for each other, and what is in memory is at most the budget and one
// page.
type pageBudget struct {
	size int64

	mu      sync.Mutex
	used    int64
	over    *pageRoom // may go beyond the size
	growing []*turn   // pages that have begun: they go first
	begins  []*turn
}

// turn is somebody who waits.
type turn struct {
	room  *pageRoom
	bytes int64
	ready chan struct{} // closed once it is granted
}

// pageRoom is one page's part of the budget. One goroutine uses it.
type pageRoom struct {
	budget *pageBudget
	taken  int64 // of the budget
	held   int64 // of that, by items
}

func newBudget(size int64) *pageBudget { return &pageBudget{size: size} }

// take waits for so many bytes, or for the whole budget where they are more.
// Nothing is not waited for: a feed where nothing happens does not stand behind
// those that read much. The caller releases the room, whatever happens.
func (b *pageBudget) take(ctx context.Context, bytes int64) (*pageRoom, error) {
	r := &pageRoom{budget: b}
	if bytes <= 0 {
		return r, nil
	}
	bytes = min(bytes, b.size)
	b.mu.Lock()
	if len(b.growing) == 0 && len(b.begins) == 0 && b.fits(bytes) {
		b.give(r, bytes)
		b.mu.Unlock()
		return r, nil
	}
	return r, b.wait(ctx, &b.begins, r, bytes)
}

// keep returns a copy of an item, once there is room for it.
func (r *pageRoom) keep(ctx context.Context, raw []byte) ([]byte, error) {
	r.held += int64(len(raw))
	if more := r.held - r.taken; more > 0 {
		if err := r.grow(ctx, more); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(raw), nil
}

// grow takes more for a page that has begun.
func (r *pageRoom) grow(ctx context.Context, more int64) error {
	b := r.budget
	b.mu.Lock()
	if b.over == r || len(b.growing) == 0 && b.fits(more) {
		b.give(r, more)
		b.mu.Unlock()
		return nil
	}
	if b.over == nil {
		b.over = r
		b.give(r, more)
		b.mu.Unlock()
		return nil
	}
	return b.wait(ctx, &b.growing, r, more)
}

// trim gives back what no item has taken.
func (r *pageRoom) trim() {
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= r.taken - r.held
	r.taken = r.held
	b.wake()
}

// release gives the room back. A second time does nothing.
func (r *pageRoom) release() {
	b := r.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= r.taken
	r.taken, r.held = 0, 0
	if b.over == r {
		b.over = nil
	}
	b.wake()
}

// fits reports whether there is so much left; something always fits into an
// empty budget.
func (b *pageBudget) fits(bytes int64) bool { return b.used == 0 || b.used+bytes <= b.size }

func (b *pageBudget) give(r *pageRoom, bytes int64) {
	r.taken += bytes
	b.used += bytes
}

// wake gives those who wait their turn, as far as there is room.
func (b *pageBudget) wake() {
	for len(b.growing) > 0 {
		t := b.growing[0]
		if !b.fits(t.bytes) {
			if b.over != nil {
				return
			}
			b.over = t.room
		}
		b.growing = b.growing[1:]
		b.give(t.room, t.bytes)
		close(t.ready)
	}
	for len(b.begins) > 0 && b.fits(b.begins[0].bytes) {
		t := b.begins[0]
		b.begins = b.begins[1:]
		b.give(t.room, t.bytes)
		close(t.ready)
	}
}

// wait waits in a line. It is called with the lock and returns without it.
func (b *pageBudget) wait(ctx context.Context, line *[]*turn, r *pageRoom, bytes int64) error {
	t := &turn{room: r, bytes: bytes, ready: make(chan struct{})}
	*line = append(*line, t)
	b.mu.Unlock()
	select {
	case <-t.ready:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	// It may have been granted meanwhile: then it is in the room. The caller
	// releases that in any case, and with it goes on who stood behind.
	*line = slices.DeleteFunc(*line, func(o *turn) bool { return o == t })
	return context.Cause(ctx)
}

// pageGuess is what a feed's newest page says about its next one.
type pageGuess struct {
	known bool
	bytes int64 // of the items that were kept
	items int   // all of them
}

// of returns how many bytes the next page will keep, about, if it has as many
// items as it may. Outside of a full read pages are small, as a rule, and like
// the one before.
func (g *pageGuess) of(items int, full bool) int64 {
	switch {
	case !full:
		return g.bytes
	case !g.known || g.items == 0:
		return int64(items) * guessItem
	default:
		// A page may have more items than were asked for, for instance because the
		// configuration asks for more in a header.
		return g.bytes / int64(g.items) * int64(max(items, g.items))
	}
}

// asked returns how many items a page has at most.
func (r Request) asked(link string, size int) int {
	for name, value := range r.at(link, size).Headers {
		if !strings.EqualFold(name, "Prefer") {
			continue
		}
		for preference := range strings.SplitSeq(value, ",") {
			given, number, _ := strings.Cut(preference, "=")
			if n, err := strconv.Atoi(strings.TrimSpace(number)); err == nil && n > 0 && strings.EqualFold(strings.TrimSpace(given), "odata.maxpagesize") {
				return n
			}
		}
	}
	return size
}

// pages is the memory of one poll: that of the page in hand, and what is known
// of the feed's pages. One goroutine uses it.
type pages struct {
	budget *pageBudget
	guess  *pageGuess // outlives the poll
	room   *pageRoom
}

// next gives back the room of the page before and waits for that of the next one,
// of at most so many items. It comes before the mailbox's slot, so that nobody
// waits for memory with a slot in hand.
func (p *pages) next(ctx context.Context, items int, full bool) (err error) {
	p.done()
	p.room, err = p.budget.take(ctx, p.guess.of(items, full))
	return err
}

// keep returns a copy of an item, once there is room for it. It belongs to the
// page until next or done.
func (p *pages) keep(ctx context.Context, raw []byte) ([]byte, error) {
	return p.room.keep(ctx, raw)
}

// seen notes how many items the page had, now that it was read to its end, and
// gives back what it did not need.
func (p *pages) seen(items int) {
	*p.guess = pageGuess{known: true, bytes: p.room.held, items: items}
	p.room.trim()
}

// done gives back the room of the newest page.
func (p *pages) done() {
	if p.room != nil {
		p.room.release()
		p.room = nil
	}
}
