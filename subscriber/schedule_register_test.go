package subscriber_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/subscriber"
)

// TestAFeedThatRestsByAnotherScheduleIsWoken: a configuration with a shorter
// interval does not wait for the end of a long one.
func TestAFeedThatRestsByAnotherScheduleIsWoken(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Every = time.Hour
	sub.Mailboxes = []string{"ann@contoso.com", "ben@contoso.com", "cleo@contoso.com"}
	synctest.Test(t, func(t *testing.T) {
		q := newTimedQueue()
		options := subscriber.Options{
			Subscriptions: []subscriber.Subscription{sub},
			Source:        &script{pages: map[string]page{"": {delta: "d"}, "d": {delta: "d"}}},
			Stream:        newMemStream(), Queue: q, DeadLetters: &letters{}, Slots: &freeSlots{},
		}
		run := func(length time.Duration) {
			t.Helper()
			if err := inBubble(t, options, length); err != nil {
				t.Fatal(err)
			}
		}
		run(time.Minute)
		feedOf := func(i int) subscriber.Feed {
			for feed := range q.known {
				if feed.Mailbox == sub.Mailboxes[i] {
					return feed
				}
			}
			t.Fatalf("%s has no feed", sub.Mailboxes[i])
			panic("not reached")
		}
		ann, ben, cleo := feedOf(0), feedOf(1), feedOf(2)
		count := func() [3]int { return [3]int{len(q.polls[ann]), len(q.polls[ben]), len(q.polls[cleo])} }
		paused, err := subscriber.SetPaused(q.known[ben], true)
		if err != nil {
			t.Fatal(err)
		}
		q.known[ben] = paused
		// Of a version that did not know of schedules.
		q.known[cleo] = []byte(`{"v":1,"registered":"2026-01-02T03:04:05Z","later":7}`)
		first := count()

		run(time.Minute) // the same schedule wakes nobody but the feed that names none
		if got := count(); got[0] != first[0] || got[1] != first[1] || got[2] != first[2]+1 {
			t.Errorf("%v polls with the same schedule, after %v", got, first)
		}
		options.Subscriptions[0].Every = 20 * time.Minute
		before := count()
		run(time.Minute)
		after := count()
		if after[0] != before[0]+1 || after[2] != before[2]+1 {
			t.Errorf("%v polls within a minute of a new schedule, after %v: want one of each", after, before)
		}
		var data struct {
			Paused     bool
			Registered time.Time
			Schedule   string
			Later      int
		}
		if err := json.Unmarshal(q.known[ben], &data); err != nil || !data.Paused || data.Schedule == "" {
			t.Errorf("a paused feed has %s", q.known[ben])
		}
		if err := json.Unmarshal(q.known[cleo], &data); err != nil || data.Later != 7 || data.Registered.Year() != 2026 {
			t.Errorf("the data became %s", q.known[cleo])
		}
		run(time.Hour)
		if got := count()[0] - after[0]; got < 2 || got > 4 {
			t.Errorf("%d polls in an hour of 20 minutes each", got)
		}
	})
}

// slowQueue takes its time for each registration, and knows how many are under
// way.
type slowQueue struct {
	*handQueue

	registered, now, most, updated atomic.Int64
	fail                           atomic.Bool
}

func (q *slowQueue) Register(ctx context.Context, feed subscriber.Feed, data []byte) (bool, error) {
	now := q.now.Add(1)
	defer q.now.Add(-1)
	if now > q.most.Load() {
		q.most.Store(now)
	}
	time.Sleep(5 * time.Millisecond)
	if q.fail.Load() {
		return false, errors.New("away")
	}
	q.registered.Add(1)
	return q.handQueue.Register(ctx, feed, data)
}

func (q *slowQueue) Update(ctx context.Context, feed subscriber.Feed, change func([]byte) ([]byte, error)) error {
	return q.handQueue.Update(ctx, feed, func(data []byte) ([]byte, error) {
		fresh, err := change(data)
		if err == nil && string(fresh) != string(data) {
			q.updated.Add(1)
		}
		return fresh, err
	})
}

// TestManyFeedsAreRegisteredTogetherAtFirst: what a server answers one after the
// other would take minutes. Later, when all is there, they come one by one.
func TestManyFeedsAreRegisteredTogetherAtFirst(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	const feeds = 12_800
	sub.Mailboxes = make([]string, feeds)
	for i := range feeds {
		sub.Mailboxes[i] = fmt.Sprintf("box%d", i)
	}
	synctest.Test(t, func(t *testing.T) {
		q := &slowQueue{handQueue: newHandQueue()}
		run := func(length time.Duration) {
			t.Helper()
			q.ready = make(chan struct{})
			err := inBubble(t, subscriber.Options{
				Subscriptions: []subscriber.Subscription{sub}, Source: &script{}, Stream: newMemStream(), Queue: q,
				DeadLetters: &letters{}, Slots: &freeSlots{},
			}, length)
			if err != nil {
				t.Fatal(err)
			}
		}
		q.fail.Store(true)
		run(500 * time.Millisecond)
		q.fail.Store(false)
		run(2 * time.Second)
		if got := q.registered.Load(); got != feeds || q.most.Load() > 100 {
			t.Errorf("%d of %d feeds are registered after 2 s, up to %d at a time", got, feeds, q.most.Load())
		}
		// Once more, with another schedule: 200 of them are woken in a second.
		sub.Every = time.Hour
		run(11 * time.Second)
		if got := q.updated.Load(); got < 1900 || got > 2100 {
			t.Errorf("%d feeds are woken in 10 s", got)
		}
		run(5 * time.Minute)
		if got := q.updated.Load(); got != feeds {
			t.Errorf("%d of %d feeds are woken", got, feeds)
		}
	})
}
