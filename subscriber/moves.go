package subscriber

import (
	"context"
	"fmt"
	"slices"

	"outlook-connector/internal/index"
)

// Moves between the folders of one subscription.
//
// Each folder is a feed of its own and sees half of a move: an item that is
// gone, or one that is new. Who sees it looks into the other feeds' indexes, so
// that the item is told once, as updated, by the feed that has it.
//
// What a feed concludes from the others' indexes, or from a page that Graph gave
// some time ago, may be outdated when it is committed. So each commit that
// changes an index is fenced on the mailbox's marker of moves, as it was before
// the page was read, and each commit that tells of an item that is there, or
// gives one away, writes the marker anew. A page of the old folder can then never
// be stored after the news of the new one, and of two feeds that both have an
// item never both keep silent about its end. The price is that of two folders of
// a mailbox in which something happens at the same moment one is read again.

// awayMost bounds the items that went to another folder and are not told there
// yet. Of more, those that are given away are told as deleted, and as created
// there.
const awayMost = 100

// place is what the siblings know of an item. A higher one counts.
type place int

const (
	nowhere   place = iota
	thereGone       // told as deleted
	thereAway       // given away, and nobody has told it yet
	thereLive       // told as being there
)

// family is the sibling feeds' indexes as they are while a page is judged.
type family struct {
	feeds []Feed
	open  map[Feed]*relative
}

type relative struct {
	seq  uint64
	away []string
	// now and old are the indexes of its cursor; old may be nil.
	now, old *index.Index
}

// moving reports whether items can move between feeds of the subscription.
func (w *walk) moving() bool { return len(w.sub.Folders) > 0 }

// gather prepares for the next page: the marker is read before the page is.
func (w *walk) gather(ctx context.Context) error {
	w.family, w.mark, w.touched, w.fresh = nil, false, false, freshest{}
	if !w.moving() {
		return nil
	}
	var err error
	if w.marker, err = w.stream.Moved(ctx, w.feed.Subscription, w.feed.Mailbox); err != nil {
		return fmt.Errorf("read marker of moves: %w", err)
	}
	return nil
}

// elsewhere looks into the siblings' indexes.
func (w *walk) elsewhere(ctx context.Context, id string) (place, error) {
	if !w.moving() {
		return nowhere, nil
	}
	if w.family == nil {
		if w.marker != w.cur.Mark {
			// Somebody has told something since, perhaps the feed of a folder that
			// the roster has not heard of yet.
			w.roster.forget(Feed{Subscription: w.feed.Subscription, Mailbox: w.feed.Mailbox, Part: partFolders})
		}
		feeds, err := w.roster.siblings(ctx, w.feed)
		if err != nil {
			return nowhere, fmt.Errorf("find the other folders: %w", err)
		}
		w.family = &family{feeds: feeds, open: make(map[Feed]*relative, len(feeds))}
	}
	where := nowhere
	for _, feed := range w.family.feeds {
		found, err := w.lookAt(ctx, feed, id)
		if err != nil {
			return nowhere, fmt.Errorf("look into the index of %s: %w", feed, err)
		}
		if where = max(where, found); where == thereLive {
			break
		}
	}
	return where, nil
}

// forget has the cursor of a discovery read again.
func (r *feedRoster) forget(finder Feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.views, finder)
}

// lookAt looks into one sibling's index. A segment that is not there any more
// was replaced, and the cursor read again names the new one.
func (w *walk) lookAt(ctx context.Context, feed Feed, id string) (place, error) {
	for {
		r := w.family.open[feed]
		again := r != nil
		if r == nil {
			var err error
			if r, err = w.relative(ctx, feed); err != nil {
				return nowhere, err
			}
			w.family.open[feed] = r
		}
		where, err := r.look(ctx, id)
		if err == nil {
			return where, nil
		}
		delete(w.family.open, feed)
		if !again {
			// Read just now, and replaced just then?
			newer, failed := w.relative(ctx, feed)
			if failed != nil || newer.seq == r.seq {
				return nowhere, err
			}
			w.family.open[feed] = newer
		}
	}
}

// relative reads a sibling's cursor.
func (w *walk) relative(ctx context.Context, feed Feed) (*relative, error) {
	value, seq, err := w.stream.Cursor(ctx, feed)
	if err != nil {
		return nil, err
	}
	cur := new(cursor)
	if value != nil {
		if cur, err = decodeCursor(value); err != nil {
			return nil, err
		}
	}
	store := w.pieces(feed)
	r := &relative{seq: seq, away: cur.Away, now: index.Open(store, cur.Index)}
	if !cur.Old.IsZero() {
		r.old = index.Open(store, cur.Old)
	}
	return r, nil
}

func (r *relative) look(ctx context.Context, id string) (place, error) {
	e, ok, err := r.now.Look(ctx, id)
	if err == nil && !ok && r.old != nil {
		e, ok, err = r.old.Look(ctx, id)
	}
	switch {
	case err != nil || !ok:
		return nowhere, err
	case e.Flags&index.Gone != 0:
		return thereGone, nil
	case e.Flags&index.Moved == 0:
		return thereLive, nil
	case slices.Contains(r.away, id):
		return thereAway, nil
	default:
		return nowhere, nil // somebody took it, and knows better
	}
}

// freshest is what decides whether the items that a page tells of may be on their
// way between two folders.
type freshest struct {
	any  bool
	item item
}

