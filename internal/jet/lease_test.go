package jet_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestTheLeaseIsReplacedByCompareAndSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.dial().TokenLease(), w.dial().TokenLease() // no stream is made yet
	record, revision, _, err := one.Load(t.Context())
	if err != nil || revision != 0 || record != nil {
		t.Fatalf("before there is one: %s %d %v", record, revision, err)
	}
	first, err := one.Store(t.Context(), []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := two.Store(t.Context(), []byte("two"), 0); !errors.Is(err, jet.ErrConflict) || fault.KindOf(err) != fault.Retry {
		t.Errorf("a second first one: %v", err)
	}
	second, err := two.Store(t.Context(), []byte("two"), first)
	if err != nil || second <= first {
		t.Errorf("revision %d, %v", second, err)
	}
	if _, err := one.Store(t.Context(), []byte("one again"), first); !errors.Is(err, jet.ErrConflict) {
		t.Errorf("an old revision: %v", err)
	}
	if record, revision, age, err := one.Load(t.Context()); err != nil || string(record) != "two" || revision != second || age > 10*time.Second {
		t.Errorf("read %s at %d, %s old: %v", record, revision, age, err)
	}
}

func TestTheLeaseSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.dial()
	if _, _, _, err := c.TokenLease().Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	revision, err := c.TokenLease().Store(t.Context(), []byte("epoch 7"), 0)
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	began := time.Now()
	if _, _, _, err := c.TokenLease().Load(t.Context()); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("without a server: %v after %s", err, time.Since(began))
	}
	w.start()
	eventually(t, "the lease is there again", func() bool {
		record, again, _, err := c.TokenLease().Load(t.Context())
		return err == nil && string(record) == "epoch 7" && again == revision
	})
}

func TestManyTakersOfTheLeaseHaveOneWinner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heard := make(chan string, 64)
	watcher := w.connect()
	stop, err := watcher.TokenLease().Watch(func(record []byte) { heard <- string(record) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := watcher.NATS().Flush(); err != nil {
		t.Fatal(err)
	}
	var takers sync.WaitGroup
	var won atomic.Int32
	for i := range 8 {
		lease := w.dial().TokenLease()
		takers.Go(func() {
			if _, revision, _, err := lease.Load(t.Context()); err != nil || revision != 0 {
				return
			}
			if _, err := lease.Store(t.Context(), []byte(fmt.Sprint(i)), 0); err == nil {
				won.Add(1)
			}
		})
	}
	takers.Wait()
	if won.Load() != 1 {
		t.Errorf("%d processes have the lease", won.Load())
	}
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		t.Error("nobody heard of it")
	}
}

func TestAnswersWithTokensGoToInboxesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, raw := w.connect(), w.raw()
	background(t, func(ctx context.Context) error {
		return owner.ServeTokens(ctx, func(context.Context, string, []byte) []byte { return []byte("sealed") })
	})
	eventually(t, "the owner serves", func() bool { _, err := owner.AskToken(t.Context(), "contoso", nil); return err == nil })
	for _, c := range []struct {
		reply string
		want  bool
	}{
		{"outlook.publish.send-mail", false},
		{"elsewhere", false},
		{"_INBOXES.x", false},
		{"$JS.API.STREAM.PURGE.OUTLOOK_EVENTS", false},
		{nats.NewInbox(), true},
		{"_INBOX_ann.x", true},
	} {
		sub, err := raw.SubscribeSync(c.reply)
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.PublishRequest("outlook.token.v1.get.contoso", c.reply, nil); err != nil {
			t.Fatal(err)
		}
		// One that is answered comes after it, on the same way.
		if _, err := raw.Request("outlook.token.v1.get.contoso", nil, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		wait := 100 * time.Millisecond
		if c.want {
			wait = 10 * time.Second
		}
		if _, err := sub.NextMsg(wait); (err == nil) != c.want {
			t.Errorf("reply to %s: %v", c.reply, err)
		}
		_ = sub.Unsubscribe()
	}
}
