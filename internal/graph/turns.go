package graph

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// take is [Client.TakeSlot].
func (l *Limiter) take(ctx context.Context, m *mailbox) (func(), time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(m, now)
	if release := l.free(ctx, m.key, b, now); release != nil {
		return release, 0, true
	}
	return nil, l.turn(b, &b.nextAt, b.service/time.Duration(l.limits.Concurrency), maxPark), false
}

// glimpse is [Client.FreeSlot].
func (l *Limiter) glimpse(ctx context.Context, m *mailbox) func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	return l.free(ctx, m.key, l.of(m, now), now)
}

// free takes a slot that is free, or that the other processes leave. It returns
// nil where there is none. The caller holds the lock.
func (l *Limiter) free(ctx context.Context, key string, b *box, now time.Time) func() {
	for ; ; now = time.Now() {
		l.prune(b)
		if b.closedUntil(now).After(now) {
			return nil
		}
		if b.inUse+b.waiting < l.usable(b) {
			return l.hold(b, now)
		}
		if b.waiting > 0 || !l.mayTry(b, now) {
			if l.slots != nil && len(b.slots) < l.limits.Concurrency {
				l.want(key, b, now)
			}
			return nil
		}
		if !l.try(ctx, key, b) {
			return nil
		}
	}
}

// turn is the place at the end of a queue, in which one is served every pace:
// how long to stay away, most at most.
func (l *Limiter) turn(b *box, end *time.Time, pace, most time.Duration) time.Duration {
	now := time.Now()
	turn, closed := now.Add(b.service), b.closedUntil(now)
	for _, at := range []time.Time{closed, *end} {
		if at.After(turn) {
			turn = at
		}
	}
	*end = turn.Add(pace)
	wait := end.Sub(now)
	if wait > most {
		// Its place is not known so far ahead. All that are sent away until then
		// must not come back together.
		wait, *end = most-rand.N(most/2), now.Add(most)
	}
	if closed.After(now.Add(wait)) {
		wait = closed.Sub(now)
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
	// leastPatience and mostPatience bound how long they wait: as long as it takes
	// to serve all of them, twice over.
	leastPatience, mostPatience = 2 * time.Second, 20 * time.Second
	// maxTurn bounds how long a caller of queue is sent away.
	maxTurn = 10 * time.Minute
	// briskService is taken for the service until firstMeasures slots have come
	// back, of which the first take long (a token, a name to be looked up). It is
	// shorter than the service is likely to be: who comes back too early is sent
	// away once more, who comes too late has left a slot empty.
	briskService  = 50 * time.Millisecond
	firstMeasures = 20
)

// queue is [Client.QueueSlot].
func (l *Limiter) queue(ctx context.Context, m *mailbox) (func(), time.Duration, bool) {
	t, wait, ok := l.line(ctx, m)
	if !ok {
		return nil, wait, false
	}
	return t.Take(ctx)
}

// line is [Client.QueueTurn].
func (l *Limiter) line(ctx context.Context, m *mailbox) (*Turn, time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(m, now)
	if release := l.free(ctx, m.key, b, now); release != nil {
		return &Turn{limiter: l, box: b, release: release}, 0, true
	}
	now = time.Now() // to ask the others takes a moment
	service := b.service
	if b.measured < firstMeasures {
		service = min(service, briskService)
	}
	room, served := atHandNone, l.limits.Concurrency
	if l.slots != nil {
		served = max(len(b.slots), 1)
	}
	if l.slots == nil || len(b.slots) > 0 {
		room = atHand
	}
	patience := min(max(2*atHand*b.service/time.Duration(served), leastPatience), mostPatience)
	limit := now.Add(patience)
	if b.waiting < room && !b.closedUntil(now).After(limit) && b.tryAt.Before(limit) {
		if t := l.waitInLine(ctx, m.key, b, patience); t != nil {
			return t, 0, true
		}
	}
	// As if all slots were for those whom this process sends away, and a little
	// shorter than that: the others may be through with theirs, and a slot that
	// stands empty for want of commands is lost where a command that comes too
	// early is not.
	return nil, l.turn(b, &b.nextAt, service*3/4/time.Duration(l.limits.Concurrency), maxTurn), false
}

func (l *Limiter) waitInLine(ctx context.Context, key string, b *box, patience time.Duration) *Turn {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	b.waiting++
	if !l.wait(ctx, key, b, func() bool { return b.ahead+b.inUse+b.standing < l.usable(b)+standbys(l.usable(b)) }) {
		b.waiting--
		return nil
	}
	b.standing++
	return &Turn{limiter: l, key: key, box: b, began: began}
}

// insist is [Client.TakeSlot] for a caller that those who wait at hand must not
// keep away for ever: it waits a moment, and comes before them. Of each mailbox
// there are few of these.
func (l *Limiter) insist(ctx context.Context, m *mailbox) (func(), time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(m, now)
	if release := l.free(ctx, m.key, b, now); release != nil {
		return release, 0, true
	}
	const most, patience = 2, time.Second
	now = time.Now()
	if b.waiting > b.ahead && b.ahead < most && l.usable(b) > 0 && !b.closedUntil(now).After(now) {
		if release := l.waitAhead(ctx, m.key, b, patience); release != nil {
			return release, 0, true
		}
	}
	// They have a queue of their own: that of the commands can be minutes long.
	return nil, l.turn(b, &b.insistAt, b.service/time.Duration(l.limits.Concurrency), maxPark), false
}

func (l *Limiter) waitAhead(ctx context.Context, key string, b *box, patience time.Duration) func() {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b.ahead++
	defer func() { b.ahead-- }()
	return l.acquireIn(ctx, key, b, time.Now(), func() bool { return b.inUse < l.usable(b) })
}

// acquire is [Client.Acquire].
func (l *Limiter) acquire(ctx context.Context, m *mailbox) (func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(m, now)
	if release := l.acquireIn(ctx, m.key, b, now, func() bool { return b.inUse+b.ahead < l.usable(b) }); release != nil {
		return release, nil
	}
	return nil, context.Cause(ctx)
}

// acquireIn waits for a slot, until ctx ends: then it returns nil. The caller
// holds the lock, which is given up meanwhile.
func (l *Limiter) acquireIn(ctx context.Context, key string, b *box, began time.Time, free func() bool) func() {
	b.waiting++
	defer func() { b.waiting-- }()
	if !l.wait(ctx, key, b, free) {
		return nil
	}
	now := time.Now()
	if now.After(began) {
		l.metrics.waited(now.Sub(began).Seconds())
	}
	return l.hold(b, now)
}

// wait waits until the mailbox is open and it is the caller's turn, or until ctx
// ends. The caller holds the lock, and is counted in b.waiting.
func (l *Limiter) wait(ctx context.Context, key string, b *box, turn func() bool) bool {
	for {
		if ctx.Err() != nil {
			return false
		}
		now := time.Now()
		l.prune(b)
		closed := b.closedUntil(now)
		if !closed.After(now) && turn() {
			return true
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
	b.tickets++
	number := b.tickets
	b.out = append(b.out, ticket{number, now})
	return func() { l.release(b, number) }
}

// release counts a slot that came back. A ticket counts once.
func (l *Limiter) release(b *box, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(b.out, func(t ticket) bool { return t.number == number })
	if i < 0 {
		return
	}
	since := b.out[i].since
	b.out = slices.Delete(b.out, i, i+1)
	b.inUse--
	// One outlier (a frozen process, a token that had to be waited for) says
	// nothing about the next request, but would send everybody who is
	// refused now far away: a wait, once given, cannot be taken back.
	end := time.Now()
	held := min(max(end.Sub(since), minService), maxService, 4*b.service)
	b.service = (b.service*4 + held) / 5
	b.measured++
	l.handBack(b, end)
	b.wake()
}

// wake lets everybody in acquire look again.
func (b *box) wake() {
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
