package sandbox

// The oddities of Graph's delta that a client must bear, off by default: what was
// told is told again, a page is empty and yet has a nextLink, a change shows up
// late. They hold for every delta function of the sandbox, and the same seed and
// the same changes give the same answers. Nothing is ever lost by them: a replay
// shows an item as it is now, and a change that is held back is in a later round.
// Partial items and lost tokens are options of their own (PartialUpdates,
// DeltaLost, ExpireDelta). https://learn.microsoft.com/graph/delta-query-overview

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"iter"
	"math"
	"net/http"
	"slices"
	"time"
)

// DeltaOddities are switched on with [DeltaReplays], [DeltaEmptyPages] and
// [DeltaLag], or at any time with [Sandbox.SetDeltaOddities]. The zero value is
// a delta without oddities.
type DeltaOddities struct {
	// Replays is how likely it is that an item is told again, on the next page
	// or, after the last, in the next round: from 0 to 1.
	Replays float64
	// Seed decides which.
	Seed uint64
	// EmptyPages puts an empty page before every n-th page of a round: with 1,
	// before each. 0: none.
	EmptyPages int
	// Lag is how long a change is not told of.
	Lag time.Duration
}

// DeltaReplays tells items again that were told before, on the next page or in
// the next round, each once and with this probability. Graph says that a client
// must be ready for it (https://learn.microsoft.com/graph/delta-query-overview).
// Default 0.
func DeltaReplays(probability float64, seed uint64) Option {
	return func(o *options) { o.odd.Replays, o.odd.Seed = probability, seed }
}

// DeltaEmptyPages puts an empty page, with a nextLink, before every n-th page of
// a delta round. Default 0: none.
func DeltaEmptyPages(every int) Option { return func(o *options) { o.odd.EmptyPages = every } }

// DeltaLag holds changes back from delta for a time, though lists and reads show
// them at once. Default 0.
func DeltaLag(d time.Duration) Option { return func(o *options) { o.odd.Lag = d } }

// SetDeltaOddities changes the oddities of delta from here on. Rounds that are
// under way go on. What changed before counts as old enough for a new Lag.
func (s *Sandbox) SetDeltaOddities(o DeltaOddities) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.odd.begin(o, s.state.seq)
}

// DeltaOddities returns what is switched on.
func (s *Sandbox) DeltaOddities() DeltaOddities {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.odd.DeltaOddities
}

// deltaBook is what the oddities need to know. The sandbox's lock guards it.
type deltaBook struct {
	DeltaOddities
	marks []deltaMark // ascending; the first is old enough, the others may not be
}

// deltaMark says up to which write the sandbox had come at a time.
type deltaMark struct {
	at  time.Time
	seq int64
}

func (d *deltaBook) begin(o DeltaOddities, seq int64) {
	d.DeltaOddities, d.marks = o, []deltaMark{{seq: seq}}
}

// wrote notes a change.
func (d *deltaBook) wrote(seq int64, now time.Time) {
	if d.Lag <= 0 || len(d.marks) == 0 || d.marks[len(d.marks)-1].seq == seq {
		return
	}
	d.marks = append(d.marks, deltaMark{now, seq})
	d.settle(now)
}

// settle drops marks that a later one, old enough as well, makes needless.
func (d *deltaBook) settle(now time.Time) {
	n := 0
	for n+1 < len(d.marks) && !d.marks[n+1].at.After(now.Add(-d.Lag)) {
		n++
	}
	d.marks = d.marks[n:]
}

// deltaEnd is the last write that a round may tell of. It needs the lock.
func (c *call) deltaEnd(st *state) int64 {
	if c.odd.Lag <= 0 || len(c.odd.marks) == 0 {
		return st.seq
	}
	c.odd.settle(time.Now())
	return c.odd.marks[0].seq
}

// beginRound turns the token of a deltaLink into that of the round that it
// begins.
func (c *call) beginRound(st *state, t *deltaToken) {
	t.Start, t.AfterKey, t.First, t.Given, t.Before, t.Pages, t.Blank = t.After, 0, false, 0, nil, 0, false
	t.End = max(c.deltaEnd(st), t.Start) // the lag may be new
}

