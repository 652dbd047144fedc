package jet_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
)

// TestFeedsThatAreChangedOrRemovedTakeNoOtherWithThem: a rollup or a purge of one
// subject moves the consumer's ack floor beyond feeds that wait for their next
// poll, as soon as the feed that was delivered next goes, too. A server that
// starts again never delivers those, and they stay in the queue, so that nobody
// registers them anew.
func TestFeedsThatAreChangedOrRemovedTakeNoOtherWithThem(t *testing.T) {
	t.Parallel()
	type step func(ctx context.Context, f *jet.Feeds, subject string) error
	replace := func(ctx context.Context, f *jet.Feeds, subject string) error {
		return f.Replace(ctx, subject, []byte("replaced"))
	}
	update := func(ctx context.Context, f *jet.Feeds, subject string) error {
		return f.Update(ctx, subject, set("updated"))
	}
	unregister := func(ctx context.Context, f *jet.Feeds, subject string) error { return f.Unregister(ctx, subject) }
	for name, steps := range map[string][2]step{
		"replaced, replaced":     {replace, replace},
		"updated, updated":       {update, update},
		"updated, unregistered":  {update, unregister},
		"unregistered, replaced": {unregister, replace},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			c := w.connect()
			feeds := c.Feeds()
			const n = 6
			for i := range n {
				if err := feeds.Register(t.Context(), feed(c, fmt.Sprint(i)), []byte("first")); err != nil {
					t.Fatal(err)
				}
			}
			polled := make(chan string, 100)
			stop := background(t, func(ctx context.Context) error {
				return feeds.Run(ctx, 1, func(_ context.Context, subject string, _ []byte) jet.Next {
					polled <- subject
					return jet.Next{After: time.Hour}
				})
			})
			for range n {
				arrives(t, polled)
			}
			// The fourth and then the fifth: what is before them waits for an hour.
			want := n
			for i, do := range steps {
				subject := feed(c, fmt.Sprint(3+i))
				before := len(must(feeds.List(t.Context())))
				if err := do(t.Context(), feeds, subject); err != nil {
					t.Fatal(err)
				}
				if after := len(must(feeds.List(t.Context()))); after < before {
					want--
					continue
				}
				if got := arrives(t, polled); got != subject {
					t.Errorf("%s is polled, want the changed one", got)
				}
			}
			stop()
			var all []string
			for _, f := range must(feeds.List(t.Context())) {
				all = append(all, f.Subject)
			}
			if len(all) != want {
				t.Fatalf("%d feeds before the restart, want %d", len(all), want)
			}
			checkQueue(t, w, c, "before the restart")
			w.stop()
			w.start()
			checkQueue(t, w, c, "after the restart")
			var left []string
			for _, f := range must(feeds.List(t.Context())) {
				left = append(left, f.Subject)
			}
			if !slices.Equal(left, all) {
				t.Errorf("after a restart of the server the feeds are\n%q, before it\n%q", left, all)
			}
		})
	}
}

// checkQueue checks that every feed is still to be delivered: a message below the
// ack floor is not.
func checkQueue(t *testing.T, w *world, c *jet.Conn, when string) {
	t.Helper()
	js := must(jetstream.New(w.raw()))
	stream := must(js.Stream(t.Context(), c.Names().FeedsStream()))
	info := must(must(stream.Consumer(t.Context(), jet.PollConsumer)).Info(t.Context()))
	kept := must(stream.Info(t.Context())).State
	if waiting := uint64(info.NumAckPending) + info.NumPending; waiting != kept.Msgs || info.AckFloor.Stream >= kept.FirstSeq {
		t.Errorf("%s: %d feeds from %d on, of which %d are to be delivered, and the ack floor is at %d", when, kept.Msgs, kept.FirstSeq, waiting, info.AckFloor.Stream)
	}
}

// TestAWokenFeedIsDueAtOnceWithTheDataThatItHas: and one that is gone stays so.
func TestAWokenFeedIsDueAtOnceWithTheDataThatItHas(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	feeds, subject := c.Feeds(), feed(c, "me")
	if err := feeds.Wake(t.Context(), subject); err != nil || len(must(feeds.List(t.Context()))) != 0 {
		t.Errorf("a feed that is not there was woken: %v", err)
	}
	for i, want := range []bool{false, true} {
		if existed, err := feeds.Add(t.Context(), subject, fmt.Appendf(nil, "v%d", i)); err != nil || existed != want {
			t.Errorf("added for the %d. time: existed %t, %v", i+1, existed, err)
		}
	}
	polled := make(chan string, 10)
	stop := background(t, func(ctx context.Context) error {
		return feeds.Run(ctx, 1, func(_ context.Context, _ string, data []byte) jet.Next {
			polled <- string(data)
			return jet.Next{After: time.Hour}
		})
	})
	defer stop()
	arrives(t, polled)
	if err := feeds.Wake(t.Context(), subject); err != nil {
		t.Error(err)
	}
	if got := arrives(t, polled); got != "v0" {
		t.Errorf("the woken feed has %q", got)
	}
}
