package graph

import (
	"context"
	"time"
)

// Turn is the right to be one of the next in a mailbox. Its holder makes ready
// what a request needs before it takes the slot, so that the slot does not stand
// empty meanwhile. Take it or leave it.
type Turn struct {
	limiter *Limiter
	key     string
	box     *box
	began   time.Time // of the waiting

	// Guarded by the limiter's lock.
	release func() // a slot that was there at once
	over    bool
}

// QueueTurn is [Client.QueueSlot] up to the moment at which the caller is one of
// the next: one or two more than there are slots here.
func (c *Client) QueueTurn(ctx context.Context, mailbox string) (t *Turn, wait time.Duration, ok bool) {
	m, wait := c.mailbox(ctx, mailbox)
	if wait > 0 {
		return nil, wait, false
	}
	return c.limits.line(ctx, m)
}

// standbys is how many may stand by where so many slots are usable. Each of them
// has a command in hand that somebody else could do.
func standbys(usable int) int { return min(usable, 2) }

// Take waits for the slot, as long as it is likely to come. What it returns is as
// with [Client.QueueSlot]. Without ok the turn is over. Only the first call counts.
func (t *Turn) Take(ctx context.Context) (release func(), wait time.Duration, ok bool) {
	l, b := t.limiter, t.box
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.over {
		return nil, 0, false
	}
	t.over = true
	if t.release != nil {
		return t.release, 0, true
	}
	ctx, cancel := context.WithTimeout(ctx, min(leastPatience+4*b.service, mostPatience))
	defer cancel()
	free := l.wait(ctx, t.key, b, func() bool { return b.inUse+b.ahead < l.usable(b) })
	t.step(free)
	now := time.Now()
	l.metrics.waited(now.Sub(t.began).Seconds())
	if free {
		return l.hold(b, now), 0, true
	}
	return nil, l.turn(b, &b.nextAt, 0, maxTurn), false
}

// Leave gives the turn up, where it was not taken.
func (t *Turn) Leave() {
	l := t.limiter
	l.mu.Lock()
	if t.over {
		l.mu.Unlock()
		return
	}
	t.over = true
	release := t.release
	if release == nil {
		t.step(false)
	}
	l.mu.Unlock()
	if release != nil {
		release()
	}
}

// step counts the turn out. Somebody else is one of the next now, unless it took
// a slot.
func (t *Turn) step(taken bool) {
	t.box.standing--
	t.box.waiting--
	if !taken {
		t.box.wake()
	}
}
