package jet

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DefaultLease is how long a slot stays taken after its holder was last heard
// of: long enough for a pause of garbage collection, a leader election or a
// restart of the server, short enough that a dead worker blocks nobody for long.
const DefaultLease = 15 * time.Second

const (
	// hostWait is what [Options.InProcess] shortens the wait after a restart to:
	// the other workers are on this machine, and connect again within 0.6 s.
	hostWait = 2 * time.Second
	// young is the age of the connector's streams under which one without slots
	// never had any, and did not lose them.
	young = 5 * time.Second
)

// SlotsOptions say whose slots they are.
type SlotsOptions struct {
	// App is the app id. Slots of different apps have nothing to do with each
	// other.
	App string
	// Lease replaces [DefaultLease]; it is for tests and in whole seconds. All
	// workers must have the same.
	Lease time.Duration
	// Listener hears what other workers say. Its methods are called from
	// several goroutines and must return at once. It may be nil.
	Listener SlotsListener
}

// SlotsListener hears about mailboxes from the other workers.
type SlotsListener interface {
	// Parked says that a mailbox is to be left alone until then.
	Parked(mailbox string, until time.Time)
	// Wanted says that another worker, which has so many slots of the mailbox,
	// waits for one more; with all of them it does not wait any more.
	Wanted(mailbox, worker string, held int)
	// Freed says that another worker gave a slot of the mailbox back: for the
	// worker next, or, where that is "", for this one or whoever asks first.
	Freed(mailbox, next string)
	// Used hands over what another worker stored with [Slots.Store].
	Used(mailbox string, data []byte)
}

// Slots are the slots of the mailboxes of one app, shared by all workers on the
// same streams. Get them with [Conn.Slots], and Close them.
//
// A slot is a message on a subject of its own. It is taken by publishing, which
// the server refuses where there is a message already; it is renewed by
// replacing the message with compare-and-set three times in a lease; and it is
// given back by deleting the message. Its time to live is the lease, so that the
// slots of a dead worker come back by themselves.
//
// The stream is in memory. A restarted server knows no slots, and where it
// stands alone not even the stream, which the workers make again (with
// ManageStreams; else the operator must). Every holder then takes its own ones again, which it may do while its lease lasts, and for the
// length of a lease nobody takes another one.
type Slots struct {
	conn   *Conn
	app    string
	lease  time.Duration
	ttl    string // the lease, as the server takes it
	id     string // of this holder, in its messages
	listen SlotsListener

	mu      sync.Mutex
	held    map[string]*Slot    // by subject
	pending map[string]struct{} // subjects that are being taken
	maxSeq  uint64              // the highest sequence that the server gave us
	epoch   string              // of the stream; empty: not known yet
	openAt  time.Time           // from then on slots may be taken
	session uint64              // the connection over which the epoch was seen last
	freed   map[string]*freed   // by mailbox: what others gave back a moment ago
	closed  bool

	checking sync.Mutex // one look at the epoch at a time
	kick     chan struct{}
	end      context.CancelFunc
	ctx      context.Context // of everything that runs behind
	work     sync.WaitGroup
	subs     []*nats.Subscription

	lost atomic.Int64
}

// Slots starts to look after the slots of an app, as part of ctx's life: its
// end does the same as Close, but does not wait.
func (c *Conn) Slots(ctx context.Context, o SlotsOptions) (*Slots, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Slots{
		conn: c, app: o.App, lease: max(cmp.Or(o.Lease, DefaultLease).Round(time.Second), time.Second), id: rand.Text(), listen: o.Listener,
		held: map[string]*Slot{}, pending: map[string]struct{}{}, freed: map[string]*freed{}, kick: make(chan struct{}, 1), end: cancel, ctx: ctx,
	}
	s.ttl = strconv.Itoa(int(s.lease / time.Second))
	if s.listen != nil {
		for kind, handle := range map[string]func(mailbox string, m *nats.Msg){"want": s.heardWant, "park": s.heardPark, "use": s.heardUse} {
			sub, err := c.nc.Subscribe(c.names.ofApp(kind, o.App), func(m *nats.Msg) {
				if mailbox, ok := c.names.tail(kind, o.App, m.Subject); ok && m.Header.Get(headerFrom) != s.id {
					handle(mailbox, m)
				}
			})
			if err != nil {
				s.unsubscribe()
				cancel()
				return nil, mark(ctx, err, "listen to slots")
			}
			s.subs = append(s.subs, sub)
		}
	}
	s.work.Go(func() { s.run(ctx) })
	return s, nil
}

// Close gives all slots back and waits until that is done, or could not be.
// Nothing may be taken any more.
func (s *Slots) Close() {
	s.mu.Lock()
	s.closed = true
	held := make([]*Slot, 0, len(s.held))
	for _, slot := range s.held {
		held = append(held, slot)
	}
	s.mu.Unlock()
	s.unsubscribe()
	var all sync.WaitGroup
	for _, slot := range held {
		if slot.leave() {
			all.Go(func() { slot.giveBack(false, "") })
		}
	}
	all.Wait()
	s.end()
	s.work.Wait()
}

