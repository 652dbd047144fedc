package subscriber_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"outlook-connector/internal/fault"
	"outlook-connector/subscriber"
)

func TestAnErrorsRemedyDecidesWhenTheFeedComesBack(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err         error
		least, most time.Duration
		result      string
	}{
		"retry":              {fault.New(fault.Retry, "503"), 100 * time.Millisecond, 2 * time.Second, "retry"},
		"retry as asked":     {&fault.Error{Kind: fault.Retry, After: 77 * time.Second, Err: errors.New("429")}, 77 * time.Second, 77 * time.Second, "retry"},
		"unmarked":           {errors.New("what?"), 100 * time.Millisecond, 2 * time.Second, "unknown"},
		"signed out":         {fault.New(fault.Reauth, "invalid_grant"), 50 * time.Second, 70 * time.Second, "reauth"},
		"no such folder":     {fault.New(fault.Poison, "404"), 4 * time.Minute, 6 * time.Minute, "poison"},
		"poison as asked":    {&fault.Error{Kind: fault.Poison, After: time.Hour, Err: errors.New("403")}, time.Hour, time.Hour, "poison"},
		"lost at the outset": {fault.New(fault.Resync, "410"), 100 * time.Millisecond, 2 * time.Second, "resync"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, inbox(t))
			r.script.pages[""] = page{err: fmt.Errorf("read: %w", test.err)}
			next := r.poll(t)
			if next.Drop || next.After < test.least || next.After > test.most {
				t.Errorf("next = %+v, want %v to %v", next, test.least, test.most)
			}
			got := r.status(t)
			if got.Result != test.result || got.Error == "" || got.Kind != fault.KindOf(test.err) || got.LastSuccess != (time.Time{}) {
				t.Errorf("status = %+v", got)
			}
		})
	}
}

func TestFailuresInARowWaitLonger(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages[""] = page{err: fault.New(fault.Retry, "503")}
	var most time.Duration
	for range 30 {
		most = max(most, r.poll(t).After)
	}
	if most < 20*time.Second || most > 5*time.Minute {
		t.Errorf("30 failures in a row: longest wait %v", most)
	}
	r.script.set("", page{delta: "d1"})
	r.poll(t)
	r.script.set("d1", page{err: fault.New(fault.Retry, "503")})
	if next := r.poll(t); next.After > 2*time.Second {
		t.Errorf("the first failure after a success waits %v", next.After)
	}
}

func TestABusyMailboxGivesTheFeedBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.slots.busy = 300 * time.Millisecond
	if next := r.poll(t); next.After != r.slots.busy || len(r.script.asked) != 0 {
		t.Errorf("next = %+v, %d requests", next, len(r.script.asked))
	}
	if got := r.status(t); got.Result != "busy" || got.Error != "" {
		t.Errorf("status = %+v", got)
	}
}

func TestAPanicIsThatFeedsFailure(t *testing.T) {
	t.Parallel()
	var calm atomic.Bool
	r := newRig(t, inbox(t), func(o *subscriber.Options) {
		o.Source = asked(func(context.Context, subscriber.Request, func([]byte) error) (subscriber.Page, error) {
			if calm.Load() {
				return subscriber.Page{Delta: "d1"}, nil
			}
			panic("a bug")
		})
	})
	next := r.poll(t)
	if got := r.status(t); next.After == 0 || got.Result != "panic" || !strings.Contains(got.Error, "a bug") || got.Polling {
		t.Errorf("next = %+v, status = %+v", next, got)
	}
	calm.Store(true)
	r.poll(t)
	if got := r.status(t); got.Result != "empty" || got.Error != "" || r.slots.held != 0 {
		t.Errorf("status = %+v, %d slots held", got, r.slots.held)
	}
}

