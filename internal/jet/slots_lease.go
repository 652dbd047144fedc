package jet

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// epochMark is the body of the message by which workers see that the stream is
// the one they know.
type epochMark struct {
	ID   string        `json:"id"`
	Wait time.Duration `json:"wait"` // from its storing on, no slot is taken
}

// run renews slots and watches the epoch until ctx ends.
func (s *Slots) run(ctx context.Context) {
	ticker := time.NewTicker(s.lease / 15)
	defer ticker.Stop()
	c := s.conn
	session := c.current(c.nc)
	var looked time.Time
	// behind says that what was said while nobody listened is to be read. That
	// goes on beside the loop, because slots do not wait for it.
	var behind, reading atomic.Bool
	for fresh := true; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-session.ctx.Done():
			fresh = true
		case <-ticker.C:
		}
		if now := c.current(c.nc); now != session {
			session, fresh = now, true
		}
		if !c.nc.IsConnected() {
			s.expire()
			continue
		}
		if fresh || time.Since(looked) > s.lease/3 {
			if err := s.check(ctx); err != nil {
				s.trouble(ctx, "epoch of slots cannot be read", err)
			} else {
				if fresh {
					behind.Store(true)
				}
				looked, fresh = time.Now(), false
			}
		}
		s.renewAll(ctx, session.number)
		s.expire()
		if behind.Load() && reading.CompareAndSwap(false, true) {
			behind.Store(false)
			s.work.Go(func() {
				defer reading.Store(false)
				if !s.resync(ctx) {
					behind.Store(true)
				}
			})
		}
	}
}

func (s *Slots) trouble(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.conn.log.DebugContext(ctx, "slots", "problem", what, "error", err)
	}
}

// renewers bounds how many renewals are under way at a time.
const renewers = 64

// renewAll renews what is due: slots of which a third of the lease is over, and
// all that were confirmed over another connection.
func (s *Slots) renewAll(ctx context.Context, session uint64) {
	s.mu.Lock()
	due := make([]*Slot, 0, len(s.held))
	for _, slot := range s.held {
		due = append(due, slot)
	}
	s.mu.Unlock()
	var all sync.WaitGroup
	free := make(chan struct{}, renewers)
	for _, slot := range due {
		slot.mu.Lock()
		old := !slot.gone && left(slot.sent.Add(s.lease/3)) <= s.lease/15
		slot.mu.Unlock()
		if !old && slot.confirmedIn() == session {
			continue
		}
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			if err := slot.renew(ctx); err != nil {
				s.trouble(ctx, "slot not renewed", err)
			}
		})
	}
	all.Wait()
}

func (slot *Slot) confirmedIn() uint64 {
	slot.op.Lock()
	defer slot.op.Unlock()
	return slot.session
}

// expire lets go of slots whose lease is over.
func (s *Slots) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for subject, slot := range s.held {
		slot.mu.Lock()
		over := left(slot.until) <= 0
		if over && !slot.gone {
			slot.gone = true
			s.lost.Add(1)
		}
		slot.mu.Unlock()
		if over {
			delete(s.held, subject)
		}
	}
}

// renew makes the lease of a slot begin anew.
func (slot *Slot) renew(ctx context.Context) error {
	slot.op.Lock()
	defer slot.op.Unlock()
	if slot.Lost() {
		return nil
	}
	s := slot.slots
	if s.conn.current(s.conn.nc).number == slot.session {
		after := slot.seq
		seq, sent, session, err := s.publish(ctx, slot.subject, &after)
		if err == nil {
			slot.seq, slot.session = seq, session
			slot.confirm(sent)
			if seq <= after {
				s.wake() // the server began anew, and happened to have this very sequence
			}
			return nil
		}
		if !wrongSequence(err) {
			return err // an answer may be lost: the next round looks
		}
	}
	return slot.recover(ctx)
}

// recover finds out what became of a slot whose message is not the one that we
// stored last: ours all the same (an answer was lost), somebody else's, or gone
// with the server, in which case it is taken again. The caller holds op.
func (slot *Slot) recover(ctx context.Context) error {
	s := slot.slots
	for range 3 {
		ours, found, err := slot.look(ctx)
		if err != nil {
			return err
		}
		var after *uint64
		switch {
		case ours:
			after = new(slot.seq)
		case found:
			slot.lose()
			return nil
		}
		slot.mu.Lock()
		over := left(slot.until) <= 0
		slot.mu.Unlock()
		if over {
			slot.lose() // whatever is there runs out by itself
			return nil
		}
		seq, sent, session, err := s.publish(ctx, slot.subject, after)
		if err == nil {
			slot.seq, slot.session = seq, session
			slot.confirm(sent)
			return nil
		}
		if !subjectTaken(err) && !wrongSequence(err) {
			return err
		}
		// By whom? A message of ours may have been stored late, or twice sent: what
		// is ours must not be given up for lost, or it stands in everybody's way.
	}
	return errors.New("the slot changes as fast as it is looked at")
}

