package index

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"outlook-connector/internal/fault"
)

// memory is a store of segments.
type memory struct {
	mu   sync.Mutex
	data map[string][]byte
	read int
}

func newMemory() *memory { return &memory{data: map[string][]byte{}} }

func (m *memory) Segment(_ context.Context, id string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.read++
	data, ok := m.data[id]
	if !ok {
		return nil, fault.New(fault.Poison, "segment %s is not there", id)
	}
	return data, nil
}

func (m *memory) put(list []Segment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range list {
		if _, ok := m.data[s.ID]; ok {
			panic("segment " + s.ID + " is there already")
		}
		m.data[s.ID] = s.Data
	}
}

func (m *memory) drop(list []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range list {
		if _, ok := m.data[id]; !ok {
			panic("segment " + id + " is dropped twice, or was never stored")
		}
		delete(m.data, id)
	}
}

// small makes deep trees of a few hundred entries.
var small = shape{recent: 3, fanOut: 3, segment: 900}

// truth is what an index should say: for each id the entries that it may
// answer. The first is the newest; there is more than one only where an older
// manifest lies under one that may have forgotten a deletion.
type truth map[string][]Entry

// known returns the entries that the index may answer for an id, and whether it
// may know nothing. A deletion that may be forgotten may have taken what it hid
// with it, or not.
func (t truth) known(id string, round uint32) (list []Entry, nothing bool) {
	for _, e := range t[id] {
		list = append(list, e)
		if e.Flags&Gone == 0 || int32(round-e.Round) < forget {
			return list, len(list) > 1
		}
	}
	return list, true
}

// world is a feed and its index, as rapid sees it.
type world struct {
	store *memory
	cache *Cache
	shape shape

	x     *Index
	now   truth
	round uint32

	stored      Manifest // of the last commit
	storedTruth truth
	storedRound uint32

	old      Manifest // laid aside when a full read began
	oldTruth truth
}

func newWorld(s shape, cached bool) *world {
	w := &world{store: newMemory(), shape: s, now: truth{}, storedTruth: truth{}, oldTruth: truth{}, round: 1}
	if cached {
		w.cache = NewCache(2000, w.store.Segment)
	}
	w.reopen()
	return w
}

func (w *world) reopen() {
	var s Store = w.store
	if w.cache != nil {
		s = w.cache
	}
	w.x, w.now, w.round = open(s, w.stored, w.shape), maps.Clone(w.storedTruth), w.storedRound
}

// commit makes a manifest durable, in the form it has in the cursor.
func (w *world) commit(t *rapid.T, m Manifest) {
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	w.stored = Manifest{}
	if err := json.Unmarshal(data, &w.stored); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(w.stored)
	if err != nil || string(again) != string(data) {
		t.Fatalf("manifest %s came back as %s (%v)", data, again, err)
	}
	w.storedTruth, w.storedRound = maps.Clone(w.now), w.round
}

func idOf(n int) string { return fmt.Sprintf("AAMkADhmailbox-%04d%s", n, strings.Repeat("x", n%7)) }

const idCount = 150

func TestAnIndexSaysWhatWasPut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(small, rapid.Bool().Draw(t, "cached"))
		t.Repeat(map[string]func(*rapid.T){
			"put":     w.putSome,
			"pages":   w.pages,
			"pages 2": w.pages,
			"pages 3": w.pages,
			"flush":   w.flush,
			"compact": w.compact,
			"crash":   func(*rapid.T) { w.reopen() },
			"resync":  w.resync,
			"over":    w.over,
			"look":    w.look,
			"walk":    w.walk,
			"missing": w.missing,
			"":        w.check,
		})
	})
}