// endRound is the token of the deltaLink after a round.
func (t deltaToken) endRound() deltaToken {
	return deltaToken{
		Box: t.Box, Kind: t.Kind, Folder: t.Folder, Epoch: t.Epoch, After: t.End, Start: t.Start, Sure: t.End,
		Select: t.Select, Expand: t.Expand, Filter: t.Filter, Changes: t.Changes, Hidden: t.Hidden, Again: t.Again,
	}
}

// passedOver lowers Sure of a deltaLink's token to before the writes that the
// round did not tell of, because their items changed again while it was read.
// since is what was sure before, writes are when an item came and changed.
func (t *deltaToken) passedOver(since int64, log []change, writes func(change) iter.Seq[int64]) {
	end := t.After
	for _, e := range slices.Backward(log) {
		if e.Seq <= end {
			break
		}
		if e.Gone {
			continue
		}
		for at := range writes(e) {
			if at > since && at <= end {
				t.Sure = min(t.Sure, at-1)
			}
		}
	}
}

// writesOf lists when something came to its place and when it changed.
func writesOf(born int64, touched map[string]int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		if !yield(born) {
			return
		}
		for _, at := range touched {
			if !yield(at) {
				return
			}
		}
	}
}

// blankPage says that the next page is an empty one, and counts the pages.
func (c *call) blankPage(t *deltaToken) bool {
	if n := c.odd.EmptyPages; n > 0 && !t.Blank && (t.Pages+1)%n == 0 {
		t.Blank = true
		return true
	}
	t.Blank = false
	t.Pages++
	return false
}

// maxAgain bounds the replays that a token carries.
const maxAgain = 64

// noteTold chooses whether an item will be told again.
func (c *call) noteTold(t *deltaToken, key uint64, seq int64) {
	if c.odd.Replays <= 0 || len(t.Again) >= maxAgain {
		return
	}
	h := fnv.New64a()
	var b [24]byte
	binary.BigEndian.PutUint64(b[:], c.odd.Seed)
	binary.BigEndian.PutUint64(b[8:], key)
	binary.BigEndian.PutUint64(b[16:], uint64(seq))
	_, _ = h.Write(b[:]) // never fails
	// The high bits of FNV are the poor ones; fold them.
	sum := h.Sum64()
	sum ^= sum >> 29
	sum *= 0xbf58476d1ce4e5b9
	sum ^= sum >> 32
	if float64(sum)/math.MaxUint64 < c.odd.Replays {
		t.Again = append(t.Again, key)
	}
}

// takeAgain takes from the token what is to be told again, at most one page.
func (t *deltaToken) takeAgain(size int) []uint64 {
	again := t.Again
	if len(again) > size {
		t.Again = slices.Clone(again[size:])
		return again[:size]
	}
	t.Again = nil
	return again
}

// controlDelta is the control port's way to the oddities.
func (s *Sandbox) controlDelta(r *http.Request) (any, error) {
	if r.Method == http.MethodGet {
		return s.shownDelta(), nil
	}
	in, err := readControl[struct {
		Replays    float64 `json:"replays"`
		Seed       uint64  `json:"seed"`
		EmptyPages int     `json:"empty_pages"`
		Lag        string  `json:"lag"`
	}](r)
	if err != nil {
		return nil, err
	}
	o := DeltaOddities{Replays: in.Replays, Seed: in.Seed, EmptyPages: in.EmptyPages}
	if in.Lag != "" {
		if o.Lag, err = time.ParseDuration(in.Lag); err != nil {
			return nil, fmt.Errorf("lag: %w", err)
		}
	}
	if o.Replays < 0 || o.Replays > 1 || o.EmptyPages < 0 || o.Lag < 0 {
		return nil, fmt.Errorf("replays is from 0 to 1; empty_pages and lag are not negative")
	}
	s.SetDeltaOddities(o)
	return s.shownDelta(), nil
}

func (s *Sandbox) shownDelta() any {
	o := s.DeltaOddities()
	return map[string]any{"replays": o.Replays, "seed": o.Seed, "empty_pages": o.EmptyPages, "lag": o.Lag.String()}
}
