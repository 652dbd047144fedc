package sandbox_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

func TestAFifthRequestAtOnceIsRefusedAndASixthTooEarlyIsAnOffence(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.RetryAfter(time.Minute))
	open := make(chan struct{})
	var inside atomic.Int32
	hold := w.KeepControl(sandbox.Match{Mailbox: ann, Method: "GET"}, func(r *sandbox.Request) bool {
		inside.Add(1)
		r.Hold(open)
		return true
	})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			if r, err := w.try(http.MethodGet, "/me/messages", ""); err != nil || r.status != 200 {
				t.Errorf("one of four: %v %v", r, err)
			}
		})
	}
	eventually(t, func() bool { return inside.Load() == 4 })
	r := w.get("/me/messages").is(429, "ApplicationThrottled")
	if r.header.Get("Retry-After") != "60" || !strings.Contains(string(r.raw), "MailboxConcurrency") {
		t.Errorf("%v %s", r.header, r.raw)
	}
	w.as(ben, allMail).get("/me/messages").is(200) // another mailbox has its own room
	close(open)
	wait.Wait()
	hold.Remove()
	w.get("/me/messages").is(200)
	st := w.Stats()
	if st.MaxConcurrency != 4 || st.Refused != 1 || st.Offences != 1 {
		t.Errorf("stats %+v", st)
	}
	log := w.Requests()
	if last := log[len(log)-1]; !last.Offence || last.Route != "/me/messages" || last.Mailbox != ann || last.Status != 200 {
		t.Errorf("log %+v", last)
	}
}

func TestAFaultsRetryAfterCountsAsWell(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Control(sandbox.Match{}, sandbox.FailBefore(429, "TooManyRequests", "2.5"))
	if got := w.get("/me/messages").is(429, "TooManyRequests").header.Get("Retry-After"); got != "2.5" {
		t.Errorf("Retry-After %s", got)
	}
	w.get("/me/messages").is(200)
	if st := w.Stats(); st.Offences != 1 {
		t.Errorf("stats %+v", st)
	}
}

func TestFaultsBeforeAndAfterTheEffect(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		fault  sandbox.ControlFunc
		status int // 0: no answer
		effect bool
	}{
		"fail before":  {sandbox.FailBefore(503, "ServiceUnavailable", "1"), 503, false},
		"fail after":   {sandbox.FailAfterEffect(504, "UnknownError"), 504, true},
		"reset before": {sandbox.ResetBeforeEffect(), 0, false},
		"reset after":  {sandbox.ResetAfterEffect(), 0, true},
		"delay":        {sandbox.Delay(20 * time.Millisecond), 202, true},
		"answer":       {sandbox.AnswerWith(200, "text/html", "<p>proxy</p>"), 200, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := start(t)
			w.t = t
			rule := w.Control(sandbox.Match{Method: "POST", Route: "/users/{id}/sendMail", Mailbox: "ANN@contoso.example"}, row.fault)
			w.get("/me/messages").is(200) // does not match
			began := time.Now()
			r, err := w.try(http.MethodPost, "/me/sendMail", sendMail("x", ben))
			if row.status == 0 && err == nil || row.status != 0 && (err != nil || r.status != row.status) {
				t.Errorf("answer %+v, error %v", r, err)
			}
			if name == "delay" && time.Since(began) < 20*time.Millisecond {
				t.Error("came too soon")
			}
			if got := len(w.Effects()) == 1; got != row.effect {
				t.Errorf("effect %v, want %v", got, row.effect)
			}
			<-rule.Used()
			if rule.Hits() != 1 {
				t.Errorf("%d hits", rule.Hits())
			}
			w.do(http.MethodPost, "/me/sendMail", sendMail("again", ben)).is(202) // it was for one request
			log := w.Requests()
			if i := slices.IndexFunc(log, func(c sandbox.Call) bool { return c.Fault }); i < 0 || log[i].Status != row.status {
				t.Errorf("log %+v", log)
			}
		})
	}
}

func TestALateAnswerIsOfWhatHappenedAtOnce(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Control(sandbox.Match{Route: "/me/sendMail"}, sandbox.LateAnswer(time.Hour))
	leave := w.sendAndLeave()
	eventually(t, func() bool { return len(w.Effects()) == 1 })
	leave()
}

