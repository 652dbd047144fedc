package subscriber

import (
	"context"
	"fmt"
	"maps"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
)

// anonymous is the id of an answer that has none.
const anonymous = "-"

// mediaBytes is the media type of an answer that is not JSON.
const mediaBytes = "application/octet-stream"

// single reads one object, or an answer as a whole, and tells it where it is
// another one than the last time.
func (w *walk) single(ctx context.Context) (outcome, error) {
	if w.items == nil {
		return outcome{}, fault.New(fault.Poison, "single objects cannot be read here").WithCode("no_items")
	}
	if err := w.gather(ctx); err != nil {
		return outcome{}, err
	}
	release, err := w.slot(ctx, true)
	if err != nil {
		return outcome{}, err
	}
	before, first := *w.cur, w.cur.full()
	all, page, err := w.readObject(ctx, release)
	if err != nil {
		return outcome{}, err
	}
	w.came += len(all)
	rest, err := w.prepare(ctx, page, &before, all)
	if err != nil {
		return outcome{}, err
	}
	w.cur.begun(page.Date, time.Now())
	touched := w.touched
	w.cur.endRound()
	if first || touched || len(rest) > 0 || time.Since(before.At) >= saveEvery {
		if err := w.commit(ctx, before, rest); err != nil {
			return outcome{}, err
		}
	}
	return w.ended(), nil
}

// readObject reads the object and decides about it. One that is not there any
// more is told as deleted.
func (w *walk) readObject(ctx context.Context, release func()) (all []*change, page Page, err error) {
	defer release()
	body, page, err := w.items.Object(ctx, w.req, 0)
	if mark := fault.Of(err); mark != nil && mark.Kind == fault.Poison && goneCode(mark.Code) {
		all, failed := w.objectGone(ctx)
		if failed != nil || len(all) > 0 {
			return all, page, failed
		}
	}
	if err != nil {
		return nil, page, fmt.Errorf("read object: %w", err)
	}
	it := item{id: anonymous, raw: body}
	if !w.sub.Operation.Raw() {
		if it, err = w.peek.object(body); err != nil {
			return []*change{{item: item{raw: body}, kind: Changed, version: digest(string(body)), life: fmt.Sprint(w.cur.Round), bad: err}}, page, nil
		}
	}
	was, err := w.look(ctx, it.id)
	if err != nil {
		return nil, page, err
	}
	c, err := w.judgeLive(ctx, it, was)
	if err != nil || c == nil {
		return nil, page, err
	}
	return []*change{c}, page, nil
}

// objectGone tells the end of what was there.
func (w *walk) objectGone(ctx context.Context) (all []*change, err error) {
	err = w.now.Walk(ctx, 0, func(_ index.Key, e index.Entry) (bool, error) {
		if e.Flags&(index.Gone|index.Moved) != 0 {
			return true, nil
		}
		if c := w.bereave(item{id: e.ID, removed: true, raw: tombstone(e.ID)}, known{Entry: e, any: true, here: true}); c != nil {
			c.verified = true
			all = append(all, c)
		}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("look into the index: %w", err)
	}
	return all, nil
}

// minute is a moment as the index keeps it, in minutes since 1970.
type minute uint32

func minutes(t time.Time) minute { return minute(max(t.Unix()/60, 0)) }

func (m minute) before(other uint32) bool { return uint32(m) < other }

// at is the window at a moment: whole steps, so that it stands still between
// them, and never less than asked for.
func (v Window) at(now time.Time) (from, upto time.Time) {
	if v == (Window{}) {
		return time.Time{}, time.Time{}
	}
	today := now.UTC().Truncate(v.Step)
	return today.Add(-v.Back), today.Add(v.Ahead + v.Step)
}

// window puts the window into the request. A calendar view has its window in its
// links, so another one is another round:
// https://learn.microsoft.com/graph/api/event-delta
func (w *walk) window() {
	if w.cur.From.IsZero() {
		return
	}
	w.req.Query = maps.Clone(w.req.Query)
	if w.req.Query == nil {
		w.req.Query = make(map[string]string, 2)
	}
	w.req.Query["startDateTime"] = w.cur.From.UTC().Format(time.RFC3339)
	w.req.Query["endDateTime"] = w.cur.Upto.UTC().Format(time.RFC3339)
}
