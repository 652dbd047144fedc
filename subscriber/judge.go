package subscriber

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"time"

	"outlook-connector/internal/index"
)

const (
	// pastKept is how many versions are remembered that items no longer have.
	pastKept = 64
	// lately is how old the last change of an item may be for the item to be on
	// its way between two folders while both are read for the first time.
	lately = 10 * time.Minute
)

// pageItems are the items of one page.
type pageItems struct {
	// all are those that may be told, in order.
	all []*change
	// seen counts the items of the page, also those that are not told.
	seen int
	// sum is a hash of all their bytes.
	sum uint64
}

// readPage reads a page and decides about its items as they come, so that of a
// quiet full read none is kept in memory. It releases the slot before it returns.
func (w *walk) readPage(ctx context.Context, link string, release func()) (Page, pageItems, error) {
	defer release()
	var items pageItems
	var sum maphash.Hash
	sum.SetSeed(w.seed)
	page, err := w.source.Read(ctx, w.req.at(link, w.sub.PageSize), func(raw []byte) error {
		items.seen++
		_, _ = sum.Write(raw)
		c, err := w.judge(ctx, raw)
		if err != nil {
			return err
		}
		if c != nil {
			if c.raw, err = w.pages.keep(ctx, raw); err != nil {
				return err
			}
			items.all = append(items.all, c)
		}
		return nil
	})
	if err != nil {
		return Page{}, pageItems{}, fmt.Errorf("read page: %w", err)
	}
	items.sum = sum.Sum64()
	w.pages.seen(items.seen)
	return page, items, nil
}

// judge decides whether an item may be told, and as what; nil: it is not. It
// puts into the index what is then known of the item.
func (w *walk) judge(ctx context.Context, raw []byte) (*change, error) {
	it, err := w.peek.peek(raw)
	if err != nil {
		return &change{kind: Changed, version: digest(string(raw)), life: strconv.Itoa(w.cur.Round), bad: err}, nil //nolint:nilerr // that is told as a dead letter
	}
	if w.seen != nil {
		w.seen[index.KeyOf(it.id)] = struct{}{}
	}
	was, err := w.look(ctx, it.id)
	if err != nil {
		return nil, err
	}
	if it.removed {
		return w.judgeGone(ctx, it, was)
	}
	return w.judgeLive(ctx, it, was)
}

// known is what the feed knows of an item.
type known struct {
	index.Entry
	// any says that it knows anything, here that this read has seen it, away that
	// it is one of the cursor's Away.
	any, here, away bool
}

// live reports whether the newest thing known of the item is that it is there.
func (k known) live() bool { return k.any && k.Flags&(index.Gone|index.Moved) == 0 }

// look returns what this read has seen of an item, else what was known before.
func (w *walk) look(ctx context.Context, id string) (known, error) {
	e, ok, err := w.now.Look(ctx, id)
	here := ok
	if err == nil && !ok && w.old != nil {
		e, ok, err = w.old.Look(ctx, id)
	}
	if err != nil {
		return known{}, fmt.Errorf("look into the index: %w", err)
	}
	e.ID = id
	k := known{Entry: e, any: ok, here: here}
	if a, away := find(w.cur.Away, id); away && (!ok || w.claimOf(e) <= a.Claim) {
		k.Entry, k.any, k.away = w.claimed(a.entry(), a.Claim), true, true
	}
	return k, nil
}

// put notes what is known of an item from now on.
func (w *walk) put(e index.Entry) {
	w.now.Put(e)
	w.touched = true
}

