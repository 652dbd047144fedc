package graph

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// LimiterOptions are what a [Limiter] is made of.
type LimiterOptions struct {
	// Limits bound the use of each mailbox.
	Limits Limits
	// Slots and Uses share them with other processes. Nil keeps the limits of
	// this process alone.
	Slots Slots
	Uses  Uses
	// Name labels the metrics: the name of the client, or of one of those that
	// share the limiter.
	Name string
	// Registerer takes the metrics; it may be nil.
	Registerer prometheus.Registerer
}

// Limiter keeps the limits of the mailboxes of one app. Clients with the same
// app id must share one, since Outlook counts per app and mailbox. It is safe
// for concurrent use. Close it where it has Slots.
type Limiter struct {
	limits  Limits
	slots   Slots // nil: not shared
	uses    Uses
	metrics *limitMetrics

	mu     sync.Mutex
	boxes  map[string]*box
	sweeps time.Time
	closed bool
	timers sync.WaitGroup
}

// mailbox is one whose limits a client keeps: where its state is, so that it need
// not be looked for with every request.
type mailbox struct {
	key string // its name for the limits; nobody changes it
	box *box   // nil: to be looked for. The limiter's lock guards it
}

// box is the state of one mailbox.
type box struct {
	at       []*mailbox    // who refers to it
	inUse    int           // slots that are with callers
	out      []ticket      // of these slots
	tickets  uint64        // given out so far
	flying   int           // requests under way
	landed   func()        // counts one of them out
	waiting  int           // who waits for a slot
	ahead    int           // of those, who comes before the others
	standing int           // of those, who is next and makes ready: a Turn without a slot
	changed  chan struct{} // closed and replaced when a slot comes back; nil while nobody waits
	service  time.Duration // how long a slot is held, smoothed
	measured int           // how many slots that is made from
	nextAt   time.Time     // the end of the virtual queue
	insistAt time.Time     // the end of that of the callers of insist
	parked   time.Time
	strikes  int // 429s in a row
	struckAt time.Time

	slots    []heldSlot
	trying   int             // being asked for
	tryAt    time.Time       // not asked for before
	wantedAt time.Time       // when we last told others that we wait
	refused  bool            // others had them all when they were asked for last
	wishes   map[string]wish // of others
	peak     int             // most slots in use since idle ones were last looked for
	watched  bool
	timer    *time.Timer

	shared   *sharedUse // use of all processes; nil while little was used here
	requests window     // of this process
	uploads  window
}

// ticket is one slot that is with a caller.
type ticket struct {
	number uint64
	since  time.Time
}

// NewLimiter makes a limiter.
func NewLimiter(o LimiterOptions) (*Limiter, error) {
	m, err := newLimitMetrics(o.Registerer, o.Name)
	if err != nil {
		return nil, err
	}
	return &Limiter{limits: o.Limits.withDefaults(), slots: o.Slots, uses: o.Uses, metrics: m, boxes: make(map[string]*box)}, nil
}

// of returns the state of a mailbox. The caller holds the lock.
func (l *Limiter) of(m *mailbox, now time.Time) *box {
	l.sweep(now)
	if m.box == nil {
		m.box = l.box(m.key, now)
		m.box.at = append(m.box.at, m)
	}
	return m.box
}

// sweep drops the idle ones now and then.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.sweeps) >= sweepEvery {
		l.sweeps = now
		for name, b := range l.boxes {
			if l.idle(b, now) {
				delete(l.boxes, name)
				for _, m := range b.at {
					m.box = nil
				}
			}
		}
	}
}

// box returns the state of a mailbox by its key.
func (l *Limiter) box(key string, now time.Time) *box {
	l.sweep(now)
	b := l.boxes[key]
	if b == nil {
		b = &box{
			service:  firstService,
			requests: newWindow(l.limits.RequestWindow, int64(l.limits.Requests)),
			uploads:  newWindow(l.limits.UploadWindow, l.limits.UploadBytes),
		}
		b.landed = func() { l.land(b, 1) } // made once, since most requests end so
		l.boxes[key] = b
	}
	return b
}

