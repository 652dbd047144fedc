package sandbox

// Delta over the users of the tenant, in the directory's style: a nextLink has a
// $skiptoken and a deltaLink a $deltatoken, which is good for seven days; "latest"
// begins with now; $filter by id alone; whoever was removed has the reason
// "changed", since the directory keeps them for thirty days.
// https://learn.microsoft.com/graph/api/user-delta
//
// Left out: reason "deleted" (nobody is removed for good), changes of relations
// (manager@delta), groups.

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"
)

// directoryTokenLife: https://learn.microsoft.com/graph/delta-query-overview
const directoryTokenLife = 7 * 24 * time.Hour

func (c *call) usersDelta() (*Answer, error) {
	var b []byte
	var err error
	c.read(func(st *state) {
		var t deltaToken
		var v *entityView
		var only []string
		if t, err = c.usersRound(st); err != nil {
			return
		}
		if v, err = c.entityViewOf(userResource(), t.Select, ""); err != nil {
			return
		}
		if only, err = idsOfFilter(t.Filter); err == nil {
			b = c.usersDeltaPage(st, t, v, only)
		}
	})
	if err != nil {
		return nil, directoryError(err)
	}
	return c.jsonAnswer(http.StatusOK, b), nil
}

// usersRound is the round of the token, or a new one.
func (c *call) usersRound(st *state) (deltaToken, error) {
	now := time.Now()
	epoch := st.epoch + c.box.epoch
	sealed := c.sealedToken()
	if sealed == "" || strings.EqualFold(sealed, "latest") {
		q := c.query
		if len(q.orderby) > 0 || q.skip > 0 || q.count || q.search != "" || q.expand != "" {
			return deltaToken{}, newError(http.StatusBadRequest, "Request_UnsupportedQuery", "Only $select and $filter are supported for this delta function.")
		}
		t := deltaToken{
			Box: c.box.ID, Kind: "user", Epoch: epoch, End: st.seq, First: true, Issued: now.Unix(),
			Select: q.selects, Filter: q.filter, Top: q.top,
		}
		if sealed != "" {
			t.After = t.End
		}
		return t, nil
	}
	t, ok := st.openToken(sealed)
	if !ok || t.Box != c.box.ID || t.Kind != "user" || t.Epoch != epoch || now.Sub(time.Unix(t.Issued, 0)) > directoryTokenLife {
		return t, c.errDeltaLost()
	}
	if t.End == 0 { // a deltaLink begins the next round
		t.Start, t.End, t.First, t.Issued = t.After, st.seq, false, now.Unix()
	}
	return t, nil
}

// idsOfFilter reads id eq 'a' or id eq 'b', the only filter of this function. Nil
// means everybody.
func idsOfFilter(text string) ([]string, error) {
	toks, err := filterTokens(text)
	if err != nil || text == "" {
		return nil, err
	}
	var ids []string
	for i := 0; ; i += 4 {
		if i+3 > len(toks) || !strings.EqualFold(toks[i], "id") || !strings.EqualFold(toks[i+1], "eq") || !strings.HasPrefix(toks[i+2], "'") ||
			i+3 < len(toks) && !strings.EqualFold(toks[i+3], "or") {
			return nil, newError(http.StatusBadRequest, "Request_UnsupportedQuery", "Only id eq is supported in $filter of this delta function.")
		}
		ids = append(ids, strings.ToLower(toks[i+2][1:]))
		if i+3 == len(toks) {
			return ids, nil
		}
	}
}

// usersDeltaPage renders one page of a round. It needs the lock.
func (c *call) usersDeltaPage(st *state, t deltaToken, v *entityView, only []string) []byte {
	size := cmp.Or(t.Top, c.prefer.pageSize, directoryPageSize)
	b := append(c.directoryMetadata("users"), `,"value":[`...)
	more, n := false, 0
	place := c.box.collection(spot{0, "user"})
	from := max(t.After, t.Start)
	i, _ := slices.BinarySearchFunc(place.log, from+1, func(e change, seq int64) int { return cmp.Compare(e.Seq, seq) })
	for _, ch := range place.log[i:] {
		if ch.Seq > t.End {
			break
		}
		e := c.box.entities[ch.Key]
		switch {
		case ch.Gone && (t.First || ch.Born > t.Start), !ch.Gone && (e == nil || e.Seq != ch.Seq):
			continue // never told of, or told of later
		case only != nil && ch.Gone && !slices.Contains(only, strings.ToLower(ch.ID)), only != nil && !ch.Gone && !slices.Contains(only, strings.ToLower(e.ID)):
			continue
		}
		if n == size {
			more = true
			break
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		if ch.Gone {
			b = append(appendString(append(b, `{"id":`...), ch.ID), `,"@removed":{"reason":"changed"}}`...)
		} else {
			b = v.append(b, c, e, "")
		}
		t.After = ch.Seq
	}
	link, option := `],"@odata.nextLink":`, "$skiptoken="
	if !more {
		link, option = `],"@odata.deltaLink":`, "$deltatoken="
		t = deltaToken{Box: t.Box, Kind: t.Kind, Epoch: t.Epoch, After: t.End, Start: t.Start, Issued: time.Now().Unix(), Select: t.Select, Filter: t.Filter, Top: t.Top}
	}
	return append(appendString(append(b, link...), c.deltaPath()+"?"+option+st.sealToken(t)), '}')
}
