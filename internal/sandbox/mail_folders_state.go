package sandbox

// How folders are kept: the tree, its well-known folders, and what folder delta
// needs. A folder has one current state, so there is no log of changes: each says
// at which write it was made, placed, renamed and counted last. Only departures
// are logged, below the folder that was left and, for a folder that is gone for
// good, at the mailbox itself; they lie with the entities' logs, so that the
// compacted journal has them.

import (
	"cmp"
	"slices"
	"strings"
)

// folderKind names the places of the departures.
const folderKind = "mailFolder"

// keepDepartures bounds each log of departed folders. A token from before what
// was forgotten is lost.
const keepDepartures = 2048

// moreFolders are the well-known folders besides those that every client shows.
// The names in front of a slash lie below the folder that is named there; those
// that begin with one are outside of what a person sees.
// https://learn.microsoft.com/graph/api/resources/mailfolder
const moreFolders = "conversationhistory:Conversation History,clutter:Clutter,scheduled:Scheduled,syncissues:Sync Issues," +
	"syncissues/conflicts:Conflicts,syncissues/localfailures:Local Failures,syncissues/serverfailures:Server Failures," +
	"/searchfolders:Finder,/recoverableitemsdeletions:Deletions"

// furnishFolders makes the well-known folders that a mailbox lacks. A store of
// an older sandbox gets them at its next start.
func furnishFolders(t *tx, box *mailbox) {
	root := box.wellKnown["msgfolderroot"]
	if box.kind != kindPerson || root == nil {
		return
	}
	for spec := range strings.SplitSeq(moreFolders, ",") {
		path, display, _ := strings.Cut(spec, ":")
		above, known, nested := strings.Cut(path, "/")
		parent := root.Key
		switch {
		case !nested:
			known = path
		case above == "":
			parent = 0
		default:
			parent = box.wellKnown[above].Key
		}
		if box.wellKnown[known] != nil {
			continue
		}
		seq := t.nextSeq()
		t.do(record{Box: box.ID, Folder: &folderRecord{
			Key: t.newKey(), Parent: parent, Name: display, WellKnown: known, Hidden: true, Seq: seq, Born: seq, Placed: seq,
		}})
	}
}

// putFolder stores a folder, new or changed.
func (b *mailbox) putFolder(r folderRecord) {
	f := b.folders[r.Key]
	if f == nil {
		f = &folder{messages: map[uint64]*message{}}
		b.folders[r.Key] = f
		b.touchFolder(r.Parent, cmp.Or(r.Placed, r.Seq))
	} else {
		if f.Parent != r.Parent {
			b.touchFolder(f.Parent, r.Seq)
			b.touchFolder(r.Parent, r.Seq)
			b.folderLeft(f.Parent, change{Seq: r.Seq, Key: f.Key, Gone: true, Born: f.Placed})
		}
		// The record may be older than what the sandbox itself keeps on it.
		r.Counted, r.Floor, r.ChildFloor = max(r.Counted, f.Counted), max(r.Floor, f.Floor), max(r.ChildFloor, f.ChildFloor)
	}
	f.folderRecord = r
	if r.WellKnown != "" {
		b.wellKnown[r.WellKnown] = f
	}
}

// dropFolder removes an empty folder for good. Journals of older sandboxes have
// no seq here.
func (b *mailbox) dropFolder(key uint64, seq int64) {
	f := b.folders[key]
	if f == nil {
		return
	}
	delete(b.folders, key)
	if seq == 0 {
		return
	}
	b.touchFolder(f.Parent, seq)
	b.folderLeft(f.Parent, change{Seq: seq, Key: key, Gone: true, Born: f.Placed})
	b.folderLeft(0, change{Seq: seq, Key: key, Gone: true, Born: f.Born})
}

// folderLeft notes a departure below a folder, or with 0 from the mailbox.
func (b *mailbox) folderLeft(parent uint64, c change) {
	log := b.collection(spot{parent, folderKind})
	log.log = append(log.log, c)
	if len(log.log) <= keepDepartures {
		return
	}
	half := len(log.log) / 2
	if f := b.folderAbove(parent); f != nil {
		f.ChildFloor = max(f.ChildFloor, log.log[half-1].Seq)
	}
	log.log = slices.Delete(log.log, 0, half)
}

// folderAbove is the folder that remembers what was forgotten of a place.
func (b *mailbox) folderAbove(key uint64) *folder {
	if key == 0 {
		return b.wellKnown["msgfolderroot"]
	}
	return b.folders[key]
}

func (b *mailbox) touchFolder(key uint64, seq int64) {
	if f := b.folders[key]; f != nil {
		f.Counted = max(f.Counted, seq)
	}
}

// counted notes which folders count otherwise once a message has come (old is
// nil), changed, or gone (fresh is nil).
func (b *mailbox) counted(old, fresh *message, seq int64) {
	switch {
	case old != nil && fresh != nil && old.Folder == fresh.Folder && old.IsRead == fresh.IsRead:
		return
	case old != nil:
		b.touchFolder(old.Folder, seq)
	}
	if fresh != nil {
		b.touchFolder(fresh.Folder, seq)
	}
}

// changed is the write at which a folder last looked otherwise.
func (f *folder) changed() int64 { return max(f.Seq, f.Counted) }

// foldersBelow lists the folders right below another, in the order of making.
func (b *mailbox) foldersBelow(key uint64) []*folder {
	var list []*folder
	for _, f := range b.folders {
		if f.Parent == key && f.Key != key {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, o *folder) int { return cmp.Compare(a.Key, o.Key) })
	return list
}

// inTree says whether a folder lies below the root that clients see.
func (b *mailbox) inTree(f *folder) bool {
	root := b.wellKnown["msgfolderroot"]
	for range len(b.folders) {
		if f == nil || f == root {
			return f != nil
		}
		f = b.folders[f.Parent]
	}
	return false
}