func (w *world) putSome(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "next round") == 0 {
		w.round++
	}
	for range rapid.IntRange(1, 40).Draw(t, "entries") {
		id := idOf(rapid.IntRange(0, idCount-1).Draw(t, "id"))
		if rapid.Bool().Draw(t, "look first") {
			w.lookFor(t, id)
		}
		e := Entry{
			ID: id, Version: rapid.Uint64Range(0, 1<<48-1).Draw(t, "version"), Lives: rapid.Uint8().Draw(t, "lives"),
			Flags: rapid.SampledFrom([]Flags{0, 0, Gone, Moved, Hushed}).Draw(t, "flags"), Round: w.round, Until: rapid.Uint32().Draw(t, "until"),
		}
		w.x.Put(e)
		w.now[id] = []Entry{e}
	}
}

// pages are polls in which all goes well.
func (w *world) pages(t *rapid.T) {
	limit := int64(rapid.SampledFrom([]int{1, 1, 2000, 0}).Draw(t, "limit of all"))
	merging := rapid.Bool().Draw(t, "merging")
	for range rapid.IntRange(1, 12).Draw(t, "pages") {
		w.putSome(t)
		var write []Segment
		var drop []string
		if merging {
			var err error
			if _, write, drop, err = w.x.Compact(t.Context(), limit); err != nil {
				t.Fatal(err)
			}
		}
		w.check(t) // before anything is stored
		m, segments := w.x.Flush()
		w.store.put(write)
		w.store.put(segments)
		w.commit(t, m)
		w.store.drop(drop)
	}
}

func (w *world) flush(t *rapid.T) {
	before := len(w.x.recent)
	m, segments := w.x.Flush()
	if len(m.recent) > w.shape.recent || before <= w.shape.recent && len(segments) > 0 {
		t.Fatalf("%d entries became %d segments and %d in the manifest", before, len(segments), len(m.recent))
	}
	if rapid.IntRange(0, 4).Draw(t, "fate") == 0 {
		w.reopen() // the commit was refused, and nothing of it was stored
		return
	}
	w.store.put(segments)
	w.commit(t, m)
}

func (w *world) compact(t *rapid.T) {
	m, write, drop, err := w.x.Compact(t.Context(), int64(rapid.SampledFrom([]int{1, 2000, 0}).Draw(t, "limit")))
	if err != nil {
		t.Fatal(err)
	}
	var segments []Segment
	if rapid.Bool().Draw(t, "flush after") {
		m, segments = w.x.Flush()
	}
	switch rapid.IntRange(0, 5).Draw(t, "fate") {
	case 0: // nothing was stored
		w.reopen()
	case 1: // the worker died between storing the pieces and the commit
		w.store.put(write)
		w.store.drop(ids2(write)) // as the cleaner of orphans would
		w.reopen()
	default:
		w.store.put(write)
		w.store.put(segments)
		w.commit(t, m)
		w.store.drop(drop)
	}
}

func ids2(list []Segment) (out []string) {
	for _, s := range list {
		out = append(out, s.ID)
	}
	return out
}

// resync begins a full read: what is known is laid aside.
func (w *world) resync(t *rapid.T) {
	if rapid.IntRange(0, 3).Draw(t, "sure") != 0 || !w.old.IsZero() {
		return
	}
	w.reopen() // it is a commit of its own
	w.old, w.oldTruth = w.stored, w.now
	w.now = truth{}
	w.commit(t, Manifest{})
	w.reopen()
}

// over lays the new index over the old one, because the read was lost.
func (w *world) over(t *rapid.T) {
	if w.old.IsZero() {
		return
	}
	w.reopen()
	for id, list := range w.oldTruth {
		w.now[id] = append(slices.Clone(w.now[id]), list...)
	}
	m := w.stored.Over(w.old)
	w.old, w.oldTruth = Manifest{}, truth{}
	w.commit(t, m)
	w.reopen()
}

func (w *world) look(t *rapid.T) { w.lookFor(t, idOf(rapid.IntRange(0, idCount-1).Draw(t, "id"))) }

