package jet_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestTokensAreAskedOfTheirOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, worker := w.connect(), w.connect()
	_, err := worker.AskToken(t.Context(), "contoso", nil)
	if !errors.Is(err, jet.ErrNoOwner) || fault.KindOf(err) != fault.Retry || fault.HintOf(err) == "" {
		t.Errorf("without an owner: %v", err)
	}
	stop := background(t, func(ctx context.Context) error {
		return owner.ServeTokens(ctx, func(_ context.Context, client string, request []byte) []byte {
			return []byte(client + " " + string(request))
		})
	})
	eventually(t, "the owner serves", func() bool { _, err := worker.AskToken(t.Context(), "contoso", nil); return err == nil })
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			request := fmt.Sprint(i)
			got, err := worker.AskToken(t.Context(), "contoso", []byte(request))
			if err != nil || string(got) != "contoso "+request {
				t.Errorf("asked %s, got %s (%v)", request, got, err)
			}
		})
	}
	all.Wait()
	for _, client := range []string{"", "*", "a.b"} {
		if _, err := worker.AskToken(t.Context(), client, nil); fault.KindOf(err) != fault.Poison {
			t.Errorf("client %q: %v", client, err)
		}
	}
	stop()
	if _, err := worker.AskToken(t.Context(), "contoso", nil); !errors.Is(err, jet.ErrNoOwner) {
		t.Errorf("after the owner stopped: %v", err)
	}
}

func TestOneSlowTokenDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, worker := w.connect(), w.connect()
	background(t, func(ctx context.Context) error {
		return owner.ServeTokens(ctx, func(ctx context.Context, client string, _ []byte) []byte {
			if client == "slow" {
				<-ctx.Done()
			}
			return []byte("token")
		})
	})
	eventually(t, "the owner serves", func() bool { _, err := worker.AskToken(t.Context(), "quick", nil); return err == nil })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	slow := make(chan error, 1)
	go func() { _, err := worker.AskToken(ctx, "slow", nil); slow <- err }()
	if _, err := worker.AskToken(t.Context(), "quick", nil); err != nil {
		t.Error(err)
	}
	if err := <-slow; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestAListenerSeesWhatCameAndWhatComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	seq := commit(t, c, "me", 0, 1, 2)
	commit(t, c, "you", 0, 9)
	got := make(chan jet.Event, 10)
	stop := background(t, func(ctx context.Context) error {
		return c.Events(ctx, must(c.Names().Events("inbox", "me")), time.Now().Add(-time.Hour), func(e jet.Event) bool {
			got <- e
			return true
		})
	})
	for _, want := range []string{"1", "2"} {
		if e := <-got; string(e.Data) != want || e.Header["Outlook-Id"][0] != want || len(e.Header) != 2 || e.Sequence == 0 || e.Time.IsZero() {
			t.Errorf("want %s, got %+v", want, e)
		}
	}
	seq = commit(t, c, "me", seq, 3)
	if e := <-got; string(e.Data) != "3" {
		t.Errorf("got %+v", e)
	}
	w.stop()
	w.start()
	eventually(t, "a page is stored after the restart", func() bool {
		// The first one may meet the old connection: it is ambiguous then, and the
		// cursor tells.
		if _, err := c.Commit(t.Context(), page(c, "me", seq, 4)); err == nil {
			return true
		}
		_, at, err := c.Cursor(t.Context(), must(c.Names().Cursor("inbox", "-", "me")))
		return err == nil && at != seq
	})
	if e := <-got; string(e.Data) != "4" {
		t.Errorf("after a restart: %+v", e)
	}
	stop()

	fresh := make(chan jet.Event, 10)
	listening := background(t, func(ctx context.Context) error {
		return c.Events(ctx, "outlook.event.>", time.Time{}, func(e jet.Event) bool { fresh <- e; return true })
	})
	at := uint64(0)
	eventually(t, "a new event is seen", func() bool {
		at = commit(t, c, "they", at, 5)
		select {
		case e := <-fresh:
			if string(e.Data) != "5" {
				t.Errorf("an old event came: %+v", e)
			}
			return true
		case <-time.After(20 * time.Millisecond):
			return false
		}
	})
	listening()
}
