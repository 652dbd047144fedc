package sandbox

// Delta over entities: rounds of pages, $select, Prefer odata.maxpagesize,
// tombstones, expiry. The same as messages have (delta.go), without their
// filters. https://learn.microsoft.com/graph/delta-query-overview

import (
	"cmp"
	"iter"
	"net/http"
	"slices"
	"strings"
)

// delta answers a delta function over what lies in the resource's place.
func (r *resource) delta(c *call) (*Answer, error) {
	var b []byte
	var err error
	c.read(func(st *state) {
		var at uint64
		if at, err = r.in(c); err != nil {
			return
		}
		var t deltaToken
		if t, err = r.deltaRound(c, st, at); err != nil {
			return
		}
		var v *entityView
		if v, err = c.entityViewOf(r, t.Select, t.Expand); err != nil {
			return
		}
		b = r.deltaPage(c, st, at, t, v)
	})
	if err != nil {
		return nil, err
	}
	return c.jsonAnswer(http.StatusOK, b), nil
}

// deltaPath is the function's address, as it was asked for.
func (c *call) deltaPath() string { return c.base + strings.TrimSuffix(c.path, "/") }

func (c *call) errDeltaLost() error {
	return newError(c.opts.deltaLostStatus, c.opts.deltaLostCode,
		"The sync state generation is not found. The delta token is expired and data must be synchronized again.").
		with("Location", c.deltaPath())
}

// sealedToken is the token of the request, or "".
func (c *call) sealedToken() string { return cmp.Or(c.query.skiptoken, c.query.delta) }

// deltaRound is the round of the token, or a new one.
func (r *resource) deltaRound(c *call, st *state, at uint64) (deltaToken, error) {
	epoch := st.epoch + c.box.epoch
	if c.sealedToken() == "" {
		q := c.query
		if q.filter != "" || len(q.orderby) > 0 || q.skip > 0 || q.count || q.search != "" {
			return deltaToken{}, newError(http.StatusBadRequest, "ErrorInvalidUrlQuery",
				"The following parameters are not supported with change tracking over the '%s' resource: '$orderby, $filter, $search, $skip, $count'.", r.context(c))
		}
		return deltaToken{
			Box: c.box.ID, Kind: r.kind, Folder: at, Epoch: epoch, End: c.deltaEnd(st), First: true,
			Select: q.selects, Expand: q.expand, Top: q.top,
		}, nil
	}
	t, ok := st.openToken(c.sealedToken())
	if !ok || t.Box != c.box.ID || t.Kind != r.kind || t.Folder != at || t.Epoch != epoch {
		return t, c.errDeltaLost()
	}
	if t.End == 0 { // a deltaLink begins the next round
		c.beginRound(st, &t)
	}
	return t, nil
}

// deltaPage renders one page of a round. It needs the lock.
func (r *resource) deltaPage(c *call, st *state, at uint64, t deltaToken, v *entityView) []byte {
	size := cmp.Or(c.prefer.pageSize, c.opts.listPage)
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#Collection("+r.kind+")")
	b = append(b, `,"value":[`...)
	more, n := c.blankPage(&t), 0
	if !more {
		for _, key := range t.takeAgain(size) {
			e := c.box.entities[key]
			if e == nil || e.In != at || e.Born > t.End || r.told != nil && !r.told(c, e) {
				continue
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			b = v.append(b, c, e, r.deltaKind())
		}
	}
	if place := c.box.spots[spot{at, r.kind}]; place != nil && !more {
		from := max(t.After, t.Start)
		i, _ := slices.BinarySearchFunc(place.log, from+1, func(e change, seq int64) int { return cmp.Compare(e.Seq, seq) })
		for _, ch := range place.log[i:] {
			if ch.Seq > t.End {
				break
			}
			item, ok := r.deltaItem(c, ch, &t, v)
			if !ok {
				continue
			}
			if n >= size {
				more = true
				break
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			b = append(b, item...)
			t.After = ch.Seq
			if !ch.Gone {
				c.noteTold(&t, ch.Key, ch.Seq)
			}
		}
	}
	link, option := `],"@odata.nextLink":`, "$skiptoken="
	if !more {
		link, option = `],"@odata.deltaLink":`, "$deltatoken="
		since := t.Sure
		t = t.endRound()
		if place := c.box.spots[spot{at, r.kind}]; place != nil {
			t.passedOver(since, place.log, func(e change) iter.Seq[int64] {
				x := c.box.entities[e.Key]
				if x == nil || x.In != at {
					return writesOf(0, nil)
				}
				return writesOf(x.Born, x.Touched)
			})
		}
	}
	return append(appendString(append(b, link...), c.deltaPath()+"?"+option+st.sealToken(t)), '}')
}

// deltaKind is what every item of a delta page begins with.
func (r *resource) deltaKind() string { return `"@odata.type":"#microsoft.graph.` + r.kind + `",` }

// deltaItem renders a log entry, if it has to be told of in this round.
func (r *resource) deltaItem(c *call, ch change, t *deltaToken, v *entityView) ([]byte, bool) {
	kind := r.deltaKind()
	if ch.Gone {
		if t.First || ch.Born > t.Start {
			return nil, false // it was never told of
		}
		gone := &entity{Key: ch.Key, Type: r.kind, Gen: ch.Gen, ID: ch.ID}
		if back := c.box.entities[ch.Key]; back != nil && back.In == t.Folder && c.prefer.immutable && back.Born <= t.End {
			return nil, false
		}
		b := appendString([]byte("{"+kind+`"id":`), c.idOf(gone))
		return append(b, `,"@removed":{"reason":"deleted"}}`...), true
	}
	e := c.box.entities[ch.Key]
	if e == nil || e.Seq != ch.Seq || e.In != t.Folder || r.told != nil && !r.told(c, e) {
		return nil, false
	}
	fields := v.fields
	if c.opts.partialUpdates && !t.First && e.Born <= t.Sure {
		fields = slices.DeleteFunc(slices.Clone(v.typ.fields), func(f *field) bool { return f.nav || e.Touched[f.name] <= t.Sure })
	}
	return v.appendFields(nil, c, e, kind, fields), true
}
