package graph

import (
	"context"
	"sync"
	"time"
)

// take is [Client.TakeSlot].
func (l *Limiter) take(ctx context.Context, key string) (func(), time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.box(key, now)
	for {
		l.prune(b)
		closed := b.closedUntil(now)
		if !closed.After(now) {
			if b.inUse+b.waiting < l.usable(b) {
				return l.hold(b, now), 0, true
			}
			if b.waiting == 0 && l.mayTry(b, now) {
				if l.try(ctx, key, b) {
					now = time.Now()
					continue
				}
				now = time.Now()
			} else if l.slots != nil && len(b.slots) < l.limits.Concurrency {
				l.want(key, b, now)
			}
		}
		return nil, l.turn(b, now, closed), false
	}
}

// turn is the place at the end of the queue: one is served every service/slots.
func (l *Limiter) turn(b *box, now, closed time.Time) time.Duration {
	turn := now.Add(b.service)
	for _, at := range []time.Time{closed, b.nextAt} {
		if at.After(turn) {
			turn = at
		}
	}
	b.nextAt = turn.Add(b.service / time.Duration(l.limits.Concurrency))
	wait := min(b.nextAt.Sub(now), maxPark)
	if closed.After(now.Add(wait)) {
		wait = closed.Sub(now)
	}
	if limit := now.Add(maxPark); b.nextAt.After(limit) {
		b.nextAt = limit
	}
	if again := b.tryAt.Sub(now); l.slots != nil && len(b.slots) == 0 && wait < again {
		wait = again // nothing can be had before
	}
	l.metrics.waited(wait.Seconds())
	return wait
}

const (
	// atHand is how many callers of queue may wait for slots of one mailbox that
	// this process has, and atHandNone how many where it has none: enough to
	// take one over when it is handed on.
	atHand, atHandNone = 16, 2
	// patience is how long they wait.
	patience = 2 * time.Second
)

// queue is [Client.QueueSlot].
func (l *Limiter) queue(ctx context.Context, key string) (func(), time.Duration, bool) {
	release, wait, ok := l.take(ctx, key)
	if ok {
		return release, 0, true
	}
	now := time.Now()
	l.mu.Lock()
	b := l.box(key, now)
	room := atHandNone
	if l.slots == nil || len(b.slots) > 0 {
		room = atHand
	}
	open := b.waiting < room && !b.closedUntil(now).After(now) && b.tryAt.Before(now.Add(patience))
	l.mu.Unlock()
	if !open {
		return nil, wait, false
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if release, err := l.acquire(ctx, key); err == nil {
		return release, 0, true
	}
	return nil, max(wait-time.Since(now), minService), false
}

// acquire is [Client.Acquire].
func (l *Limiter) acquire(ctx context.Context, key string) (func(), error) {
	started := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.box(key, started)
	b.waiting++
	defer func() { b.waiting-- }()
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		now := time.Now()
		l.prune(b)
		closed := b.closedUntil(now)
		if !closed.After(now) && b.inUse < l.usable(b) {
			if now.After(started) {
				l.metrics.waited(now.Sub(started).Seconds())
			}
			return l.hold(b, now), nil
		}
		next := closed
		if !closed.After(now) && l.slots != nil {
			if b.inUse+b.waiting > len(b.slots)+b.trying && l.mayTry(b, now) {
				if l.try(ctx, key, b) {
					b.wake()
				}
				continue
			}
			if len(b.slots) < l.limits.Concurrency {
				l.want(key, b, now)
			}
			if next = now.Add(wantEvery); b.tryAt.After(now) && b.tryAt.Before(next) {
				next = b.tryAt
			}
		}
		l.await(ctx, b, next.Sub(now))
	}
}

// await waits, without the lock, until a slot may be there: one came back, or a
// time is over.
func (l *Limiter) await(ctx context.Context, b *box, atMost time.Duration) {
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	changed := b.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	var open <-chan time.Time
	if atMost > 0 {
		timer := time.NewTimer(atMost)
		defer timer.Stop()
		open = timer.C
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-open:
	}
}

// hold counts a slot and returns its release. The caller holds the lock.
func (l *Limiter) hold(b *box, now time.Time) func() {
	b.inUse++
	b.peak = max(b.peak, b.inUse)
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		b.inUse--
		// One outlier (a frozen process, a token that had to be waited for) says
		// nothing about the next request, but would send everybody who is
		// refused now far away: a wait, once given, cannot be taken back.
		end := time.Now()
		held := min(max(end.Sub(now), minService), maxService, 4*b.service)
		b.service = (b.service*4 + held) / 5
		l.handBack(b, end)
		b.wake()
	})
}

// wake lets everybody in acquire look again.
func (b *box) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
