package subscriber

import (
	"context"
	"fmt"
	"strings"

	"outlook-connector/internal/index"
)

// Moves between the folders of one subscription.
//
// Each folder is a feed of its own and sees half of a move: an item that is
// gone, or one that is new. Who sees it looks into the other feeds' indexes, so
// that the item is told once, as updated, by the feed that has it.
//
// Several indexes may have an item: that of the folder in which it is, and those
// of folders it has left which have not been read since. What the consumer knows
// is what was told last, so each entry has a claim, a number that grows whenever
// the item goes to another feed, or is told as gone: the entry with the highest
// claim has the last word. Whoever sees an item compares with that entry, and not
// with its own.
//
// What a feed concludes from the others' indexes, or from a page that Graph gave
// some time ago, may be outdated when it is committed. So each commit that
// changes an index is fenced on the mailbox's marker of moves, as it was before
// the page was read, and each commit that raises a claim, or tells of an item,
// writes the marker anew. A page of the old folder can then never be stored after
// the news of the new one, and of two feeds that both have an item never both
// keep silent about its end. The price is that of two folders of a mailbox in
// which something happens at the same moment one is read again.

// claimOf returns an entry's claim. It stands where calendar items have their
// end: those of windows have no claim, and are in no folders.
func (w *walk) claimOf(e index.Entry) uint32 {
	if w.peek.until {
		return 0
	}
	return e.Until
}

// claimed gives an entry a claim.
func (w *walk) claimed(e index.Entry, claim uint32) index.Entry {
	if !w.peek.until {
		e.Until = claim
	}
	return e
}

// place is what a feed knows of an item.
type place int

const (
	nowhere   place = iota
	thereGone       // told as deleted
	thereAway       // left, and nobody has told where it is
	thereLive       // told as being there
)

// word is what the siblings say of an item: the one of them with the highest
// claim, and of those with the same the one with the higher place.
type word struct {
	place place
	claim uint32
}

// hasLastWord reports whether what this feed knows of an item was told after
// what the siblings know.
func (w *walk) hasLastWord(was known, there word) bool {
	switch own := w.claimOf(was.Entry); {
	case there.place == nowhere:
		return true
	case !was.any || was.Flags&index.Moved != 0 && !was.away:
		return false
	default:
		return own > there.claim || own == there.claim && there.place == thereGone
	}
}

// family is the sibling feeds' indexes as they are while a page is judged.
type family struct {
	feeds []Feed
	open  map[Feed]*relative
}

type relative struct {
	seq  uint64
	away []awayItem
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
func (w *walk) elsewhere(ctx context.Context, id string) (word, error) {
	if !w.moving() {
		return word{}, nil
	}
	if w.family == nil {
		if w.marker != w.cur.Mark {
			// Somebody has told something since, perhaps the feed of a folder that
			// the roster has not heard of yet.
			w.roster.forget(Feed{Subscription: w.feed.Subscription, Mailbox: w.feed.Mailbox, Part: partFolders})
		}
		feeds, err := w.roster.siblings(ctx, w.feed)
		if err != nil {
			return word{}, fmt.Errorf("find the other folders: %w", err)
		}
		w.family = &family{feeds: feeds, open: make(map[Feed]*relative, len(feeds))}
	}
	var last word
	for _, feed := range w.family.feeds {
		found, err := w.lookAt(ctx, feed, id)
		if err != nil {
			return word{}, fmt.Errorf("%w: %s: %w", errSibling, feed, err)
		}
		if found.claim > last.claim || found.claim == last.claim && found.place > last.place {
			last = found
		}
	}
	return last, nil
}

// forget has the cursor of a discovery read again.
func (r *feedRoster) forget(finder Feed) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.views, finder)
}

// lookAt looks into one sibling's index. A segment that is not there any more
// was replaced, and the cursor read again names the new one.
func (w *walk) lookAt(ctx context.Context, feed Feed, id string) (word, error) {
	for {
		r := w.family.open[feed]
		again := r != nil
		if r == nil {
			var err error
			if r, err = w.relative(ctx, feed); err != nil {
				return word{}, err
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
				return word{}, err
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

func (r *relative) look(ctx context.Context, id string) (word, error) {
	e, ok, err := r.now.Look(ctx, id)
	if err == nil && !ok && r.old != nil {
		e, ok, err = r.old.Look(ctx, id)
	}
	if err != nil {
		return word{}, err
	}
	if a, away := find(r.away, id); away && (!ok || e.Until <= a.Claim) {
		return word{thereAway, a.Claim}, nil
	}
	switch {
	case !ok || e.Flags&index.Moved != 0:
		return word{}, nil // a given item is somebody else's, who knows better
	case e.Flags&index.Gone != 0:
		return word{thereGone, e.Until}, nil
	default:
		return word{thereLive, e.Until}, nil
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

// given gives an item away that a sibling told last. False: no sibling did.
func (w *walk) given(ctx context.Context, e index.Entry) (bool, error) {
	there, err := w.elsewhere(ctx, e.ID)
	if err != nil || w.hasLastWord(known{Entry: e, any: true}, there) {
		return false, err
	}
	w.give(e)
	return true, nil
}

// give notes that a sibling has the item now.
func (w *walk) give(e index.Entry) {
	e.Flags, e.Round = index.Moved, uint32(w.cur.Round)
	w.put(e)
	w.mark = true
}

// settle has the deletions of a page looked at, and takes back those that are
// none. It changes the kind of a change to "" where nothing is to be told.
func (w *walk) settle(ctx context.Context, all []*change) error {
	var gone []*change
	var entries []index.Entry
	for _, c := range all {
		if c.kind != Deleted && !c.doubted || c.bad != nil {
			continue
		}
		// Of an item that the page shows otherwise later nobody need look.
		now, _, err := w.now.Look(ctx, c.id)
		if err != nil {
			return fmt.Errorf("look into the index: %w", err)
		}
		if now.Flags&index.Gone != c.entry.Flags&index.Gone || now.Lives != c.entry.Lives {
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

// sentence decides what a verdict makes of a deletion, or of an item of which a
// page that may be old says that it is here.
func (w *walk) sentence(ctx context.Context, c *change, v verdict) error {
	if !v.Known {
		return nil
	}
	was := c.was.Entry
	was.ID = c.id
	home := outside
	if !v.Gone && (c.doubted || !w.bounded()) {
		var err error
		if home, err = w.home(ctx, v.Folder); err != nil {
			return err
		}
	}
	if w.reg.Retire && home != sibling {
		home = outside // also where it is here: this is not read any more
	}
	switch {
	case c.doubted:
		if home == outside || home == sibling || home == unheard {
			c.kind = ""
			w.give(was)
		}
	case v.Gone:
		c.verified = true
	case home == unsure:
	case home == outside: // it is there, but not in what is read
		c.verified, c.reason = true, reasonMoved
	case w.sub.Mode != ModeDelta && home == here:
		// The next reading shows it, if it stays.
		c.kind = ""
		w.put(was)
	case len(w.cur.Away) < awayMost || c.was.away:
		c.kind = ""
		w.wait(was)
	default:
		c.verified, c.reason = true, reasonMoved
	}
	return nil
}

// bounded reports whether the feed reads not all of what is in its folder: then
// an item may exist, in the folder, and not be among what is read. A deletion is
// one then, whatever has become of the item, and what comes back is created.
func (w *walk) bounded() bool {
	if w.sub.Window != (Window{}) {
		return true
	}
	for name := range w.req.Query {
		switch strings.ToLower(strings.TrimPrefix(name, "$")) {
		case "startdatetime", "enddatetime", "filter", "search":
			return true
		}
	}
	return false
}
