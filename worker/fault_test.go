package worker_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/health"
	"outlook-connector/internal/sandbox"
)

var (
	sendMail = sandbox.Match{Method: http.MethodPost, Route: routeSend}
	polls    = sandbox.Match{Method: http.MethodGet, Route: routeDelta}
)

func TestAThrottledMailIsSentOnceInTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{})).signedIn().primed()
	w.Control(sendMail, sandbox.FailBefore(429, "TooManyRequests", "2"))
	got := r.done(r.publish("send-mail", nil, mail("throttled")))
	if got.Attempts != 2 || got.Status != 202 {
		t.Errorf("outcome %+v", got)
	}
	calls := w.calls(http.MethodPost, routeSend)
	if len(calls) != 2 || calls[0].Status != 429 || calls[1].Arrived.Sub(calls[0].Finished) < 2*time.Second {
		t.Errorf("calls %+v", calls)
	}
	// Neither the command nor a poll came before the time was over.
	if s := w.Stats(); s.Offences != 0 || len(w.sent()) != 1 {
		t.Errorf("%d offences, sent %q", s.Offences, w.sent())
	}
	if letters := r.dead(); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

// TestAMailOfUnknownEffectIsNeverSentAgain: nobody knows whether it was sent, so
// it is one dead letter and no second mail.
func TestAMailOfUnknownEffectIsNeverSentAgain(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		fault   sandbox.ControlFunc
		effects int
		status  int
	}{
		"503 before the effect":   {sandbox.FailBefore(503, "ServiceUnavailable", "1"), 0, 503},
		"504 after the effect":    {sandbox.FailAfterEffect(504, "UnknownError"), 1, 504},
		"reset before the effect": {sandbox.ResetBeforeEffect(), 0, 0},
		"reset after the effect":  {sandbox.ResetAfterEffect(), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.start(w.config(setting{})).signedIn()
			w.Control(sendMail, row.fault)
			id := r.publish("send-mail", nil, mail("who knows"))
			got := r.outcome(id)
			if got.Outcome != "uncertain" || got.Attempts != 1 || got.Status != row.status || got.Error == nil ||
				got.Error.Code != "uncertain_effect" || !strings.Contains(got.Error.Hint, "look in the mailbox") {
				t.Errorf("outcome %+v %+v", got, got.Error)
			}
			if got.ClientRequestID == "" || got.ClientRequestID != w.calls(http.MethodPost, routeSend)[0].ClientRequestID {
				t.Errorf("the client-request-id, by which the request can be found, is %q", got.ClientRequestID)
			}
			until(t, "an empty queue", func() bool { return r.held() == 0 })
			r.done(r.publish("send-mail", nil, mail("the queue goes on")))
			w.quietRounds(2)
			if n := len(w.calls(http.MethodPost, routeSend)); n != 2 {
				t.Errorf("%d requests, want one for each mail", n)
			}
			want := append(slices.Repeat([]string{"who knows"}, row.effects), "the queue goes on")
			if sent := w.sent(); !slices.Equal(sent, want) {
				t.Errorf("sent %q, want %q", sent, want)
			}
			if letters := r.dead(); len(letters) != 1 || letters[0].ID != id || letters[0].Reason != "uncertain_effect" {
				t.Errorf("dead letters %+v", letters)
			}
			if n := r.counted(`outlook_commands_total{outcome="uncertain",publisher="send-mail"}`); n != 1 {
				t.Errorf("%d uncertain ones counted", n)
			}
		})
	}
}

// TestWhatMayBeRepeatedIs: PATCH sets what is set already, and a DELETE of what
// is gone has had its effect.
func TestWhatMayBeRepeatedIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{publishers: write})).signedIn().primed()
	w.deliver("a mail")
	id := first(r.events(1)[0].Header["Outlook-Id"])
	const route = "/me/messages/{message-id}"

	w.Control(sandbox.Match{Method: http.MethodPatch, Route: route}, sandbox.FailBefore(503, "ServiceUnavailable", "1"))
	got := r.done(r.publish("write", nil, fmt.Sprintf(`{"entity": "mail.message.update", "path": {"message-id": %q}, "payload": {"isRead": true}}`, id)))
	if box := w.folder("inbox"); got.Attempts != 2 || got.Status != 200 || !box[0].IsRead {
		t.Errorf("PATCH: %+v, inbox %+v", got, box)
	}
	const gone = "/me/messages/{message-id}/permanentDelete"
	w.Control(sandbox.Match{Method: http.MethodDelete, Route: route}, sandbox.ResetAfterEffect())
	w.Control(sandbox.Match{Method: http.MethodPost, Route: gone}, sandbox.ResetAfterEffect())
	got = r.done(r.publish("write", nil, fmt.Sprintf(`{"entity": "mail.message.delete", "path": {"message-id": %q}}`, id)))
	if in, bin := w.folder("inbox"), w.folder("deleteditems"); got.Attempts != 1 || !got.Found || len(in) != 0 || len(bin) != 1 {
		t.Errorf("DELETE: %+v, inbox %+v, deleted items %+v", got, in, bin)
	}
	if letters := r.dead(); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
}

func TestARejectedTokenCostsOneRefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{})).signedIn().primed()
	w.ExpireAccessTokens()
	mails := numbered("rejected", 6)
	r.sendAll(mails)
	w.quietRounds(2)
	if n := len(w.calls(http.MethodPost, routeToken)); n != 2 {
		t.Errorf("%d token requests, want that of the sign-in and one refresh", n)
	}
	once(t, "mails", mails, w.sent())
	if n := r.counted(`outlook_token_refreshes_total{client="contoso",result="ok"}`); n != 1 {
		t.Errorf("%d refreshes counted", n)
	}
	if c := r.condition("grant/contoso"); !c.OK {
		t.Errorf("condition %+v", c)
	}
}

func TestALostDeltaTokenTellsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deliver("before it began") // never told: start is now
	until(t, "another second, which Graph's times tell apart", secondOver())
	r := w.start(w.config(setting{})).signedIn().primed()
	early := r.told(3, "early")
	gone := w.KeepControl(polls, sandbox.FailBefore(503, "ServiceUnavailable", "1")) // while both happen
	w.deliver("late 00", "late 01")
	if !w.ExpireDelta(ann) {
		t.Fatal("no such mailbox")
	}
	gone.Remove()
	want := append(early, "late 00", "late 01")
	once(t, "events", want, subjectsOf(r.events(len(want))))
	r.primed()
	w.quietRounds(3)
	if n := r.stored(); n != len(want) {
		t.Errorf("%d events, want %d: %q", n, len(want), subjectsOf(r.events(n)))
	}
	if n := r.counted(`outlook_polls_total{result="resync",subscription="inbox"}`); n != 1 {
		t.Errorf("%d polls found the token lost, want 1", n)
	}
}

// secondOver is true once the clock shows another second.
func secondOver() func() bool {
	began := time.Now().Unix()
	return func() bool { return time.Now().Unix() > began }
}

// TestWhileGraphIsAwayTheFeedSaysSo closes the sandbox and starts it again at
// the same address, with the mailboxes as they were.
func TestWhileGraphIsAwayTheFeedSaysSo(t *testing.T) {
	t.Parallel()
	dir, address := t.TempDir(), freeAddress(t)
	w := newWorld(t, sandbox.StoreDir(dir), sandbox.Listen(address))
	r := w.start(w.config(setting{})).signedIn().primed()
	if c := r.condition("feeds/contoso"); !c.OK {
		t.Errorf("condition %+v while all is well", c)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	until(t, "the condition to fail", func() bool { return !r.condition("feeds/contoso").OK })
	// Not before: a request on a connection of which nobody has noticed that it
	// is closed has an unknown effect.
	waiting := r.publish("send-mail", nil, mail("while Graph is away"))
	c := r.condition("feeds/contoso")
	if c.Severity != health.Degraded || !strings.Contains(c.Cause, "inbox/me") || !strings.Contains(c.Cause, "refused") {
		t.Errorf("condition %+v", c)
	}
	if code, ready, _ := r.readyz(); code != http.StatusOK || !ready {
		t.Errorf("readyz %d: the process is not to be restarted for it", code)
	}
	if f := r.status().Feeds[0]; !strings.Contains(f.Error, "refused") || !f.NextPoll.After(f.LastPoll) {
		t.Errorf("feed %+v", f)
	}
	until(t, "the command to be tried in vain", func() bool { return r.counted(`outlook_graph_retries_total{client="contoso",reason="network"}`) >= 4 })
	again, err := sandbox.New(sandbox.StoreDir(dir), sandbox.Listen(address))
	if err != nil {
		t.Fatal(err)
	}
	w.Sandbox = again
	if err := w.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.deliver("Graph is back")
	if got := subjectsOf(r.events(1)); got[0] != "Graph is back" {
		t.Errorf("events %q", got)
	}
	until(t, "the condition to clear", func() bool { return r.condition("feeds/contoso").OK })
	if got := r.done(waiting); got.Attempts < 2 || len(w.sent()) != 1 {
		t.Errorf("outcome %+v, sent %q", got, w.sent())
	}
	if f := r.status().Feeds[0]; f.Error != "" {
		t.Errorf("feed %+v", f)
	}
}
