package jet

import (
	"sync"
	"time"
)

const (
	// corkFor is how long a message waits for company at most, and corkFrom how many
	// must have come in such a time for the next one to wait. Each write to the
	// connection, and each read at the other end, costs as much as a few messages;
	// without load nobody waits.
	corkFor  = 2 * time.Millisecond
	corkFrom = 6
	// corkPatient is corkFor where all that wait are patient (see letter).
	corkPatient = 3 * corkFor
	// corkEnough is how many go out without any further wait.
	corkEnough = 64
	// corkRest is how long nobody waits after corkVain waits that were in vain.
	corkVain = 2
	corkRest = 20 * time.Millisecond
)

// cork says how long the first message that waits to be sent should wait for
// others.
type cork struct {
	began time.Time // of the stretch in which messages are counted
	from  uint64    // how many had come by then
	dense bool      // there were many in the last stretch
	vain  int       // waits in vain since the last one that was not
	rest  time.Time // until when nobody waits
}

// wait returns how long to wait at most, now that so many messages have come in all.
func (c *cork) wait(now time.Time, came uint64) time.Duration {
	if passed := now.Sub(c.began); passed >= corkFor {
		c.dense = float64(came-c.from)*corkFor.Seconds() >= corkFrom*passed.Seconds()
		c.began, c.from = now, came
	}
	if !c.dense || now.Before(c.rest) {
		return 0
	}
	return corkPatient
}

// waited notes how many were sent after a wait, and how long after the first of
// them the last one came. Where all come at once and then no more, they are of
// callers who do nothing but wait for the answers, and only lose by it.
func (c *cork) waited(now time.Time, messages int, spread time.Duration) {
	if messages >= corkEnough || spread >= corkFor/2 {
		c.vain = 0
		return
	}
	if c.vain++; c.vain == corkVain {
		c.vain, c.rest = 0, now.Add(corkRest)
	}
}

// outbox has the messages that wait to be sent.
type outbox struct {
	wake  chan struct{} // told of the first that waits
	hurry chan struct{} // told of the first that is not patient, and is not the first
	full  chan struct{} // told of the corkEnough-th
	stop  chan struct{}

	mu     sync.Mutex
	queue  []*letter
	spare  []*letter // a queue that was sent, for the next one
	came   uint64
	first  time.Time // when the first of the queue came, and the last one
	latest time.Time
	urgent time.Time // when the first came that is not patient; zero: there is none
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{})}
}

// put has a message sent, soon.
func (o *outbox) put(one *letter) {
	now := time.Now()
	o.mu.Lock()
	o.came++
	if len(o.queue) == 0 {
		o.first = now
	}
	o.latest = now
	o.queue = append(o.queue, one)
	waiting, hurry := len(o.queue), !one.patient && o.urgent.IsZero()
	if hurry {
		o.urgent = now
	}
	o.mu.Unlock()
	switch {
	case waiting == 1:
		tell(o.wake)
	case waiting == corkEnough:
		tell(o.full)
	case hurry:
		tell(o.hurry)
	}
}

// tell makes a channel with room for one have something to receive.
func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run has what waits sent in groups, and look called from time to time, until
// stop is closed. It calls one of both at a time. The group is its own again
// afterwards.
func (o *outbox) run(send func(group []*letter), look func()) {
	ticker := time.NewTicker(postLook)
	defer ticker.Stop()
	company := time.NewTimer(time.Hour)
	defer company.Stop()
	var cork cork
	for {
		select {
		case <-o.stop:
			return
		case <-ticker.C:
			look()
			continue
		case <-o.wake:
		}
		most := o.most(&cork)
		for left := o.left(most); left > 0; left = o.left(most) {
			company.Reset(left)
			select {
			case <-company.C:
			case <-o.hurry:
			case <-o.full:
			case <-o.stop:
				return
			}
		}
		group, spread := o.take()
		if most > 0 {
			cork.waited(time.Now(), len(group), spread)
		}
		send(group)
	}
}

// most returns how long the first of the queue may wait.
func (o *outbox) most(c *cork) time.Duration {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	return c.wait(now, o.came)
}

// left returns how long others may still come, where the first of the queue may wait
// for so long.
func (o *outbox) left(most time.Duration) time.Duration {
	if most == 0 {
		return 0
	}
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= corkEnough {
		return 0
	}
	until := o.first.Add(most)
	if hurry := o.urgent.Add(corkFor); !o.urgent.IsZero() && hurry.Before(until) {
		until = hurry
	}
	return until.Sub(now)
}

// take takes what waits, and tells how long after the first of it the last came.
func (o *outbox) take() (group []*letter, spread time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	group = o.queue
	clear(o.spare)
	o.queue, o.spare, o.urgent = o.spare[:0], group, time.Time{}
	for _, c := range [...]chan struct{}{o.full, o.hurry} {
		select {
		case <-c: // it was of this group
		default:
		}
	}
	return group, o.latest.Sub(o.first)
}
