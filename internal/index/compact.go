package index

import (
	"context"
	"slices"
)

// DefaultCompact is the limit of [Index.Compact] where none is given: the
// entries of some 200,000 items, which takes about a second.
const DefaultCompact = 8 << 20

// forget is by how many rounds the newest round must be ahead of an entry that
// is [Gone] before the entry is dropped.
const forget = 2

// Keep has entries that are [Gone] kept for so many rounds after their own, where
// others still ask for them. Zero, as for a new Index, is 2; less than that is, too.
func (x *Index) Keep(rounds int32) { x.outlive = rounds }

// Compact makes one merge if one is due; else write is nil and the manifest is
// what it was. A merge whose result is larger than limit bytes (0:
// [DefaultCompact]) is done in several calls, each of which leaves a whole and
// right index behind. Memory is bounded by limit and one segment of each run.
//
// The segments in write must be stored before the commit with the new manifest,
// and those in drop may be deleted after it. What is flushed later builds on
// the merge, so the order is: Compact, store write, Flush, commit the manifest
// of Flush, delete drop. The manifest of Compact serves a commit without a
// Flush; it holds all entries. After an error, or where storing or the commit
// fails, the Index is of no use any more: [Open] the stored manifest.
//
// Merges into the oldest run forget entries that are Gone and were written at
// least 2 rounds before the newest one that the index has seen, or as many as
// [Index.Keep] says.
func (x *Index) Compact(ctx context.Context, limit int64) (m Manifest, write []Segment, drop []string, err error) {
	if limit <= 0 {
		limit = DefaultCompact
	}
	first, ok := x.due()
	if !ok {
		return x.manifest(), nil, nil, nil
	}
	last := first + 1
	for last < len(x.runs) && x.runs[last].role == input {
		last++
	}
	// The runs that are merged, and the one that they become before them.
	out, in := x.runs[first], slices.Clone(x.runs[first+1:last])
	oldest := last == len(x.runs)
	all := x.merge(0, in, nil)
	w := newWriter(x.shape.segment)
	var key Key
	more := true
	for int64(w.bytes) < limit {
		if key, more, err = all.next(ctx); err != nil {
			return Manifest{}, nil, nil, err
		}
		if !more {
			break
		}
		e, err := all.entry()
		if err != nil {
			return Manifest{}, nil, nil, err
		}
		if oldest && e.Flags&Gone != 0 && int32(x.round-e.Round) >= max(x.outlive, forget) {
			continue
		}
		w.add(key, e)
	}
	// A segment that was begun is ended as it is: what comes after key is next.
	write = w.finish()
	out.segments = slices.Concat(out.segments, w.refs)
	out.count, out.gone = out.count+w.count, out.gone+w.gone
	if more {
		drop = advance(in, key+1)
	} else {
		drop, in = segmentsOf(in), nil
		out.role = idle
		out.level = x.levelOf(out, first, oldest)
	}
	replaced := in
	if out.role != idle || out.count > 0 {
		replaced = append([]run{out}, in...)
	}
	x.runs = slices.Concat(x.runs[:first], replaced, x.runs[last:])
	if oldest && !more {
		x.recount(out)
	}
	x.keep(w.refs, write)
	if write == nil {
		write = []Segment{} // a merge in which everything was forgotten
	}
	return x.manifest(), write, drop, nil
}

// due returns the place of a merge's output, whose inputs follow it. The one
// of the lowest level is first, because it is the cheapest and helps most.
func (x *Index) due() (int, bool) {
	from, length, level := 0, 0, -1
	going := -1
	for i := 0; i < len(x.runs); {
		r := x.runs[i]
		if r.role != idle {
			if r.role == output && going < 0 {
				going = i
			}
			i++
			continue
		}
		end := i
		for end < len(x.runs) && x.runs[end].role == idle && x.runs[end].level == r.level {
			end++
		}
		if end-i >= x.shape.fanOut && (level < 0 || r.level < level) {
			from, length, level = i, end-i, r.level
		}
		i = end
	}
	if going >= 0 && (level < 0 || x.runs[going].level <= level) {
		return going, true
	}
	if level < 0 {
		return 0, false
	}
	// The older ones of them, so that the result stands where it belongs.
	most := min(length, 2*x.shape.fanOut)
	from, length = from+length-most, most
	x.runs = slices.Clone(x.runs)
	for i := from; i < from+length; i++ {
		x.runs[i].role = input
	}
	x.runs = slices.Insert(x.runs, from, run{level: level + 1, role: output})
	return from, true
}

// levelOf returns the level of a finished merge. The oldest run has the level
// of its size: if it rose with each merge, a feed with few items and many
// changes would never come to forget what is gone. But it is never lower than a
// newer one.
func (x *Index) levelOf(out run, place int, oldest bool) int {
	if !oldest {
		return out.level
	}
	level := 0
	for size := x.shape.recent * x.shape.fanOut; size <= out.count && level < out.level; size *= x.shape.fanOut {
		level++
	}
	for _, newer := range x.runs[:place] {
		level = max(level, newer.level)
	}
	return level
}

// advance makes runs begin at a key, and returns the ids of the segments that
// nobody needs any more.
func advance(runs []run, from Key) (drop []string) {
	for i := range runs {
		r := &runs[i]
		r.from = max(r.from, from)
		at := max(0, r.find(r.from))
		for _, s := range r.segments[:at] {
			drop = append(drop, s.id.String())
		}
		r.segments = r.segments[at:]
	}
	return drop
}

func segmentsOf(runs []run) []string { return Manifest{runs: runs}.Segments() }

// recount corrects the number of live items by a merge of the oldest runs. What
// is newer may be among them or not.
func (x *Index) recount(out run) {
	live, newer := int64(out.count-out.gone), int64(len(x.recent))
	for _, r := range x.runs {
		newer += int64(r.count)
	}
	newer -= int64(out.count)
	x.live = min(max(x.live, live-newer), live+newer)
}
