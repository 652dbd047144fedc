package subscriber

import (
	"context"
	"errors"
	"fmt"
	"time"

	"outlook-connector/internal/index"
)

// overhead is what a message is counted with beside its body: headers, subject
// and the server's own bytes.
const overhead = 1 << 10

// largestCursor is about what a cursor with the largest index takes.
const largestCursor = 64 << 10

// toldEvent is an event with what the index knows once it is stored.
type toldEvent struct {
	Event
	entry index.Entry
}

// events makes events of what is to be told. What cannot become one is a dead
// letter, durable before the cursor moves: a crash in between writes the same
// letter again, under the same id.
func (w *walk) events(ctx context.Context, page Page, changes []*change) ([]toldEvent, error) {
	asOf := page.Date
	if asOf.IsZero() {
		asOf = time.Now()
	}
	events := make([]toldEvent, 0, len(changes))
	for _, c := range changes {
		if c.kind == "" {
			continue
		}
		body, err := w.body(ctx, c)
		if bad, ok := errors.AsType[*itemError](err); ok {
			err = w.bury(ctx, c, bad, asOf)
		}
		if err != nil {
			return nil, err
		}
		if body == nil {
			if err := w.hush(ctx, c); err != nil {
				return nil, err
			}
			continue
		}
		header := c.header(w.sub, w.feed, asOf)
		events = append(events, toldEvent{
			Event: Event{ID: header[ceID], Header: header, Body: body, TTL: w.sub.TTL},
			entry: c.entry,
		})
	}
	return events, nil
}

// hush notes of an item that was dropped, and never told, that nobody knows it:
// its end is not told either.
func (w *walk) hush(ctx context.Context, c *change) error {
	if c.kind == Deleted || c.buried || (c.was.live() && c.was.Flags&index.Hushed == 0) {
		return nil
	}
	now, _, err := w.now.Look(ctx, c.id)
	if err != nil {
		return fmt.Errorf("look into the index: %w", err)
	}
	if now.Flags == c.entry.Flags && now.Version == c.entry.Version && now.Lives == c.entry.Lives {
		c.entry.Flags |= index.Hushed
		w.put(c.entry)
	}
	return nil
}

// itemError is why one item cannot become an event. The feed goes on.
type itemError struct {
	code, hint string
	err        error
}

func (e *itemError) Error() string { return e.err.Error() }

func (e *itemError) Unwrap() error { return e.err }

// body returns the event's body, or nil where the transform drops the item.
func (w *walk) body(ctx context.Context, c *change) ([]byte, error) {
	if c.bad != nil {
		return nil, &itemError{
			code: "bad_item", err: c.bad,
			hint: "Graph gave an item that is not understood; it is kept here as it came",
		}
	}
	if c.piece != nil {
		switch {
		case c.piece.dropped:
			return nil, nil
		case c.piece.stored != nil:
			return stub(c.id), nil
		}
	}
	body := c.raw
	media := c.media(w.sub)
	if c.kind != Deleted && media == mediaJSON && w.sub.Transform != nil {
		out, ok, err := w.sub.Transform.RunJSON(ctx, c.raw)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, ctx.Err() // the worker stops: that is not the item's fault
		case err != nil:
			return nil, &itemError{
				code: "transform", err: err,
				hint: "correct transform of subscription " + w.sub.Name + "; the item is kept here as Graph gave it",
			}
		case !ok:
			return nil, nil
		}
		body = out
	}
	if media == mediaMIME {
		body = c.piece.mime
	}
	if w.maxBody > 0 && len(body) > w.maxBody {
		return nil, &itemError{
			code: "too_large", err: fmt.Errorf("the item has %d bytes, the stream takes %d", len(body), w.maxBody),
			hint: "leave out the body by $select or transform, or raise max_payload of the NATS server",
		}
	}
	return body, nil
}

// bury writes a dead letter.
func (w *walk) bury(ctx context.Context, c *change, bad *itemError, asOf time.Time) error {
	header := c.header(w.sub, w.feed, asOf)
	body := c.raw
	if w.maxBody > 0 && len(body) > w.maxBody {
		body = stub(c.id)
	}
	letter := DeadLetter{
		ID: header[ceID], Feed: w.feed, Header: header, Body: body,
		Code: bad.code, Reason: bad.Error(), Hint: bad.hint,
	}
	if err := w.dead.Put(ctx, letter); err != nil {
		return fmt.Errorf("write dead letter: %w", err)
	}
	c.buried = true
	w.log.WarnContext(ctx, "item became a dead letter", "feed", w.feed.String(), "id", letter.ID, "code", bad.code)
	return nil
}