func (s *Slots) unsubscribe() {
	for _, sub := range s.subs {
		_ = sub.Unsubscribe() // fails only with the connection
	}
	s.subs = nil
}

// Lost returns how many slots were lost so far: another worker has them, or
// could have, because this one could not renew them in time.
func (s *Slots) Lost() int64 { return s.lost.Load() }

// Held returns how many slots this worker holds.
func (s *Slots) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Waits returns how long no new slot may be taken, because the server lost them
// all; zero or less where they may.
func (s *Slots) Waits() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == "" {
		return s.lease / 15
	}
	return time.Until(s.openAt)
}

// Take takes one of a mailbox's slots, numbered from 1 to limit, which must be
// the same for all workers. A nil slot without an error says that none is to be
// had: not before wait is over, or, where that is zero, because others have
// them all. It does not wait for one.
func (s *Slots) Take(ctx context.Context, mailbox string, limit int) (slot *Slot, wait time.Duration, err error) {
	// After a reconnect the server may have lost all slots: to take one before
	// that is known would take it from its holder.
	if !s.sure() {
		if err := s.check(ctx); err != nil {
			return nil, 0, err
		}
	}
	if wait := s.Waits(); wait > 0 {
		return nil, wait, nil
	}
	for _, number := range s.candidates(mailbox, limit) {
		slot, err := s.try(ctx, number, mailbox)
		if err != nil {
			return nil, 0, mark(ctx, err, "take a slot")
		}
		if slot != nil {
			if wait := s.Waits(); wait > 0 { // the server was lost meanwhile
				slot.Release() //nolint:contextcheck // it must reach the server whatever becomes of the caller
				return nil, wait, nil
			}
			return slot, 0, nil
		}
	}
	return nil, 0, nil
}

// sure reports whether the epoch was seen over the connection that there is now.
func (s *Slots) sure() bool {
	now := s.conn.current(s.conn.nc).number
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch != "" && s.session == now
}

func (s *Slots) unknown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch == ""
}

// try takes the slot of a number; nil where somebody has it, also this worker.
func (s *Slots) try(ctx context.Context, number int, mailbox string) (*Slot, error) {
	subject := s.conn.names.slotSubject(s.app, number, mailbox)
	s.mu.Lock()
	_, held := s.held[subject]
	_, pending := s.pending[subject]
	if held || pending || s.closed {
		s.mu.Unlock()
		return nil, nil
	}
	s.pending[subject] = struct{}{}
	before, epoch := s.maxSeq, s.epoch
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.pending, subject)
		s.mu.Unlock()
	}()
	slot := &Slot{slots: s, mailbox: mailbox, number: number, subject: subject}
	seq, sent, session, err := s.publish(ctx, subject, nil)
	if subjectTaken(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slot.seq, slot.session = seq, session
	slot.confirm(sent)
	// Sequences only go back where the server began anew, and what was sent while
	// the connection broke may have waited for the next one.
	if seq <= before || s.conn.current(s.conn.nc).number != session {
		if err := s.check(ctx); err != nil {
			return nil, err // the slot runs out by itself
		}
	}
	s.mu.Lock()
	closed, stale := s.closed, s.epoch != epoch && time.Until(s.openAt) > 0
	if !closed && !stale {
		s.held[subject] = slot
	}
	s.mu.Unlock()
	if closed || stale {
		slot.giveBack(false, "") //nolint:contextcheck // as in Release; here, because Close may wait for nothing new
		return nil, nil
	}
	return slot, nil
}

// publish stores a message of a slot: a new one, or in place of the one with
// the sequence after.
func (s *Slots) publish(ctx context.Context, subject string, after *uint64) (seq uint64, sent time.Time, session uint64, err error) {
	if !s.conn.nc.IsConnected() {
		return 0, time.Time{}, 0, errNotConnected
	}
	data, err := json.Marshal(holder{Worker: s.id, Taken: time.Now().UTC()})
	if err != nil {
		return 0, time.Time{}, 0, err
	}
	// Written out, as every slot in use is renewed every few seconds.
	header := nats.Header{
		jetstream.ExpectedStreamHeader: {s.conn.names.SlotsStream()},
		jetstream.MsgTTLHeader:         {s.ttl},
	}
	if after != nil {
		header[jetstream.MsgRollup] = []string{jetstream.MsgRollupSubject}
		header[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(*after, 10)}
	}
	// The caller's end must not leave a slot behind of which nobody knows.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout())
	defer cancel()
	session = s.conn.current(s.conn.nc).number
	sent = time.Now()
	ack, err := s.conn.publish(ctx, &nats.Msg{Subject: subject, Header: header, Data: data})
	if err != nil {
		return 0, time.Time{}, 0, err
	}
	s.mu.Lock()
	s.maxSeq = max(s.maxSeq, ack.Sequence)
	s.mu.Unlock()
	return ack.Sequence, sent, session, nil
}

// timeout bounds one request about slots: a fifth of the lease (3 s), so that one
// lost answer, as at a restart of the server, leaves time to ask again before the
// lease is over.
func (s *Slots) timeout() time.Duration { return s.lease / 5 }
