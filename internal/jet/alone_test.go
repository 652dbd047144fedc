package jet_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestOutcomesThatAreStoredTogetherShareBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	c.PreferBatches()
	const commands = 200
	var all sync.WaitGroup
	for i := range commands {
		all.Go(func() {
			id := fmt.Sprintf("k%d", i)
			if err := c.Results().Put(t.Context(), id, jet.Header{"Status": {"202"}}, []byte(id)); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	all.Wait()
	for i := range commands {
		id := fmt.Sprintf("k%d", i)
		o, err := c.Results().Get(t.Context(), id)
		if err != nil || string(o.Data) != id || len(o.Header) != 1 {
			t.Errorf("%s: %s with %v, %v", id, o.Data, o.Header, err)
		}
	}
	stream := must(must(jetstream.New(w.raw())).Stream(t.Context(), "OUTLOOK_RESULT"))
	batches, batched := map[string]bool{}, 0
	for seq := range uint64(commands) {
		m := must(stream.GetMsg(t.Context(), seq+1))
		if id := m.Header.Get("Nats-Batch-Id"); id != "" {
			batches[id] = true
			batched++
		}
	}
	if batched < commands/2 || len(batches) > batched/4 {
		t.Errorf("%d of %d outcomes are in %d batches", batched, commands, len(batches))
	}
	// One that comes again takes the place of the first.
	if err := c.Results().Put(t.Context(), "k0", nil, []byte("again")); err != nil {
		t.Fatal(err)
	}
	if o, err := c.Results().Get(t.Context(), "k0"); err != nil || string(o.Data) != "again" {
		t.Errorf("%s, %v", o.Data, err)
	}
}

func TestOneThatIsTooLargeDoesNotSpoilTheOthersOfItsGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	c.PreferBatches()
	large := []byte(strings.Repeat("x", 2<<20)) // more than max_payload
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			id := fmt.Sprintf("p.%d", i)
			data, want := []byte(id), fault.Unknown
			if i%10 == 0 {
				data, want = large, fault.Poison
			}
			_, err := c.Ledger().Save(t.Context(), id, data, 0)
			if fault.KindOf(err) != want {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	all.Wait()
}

func TestNothingIsStoredForACallerThatHasStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	ctx := withTimeout(t, time.Nanosecond)
	<-ctx.Done()
	if err := c.Results().Put(ctx, "k1", nil, []byte("late")); !fault.Stopped(ctx, err) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Results().Get(t.Context(), "k1"); !errors.Is(err, jet.ErrNotFound) {
		t.Errorf("it is stored: %v", err)
	}
}

func TestAnOutcomeWithoutAServerIsARetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.Timeout = 300 * time.Millisecond })
	w.stop()
	if err := c.Results().Put(t.Context(), "k1", nil, []byte("never")); fault.KindOf(err) != fault.Retry {
		t.Errorf("got %v", err)
	}
}