func (w *world) lookFor(t *rapid.T, id string) {
	got, ok, err := w.x.Look(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if ok {
		if got.ID != "" {
			t.Fatalf("look tells the id %q", got.ID)
		}
		got.ID = id
	}
	w.checkOne(t, id, got, ok)
}

func (w *world) checkOne(t *rapid.T, id string, got Entry, ok bool) {
	t.Helper()
	want, nothing := w.now.known(id, w.round)
	if ok && !slices.Contains(want, got) || !ok && !nothing {
		t.Fatalf("%s is %+v (%v), want one of %+v, or nothing: %v", id, got, ok, want, nothing)
	}
}

// check that every id is right, that the store holds what the manifests name
// and nothing else, and that the tree has its form.
func (w *world) check(t *rapid.T) {
	for n := range idCount {
		if n%5 == int(w.round)%5 {
			w.lookFor(t, idOf(n))
		}
	}
	names := slices.Concat(w.stored.Segments(), w.old.Segments())
	if slices.Sort(names); !slices.Equal(names, slices.Sorted(maps.Keys(w.store.data))) {
		t.Fatalf("the store has %d segments, the manifests name %d", len(w.store.data), len(names))
	}
	checkForm(t, w.stored)
	for id, data := range w.store.data {
		if s, err := decode(data); err != nil || len(data) > small.segment && s.n > 1 {
			t.Fatalf("segment %s has %d bytes (%v)", id, len(data), err)
		}
	}
}

func checkForm(t *rapid.T, m Manifest) {
	t.Helper()
	for i, r := range m.runs {
		if i > 0 && m.runs[i-1].level > r.level && m.runs[i-1].role != output {
			t.Fatalf("run %d of level %d is older than one of level %d", i, r.level, m.runs[i-1].level)
		}
		if r.role == input && (i == 0 || m.runs[i-1].role == idle) {
			t.Fatalf("run %d is merged into nothing", i)
		}
	}
}

// walk reads all, stopping at random places.
func (w *world) walk(t *rapid.T) {
	got := map[string]Entry{}
	var last Key
	every(t, func(from Key, f func(Key, Entry) (bool, error)) error { return w.x.Walk(t.Context(), from, f) }, func(key Key, e Entry) {
		if key != KeyOf(e.ID) || key < last {
			t.Fatalf("key %x of %q after %x", key, e.ID, last)
		}
		last = key
		if _, ok := got[e.ID]; ok {
			t.Fatalf("%s comes twice", e.ID)
		}
		got[e.ID] = e
	})
	for n := range idCount {
		e, ok := got[idOf(n)]
		w.checkOne(t, idOf(n), e, ok)
		delete(got, idOf(n))
	}
	if len(got) > 0 {
		t.Fatalf("a walk made up %v", got)
	}
}

// every goes through a walk that is broken off and taken up again.
func every(t *rapid.T, walk func(from Key, f func(Key, Entry) (bool, error)) error, each func(Key, Entry)) {
	piece := rapid.IntRange(1, 100).Draw(t, "piece")
	for from := Key(0); ; {
		n := 0
		err := walk(from, func(key Key, e Entry) (bool, error) {
			each(key, e)
			from = key + 1
			n++
			return n < piece, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n < piece {
			return
		}
	}
}

func (w *world) missing(t *rapid.T) {
	old := open(w.store, w.old, small)
	got := map[string]Entry{}
	every(t, func(from Key, f func(Key, Entry) (bool, error)) error { return Missing(t.Context(), old, w.x, from, f) }, func(_ Key, e Entry) {
		if _, ok := got[e.ID]; ok {
			t.Fatalf("%s comes twice", e.ID)
		}
		got[e.ID] = e
	})
	for n := range idCount {
		id := idOf(n)
		was, wasNothing := w.oldTruth.known(id, old.round)
		_, isNothing := w.now.known(id, w.round)
		e, ok := got[id]
		certain := len(was) == 1 && !wasNothing && was[0].Flags&Moved == 0 && len(w.now[id]) == 0
		if certain && !ok {
			t.Fatalf("%s is missing and was not found", id)
		}
		if ok && (!isNothing || !slices.Contains(was, e) || e.Flags&Moved != 0) {
			t.Fatalf("%s (%+v) is not missing", id, e)
		}
	}
}
