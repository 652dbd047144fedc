package sandbox

// The rules: which control function is in use, for which requests, and how
// often. A request is shown to them in the order in which they were added.

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
)

// ControlFunc looks at a request and says whether it dealt with it. When it
// did, no other control function sees the request, and a one-shot function is
// used up. It must not wait: use [Request.Delay] and [Request.Hold].
type ControlFunc func(r *Request) (handled bool)

// Aim says which of the matching requests a control function gets to see.
type Aim struct {
	// Count is how many requests it deals with. 0: 1. -1: every one until the
	// rule is removed.
	Count int `json:"count,omitempty"`
	// Skip lets so many matching requests pass first.
	Skip int `json:"skip,omitempty"`
	// Probability of being shown a request. 0: 1, always.
	Probability float64 `json:"probability,omitempty"`
	// Seed of the dice: the same seed and order of requests give the same
	// faults.
	Seed uint64 `json:"seed,omitempty"`
}

// Rule is a control function in use.
type Rule struct {
	id    int64
	match Match
	route string // the plain form of match.Route
	fn    ControlFunc
	book  *faultBook
	fault FaultSpec // as the control port was told; no kind for one of Go's

	mu    sync.Mutex
	skip  int
	left  int // -1: kept
	odds  float64
	dice  *rand.Rand // nil: always
	hits  atomic.Int64
	used  chan struct{}
	first sync.Once
}

// ID is the number of the rule in this sandbox.
func (r *Rule) ID() int64 { return r.id }

// Hits counts the requests that the function dealt with.
func (r *Rule) Hits() int { return int(r.hits.Load()) }

// Used is closed when the function has dealt with a request.
func (r *Rule) Used() <-chan struct{} { return r.used }

// Remove takes the function out of use.
func (r *Rule) Remove() { r.book.remove(r.id) }

type faultBook struct {
	mu    sync.Mutex
	last  int64
	gates map[int64]chan struct{} // of the holds of the control port, until they are let go
	rules atomic.Pointer[[]*Rule] // never changed in place, so that requests need no lock
}

func (b *faultBook) list() []*Rule {
	if p := b.rules.Load(); p != nil {
		return *p
	}
	return nil
}

func (b *faultBook) remove(id int64) (found bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.list()
	rules := slices.DeleteFunc(slices.Clone(old), func(r *Rule) bool { return r.id == id })
	b.rules.Store(&rules)
	return len(rules) < len(old)
}

func (b *faultBook) add(r *Rule) *Rule {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	r.id, r.book = b.last, b
	rules := append(slices.Clone(b.list()), r)
	b.rules.Store(&rules)
	return r
}

// hold puts a rule in use that makes requests wait until its number is let go.
func (b *faultBook) hold(r *Rule, gate chan struct{}) *Rule {
	b.add(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gates == nil {
		b.gates = map[int64]chan struct{}{}
	}
	b.gates[r.id] = gate
	return r
}

// letGo ends a hold.
func (b *faultBook) letGo(id int64) (found bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gate, found := b.gates[id]
	if found {
		close(gate)
		delete(b.gates, id)
	}
	return found
}

// Control puts fn in use until it has dealt with one request.
func (s *Sandbox) Control(m Match, fn ControlFunc) *Rule { return s.ControlN(m, 1, fn) }

// KeepControl puts fn in use until its rule is removed.
func (s *Sandbox) KeepControl(m Match, fn ControlFunc) *Rule { return s.ControlN(m, -1, fn) }

// ControlN puts fn in use until it has dealt with n requests; -1 keeps it.
func (s *Sandbox) ControlN(m Match, n int, fn ControlFunc) *Rule {
	return s.ControlAim(m, Aim{Count: n}, fn)
}

// ControlAim puts fn in use for those of the matching requests that aim says.
func (s *Sandbox) ControlAim(m Match, aim Aim, fn ControlFunc) *Rule {
	return s.faults.add(newRule(m, aim, fn))
}

func newRule(m Match, aim Aim, fn ControlFunc) *Rule {
	r := &Rule{match: m, fn: fn, skip: aim.Skip, left: aim.Count, odds: 1, used: make(chan struct{})}
	if m.Route != "" {
		r.route = plainRoute(m.Route)
	}
	if r.left == 0 {
		r.left = 1
	}
	if aim.Probability > 0 && aim.Probability < 1 {
		r.odds, r.dice = aim.Probability, rand.New(rand.NewPCG(aim.Seed, 0))
	}
	return r
}

// ClearControls takes all control functions out of use, and lets go what the
// control port holds.
func (s *Sandbox) ClearControls() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules.Store(nil)
	for _, gate := range s.faults.gates {
		close(gate)
	}
	s.faults.gates = nil
}

// control shows a request to the functions, in the order they were added.
func (s *Sandbox) control(r *Request, mailboxID string) (handled bool) {
	for _, rule := range s.faults.list() {
		if rule.match.fits(r, rule.route, mailboxID) && rule.try(r) {
			return true
		}
	}
	return false
}

// try runs one function, one request at a time, so that a one-shot function
// deals with exactly one of two requests that arrive together.
func (r *Rule) try(req *Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 {
		return false
	}
	if r.skip > 0 {
		r.skip--
		return false
	}
	if r.dice != nil && r.dice.Float64() >= r.odds || !r.fn(req) {
		return false
	}
	r.hits.Add(1)
	if r.left > 0 {
		if r.left--; r.left == 0 {
			r.Remove()
		}
	}
	r.first.Do(func() { close(r.used) })
	return true
}

// RuleState is a rule in force.
type RuleState struct {
	ID    int64 `json:"id"`
	Match Match `json:"match"`
	// Fault is what the control port was told; its kind is "go" where a
	// function of a Go program is in force.
	Fault FaultSpec `json:"fault"`
	// Left is how many requests it will still deal with; -1: no end.
	Left int `json:"left"`
	// Skip is how many matching requests still pass first.
	Skip        int     `json:"skip"`
	Probability float64 `json:"probability"`
	Hits        int     `json:"hits"`
}

// Rules lists the rules in force, oldest first.
func (s *Sandbox) Rules() []RuleState {
	list := []RuleState{}
	for _, r := range s.faults.list() {
		st := RuleState{ID: r.id, Match: r.match, Fault: r.fault, Hits: r.Hits()}
		r.mu.Lock()
		st.Left, st.Skip, st.Probability = r.left, r.skip, r.odds
		r.mu.Unlock()
		if st.Fault.Kind == "" {
			st.Fault.Kind = "go"
		}
		list = append(list, st)
	}
	return list
}