func TestWhatWasWrittenIsNotShownYet(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.ControlN(sandbox.Match{}, 2, sandbox.NotShownYet())
	id := w.do(http.MethodPost, "/me/messages", `{"subject":"new"}`).is(201).str("id")
	if list := w.get("/me/messages").is(200).json["value"].([]any); len(list) != 0 {
		t.Errorf("%d items", len(list))
	}
	w.get("/me/messages/"+id).is(404, "ErrorItemNotFound")
	w.get("/me/messages/" + id).is(200)
}

func TestAControlFunctionMayLookOnAndAddAnother(t *testing.T) {
	t.Parallel()
	w := start(t)
	var seen []string
	w.KeepControl(sandbox.Match{}, func(r *sandbox.Request) bool {
		seen = append(seen, r.Route)
		return false
	})
	w.Control(sandbox.Match{Route: "/me/mailfolders/{x}/messages/delta"}, func(r *sandbox.Request) bool {
		w.Control(sandbox.Match{}, sandbox.FailBefore(410, "SyncStateNotFound", ""))
		return sandbox.FailBefore(429, "TooManyRequests", "0")(r)
	})
	w.get("/me/messages").is(200)
	w.get("/me/mailFolders/inbox/messages/delta").is(429)
	w.get("/me/mailFolders/inbox/messages/delta").is(410)
	w.get("/me/mailFolders/inbox/messages/delta").is(200)
	if want := "/me/mailFolders/{mailFolder-id}/messages/delta"; len(seen) != 4 || seen[3] != want {
		t.Errorf("seen %v", seen)
	}
}

func TestAOneShotFaultHitsOneOfManyRequests(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.MailboxConcurrency(100))
	w.ControlN(sandbox.Match{}, 3, sandbox.FailBefore(500, "generalException", ""))
	var failed atomic.Int32
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if r, err := w.try(http.MethodGet, "/me/messages", ""); err == nil && r.status == 500 {
				failed.Add(1)
			}
		})
	}
	wait.Wait()
	if failed.Load() != 3 {
		t.Errorf("%d failed", failed.Load())
	}
}

func TestTheSignInTakesFaultsToo(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, nil)
	token := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(200).str("refresh_token")
	w.Control(sandbox.Match{Route: "/{tenant}/oauth2/v2.0/token"}, sandbox.FailBefore(503, "temporarily_unavailable", "1"))
	w.post(w.TokenURL(), refreshForm(token)).is(503)
	w.Control(sandbox.Match{Route: "/{t}/oauth2/v2.0/token", Method: "POST"}, sandbox.ResetAfterEffect())
	if _, err := w.with("Content-Type", "application/x-www-form-urlencoded").try(http.MethodPost, w.TokenURL(), refreshForm(token).Encode()); err == nil {
		t.Error("no reset")
	}
	w.post(w.TokenURL(), refreshForm(token)).is(200)
}

