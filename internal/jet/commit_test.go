package jet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

// commit stores events first … first+n-1 of a mailbox where its cursor stands
// at after.
func commit(t *testing.T, c *jet.Conn, mailbox string, after uint64, numbers ...int) uint64 {
	t.Helper()
	seq, err := c.Commit(t.Context(), page(c, mailbox, after, numbers...))
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// page has one event for each number; its cursor is the last one.
func page(c *jet.Conn, mailbox string, after uint64, numbers ...int) jet.Page {
	p := jet.Page{CursorSubject: must(c.Names().Cursor("inbox", "-", mailbox)), After: after, Cursor: []byte("0")}
	for _, n := range numbers {
		text := strconv.Itoa(n)
		p.Events = append(p.Events, jet.Msg{
			Subject: must(c.Names().Event("inbox", mailbox)), TTL: time.Hour, Data: []byte(text),
			Header: jet.Header{"Outlook-Id": {text}},
		})
		p.Cursor = []byte(text)
	}
	return p
}

// stored returns the bodies of a mailbox's events in the order of the stream.
func stored(t *testing.T, w *world, mailbox string) []string {
	t.Helper()
	js := must(jetstream.New(w.raw()))
	stream := must(js.Stream(t.Context(), "OUTLOOK_EVENTS"))
	var list []string
	for seq := uint64(1); ; {
		m, err := stream.GetMsg(t.Context(), seq, jetstream.WithGetMsgSubject("outlook.event.inbox."+mailbox))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(m.Data))
		seq = m.Sequence + 1
	}
}

// checkRun says whether the events are exactly 1 … n in order.
func checkRun(t *testing.T, got []string, n int) {
	t.Helper()
	if len(got) != n {
		t.Errorf("%d events stored, want %d", len(got), n)
	}
	for i, text := range got {
		if text != strconv.Itoa(i+1) {
			t.Fatalf("event %d is %s: lost, repeated or out of order", i+1, text)
		}
	}
}

func TestACommitStoresThePageAndItsCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	subject := must(c.Names().Cursor("inbox", "-", "me"))
	if data, seq, err := c.Cursor(t.Context(), subject); data != nil || seq != 0 || err != nil {
		t.Fatalf("a new feed has cursor %q, %d, %v", data, seq, err)
	}
	first := commit(t, c, "me", 0, 1, 2, 3)
	second := commit(t, c, "me", first, 4)
	third := commit(t, c, "me", second) // only the cursor moves
	if first != 4 || second != 6 || third != 7 {
		t.Errorf("cursors at %d, %d, %d; want 4, 6, 7", first, second, third)
	}
	data, seq, err := c.Cursor(t.Context(), subject)
	if string(data) != "0" || seq != third || err != nil {
		t.Errorf("cursor %q, %d, %v", data, seq, err)
	}
	checkRun(t, stored(t, w, "me"), 4)
	if got := must(c.Status(t.Context()))[0].Messages; got != 5 {
		t.Errorf("%d messages stored: want 4 events and one cursor, older ones rolled up", got)
	}
}

func TestAStaleWorkerStoresNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	first := commit(t, c, "me", 0, 1, 2)
	commit(t, c, "me", first, 3)
	for _, after := range []uint64{0, first, 99} {
		seq, err := c.Commit(t.Context(), page(c, "me", after, 7, 8))
		if !errors.Is(err, jet.ErrFenced) || seq != 0 || fault.KindOf(err) != fault.Retry {
			t.Errorf("after %d: %d, %v", after, seq, err)
		}
		if _, err := c.Commit(t.Context(), page(c, "me", after)); !errors.Is(err, jet.ErrFenced) {
			t.Errorf("cursor alone after %d: %v", after, err)
		}
	}
	checkRun(t, stored(t, w, "me"), 3)
}

func TestRivalsOnOneFeedNeitherRepeatNorLose(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const last, rivals = 150, 3
	var all sync.WaitGroup
	for range rivals {
		c := w.connect()
		all.Go(func() { advance(t, c, "me", last, 4) })
	}
	all.Wait()
	checkRun(t, stored(t, w, "me"), last)
}

