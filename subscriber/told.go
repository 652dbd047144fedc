package subscriber

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Graph repeats itself: the same change may come again in a later page or round
// (https://learn.microsoft.com/graph/delta-query-overview), and a full read
// overlaps with what was told before the token was lost. The newest things told
// are therefore kept in the cursor, few enough that a cursor stays small beside
// its page (17 bytes each), more of them in the memory of one poll.
const (
	toldKept = 64
	toldHeld = 1024
)

// told knows the newest things told: which versions of which items, and which
// items as deleted.
type told struct {
	order []string            // entries, oldest first
	set   map[string]struct{} // the same entries
	last  map[string]string   // item → second half of its newest entry
	gone  map[string]string   // item → second half of its deletion
	limit int
}

// An entry is keyLen characters of the item id's digest and then keyLen of the
// version's, or for a deletion a dot, the round and the how manieth it was. A
// wrong match needs both halves of 48 bits to collide.
const keyLen = 8

// newTold takes up what a cursor has kept.
func newTold(kept []string) *told {
	n := len(kept)
	t := &told{
		set: make(map[string]struct{}, n), last: make(map[string]string, n), gone: make(map[string]string),
		limit: max(toldHeld, n),
	}
	for _, entry := range kept {
		if len(entry) > keyLen {
			t.put(entry)
		}
	}
	return t
}

// room makes sure that a whole page of n items fits beside what is kept.
func (t *told) room(n int) { t.limit = max(t.limit, n+toldKept) }

// keep returns the newest n entries for a cursor.
func (t *told) keep(n int) []string {
	return slices.Clone(t.order[max(0, len(t.order)-n):])
}

// has reports whether the version was told and the item not deleted since.
func (t *told) has(id, version string) bool {
	_, known := t.set[itemKey(id)+versionKey(version)]
	return known
}

// knows reports whether the newest thing told of the item is that it exists.
func (t *told) knows(id string) bool {
	last, known := t.last[itemKey(id)]
	return known && !deletionKey(last)
}

// reborn tells apart the two lives of an item that was deleted and came back
// unchanged, as by a move out of the folder and back: it is part of the ids of
// the second life, and "" for an item of which no deletion was told lately.
func (t *told) reborn(id string) string { return t.gone[itemKey(id)] }

// add remembers that the version was told and returns the entry.
func (t *told) add(id, version string) string {
	entry := itemKey(id) + versionKey(version)
	t.put(entry)
	return entry
}

// remove remembers that the item's deletion was told and returns the entry,
// whose second half is part of the event's id. It returns "" where a deletion
// is the newest thing told already.
func (t *told) remove(id string, round int) string {
	key := itemKey(id)
	if deletionKey(t.last[key]) {
		return ""
	}
	// An item that comes and goes several times in one round is deleted several
	// times; each needs an id of its own.
	nth, prefix := 1, "."+strconv.Itoa(round)+"."
	if earlier, same := strings.CutPrefix(t.gone[key], prefix); same {
		if n, err := strconv.Atoi(earlier); err == nil {
			nth = n + 1
		}
	}
	entry := key + prefix + strconv.Itoa(nth)
	t.put(entry)
	return entry
}

// put appends an entry. A deletion replaces all that was known of its item.
func (t *told) put(entry string) {
	if _, known := t.set[entry]; known {
		return
	}
	item, version := entry[:keyLen], entry[keyLen:]
	if deletionKey(version) {
		if _, known := t.last[item]; known {
			t.forget(item)
		}
		t.gone[item] = version
	}
	t.last[item] = version
	t.set[entry] = struct{}{}
	t.order = append(t.order, entry)
	for len(t.order) > t.limit {
		t.evict()
	}
}

// forget takes out every entry of the item.
func (t *told) forget(item string) {
	t.order = slices.DeleteFunc(t.order, func(entry string) bool { return entry[:keyLen] == item })
	maps.DeleteFunc(t.set, func(entry string, _ struct{}) bool { return entry[:keyLen] == item })
}

// evict takes out the oldest entry.
func (t *told) evict() {
	entry := t.order[0]
	item, version := entry[:keyLen], entry[keyLen:]
	t.order = t.order[1:]
	delete(t.set, entry)
	if t.last[item] == version {
		delete(t.last, item)
	}
	if t.gone[item] == version {
		delete(t.gone, item)
	}
}

// deletionKey reports whether the second half of an entry is a deletion's.
func deletionKey(version string) bool { return strings.HasPrefix(version, ".") }

func itemKey(id string) string         { return digest("item", id)[:keyLen] }
func versionKey(version string) string { return digest("version", version)[:keyLen] }
