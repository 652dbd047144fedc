package jet_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

// background runs f until the returned function is called, which waits for it.
func background(t *testing.T, f func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func feed(c *jet.Conn, mailbox string) string { return must(c.Names().Feed("inbox", "-", mailbox)) }

func TestAFeedIsRegisteredOnceAndPolledAgainAfterItsDelay(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	feeds := c.Feeds()
	for i := range 3 {
		if err := feeds.Register(t.Context(), feed(c, "me"), fmt.Appendf(nil, "v%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := feeds.List(t.Context())
	if err != nil || len(list) != 1 || string(list[0].Data) != "v0" || list[0].Subject != feed(c, "me") || list[0].Registered.IsZero() {
		t.Fatalf("registered: %+v, %v", list, err)
	}

	const delay = 300 * time.Millisecond
	polls := make(chan time.Time, 10)
	stop := background(t, func(ctx context.Context) error {
		return feeds.Run(ctx, 4, func(_ context.Context, subject string, data []byte) jet.Next {
			if subject != feed(c, "me") || string(data) != "v0" {
				t.Errorf("polled %s with %s", subject, data)
			}
			polls <- time.Now()
			return jet.Next{After: delay}
		})
	})
	first, second, third := <-polls, <-polls, <-polls
	for _, gap := range []time.Duration{second.Sub(first), third.Sub(second)} {
		if gap < delay-20*time.Millisecond || gap > delay+500*time.Millisecond {
			t.Errorf("polled again after %s, want %s", gap, delay)
		}
	}
	// Registering again must not make it due.
	if err := feeds.Register(t.Context(), feed(c, "me"), nil); err != nil {
		t.Error(err)
	}
	stop()
	if err := feeds.Unregister(t.Context(), feed(c, "me")); err != nil {
		t.Fatal(err)
	}
	if err := feeds.Unregister(t.Context(), feed(c, "me")); err != nil {
		t.Errorf("removing again: %v", err)
	}
	if list, err := feeds.List(t.Context()); len(list) != 0 || err != nil {
		t.Errorf("left: %+v, %v", list, err)
	}
	if err := feeds.Register(t.Context(), "outlook.event.inbox.me", nil); fault.KindOf(err) != fault.Poison {
		t.Errorf("a subject that is no feed: %v", err)
	}
}

func TestADroppedFeedIsGoneAndAReplacedOneComesWithItsNewData(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	feeds := c.Feeds()
	for _, mailbox := range []string{"gone", "kept"} {
		if err := feeds.Register(t.Context(), feed(c, mailbox), []byte("old")); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(chan string, 10)
	background(t, func(ctx context.Context) error {
		return feeds.Run(ctx, 2, func(_ context.Context, subject string, data []byte) jet.Next {
			seen <- subject + " " + string(data)
			return jet.Next{After: time.Hour, Drop: subject == feed(c, "gone")}
		})
	})
	<-seen
	<-seen
	eventually(t, "the dropped feed is removed", func() bool { return len(must(feeds.List(t.Context()))) == 1 })
	if err := feeds.Replace(t.Context(), feed(c, "kept"), []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, want := <-seen, feed(c, "kept")+" new"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if list := must(feeds.List(t.Context())); len(list) != 1 || string(list[0].Data) != "new" {
		t.Errorf("left: %+v", list)
	}
}

func TestALongPollKeepsItsFeedAndADeadWorkersFeedMovesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.connect(), w.connect()
	if err := a.Feeds().Register(t.Context(), feed(a, "me"), nil); err != nil {
		t.Fatal(err)
	}
	started, release := make(chan struct{}), make(chan struct{})
	stopA := background(t, func(ctx context.Context) error {
		return a.Feeds().Run(ctx, 1, func(context.Context, string, []byte) jet.Next {
			close(started)
			<-release
			return jet.Next{}
		})
	})
	<-started
	taken := make(chan time.Time, 10)
	background(t, func(ctx context.Context) error {
		return b.Feeds().Run(ctx, 1, func(context.Context, string, []byte) jet.Next {
			taken <- time.Now()
			return jet.Next{After: time.Hour}
		})
	})
	select { // AckWait is 600 ms here
	case <-taken:
		t.Error("a feed that is being polled came to a second worker")
	case <-time.After(1200 * time.Millisecond):
	}
	// The worker dies: its connection ends, and nobody says InProgress.
	died := time.Now()
	closeConn(t, a)
	if late := (<-taken).Sub(died); late > 3*time.Second {
		t.Errorf("the feed came to the other worker after %s", late)
	}
	close(release)
	stopA()
}

func TestStoppingGivesBackWhatHasNotBegunAndWaitsForWhatRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	// Nothing may come back by its AckWait.
	slow := func(o *jet.Options) { o.AckWait = time.Minute }
	a := w.connect(slow)
	const all = 20
	for i := range all {
		if err := a.Feeds().Register(t.Context(), feed(a, fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	var begun, ended atomic.Int32
	stop := background(t, func(ctx context.Context) error {
		return a.Feeds().Run(ctx, 2, func(ctx context.Context, _ string, _ []byte) jet.Next {
			begun.Add(1)
			<-ctx.Done() // a poll ends with its context
			ended.Add(1)
			return jet.Next{}
		})
	})
	eventually(t, "two polls run", func() bool { return begun.Load() == 2 })
	stop()
	if begun.Load() != 2 || ended.Load() != 2 {
		t.Errorf("%d polls began and %d ended, want 2", begun.Load(), ended.Load())
	}
	b := w.connect(slow)
	var seen sync.Map
	var count atomic.Int32
	background(t, func(ctx context.Context) error {
		return b.Feeds().Run(ctx, 8, func(_ context.Context, subject string, _ []byte) jet.Next {
			if _, twice := seen.LoadOrStore(subject, true); !twice {
				count.Add(1)
			}
			return jet.Next{After: time.Hour}
		})
	})
	eventually(t, "every feed reaches the next worker", func() bool { return count.Load() == all })
}

func TestAFeedThatComesDuringAStopGoesToTheNextWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow := func(o *jet.Options) { o.AckWait = time.Minute }
	a, b := w.connect(slow), w.connect(slow)
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		err := a.Feeds().Run(ctx, 2, func(context.Context, string, []byte) jet.Next {
			t.Error("polled by a worker that stops")
			return jet.Next{}
		})
		if err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "a pull waits", func() bool { return must(a.Status(t.Context()))[1].Consumers[0].Waiting == 1 })
	cancel()
	if err := b.Feeds().Register(t.Context(), feed(b, "me"), nil); err != nil { // answers the pull
		t.Fatal(err)
	}
	<-stopped
	came := make(chan struct{})
	background(t, func(ctx context.Context) error {
		return b.Feeds().Run(ctx, 1, func(context.Context, string, []byte) jet.Next { close(came); return jet.Next{After: time.Hour} })
	})
	select {
	case <-came:
	case <-time.After(10 * time.Second):
		t.Error("the feed is lost until its AckWait")
	}
}

func TestFeedsRunAtMostParallelAndNoFeedTwiceAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	workers := []*jet.Conn{w.connect(), w.connect()}
	const feeds, parallel = 30, 4
	for i := range feeds {
		if err := workers[0].Feeds().Register(t.Context(), feed(workers[0], fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	var busy sync.Map
	var polls atomic.Int32
	for _, c := range workers {
		var running atomic.Int32
		background(t, func(ctx context.Context) error {
			return c.Feeds().Run(ctx, parallel, func(ctx context.Context, subject string, _ []byte) jet.Next {
				if n := running.Add(1); n > parallel {
					t.Errorf("%d polls at a time", n)
				}
				defer running.Add(-1)
				if _, twice := busy.LoadOrStore(subject, true); twice {
					t.Errorf("%s is polled twice at a time", subject)
				}
				defer busy.Delete(subject)
				select {
				case <-time.After(5 * time.Millisecond):
				case <-ctx.Done():
				}
				polls.Add(1)
				return jet.Next{After: 50 * time.Millisecond}
			})
		})
	}
	eventually(t, "every feed is polled often", func() bool { return polls.Load() > feeds*10 })
}

func TestFeedsGoOnAfterARestartOfTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	const feeds = 10
	for i := range feeds {
		if err := c.Feeds().Register(t.Context(), feed(c, fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	polls := map[string]int{}
	background(t, func(ctx context.Context) error {
		return c.Feeds().Run(ctx, 4, func(_ context.Context, subject string, _ []byte) jet.Next {
			mu.Lock()
			defer mu.Unlock()
			polls[subject]++
			return jet.Next{After: 20 * time.Millisecond}
		})
	})
	all := func(n int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			for i := range feeds {
				if polls[feed(c, fmt.Sprint(i))] < n {
					return false
				}
			}
			return true
		}
	}
	eventually(t, "every feed is polled", all(3))
	w.stop()
	w.start()
	mu.Lock()
	clear(polls)
	mu.Unlock()
	eventually(t, "every feed is polled after the restart", all(3))
}
