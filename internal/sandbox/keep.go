package sandbox

// Keep: what a sandbox that runs for days forgets. The oldest mail goes through
// the ordinary way of a removal, so that delta tells of it; the memory of what
// left a folder goes silently, and a delta token from before is lost, as old
// tokens are with Outlook (https://learn.microsoft.com/graph/delta-query-overview).
//
// Left out: bounds on everything else (events, contacts, tasks, folders), which
// grow only as far as clients create them.

import "slices"

// keepTo drops what a change has brought over the bound. It is called within the
// change, so that both are one line of the journal.
func (t *tx) keepTo(n int) {
	if n <= 0 {
		return
	}
	for _, r := range slices.Clone(t.records) {
		if r.Message == nil && r.Drop == nil {
			continue
		}
		box := t.byName[r.Box]
		if box == nil {
			continue // the person was removed
		}
		for len(box.messages) > n {
			m := box.oldest()
			if m == nil {
				break
			}
			t.dropMessage(box, m)
		}
		for _, f := range box.folders {
			f.forget(n)
		}
	}
}

// oldest is the oldest mail of the folders through which mail flows, or nil.
// Drafts, the archive and folders of one's own are left alone.
func (b *mailbox) oldest() *message {
	var oldest *message
	for _, name := range []string{"inbox", "sentitems", "deleteditems"} {
		f := b.wellKnown[name]
		if f == nil || len(f.byTime) == 0 {
			continue
		}
		if m := f.byTime[0]; oldest == nil || compareTime(m, oldest) < 0 {
			oldest = m
		}
	}
	return oldest
}

// forget drops the older half of the departures in the log once there are twice
// as many as may be kept. What was forgotten is at or before the floor.
func (f *folder) forget(n int) {
	gone := len(f.log) - f.dead - len(f.messages)
	if gone <= 2*n {
		return
	}
	gone -= n
	f.log = slices.DeleteFunc(f.log, func(c change) bool {
		if !c.Gone || gone == 0 {
			return false
		}
		gone--
		f.Floor = c.Seq
		return true
	})
}

// forgotten says that a token would have to tell of departures that are
// forgotten. A first round tells of none.
func (t deltaToken) forgotten(floor int64) bool {
	switch {
	case t.First:
		return false
	case t.End == 0: // a deltaLink: the next round begins after it
		return t.After < floor
	}
	return t.Start < floor
}
