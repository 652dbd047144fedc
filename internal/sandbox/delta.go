package sandbox

// message: delta, per folder. Modelled: rounds of pages, tokens that hold the
// options, Prefer odata.maxpagesize, $select, $filter on receivedDateTime (ge
// and gt; 5,000 messages at most), $orderby=receivedDateTime desc, changeType,
// $top (which ends the round early, as was seen), tombstones, expiry. Items that
// only changed may come as parts (PartialUpdates). Replays, empty pages and the
// delay between a change and its showing are in delta_odd.go.
// https://learn.microsoft.com/graph/api/message-delta
//
// Each folder keeps a log of changes in the order of one sequence. A round is
// the part of the log between two numbers, fixed when the round begins: what
// changes meanwhile has a higher number and is in the next round, also when
// this round has shown it already. An entry that a later one replaced is passed
// over, so a round costs as much as there is to tell.

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"strings"
	"time"
)

// deltaPage is one page before it is written.
type deltaPage struct {
	items []deltaItem
	token deltaToken
	more  bool
}

type deltaItem struct {
	m      *message // nil: removed
	id     string   // of a removed one
	update bool     // the client has had it before
}

func (c *call) messagesDelta() (*Answer, error) {
	var page deltaPage
	var sure int64
	var token string
	var err error
	var v *view
	c.read(func(st *state) {
		var f *folder
		var t deltaToken
		if f, t, err = c.deltaRound(st); err != nil {
			return
		}
		if v, err = c.viewOf(t.Select, t.Expand); err != nil {
			return
		}
		sure = t.Sure
		if c.blankPage(&t) {
			page = deltaPage{token: t, more: true}
		} else if page, err = c.deltaPage(f, t, v); err != nil {
			return
		}
		token = st.sealToken(page.token)
	})
	if err != nil {
		return nil, err
	}
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#Collection(message)")
	b = append(b, `,"value":[`...)
	for i, it := range page.items {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.appendDeltaItem(b, v, it, sure)
	}
	link := `],"@odata.deltaLink":`
	option := "$deltatoken="
	if page.more {
		link, option = `],"@odata.nextLink":`, "$skiptoken="
	}
	b = appendString(append(b, link...), c.deltaURL(page.token.Folder)+"?"+option+token)
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}

// deltaURL is the address of the function, in the spelling that Graph's links
// use: the mailbox as it was addressed, the folder by its id.
func (c *call) deltaURL(folder uint64) string {
	user := "/me"
	if !c.me {
		user = "/users/" + c.box.ID
	}
	return c.base + "/v1.0" + user + "/mailfolders/" + makeID(idFolder, c.box.ID, folder, 0) + "/messages/delta"
}

func (c *call) appendDeltaItem(b []byte, v *view, it deltaItem, sure int64) []byte {
	const kind = `"@odata.type":"#microsoft.graph.message",`
	if it.m == nil {
		b = append(append(b, '{'), kind...)
		b = appendString(append(b, `"id":`...), it.id)
		return append(b, `,"@removed":{"reason":"deleted"}}`...)
	}
	if c.opts.partialUpdates && it.update && it.m.Born <= sure {
		part := *v
		part.properties = slices.DeleteFunc(slices.Clone(v.properties), func(p *property) bool {
			return p.name != "parentFolderId" && it.m.Touched[p.name] <= sure
		})
		// What changed comes whatever $select said.
		for i := range messageProperties {
			p := &messageProperties[i]
			if p.show != nil && !p.selected && it.m.Touched[p.name] > sure && !slices.Contains(part.properties, p) {
				part.properties = append(part.properties, p)
			}
		}
		return part.append(b, it.m, kind)
	}
	return v.append(b, it.m, kind)
}

// deltaRound finds the folder and the round: that of the token, or a new one.
func (c *call) deltaRound(st *state) (*folder, deltaToken, error) {
	f, err := c.folderAt()
	if err == nil && f.Search != nil {
		err = newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "Change tracking is not supported over a search folder.")
	}
	if err != nil {
		return nil, deltaToken{}, err
	}
	epoch := st.epoch + c.box.epoch
	sealed := c.query.skiptoken
	if sealed == "" {
		sealed = c.query.delta
	}
	if sealed == "" {
		t := deltaToken{Box: c.box.ID, Folder: f.Key, Epoch: epoch, End: c.deltaEnd(st), First: true}
		return f, t, c.deltaOptions(&t)
	}
	t, ok := st.openToken(sealed)
	if !ok || t.Box != c.box.ID || t.Kind != "" || t.Folder != f.Key || t.Epoch != epoch || t.forgotten(f.Floor) {
		return nil, t, newError(c.opts.deltaLostStatus, c.opts.deltaLostCode,
			"The sync state generation is not found. The delta token is expired and data must be synchronized again.").
			with("Location", c.deltaURL(f.Key))
	}
	if t.End == 0 { // a deltaLink begins the next round
		c.beginRound(st, &t)
	}
	return f, t, nil
}

// deltaOptions takes the options of the first request into the token.
func (c *call) deltaOptions(t *deltaToken) error {
	q := c.query
	t.Select, t.Expand, t.Filter, t.Top, t.Changes = q.selects, q.expand, q.filter, q.top, strings.ToLower(q.changes)
	switch {
	case len(q.orderby) == 0:
	case len(q.orderby) == 1 && strings.EqualFold(q.orderby[0].property, "receivedDateTime") && q.orderby[0].desc:
		t.Newest = true
	default:
		return newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "Only $orderby=receivedDateTime desc is supported for this delta function.")
	}
	if q.skip > 0 || q.count || q.search != "" {
		return newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "$skip, $count and $search are not supported for this delta function.")
	}
	if !slices.Contains([]string{"", "created", "updated", "deleted"}, t.Changes) {
		return newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "The value '%s' of changeType is not supported.", q.changes)
	}
	_, err := deltaFilter(t.Filter)
	return err
}

