package subscriber_test

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/subscriber"
)

// dueQueue gives feeds when they are due, the longest overdue first, at most
// parallel at a time.
type dueQueue struct {
	mu      sync.Mutex
	known   map[subscriber.Feed][]byte
	waiting dueHeap
	changed chan struct{}
}

type dueFeed struct {
	feed subscriber.Feed
	at   time.Time
}

type dueHeap []dueFeed

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueFeed)) } //nolint:forcetypeassert // nothing else is pushed
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

func newDueQueue() *dueQueue {
	return &dueQueue{known: map[subscriber.Feed][]byte{}, changed: make(chan struct{}, 1)}
}

func (q *dueQueue) push(feed subscriber.Feed, at time.Time) {
	heap.Push(&q.waiting, dueFeed{feed, at})
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

func (q *dueQueue) Register(_ context.Context, feed subscriber.Feed, data []byte) (bool, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	known := q.known[feed] != nil
	if !known {
		q.known[feed] = data
		q.push(feed, time.Now())
	}
	return known, nil
}

func (q *dueQueue) Update(_ context.Context, feed subscriber.Feed, change func([]byte) ([]byte, error)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.known[feed] == nil {
		return nil
	}
	data, err := change(q.known[feed])
	if err == nil && string(data) != string(q.known[feed]) {
		q.known[feed] = data
		q.push(feed, time.Now())
	}
	return err
}

func (q *dueQueue) Run(ctx context.Context, parallel int, poll func(context.Context, subscriber.Feed, []byte) subscriber.Next) error {
	slots := make(chan struct{}, parallel)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		due, ok := q.next(ctx)
		if !ok {
			return nil
		}
		running.Go(func() {
			q.mu.Lock()
			data := q.known[due.feed]
			q.mu.Unlock()
			next := poll(ctx, due.feed, data)
			q.mu.Lock()
			if !next.Drop {
				q.push(due.feed, time.Now().Add(next.After))
			}
			q.mu.Unlock()
			<-slots
		})
	}
}

// next waits for a feed that is due.
func (q *dueQueue) next(ctx context.Context) (dueFeed, bool) {
	for ctx.Err() == nil {
		wait := time.Hour
		q.mu.Lock()
		if len(q.waiting) > 0 {
			if wait = time.Until(q.waiting[0].at); wait <= 0 {
				due, _ := heap.Pop(&q.waiting).(dueFeed)
				q.mu.Unlock()
				return due, true
			}
		}
		q.mu.Unlock()
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-q.changed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return dueFeed{}, false
}

// polled counts requests by mailbox and notes the longest time between two.
type polled struct {
	mu      sync.Mutex
	count   map[string]int
	last    map[string]time.Time
	longest map[string]time.Duration
}

func newPolled() *polled {
	return &polled{count: map[string]int{}, last: map[string]time.Time{}, longest: map[string]time.Duration{}}
}

func (p *polled) note(mailbox string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last, ok := p.last[mailbox]; ok {
		p.longest[mailbox] = max(p.longest[mailbox], time.Since(last))
	}
	p.count[mailbox]++
	p.last[mailbox] = time.Now()
}

// sickSlots has no slot for one mailbox.
type sickSlots struct {
	freeSlots
	sick string
	wait time.Duration
}

func (s *sickSlots) Take(ctx context.Context, client, mailbox string) (func(), time.Duration, bool) {
	if mailbox == s.sick {
		return nil, s.wait, false
	}
	return s.freeSlots.Take(ctx, client, mailbox)
}

// manyFeeds polls 100 mailboxes for a time with what answers, and returns what
// was polled.
func manyFeeds(t *testing.T, change func(*subscriber.Options), answer func(ctx context.Context, mailbox string) error, length time.Duration) *polled {
	t.Helper()
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		t.Fatal(err)
	}
	seen := newPolled()
	opts := subscriber.Options{
		Subscriptions: []subscriber.Subscription{{
			Name: "inbox", Client: "c", Operation: op, Path: map[string]string{"mailFolder-id": "inbox"}, Every: 30 * time.Second,
		}},
		Source: asked(func(ctx context.Context, req subscriber.Request, _ func([]byte) error) (subscriber.Page, error) {
			seen.note(req.Mailbox)
			return subscriber.Page{Delta: "d"}, answer(ctx, req.Mailbox)
		}),
		Stream: newMemStream(), Queue: newDueQueue(), DeadLetters: &letters{}, Slots: &freeSlots{}, Parallel: 4,
	}
	for i := range 100 {
		opts.Subscriptions[0].Mailboxes = append(opts.Subscriptions[0].Mailboxes, fmt.Sprintf("box%02d", i))
	}
	change(&opts)
	s, err := subscriber.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	return seen
}

