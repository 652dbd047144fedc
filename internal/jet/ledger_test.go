package jet_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestARecordIsSavedOnlyOverTheOneThatWasLoaded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.connect().Ledger()
	if data, seq, err := l.Load(t.Context(), "p.1"); data != nil || seq != 0 || err != nil {
		t.Fatalf("a new command has %q, %d, %v", data, seq, err)
	}
	first, err := l.Save(t.Context(), "p.1", []byte("claimed"), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, after := range []uint64{0, first + 1} {
		if _, err := l.Save(t.Context(), "p.1", []byte("mine"), after); !errors.Is(err, jet.ErrConflict) || errors.Is(err, jet.ErrFenced) {
			t.Errorf("after %d: %v", after, err)
		}
	}
	second, err := l.Save(t.Context(), "p.1", []byte("done"), first)
	if err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.start()
	if data, seq, err := l.Load(t.Context(), "p.1"); string(data) != "done" || seq != second || err != nil {
		t.Errorf("loaded %q, %d, %v", data, seq, err)
	}
	if _, err := l.Save(t.Context(), "a b", nil, 0); fault.KindOf(err) != fault.Poison {
		t.Errorf("bad id: %v", err)
	}
}

func TestEveryRecordIsClaimedByOneWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const records, workers, rounds = 40, 3, 3
	var all sync.WaitGroup
	var mu sync.Mutex
	claims := map[string]int{}
	for range workers {
		c := w.connect()
		for i := range records {
			all.Go(func() {
				id := fmt.Sprintf("p.%d", i)
				for range rounds {
					data, seq, err := c.Ledger().Load(t.Context(), id)
					if err != nil {
						t.Error(err)
						return
					}
					n := 0
					if data != nil {
						n = must(strconv.Atoi(string(data)))
					}
					_, err = c.Ledger().Save(t.Context(), id, strconv.AppendInt(nil, int64(n+1), 10), seq)
					if err == nil {
						mu.Lock()
						claims[id]++
						mu.Unlock()
					} else if !errors.Is(err, jet.ErrConflict) {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	c := w.connect()
	for i := range records {
		id := fmt.Sprintf("p.%d", i)
		data, _, err := c.Ledger().Load(t.Context(), id)
		if err != nil || string(data) != strconv.Itoa(claims[id]) {
			t.Errorf("%s says %s, but %d saves were granted (%v)", id, data, claims[id], err)
		}
	}
}

func TestOutcomesAreWaitedForAndKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, sender := w.connect(), w.connect()
	if _, err := sender.Results().Get(t.Context(), "k1"); !errors.Is(err, jet.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	got := make(chan jet.Outcome, 1)
	go func() {
		o, err := sender.Results().Wait(t.Context(), "k1")
		if err != nil {
			t.Error(err)
		}
		got <- o
	}()
	for _, body := range []string{"first", "second"} {
		if err := c.Results().Put(t.Context(), "k1", jet.Header{"Status": {"202"}}, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if o := <-got; len(o.Data) == 0 || o.Header["Status"][0] != "202" || o.Time.IsZero() {
		t.Errorf("waited for %+v", o)
	}
	o, err := sender.Results().Wait(t.Context(), "k1")
	if err != nil || string(o.Data) != "second" {
		t.Errorf("got %s, %v", o.Data, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := sender.Results().Wait(ctx, "none"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing to wait for: %v", err)
	}
}

func TestAnOutcomeIsOnItsWayBeforeAnybodyWaitsForIt(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	stored := c.Results().Begin(t.Context(), "k1", jet.Header{"Status": {"202"}}, []byte("done"))
	if o, err := c.Results().Wait(withTimeout(t, 10*time.Second), "k1"); err != nil || string(o.Data) != "done" {
		t.Errorf("got %s, %v", o.Data, err)
	}
	if err := stored(); err != nil {
		t.Error(err)
	}
	if err := c.Results().Begin(t.Context(), "no id", nil, nil)(); fault.KindOf(err) != fault.Poison {
		t.Errorf("no id: %v", err)
	}
}

// Some of these go by themselves and some in batches, of which some are taken apart
// again.
func TestAllWhoStoreAtTheSameTimeAreAnswered(t *testing.T) {
	t.Parallel()
	c := newLateWorld(t).connect()
	ctx := withTimeout(t, 30*time.Second)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for j := range 80 {
				id := fmt.Sprintf("p.%d.%d", i, j)
				stored := c.Results().Begin(ctx, id, nil, []byte("x"))
				if _, err := c.Ledger().Save(ctx, id, []byte("x"), 0); err != nil {
					t.Error(err)
				}
				if err := stored(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

func TestACopyOfAnOutcomeGoesOnlyWhereItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	sub := must(w.raw().SubscribeSync("_INBOX.reply"))
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy comes", func() bool {
		if err := c.Reply(t.Context(), "_INBOX.reply", jet.Header{"a": {"b"}}, []byte("x")); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(50 * time.Millisecond)
		return err == nil && string(m.Data) == "x" && m.Header.Get("a") == "b"
	})
	for _, subject := range []string{"$JS.API.STREAM.DELETE.OUTLOOK_EVENTS", "outlook.publish.send-mail", "outlook.event.>", "", "a b"} {
		if err := c.Reply(t.Context(), subject, nil, nil); fault.KindOf(err) != fault.Poison {
			t.Errorf("%q: %v", subject, err)
		}
	}
}

func TestDeadLettersAreKeptListedAndRemoved(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	d := c.DeadLetters()
	command, event := must(c.Names().DeadCommand("send-mail")), must(c.Names().DeadEvent("inbox", "me"))
	for i, subject := range []string{command, event, command} {
		header := jet.Header{"Outlook-Error": {"no"}, "Nats-Msg-Id": {"the sender's"}, "Nats-Expected-Last-Sequence": {"99"}}
		for range 2 { // a repeat with the same id is dropped
			if err := d.Put(t.Context(), subject, fmt.Sprint(i), header, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		if header["Nats-Msg-Id"][0] != "the sender's" {
			t.Error("the caller's header was changed")
		}
	}
	list, err := d.List(t.Context(), "", 0)
	if err != nil || len(list) != 3 || list[1].Subject != event || string(list[2].Data) != "2" || list[0].Header["Outlook-Error"][0] != "no" {
		t.Fatalf("listed %+v, %v", list, err)
	}
	if list := must(d.List(t.Context(), command, 1)); len(list) != 1 || string(list[0].Data) != "0" {
		t.Errorf("filtered: %+v", list)
	}
	if counts := must(d.Count(t.Context())); counts[command] != 2 || counts[event] != 1 {
		t.Errorf("counted %v", counts)
	}
	if got, err := d.Get(t.Context(), list[1].Sequence); err != nil || got.Subject != event || got.Time.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := d.Delete(t.Context(), list[1].Sequence); err != nil {
		t.Error(err)
	}
	for _, err := range []error{d.Delete(t.Context(), list[1].Sequence), second(d.Get(t.Context(), list[1].Sequence)), second(d.Get(t.Context(), 99)), d.Delete(t.Context(), 99)} {
		if !errors.Is(err, jet.ErrNotFound) || fault.HintOf(err) == "" {
			t.Errorf("what is gone: %v", err)
		}
	}
	if counts := must(d.Count(t.Context())); len(counts) != 1 {
		t.Errorf("counted %v", counts)
	}
	if err := d.Put(t.Context(), "outlook.event.inbox.me", "1", nil, nil); fault.KindOf(err) != fault.Poison {
		t.Errorf("foreign subject: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
