package worker

import (
	"context"
	"errors"
	"fmt"

	"outlook-connector/internal/index"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/telemetry"
	"outlook-connector/subscriber"
)

var _ subscriber.Indexes = feedStream{}

// Commit stores events, pieces of the index and cursor in one atomic batch.
func (s feedStream) Commit(ctx context.Context, c subscriber.Commit) (uint64, error) {
	page, err := s.page(ctx, c)
	if err != nil {
		return 0, err
	}
	seq, err := s.conn.Commit(ctx, page)
	if errors.Is(err, jet.ErrFenced) {
		return 0, fmt.Errorf("%w: %w", subscriber.ErrFenced, err)
	}
	return seq, err
}

func (s feedStream) page(ctx context.Context, c subscriber.Commit) (jet.Page, error) {
	names := s.conn.Names()
	cursor, err := s.cursorSubject(c.Feed)
	if err != nil {
		return jet.Page{}, err
	}
	page := jet.Page{CursorSubject: cursor, Cursor: c.Cursor, After: c.After}
	if len(c.Events) > 0 {
		subject, err := names.Event(c.Feed.Subscription, c.Feed.Mailbox)
		if err != nil {
			return jet.Page{}, err
		}
		page.Events = make([]jet.Msg, len(c.Events))
		for i, event := range c.Events {
			header := headerOf(event.Header)
			telemetry.Inject(ctx, header)
			page.Events[i] = jet.Msg{Subject: subject, Header: header, Data: event.Body, TTL: event.TTL}
		}
	}
	if page.Segments, err = s.pieces(c.Feed, c.Segments); err != nil {
		return jet.Page{}, err
	}
	if c.Moves != nil {
		subject, err := names.Moved(c.Feed.Subscription, c.Feed.Mailbox)
		if err != nil {
			return jet.Page{}, err
		}
		page.Moves = &jet.Moves{Subject: subject, After: c.Moves.After, Mark: c.Moves.Mark}
	}
	return page, nil
}

func (s feedStream) pieces(feed subscriber.Feed, segments []index.Segment) ([]jet.Msg, error) {
	list := make([]jet.Msg, 0, len(segments))
	for _, segment := range segments {
		subject, err := s.indexSubject(feed, segment.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, jet.Msg{Subject: subject, Data: segment.Data})
	}
	return list, nil
}

func (s feedStream) indexSubject(feed subscriber.Feed, id string) (string, error) {
	return s.conn.Names().Index(feed.Subscription, feed.Part, id, feed.Mailbox)
}

// Segment reads a piece of a feed's index. One that is not there is a fault of
// kind Retry with the code index_missing: where the cursor has moved since, its
// new manifest does without the piece.
func (s feedStream) Segment(ctx context.Context, feed subscriber.Feed, id string) ([]byte, error) {
	subject, err := s.indexSubject(feed, id)
	if err != nil {
		return nil, err
	}
	return s.conn.Segment(ctx, subject)
}

// PutSegments stores pieces to which no cursor refers yet.
func (s feedStream) PutSegments(ctx context.Context, feed subscriber.Feed, segments []index.Segment) error {
	list, err := s.pieces(feed, segments)
	if err != nil {
		return err
	}
	return s.conn.PutSegments(ctx, list)
}

// DropSegments deletes pieces to which no cursor refers any more.
func (s feedStream) DropSegments(ctx context.Context, feed subscriber.Feed, ids []string) error {
	subjects := make([]string, 0, len(ids))
	for _, id := range ids {
		subject, err := s.indexSubject(feed, id)
		if err != nil {
			return err
		}
		subjects = append(subjects, subject)
	}
	return s.conn.DropSegments(ctx, subjects)
}

// Orphans returns the pieces of a feed that nobody can come to refer to any
// more: those that its cursor, of the sequence at, does not name and that are
// older.
func (s feedStream) Orphans(ctx context.Context, feed subscriber.Feed, named []string, at uint64) ([]string, error) {
	filter, err := s.indexSubject(feed, "*")
	if err != nil {
		return nil, err
	}
	return s.conn.Orphans(ctx, filter, named, at)
}

// Moved returns the sequence of the marker of moves of a mailbox.
func (s feedStream) Moved(ctx context.Context, subscription, mailbox string) (uint64, error) {
	subject, err := s.conn.Names().Moved(subscription, mailbox)
	if err != nil {
		return 0, err
	}
	return s.conn.Moved(ctx, subject)
}
