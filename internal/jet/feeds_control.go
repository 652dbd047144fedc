package jet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// updateTries bounds how often Update begins anew because somebody else changed
// the feed meanwhile.
const updateTries = 8

// Get returns a registered feed. One that does not exist is [ErrNotFound].
func (f *Feeds) Get(ctx context.Context, subject string) (Feed, error) {
	feed, _, err := f.get(ctx, subject)
	return feed, err
}

func (f *Feeds) get(ctx context.Context, subject string) (Feed, uint64, error) {
	if err := f.check(subject); err != nil {
		return Feed{}, 0, err
	}
	m, err := f.conn.last(ctx, f.conn.names.FeedsStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Feed{}, 0, fmt.Errorf("feed %s: %w", subject, ErrNotFound)
	}
	if err != nil {
		return Feed{}, 0, mark(ctx, err, "read %s", subject)
	}
	return Feed{Subject: m.Subject, Data: m.Data, Registered: m.Time}, m.Sequence, nil
}

// Update replaces the data of a feed by what change makes of them, unless
// somebody else changed them meanwhile; then it begins anew with the newer
// ones, so change may be called several times and must not keep its argument.
// It may return its argument to leave the feed as it is, or an error, which
// comes back. A feed that does not exist is [ErrNotFound].
//
// The feed is due at once with its new data. A poll that runs with the old data
// goes on, and what it says at its end about the next one is for a message that
// is gone: it neither brings the old data back nor delays the new.
func (f *Feeds) Update(ctx context.Context, subject string, change func(data []byte) ([]byte, error)) error {
	for range updateTries {
		feed, seq, err := f.get(ctx, subject)
		if err != nil {
			return err
		}
		data, err := change(feed.Data)
		if err != nil {
			return err
		}
		if string(data) == string(feed.Data) {
			return nil
		}
		err = f.swap(ctx, subject, data, seq)
		if err == nil || !wrongSequence(err) {
			return mark(ctx, err, "change %s", subject)
		}
		// Lost to somebody else, or the answer of an attempt before was lost:
		// the next look tells.
	}
	return fault.New(fault.Retry, "change %s: it was changed by others %d times meanwhile", subject, updateTries).WithCode("conflict")
}

// swap stores new data for a feed whose message has a sequence.
func (f *Feeds) swap(ctx context.Context, subject string, data []byte, seq uint64) error {
	return f.publish(ctx, subject, data, jetstream.WithExpectLastSequencePerSubject(seq))
}

// Wake makes a feed due at once, with the data that it has. One that does not
// exist is no error.
func (f *Feeds) Wake(ctx context.Context, subject string) error {
	feed, seq, err := f.get(ctx, subject)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		err = f.swap(ctx, subject, feed.Data, seq)
	}
	if wrongSequence(err) {
		return nil // changed by somebody else: due at once, or gone
	}
	return mark(ctx, err, "wake %s", subject)
}

// Each calls found with every registered feed of a subscription ("": of all),
// the oldest registration first, until it returns false.
func (f *Feeds) Each(ctx context.Context, subscription string, found func(Feed) bool) error {
	filter := f.conn.names.subject("feed", ">")
	if subscription != "" {
		if err := checkWord(subscription); err != nil {
			return err
		}
		filter = f.conn.names.subject("feed", subscription, ">")
	}
	err := f.conn.each(ctx, f.conn.names.FeedsStream(), filter, 0, func(m *jetstream.RawStreamMsg) bool {
		return found(Feed{Subject: m.Subject, Data: m.Data, Registered: m.Time})
	})
	return mark(ctx, err, "list feeds")
}

// CursorAt is a stored cursor.
type CursorAt struct {
	// Value is what the last commit stored, nil where there was none.
	Value []byte
	// Stored is when.
	Stored time.Time
}

// CursorOf returns the cursor of a feed, for those who only look.
func (c *Conn) CursorOf(ctx context.Context, feed FeedName) (CursorAt, error) {
	subject, err := c.names.Cursor(feed.Subscription, feed.Part, feed.Mailbox)
	if err != nil {
		return CursorAt{}, err
	}
	m, err := c.last(ctx, c.names.EventsStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return CursorAt{}, nil
	}
	if err != nil {
		return CursorAt{}, mark(ctx, err, "read %s", subject)
	}
	return CursorAt{Value: m.Data, Stored: m.Time}, nil
}
