package index

import (
	"cmp"
	"context"
	"slices"
)

// Index is an index that is open for reading and writing. It is made for one
// poll of a feed and may be used by one goroutine at a time.
type Index struct {
	// outlive is by how many rounds an entry that is Gone outlives its own; 0: forget.
	outlive int32
	store   Store
	cache   *Cache // the store, where it is one
	shape   shape
	runs    []run // newest first; the slices inside are never changed in place
	recent  map[Key]Entry
	live    int64
	round   uint32
	// looked says of the keys that Look was asked for since the last Flush
	// whether there was a live item.
	looked map[Key]bool
	made   made
	near   near
	last   struct { // what key was asked for last
		id  string
		key Key
	}
}

// Open returns the index that a manifest describes. It reads nothing.
func Open(store Store, m Manifest) *Index { return open(store, m, standard) }

func open(store Store, m Manifest, s shape) *Index {
	x := &Index{
		store: store, shape: s, runs: slices.Clone(m.runs), live: m.live, round: m.round,
		recent: make(map[Key]Entry, len(m.recent)), looked: map[Key]bool{},
	}
	x.cache, _ = store.(*Cache)
	for _, e := range m.recent {
		x.recent[e.key] = e.Entry
	}
	return x
}

// Look returns what is known of an item, without its ID, and whether there is
// anything. It sees what Put added. A segment that is damaged is a fault of kind
// Poison with the code index_damaged; other errors are the store's.
func (x *Index) Look(ctx context.Context, id string) (Entry, bool, error) {
	key := x.key(id)
	e, ok, err := x.look(ctx, key)
	if err != nil {
		return Entry{}, false, err
	}
	x.looked[key] = ok && e.Flags&Gone == 0
	e.ID = ""
	return e, ok, nil
}

// key is KeyOf for ids that are looked up and then put.
func (x *Index) key(id string) Key {
	if x.last.id != id || id == "" {
		x.last.id, x.last.key = id, KeyOf(id)
	}
	return x.last.key
}

func (x *Index) look(ctx context.Context, key Key) (Entry, bool, error) {
	if e, ok := x.recent[key]; ok {
		return e, true, nil
	}
	for i := range x.runs {
		r := &x.runs[i]
		if key < r.from {
			continue
		}
		if at, ok := slices.BinarySearchFunc(r.inline, key, func(e entry, key Key) int { return cmp.Compare(e.key, key) }); ok {
			return r.inline[at].Entry, true, nil
		}
		at := r.find(key)
		if at < 0 {
			continue
		}
		c, err := x.columns(ctx, r.segments[at].id)
		if err != nil {
			return Entry{}, false, err
		}
		if e, ok := c.find(key); ok {
			return e, true, nil
		}
	}
	return Entry{}, false, nil
}

// find returns the segment in which a key can be, or -1.
func (r *run) find(key Key) int {
	at, ok := slices.BinarySearchFunc(r.segments, key, func(s ref, key Key) int { return cmp.Compare(s.first, key) })
	if ok {
		return at
	}
	return at - 1
}

// columns returns the fixed-width part of a segment.
func (x *Index) columns(ctx context.Context, id segmentID) (columns, error) {
	if c, ok := x.near[id]; ok {
		return c, nil
	}
	var c columns
	var err error
	data, ok := x.made.data[id]
	switch {
	case x.cache == nil:
		var s segment
		s, err = x.segment(ctx, id)
		return s.columns, err
	case ok:
		c, err = x.cache.keep(id, data)
	default:
		c, err = x.cache.columns(ctx, id)
	}
	if err == nil {
		x.near.keep(id, c)
	}
	return c, err
}

// segment returns a whole segment.
func (x *Index) segment(ctx context.Context, id segmentID) (segment, error) {
	data, ok := x.made.data[id]
	if !ok {
		var err error
		if data, err = x.store.Segment(ctx, id.String()); err != nil {
			return segment{}, err
		}
	}
	return decode(data)
}

// Put adds or replaces what is known of e.ID. It is durable with the next
// commit of what Flush returns.
func (x *Index) Put(e Entry) {
	key := x.key(e.ID)
	was, known := x.looked[key]
	if old, ok := x.recent[key]; ok {
		was, known = old.Flags&Gone == 0, true
	}
	is := e.Flags&Gone == 0
	switch {
	case is && !was: // an item of which nobody knows whether it is there is taken as new
		x.live++
	case !is && (was || !known):
		x.live = max(0, x.live-1)
	}
	e.Version &= 1<<48 - 1
	x.recent[key] = e
	if later(e.Round, x.round) {
		x.round = e.Round
	}
}

// Flush returns the manifest for the next cursor and the segments that must be
// stored in the same batch: none, or one, or more where thousands of entries
// were put. It is called once for each commit; after it Put goes on. Where the
// commit fails, the Index is of no use any more: [Open] the stored manifest.
func (x *Index) Flush() (Manifest, []Segment) {
	clear(x.looked)
	x.made.stored()
	var list []Segment
	if len(x.recent) > x.shape.recent {
		list = x.flush()
	}
	return x.manifest(), list
}

// flush makes the newest entries a run of their own.
func (x *Index) flush() []Segment {
	w := newWriter(x.shape.segment)
	for _, e := range sorted(x.recent) {
		w.add(e.key, e.Entry)
	}
	segments := w.finish()
	x.runs = slices.Insert(x.runs, 0, run{count: w.count, gone: w.gone, segments: w.refs})
	clear(x.recent)
	x.keep(w.refs, segments)
	return segments
}

// keep remembers segments that were made here, so that they need not be stored
// before they can be read.
func (x *Index) keep(refs []ref, segments []Segment) {
	for i, s := range segments {
		x.made.keep(refs[i].id, s.Data)
	}
}

func (x *Index) manifest() Manifest {
	return Manifest{runs: slices.Clone(x.runs), recent: sorted(x.recent), live: x.live, round: x.round}
}

// writer makes segments of entries that come in the order of their keys.
type writer struct {
	builder
	refs  []ref
	done  []Segment
	bytes int
	count int
	gone  int
	first Key
}

func newWriter(limit int) *writer { return &writer{builder: builder{limit: limit}} }

func (w *writer) add(key Key, e Entry) {
	if w.full(e.ID) {
		w.cut()
	}
	if w.n == 0 {
		w.first = key
	}
	w.builder.add(key, e)
	w.count++
	if e.Flags&Gone != 0 {
		w.gone++
	}
}

// cut ends the segment that is being made.
func (w *writer) cut() {
	if w.n == 0 {
		return
	}
	s := ref{newSegmentID(), w.first}
	data := w.builder.finish()
	w.refs, w.done, w.bytes = append(w.refs, s), append(w.done, Segment{ID: s.id.String(), Data: data}), w.bytes+len(data)
}

func (w *writer) finish() []Segment {
	w.cut()
	return w.done
}