// TestOneSickMailboxParksAlone: whatever is wrong with one mailbox, the others
// are polled as the schedule says, and the sick one is not asked in vain.
func TestOneSickMailboxParksAlone(t *testing.T) {
	t.Parallel()
	const sick, hour, reply = "box07", time.Hour, 20 * time.Millisecond
	for name, c := range map[string]struct {
		change func(*subscriber.Options)
		fails  func(ctx context.Context) error
		// Requests for the sick one in an hour. Its pauses are random between nothing
		// and 5 min: some 31 requests, give or take 3; every 30 s it would be 120.
		least, most int
	}{
		"throttled": {
			fails: func(context.Context) error {
				return &fault.Error{Kind: fault.Retry, Code: "429", After: 2 * time.Minute, Err: errors.New("too many requests")}
			},
			least: 10, most: 31,
		},
		"failing": {
			fails: func(context.Context) error {
				return &fault.Error{Kind: fault.Retry, Code: "503", Err: errors.New("unavailable")}
			},
			least: 12, most: 48,
		},
		"refused": {
			fails: func(context.Context) error {
				return &fault.Error{Kind: fault.Poison, Code: "403", Err: errors.New("access denied")}
			},
			least: 11, most: 14,
		},
		"hanging": {
			fails: func(ctx context.Context) error {
				select {
				case <-time.After(100 * time.Second):
					return &fault.Error{Kind: fault.Retry, Err: errors.New("timeout")}
				case <-ctx.Done():
					return ctx.Err()
				}
			},
			least: 8, most: 36,
		},
		"without a slot": {
			change: func(o *subscriber.Options) { o.Slots = &sickSlots{sick: sick, wait: time.Minute} },
		},
		"panicking": {
			fails: func(context.Context) error { panic("a bug") },
			least: 12, most: 48,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				change := func(o *subscriber.Options) {
					if c.change != nil {
						c.change(o)
					}
				}
				seen := manyFeeds(t, change, func(ctx context.Context, mailbox string) error {
					if mailbox == sick {
						return c.fails(ctx)
					}
					time.Sleep(reply) // by the clock of the bubble
					return nil
				}, hour)
				if len(seen.count) < 99 {
					t.Errorf("%d mailboxes were polled", len(seen.count))
				}
				for mailbox, n := range seen.count {
					if mailbox == sick {
						continue
					}
					// 30 s and a tenth, and a turn among four at a time.
					if gap := seen.longest[mailbox]; gap > 34*time.Second || n < 110 || n > 134 {
						t.Errorf("%s was polled %d times, with %s between two", mailbox, n, gap)
					}
				}
				if n := seen.count[sick]; n < c.least || n > c.most {
					t.Errorf("the sick mailbox was asked %d times, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}

// TestMoreFeedsAreDueThanCanBePolled: with half of the time that is needed, each
// feed gets half of its polls, and none waits much longer than another.
func TestMoreFeedsAreDueThanCanBePolled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := manyFeeds(t, func(*subscriber.Options) {}, func(context.Context, string) error {
			time.Sleep(2400 * time.Millisecond) // 100 feeds, four at a time: a minute
			return nil
		}, time.Hour)
		for mailbox, n := range seen.count {
			if n < 55 || n > 63 || seen.longest[mailbox] > 70*time.Second {
				t.Errorf("%s was polled %d times, with %s between two", mailbox, n, seen.longest[mailbox])
			}
		}
		if len(seen.count) != 100 {
			t.Errorf("%d mailboxes were polled", len(seen.count))
		}
	})
}
