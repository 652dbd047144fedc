package subscriber

import (
	"context"
	"fmt"

	"outlook-connector/internal/index"
)

// fetcher reads single things for the poll.
func (w *walk) fetcher() *fetcher {
	return &fetcher{
		items: w.items, slots: w.slots, client: w.req.Client, mailbox: w.req.Mailbox, headers: headersOf(w.req.Headers),
	}
}

// verify looks whether items are gone; where nothing can be looked at, nothing
// is known.
func (w *walk) verify(ctx context.Context, entries []index.Entry) ([]verdict, error) {
	if w.items == nil {
		return make([]verdict, len(entries)), nil
	}
	v := &verifier{fetch: w.fetcher(), budget: &w.spent, op: w.sub.Operation, path: w.req.Path}
	return v.verify(ctx, entries)
}

// complete reads what the page does not have of its items. It returns how many
// of the changes are done; what is done should be stored before the rest.
func (w *walk) complete(ctx context.Context, all []*change) (done int, err error) {
	if w.items == nil {
		return len(all), nil
	}
	e := newEnricher(w.sub, &w.req, w.fetcher(), w.blobs, w.maxBytes/2)
	if e == nil {
		return len(all), nil
	}
	var pieces []*piece
	var at []int
	for i, c := range all {
		if c.kind == "" || c.removed || c.bad != nil {
			continue
		}
		if c.piece == nil {
			c.piece = &piece{item: c.item, version: c.version}
		}
		pieces, at = append(pieces, c.piece), append(at, i)
	}
	n, err := e.run(ctx, pieces)
	for _, i := range at[:n] {
		if failed := w.completed(ctx, all[i]); failed != nil {
			return 0, failed
		}
	}
	if n < len(at) {
		return at[n], err
	}
	return len(all), err
}

// completed takes over what was read. The item that was read again is the one
// that is told, so its version is what is known from now on; and if it was told
// in that version already it is not told once more.
func (w *walk) completed(ctx context.Context, c *change) error {
	c.raw = c.piece.raw
	read := c.piece.item.version
	if !c.piece.hydrated || read == "" || c.piece.dropped || index.VersionOf(read) == c.entry.Version {
		return nil
	}
	now, _, err := w.now.Look(ctx, c.id)
	if err != nil {
		return fmt.Errorf("look into the index: %w", err)
	}
	current := now.Version == c.entry.Version && now.Lives == c.entry.Lives && now.Flags == c.entry.Flags
	c.entry.Version = index.VersionOf(read)
	if c.was.live() && c.was.Version == c.entry.Version && w.claimOf(c.was.Entry) == w.claimOf(c.entry) {
		c.kind, c.entry.Flags = "", c.was.Flags
	}
	if current {
		w.put(c.entry)
	}
	return nil
}