// deltaFilter reads receivedDateTime ge|gt …, the only filter of this function.
func deltaFilter(text string) (func(received int64) bool, error) {
	if text == "" {
		return func(int64) bool { return true }, nil
	}
	f := strings.Fields(text)
	if len(f) != 3 || !strings.EqualFold(f[0], "receivedDateTime") || !slices.Contains([]string{"ge", "gt"}, strings.ToLower(f[1])) {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "Only receivedDateTime ge and gt are supported in $filter of this delta function.")
	}
	at, err := time.Parse(time.RFC3339, strings.Trim(f[2], "'"))
	if err != nil {
		return nil, errFilter("'%s' is no date and time", f[2])
	}
	if strings.EqualFold(f[1], "ge") {
		return func(received int64) bool { return !time.Unix(received, 0).Before(at) }, nil
	}
	return func(received int64) bool { return time.Unix(received, 0).After(at) }, nil
}

// deltaPage collects one page.
func (c *call) deltaPage(f *folder, t deltaToken, v *view) (deltaPage, error) {
	fits, err := deltaFilter(t.Filter)
	if err != nil {
		return deltaPage{}, err
	}
	size := c.opts.listPage
	if c.prefer.pageSize > 0 {
		size = c.prefer.pageSize
	}
	page := deltaPage{}
	for _, key := range t.takeAgain(size) {
		// One that came back after this round may be gone before the next, which
		// would not tell of that.
		if m := f.messages[key]; m != nil && m.Born <= t.End && fits(m.Received) {
			page.items = append(page.items, deltaItem{m: m})
		}
	}
	again := len(page.items)
	limit := size - again
	ended := false // by a limit that ends the whole round
	if t.First && t.Filter != "" && t.Given+limit >= c.opts.deltaFilterLimit {
		limit, ended = c.opts.deltaFilterLimit-t.Given, true
	}
	if t.Top > 0 && t.Given+limit >= t.Top {
		limit, ended = t.Top-t.Given, true
	}
	page.token = t
	limit += again
	if t.First && t.Newest {
		page.more = f.newest(&page, limit, fits)
	} else {
		page.more = f.since(&page, limit, v, fits)
	}
	page.token.Given += len(page.items) - again
	for _, it := range page.items[again:] {
		if it.m != nil {
			c.noteTold(&page.token, it.m.Key, it.m.Seq)
		}
	}
	page.more = page.more && !ended
	if !page.more {
		// The next round begins where this one was to end, also when a limit
		// ended it: that is the oddity of $top and of filtered rounds.
		page.token = page.token.endRound()
		page.token.passedOver(t.Sure, f.log, func(e change) iter.Seq[int64] {
			m := f.messages[e.Key]
			if m == nil {
				return writesOf(0, nil)
			}
			return writesOf(m.Born, m.Touched)
		})
	}
	return page, nil
}

// since collects from the log, oldest change first, and says whether there is
// more in the round.
func (f *folder) since(page *deltaPage, limit int, v *view, fits func(int64) bool) (more bool) {
	t := &page.token
	from := max(t.After, t.Start)
	i, _ := slices.BinarySearchFunc(f.log, from+1, func(e change, seq int64) int { return cmp.Compare(e.Seq, seq) })
	for _, e := range f.log[i:] {
		if e.Seq > t.End {
			break
		}
		it, ok := f.tell(e, t, v, fits)
		if !ok {
			continue
		}
		if len(page.items) >= limit {
			return true
		}
		page.items = append(page.items, it)
		t.After = e.Seq
	}
	return false
}

// tell makes an item of a log entry, if it has to be told of in this round.
func (f *folder) tell(e change, t *deltaToken, v *view, fits func(int64) bool) (deltaItem, bool) {
	wants := func(kind string) bool { return t.Changes == "" || t.Changes == kind }
	if e.Gone {
		// What came after the last round and has gone was never told of; in a
		// first round that is everything.
		if t.First || e.Born > t.Start || !wants("deleted") || !fits(e.Received) {
			return deltaItem{}, false
		}
		if v.immutable {
			// It may be back under the same id, and then this round or the next
			// tells of it. Had it come back after this round, it could go again
			// before the next, which would not tell of that: so then this
			// departure must be told.
			if m := f.messages[e.Key]; m != nil && m.Born <= t.End {
				return deltaItem{}, false
			}
			return deltaItem{id: makeID(idImmutable, v.box.ID, e.Key, 0)}, true
		}
		return deltaItem{id: makeID(idOrdinary, v.box.ID, e.Key, e.Gen)}, true
	}
	m := f.messages[e.Key]
	if m == nil || m.Seq != e.Seq || !fits(m.Received) {
		return deltaItem{}, false
	}
	update := !t.First && m.Born <= t.Start
	if update && !wants("updated") || !update && !wants("created") {
		return deltaItem{}, false
	}
	return deltaItem{m: m, update: update}, true
}

// newest collects a first round with $orderby=receivedDateTime desc.
func (f *folder) newest(page *deltaPage, limit int, fits func(int64) bool) (more bool) {
	t := &page.token
	for _, m := range slices.Backward(f.byTime) {
		p := t.Before
		if p != nil && (m.Received > p.Received || m.Received == p.Received && m.Key >= p.Key) {
			continue
		}
		if m.Seq > t.End || !fits(m.Received) || t.Changes != "" && t.Changes != "created" {
			continue
		}
		if len(page.items) >= limit {
			return true
		}
		page.items = append(page.items, deltaItem{m: m})
		t.Before = &position{m.Received, m.Key}
	}
	return false
}