func TestAFeedThatIsNotConfiguredIsLeftToOthersForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, inbox(t))
		for _, feed := range []subscriber.Feed{
			{Subscription: "other", Mailbox: "me", Part: r.feed.Part},
			{Subscription: "inbox", Mailbox: "bob@contoso.com", Part: r.feed.Part},
			{Subscription: "inbox", Mailbox: "me", Part: "-"},
		} {
			begin := time.Now()
			for time.Since(begin) < 10*time.Minute {
				next := r.queue.poll(t.Context(), feed, r.data)
				if next.Drop || next.After < 20*time.Second || next.After > 40*time.Second {
					t.Fatalf("%s after %s: %+v, want it given back for about 30 s", feed, time.Since(begin), next)
				}
				<-time.After(next.After)
			}
			if next := r.queue.poll(t.Context(), feed, r.data); !next.Drop {
				t.Errorf("%s after %s: %+v, want it dropped", feed, time.Since(begin), next)
			}
		}
	})
}

func TestACursorThatIsNotUnderstoodIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		`{"v":3,"phase":"changes","round":1,"link":"d1"}`, `{"v":1,"phase":"other","round":1,"link":"d1"}`,
		`{"v":1,"phase":"changes","round":1}`, `{}`, `no json`,
	} {
		r := newRig(t, inbox(t))
		if _, err := r.stream.Commit(t.Context(), subscriber.Commit{Feed: r.feed, Cursor: []byte(value)}); err != nil {
			t.Fatal(err)
		}
		r.poll(t)
		if got := r.status(t); got.Kind != fault.Poison || got.Code != "bad_cursor" || got.Hint == "" || len(r.script.asked) != 0 {
			t.Errorf("%s: status = %+v", value, got)
		}
		if r.stream.commits != 1 {
			t.Errorf("%s was overwritten", value)
		}
	}
}

