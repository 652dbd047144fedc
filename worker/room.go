package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// kind is what a command has to wait for, between its place and its request.
type kind int

const (
	// writing is one that is written down first, or waits for others that go with it.
	writing kind = iota
	// straight is one that goes straight to Outlook.
	straight
	kinds
)

func kindOf(g publisher.Glance, glanced bool) kind {
	if glanced && g.Straight {
		return straight
	}
	return writing
}

// share is what a command takes of its publisher's room. There may be half as many
// more that are written down first as make requests, because meanwhile others can
// make theirs. Of those that go straight to Outlook more could only wait for one
// another, and each wait is one more goroutine to be woken.
func (k kind) share() int { return [kinds]int{writing: 2, straight: 3}[k] }

// room has the places of one publisher.
type room struct {
	size  int  // places, where all are of the kind writing
	alone bool // there is no other publisher

	mu      sync.Mutex
	free    int   // shares
	slotted lines // wait with a slot in hand, and come first
	others  lines
	service time.Duration // how long a place is held, smoothed
	began   time.Time     // when one was last given out
	nextAt  time.Time     // the end of the queue outside
}

func newRoom(size int, alone bool) *room {
	return &room{
		size: size, alone: alone, free: max(size*writing.share(), straight.share()), service: time.Second,
		slotted: newLines(size), others: newLines(size),
	}
}

// lines are those who wait for a place, the kinds apart.
type lines struct {
	of   [kinds]line
	next kind // whose turn it is, where both wait
}

// line are the ones of a kind. Each place that is given to the line is one call, for
// whoever came first.
type line struct {
	waiting int           // for whom there is no call yet
	called  chan struct{} // has room for as many calls as there are places
}

func newLines(places int) (l lines) {
	for k := range l.of {
		l.of[k].called = make(chan struct{}, max(places, 1))
	}
	return l
}

// waiting is how many wait, of all kinds.
func (l *lines) waiting() (n int) {
	for k := range l.of {
		n += l.of[k].waiting
	}
	return n
}

// first is the kind that is next; false where nobody waits.
func (l *lines) first() (kind, bool) {
	for range kinds {
		if l.of[l.next].waiting > 0 {
			return l.next, true
		}
		l.next = (l.next + 1) % kinds
	}
	return 0, false
}

// enter takes a place. Without ok the command is to come back after wait.
func (r *room) enter(ctx context.Context, m jet.Message, k kind) (wait time.Duration, ok bool) {
	r.mu.Lock()
	if r.take(k, &r.slotted, &r.others) {
		r.mu.Unlock()
		return 0, true
	}
	if r.alone {
		// Whatever came in its place would wait for the same.
		return 0, r.await(ctx, &r.others, k)
	}
	if r.others.waiting() >= r.size {
		defer r.mu.Unlock()
		return r.turn(), false
	}
	back, aside := m.Aside()
	if !aside {
		defer r.mu.Unlock()
		return r.turn(), false
	}
	defer back()
	return 0, r.await(ctx, &r.others, k)
}

// reenter takes a place for a command that has a slot by now.
func (r *room) reenter(ctx context.Context, k kind) bool {
	r.mu.Lock()
	if r.take(k, &r.slotted) {
		r.mu.Unlock()
		return true
	}
	return r.await(ctx, &r.slotted, k)
}

// take takes a place that is free, unless somebody waits who comes before.
func (r *room) take(k kind, before ...*lines) bool {
	for _, l := range before {
		if l.waiting() > 0 {
			return false
		}
	}
	if r.free < k.share() {
		return false
	}
	r.free -= k.share()
	return true
}

// await waits in a line for a place. It is called with the lock, and gives it up.
func (r *room) await(ctx context.Context, l *lines, k kind) bool {
	line := &l.of[k]
	line.waiting++
	r.mu.Unlock()
	select {
	case <-line.called:
		return true
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if line.waiting > 0 {
		line.waiting-- // the others take the calls that there may be
		r.give(0)      // it may have been in the way of one that takes less
		return false
	}
	<-line.called // there is one for everybody who is still here
	r.give(k.share())
	return false
}

// leave gives a place back.
func (r *room) leave(k kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	// With all places taken, one falls free every service/size.
	now := time.Now()
	if gap := now.Sub(r.began); r.free < straight.share() && gap < time.Minute {
		r.service = (r.service*31 + gap*time.Duration(r.size)) / 32
	}
	r.began = now
	r.give(k.share())
}

// give gives shares back, and what is free to those who wait for it. Nobody is passed
// over for one who takes less.
func (r *room) give(shares int) {
	r.free += shares
	for _, l := range [...]*lines{&r.slotted, &r.others} {
		for {
			k, ok := l.first()
			if !ok {
				break
			}
			if r.free < k.share() {
				return
			}
			r.free -= k.share()
			l.of[k].waiting--
			l.of[k].called <- struct{}{}
			l.next = (k + 1) % kinds
		}
	}
}

// mostOutside bounds for how long a command is sent away from a full room.
const mostOutside = time.Minute

// turn is how long a command stays away that finds the room full, and as many
// waiting as have places.
func (r *room) turn() time.Duration {
	now := time.Now()
	if least := now.Add(min(r.service, time.Second)); r.nextAt.Before(least) {
		r.nextAt = least
	}
	// A little shorter than it will be, so that the room does not stand empty.
	r.nextAt = r.nextAt.Add(r.service * 3 / 4 / time.Duration(r.size))
	wait := r.nextAt.Sub(now)
	if wait > mostOutside {
		r.nextAt = now.Add(mostOutside)
		wait = mostOutside - rand.N(mostOutside/2)
	}
	return wait
}
