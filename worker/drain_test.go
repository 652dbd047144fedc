package worker_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
	"outlook-connector/worker"
)

// TestAGrantWakesTheFeedsThatWaitForIt: a feed without a grant is looked at once
// a minute. What arrived since the worker began is told all the same.
func TestAGrantWakesTheFeedsThatWaitForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deliver("before it began")
	until(t, "another second, which Graph's times tell apart", secondOver())
	r := w.start(w.config(setting{mailboxes: "me, " + ben})).ready()
	until(t, "both feeds to wait for a grant", func() bool {
		waiting := 0
		for _, f := range r.Status(t.Context()).Feeds {
			if strings.Contains(f.Hint, "auth login contoso") && time.Until(f.NextPoll) > 20*time.Second {
				waiting++
			}
		}
		return waiting == 2
	})
	w.deliver("before the grant")
	id := r.publish("send-mail", nil, mail("before the grant"))
	began := time.Now()
	r.grants()
	if got := subjectsOf(r.events(1)); got[0] != "before the grant" {
		t.Errorf("events %q", got)
	}
	r.primed()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the feeds were polled %s after the grant", took)
	}
	r.done(id)
	w.quietRounds(2)
	// ben's inbox has ann's mail, too.
	events := r.events(2)
	once(t, "events", []string{"before the grant", "before the grant"}, subjectsOf(events))
	once(t, "subjects", []string{"outlook.event.inbox.me", "outlook.event.inbox." + ben}, []string{events[0].Subject, events[1].Subject})
	if sent, n := w.sent(), r.stored(); len(sent) != 1 || n != 2 {
		t.Errorf("sent %q, %d events", sent, n)
	}
}

// TestStopFinishesWhatIsInHand has more commands than the mailbox takes at a
// time, each slow, and polls among them.
func TestStopFinishesWhatIsInHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{})
	r := w.start(c).signedIn().primed()
	var begun atomic.Int32
	slow := w.KeepControl(sendMail, func(r *sandbox.Request) bool {
		begun.Add(1)
		r.Delay(time.Second)
		return true
	})
	mails := numbered("in hand", 12)
	ids := make([]string, len(mails))
	for i, subject := range mails {
		ids[i] = r.publish("send-mail", nil, mail(subject))
	}
	until(t, "three requests at Graph", func() bool { return begun.Load() >= 3 })
	r.stop()
	slow.Remove()
	// What had begun was finished, and nothing began after that.
	if n := int(begun.Load()); n >= len(mails) || len(w.sent()) != n {
		t.Errorf("%d of %d requests had begun by the stop, %d mails were sent", n, len(mails), len(w.sent()))
	}
	w.deliver("while nobody runs")
	again := w.start(c).ready()
	for _, id := range ids {
		if got := again.done(id); got.Attempts != 1 {
			t.Errorf("outcome %+v, want one attempt", got)
		}
	}
	again.primed()
	w.quietRounds(2)
	once(t, "mails", mails, w.sent())
	once(t, "events", []string{"while nobody runs"}, subjectsOf(again.events(1)))
	if calls := w.calls(http.MethodPost, routeSend); len(calls) != len(mails) {
		t.Errorf("%d requests, want %d", len(calls), len(mails))
	}
	if letters := again.dead(); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
	if n, held := again.stored(), again.held(); n != 1 || held != 0 {
		t.Errorf("%d events, %d commands in the queue", n, held)
	}
}

// TestStopEndsWithItsContext has somebody who begins an HTTP request and does not
// end it. The other steps are done all the same.
func TestStopEndsWithItsContext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{})).ready()
	addresses := []string{hostOf(t, r.HTTPURL()), hostOf(t, r.NATSURL())}
	slow, err := net.Dial("tcp", addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := slow.Write([]byte("GET /livez HTTP/1.1\r\n")); err != nil {
		t.Fatal(err)
	}
	r.get("/livez") // by now the server has seen the other, too
	// The roles take half a second of it.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	err = r.Stop(ctx)
	if took := time.Since(began); took < 2*time.Second || took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stop http: ") {
		t.Errorf("stop: %v", err)
	}
	for _, address := range addresses {
		until(t, "nobody to listen at "+address, func() bool { return !listens(address) })
	}
	if role := r.Status(t.Context()).TokenRole; role != "stopped" {
		t.Errorf("the token store's role is %s", role)
	}
}

// TestAWorkerSaysOnceThatItStopped: whoever stops it again, as the failure of
// another part does, learns nothing from a second line.
func TestAWorkerSaysOnceThatItStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log bytes.Buffer
	r := w.make(w.config(setting{}), func(o *worker.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	r.stop()
	if strings.Contains(log.String(), "worker stopped") {
		t.Errorf("a worker that was not started says that it stopped:\n%s", &log)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.stop()
	r.stop()
	if n := strings.Count(log.String(), "worker stopped"); n != 1 {
		t.Errorf("it says %d times that it stopped:\n%s", n, &log)
	}
}
