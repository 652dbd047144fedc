package jet

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// DeadLetters keeps messages that could not be done, with their cause, for 30
// days. Get it with [Conn.DeadLetters].
type DeadLetters struct{ conn *Conn }

// DeadLetters returns the dead letters.
func (c *Conn) DeadLetters() *DeadLetters { return &DeadLetters{c} }

// DeadLetter is a stored dead letter.
type DeadLetter struct {
	Subject  string
	Sequence uint64
	Header   Header
	Data     []byte
	Time     time.Time
}

// Put stores a dead letter. A second one with the same id within ten minutes is
// dropped, which makes a repeat after a lost answer harmless.
func (d *DeadLetters) Put(ctx context.Context, subject, id string, header Header, data []byte) error {
	if !strings.HasPrefix(subject, d.conn.names.subject("dlq")+".") {
		return badSubject("%q is no subject of a dead letter", subject)
	}
	m := Msg{Subject: subject, Header: header, Data: data}.nats()
	// The original's own ids and conditions are not ours.
	for name := range m.Header {
		if strings.HasPrefix(name, "Nats-") {
			delete(m.Header, name)
		}
	}
	_, err := d.conn.publish(ctx, m, jetstream.WithMsgID(id), jetstream.WithExpectStream(d.conn.names.DeadStream()))
	return mark(ctx, err, "store dead letter on %s", subject)
}

// List returns up to limit dead letters that match a filter, oldest first; an
// empty filter means all, a limit of zero no limit. Use Each where there may be
// many.
func (d *DeadLetters) List(ctx context.Context, filter string, limit int) ([]DeadLetter, error) {
	var list []DeadLetter
	err := d.Each(ctx, DeadQuery{Filter: filter}, func(l DeadLetter, _ uint64) bool {
		list = append(list, l)
		return limit == 0 || len(list) < limit
	})
	return list, err
}

// Get returns one dead letter by its sequence, or [ErrNotFound] (kind Poison).
func (d *DeadLetters) Get(ctx context.Context, sequence uint64) (DeadLetter, error) {
	var m *jetstream.RawStreamMsg
	err := d.conn.read(ctx, func(ctx context.Context) error {
		s, err := d.conn.stream(ctx, d.conn.names.DeadStream())
		if err == nil {
			m, err = s.GetMsg(ctx, sequence)
		}
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, deadMissing(sequence)
	}
	if err != nil {
		return DeadLetter{}, mark(ctx, err, "read dead letter %d", sequence)
	}
	return deadLetter(m), nil
}

// Delete removes one dead letter, or returns [ErrNotFound] (kind Poison).
func (d *DeadLetters) Delete(ctx context.Context, sequence uint64) error {
	err := d.conn.do(ctx, func(ctx context.Context) error {
		s, err := d.conn.stream(ctx, d.conn.names.DeadStream())
		if err != nil {
			return err
		}
		return s.DeleteMsg(ctx, sequence)
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return deadMissing(sequence)
	}
	return mark(ctx, err, "delete dead letter %d", sequence)
}

// Count returns how many dead letters there are by subject.
func (d *DeadLetters) Count(ctx context.Context) (map[string]uint64, error) {
	counts, err := d.conn.counts(ctx, d.conn.names.DeadStream(), d.conn.names.Dead())
	return counts, mark(ctx, err, "count dead letters")
}

// Sent returns the command behind a receipt; its Received and Deadline are not
// set. [ErrNotFound] says that it is not in the queue any more: it has ended.
func (d *DeadLetters) Sent(ctx context.Context, p Published) (Message, error) {
	var m *jetstream.RawStreamMsg
	err := d.conn.read(ctx, func(ctx context.Context) error {
		s, err := d.conn.stream(ctx, p.Stream)
		if err == nil {
			m, err = s.GetMsg(ctx, p.Sequence)
		}
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Message{}, fault.New(fault.Retry, "command %s-%d: %w", p.Stream, p.Sequence, ErrNotFound)
	}
	if err != nil {
		return Message{}, mark(ctx, err, "read command %s-%d", p.Stream, p.Sequence)
	}
	return Message{Subject: m.Subject, Stream: p.Stream, Sequence: m.Sequence, Header: Header(m.Header), Data: m.Data}, nil
}

func deadMissing(sequence uint64) error {
	return fault.New(fault.Poison, "dead letter %d: %w", sequence, ErrNotFound).WithCode("not_found").
		WithHint("see the numbers with: outlook-connector dlq list")
}

func deadLetter(m *jetstream.RawStreamMsg) DeadLetter {
	return DeadLetter{Subject: m.Subject, Sequence: m.Sequence, Header: stripped(m.Header), Data: m.Data, Time: m.Time}
}
