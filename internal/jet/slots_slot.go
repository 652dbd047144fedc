package jet

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Slot is one held slot. Its methods may be called at the same time.
type Slot struct {
	slots   *Slots
	mailbox string
	number  int
	subject string

	op      sync.Mutex // one request about this slot at a time; guards what follows
	seq     uint64
	session uint64 // reconnects until the server last confirmed it

	mu    sync.Mutex
	gone  bool // lost or given back
	until time.Time
	sent  time.Time // when the message was sent that the server stored last
}

// holder is the body of a slot's message.
type holder struct {
	Worker string    `json:"worker"`
	Taken  time.Time `json:"taken"` // by the worker's clock, for people
}

// confirm notes that the server holds the slot for us since a message that was
// sent then.
func (slot *Slot) confirm(sent time.Time) {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	slot.sent, slot.until = sent, sent.Add(slot.slots.lease)
}

// Usable reports whether a request may begin in this slot now: it is ours, and
// a third of its lease is left, so that most requests end before somebody else
// could have it even if it cannot be renewed any more. It looks at both clocks
// of the machine, because the monotonic one stands still while a machine sleeps.
func (slot *Slot) Usable() bool {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	return !slot.gone && left(slot.until) > slot.slots.lease/3
}

// Lost reports that the slot is no longer held: given back, or lost.
func (slot *Slot) Lost() bool {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	return slot.gone
}

// left is how long it is until then, by the more pessimistic clock.
func left(until time.Time) time.Duration {
	now := time.Now()
	return min(until.Sub(now), until.Round(0).Sub(now.Round(0)))
}

// Release gives the slot back, soon and without waiting for it. Calls after the
// first do nothing.
func (slot *Slot) Release() { slot.HandTo("") }

// HandTo is Release for another worker, as [SlotsListener] named it: the others
// leave it to that one for a moment.
func (slot *Slot) HandTo(worker string) {
	if !slot.leave() {
		return
	}
	s := slot.slots
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.work.Go(func() { slot.giveBack(true, worker) })
	}
}

// leave marks the slot as not ours; false where it was not.
func (slot *Slot) leave() bool {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	ours := !slot.gone
	slot.gone = true
	return ours
}

// giveBack deletes the slot's message. Where that fails the lease runs out.
func (slot *Slot) giveBack(tell bool, worker string) {
	slot.op.Lock()
	defer slot.op.Unlock()
	s := slot.slots
	defer func() {
		s.mu.Lock()
		delete(s.held, slot.subject)
		s.mu.Unlock()
	}()
	c := s.conn
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.timeout())
	defer cancel()
	if !c.nc.IsConnected() {
		return
	}
	if c.current(c.nc).number != slot.session {
		// The sequence may be another's by now.
		if ours, _, err := slot.look(ctx); err != nil || !ours {
			return
		}
	}
	err := c.do(ctx, func(ctx context.Context) error {
		stream, err := c.stream(ctx, c.names.SlotsStream())
		if err == nil {
			err = stream.DeleteMsg(ctx, slot.seq)
		}
		return err
	})
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		c.log.DebugContext(ctx, "slot not given back, its lease runs out", "error", err)
		return
	}
	if tell {
		s.say(slot.mailbox, sayFree, nats.Header{headerSlot: {strconv.Itoa(slot.number)}, headerNext: {worker}})
	}
}

// look reads the slot's message. ours says that it is this holder's; it then
// takes over the sequence. found says that there is one at all.
func (slot *Slot) look(ctx context.Context) (ours, found bool, err error) {
	s := slot.slots
	// As short as any question about slots: one that a starting server never
	// answers must not outlast the lease.
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	session := s.conn.current(s.conn.nc).number
	m, err := s.conn.last(ctx, s.conn.names.SlotsStream(), slot.subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	var by holder
	if bad := json.Unmarshal(m.Data, &by); bad != nil || by.Worker != s.id {
		return false, true, nil // what nobody can read is not ours
	}
	slot.seq, slot.session = m.Sequence, session
	return true, true, nil
}