// commit stores the events of a page and the cursor past it. A page that is too
// large for one batch goes in several steps: the cursor of all but the last
// still points at the page, and its index knows what is in the stream already.
// It knows the items and not how many they are, because a page that is read
// again may have other items or another order.
func (w *walk) commit(ctx context.Context, before cursor, events []toldEvent) error {
	n, err := w.storeSteps(ctx, &before, events, false)
	if err != nil {
		return err
	}
	merged, err := w.compact(ctx)
	if err != nil {
		return err
	}
	manifest, segments := w.now.Flush()
	w.cur.Index = manifest
	if err := w.store(ctx, events[n:], segments, w.cur); err != nil {
		return err
	}
	w.unsaved, w.part, w.touched, w.mark = 0, nil, false, false
	w.trail.stored()
	if merged {
		w.tidy(ctx)
	}
	return nil
}

// storePart stores events of a page of which more is to come.
func (w *walk) storePart(ctx context.Context, before *cursor, events []toldEvent) error {
	_, err := w.storeSteps(ctx, before, events, true)
	return err
}

// storeSteps stores as many events as do not go into the last batch, or all of
// them, and returns how many. before is the cursor that points at their page.
func (w *walk) storeSteps(ctx context.Context, before *cursor, events []toldEvent, all bool) (done int, err error) {
	for {
		n := w.fit(events[done:])
		if done+n == len(events) && (!all || n == 0) {
			return done, nil
		}
		if w.part == nil {
			w.part = index.Open(w.pieces(w.feed), before.Index)
		}
		for _, event := range events[done : done+n] {
			w.part.Put(event.entry)
		}
		var segments []index.Segment
		before.Index, segments = w.part.Flush()
		marks := w.mark && w.moving()
		if err := w.store(ctx, events[done:done+n], segments, before); err != nil {
			return done, err
		}
		done += n
		if marks {
			// The marker is where this commit put it, or where somebody else put it
			// since; nobody can tell, so the rest is read again.
			return done, errAgain
		}
	}
}

// fit returns how many of the events go into one batch with a cursor and what
// the index makes of them, at least one of any.
func (w *walk) fit(events []toldEvent) int {
	left := w.maxBytes - overhead - min(largestCursor, w.maxBytes/4)
	for i := range events {
		left -= len(events[i].Body) + overhead + len(events[i].entry.ID)
		if i > 0 && (left < 0 || i >= w.maxMessages-1) {
			return i
		}
	}
	return len(events)
}

// store makes one commit and counts what it told. The pieces of the index that
// the cursor before named and the new one does not are dropped after it.
func (w *walk) store(ctx context.Context, events []toldEvent, segments []index.Segment, cur *cursor) error {
	var moves *Moves
	if w.moving() && (w.touched || w.mark || len(events) > 0) {
		moves = &Moves{After: w.marker, Mark: w.mark}
		if cur.Mark = w.marker; w.mark {
			cur.Mark = 0
		}
	}
	now := time.Now()
	if len(events) > 0 {
		cur.Pace = w.sub.clock.came(cur.Pace, now)
	} else {
		cur.Pace = w.sub.clock.settled(cur.Pace, now)
	}
	value, err := cur.encode(now)
	if err != nil {
		return err
	}
	batch := make([]Event, len(events))
	for i := range events {
		batch[i] = events[i].Event
	}
	seq, err := w.stream.Commit(ctx, Commit{
		Feed: w.feed, Events: batch, Segments: segments, Cursor: value, After: w.seq, Moves: moves,
	})
	if err != nil {
		return fmt.Errorf("commit %d events: %w", len(batch), err)
	}
	w.seq = seq
	for i := range batch {
		w.metrics.events.WithLabelValues(w.sub.Name, batch[i].Header[headerChange]).Inc()
	}
	if len(batch) > 0 {
		w.log.DebugContext(ctx, "page stored", "feed", w.feed.String(), "events", len(batch))
	}
	w.dropReplaced(ctx, cur)
	return nil
}
