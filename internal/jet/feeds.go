package jet

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// Feeds is the queue of polls. A feed is one message in it, for as long as the
// feed exists: it is delivered to one worker, polled, and given back with the
// delay to its next poll. Get it with [Conn.Feeds].
type Feeds struct{ conn *Conn }

// Feeds returns the queue of polls.
func (c *Conn) Feeds() *Feeds { return &Feeds{c} }

// Feed is a registered feed.
type Feed struct {
	// Subject is built by [Names.Feed].
	Subject string
	// Data is what Register stored.
	Data []byte
	// Registered is when.
	Registered time.Time
}

// Next says what becomes of a feed after a poll.
type Next struct {
	// After is the time to the next poll. Zero or less means at once.
	After time.Duration
	// Drop removes the feed, because it is no longer configured.
	Drop bool
}

// Register adds a feed, due at once. One that exists already stays as it is,
// data and due time: every worker registers all feeds at its start.
func (f *Feeds) Register(ctx context.Context, subject string, data []byte) error {
	_, err := f.Add(ctx, subject, data)
	return err
}

// Add is [Feeds.Register] and reports whether the feed existed already. Where an
// answer was lost and the caller asks again, it may be the caller's own.
func (f *Feeds) Add(ctx context.Context, subject string, data []byte) (existed bool, err error) {
	err = f.publish(ctx, subject, data, jetstream.WithExpectLastSequencePerSubject(0))
	if wrongSequence(err) {
		return true, nil
	}
	return false, mark(ctx, err, "register %s", subject)
}

// Replace adds a feed or gives an existing one new data, due at once. A poll
// that runs with the old data goes on; the cursor keeps the two apart. Where
// others may change the feed at the same time, use [Feeds.Update].
func (f *Feeds) Replace(ctx context.Context, subject string, data []byte) error {
	return mark(ctx, f.publish(ctx, subject, data), "register %s", subject)
}

// publish stores a feed's message. The one that it had before goes with it,
// because the stream keeps one of each subject. It is no rollup: that, as a
// purge of the subject, moves the consumer's ack floor beyond feeds that wait
// for their next poll, once the feed after it goes, too (2.15.2). Those are never
// delivered again after a restart of the server, and stay in the stream for ever.
func (f *Feeds) publish(ctx context.Context, subject string, data []byte, expect ...jetstream.PublishOpt) error {
	if err := f.check(subject); err != nil {
		return err
	}
	m := Msg{Subject: subject, Data: data}.nats()
	opts := append(expect, jetstream.WithExpectStream(f.conn.names.FeedsStream()), jetstream.WithRetryAttempts(0))
	return f.conn.do(ctx, func(ctx context.Context) error {
		_, err := f.conn.js.PublishMsg(ctx, m, opts...)
		return err
	})
}

func (f *Feeds) check(subject string) error {
	if !strings.HasPrefix(subject, f.conn.names.subject("feed")+".") {
		return badSubject("%q is no subject of a feed", subject)
	}
	return nil
}

// Unregister removes a feed. A poll of it that runs goes on to its end. One
// that does not exist is no error. It removes the message and does not purge the
// subject, for the reason that publish has.
func (f *Feeds) Unregister(ctx context.Context, subject string) error {
	for range updateTries {
		_, seq, err := f.get(ctx, subject)
		if errors.Is(err, ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		err = f.conn.do(ctx, func(ctx context.Context) error {
			s, err := f.conn.stream(ctx, f.conn.names.FeedsStream())
			if err != nil {
				return err
			}
			return s.DeleteMsg(ctx, seq)
		})
		// It may have gone, or been changed, since it was looked up.
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
			return mark(ctx, err, "remove %s", subject)
		}
	}
	return fault.New(fault.Retry, "remove %s: it was changed by others %d times meanwhile", subject, updateTries).WithCode("conflict")
}

// List returns all registered feeds.
func (f *Feeds) List(ctx context.Context) ([]Feed, error) {
	var list []Feed
	err := f.Each(ctx, "", func(feed Feed) bool {
		list = append(list, feed)
		return true
	})
	return list, err
}

// Run polls feeds as they fall due, at most parallel at a time, until ctx ends.
// Then it gives back what it has not begun, ends the context of the polls that
// run, waits for them and returns nil. Poll is called from several goroutines
// and must return soon after its context ends. A feed whose worker dies comes
// to another one within the AckWait.
func (f *Feeds) Run(ctx context.Context, parallel int, poll func(ctx context.Context, subject string, data []byte) Next) error {
	if parallel < 1 {
		return fault.New(fault.Fatal, "run feeds: parallel is %d, must be at least 1", parallel)
	}
	q := &queue{conn: f.conn, stream: f.conn.names.FeedsStream(), consumer: PollConsumer, parallel: parallel}
	q.run = func(ctx context.Context, h *holding) Verdict {
		m := h.m
		next := poll(ctx, m.Subject(), m.Data())
		return Verdict{Done: next.Drop, After: next.After}
	}
	return q.serve(ctx)
}

// each calls f with the messages of a stream that match a filter, oldest
// first, from a sequence on, until f returns false. It asks for one at a time,
// which needs no consumer, and no permission to make one.
func (c *Conn) each(ctx context.Context, stream, filter string, from uint64, f func(*jetstream.RawStreamMsg) bool) error {
	for seq := max(from, 1); ; {
		var m *jetstream.RawStreamMsg
		err := c.read(ctx, func(ctx context.Context) error {
			s, err := c.stream(ctx, stream)
			if err == nil {
				m, err = s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(filter))
			}
			return err
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if !f(m) {
			return nil
		}
		seq = m.Sequence + 1
	}
}
