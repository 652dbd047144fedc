package sandbox

// event: delta. Over a view, with the window in the token: single events,
// exceptions and masters whole, occurrences with id, type, master, start and end
// only; what changed and is outside the window comes as removed, as does each
// date that was cancelled or that a new pattern no longer has. Over a calendar
// (events/delta) masters come without their occurrences. Query options are
// refused. https://learn.microsoft.com/graph/api/event-delta
//
// Left out: the dates of a series that was deleted for good (its master is told).

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
)

// viewItem is one entry of a page.
type viewItem struct {
	e    *entity // nil: removed
	id   string  // of a removed one
	slim bool
}

// refuseDeltaOptions refuses what change tracking over events does not take.
func (c *call) refuseDeltaOptions(over string) error {
	q := c.query
	if len(q.selects)+len(q.orderby) > 0 || q.expand != "" || q.filter != "" || q.search != "" || q.skip > 0 || q.count {
		return newError(http.StatusBadRequest, "ErrorInvalidUrlQuery",
			"The following parameters are not supported with change tracking over the '%s' resource: '$orderby, $filter, $select, $expand, $search'.", over)
	}
	return nil
}

func (c *call) eventsDelta() (*Answer, error) {
	if err := c.refuseDeltaOptions("Events"); err != nil {
		return nil, err
	}
	return eventResource().delta(c)
}

func (c *call) calendarViewDelta() (*Answer, error) {
	if err := c.refuseDeltaOptions("CalendarView"); err != nil {
		return nil, err
	}
	var b []byte
	var err error
	c.read(func(st *state) {
		var cal *entity
		if cal, err = c.calendarOf(); err != nil {
			return
		}
		var only uint64
		if _, ok := c.params["event-id"]; ok {
			var e *entity
			if e, err = c.eventOf(); err != nil {
				return
			}
			cal, only = c.box.entities[e.In], e.Key
		}
		var t deltaToken
		var w window
		if t, w, err = c.viewRound(st, cal.Key, only); err == nil {
			b = c.viewDeltaPage(st, cal.Key, only, t, w)
		}
	})
	if err != nil {
		return nil, err
	}
	return c.jsonAnswer(http.StatusOK, b), nil
}

const viewDelta = "calendarView"

// viewRound is the round of the token, or a new one, with its window.
func (c *call) viewRound(st *state, cal, only uint64) (deltaToken, window, error) {
	epoch := st.epoch + c.box.epoch
	if c.sealedToken() == "" {
		w, err := c.windowOf()
		return deltaToken{
			Box: c.box.ID, Kind: viewDelta, Folder: cmp.Or(only, cal), Epoch: epoch, End: c.deltaEnd(st), First: true,
			Filter: w.from.Format(time.RFC3339) + " " + w.to.Format(time.RFC3339),
		}, w, err
	}
	t, ok := st.openToken(c.sealedToken())
	if !ok || t.Box != c.box.ID || t.Kind != viewDelta || t.Folder != cmp.Or(only, cal) || t.Epoch != epoch {
		return t, window{}, c.errDeltaLost()
	}
	from, to, _ := strings.Cut(t.Filter, " ")
	w, err := readWindow(from, to)
	if t.End == 0 {
		c.beginRound(st, &t)
	}
	return t, w, err
}

// viewDeltaPage renders one page. t.After is the last change that has been told
// of wholly, t.Given how many items of the next one have been given. It needs the
// lock.
func (c *call) viewDeltaPage(st *state, cal, only uint64, t deltaToken, w window) []byte {
	size := cmp.Or(c.prefer.pageSize, c.opts.listPage)
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#Collection(event)")
	b = append(b, `,"value":[`...)
	n := 0
	put := func(it viewItem) {
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = c.appendViewItem(b, it)
	}
	more := c.blankPage(&t)
	if !more {
		for _, key := range t.takeAgain(size) {
			if e := c.box.entities[key]; e != nil && e.In == cal && (isMaster(e) || overlaps(e, w)) {
				put(viewItem{e: e})
			}
		}
	}
	if place := c.box.spots[spot{cal, "event"}]; place != nil && !more {
		i, _ := slices.BinarySearchFunc(place.log, max(t.After, t.Start)+1, func(e change, seq int64) int { return cmp.Compare(e.Seq, seq) })
		for _, ch := range place.log[i:] {
			if ch.Seq > t.End {
				break
			}
			items := c.viewChanges(ch, &t, cal, only, w)
			for _, it := range items[min(t.Given, len(items)):] {
				if more = n >= size; more {
					break
				}
				put(it)
				t.Given++
			}
			if more {
				break
			}
			if len(items) > 0 && items[0].e != nil {
				c.noteTold(&t, ch.Key, ch.Seq)
			}
			t.After, t.Given = ch.Seq, 0
		}
	}
	link, option := `],"@odata.nextLink":`, "$skiptoken="
	if !more {
		link, option = `],"@odata.deltaLink":`, "$deltatoken="
		t = t.endRound()
	}
	return append(appendString(append(b, link...), c.deltaPath()+"?"+option+st.sealToken(t)), '}')
}

