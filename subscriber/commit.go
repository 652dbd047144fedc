package subscriber

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// overhead is what a message is counted with beside its body: headers, subject
// and the server's own bytes.
const overhead = 1 << 10

// toldEvent is an event with its entry in the cursor's memory.
type toldEvent struct {
	Event
	entry string
}

// events makes events of what is to be told. What cannot become one is a dead
// letter, durable before the cursor moves: a crash in between writes the same
// letter again, under the same id.
func (w *walk) events(ctx context.Context, page Page, changes []change) ([]toldEvent, error) {
	asOf := page.Date
	if asOf.IsZero() {
		asOf = time.Now()
	}
	events := make([]toldEvent, 0, len(changes))
	for i := range changes {
		c := &changes[i]
		body, err := w.body(ctx, c)
		if bad, ok := errors.AsType[*itemError](err); ok {
			err = w.bury(ctx, c, bad, asOf)
		}
		if err != nil {
			return nil, err
		}
		if body == nil {
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
	body := c.raw
	if c.kind != Deleted && w.sub.Transform != nil {
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
	w.log.WarnContext(ctx, "item became a dead letter", "feed", w.feed.String(), "id", letter.ID, "code", bad.code)
	return nil
}

// commit stores the events of a page and the cursor past it. A page that is too
// large for one batch goes in several steps: the cursor of all but the last
// still points at the page and names what is in the stream already. It names
// the items and not how many they are, because a page that is read again may
// have other items or another order.
func (w *walk) commit(ctx context.Context, before cursor, events []toldEvent, kept []string, seen int) error {
	partial := newTold(kept)
	partial.room(seen)
	for {
		n := w.fit(events)
		if n == len(events) {
			break
		}
		for _, event := range events[:n] {
			partial.put(event.entry)
		}
		step := before
		step.Told = partial.keep(toldKept + seen)
		if err := w.store(ctx, events[:n], &step); err != nil {
			return err
		}
		events = events[n:]
	}
	w.cur.Told = w.told.keep(max(toldKept, seen))
	if err := w.store(ctx, events, w.cur); err != nil {
		return err
	}
	w.unsaved = 0
	w.trail.stored()
	return nil
}

// fit returns how many of the events go into one batch with a cursor, at least
// one.
func (w *walk) fit(events []toldEvent) int {
	left := w.maxBytes - overhead - (toldHeld+toldKept)*(2*keyLen+3)
	for i := range events {
		left -= len(events[i].Body) + overhead
		if i > 0 && (left < 0 || i >= w.maxMessages-1) {
			return i
		}
	}
	return len(events)
}

// store makes one commit and counts what it told.
func (w *walk) store(ctx context.Context, events []toldEvent, cur *cursor) error {
	value, err := cur.encode(time.Now())
	if err != nil {
		return err
	}
	batch := make([]Event, len(events))
	for i := range events {
		batch[i] = events[i].Event
	}
	seq, err := w.stream.Commit(ctx, w.feed, batch, value, w.seq)
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
	return nil
}
