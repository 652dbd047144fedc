package jet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// DeadQuery says which dead letters [DeadLetters.Each] shows.
type DeadQuery struct {
	// Filter is a subject, with wildcards; empty means all.
	Filter string
	// Since leaves out what was stored before; zero means from the first.
	Since time.Time
	// HeadersOnly leaves out the letters themselves: only Data is empty then.
	HeadersOnly bool
}

// deadAhead is how many letters are read ahead of the one that is looked at:
// each may be as large as the server takes.
const (
	deadAhead        = 16
	deadAheadHeaders = 500
)

// Each calls f with the stored dead letters of a query, the oldest first, and
// with how many more there may be, until f returns false. What is stored after
// it began is left out. It keeps only a few letters in memory. f may remove
// letters.
func (d *DeadLetters) Each(ctx context.Context, q DeadQuery, f func(l DeadLetter, left uint64) bool) error {
	return mark(ctx, d.each(ctx, q, f), "read dead letters")
}

func (d *DeadLetters) each(ctx context.Context, q DeadQuery, f func(l DeadLetter, left uint64) bool) error {
	if q.Filter == "" {
		q.Filter = d.conn.names.Dead()
	}
	last, err := d.lastSequence(ctx)
	if err != nil || last == 0 {
		return err
	}
	iterator, left, err := d.open(ctx, q)
	if err != nil {
		return err
	}
	defer iterator.Stop()
	for seen := uint64(0); left > 0; {
		m, err := d.next(ctx, iterator)
		switch {
		case errors.Is(err, errNoAnswer) && ctx.Err() == nil:
			// What was still to come may have been removed meanwhile.
			more, looked := d.more(ctx, q.Filter, seen+1, last)
			if looked != nil {
				return looked
			}
			if !more {
				return nil
			}
			return err
		case err != nil:
			return err
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		seen, left = meta.Sequence.Stream, meta.NumPending
		if seen > last {
			return nil
		}
		l := DeadLetter{Subject: m.Subject(), Sequence: seen, Header: stripped(m.Headers()), Data: m.Data(), Time: meta.Timestamp}
		if !f(l, left) || seen == last {
			return nil
		}
	}
	return nil
}

// open begins to read. It returns how many messages there are to come.
func (d *DeadLetters) open(ctx context.Context, q DeadQuery) (iterator jetstream.MessagesContext, pending uint64, err error) {
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{q.Filter}, DeliverPolicy: jetstream.DeliverAllPolicy, HeadersOnly: q.HeadersOnly}
	if !q.Since.IsZero() {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &q.Since
	}
	ahead := deadAhead
	if q.HeadersOnly {
		ahead = deadAheadHeaders
	}
	err = d.conn.do(ctx, func(ctx context.Context) error {
		consumer, err := d.conn.js.OrderedConsumer(ctx, d.conn.names.DeadStream(), config)
		if err != nil {
			return err
		}
		pending = consumer.CachedInfo().NumPending
		iterator, err = consumer.Messages(jetstream.PullMaxMessages(ahead))
		return err
	})
	return iterator, pending, err
}

// next waits for one message, for as long as any request may take.
func (d *DeadLetters) next(ctx context.Context, iterator jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.conn.o.Timeout, errNoAnswer)
	defer cancel()
	for {
		m, err := iterator.Next(jetstream.NextContext(ctx))
		if errors.Is(err, jetstream.ErrNoHeartbeat) && ctx.Err() == nil {
			continue // the iterator makes a new consumer behind the last message
		}
		if err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return m, err
	}
}

// more reports whether there is a message from a sequence on, up to the last.
func (d *DeadLetters) more(ctx context.Context, filter string, from, last uint64) (found bool, err error) {
	err = d.conn.each(ctx, d.conn.names.DeadStream(), filter, from, func(m *jetstream.RawStreamMsg) bool {
		found = m.Sequence <= last
		return false
	})
	return found, err
}

func (d *DeadLetters) lastSequence(ctx context.Context) (last uint64, err error) {
	err = d.conn.read(ctx, func(ctx context.Context) error {
		s, err := d.conn.stream(ctx, d.conn.names.DeadStream())
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err == nil {
			last = info.State.LastSeq
			if info.State.Msgs == 0 {
				last = 0
			}
		}
		return err
	})
	return last, err
}

// DedupeID returns the id that the letter was stored with, see [DeadLetters.Put].
func (l DeadLetter) DedupeID() string { return nats.Header(l.Header).Get(jetstream.MsgIDHeader) }
