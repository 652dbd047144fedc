package jet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func set(data string) func([]byte) ([]byte, error) {
	return func([]byte) ([]byte, error) { return []byte(data), nil }
}

// arrives waits for what a channel brings, or fails.
func arrives[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(15 * time.Second):
		t.Fatal("nothing came")
		panic("not reached")
	}
}

func TestUpdateChangesAFeedOnceWhoeverElseDoes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	workers := []*jet.Conn{w.connect(), w.connect()}
	feeds := workers[0].Feeds()
	subject := feed(workers[0], "me")
	if err := feeds.Update(t.Context(), subject, set("x")); !errors.Is(err, jet.ErrNotFound) {
		t.Errorf("a feed that is not there: %v", err)
	}
	if _, err := feeds.Get(t.Context(), subject); !errors.Is(err, jet.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if err := feeds.Update(t.Context(), "outlook.event.inbox.me", set("x")); fault.KindOf(err) != fault.Poison {
		t.Errorf("a subject that is no feed: %v", err)
	}
	if err := feeds.Register(t.Context(), subject, []byte("0")); err != nil {
		t.Fatal(err)
	}
	// Many add one each, from two connections.
	var all sync.WaitGroup
	const changes = 6
	for i := range changes {
		all.Go(func() {
			err := workers[i%2].Feeds().Update(t.Context(), subject, func(data []byte) ([]byte, error) {
				var n int
				if _, err := fmt.Sscan(string(data), &n); err != nil {
					return nil, err
				}
				return fmt.Append(nil, n+1), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := must(feeds.Get(t.Context(), subject)); string(got.Data) != fmt.Sprint(changes) || got.Subject != subject || got.Registered.IsZero() {
		t.Errorf("after %d changes: %+v", changes, got)
	}
	// What changes nothing writes nothing, and an error of the change comes back.
	before := must(feeds.Get(t.Context(), subject)).Registered
	if err := feeds.Update(t.Context(), subject, func(data []byte) ([]byte, error) { return data, nil }); err != nil {
		t.Error(err)
	}
	refused := errors.New("refused")
	if err := feeds.Update(t.Context(), subject, func([]byte) ([]byte, error) { return nil, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v, want the error of the change", err)
	}
	// Newcomers register every feed again.
	if err := feeds.Register(t.Context(), subject, []byte("newcomer")); err != nil {
		t.Error(err)
	}
	if got := must(feeds.Get(t.Context(), subject)); string(got.Data) != fmt.Sprint(changes) || !got.Registered.Equal(before) {
		t.Errorf("rewritten: %+v", got)
	}
	// One that always loses gives up.
	err := feeds.Update(t.Context(), subject, func(data []byte) ([]byte, error) {
		if err := workers[1].Feeds().Replace(t.Context(), subject, append(data, '.')); err != nil {
			return nil, err
		}
		return []byte("lost"), nil
	})
	if fault.Of(err).Code != "conflict" {
		t.Errorf("got %v, want a conflict", err)
	}
}

// TestAnUpdateOfAFeedThatIsBeingPolledStays: whatever the poll with the old data
// says at its end, the new data stay, are due at once, and once.
func TestAnUpdateOfAFeedThatIsBeingPolledStays(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]jet.Next{
		"given back with a delay": {After: 50 * time.Millisecond},
		"given back at once":      {},
		"dropped":                 {Drop: true},
		"given back much later":   {After: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newWorld(t).connect()
			feeds := c.Feeds()
			if err := feeds.Register(t.Context(), feed(c, "me"), []byte("old")); err != nil {
				t.Fatal(err)
			}
			began, release, old := make(chan struct{}), make(chan struct{}), atomic.Int32{}
			fresh := make(chan struct{}, 100)
			stop := background(t, func(ctx context.Context) error {
				return feeds.Run(ctx, 4, func(_ context.Context, _ string, data []byte) jet.Next {
					if string(data) == "new" {
						fresh <- struct{}{}
						return jet.Next{After: 200 * time.Millisecond}
					}
					if old.Add(1) == 1 {
						close(began)
						<-release
					}
					return end
				})
			})
			arrives(t, began)
			if err := feeds.Update(t.Context(), feed(c, "me"), set("new")); err != nil {
				t.Fatal(err)
			}
			defer sync.OnceFunc(func() { close(release) })()
			arrives(t, fresh) // at once, while the poll with the old data runs
			release <- struct{}{}
			// Longer than AckWait, after which a message that nobody answered comes.
			for range 9 {
				arrives(t, fresh)
			}
			stop()
			if n := old.Load(); n != 1 {
				t.Errorf("the old data came %d times", n)
			}
			if list := must(feeds.List(t.Context())); len(list) != 1 || string(list[0].Data) != "new" {
				t.Errorf("left: %+v", list)
			}
			held := must(c.Status(t.Context()))[1].Consumers[0]
			if held.Held != 1 || held.Pending != 0 {
				t.Errorf("the consumer holds %d and has %d to come, want one feed", held.Held, held.Pending)
			}
		})
	}
}

// TestAFeedThatWaitsIsDueAtOnceWhenItIsUpdated is what resume needs.
func TestAFeedThatWaitsIsDueAtOnceWhenItIsUpdated(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	feeds := c.Feeds()
	if err := feeds.Register(t.Context(), feed(c, "me"), []byte("old")); err != nil {
		t.Fatal(err)
	}
	polls := make(chan string, 10)
	background(t, func(ctx context.Context) error {
		return feeds.Run(ctx, 1, func(_ context.Context, _ string, data []byte) jet.Next {
			polls <- string(data)
			return jet.Next{After: time.Hour}
		})
	})
	arrives(t, polls)
	if err := feeds.Update(t.Context(), feed(c, "me"), set("new")); err != nil {
		t.Fatal(err)
	}
	if data := arrives(t, polls); data != "new" {
		t.Errorf("polled with %q", data)
	}
}

// TestTheLongestOverdueComeFirst: where more feeds are due than can be polled,
// the server gives those first that have been due for longest, in whatever
// order they were registered.
func TestTheLongestOverdueComeFirst(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect(func(o *jet.Options) { o.AckWait = time.Minute })
	feeds := c.Feeds()
	const n, step = 40, 20 * time.Millisecond
	for i := range n {
		if err := feeds.Register(t.Context(), feed(c, fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	// The later a feed was registered, the earlier it is due: all of them while
	// nobody takes them.
	var given atomic.Int32
	stop := background(t, func(ctx context.Context) error {
		return feeds.Run(ctx, n, func(_ context.Context, subject string, _ []byte) jet.Next {
			var i int
			_, err := fmt.Sscanf(subject[strings.LastIndexByte(subject, '.')+1:], "%d", &i)
			if err != nil {
				t.Error(err)
			}
			given.Add(1)
			return jet.Next{After: 500*time.Millisecond + time.Duration(n-i)*step}
		})
	})
	eventually(t, "every feed has its delay", func() bool { return given.Load() == n })
	stop()
	begin := time.Now()
	eventually(t, "all are due", func() bool { return time.Since(begin) > time.Second+n*step })
	var mu sync.Mutex
	var order []int
	background(t, func(ctx context.Context) error {
		return feeds.Run(ctx, 1, func(_ context.Context, subject string, _ []byte) jet.Next {
			var i int
			if _, err := fmt.Sscanf(subject[strings.LastIndexByte(subject, '.')+1:], "%d", &i); err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
			return jet.Next{After: time.Hour}
		})
	})
	eventually(t, "every feed is polled", func() bool { mu.Lock(); defer mu.Unlock(); return len(order) == n })
	// Two that were due within one look of the server may change places.
	for place, i := range order {
		if off := place - (n - 1 - i); off > 3 || off < -3 {
			t.Errorf("feed %d is due as number %d and came as number %d: %v", i, n-1-i, place, order)
			break
		}
	}
	if slices.IsSorted(order) {
		t.Error("they came in the order of their registration")
	}
}

// TestANewFeedComesAlsoWhereMoreAreDueThanCanBePolled: the server gives what
// comes again before what is new.
func TestANewFeedComesAlsoWhereMoreAreDueThanCanBePolled(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect(func(o *jet.Options) { o.AckWait = time.Minute })
	feeds := c.Feeds()
	const old = 50
	for i := range old {
		if err := feeds.Register(t.Context(), feed(c, fmt.Sprint(i)), nil); err != nil {
			t.Fatal(err)
		}
	}
	var polls atomic.Int32
	came := make(chan struct{})
	var once sync.Once
	background(t, func(ctx context.Context) error {
		return feeds.Run(ctx, 2, func(ctx context.Context, subject string, _ []byte) jet.Next {
			if strings.HasSuffix(subject, ".new") {
				once.Do(func() { close(came) })
				return jet.Next{After: time.Hour}
			}
			polls.Add(1)
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
			return jet.Next{After: 20 * time.Millisecond} // due again long before its turn
		})
	})
	eventually(t, "the queue is full of overdue feeds", func() bool { return polls.Load() > 3*old })
	at := polls.Load()
	if err := feeds.Register(t.Context(), feed(c, "new"), nil); err != nil {
		t.Fatal(err)
	}
	// Counted in polls, because how long they take is the machine's.
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for passed := int32(0); passed < 40*old; passed = polls.Load() - at {
		select {
		case <-came:
			t.Logf("after %d polls of others", passed)
			return
		case <-ticker.C:
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
	t.Errorf("not in %d polls of others", polls.Load()-at)
}
