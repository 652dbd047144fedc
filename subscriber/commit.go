package subscriber

import (
	"context"
	"fmt"
	"time"
)

// overhead is what a message is counted with beside its body: headers, subject
// and the server's own bytes.
const overhead = 1 << 10

// told is an event with its entry in the cursor's memory.
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
		body, bad, err := w.body(ctx, c)
		switch {
		case err != nil:
			return nil, err
		case bad != nil:
			if err := w.bury(ctx, c, bad, asOf); err != nil {
				return nil, err
			}
		case body != nil:
			header := c.header(w.sub, w.feed, asOf)
			events = append(events, toldEvent{
				Event: Event{ID: header[ceID], Header: header, Body: body, TTL: w.sub.TTL},
				entry: c.entry,
			})
		}
	}
	return events, nil
}

// complaint is why an item is a dead letter.
type complaint struct{ code, reason, hint string }

// body returns the event's body, or nil where the transform drops the item, or
// why the item cannot become an event.
func (w *walk) body(ctx context.Context, c *change) (body []byte, bad *complaint, err error) {
	body = c.raw
	switch {
	case c.bad != nil:
		return nil, &complaint{
			code: "bad_item", reason: c.bad.Error(),
			hint: "Graph gave an item that is not understood; it is kept here as it came",
		}, nil
	case c.kind != Deleted && w.sub.Transform != nil:
		out, ok, err := w.sub.Transform.RunJSON(ctx, c.raw)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, nil, ctx.Err() // the worker stops: that is not the item's fault
		case err != nil:
			return nil, &complaint{
				code: "transform", reason: err.Error(),
				hint: "correct transform of subscription " + w.sub.Name + "; the item is kept here as Graph gave it",
			}, nil
		case !ok:
			return nil, nil, nil
		}
		body = out
	}
	if w.maxBody > 0 && len(body) > w.maxBody {
		return nil, &complaint{
			code:   "too_large",
			reason: fmt.Sprintf("the item has %d bytes, the stream takes %d", len(body), w.maxBody),
			hint:   "leave out the body by $select or transform, or raise max_payload of the NATS server",
		}, nil
	}
	return body, nil, nil
}

// bury writes a dead letter.
func (w *walk) bury(ctx context.Context, c *change, bad *complaint, asOf time.Time) error {
	header := c.header(w.sub, w.feed, asOf)
	body := c.raw
	if w.maxBody > 0 && len(body) > w.maxBody {
		body = stub(c.id)
	}
	letter := DeadLetter{
		ID: header[ceID], Feed: w.feed, Header: header, Body: body,
		Code: bad.code, Reason: bad.reason, Hint: bad.hint,
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
