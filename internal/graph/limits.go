package graph

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Limits bound the use of one mailbox by one client. The zero value of each
// field means Outlook's own limit per app and mailbox:
// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
type Limits struct {
	// Concurrency is how many slots there are. Zero means 4.
	Concurrency int
	// Requests per RequestWindow, every attempt and page counted. Zero means
	// 10,000 per 10 min.
	Requests      int
	RequestWindow time.Duration
	// UploadBytes per UploadWindow, in request bodies. Zero means 150 MB per
	// 5 min.
	UploadBytes  int64
	UploadWindow time.Duration
}

// withDefaults fills in what the zero value means.
func (l Limits) withDefaults() Limits {
	if l.Concurrency <= 0 {
		l.Concurrency = 4
	}
	if l.Requests <= 0 {
		l.Requests = 10_000
	}
	if l.RequestWindow <= 0 {
		l.RequestWindow = 10 * time.Minute
	}
	if l.UploadBytes <= 0 {
		l.UploadBytes = 150_000_000
	}
	if l.UploadWindow <= 0 {
		l.UploadWindow = 5 * time.Minute
	}
	return l
}

const (
	// maxPark bounds how long a mailbox is left alone at a time, and how long a
	// caller is sent away.
	maxPark = 15 * time.Minute
	// The time that a slot is held is learned, from this guess and within
	// these bounds.
	firstService, minService, maxService = 250 * time.Millisecond, 20 * time.Millisecond, 30 * time.Second
	// firstStrike is the least wait after a 429 that names none, and lastStrike
	// what it grows to.
	firstStrike, lastStrike = time.Second, time.Minute
	// forgetStrikes is how long a mailbox must not be throttled to start anew.
	forgetStrikes = 10 * time.Minute
	// sweepEvery is how often idle mailboxes are looked for.
	sweepEvery = time.Minute
)

// TakeSlot takes one of the mailbox's slots for one request, or for a few in a
// row. With ok it returns release, which must be called when they are done and
// may be called twice. Without ok it says how long to stay away: the waits of
// many callers are spread as a queue would serve them, so that who comes back
// after its wait usually finds a slot. It never blocks.
//
// The limits are those of this process; several processes with the same app
// share Outlook's limit without knowing of each other.
func (c *Client) TakeSlot(mailbox string) (release func(), wait time.Duration, ok bool) {
	return c.limits.take(limitKey(mailbox))
}

// Acquire takes a slot as [Client.TakeSlot] does, waiting for it until ctx
// ends. Those who wait here come before those who ask TakeSlot.
func (c *Client) Acquire(ctx context.Context, mailbox string) (release func(), err error) {
	return c.limits.acquire(ctx, limitKey(mailbox))
}

// Park leaves a mailbox alone until a time, at most 15 minutes from now; an
// earlier time than it is parked for already changes nothing. [Client.Do] and
// [Client.Page] park a mailbox by themselves when Graph throttles it.
func (c *Client) Park(mailbox string, until time.Time) { c.limits.park(limitKey(mailbox), until) }

// limiter keeps the state of the mailboxes in use.
type limiter struct {
	limits Limits
	waited func(seconds float64) // for the metric

	mu     sync.Mutex
	boxes  map[string]*box
	sweeps time.Time
}

// box is the state of one mailbox.
type box struct {
	inUse    int
	waiting  int           // callers of acquire
	changed  chan struct{} // closed and replaced when a slot comes back; nil while nobody waits
	service  time.Duration // how long a slot is held, smoothed
	nextAt   time.Time     // the end of the virtual queue
	parked   time.Time
	strikes  int // 429s in a row
	struckAt time.Time
	requests window
	uploads  window
}

func newLimiter(limits Limits, waited func(float64)) *limiter {
	return &limiter{limits: limits.withDefaults(), waited: waited, boxes: make(map[string]*box)}
}

// box returns the state of a mailbox and now and then drops the idle ones.
func (l *limiter) box(key string, now time.Time) *box {
	if now.Sub(l.sweeps) >= sweepEvery {
		l.sweeps = now
		for name, b := range l.boxes {
			if l.idle(b, now) {
				delete(l.boxes, name)
			}
		}
	}
	b := l.boxes[key]
	if b == nil {
		b = &box{
			service:  firstService,
			requests: newWindow(l.limits.RequestWindow, int64(l.limits.Requests)),
			uploads:  newWindow(l.limits.UploadWindow, l.limits.UploadBytes),
		}
		l.boxes[key] = b
	}
	return b
}

