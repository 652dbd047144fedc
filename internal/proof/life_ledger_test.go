//go:build unix

package proof_test

import (
	"cmp"
	"encoding/base64"
	bytesof "encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/sandbox"
)

// ledger is every write that the sandbox made: the truth, and how it came about.
type ledger struct {
	mu    sync.Mutex
	items map[string]*thing // by id
	words map[string]string // one copy of each id of a place
	total int
	kinds map[string]int
	// folders are the writes of mail folders, by mailbox.
	folders map[string][]folderWrite
}

// folderWrite is one write of a mail folder.
type folderWrite struct {
	seq              int64
	at               time.Time
	id, parent, name string
	gone             bool
}

// thing is one item with all of its writes.
type thing struct {
	mailbox, what, id string
	writes            []writeRow
}

// writeRow is one write of an item.
type writeRow struct {
	seq  int64
	in   string // where it lies after it, or lay when it went
	gone bool
	at   time.Time // it was not made before this
}

func newLedger() *ledger {
	return &ledger{items: map[string]*thing{}, words: map[string]string{}, kinds: map[string]int{}, folders: map[string][]folderWrite{}}
}

// note writes a write down, and reports whether it is the newest of its item.
func (l *ledger) note(w sandbox.Write, at time.Time) (newest bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.ChangeKey != "" && version(w.ChangeKey) != w.Seq {
		panic(fmt.Sprintf("the change key %s of write %d cannot be read", w.ChangeKey, w.Seq))
	}
	t := l.items[w.ID]
	if t == nil {
		t = &thing{mailbox: w.Mailbox, what: w.What, id: w.ID}
		l.items[w.ID] = t
	}
	in, known := l.words[w.In]
	if !known {
		in = w.In
		l.words[in] = in
	}
	newest = len(t.writes) == 0 || t.writes[len(t.writes)-1].seq < w.Seq
	t.writes = append(t.writes, writeRow{w.Seq, in, w.Gone, at})
	if !newest {
		slices.SortFunc(t.writes, func(a, b writeRow) int { return cmp.Compare(a.seq, b.seq) })
	}
	if w.What == "mailFolder" {
		l.folders[w.Mailbox] = append(l.folders[w.Mailbox], folderWrite{w.Seq, at, w.ID, w.In, w.Name, w.Gone})
	}
	l.total++
	l.kinds[w.What]++
	return newest
}

// count is how many changes there were.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// tally lists them by type.
func (l *ledger) tally() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(l.kinds)) {
		parts = append(parts, fmt.Sprintf("%s %d", what, l.kinds[what]))
	}
	return strings.Join(parts, ", ")
}

// last is the newest write of an item.
func (t *thing) last() writeRow { return t.writes[len(t.writes)-1] }

// version is the number of the write in a change key or etag, and 0 where it
// cannot be read. The sandbox numbers its writes; its change keys, which are
// opaque to everybody else, end in the number.
func version(key string) int64 {
	key = strings.Trim(strings.TrimPrefix(key, "W/"), `"`)
	b, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(b) < 8 {
		return 0
	}
	return int64(bytesof.BigEndian.Uint64(b[len(b)-8:]))
}

// changeKeyOf is the change key of a write, as the sandbox makes them.
func changeKeyOf(seq int64) string {
	return base64.StdEncoding.EncodeToString(bytesof.BigEndian.AppendUint64(make([]byte, 12), uint64(seq)))
}