// advance is a worker: it reads the cursor and commits the next page until the
// cursor stands at last.
func advance(t *testing.T, c *jet.Conn, mailbox string, last, pageSize int) {
	t.Helper()
	ctx := t.Context()
	for {
		data, seq, err := c.Cursor(ctx, must(c.Names().Cursor("inbox", "-", mailbox)))
		if fault.KindOf(err) == fault.Retry {
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		at := 0
		if data != nil {
			at = must(strconv.Atoi(string(data)))
		}
		for at < last {
			var numbers []int
			for n := at + 1; n <= min(at+pageSize, last); n++ {
				numbers = append(numbers, n)
			}
			seq, err = c.Commit(ctx, page(c, mailbox, seq, numbers...))
			if errors.Is(err, jet.ErrFenced) || fault.KindOf(err) == fault.Retry {
				break
			}
			if err != nil {
				t.Error(err)
				return
			}
			at = numbers[len(numbers)-1]
		}
		if at >= last {
			return
		}
	}
}

func TestPagesOfManyFeedsShareBatches(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	const feeds, last = 40, 30
	var all sync.WaitGroup
	for i := range feeds {
		all.Go(func() { advance(t, c, fmt.Sprintf("m%d", i), last, 3) })
	}
	all.Wait()
	for i := range feeds {
		checkRun(t, stored(t, w, fmt.Sprintf("m%d", i)), last)
	}
	// Each batch has its own id: fewer batches than pages is the point.
	batches := map[string]bool{}
	err := c.Events(withTimeout(t, time.Second*10), "outlook.event.>", time.Unix(1, 0), func(e jet.Event) bool {
		if _, ok := e.Header["Nats-Batch-Id"]; ok {
			t.Error("a listener sees the headers of the batch")
		}
		return false
	})
	if err != nil {
		t.Error(err)
	}
	stream := must(must(jetstream.New(w.raw())).Stream(t.Context(), "OUTLOOK_EVENTS"))
	for seq := uint64(1); ; seq++ {
		m, err := stream.GetMsg(t.Context(), seq, jetstream.WithGetMsgSubject("outlook.event.>"))
		if err != nil {
			break
		}
		seq = m.Sequence
		batches[m.Header.Get("Nats-Batch-Id")] = true
	}
	if pages := feeds * last / 3; len(batches) > pages/2 {
		t.Errorf("%d pages took %d batches", pages, len(batches))
	}
}

func withTimeout(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestOneStalePageDoesNotSpoilTheOthersOfItsGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	commit(t, c, "stale", 0, 1)
	const good, rounds = 30, 10
	var all sync.WaitGroup
	for round := range rounds {
		for i := range good {
			all.Go(func() {
				mailbox := fmt.Sprintf("m%d-%d", round, i)
				if _, err := c.Commit(t.Context(), page(c, mailbox, 0, 1, 2)); err != nil {
					t.Errorf("%s: %v", mailbox, err)
				}
			})
			if i != good/2 {
				continue
			}
			all.Go(func() {
				if _, err := c.Commit(t.Context(), page(c, "stale", 77, 2)); !errors.Is(err, jet.ErrFenced) {
					t.Errorf("stale page: %v", err)
				}
			})
		}
		all.Wait()
	}
	checkRun(t, stored(t, w, "stale"), 1)
	checkRun(t, stored(t, w, "m0-0"), 2)
	if got := must(c.Status(t.Context()))[0].Messages; got != 2+rounds*good*3 {
		t.Errorf("%d messages stored, want %d", got, 2+rounds*good*3)
	}
}

func TestPagesThatNoBatchHoldsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	numbers := make([]int, jet.MaxPage+1)
	for i := range numbers {
		numbers[i] = i + 1
	}
	_, err := c.Commit(t.Context(), page(c, "me", 0, numbers...))
	if !errors.Is(err, jet.ErrPageTooBig) || fault.KindOf(err) != fault.Poison {
		t.Errorf("got %v", err)
	}
	commit(t, c, "me", 0, numbers[:jet.MaxPage]...)
	checkRun(t, stored(t, w, "me"), jet.MaxPage)

	p := page(c, "you", 0, 1)
	p.Events[0].Header["Nats-Msg-Id"] = []string{"1"}
	if _, err := c.Commit(t.Context(), p); fault.KindOf(err) != fault.Poison {
		t.Errorf("message id: %v", err)
	}
	p = page(c, "you", 0, 1)
	p.Events[0].Subject = "outlook.feed.inbox.-.you"
	if _, err := c.Commit(t.Context(), p); fault.KindOf(err) != fault.Poison {
		t.Errorf("foreign subject: %v", err)
	}
}

func TestALargeBodyGoesToTheObjectStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	p := page(c, "me", 0, 1, 2)
	large := bytes.Repeat([]byte("x"), 3<<20)
	p.Events[1].Data = large
	if _, err := c.Commit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if len(p.Events[1].Data) != len(large) || len(p.Events[1].Header) != 1 {
		t.Error("the caller's page was changed")
	}
	var got []jet.Event
	err := c.Events(withTimeout(t, 10*time.Second), "outlook.event.>", time.Unix(1, 0), func(e jet.Event) bool {
		got = append(got, e)
		return len(got) < 2
	})
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ ID string }
	if err := json.Unmarshal(got[1].Data, &body); err != nil || body.ID != "2" {
		t.Errorf("body %s", got[1].Data)
	}
	name := got[1].Header[jet.BlobHeader][0]
	if !strings.HasPrefix(name, "OUTLOOK_BLOB/") || len(got[1].Header[jet.BlobSumHeader][0]) != 64 {
		t.Errorf("header %v", got[1].Header)
	}
	if data, err := c.GetBlob(t.Context(), name); err != nil || !bytes.Equal(data, large) {
		t.Errorf("%d bytes read back, %v", len(data), err)
	}
	if err := c.DeleteBlob(t.Context(), name); err != nil {
		t.Error(err)
	}
	if err := c.DeleteBlob(t.Context(), name); err != nil {
		t.Errorf("deleting again: %v", err)
	}
	if _, err := c.GetBlob(t.Context(), name); !errors.Is(err, jet.ErrNotFound) {
		t.Errorf("after the deletion: %v", err)
	}
	if _, err := c.GetBlob(t.Context(), "OTHER/x"); fault.KindOf(err) != fault.Poison {
		t.Errorf("foreign bucket: %v", err)
	}
}

func TestAFullStreamHoldsTheFeedAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.EventsMaxBytes = 64 << 10 })
	p := page(c, "me", 0, 1)
	p.Events[0].Data = bytes.Repeat([]byte("x"), 20<<10)
	var seq uint64
	var err error
	for n := 0; err == nil && n < 10; n++ {
		p.After = seq
		var next uint64
		if next, err = c.Commit(t.Context(), p); err == nil {
			seq = next
		}
	}
	if marked := fault.Of(err); marked == nil || marked.Kind != fault.Retry || marked.Code != "store_full" || marked.Hint == "" || marked.Ambiguous {
		t.Fatalf("got %+v", marked)
	}
	if _, at, err := c.Cursor(t.Context(), p.CursorSubject); at != seq || err != nil {
		t.Errorf("cursor at %d, want %d (%v)", at, seq, err)
	}
	// A page alone in its batch is refused the same way.
	p.Events, p.Cursor = nil, p.Events[0].Data
	p.After = seq
	if _, err := c.Commit(t.Context(), p); fault.Of(err).Code != "store_full" {
		t.Errorf("cursor alone: %v", err)
	}
}

func TestEventsExpireAndCursorsStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	p := page(c, "me", 0, 1, 2)
	p.Events[0].TTL, p.Events[1].TTL = 10*time.Millisecond, 0
	seq, err := c.Commit(t.Context(), p) // rounded up to one second
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event expires", func() bool { return len(stored(t, w, "me")) == 1 })
	for range 2 {
		w.stop()
		w.start()
		if _, at, err := c.Cursor(t.Context(), p.CursorSubject); at != seq || err != nil {
			t.Fatalf("after a restart the cursor is at %d (%v), want %d", at, err, seq)
		}
	}
}

func TestARestartOfTheServerLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, rival := w.connect(), w.connect()
	const feeds, last = 6, 120
	var all sync.WaitGroup
	for i := range feeds {
		all.Go(func() { advance(t, c, fmt.Sprintf("m%d", i), last, 3) })
	}
	all.Go(func() { advance(t, rival, "m0", last, 2) })
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	restarts := 0
	for running := true; running && restarts < 3; {
		select {
		case <-done:
			running = false
		case <-time.After(60 * time.Millisecond):
			w.stop()
			w.start()
			restarts++
		}
	}
	<-done
	if restarts == 0 {
		t.Error("the server was never restarted: nothing was tested")
	}
	for i := range feeds {
		checkRun(t, stored(t, w, fmt.Sprintf("m%d", i)), last)
	}
}

func TestACommitWhoseAnswerIsLostFindsItsPageStored(t *testing.T) {
	t.Parallel()
	for _, events := range [][]int{{1, 2}, nil} {
		w := newWorld(t)
		// The lost connection is what ends the wait, not the timeout.
		c := w.connect(func(o *jet.Options) { o.Timeout = time.Minute })
		p := page(c, "me", 0, events...)
		w.mute()
		type result struct {
			seq uint64
			err error
		}
		got := make(chan result, 1)
		go func() {
			seq, err := c.Commit(t.Context(), p)
			got <- result{seq, err}
		}()
		other := w.connect()
		eventually(t, "the page is stored", func() bool {
			_, seq, err := other.Cursor(t.Context(), p.CursorSubject)
			return err == nil && seq > 0
		})
		w.cut()
		select {
		case r := <-got:
			if r.err != nil || r.seq != uint64(len(events)+1) {
				t.Errorf("%d events: got %d, %v", len(events), r.seq, r.err)
			}
		case <-time.After(15 * time.Second):
			t.Fatal("still waiting for an answer on a connection that is gone")
		}
	}
}

func TestALedgerRecordWhoseAnswerIsLostIsNoConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	w.mute()
	saved := make(chan error, 1)
	go func() {
		_, err := c.Ledger().Save(t.Context(), "p.1", []byte("claimed"), 0)
		saved <- err
	}()
	other := w.connect()
	eventually(t, "the record is stored", func() bool {
		_, seq, err := other.Ledger().Load(t.Context(), "p.1")
		return err == nil && seq > 0
	})
	w.cut()
	if err := <-saved; err != nil {
		t.Errorf("got %v: a worker would take its own claim for another's", err)
	}
}

func TestACommitWithoutAServerIsARetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.Timeout = 300 * time.Millisecond })
	w.stop()
	_, err := c.Commit(t.Context(), page(c, "me", 0, 1))
	if fault.KindOf(err) != fault.Retry || errors.Is(err, jet.ErrFenced) {
		t.Errorf("got %v", err)
	}
	if c.Ready() == nil {
		t.Error("ready without a server")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Commit(ctx, page(c, "me", 0, 1)); !fault.Stopped(ctx, err) {
		t.Errorf("a caller that stopped gets %v", err)
	}
}