// arrived notes that the page tells of an item that is there.
func (w *walk) arrived(it *item) {
	if !w.moving() {
		return
	}
	if !w.fresh.any || it.modified.IsZero() || (!w.fresh.item.modified.IsZero() && it.modified.After(w.fresh.item.modified)) {
		w.fresh = freshest{any: true, item: item{modified: it.modified}}
	}
}

// settleMark decides whether such items write the marker: those of the changes
// always do; of full reads, in which all folders would only hinder each other,
// those that changed lately.
func (w *walk) settleMark(page Page) {
	if !w.fresh.any {
		return
	}
	modified := w.fresh.item.modified
	if !w.cur.full() || modified.IsZero() || page.Date.IsZero() || modified.After(page.Date.Add(-lately)) {
		w.mark = true
	}
}

// give notes that a sibling has the item now.
func (w *walk) give(e index.Entry) {
	e.Flags, e.Round = index.Moved, uint32(w.cur.Round)
	w.put(e)
	w.mark = true
}

// unaway takes an item off the list of those that nobody has told yet.
func (w *walk) unaway(id string) {
	if slices.Contains(w.cur.Away, id) {
		w.cur.Away = slices.DeleteFunc(slices.Clone(w.cur.Away), func(other string) bool { return other == id })
	}
}

// settle has the deletions of a page looked at, and takes back those that are
// none. It changes the kind of a change to "" where nothing is to be told.
func (w *walk) settle(ctx context.Context, all []*change) error {
	var gone []*change
	var entries []index.Entry
	for _, c := range all {
		if c.kind != Deleted || c.bad != nil {
			continue
		}
		// An item that the page brings back later is there, and nobody need look.
		now, _, err := w.now.Look(ctx, c.id)
		if err != nil {
			return fmt.Errorf("look into the index: %w", err)
		}
		if now.Flags&index.Gone == 0 || now.Lives != c.entry.Lives {
			continue
		}
		was := c.was.Entry
		was.ID = c.id
		gone, entries = append(gone, c), append(entries, was)
	}
	if len(gone) == 0 {
		return nil
	}
	verdicts, err := w.verify(ctx, entries)
	if err != nil {
		return err
	}
	for i, c := range gone {
		if err := w.sentence(ctx, c, verdicts[i]); err != nil {
			return err
		}
	}
	return nil
}

// sentence decides what a verdict makes of a deletion.
func (w *walk) sentence(ctx context.Context, c *change, v verdict) error {
	if !v.Known {
		return nil
	}
	c.verified = true
	if v.Gone {
		return nil
	}
	was := c.was.Entry
	was.ID = c.id
	home, known, err := w.home(ctx, v.Folder)
	switch {
	case err != nil:
		return err
	case w.reg.Retire && (!known || home == w.feed):
		c.reason = reasonMoved // it is where it was, which is no longer read
	case v.Folder == "" || known && home == w.feed:
		// It is still here: Graph will tell, if there is anything to tell.
		c.kind = ""
		w.put(was)
	case known && (slices.Contains(w.cur.Away, c.id) || len(w.cur.Away) < awayMost):
		c.kind = ""
		w.give(was)
		if !slices.Contains(w.cur.Away, c.id) {
			w.cur.Away = append(slices.Clone(w.cur.Away), c.id)
		}
	default:
		c.reason = reasonMoved
	}
	return nil
}

// home returns the feed that reads a folder.
func (w *walk) home(ctx context.Context, folder string) (Feed, bool, error) {
	switch {
	case folder == "":
		return Feed{}, false, nil
	case Part(folder) == w.feed.Part:
		return w.feed, true, nil
	case !w.moving():
		return Feed{}, false, nil
	}
	feed, known, err := w.roster.home(ctx, w.feed, folder)
	if err != nil {
		return Feed{}, false, fmt.Errorf("find the feed of a folder: %w", err)
	}
	return feed, known, nil
}

// follow looks after the items that went to another folder whose feed has not
// told them: once it has, they are its own; and those that came to their end
// before are told as deleted here, because nobody else can.
func (w *walk) follow(ctx context.Context) error {
	if len(w.cur.Away) == 0 || w.cur.Phase != changes {
		return nil
	}
	if err := w.gather(ctx); err != nil {
		return err
	}
	before := *w.cur
	var all []*change
	for _, id := range before.Away {
		where, err := w.elsewhere(ctx, id)
		if err != nil {
			return err
		}
		was, err := w.look(ctx, id)
		if err != nil {
			return err
		}
		if where == thereLive || was.Flags&index.Moved == 0 {
			w.unaway(id)
			continue
		}
		if len(all) < sweepBatch {
			next := was.Entry
			next.Flags, next.Lives, next.Round = index.Gone, was.Lives+1, uint32(w.cur.Round)
			w.now.Put(next)
			all = append(all, &change{
				item: item{id: id, removed: true, raw: tombstone(id)},
				kind: Deleted, version: "gone", life: lifeOf(next), entry: next, was: was,
			})
		}
	}
	if err := w.settle(ctx, all); err != nil {
		return err
	}
	told := all[:0]
	for _, c := range all {
		switch {
		case c.kind != "" && c.verified:
			w.unaway(c.id)
			w.mark, w.touched = true, true
			told = append(told, c)
		case c.kind != "": // nobody could look: it stays as it was
			w.put(c.was.Entry)
		}
	}
	if len(told) == 0 && len(w.cur.Away) == len(before.Away) {
		return w.reopen()
	}
	events, err := w.events(ctx, Page{}, told)
	if err != nil {
		return err
	}
	return w.commit(ctx, before, events)
}
