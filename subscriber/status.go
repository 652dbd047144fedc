package subscriber

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"outlook-connector/internal/fault"
)

// forgetAfter is how long a feed that failed here is still counted after it was
// due: it did not come back, so another worker has it.
const forgetAfter = time.Minute

// FeedStatus is what this worker knows of one of its configured feeds. Other
// workers poll the same feeds, so what it says is as old as LastPoll.
type FeedStatus struct {
	Feed Feed
	// LastPoll is the beginning of the newest poll here; zero: none yet.
	LastPoll time.Time
	// LastSuccess is the end of the newest poll here that reached the end of a
	// round; zero: none yet.
	LastSuccess time.Time
	// NextPoll is when the feed is due, by whichever worker.
	NextPoll time.Time
	// Every is the longest wait between two polls that its schedule has now.
	Every time.Duration
	// Polling says that a poll is under way here.
	Polling bool
	// Result is how the newest poll ended, in the words of the metric's label.
	Result string
	// Phase is what the feed is reading: primer, snapshot, resync, sweep, changes,
	// retiring or retired.
	Phase string
	// Lag is for how long the feed has been behind, as far as this worker knows:
	// since the beginning of the poll under way or of the first failure in a
	// row. Zero means that it is not behind.
	Lag time.Duration
	// Failures counts the failures in a row. Kind, Code, Error and Hint are of
	// the newest, and zero without one.
	Failures          int
	Kind              fault.Kind
	Code, Error, Hint string
}

// Status returns the configured feeds, and those found that this worker polled
// lately, in the order of their names. It is safe
// for concurrent use.
func (s *Subscriber) Status() []FeedStatus {
	now := time.Now()
	feeds := s.roster.all()
	all := make([]FeedStatus, 0, len(feeds))
	for feed, st := range feeds {
		all = append(all, st.status(feed, s.subs[feed.Subscription].clock.longest(now), now))
	}
	slices.SortFunc(all, func(a, b FeedStatus) int {
		return cmp.Or(cmp.Compare(a.Feed.Subscription, b.Feed.Subscription),
			cmp.Compare(a.Feed.Mailbox, b.Feed.Mailbox), cmp.Compare(a.Feed.Part, b.Feed.Part))
	})
	return all
}

// state is what a worker remembers of a feed. All of it may be lost.
type state struct {
	mailbox string // as it goes into requests
	// trail belongs to the poll under way, and so do the others: tidied is when
	// lost pieces of the index were looked for, walked when a list was last looked
	// through for missing items.
	trail          trail
	tidied, walked time.Time
	guess          pageGuess
	// folder is the id of the folder that the feed reads; "": not known.
	folder string

	mu          sync.Mutex
	polling     bool
	lastPoll    time.Time
	lastSuccess time.Time
	behind      time.Time // since when it fails; zero: it does not
	failures    int
	paused      int // visits in a row at which it was paused
	report
}

// pause notes a visit of a paused feed and returns how many there were before.
func (st *state) pause() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.result = resultPaused
	st.paused++
	return st.paused - 1
}

// report is how a poll ended.
type report struct {
	result string
	phase  phase
	next   time.Time
	err    error
}

// enter begins a poll, unless one is under way.
func (st *state) enter(now time.Time) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.polling {
		return false
	}
	st.polling, st.lastPoll, st.paused = true, now, 0
	return true
}

// failed counts a failure and returns how many there are in a row.
func (st *state) failed() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.failures++
	return st.failures
}

// failedBefore returns how many failures in a row there were before this poll.
func (st *state) failedBefore() int {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.failures
}

// abandon ends a poll because the worker stops: nothing is learnt of the feed.
func (st *state) abandon() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.polling = false
}

// leave ends a poll. It returns the error of the poll before, and whether the
// two go together: the same failure again, or success after a failure.
func (st *state) leave(now time.Time, r report) (was error, again bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.polling = false
	was = st.err
	if r.phase == "" {
		r.phase = st.phase
	}
	switch r.result {
	case resultBusy, resultFenced, resultSkipped:
		// Neither a failure nor a success: what was wrong is still wrong.
		r.err = st.err
		st.report = r
		return nil, false
	}
	st.report = r
	if r.err == nil {
		st.failures, st.behind = 0, time.Time{}
		if r.result != resultMore {
			st.lastSuccess = now
		}
		return was, was != nil
	}
	if st.behind.IsZero() {
		st.behind = st.lastPoll
	}
	before, after := fault.Of(was), fault.Of(r.err)
	return was, before != nil && before.Kind == after.Kind && before.Code == after.Code
}

func (st *state) status(feed Feed, every time.Duration, now time.Time) FeedStatus {
	st.mu.Lock()
	defer st.mu.Unlock()
	status := FeedStatus{
		Feed: feed, LastPoll: st.lastPoll, LastSuccess: st.lastSuccess, NextPoll: st.next, Every: every, Polling: st.polling,
		Result: st.result, Phase: string(st.phase), Failures: st.failures,
	}
	if mark := fault.Of(st.err); mark != nil {
		status.Kind, status.Code, status.Error, status.Hint = mark.Kind, mark.Code, st.err.Error(), fault.HintOf(st.err)
	}
	switch {
	case !st.behind.IsZero() && (st.polling || now.Before(st.next.Add(every+forgetAfter))):
		status.Lag = now.Sub(st.behind)
	case st.polling:
		status.Lag = now.Sub(st.lastPoll)
	}
	return status
}
