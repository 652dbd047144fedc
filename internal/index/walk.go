package index

import (
	"cmp"
	"context"
	"slices"
)

// Walk calls f with what is known of each item, in the order of the keys from
// one on, until f returns false or an error, which Walk returns. The ID is set.
// Entries that are [Gone] come, too, until they are forgotten, see
// [Index.Compact]. What f puts into the index is not seen by this walk. Memory
// is bounded by one segment of each run.
func (x *Index) Walk(ctx context.Context, from Key, f func(Key, Entry) (more bool, err error)) error {
	m := x.merge(from, x.runs, sorted(x.recent))
	for {
		key, ok, err := m.next(ctx)
		if err != nil || !ok {
			return err
		}
		e, err := m.entry()
		if err != nil {
			return err
		}
		if more, err := f(key, e); err != nil || !more {
			return err
		}
	}
}

// Missing calls f with the entries of old of which now has no entry at all, but
// for [Moved] ones: a sibling has told those, and their end is the sibling's to
// tell, who may have done so long ago and forgotten it. They come in the order of
// the keys from one on, until f returns false or an error, which Missing returns.
// An entry of now that is [Gone] was told as deleted already and is not missing;
// one of old that is Gone comes. What f puts into either index is not seen by this
// call.
func Missing(ctx context.Context, old, now *Index, from Key, f func(Key, Entry) (more bool, err error)) error {
	was, is := old.merge(from, old.runs, sorted(old.recent)), now.merge(from, now.runs, sorted(now.recent))
	known, more, err := is.next(ctx)
	for {
		key, ok, err2 := was.next(ctx)
		if err := cmp.Or(err, err2); err != nil || !ok {
			return err
		}
		for more && known < key && err == nil {
			known, more, err = is.next(ctx)
		}
		if err != nil {
			return err
		}
		if more && known == key || was.flags()&Moved != 0 {
			continue
		}
		e, err := was.entry()
		if err != nil {
			return err
		}
		if more, err := f(key, e); err != nil || !more {
			return err
		}
	}
}

// merge reads several runs as one, newer entries hiding older ones.
type merge struct {
	readers []*reader // newest first
	now     *reader   // where the last entry came from
}

func (x *Index) merge(from Key, runs []run, recent []entry) *merge {
	m := &merge{}
	if len(recent) > 0 {
		m.readers = append(m.readers, newReader(x, run{inline: recent}, from))
	}
	for _, r := range runs {
		m.readers = append(m.readers, newReader(x, r, from))
	}
	return m
}

// next goes to the next key and returns it; false: there is none.
func (m *merge) next(ctx context.Context) (Key, bool, error) {
	if m.now != nil {
		key := m.now.key
		for _, r := range m.readers {
			if r.ok && r.key == key {
				r.at++
				r.ready = false
			}
		}
	}
	m.now = nil
	for _, r := range m.readers {
		if err := r.load(ctx); err != nil {
			return 0, false, err
		}
		// In a tie the first one, which is the newest, stays.
		if r.ok && (m.now == nil || r.key < m.now.key) {
			m.now = r
		}
	}
	if m.now == nil {
		return 0, false, nil
	}
	return m.now.key, true, nil
}

// flags of the entry that next found.
func (m *merge) flags() Flags {
	if r := m.now; r.run.inline == nil {
		return r.segment.entry(r.at).Flags
	}
	return m.now.run.inline[m.now.at].Flags
}

// entry that next found, with its id.
func (m *merge) entry() (Entry, error) {
	r := m.now
	if r.run.inline != nil {
		return r.run.inline[r.at].Entry, nil
	}
	if r.ids == nil {
		r.ids = r.segment.ids()
	}
	e := r.segment.entry(r.at)
	var err error
	e.ID, err = r.ids.id(r.at)
	return e, err
}

// reader goes through one run.
type reader struct {
	x    *Index
	run  run
	from Key
	next int // the segment that comes after the loaded one

	segment segment
	ids     *ids // of the loaded segment, once one was asked for
	at      int  // the entry, in the loaded segment or inline

	ready bool // key and ok are of the entry at at
	key   Key
	ok    bool
}

func newReader(x *Index, r run, from Key) *reader {
	from = max(from, r.from)
	return &reader{
		x: x, run: r, from: from, next: max(0, r.find(from)),
		at: sortedAt(r.inline, from),
	}
}

func sortedAt(list []entry, key Key) int {
	at, _ := slices.BinarySearchFunc(list, key, func(e entry, key Key) int { return cmp.Compare(e.key, key) })
	return at
}

// load makes key and ok those of the entry where the reader stands.
func (r *reader) load(ctx context.Context) error {
	if r.ready {
		return nil
	}
	if r.run.inline != nil {
		r.ok, r.ready = r.at < len(r.run.inline), true
		if r.ok {
			r.key = r.run.inline[r.at].key
		}
		return nil
	}
	for r.at >= r.segment.n {
		if r.next >= len(r.run.segments) {
			r.ok, r.ready, r.segment, r.ids = false, true, segment{}, nil
			return nil
		}
		s, err := r.x.segment(ctx, r.run.segments[r.next].id)
		if err != nil {
			return err
		}
		r.next++
		r.segment, r.ids, r.at = s, nil, s.at(r.from)
	}
	r.key, r.ok, r.ready = r.segment.key(r.at), true, true
	return nil
}
