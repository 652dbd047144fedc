package subscriber

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"outlook-connector/internal/index"
)

// awayMost bounds the items that left and are still in a folder of the
// subscription. Of more, those that leave are told as deleted, and as created
// where they are.
const awayMost = 100

// unheardFor is for how long an item waits whose folder the discovery has not
// heard of. It usually hears at its next look; of some folders, such as hidden
// ones, never. A feed that retires waits no longer for others either.
const unheardFor = 10 * time.Minute

// lastWait is how often a feed that has come to its end looks after the items that
// are in another folder and have not been told there.
const lastWait = 5 * time.Second

// awayItem is one of a cursor's Away: what the index knew of it.
type awayItem struct {
	ID      string `json:"i"`
	Version uint64 `json:"v,string"`
	Claim   uint32 `json:"c,omitempty"`
	Lives   uint8  `json:"l,omitempty"`
	// Since is when it was found to have left, in seconds since 1970.
	Since int64 `json:"t,omitempty"`
}

// entry is the item as an index has it.
func (a awayItem) entry() index.Entry {
	return index.Entry{ID: a.ID, Version: a.Version, Flags: index.Moved, Lives: a.Lives}
}

// find finds an item in a cursor's Away.
func find(list []awayItem, id string) (awayItem, bool) {
	for _, a := range list {
		if a.ID == id {
			return a, true
		}
	}
	return awayItem{}, false
}

// wait notes that an item left and is still in a folder of the subscription.
// Whose feed is to tell it, and whether it stays, only a later page says: what a
// tombstone said is the state that Graph's next answer goes on from.
func (w *walk) wait(e index.Entry) {
	claim, since := w.claimOf(e)+1, time.Now().Unix()
	if a, away := find(w.cur.Away, e.ID); away {
		since = a.Since
	}
	w.give(w.claimed(e, claim))
	w.unaway(e.ID)
	w.cur.Away = append(slices.Clone(w.cur.Away), awayItem{ID: e.ID, Version: e.Version, Claim: claim, Lives: e.Lives, Since: since})
}

// unaway takes an item off the list of those that nobody has told yet.
func (w *walk) unaway(id string) {
	if _, away := find(w.cur.Away, id); away {
		w.cur.Away = slices.DeleteFunc(slices.Clone(w.cur.Away), func(a awayItem) bool { return a.ID == id })
		w.touched = true
	}
}

// follow looks after the items of Away: once somebody has told them, they are
// his; and those that came to their end before, or went to where nobody reads,
// are told as deleted here, because nobody else can.
func (w *walk) follow(ctx context.Context) error {
	if len(w.cur.Away) == 0 || w.cur.Phase != changes && w.cur.Phase != retiring {
		return nil
	}
	if err := w.gather(ctx); err != nil {
		return err
	}
	before := *w.cur
	var waiting []known
	for _, a := range before.Away {
		was, err := w.look(ctx, a.ID)
		if err != nil {
			return err
		}
		there, err := w.elsewhere(ctx, a.ID)
		if err != nil {
			return err
		}
		if was.away && w.hasLastWord(was, there) {
			waiting = append(waiting, was)
		} else {
			w.unaway(a.ID)
		}
	}
	told, err := w.ends(ctx, waiting)
	if err != nil {
		return err
	}
	if len(w.cur.Away) == len(before.Away) {
		return w.reopen()
	}
	events, err := w.events(ctx, Page{}, told)
	if err != nil {
		return err
	}
	return w.commit(ctx, before, events)
}

// ends looks at items of Away, a batch of them, and takes out those that came to
// their end.
func (w *walk) ends(ctx context.Context, waiting []known) (told []*change, err error) {
	if n := len(waiting); n > batchMost {
		from := rand.IntN(n)
		waiting = slices.Concat(waiting[from:], waiting[:from])[:batchMost]
	}
	entries := make([]index.Entry, len(waiting))
	for i, was := range waiting {
		entries[i] = was.Entry
	}
	verdicts, err := w.verify(ctx, entries)
	if err != nil {
		return nil, err
	}
	for i, v := range verdicts {
		home := outside
		if v.Known && !v.Gone {
			if home, err = w.home(ctx, v.Folder); err != nil {
				return nil, err
			}
		}
		id := waiting[i].ID
		a, _ := find(w.cur.Away, id)
		switch {
		case w.reg.Retire && home != sibling:
			home = outside
		case (w.reg.Retire || home == unheard) && time.Since(time.Unix(a.Since, 0)) > unheardFor:
			home = outside
		}
		if !v.Known || home != outside {
			continue
		}
		if c := w.bereave(item{id: id, removed: true, raw: tombstone(id)}, waiting[i]); c != nil {
			if c.verified = true; !v.Gone {
				c.reason = reasonMoved
			}
			told = append(told, c)
		}
		w.unaway(id)
	}
	return told, nil
}

// abode is where an item is that exists.
type abode int

const (
	unsure  abode = iota
	here          // in what this feed reads
	sibling       // in another folder of the subscription
	unheard       // in a folder of which the discovery has not heard yet
	outside
)

// home says whose a folder is.
func (w *walk) home(ctx context.Context, folder string) (abode, error) {
	switch {
	case folder == "" || Part(folder) == w.feed.Part:
		return here, nil
	case w.moving():
		_, known, err := w.roster.home(ctx, w.feed, folder)
		if err != nil {
			return unsure, fmt.Errorf("find the feed of a folder: %w", err)
		}
		if known {
			return sibling, nil
		}
		heard, err := w.roster.heard(ctx, w.feed, folder)
		if err != nil {
			return unsure, fmt.Errorf("find the folder: %w", err)
		}
		if !heard {
			return unheard, nil
		}
		return outside, nil
	}
	if own, known := w.ownFolder(ctx); !known {
		return unsure, ctx.Err()
	} else if own != "" && own != folder {
		return outside, nil
	}
	return here, nil
}

// ownFolder returns the id of the folder that a feed of one folder reads, which
// the configuration may call by a well-known name; "" where it reads the whole
// mailbox. known is false where nobody can say now.
// https://learn.microsoft.com/graph/api/resources/mailfolder
func (w *walk) ownFolder(ctx context.Context) (id string, known bool) {
	var path string
	switch name := pathParam(w.req.Path, "mailFolder-id"); {
	case w.sub.Operation.Type == typeMessage && name == "":
		return "", true
	case w.sub.Operation.Type == typeMessage:
		path = "mailFolders/" + url.PathEscape(name)
	default:
		path = "contactFolders/" + url.PathEscape(cmp.Or(pathParam(w.req.Path, "contactFolder-id"), "contacts"))
	}
	if w.state.folder != "" || w.items == nil {
		return w.state.folder, w.state.folder != ""
	}
	f := w.fetcher()
	got, err := f.part(ctx, []Get{{Path: path, Query: map[string]string{"$select": fieldID}, Headers: lowPriority(f.headers)}})
	if err != nil || got[0].Err != nil {
		return "", false
	}
	if it, err := w.peek.peek(got[0].Body); err == nil {
		w.state.folder = it.id
	}
	return w.state.folder, w.state.folder != ""
}
