package subscriber

import (
	"context"
	"fmt"
	"time"

	"outlook-connector/internal/index"
)

// sweepBatch is how many missing items one commit of a sweep looks at.
const sweepBatch = 200

// sweep looks at items that were known before a full read and were not in it,
// as many as go into one commit. It goes on where the cursor says, so that a
// sweep of a large mailbox survives its worker.
func (w *walk) sweep(ctx context.Context) (outcome, error) {
	if err := w.gather(ctx); err != nil {
		return outcome{}, err
	}
	before := *w.cur
	var all []*change
	looked, next := 0, w.cur.Sweep
	more := false
	err := index.Missing(ctx, w.old, w.now, w.cur.Sweep, func(key index.Key, e index.Entry) (bool, error) {
		if e.Flags&index.Gone != 0 && !w.moving() {
			return true, nil
		}
		if looked == sweepBatch {
			more = true
			return false, nil
		}
		looked++
		next = key + 1
		if e.Flags&index.Gone != 0 {
			w.put(e) // a sibling that has it still must know that it was told as deleted since
			return true, nil
		}
		c, err := w.missing(ctx, e)
		if c != nil {
			all = append(all, c)
		}
		return true, err
	})
	if err != nil {
		return outcome{}, fmt.Errorf("look for missing items: %w", err)
	}
	w.read++
	w.came += len(all)
	rest, err := w.prepare(ctx, Page{}, &before, all)
	if err != nil {
		return outcome{}, err
	}
	w.cur.Sweep = next
	waits := w.cur.Phase == retiring && len(w.cur.Away) > 0
	if !more && !waits {
		w.swept()
	}
	if !more && waits && len(all) == 0 && !w.touched {
		return outcome{result: resultMore, after: lastWait}, nil
	}
	if err := w.commit(ctx, before, rest); err != nil {
		return outcome{}, err
	}
	switch {
	case more && w.read >= maxPages:
		return outcome{result: resultMore}, nil
	case more:
		return outcome{}, nil
	case waits:
		return outcome{result: resultMore, after: lastWait}, nil
	case w.cur.Phase == retired:
		return w.remain(ctx)
	default:
		return w.ended(), nil
	}
}

// swept turns the cursor to what comes after the sweep.
func (w *walk) swept() {
	w.cur.Old, w.cur.Sweep, w.old = index.Manifest{}, 0, nil
	if w.cur.Phase == sweep {
		w.cur.Phase = changes
		return
	}
	w.cur.Phase, w.cur.Past, w.cur.Away = retired, nil, nil
	w.cur.Round++
}

// retiredLife is how long the index of a feed of which nothing else is left is
// kept: its siblings may not have heard yet of what it told last.
const retiredLife = time.Hour

// remain keeps the index of a retired feed for a while, where it has siblings.
// Afterwards nothing is kept but the count of its rounds.
func (w *walk) remain(ctx context.Context) (outcome, error) {
	if w.cur.Index.IsZero() {
		return outcome{result: resultRetired}, nil
	}
	if rest := retiredLife - time.Since(w.cur.At); w.moving() && rest > 0 {
		return outcome{result: resultRetired, after: rest}, nil
	}
	before := *w.cur
	w.cur.Index, w.now = index.Manifest{}, index.Open(w.pieces(w.feed), index.Manifest{})
	if err := w.gather(ctx); err != nil {
		return outcome{}, err
	}
	return outcome{result: resultRetired}, w.commit(ctx, before, nil)
}

// missing decides about an item that is not there any more, as far as the
// reading says.
func (w *walk) missing(ctx context.Context, e index.Entry) (*change, error) {
	if e.Until != 0 && !w.cur.From.IsZero() && !minutes(w.cur.From).before(e.Until) {
		w.forget(e)
		return nil, nil //nolint:nilnil // it ended before the window begins
	}
	given, err := w.given(ctx, e)
	if err != nil || given {
		return nil, err
	}
	return w.bereave(item{id: e.ID, removed: true, raw: tombstone(e.ID)}, known{Entry: e, any: true}), nil
}

// retire ends a feed: what it knows is told as gone, unless another folder of
// the subscription has it.
func (w *walk) retire(ctx context.Context) (outcome, error) {
	switch w.cur.Phase {
	case retired:
		return w.remain(ctx)
	case retiring:
	default:
		w.cur.restart()
		w.cur.Phase = retiring
		if err := w.reopen(); err != nil {
			return outcome{}, err
		}
	}
	if w.old == nil {
		w.old = index.Open(w.pieces(w.feed), index.Manifest{})
	}
	for {
		if out, err := w.sweep(ctx); err != nil || out.result != "" {
			return out, err
		}
	}
}

