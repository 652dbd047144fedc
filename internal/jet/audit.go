package jet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Audit is the record of who had what done. Get it with [Conn.Audit]. It exists
// where [Options.Audit] is set.
type Audit struct{ conn *Conn }

// Audit returns the audit record.
func (c *Conn) Audit() *Audit { return &Audit{c} }

// Append stores a message of a chain behind the chain's message with sequence
// after (zero: the chain is new) and returns its sequence. [ErrConflict] says that
// the chain's last message is another one. Any other error leaves open whether it
// is stored: [Audit.Last] tells. Where ctx ends, data may be in use for a while.
func (a *Audit) Append(ctx context.Context, chain string, data []byte, after uint64) (uint64, error) {
	subject, err := a.conn.names.Audit(chain)
	if err != nil {
		return 0, err
	}
	if err := a.conn.reach(ctx); err != nil {
		return 0, mark(ctx, err, "store audit rows")
	}
	s := newSingle(nil)
	s.patient = true
	s.take(Msg{Subject: subject, Data: data})
	expect(s.m.Header, a.conn.names.AuditStream(), after)
	a.conn.post.send(&s.letter)
	sequence, err := s.wait(ctx)
	if wrongSequence(err) {
		return 0, ErrConflict
	}
	return sequence, mark(ctx, err, "store audit rows")
}

// MaxMessage returns how many bytes a message of a chain may have: what the server
// takes, less what the headers need. It is 0 before the first connection.
func (a *Audit) MaxMessage() int {
	most := int(a.conn.nc.MaxPayload())
	if most <= 0 {
		return 0
	}
	return max(most-blobHeadroom, 1<<10)
}

// Last returns the last message of a chain, nil and 0 where there is none. It is
// read from the stream's leader.
func (a *Audit) Last(ctx context.Context, chain string) ([]byte, uint64, error) {
	subject, err := a.conn.names.Audit(chain)
	if err != nil {
		return nil, 0, err
	}
	msg, err := a.conn.last(ctx, a.conn.names.AuditStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, mark(ctx, err, "read audit chain %s", chain)
	}
	return msg.Data, msg.Sequence, nil
}

// AuditState is what the server says of the record.
type AuditState struct {
	// Created is when the stream was made: a record that began later than it should
	// has been made anew.
	Created time.Time
	// First and Last are the sequences of the messages that are there; Last is 0
	// where nothing was ever stored.
	First, Last uint64
	// Keep is after how long a message is dropped; zero: never.
	Keep time.Duration
	// Locked is true where the server lets nobody remove messages.
	Locked bool
}

// State asks the server for the state of the record.
func (a *Audit) State(ctx context.Context) (state AuditState, err error) {
	err = a.conn.read(ctx, func(ctx context.Context) error {
		s, err := a.conn.js.Stream(ctx, a.conn.names.AuditStream())
		if err != nil {
			return err
		}
		info := s.CachedInfo()
		state = AuditState{
			Created: info.Created, First: info.State.FirstSeq, Last: info.State.LastSeq, Keep: info.Config.MaxAge,
			Locked: info.Config.DenyDelete && info.Config.DenyPurge,
		}
		return nil
	})
	return state, mark(ctx, err, "look at the audit record")
}

// AuditMessage is a stored message of a chain.
type AuditMessage struct {
	Chain    string
	Sequence uint64
	Time     time.Time
	Data     []byte
}

// auditAhead is how many messages are read ahead: each is of some hundred kB at
// most, and mostly much smaller.
const auditAhead = 32

// Each calls f with the messages of the record that were stored at or after
// since (zero: all) and up to the sequence last, the oldest first, until f returns
// an error. It keeps only a few in memory.
func (a *Audit) Each(ctx context.Context, since time.Time, last uint64, f func(m AuditMessage) error) error {
	if last == 0 {
		return nil
	}
	filter, err := a.conn.names.Audit("")
	if err != nil {
		return err
	}
	r := reader{conn: a.conn, stream: a.conn.names.AuditStream(), filter: filter, since: since, ahead: auditAhead}
	if err := r.open(ctx); err != nil {
		return mark(ctx, err, "read the audit record")
	}
	defer r.iterator.Stop()
	for left := r.pending; left > 0; {
		m, err := r.next(ctx)
		if err != nil {
			return mark(ctx, err, "read the audit record")
		}
		meta, err := m.Metadata()
		if err != nil {
			return mark(ctx, err, "read the audit record")
		}
		left = meta.NumPending
		if meta.Sequence.Stream > last {
			return nil
		}
		err = f(AuditMessage{Chain: a.conn.names.chainOf(m.Subject()), Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Data: m.Data()})
		if err != nil {
			return err
		}
	}
	return nil
}

// reader reads a stream from a time on.
type reader struct {
	conn           *Conn
	stream, filter string
	since          time.Time
	ahead          int

	iterator jetstream.MessagesContext
	pending  uint64
}

func (r *reader) open(ctx context.Context) error {
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{r.filter}, DeliverPolicy: jetstream.DeliverAllPolicy}
	if !r.since.IsZero() {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.since
	}
	return r.conn.do(ctx, func(ctx context.Context) error {
		consumer, err := r.conn.js.OrderedConsumer(ctx, r.stream, config)
		if err != nil {
			return err
		}
		r.pending = consumer.CachedInfo().NumPending
		r.iterator, err = consumer.Messages(jetstream.PullMaxMessages(r.ahead))
		return err
	})
}

func (r *reader) next(ctx context.Context) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.conn.o.Timeout, errNoAnswer)
	defer cancel()
	for {
		m, err := r.iterator.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) && ctx.Err() == nil {
			continue // the iterator makes a new consumer behind the last message
		}
		if err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return m, err
	}
}