// lose notes that the slot is not ours any more.
func (slot *Slot) lose() {
	if !slot.leave() {
		return
	}
	s := slot.slots
	s.lost.Add(1)
	s.mu.Lock()
	delete(s.held, slot.subject)
	s.mu.Unlock()
}

// wake has the loop look at the epoch now.
func (s *Slots) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// check looks whether the stream is the one that we know. In a new one every
// slot of ours is taken again before it returns, and others not for a while.
func (s *Slots) check(ctx context.Context) error {
	s.checking.Lock()
	defer s.checking.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	for range 4 {
		session := s.conn.current(s.conn.nc).number
		m, err := s.conn.last(ctx, s.conn.names.SlotsStream(), s.conn.names.slotEpoch())
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			if err = s.beginEpoch(ctx); err != nil {
				return err
			}
			continue
		}
		if apiCode(err) == codeStreamNotFound && s.conn.o.ManageStreams {
			// A server that stands alone forgets streams in memory altogether.
			if err = s.makeStream(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return mark(ctx, err, "read the epoch of slots")
		}
		var epoch epochMark
		if json.Unmarshal(m.Data, &epoch) != nil {
			epoch = epochMark{ID: string(m.Data), Wait: s.lease}
		}
		if err := s.enter(ctx, epoch, m.Time); err != nil {
			return err
		}
		s.mu.Lock()
		s.session = session
		s.mu.Unlock()
		return nil
	}
	return errors.New("the epoch of slots does not stay")
}

// beginEpoch marks an empty stream.
func (s *Slots) beginEpoch(ctx context.Context) error {
	// This stream is made anew whenever its server was, so its age says
	// nothing. That of the queue of feeds, which is on disk, is the connector's.
	info, err := s.info(ctx, s.conn.names.FeedsStream())
	if err != nil {
		return err
	}
	mark := epochMark{ID: rand.Text(), Wait: s.lease}
	switch {
	case info.TimeStamp.Sub(info.Created) < young && s.unknown():
		mark.Wait = 0 // nobody can have had a slot
	case s.unknown() && s.conn.o.InProcess != nil:
		mark.Wait = min(hostWait, s.lease)
	}
	data, err := json.Marshal(mark)
	if err != nil {
		return err
	}
	m := Msg{Subject: s.conn.names.slotEpoch(), Data: data}
	_, err = s.conn.publish(ctx, m.nats(), jetstream.WithExpectLastSequencePerSubject(0))
	if subjectTaken(err) || wrongSequence(err) {
		return nil // another worker was first
	}
	return err
}

// makeStream makes the stream of slots where it is missing.
func (s *Slots) makeStream(ctx context.Context) error {
	name := s.conn.names.SlotsStream()
	for _, want := range s.conn.streamConfigs() {
		if want.Name == name {
			_, err := s.conn.step(ctx, name, func(ctx context.Context) ([]string, error) { return s.conn.ensureStream(ctx, want) })
			return err
		}
	}
	return nil
}

func (s *Slots) info(ctx context.Context, name string) (*jetstream.StreamInfo, error) {
	var info *jetstream.StreamInfo
	err := s.conn.read(ctx, func(ctx context.Context) error {
		stream, err := s.conn.stream(ctx, name)
		if err == nil {
			info, err = stream.Info(ctx)
		}
		return err
	})
	return info, err
}

// enter notes the epoch that was found, stored at a time of the server's clock.
func (s *Slots) enter(ctx context.Context, epoch epochMark, stored time.Time) error {
	s.mu.Lock()
	known := s.epoch
	s.mu.Unlock()
	if known == epoch.ID {
		return nil
	}
	wait := epoch.Wait
	if wait > 0 {
		info, err := s.info(ctx, s.conn.names.SlotsStream())
		if err != nil {
			return err
		}
		wait -= info.TimeStamp.Sub(stored)
	}
	s.mu.Lock()
	s.epoch, s.openAt, s.maxSeq = epoch.ID, time.Now().Add(min(max(wait, 0), s.lease)), 0
	held := make([]*Slot, 0, len(s.held))
	for _, slot := range s.held {
		held = append(held, slot)
	}
	s.mu.Unlock()
	if known != "" {
		s.conn.log.WarnContext(ctx, "the server has lost the slots of mailboxes, new ones are taken after a wait",
			"stream", s.conn.names.SlotsStream(), "wait", wait, "held", len(held))
	}
	var all sync.WaitGroup
	for _, slot := range held {
		all.Go(func() {
			slot.op.Lock()
			defer slot.op.Unlock()
			if slot.Lost() {
				return
			}
			if err := slot.recover(ctx); err != nil {
				s.trouble(ctx, "slot not taken again yet", err)
			}
		})
	}
	all.Wait()
	return nil
}