// sendAndLeave sends a mail, and returns what ends the waiting for the answer: the
// client goes away then, and must have had none.
func (w *world) sendAndLeave() (leave func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.GraphURL()+"/me/sendMail", strings.NewReader(sendMail("late", ben)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Content-Type", "application/json")
	var wait sync.WaitGroup
	wait.Go(func() {
		if resp, err := w.client.Do(req); err == nil {
			w.t.Errorf("answered %d", resp.StatusCode)
			resp.Body.Close()
		}
	})
	return func() {
		cancel()
		wait.Wait()
	}
}

func TestTheEffectHappensThoughTheClientHasGone(t *testing.T) {
	t.Parallel()
	w := start(t)
	proceed := make(chan struct{})
	rule := w.Control(sandbox.Match{Route: "/me/sendMail"}, func(r *sandbox.Request) bool {
		r.Hold(proceed)
		return true
	})
	leave := w.sendAndLeave()
	<-rule.Used()
	leave()
	if len(w.Effects()) != 0 {
		t.Error("it happened too soon")
	}
	close(proceed)
	eventually(t, func() bool { return len(w.Effects()) == 1 })
}

func TestTheControlPort(t *testing.T) {
	t.Parallel()
	w := start(t)
	r := w.control(http.MethodPost, "deliver", `{"to":["ann@contoso.example","ben@contoso.example"],"subject":"n {n}","body":"b","count":3}`).is(200)
	if r.json["delivered"] != 3.0 {
		t.Errorf("%s", r.raw)
	}
	if got := w.in("inbox"); !slices.Equal(got, []string{"n 3", "n 2", "n 1"}) {
		t.Errorf("inbox %v", got)
	}
	w.control(http.MethodPost, "deliver", `{"to":"ann@contoso.example","subject":"one"}`).is(200)
	w.control(http.MethodPost, "deliver", `{"to":"nobody@contoso.example"}`).is(400)
	w.control(http.MethodPost, "deliver", `{"too":"x"}`).is(400)

	w.control(http.MethodPost, "faults", `{"match":{"method":"POST","route":"/me/sendMail"},"fault":{"kind":"fail_after","status":504,"code":"UnknownError"},"count":2}`).is(200)
	for range 2 {
		w.do(http.MethodPost, "/me/sendMail", sendMail("x", ben)).is(504, "UnknownError")
	}
	w.do(http.MethodPost, "/me/sendMail", sendMail("x", "out@fabrikam.example")).is(202)
	var effects []sandbox.Effect
	decode(t, w.control(http.MethodGet, "effects?kind=sent", "").is(200), &effects)
	if len(effects) != 3 || effects[0].Subject != "x" {
		t.Errorf("effects %+v", effects)
	}
	w.control(http.MethodPost, "faults", `{"match":{},"fault":{"kind":"fail_before"},"count":-1}`).is(200)
	w.get("/me/messages").is(503, "ServiceUnavailable")
	w.control(http.MethodDelete, "faults", "").is(200)
	w.get("/me/messages").is(200)
	for _, bad := range []string{`{}`, `{"fault":{"kind":"explode"}}`, `{"fault":{"kind":"delay","delay":"long"}}`, `{"fault":{"kind":"answer","status":99}}`, `x`} {
		w.control(http.MethodPost, "faults", bad).is(400)
	}
	var calls []sandbox.Call
	decode(t, w.control(http.MethodGet, "requests?last=1", "").is(200), &calls)
	if len(calls) != 1 || calls[0].Route != "/me/messages" || calls[0].Status != 200 || calls[0].Finished.Before(calls[0].Arrived) {
		t.Errorf("calls %+v", calls)
	}
	if r := w.control(http.MethodGet, "stats", "").is(200); r.json["requests"].(float64) < 5 {
		t.Errorf("stats %s", r.raw)
	}
	var boxes []sandbox.MailboxState
	decode(t, w.control(http.MethodGet, "mailboxes", "").is(200), &boxes)
	if len(boxes) != 4 || boxes[0].UPN != ann || boxes[0].Folders["inbox"] != 4 || boxes[1].Folders["inbox"] != 5 {
		t.Errorf("mailboxes %+v", boxes)
	}
	var stored []sandbox.Stored
	decode(t, w.control(http.MethodGet, "messages?mailbox=ann@contoso.example", "").is(200), &stored)
	if len(stored) != 4 || stored[3].Subject != "one" || stored[3].From != "sender@fabrikam.example" || stored[3].IsRead {
		t.Errorf("stored %+v", stored)
	}
	w.control(http.MethodGet, "messages?mailbox=nobody", "").is(400)
	if r := w.get(w.URL() + "/").is(200); !strings.Contains(string(r.raw), w.GraphURL()) || !strings.Contains(string(r.raw), cleo) {
		t.Errorf("welcome: %s", r.raw)
	}
	token := w.control(http.MethodPost, "token", `{"upn":"ben@contoso.example","scopes":"Mail.Read"}`).is(200).str("access_token")
	w.control(http.MethodPost, "token", `{"upn":"x","scopes":"Mail.Read"}`).is(400)
	w.token = token
	w.get("/me/messages").is(200)
	w.control(http.MethodPost, "expire-tokens", "").is(200)
	w.get("/me/messages").is(401)
	w.control(http.MethodPost, "expire-delta", `{"mailbox":"x"}`).is(400)
	w.control(http.MethodPost, "expire-delta", `{}`).is(200)
	w.control(http.MethodPost, "revoke", `{"upn":"ben@contoso.example"}`).is(200)
	w.control(http.MethodGet, "", "").is(200)
	w.control(http.MethodGet, "nonsense", "").is(404)
}

func TestAProbableFaultFollowsItsSeed(t *testing.T) {
	t.Parallel()
	run := func() string {
		w := start(t)
		w.control(http.MethodPost, "faults", `{"fault":{"kind":"fail_before"},"count":-1,"probability":0.5,"seed":3}`).is(200)
		var b strings.Builder
		for range 40 {
			fmt.Fprint(&b, w.get("/me/messages").status, " ")
		}
		return b.String()
	}
	a := run()
	if n := strings.Count(a, "503"); n < 8 || n > 32 || a != run() {
		t.Errorf("%s", a)
	}
}
