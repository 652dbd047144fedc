package sandbox

// A window counts what happened in the last so many seconds, in a fixed number
// of slots, so that ten thousand mailboxes cost some megabytes and not a list of
// requests each. It slides, because a fixed window lets twice its limit through
// around its end, and then a client that keeps to no limit may pass for one that
// does. The oldest slot leaves as a whole and a little early: a client that
// keeps to the documented limit is never refused, and one that is refused was
// over it.

import "time"

const windowSlots = 20

// limitRate is so much in so much time. Nothing (0) is no limit.
type limitRate struct {
	n   int64
	per time.Duration
}

func (r limitRate) on() bool { return r.n > 0 && r.per > 0 }

func (r limitRate) slot() int64 { return max(int64(r.per)/windowSlots, 1) }

// slidingCount is one count. It is used with one rate only.
type slidingCount struct {
	slots [windowSlots]int64
	sum   int64
	last  int64 // number of the newest slot since 1970
}

// count adds n.
func (w *slidingCount) count(r limitRate, n int64, now time.Time) {
	w.slide(r, now)
	w.slots[w.last%windowSlots] += n
	w.sum += n
}

// slide forgets what has left the window.
func (w *slidingCount) slide(r limitRate, now time.Time) {
	at := now.UnixNano() / r.slot()
	if at-w.last >= windowSlots {
		*w = slidingCount{last: at}
		return
	}
	for ; w.last < at; w.last++ {
		old := &w.slots[(w.last+1)%windowSlots]
		w.sum -= *old
		*old = 0
	}
}

// wait is how long until n more fit; 0 is now. More than ever fits has to wait
// for an empty window.
func (w *slidingCount) wait(r limitRate, n int64, now time.Time) time.Duration {
	w.slide(r, now)
	over := w.sum + n - r.n
	if over <= 0 {
		return 0
	}
	for i := range int64(windowSlots) {
		at := w.last - windowSlots + 1 + i
		if at < 0 {
			continue
		}
		if over -= w.slots[at%windowSlots]; over <= 0 || i == windowSlots-1 {
			return max(time.Duration((at+windowSlots)*r.slot()-now.UnixNano()), 1)
		}
	}
	return r.per
}
