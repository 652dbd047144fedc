package jet

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// segmentsAtOnce bounds requests for the pieces of one index that are under way
// together. On a server that syncs each write, eight share most of the syncs.
const segmentsAtOnce = 8

// Segment returns a piece of a feed's index by its subject of [Names.Index]. It
// is read from the stream's leader. [ErrNotFound] (kind Retry, code
// index_missing) says that it is not there: either the caller's cursor is old
// and another worker has merged and deleted the piece, or somebody removed it.
func (c *Conn) Segment(ctx context.Context, subject string) ([]byte, error) {
	if err := c.names.checkIndex(subject); err != nil {
		return nil, err
	}
	msg, err := c.last(ctx, c.names.EventsStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fault.New(fault.Retry, "piece %s of an index: %w", subject, ErrNotFound).WithCode("index_missing").
			WithHint("read the feed anew with: outlook-connector feeds resync")
	}
	if err != nil {
		return nil, mark(ctx, err, "read %s", subject)
	}
	return msg.Data, nil
}

// PutSegments stores pieces to which no cursor refers yet. Storing one again is
// no harm, so a call that failed can be repeated whole.
func (c *Conn) PutSegments(ctx context.Context, pieces []Msg) error {
	for _, m := range pieces {
		if err := c.names.checkIndex(m.Subject); err != nil {
			return err
		}
	}
	return atOnce(ctx, pieces, func(ctx context.Context, piece Msg) error {
		err := c.read(ctx, func(ctx context.Context) error { // made again where the connection was lost
			m := piece.nats()
			m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject) // the same one again
			_, err := c.js.PublishMsg(ctx, m, jetstream.WithExpectStream(c.names.EventsStream()), jetstream.WithRetryAttempts(0))
			return err
		})
		return mark(ctx, err, "store %s", piece.Subject)
	})
}

// DropSegments deletes pieces by their subjects. One that is not there is no
// error.
func (c *Conn) DropSegments(ctx context.Context, subjects []string) error {
	for _, subject := range subjects {
		if err := c.names.checkIndex(subject); err != nil {
			return err
		}
	}
	return atOnce(ctx, subjects, func(ctx context.Context, subject string) error {
		err := c.read(ctx, func(ctx context.Context) error {
			s, err := c.stream(ctx, c.names.EventsStream())
			if err != nil {
				return err
			}
			return s.Purge(ctx, jetstream.WithPurgeSubject(subject))
		})
		return mark(ctx, err, "delete %s", subject)
	})
}

// Moved returns the sequence of a marker of moves, see [Names.Moved]; 0 where
// nothing has moved yet. It is read from the leader.
func (c *Conn) Moved(ctx context.Context, subject string) (uint64, error) {
	if !c.names.isMoved(subject) {
		return 0, badSubject("%q is no subject of a marker", subject)
	}
	msg, err := c.last(ctx, c.names.EventsStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, mark(ctx, err, "read %s", subject)
	}
	return msg.Sequence, nil
}

// Orphans returns the ids of a feed's pieces that are not among the named ones
// and are older than the sequence before. Where the named ones are those of the
// feed's cursor, and before is that cursor's sequence, no worker can come to
// refer to the others any more: their commit expects a cursor that has moved
// since they were stored. They can be dropped.
func (c *Conn) Orphans(ctx context.Context, filter string, named []string, before uint64) ([]string, error) {
	if err := c.names.checkIndex(filter); err != nil {
		return nil, err
	}
	var subjects []string
	err := c.read(ctx, func(ctx context.Context) error {
		s, err := c.stream(ctx, c.names.EventsStream())
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err == nil {
			subjects = slices.Sorted(maps.Keys(info.State.Subjects))
		}
		return err
	})
	if err != nil {
		return nil, mark(ctx, err, "list %s", filter)
	}
	var list []string
	for _, subject := range subjects {
		id := c.names.segmentOf(subject)
		if slices.Contains(named, id) {
			continue
		}
		msg, err := c.last(ctx, c.names.EventsStream(), subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, mark(ctx, err, "read %s", subject)
		}
		if msg.Sequence < before {
			list = append(list, id)
		}
	}
	return list, nil
}

// checkIndex refuses a subject that Index did not build.
func (n Names) checkIndex(subject string) error {
	if n.isMoved(subject) || n.segmentOf(subject) == "" || !strings.HasPrefix(subject, n.subject("index")+".") {
		return badSubject("%q is no subject of a piece of an index", subject)
	}
	return nil
}

func (n Names) isMoved(subject string) bool {
	rest, ok := strings.CutPrefix(subject, n.subject("index")+".")
	tokens := strings.SplitN(rest, ".", 4)
	return ok && len(tokens) == 4 && tokens[1] == movedPart
}

// atOnce calls f for all, some at a time, and stops at the first error.
func atOnce[T any](ctx context.Context, all []T, f func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var once sync.Once
	var first error
	room := make(chan struct{}, segmentsAtOnce)
	for _, one := range all {
		room <- struct{}{}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-room }()
			if err := f(ctx, one); err != nil {
				once.Do(func() {
					first = err
					cancel(err)
				})
			}
		})
	}
	group.Wait()
	if first == nil && len(all) > 0 {
		first = ctx.Err()
	}
	return first
}
