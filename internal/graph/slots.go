package graph

import (
	"context"
	"time"
)

// Slots are the slots of mailboxes where several processes share them. Without
// them a [Limiter] keeps the limits of its own process.
type Slots interface {
	// Take takes one of the mailbox's slots, of which there are limit. A nil
	// slot without an error says that none is to be had: not before wait is
	// over, or, where that is zero, because others have them all. It must not
	// wait for one to come back.
	Take(ctx context.Context, mailbox string, limit int) (slot Slot, wait time.Duration, err error)
	// Want tells the other processes that one waits here. They answer by
	// [Limiter.Freed].
	Want(mailbox string)
	// Park tells the other processes to leave a mailbox alone for a time.
	Park(mailbox string, wait time.Duration)
	// Waits is how long slots that are given back cannot be taken again, by
	// nobody.
	Waits() time.Duration
}

// Slot is a slot that this process holds.
type Slot interface {
	// Usable reports whether a request may begin in it now.
	Usable() bool
	// Lost reports that it will not be usable again.
	Lost() bool
	// Release gives it back without waiting for that.
	Release()
}

// Uses keeps what all processes together used of a mailbox's windows.
type Uses interface {
	// Load returns what is stored and its revision, nil and 0 where nothing is.
	Load(ctx context.Context, mailbox string) (data []byte, revision uint64, err error)
	// Store replaces it for a time, if it is still at that revision. ok false
	// says that it is not.
	Store(ctx context.Context, mailbox string, data []byte, revision uint64, life time.Duration) (now uint64, ok bool, err error)
}

const (
	// handOver is how long a slot is kept while others wait for one.
	handOver = 750 * time.Millisecond
	// wantedFor is how long a wish that was heard counts, and wantEvery how often
	// one is uttered while somebody waits.
	wantedFor, wantEvery = time.Second, 300 * time.Millisecond
	// yield is how long a slot that was handed over is left to the others.
	yield = 50 * time.Millisecond
	// idleAfter is how long a slot is kept that no request uses.
	idleAfter = 500 * time.Millisecond
	// busyAgain is when to ask again for a slot after others had them all, if
	// nobody says before that one is free; troubleAgain after an error.
	busyAgain, troubleAgain = 250 * time.Millisecond, time.Second
	// lostAgain is when a request may come back whose slot was lost.
	lostAgain = 250 * time.Millisecond
)

// usable counts the slots in which a request may begin. The caller holds the
// lock, as in all methods here.
func (l *Limiter) usable(b *box) (n int) {
	if l.slots == nil {
		return l.limits.Concurrency
	}
	for _, s := range b.slots {
		if s.Usable() {
			n++
		}
	}
	return n
}

// prune forgets the slots that are lost.
func (l *Limiter) prune(b *box) {
	kept := b.slots[:0]
	for _, s := range b.slots {
		if s.Lost() {
			l.metrics.lost.Inc()
			l.metrics.held.Dec()
			continue
		}
		kept = append(kept, s)
	}
	clear(b.slots[len(kept):])
	b.slots = kept
}

// heldSlot is a slot with the time since which it is here.
type heldSlot struct {
	Slot
	since time.Time
}

// mayTry reports whether to ask for one more slot.
func (l *Limiter) mayTry(b *box, now time.Time) bool {
	return l.slots != nil && !l.closed && len(b.slots)+b.trying < l.limits.Concurrency && !now.Before(b.tryAt)
}

// try asks for one more slot, without the lock meanwhile. It reports whether
// there is one more.
func (l *Limiter) try(ctx context.Context, key string, b *box) bool {
	b.trying++
	l.mu.Unlock()
	slot, wait, err := l.slots.Take(ctx, key, l.limits.Concurrency)
	l.mu.Lock()
	b.trying--
	now := time.Now()
	switch {
	case err != nil:
		l.metrics.takes.WithLabelValues("error").Inc()
		b.tryAt = now.Add(troubleAgain)
		return false
	case slot == nil && wait > 0:
		l.metrics.takes.WithLabelValues("closed").Inc()
		b.tryAt = now.Add(wait)
		return false
	case slot == nil:
		l.metrics.takes.WithLabelValues("busy").Inc()
		b.tryAt = now.Add(busyAgain)
		l.want(key, b, now)
		return false
	case l.closed:
		slot.Release()
		return false
	}
	l.metrics.takes.WithLabelValues("taken").Inc()
	l.metrics.held.Inc()
	b.slots = append(b.slots, heldSlot{slot, now})
	b.peak = max(b.peak, len(b.slots))
	l.watchIdle(key, b)
	return true
}

// want tells the others that somebody waits here, not too often.
func (l *Limiter) want(key string, b *box, now time.Time) {
	if now.Sub(b.wantedAt) >= wantEvery {
		b.wantedAt = now
		l.slots.Want(key)
	}
}

// handBack gives slots back that others wait for: those that no request uses at
// once, the others one by one when their time is over. b.inUse must be that of
// after the request that ended.
func (l *Limiter) handBack(b *box, now time.Time) {
	if l.slots == nil || now.Sub(b.othersWant) > wantedFor {
		return
	}
	for len(b.slots) > b.inUse {
		oldest := 0
		for i, s := range b.slots {
			if s.since.Before(b.slots[oldest].since) {
				oldest = i
			}
		}
		if len(b.slots) <= b.inUse+b.waiting && now.Sub(b.slots[oldest].since) < handOver {
			return
		}
		l.giveBack(b, oldest)
		b.tryAt = now.Add(yield)
	}
}

func (l *Limiter) giveBack(b *box, i int) {
	b.slots[i].Release()
	b.slots = append(b.slots[:i], b.slots[i+1:]...)
	l.metrics.held.Dec()
}

// watchIdle gives slots back that were not used for a while. There is one timer
// for a mailbox while it has slots.
func (l *Limiter) watchIdle(key string, b *box) {
	if b.watched || l.closed {
		return
	}
	b.watched = true
	l.timers.Add(1)
	b.timer = time.AfterFunc(idleAfter, func() {
		defer l.timers.Done()
		l.mu.Lock()
		defer l.mu.Unlock()
		b.watched = false
		l.prune(b)
		if l.slots.Waits() <= 0 { // else they could not be had again
			for len(b.slots) > max(b.peak, b.inUse+b.waiting) {
				l.giveBack(b, len(b.slots)-1)
			}
		}
		b.peak = b.inUse
		if len(b.slots) > 0 {
			l.watchIdle(key, b)
		}
		b.wake() // a slot may have been lost
	})
}

// Wanted says that another process waits for a slot of a mailbox.
func (l *Limiter) Wanted(mailbox string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.boxes[mailbox]; b != nil && len(b.slots) > 0 {
		now := time.Now()
		b.othersWant = now
		l.handBack(b, now)
	}
}

// Freed says that another process gave a slot of a mailbox back.
func (l *Limiter) Freed(mailbox string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.boxes[mailbox]; b != nil {
		b.tryAt = time.Time{}
		b.wake()
	}
}

// Parked says that another process was told to leave a mailbox alone.
func (l *Limiter) Parked(mailbox string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.parkBox(l.box(mailbox, now), now, until)
}

// Close gives all slots back. Nothing may be taken any more.
func (l *Limiter) Close() {
	l.mu.Lock()
	l.closed = true
	for _, b := range l.boxes {
		if b.watched && b.timer.Stop() {
			b.watched = false
			l.timers.Done()
		}
		for len(b.slots) > 0 {
			l.giveBack(b, len(b.slots)-1)
		}
		b.wake()
	}
	l.mu.Unlock()
	l.timers.Wait()
}
