package graph

import "time"

// buckets is into how many parts a window is cut. A whole bucket is given back
// at once, so the limit is kept for every span of the window's length, and the
// price is that room comes back up to a fortieth of the window late.
const buckets = 40

// window counts what was used within a span of time that moves along.
type window struct {
	width  time.Duration // of one bucket
	limit  int64
	last   int64 // number of the newest bucket
	sum    int64
	counts [buckets + 1]int64 // one more: the oldest overlaps the span in part
}

func newWindow(span time.Duration, limit int64) window {
	return window{width: max(span/buckets, 1), limit: limit}
}

// number returns the number of a moment's bucket.
func (w *window) number(now time.Time) int64 { return now.UnixNano() / int64(w.width) }

// advance empties the buckets that have left the span. A clock that was set
// back changes nothing until it has caught up.
func (w *window) advance(now time.Time) {
	number := w.number(now)
	if number-w.last > buckets {
		w.counts, w.sum, w.last = [buckets + 1]int64{}, 0, number
		return
	}
	for w.last < number {
		w.last++
		slot := &w.counts[w.last%(buckets+1)]
		w.sum -= *slot
		*slot = 0
	}
}

// add counts n more.
func (w *window) add(now time.Time, n int64) {
	w.advance(now)
	w.counts[w.last%(buckets+1)] += n
	w.sum += n
}

// addAt counts n more, or less, in the bucket of a number. One that has left the
// span is left alone.
func (w *window) addAt(number, n int64) {
	if number > w.last || w.last-number > buckets {
		return
	}
	w.counts[number%(buckets+1)] += n
	w.sum += n
}

// at returns what is counted in the bucket of a number.
func (w *window) at(number int64) int64 {
	if number > w.last || w.last-number > buckets || number < 0 {
		return 0
	}
	return w.counts[number%(buckets+1)]
}

// empty reports whether nothing is counted.
func (w *window) empty(now time.Time) bool {
	w.advance(now)
	return w.sum == 0
}

// freeAt returns when there is room for n more: now, or the moment at which
// enough buckets have left. What is over the limit by itself waits for an
// empty window and then passes.
func (w *window) freeAt(now time.Time, n int64) time.Time {
	w.advance(now)
	left := w.sum
	if left == 0 || left+n <= w.limit {
		return now
	}
	for age := int64(buckets); age >= 0; age-- {
		number := w.last - age
		left -= w.counts[(number%(buckets+1)+buckets+1)%(buckets+1)]
		if left == 0 || left+n <= w.limit {
			return time.Unix(0, (number+buckets+1)*int64(w.width))
		}
	}
	return now
}