// idle reports whether forgetting a mailbox changes nothing.
func (l *limiter) idle(b *box, now time.Time) bool {
	return b.inUse == 0 && b.waiting == 0 && now.After(b.nextAt) && now.After(b.parked) &&
		(b.strikes == 0 || now.Sub(b.struckAt) > forgetStrikes) &&
		b.requests.empty(now) && b.uploads.empty(now)
}

// closedUntil returns when a mailbox may be used again as far as parking and
// the windows go. Requests of slots that are out are counted as made.
func (b *box) closedUntil(now time.Time) time.Time {
	until := b.parked
	for _, at := range []time.Time{b.requests.freeAt(now, int64(b.inUse)+1), b.uploads.freeAt(now, 1)} {
		if at.After(until) {
			until = at
		}
	}
	return until
}

// take is [Client.TakeSlot].
func (l *limiter) take(key string) (func(), time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.box(key, now)
	closed := b.closedUntil(now)
	if !closed.After(now) && b.inUse+b.waiting < l.limits.Concurrency {
		return l.hold(b, now), 0, true
	}
	// The place at the end of the queue: one is served every service/slots.
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
	l.waited(wait.Seconds())
	return nil, wait, false
}

// acquire is [Client.Acquire].
func (l *limiter) acquire(ctx context.Context, key string) (func(), error) {
	started := time.Now()
	l.mu.Lock()
	b := l.box(key, started)
	b.waiting++
	for {
		now := time.Now()
		closed := b.closedUntil(now)
		if !closed.After(now) && b.inUse < l.limits.Concurrency && ctx.Err() == nil {
			b.waiting--
			release := l.hold(b, now)
			l.mu.Unlock()
			if now.After(started) {
				l.waited(now.Sub(started).Seconds())
			}
			return release, nil
		}
		if b.changed == nil {
			b.changed = make(chan struct{})
		}
		changed := b.changed
		l.mu.Unlock()
		// Woken by a slot that comes back, or by the end of parking.
		var open <-chan time.Time
		timer := (*time.Timer)(nil)
		if closed.After(now) {
			timer = time.NewTimer(closed.Sub(now))
			open = timer.C
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-open:
		}
		if timer != nil {
			timer.Stop()
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			b.waiting--
			l.mu.Unlock()
			return nil, context.Cause(ctx)
		}
	}
}

// hold counts a slot and returns its release. The caller holds the lock.
func (l *limiter) hold(b *box, now time.Time) func() {
	b.inUse++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		b.inUse--
		// One outlier (a frozen process, a token that had to be waited for) says
		// nothing about the next request, but would send everybody who is
		// refused now far away: a wait, once given, cannot be taken back.
		held := min(max(time.Since(now), minService), maxService, 4*b.service)
		b.service = (b.service*4 + held) / 5
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

// charge counts one request with a body of n bytes before it is sent. A wait
// says that it must not be sent yet, and why tells the code for the error.
func (l *limiter) charge(key string, n int64) (wait time.Duration, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.box(key, now)
	if wait := b.parked.Sub(now); wait > 0 {
		return wait, "mailbox_parked"
	}
	if wait := b.requests.freeAt(now, 1).Sub(now); wait > 0 {
		return wait, "request_window"
	}
	if n > 0 {
		if wait := b.uploads.freeAt(now, n).Sub(now); wait > 0 {
			return wait, "upload_window"
		}
		b.uploads.add(now, n)
	}
	b.requests.add(now, 1)
	return 0, ""
}

// park is [Client.Park].
func (l *limiter) park(key string, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.parkBox(l.box(key, now), now, until)
}

func (l *limiter) parkBox(b *box, now, until time.Time) {
	if limit := now.Add(maxPark); until.After(limit) {
		until = limit
	}
	if until.After(b.parked) {
		b.parked = until
	}
}

// throttled parks a mailbox after a 429 and returns for how long: at least
// what Graph asked for, and more from time to time. Graph may ask for one
// second for ever, or for nothing; every repeat that comes too early counts
// against the mailbox, so the wait grows until a request passes:
// https://learn.microsoft.com/graph/throttling#best-practices-to-handle-throttling
func (l *limiter) throttled(key string, asked time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.box(key, now)
	if now.Sub(b.struckAt) > forgetStrikes {
		b.strikes = 0
	}
	// Requests that were under way together are one strike.
	if !b.parked.After(now) {
		b.strikes++
	}
	b.struckAt = now
	ceiling := min(firstStrike<<min(b.strikes, 10), lastStrike)
	wait := ceiling/2 + rand.N(ceiling/2)
	wait = max(asked, wait, b.parked.Sub(now))
	l.parkBox(b, now, now.Add(wait))
	return wait
}

// calm notes that a request passed.
func (l *limiter) calm(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.boxes[key]; b != nil {
		b.strikes = 0
	}
}