// idle reports whether forgetting a mailbox changes nothing.
func (l *Limiter) idle(b *box, now time.Time) bool {
	return b.inUse == 0 && b.waiting == 0 && b.flying == 0 && b.trying == 0 && len(b.slots) == 0 && !b.watched &&
		now.After(b.nextAt) && now.After(b.insistAt) && now.After(b.parked) &&
		(b.strikes == 0 || now.Sub(b.struckAt) > forgetStrikes) &&
		b.requests.empty(now) && b.uploads.empty(now) && (b.shared == nil || b.shared.empty(now))
}

// closedUntil returns when a mailbox may be used again as far as parking and
// the windows go. Requests of slots that are out are counted as made.
func (b *box) closedUntil(now time.Time) time.Time {
	until := b.parked
	requests, uploads, ahead := &b.requests, &b.uploads, int64(b.inUse)
	if b.shared != nil {
		requests, uploads, ahead = &b.shared.requests, &b.shared.uploads, max(ahead-b.shared.left, 0)
		if b.shared.left > 0 {
			ahead-- // there is one that was granted already
		}
	}
	for _, at := range []time.Time{requests.freeAt(now, ahead+1), uploads.freeAt(now, 1)} {
		if at.After(until) {
			until = at
		}
	}
	return until
}

// charge counts one request with a body of n bytes before it is sent. A wait
// says that it must not be sent yet, and why tells the code for the error; else
// done must be called when the request has ended.
func (l *Limiter) charge(ctx context.Context, m *mailbox, n int64) (done func(), wait time.Duration, why string) {
	return l.chargeAll(ctx, m, n, 1, 1)
}

// chargeAll is charge for a batch: it counts as so many requests, of which width
// run at once, each in a slot.
func (l *Limiter) chargeAll(ctx context.Context, m *mailbox, n int64, requests, width int) (done func(), wait time.Duration, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(m, now)
	if wait := b.parked.Sub(now); wait > 0 {
		return nil, wait, "mailbox_parked"
	}
	if wait := b.roomFor(now, int64(requests)); requests > 1 && wait > 0 {
		return nil, wait, "request_window" // before any of them is counted
	}
	for range requests {
		if wait, why := l.spend(ctx, m.key, b, now, n); wait > 0 {
			return nil, wait, why
		}
		n = 0 // the body is there once
	}
	// Last, because spending may have taken a moment: a slot that was lost while
	// this process was frozen is another's by now.
	if l.prune(b); l.slots != nil && b.flying+width > l.usable(b) || width > 1 && width > b.inUse {
		return nil, lostAgain, "slot_lost"
	}
	b.flying += width
	if width == 1 {
		return b.landed, 0, ""
	}
	return func() { l.land(b, width) }, 0, ""
}

// land counts requests out that were under way.
func (l *Limiter) land(b *box, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.flying -= n
}

// roomFor returns how long it takes until the window has room for n requests.
func (b *box) roomFor(now time.Time, n int64) time.Duration {
	if b.shared != nil {
		return b.shared.requests.freeAt(now, max(n-b.shared.left, 0)).Sub(now)
	}
	return b.requests.freeAt(now, n).Sub(now)
}

// park is [Client.Park].
func (l *Limiter) park(m *mailbox, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(m, now)
	l.parkBox(b, now, until)
	l.tellPark(m.key, b, now)
}

// tellPark tells the other processes for how long a mailbox is parked.
func (l *Limiter) tellPark(key string, b *box, now time.Time) {
	if wait := b.parked.Sub(now); l.slots != nil && wait > 0 {
		l.slots.Park(key, wait)
	}
}

func (l *Limiter) parkBox(b *box, now, until time.Time) {
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
func (l *Limiter) throttled(m *mailbox, asked time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.of(m, now)
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
	l.tellPark(m.key, b, now)
	return wait
}

// calm notes that a request passed.
func (l *Limiter) calm(m *mailbox) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.box != nil { // it was counted there, and has no strikes once it is forgotten
		m.box.strikes = 0
	}
}