func (c *call) appendViewItem(b []byte, it viewItem) []byte {
	const kind = `"@odata.type":"#microsoft.graph.event",`
	if it.e == nil {
		b = appendString(append(b, `{`+kind+`"id":`...), it.id)
		return append(b, `,"@removed":{"reason":"deleted"}}`...)
	}
	res := eventResource()
	v := &entityView{res: res, typ: res.typ()}
	for _, f := range v.typ.fields {
		if it.slim && !slices.Contains([]string{"seriesMasterId", "type", "start", "end"}, f.name) || f.nav || f.selected {
			continue
		}
		v.fields = append(v.fields, f)
	}
	return v.append(b, c, it.e, kind)
}

// viewChanges are the items that one entry of a calendar's log comes to.
func (c *call) viewChanges(ch change, t *deltaToken, cal, only uint64, w window) []viewItem {
	e := c.box.entities[ch.Key]
	if only != 0 && ch.Key != only && (e == nil || uint64(e.number("master")) != only) {
		return nil
	}
	if ch.Gone {
		if t.First || ch.Born > t.Start {
			return nil // it was never told of
		}
		gone := []viewItem{{id: c.idOf(&entity{Key: ch.Key, Type: "event", Gen: ch.Gen, ID: ch.ID})}}
		if e != nil && e.In != cal { // it is in Deleted Items
			gone = c.datesGone(gone, e, t, w, nil)
			if isMaster(e) {
				gone = c.allDates(gone, seriesOf(e), t, w, nil)
			}
		}
		return gone
	}
	if e == nil || e.Seq != ch.Seq || e.In != cal {
		return nil
	}
	if isMaster(e) {
		return c.seriesChanges(e, t, w)
	}
	gone := c.datesGone(nil, e, t, w, nil)
	switch {
	case overlaps(e, w):
		return append(gone, viewItem{e: e})
	case t.First:
		return nil
	}
	return append(gone, viewItem{id: c.idOf(e)})
}

// seriesChanges are the items of a series that came or changed.
func (c *call) seriesChanges(e *entity, t *deltaToken, w window) []viewItem {
	s := seriesOf(e)
	var come []viewItem
	now := map[recurrence.Date]bool{}
	for d := range s.plain(c.box, w) {
		now[d] = true
		come = append(come, viewItem{e: s.occurrence(c.box, d), slim: true})
	}
	visible := len(come) > 0 || slices.ContainsFunc(s.exceptions(c.box), func(e *entity) bool { return overlaps(e, w) })
	if t.First {
		if !visible {
			return nil
		}
		return append([]viewItem{{e: e}}, come...)
	}
	for _, x := range s.exceptions(c.box) {
		now[eventDate(x)] = true
	}
	gone := c.datesGone(nil, e, t, w, now)
	if e.Born <= t.Start && onlyCancelled(e, t.Start) {
		come = nil // the other dates are as they were
	}
	if !visible {
		return append(gone, viewItem{id: c.idOf(e)})
	}
	return append(append(gone, viewItem{e: e}), come...)
}

// datesGone adds the dates that a series has lost in this round: the cancelled
// ones, and those of patterns that it had before. now are those that it has.
func (c *call) datesGone(gone []viewItem, e *entity, t *deltaToken, w window, now map[recurrence.Date]bool) []viewItem {
	cancelled, _ := e.Hidden["cancelled"].(map[string]any)
	for _, day := range sortedKeys(cancelled) {
		d, err := recurrence.ParseDate(day)
		if seq, _ := cancelled[day].(float64); err == nil && int64(seq) > t.Start && !t.First {
			gone = append(gone, viewItem{id: occurrenceID(c.box, e.Key, d)})
		}
	}
	past, _ := e.Hidden["past"].([]any)
	for _, p := range past {
		was, _ := p.(map[string]any)
		if seq, _ := was["seq"].(float64); int64(seq) > t.Start && !t.First {
			gone = c.allDates(gone, formerly(e, was), t, w, now)
		}
	}
	return gone
}

// allDates adds the dates of a pattern but for some, and for those of which an
// earlier round told that they were cancelled.
func (c *call) allDates(gone []viewItem, s *series, t *deltaToken, w window, but map[recurrence.Date]bool) []viewItem {
	for d := range s.rule.Between(s.times, w.from, w.to) {
		if seq, was := s.cancelled(d); !but[d] && (!was || seq > t.Start) {
			gone = append(gone, viewItem{id: occurrenceID(c.box, s.master.Key, d)})
		}
	}
	return gone
}

// onlyCancelled says that nothing happened to a series since a write but that
// dates were cancelled.
func onlyCancelled(e *entity, since int64) bool {
	some := false
	for name, seq := range e.Touched {
		if seq <= since {
			continue
		}
		if name != "cancelledOccurrences" {
			return false
		}
		some = true
	}
	return some
}