// list reads a collection from its beginning to its end and compares it with the
// index. What the links of lists say is not stable, so a reading that is cut off
// begins anew: what was told until then is known.
func (w *walk) list(ctx context.Context) (outcome, error) {
	first := w.cur.full()
	w.cur.Link, w.cur.Began = "", time.Time{}
	*w.trail = trail{}
	w.trail.resume(w.seed, w.cur.Round)
	w.seen = make(map[index.Key]struct{})
	commits := 0
	for link := ""; ; {
		page, stored, err := w.listPage(ctx, link)
		if err != nil {
			return outcome{}, err
		}
		if stored {
			commits++
		}
		if link = page.Next; link == "" || w.sub.OnePage {
			break
		}
	}
	if !w.sub.OnePage {
		n, err := w.sweepList(ctx)
		if err != nil {
			return outcome{}, err
		}
		commits += n
	}
	before := *w.cur
	w.cur.endRound()
	if first || commits > 0 || time.Since(before.At) >= saveEvery {
		if err := w.gather(ctx); err != nil {
			return outcome{}, err
		}
		if err := w.commit(ctx, before, nil); err != nil {
			return outcome{}, err
		}
	}
	return w.ended(), nil
}

// listPage reads one page of a list and makes it durable.
func (w *walk) listPage(ctx context.Context, link string) (page Page, stored bool, err error) {
	if err := w.gather(ctx); err != nil {
		return Page{}, false, err
	}
	if err := w.pages.next(ctx, w.req.asked(link, w.sub.PageSize), true); err != nil {
		return Page{}, false, fmt.Errorf("wait for memory: %w", err)
	}
	release, err := w.slot(ctx, link == "")
	if err != nil {
		return Page{}, false, err
	}
	before := *w.cur
	page, items, err := w.readPage(ctx, link, release)
	if err != nil {
		return Page{}, false, err
	}
	w.read++
	w.came += len(items.all)
	if _, err := w.guard(page, link, items); err != nil {
		return Page{}, false, err
	}
	w.trail.pass(link)
	rest, err := w.prepare(ctx, page, &before, items.all)
	if err != nil {
		return Page{}, false, err
	}
	w.cur.begun(page.Date, time.Now())
	if len(rest) == 0 && !w.touched {
		return page, false, nil
	}
	return page, true, w.commit(ctx, before, rest)
}

// readPatience is how long a reading that has begun waits for slots in all
// before it is cut off.
const readPatience = 2 * time.Minute

// slot takes a slot of the mailbox. The first request of a poll does not wait
// for one: meanwhile other feeds can be polled.
func (w *walk) slot(ctx context.Context, first bool) (release func(), err error) {
	for waited := time.Duration(0); ; {
		release, wait, ok := w.slots.Take(ctx, w.req.Client, w.req.Mailbox)
		if ok {
			return release, nil
		}
		if wait = max(wait, leastWait); first || waited+wait > readPatience {
			return nil, &busyError{after: wait}
		}
		waited += wait
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// walkEvery is how often a list is looked through for missing items even though
// as many were seen as are known.
const walkEvery = time.Hour

// sweepList tells the items that a whole reading of a list has not seen. It
// returns how many commits it made.
func (w *walk) sweepList(ctx context.Context) (commits int, err error) {
	if int64(len(w.seen)) == w.cur.Index.Items() && time.Since(w.state.walked) < walkEvery {
		return 0, nil
	}
	for from, more := index.Key(0), true; more; commits++ {
		if err := w.gather(ctx); err != nil {
			return commits, err
		}
		before := *w.cur
		var all []*change
		looked := 0
		more = false
		err := w.now.Walk(ctx, from, func(key index.Key, e index.Entry) (bool, error) {
			if _, seen := w.seen[key]; seen || e.Flags&(index.Gone|index.Moved) != 0 {
				return true, nil
			}
			if looked == sweepBatch {
				more, from = true, key
				return false, nil
			}
			looked++
			c, err := w.missing(ctx, e)
			if c != nil {
				all = append(all, c)
			}
			return true, err
		})
		if err != nil {
			return commits, fmt.Errorf("look for missing items: %w", err)
		}
		w.came += len(all)
		if !w.touched {
			break
		}
		rest, err := w.prepare(ctx, Page{}, &before, all)
		if err != nil {
			return commits, err
		}
		if err := w.commit(ctx, before, rest); err != nil {
			return commits, err
		}
	}
	w.state.walked = time.Now()
	return commits, nil
}

// forget notes that an item is gone of which nothing is told.
func (w *walk) forget(e index.Entry) {
	e.Flags, e.Round = index.Gone, uint32(w.cur.Round)
	w.put(e)
}
