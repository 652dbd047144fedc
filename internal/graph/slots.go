package graph

import (
	"context"
	"maps"
	"slices"
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
	// Want tells the other processes that one waits here, where so many slots are
	// held already; with as many as there are it tells that none waits any more.
	// They answer by [Limiter.Freed].
	Want(mailbox string, held int)
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
	// Release gives it back without waiting for that, for a process that was heard
	// to want one, or for whoever asks first ("").
	Release(next string)
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
	// wantedFor is how long a wish that was heard counts. wantEvery is how often
	// one is uttered while somebody waits where there is no slot, wantMore where
	// there is one at least.
	wantedFor, wantEvery, wantMore = time.Second, 300 * time.Millisecond, 900 * time.Millisecond
	// idleAfter is how long a slot is kept that no request uses, while nobody
	// else wants it: longer than the pause between two commands of a mailbox that
	// is one of many, so that these do not each take and give back a slot.
	idleAfter = 5 * time.Second
	// keepParked is for how long a mailbox must still be left alone to keep the
	// slots that were in use, so that it goes on at once.
	keepParked = time.Minute
	// busyAgain is when to ask again for a slot after others had them all, or were
	// given one, if nobody says before that one is free: one whose holder has died
	// is found so. moreAgain is the same where there is one at least, troubleAgain after an
	// error.
	busyAgain, moreAgain, troubleAgain = 250 * time.Millisecond, time.Second, time.Second
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
	had := len(b.slots)
	if had == 0 {
		return
	}
	b.slots = slices.DeleteFunc(b.slots, func(s heldSlot) bool { return s.Lost() })
	lost := float64(had - len(b.slots))
	if lost > 0 {
		l.metrics.lost.Add(lost)
		l.metrics.held.Sub(lost)
	}
}

// heldSlot is a slot with the time since which it is here.
type heldSlot struct {
	Slot
	since time.Time
}

// mayTry reports whether to ask for one more slot. Once others had them all, one
// caller asks at a time: more would be refused for the same reason.
func (l *Limiter) mayTry(b *box, now time.Time) bool {
	return l.slots != nil && !l.closed && len(b.slots)+b.trying < l.limits.Concurrency && !now.Before(b.tryAt) &&
		(!b.refused || b.trying == 0)
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
		b.refused = true
		b.tryAt = now.Add(b.again())
		l.want(key, b, now)
		return false
	case l.closed:
		slot.Release("")
		return false
	}
	l.metrics.takes.WithLabelValues("taken").Inc()
	l.metrics.held.Inc()
	b.slots = append(b.slots, heldSlot{slot, now})
	b.peak = max(b.peak, len(b.slots))
	if now.Sub(b.wantedAt) <= wantedFor {
		// The others are to know at once that this wish is fulfilled.
		b.wantedAt = now
		l.slots.Want(key, l.told(b))
	}
	l.watchIdle(key, b)
	return true
}

// again is how long others are believed to have all slots that are not here.
func (b *box) again() time.Duration {
	if len(b.slots) > 0 {
		return moreAgain
	}
	return busyAgain
}

// want tells the others that somebody waits here, not too often.
func (l *Limiter) want(key string, b *box, now time.Time) {
	every := wantEvery
	if len(b.slots) > 0 {
		every = wantMore
	}
	if now.Sub(b.wantedAt) >= every {
		b.wantedAt = now
		l.slots.Want(key, l.told(b))
	}
}

// told is how many slots the others are told that there are: all, where there are
// as many as are needed.
func (l *Limiter) told(b *box) int {
	if b.inUse+b.waiting <= len(b.slots) {
		return l.limits.Concurrency
	}
	return len(b.slots)
}

// wish is what was last heard of a process that waits for one more slot of a
// mailbox.
type wish struct {
	held        int       // how many it has
	first, last time.Time // said with that number
}

// heard notes the wish of a process that has so many slots.
func (b *box) heard(now time.Time, from string, held, limit int) {
	maps.DeleteFunc(b.wishes, func(_ string, w wish) bool { return now.Sub(w.last) > wantedFor })
	if held >= limit { // it has what it waited for
		delete(b.wishes, from)
		return
	}
	w, known := b.wishes[from]
	if !known || w.held != held {
		w = wish{held: held, first: now}
	}
	w.last = now
	if b.wishes == nil {
		b.wishes = make(map[string]wish)
	}
	b.wishes[from] = w
}

// neediest is the process that has the fewest slots of those that wait for one;
// "" where none waits.
func (b *box) neediest(now time.Time) (who string) {
	for from, w := range b.wishes {
		if now.Sub(w.last) > wantedFor {
			continue
		}
		if least := b.wishes[who]; who == "" || w.held < least.held || w.held == least.held && w.first.Before(least.first) {
			who = from
		}
	}
	return who
}

// handBack gives slots back that others wait for: those that nothing needs here
// at once, the others one by one when their time is over. b.inUse must be that of
// after the request that ended.
func (l *Limiter) handBack(b *box, now time.Time) {
	if l.slots == nil {
		return
	}
	for len(b.slots) > b.inUse {
		who := b.neediest(now)
		if who == "" {
			return
		}
		oldest := 0
		for i, s := range b.slots {
			if s.since.Before(b.slots[oldest].since) {
				oldest = i
			}
		}
		if len(b.slots) <= b.inUse+b.waiting && (!b.due(b.wishes[who], now) || now.Sub(b.slots[oldest].since) < handOver) {
			return
		}
		l.giveBack(b, oldest, who)
		delete(b.wishes, who) // who gets none says so again
		b.tryAt = now.Add(b.again())
	}
}

// due reports whether a process is to have a slot that is needed here, too: one
// that has two less, or none. A slot stands empty while it changes hands, so that
// it serves nobody to hand over more. The last one here is given when the wish is
// said again: who had more than one to give would have given it by then.
func (b *box) due(w wish, now time.Time) bool {
	return w.held+2 <= len(b.slots) || w.held == 0 && now.Sub(w.first) >= wantEvery
}

func (l *Limiter) giveBack(b *box, i int, next string) {
	b.slots[i].Release(next)
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
		// Not where they could not be had again, or are of use again in a moment.
		if pause := time.Until(b.parked); l.slots.Waits() <= 0 && (pause <= 0 || pause > keepParked) {
			for len(b.slots) > max(b.peak, b.inUse+b.waiting) {
				l.giveBack(b, len(b.slots)-1, "")
			}
		}
		b.peak = b.inUse
		if len(b.slots) > 0 {
			l.watchIdle(key, b)
		}
		b.wake() // a slot may have been lost
	})
}

// Wanted says that another process, which has so many slots of a mailbox, waits
// for one more.
func (l *Limiter) Wanted(mailbox, from string, held int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.boxes[mailbox]; b != nil {
		now := time.Now()
		b.heard(now, from, held, l.limits.Concurrency)
		l.handBack(b, now)
	}
}

// Freed says that another process gave a slot of a mailbox back, for a third one
// where next is not "".
func (l *Limiter) Freed(mailbox, next string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.boxes[mailbox]; b != nil {
		b.tryAt = time.Time{}
		if next != "" {
			b.tryAt = time.Now().Add(b.again())
			delete(b.wishes, next)
		}
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
			l.giveBack(b, len(b.slots)-1, "")
		}
		b.wake()
	}
	l.mu.Unlock()
	l.timers.Wait()
}