// judgeLive decides about an item that exists.
func (w *walk) judgeLive(ctx context.Context, it item, was known) (*change, error) {
	version := it.version
	if version == "" {
		version = "bytes:" + digest(string(it.raw))
	}
	next := index.Entry{
		ID: it.id, Version: index.VersionOf(version), Flags: was.Flags & index.Hushed, Lives: was.Lives, Round: uint32(w.cur.Round), Until: it.until,
	}
	there, err := w.elsewhere(ctx, it.id)
	if err != nil {
		return nil, err
	}
	same := was.Version == next.Version
	mine := w.hasLastWord(was, there)
	claim := max(w.claimOf(was.Entry), there.claim) + 1
	var kind string
	doubted := false
	switch {
	case was.live() && (mine && same || w.isPast(&it, next.Version)):
		if !was.here {
			w.put(was.Entry)
		}
		return nil, nil //nolint:nilnil // nothing to tell is a good answer
	case was.live() && mine:
		kind, claim = Updated, w.claimOf(was.Entry)
		w.pass(&it, was.Version)
		w.arrived(&it)
	case was.away && mine:
		// It came back before anybody told that it was elsewhere.
		if !same {
			kind = Updated
		}
		w.mark = true
		w.unaway(it.id)
	case !mine && (there.place == thereLive || there.place == thereAway):
		// The very version that it had here before a sibling told it: it came back
		// as it was, or the page is an old one. That can be looked up.
		kind, doubted, w.mark = Updated, was.live() && same, true
		w.unaway(it.id)
	default:
		kind = w.firstKind(&it, version, was.any || there.place == thereGone)
		w.arrived(&it)
	}
	next = w.claimed(next, claim)
	if kind == "" || !w.sub.wants(kind) {
		w.put(next)
		return nil, nil //nolint:nilnil // as above
	}
	if was.any {
		next.Lives++
	}
	next.Flags = 0
	w.put(next)
	return &change{item: it, kind: kind, version: version, life: lifeOf(next), entry: next, was: was, doubted: doubted}, nil
}

// firstKind is the word for an item that is not known to be there, "" for one
// that is not told. gone says that its deletion was told.
func (w *walk) firstKind(it *item, version string, gone bool) string {
	switch {
	case w.cur.Phase == changes || w.cur.Phase == resync:
		return Created
	case w.cur.Phase == snapshot && !it.received.Before(w.cur.Since): // always, where everything is told
		return Snapshot
	case gone:
		return Created
	case w.cur.Phase == snapshot:
		// Older than the start, but changed while the snapshot is being read.
		if !w.cur.Began.IsZero() && it.modified.After(w.cur.Began) {
			return Updated
		}
		return ""
	case !it.fresh(w.cur.Since) || slices.Contains(w.cur.Told, toldV1(it.id, version)):
		return ""
	case it.received.IsZero():
		return Changed // nobody can tell which
	case it.received.Before(w.cur.Since):
		return Updated
	default:
		return Created
	}
}

// judgeGone decides about a tombstone.
func (w *walk) judgeGone(ctx context.Context, it item, was known) (*change, error) {
	if !was.live() {
		return nil, nil //nolint:nilnil // what nobody was told of need not be taken back
	}
	given, err := w.given(ctx, was.Entry)
	if err != nil || given {
		return nil, err
	}
	return w.bereave(it, was), nil
}

// bereave notes that an item is gone, and returns its deletion if that is told.
func (w *walk) bereave(it item, was known) *change {
	next := was.Entry
	next.ID, next.Flags, next.Lives, next.Round = it.id, index.Gone, was.Lives+1, uint32(w.cur.Round)
	next = w.claimed(next, w.claimOf(was.Entry)+1)
	w.put(next)
	w.mark = true // a sibling must not tell it as updated any more
	if was.Flags&index.Hushed != 0 || !w.sub.wants(Deleted) {
		return nil
	}
	return &change{item: it, kind: Deleted, version: "gone", life: lifeOf(next), entry: next, was: was}
}

// lifeOf tells apart the times at which an item came to the same version, or was
// deleted: the round, and within it how often it was told before.
func lifeOf(e index.Entry) string {
	return strconv.FormatUint(uint64(e.Round), 10) + "." + strconv.Itoa(int(e.Lives))
}

// tombstone is the body of a deletion that Graph did not give.
func tombstone(id string) []byte {
	body, err := json.Marshal(map[string]any{memberID: id, memberRemoved: map[string]string{"reason": "deleted"}})
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return body
}

// pastKey identifies a version of an item.
func pastKey(id string, version uint64) string {
	return digest("past", id, strconv.FormatUint(version, 10))[:2*keyLen-4]
}

// isPast reports whether the item had that version before the one it has. Only
// Graph's own versions are never come back to; the same bytes may be.
func (w *walk) isPast(it *item, version uint64) bool {
	return it.version != "" && slices.Contains(w.cur.Past, pastKey(it.id, version))
}

// pass notes that an item no longer has that version.
func (w *walk) pass(it *item, version uint64) {
	if it.version == "" {
		return
	}
	past := append(slices.Clone(w.cur.Past), pastKey(it.id, version))
	w.cur.Past = past[max(0, len(past)-pastKept):]
}

// keyLen is the length of half an entry of version 1's memory of what was told.
const keyLen = 8

// toldV1 is how version 1 noted that it had told a version of an item.
func toldV1(id, version string) string {
	return digest("item", id)[:keyLen] + digest("version", version)[:keyLen]
}
