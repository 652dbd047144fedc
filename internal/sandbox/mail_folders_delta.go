package sandbox

// mailFolder: delta, over the whole tree and, as the OpenAPI description has it,
// over the folders right below one. Told of: folders that were made, renamed,
// moved, hidden, removed, and whose counts changed. $select only.
// https://learn.microsoft.com/graph/api/mailfolder-delta
//
// Hidden folders are told of with includeHiddenFolders=true in the first request;
// the page says nothing of them. Left out: partial items.

import (
	"cmp"
	"net/http"
	"slices"
)

// folderEntry is what there is to tell of a folder.
type folderEntry struct {
	seq  int64
	key  uint64
	gone bool
}

func (c *call) foldersDelta() (*Answer, error) {
	if c.query.filter != "" || len(c.query.orderby) > 0 || c.query.skip > 0 || c.query.count || c.query.search != "" || c.query.expand != "" {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidUrlQuery",
			"The following parameters are not supported with change tracking over the 'MailFolders' resource: '$orderby, $filter, $search, $expand, $skip, $count'.")
	}
	var b []byte
	var err error
	c.read(func(st *state) {
		var t deltaToken
		if t, err = c.foldersRound(st); err != nil {
			return
		}
		var v *folderView
		if v, err = c.folderViewOf(t.Select, "", false); err == nil {
			b = c.foldersPage(st, t, v)
		}
	})
	if err != nil {
		return nil, err
	}
	return c.jsonAnswer(http.StatusOK, b), nil
}

// foldersRound is the round of the token, or a new one. Its place is 0 for the
// whole tree.
func (c *call) foldersRound(st *state) (deltaToken, error) {
	var place uint64
	if len(c.chain) > 0 {
		f, err := c.folderAt()
		if err != nil {
			return deltaToken{}, err
		}
		place = f.Key
	}
	epoch := st.epoch + c.box.epoch
	if c.sealedToken() == "" {
		return deltaToken{
			Box: c.box.ID, Kind: folderKind, Folder: place, Epoch: epoch, End: c.deltaEnd(st), First: true,
			Select: c.query.selects, Hidden: c.query.hidden,
		}, nil
	}
	t, ok := st.openToken(c.sealedToken())
	if !ok || t.Box != c.box.ID || t.Kind != folderKind || t.Folder != place || t.Epoch != epoch ||
		t.forgotten(c.box.folderAbove(place).ChildFloor) {
		return t, c.errDeltaLost()
	}
	if t.End == 0 {
		c.beginRound(st, &t)
	}
	return t, nil
}

// foldersPage renders one page of a round. It needs the lock.
func (c *call) foldersPage(st *state, t deltaToken, v *folderView) []byte {
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#Collection(mailFolder)")
	b = append(b, `,"value":[`...)
	more := true
	if !c.blankPage(&t) {
		b, more = c.foldersTold(b, &t, v)
	}
	link, option := `],"@odata.nextLink":`, "$skiptoken="
	if !more {
		link, option = `],"@odata.deltaLink":`, "$deltatoken="
		t = t.endRound()
	}
	return append(appendString(append(b, link...), c.deltaPath()+"?"+option+st.sealToken(t)), '}')
}

func (c *call) foldersTold(b []byte, t *deltaToken, v *folderView) (page []byte, more bool) {
	const kind = `"@odata.type":"#microsoft.graph.mailFolder",`
	size := cmp.Or(c.prefer.pageSize, c.opts.listPage)
	n := 0
	show := func(key uint64, gone bool) {
		if n++; n > 1 {
			b = append(b, ',')
		}
		if gone {
			b = appendString(append(b, "{"+kind+`"id":`...), c.folderID(key))
			b = append(b, `,"@removed":{"reason":"deleted"}}`...)
			return
		}
		f := c.box.folders[key]
		head := kind
		if f.Search != nil { // which says its type itself
			head = ""
		}
		b = c.appendFolder(b, v, f, head)
	}
	for _, key := range t.takeAgain(size) {
		if f := c.box.folders[key]; f != nil && c.inDelta(f, t) && f.Placed <= t.End {
			show(key, false)
		}
	}
	for _, e := range c.folderEntries(t) {
		if e.seq < t.After || e.seq == t.After && e.key <= t.AfterKey {
			continue
		}
		if n >= size {
			return b, true
		}
		show(e.key, e.gone)
		t.After, t.AfterKey = e.seq, e.key
		if !e.gone {
			c.noteTold(t, e.key, e.seq)
		}
	}
	return b, false
}

// inDelta says whether a folder belongs to what a token follows.
func (c *call) inDelta(f *folder, t *deltaToken) bool {
	if f.Hidden && !t.Hidden {
		return false
	}
	if t.Folder != 0 {
		return f.Parent == t.Folder
	}
	return f.WellKnown != "msgfolderroot" && c.box.inTree(f)
}

// folderEntries lists what a round has to tell, in the order of the writes.
func (c *call) folderEntries(t *deltaToken) []folderEntry {
	var list []folderEntry
	for _, f := range c.box.folders {
		if seq := f.changed(); seq > t.Start && seq <= t.End && c.inDelta(f, t) {
			list = append(list, folderEntry{seq: seq, key: f.Key})
		}
	}
	if log := c.box.spots[spot{t.Folder, folderKind}]; log != nil && !t.First {
		for _, ch := range log.log {
			if ch.Seq <= t.Start || ch.Seq > t.End || ch.Born > t.Start {
				continue
			}
			// It may be back, and then this round or a later one tells of it; see
			// delta.go on why only if it came back within the round.
			if f := c.box.folders[ch.Key]; f != nil && c.inDelta(f, t) && f.Placed <= t.End {
				continue
			}
			list = append(list, folderEntry{ch.Seq, ch.Key, true})
		}
	}
	slices.SortFunc(list, func(a, b folderEntry) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.key, b.key)) })
	return list
}

// noMessagesDelta is what Graph says to delta over a whole mailbox, which its
// OpenAPI description has and the service has not:
// https://github.com/microsoftgraph/msgraph-metadata/issues/607
func (c *call) noMessagesDelta() (*Answer, error) {
	return nil, newError(http.StatusBadRequest, "BadRequest",
		"Unsupported request: Change tracking is not supported against 'microsoft.graph.message'.")
}