func TestStoppingIsNoFailure(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t), func(o *subscriber.Options) {
		o.Source = asked(func(ctx context.Context, _ subscriber.Request, _ func([]byte) error) (subscriber.Page, error) {
			<-ctx.Done()
			return subscriber.Page{}, fault.New(fault.Retry, "get: %w", ctx.Err())
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.queue.poll(ctx, r.feed, r.data)
	if got := r.status(t); got.Error != "" || got.Result != "" || got.Polling {
		t.Errorf("status = %+v", got)
	}
}

func TestAFeedIsPolledOnceAtATimeByOneWorker(t *testing.T) {
	t.Parallel()
	reading, goOn := make(chan struct{}), make(chan struct{})
	r := newRig(t, inbox(t), func(o *subscriber.Options) {
		o.Source = asked(func(context.Context, subscriber.Request, func([]byte) error) (subscriber.Page, error) {
			reading <- struct{}{}
			<-goOn
			return subscriber.Page{Delta: "d1"}, nil
		})
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.poll(t)
	}()
	<-reading
	if got := r.status(t); !got.Polling {
		t.Errorf("status = %+v", got)
	}
	if next := r.poll(t); next.After == 0 {
		t.Errorf("a second delivery: %+v", next)
	}
	close(goOn)
	<-done
	if r.stream.commits != 1 {
		t.Errorf("%d commits", r.stream.commits)
	}
}

func TestMetricsHaveTheContractsNames(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	r := newRig(t, everything(t), func(o *subscriber.Options) { o.Registerer = reg })
	r.script.pages = map[string]page{
		"":   {delta: "d1", items: []string{mail("a", 1, "01:00:00"), mail("b", 1, "01:00:00")}},
		"d1": {delta: "d2", items: []string{mail("a", 2, "01:00:00"), removed("b")}},
		"d2": {err: errors.New("x")},
	}
	for range 3 {
		r.poll(t)
	}
	want := `
# HELP outlook_events_total Events stored, by subscription and change (created, updated, deleted, changed, snapshot).
# TYPE outlook_events_total counter
outlook_events_total{change="deleted",subscription="inbox"} 1
outlook_events_total{change="snapshot",subscription="inbox"} 2
outlook_events_total{change="updated",subscription="inbox"} 1
# HELP outlook_polls_total Polls of feeds, by subscription and result (ok, empty, more, busy, skipped, fenced, retired, resting, panic, or the remedy of a failure).
# TYPE outlook_polls_total counter
outlook_polls_total{result="ok",subscription="inbox"} 2
outlook_polls_total{result="unknown",subscription="inbox"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "outlook_events_total", "outlook_polls_total"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(reg, "outlook_feed_lag_seconds"); err != nil || n != 1 {
		t.Errorf("lag: %d series, %v", n, err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

// timedQueue is a work queue with a clock, for tests in a bubble of fake time.
type timedQueue struct {
	calls chan func(poll func(context.Context, subscriber.Feed, []byte) subscriber.Next)

	registers map[subscriber.Feed]int
	known     map[subscriber.Feed][]byte
	due       map[subscriber.Feed]time.Time
	polls     map[subscriber.Feed][]time.Time
	err       error
}

func newTimedQueue() *timedQueue {
	return &timedQueue{
		calls:     make(chan func(func(context.Context, subscriber.Feed, []byte) subscriber.Next)),
		registers: map[subscriber.Feed]int{}, known: map[subscriber.Feed][]byte{},
		due: map[subscriber.Feed]time.Time{}, polls: map[subscriber.Feed][]time.Time{},
	}
}

func (q *timedQueue) Register(ctx context.Context, feed subscriber.Feed, data []byte) (known bool, err error) {
	err = q.call(ctx, func() error {
		q.registers[feed]++
		if q.err != nil {
			return q.err
		}
		if known = q.known[feed] != nil; !known {
			q.known[feed], q.due[feed] = data, time.Now()
		}
		return nil
	})
	return known, err
}

func (q *timedQueue) Update(ctx context.Context, feed subscriber.Feed, change func([]byte) ([]byte, error)) error {
	return q.call(ctx, func() error {
		if q.known[feed] == nil {
			return nil
		}
		data, err := change(q.known[feed])
		if err == nil && !bytes.Equal(data, q.known[feed]) {
			q.known[feed], q.due[feed] = data, time.Now()
		}
		return err
	})
}

// call has the queue's goroutine do something.
func (q *timedQueue) call(ctx context.Context, do func() error) error {
	done := make(chan error, 1)
	select {
	case q.calls <- func(func(context.Context, subscriber.Feed, []byte) subscriber.Next) { done <- do() }:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run is the one goroutine that touches the queue's maps.
func (q *timedQueue) Run(ctx context.Context, _ int, poll func(context.Context, subscriber.Feed, []byte) subscriber.Next) error {
	for {
		next := time.Hour
		for feed, due := range q.due {
			if wait := time.Until(due); wait > 0 {
				next = min(next, wait)
				continue
			}
			next = 0
			q.polls[feed] = append(q.polls[feed], time.Now())
			result := poll(ctx, feed, q.known[feed])
			q.due[feed] = time.Now().Add(result.After)
			if result.Drop {
				delete(q.due, feed)
				delete(q.known, feed)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case call := <-q.calls:
			call(poll)
		case <-time.After(next):
		}
	}
}

// inBubble runs the subscriber for a while of fake time.
func inBubble(t *testing.T, opts subscriber.Options, d time.Duration) error {
	t.Helper()
	s, err := subscriber.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	return s.Run(ctx)
}

func TestFeedsArePolledInTheirIntervalAndSpread(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	for i := range 100 {
		sub.Mailboxes = append(sub.Mailboxes, fmt.Sprintf("user%d@contoso.com", i))
	}
	synctest.Test(t, func(t *testing.T) {
		q := newTimedQueue()
		stream := newMemStream()
		started := time.Now()
		source := &script{pages: map[string]page{"": {delta: "d"}, "d": {delta: "d"}}}
		source.pages["d"] = page{delta: "e"}
		source.pages["e"] = page{delta: "d"}
		err := inBubble(t, subscriber.Options{
			Subscriptions: []subscriber.Subscription{sub},
			Source:        source, Stream: stream, Queue: q, DeadLetters: &letters{}, Slots: &freeSlots{},
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		firsts := map[time.Duration]int{}
		for feed, polls := range q.polls {
			polls = polls[1:] // the first delivery only says when the first poll is
			firsts[polls[0].Sub(started).Truncate(100*time.Millisecond)]++
			if first := polls[0].Sub(started); first > 3*time.Second {
				t.Errorf("%s: first poll after %v", feed, first)
			}
			for i := 1; i < len(polls); i++ {
				if wait := polls[i].Sub(polls[i-1]); wait < 27*time.Second || wait > 33*time.Second {
					t.Errorf("%s: %v between two polls", feed, wait)
				}
			}
			if len(polls) < 108 || len(polls) > 134 {
				t.Errorf("%s: %d polls in an hour, every 30 s", feed, len(polls))
			}
		}
		if len(q.polls) != 101 || len(firsts) < 10 {
			t.Errorf("%d feeds begin in %d tenths of a second", len(q.polls), len(firsts))
		}
		// An empty feed stores its newest link every five minutes, not at each poll.
		if perFeed := stream.commits / 101; perFeed < 8 || perFeed > 13 {
			t.Errorf("%d commits a feed in an hour", perFeed)
		}
	})
}

func TestFeedsAreRegisteredAgain(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	synctest.Test(t, func(t *testing.T) {
		q := newTimedQueue()
		q.err = errors.New("no connection")
		time.AfterFunc(100*time.Second, func() {
			q.calls <- func(func(context.Context, subscriber.Feed, []byte) subscriber.Next) { q.err = nil }
		})
		err := inBubble(t, subscriber.Options{
			Subscriptions: []subscriber.Subscription{sub},
			Source:        &script{pages: map[string]page{"": {delta: "d"}, "d": {delta: "d"}}},
			Stream:        newMemStream(), Queue: q, DeadLetters: &letters{}, Slots: &freeSlots{},
		}, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		feed := subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part("inbox")}
		if n := q.registers[feed]; n < 18 || n > 100 {
			t.Errorf("registered %d times in ten minutes", n)
		}
		if len(q.polls[feed]) < 10 {
			t.Errorf("%d polls after the connection came back", len(q.polls[feed]))
		}
	})
}

func TestASignedOutAccountIsLookedAtEveryMinute(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	synctest.Test(t, func(t *testing.T) {
		q := newTimedQueue()
		err := inBubble(t, subscriber.Options{
			Subscriptions: []subscriber.Subscription{sub},
			Source:        &script{pages: map[string]page{"": {err: fault.New(fault.Reauth, "signed out")}}},
			Stream:        newMemStream(), Queue: q, DeadLetters: &letters{}, Slots: &freeSlots{},
		}, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for feed, polls := range q.polls {
			if len(polls) < 54 || len(polls) > 70 {
				t.Errorf("%s: %d polls in an hour", feed, len(polls))
			}
		}
	})
}

func TestAFatalErrorEndsRun(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	synctest.Test(t, func(t *testing.T) {
		fatal := fault.New(fault.Fatal, "the disk is gone")
		began := time.Now()
		err := inBubble(t, subscriber.Options{
			Subscriptions: []subscriber.Subscription{sub},
			Source:        &script{pages: map[string]page{"": {err: fatal}}},
			Stream:        newMemStream(), Queue: newTimedQueue(), DeadLetters: &letters{}, Slots: &freeSlots{},
		}, time.Hour)
		if !errors.Is(err, fatal) || time.Since(began) > time.Minute {
			t.Errorf("Run returned %v after %v", err, time.Since(began))
		}
	})
}

func TestLagGrowsWhileAFeedFails(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	synctest.Test(t, func(t *testing.T) {
		q := newHandQueue()
		source := &script{pages: map[string]page{"": {err: fault.New(fault.Poison, "404")}}}
		s, err := subscriber.New(subscriber.Options{
			Subscriptions: []subscriber.Subscription{sub},
			Source:        source, Stream: newMemStream(), Queue: q, DeadLetters: &letters{}, Slots: &freeSlots{},
		})
		if err != nil {
			t.Fatal(err)
		}
		run(t, s, q)
		feed := s.Status()[0].Feed
		data := registration(time.Now().Add(-time.Hour))
		lag := func() time.Duration { return s.Status()[0].Lag }
		after := func(d time.Duration) { <-time.After(d) }

		q.poll(t.Context(), feed, data)
		after(4 * time.Minute)
		same(t, "lag four minutes after the first failure", lag(), 4*time.Minute)
		q.poll(t.Context(), feed, data)
		after(time.Minute)
		same(t, "lag a minute after the second", lag(), 5*time.Minute)
		after(10 * time.Minute)
		same(t, "lag of a feed that another worker has", lag(), 0)
		source.set("", page{delta: "d"})
		q.poll(t.Context(), feed, data)
		after(time.Second)
		same(t, "lag after a success", lag(), 0)
	})
}
