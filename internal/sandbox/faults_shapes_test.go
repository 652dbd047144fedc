package sandbox_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// raw asks with a connection of its own and gives back all that came, and how it
// ended.
func (w *world) raw(path string) (*http.Response, string, error) {
	w.t.Helper()
	host := strings.TrimPrefix(w.URL(), "http://")
	var d net.Dialer
	conn, err := d.DialContext(w.t.Context(), "tcp", host)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(conn, "GET /v1.0%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, host, w.token)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, string(b), err
}

func TestBodiesThatEndTooSoon(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, row := range map[string]struct {
		fault sandbox.ControlFunc
		bytes int
		end   error
	}{
		"truncated":          {sandbox.Truncate(5), 5, io.ErrUnexpectedEOF},
		"head only":          {sandbox.Truncate(0), 0, io.ErrUnexpectedEOF},
		"all but the last":   {sandbox.Truncate(1 << 20), -1, io.ErrUnexpectedEOF},
		"reset in the body":  {sandbox.ResetInBody(7), 7, syscall.ECONNRESET},
		"reset at its start": {sandbox.ResetInBody(0), 0, syscall.ECONNRESET},
	} {
		w.Control(sandbox.Match{}, row.fault)
		resp, body, err := w.raw("/me/mailFolders/inbox")
		if !errors.Is(err, row.end) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := row.bytes
		if want < 0 {
			want = int(resp.ContentLength) - 1
		}
		if resp.StatusCode != http.StatusOK || len(body) != want || resp.ContentLength <= int64(want) {
			t.Errorf("%s: %d, %d of %d bytes", name, resp.StatusCode, len(body), resp.ContentLength)
		}
	}
	w.Control(sandbox.Match{}, sandbox.Truncate(3))
	w.get(w.URL() + "/") // not Graph's: no fault
	if _, err := w.try(http.MethodPost, "/me/sendMail", sendMail("x", ben)); err != nil {
		t.Errorf("an answer without a body: %v", err)
	}
	if log := w.Requests(); !log[len(log)-1].Fault || len(w.Effects()) != 1 {
		t.Errorf("log %+v", log)
	}
}

func TestABodyThatComesSlowlyEndsWithTheSandbox(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Control(sandbox.Match{}, sandbox.Dribble(20, time.Millisecond))
	began := time.Now()
	r := w.get("/me/mailFolders/inbox").is(200)
	if took := time.Since(began); took < time.Duration(len(r.raw)/20-1)*time.Millisecond || r.str("displayName") != "Inbox" {
		t.Errorf("%s after %s", r.raw, took)
	}
	rule := w.Control(sandbox.Match{}, sandbox.Dribble(1, time.Hour))
	done := make(chan error, 1)
	go func() {
		_, err := w.try(http.MethodGet, "/me/mailFolders/inbox", "")
		done <- err
	}()
	<-rule.Used()
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("the answer was whole")
	}
}

func TestAConnectionThatGoesBehindItsAnswer(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Control(sandbox.Match{}, sandbox.DropConnection())
	resp, body, err := w.raw("/me/mailFolders/inbox")
	if err != nil || resp.Close || !strings.Contains(body, "Inbox") {
		t.Fatalf("%v %v %s", resp, err, body)
	}
	host := strings.TrimPrefix(w.URL(), "http://")
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w.Control(sandbox.Match{}, sandbox.DropConnection())
	fmt.Fprintf(conn, "GET /v1.0/me/mailFolders/inbox HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", w.token)
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if all, err := io.ReadAll(conn); err != nil || !strings.Contains(string(all), "Inbox") {
		t.Errorf("%v: it did not end", err)
	}
}

func TestAnswersThatAreNotWhatTheyShouldBe(t *testing.T) {
	t.Parallel()
	w := start(t)
	bad := func(r *reply) bool { var v any; return json.Unmarshal(r.raw, &v) != nil }
	for name, row := range map[string]struct {
		fault string
		ok    func(*reply) bool
		sent  int
	}{
		"page": {`{"kind":"html_page"}`, func(r *reply) bool { return r.status == 502 && strings.Contains(string(r.raw), "<html>") && bad(r) }, 0},
		"wall": {`{"kind":"html_page","status":200}`, func(r *reply) bool {
			return r.status == 200 && strings.HasPrefix(r.header.Get("Content-Type"), "text/html")
		}, 0},
		"page after":   {`{"kind":"html_page_after","status":504}`, func(r *reply) bool { return r.status == 504 && bad(r) }, 1},
		"empty":        {`{"kind":"empty_body"}`, func(r *reply) bool { return r.status == 201 && len(r.raw) == 0 }, 1},
		"half":         {`{"kind":"half_json"}`, func(r *reply) bool { return r.status == 201 && len(r.raw) > 10 && bad(r) }, 1},
		"other":        {`{"kind":"other_json"}`, func(r *reply) bool { return r.status == 201 && string(r.raw) == `["unexpected"]` }, 1},
		"other text":   {`{"kind":"other_json","body":"{}"}`, func(r *reply) bool { return string(r.raw) == `{}` }, 1},
		"content type": {`{"kind":"content_type"}`, func(r *reply) bool { return r.header.Get("Content-Type") == "text/html" && !bad(r) }, 1},
		"header":       {`{"kind":"header","name":"Retry-After","value":"7"}`, func(r *reply) bool { return r.status == 201 && r.header.Get("Retry-After") == "7" }, 1},
		"fail after":   {`{"kind":"fail_after","status":503,"retry_after":"9"}`, func(r *reply) bool { return r.status == 503 && r.header.Get("Retry-After") == "9" }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.Effects())
			w.control(http.MethodPost, "faults", `{"match":{"method":"POST"},"fault":`+row.fault+`}`).is(200)
			// A request of bytes, since the helper minds bad JSON.
			r := w.plain(http.MethodPost, "/me/messages", mail("x", ben))
			if !row.ok(r) {
				t.Errorf("%d %v %s", r.status, r.header, r.raw)
			}
			if n := len(w.Effects()) - before; n != row.sent {
				t.Errorf("%d effects", n)
			}
		})
	}
}

// plain sends a request and reads whatever comes, without following redirects.
func (w *world) plain(method, path, body string) *reply {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.GraphURL()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Transport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &reply{t: w.t, status: resp.StatusCode, header: resp.Header, raw: raw}
}

func TestShapesOfRetryAfter(t *testing.T) {
	t.Parallel()
	w := start(t)
	for _, row := range []struct {
		status  int
		shape   sandbox.RetryShape
		wait    time.Duration
		want    string
		offence bool
	}{
		{429, sandbox.RetrySeconds, 1500 * time.Millisecond, "2", true},
		{429, sandbox.RetryFraction, 2500 * time.Millisecond, "2.5", true},
		{503, sandbox.RetryAbsent, time.Second, "", false},
		{504, sandbox.RetryEndless, time.Second, "99999999", false},
		{509, sandbox.RetryNegative, time.Second, "-1", false},
		{429, sandbox.RetryWord, time.Second, "soon", false},
		{429, sandbox.RetryDate, time.Minute, "date", true},
	} {
		t.Run(string(row.shape), func(t *testing.T) {
			// Each in its own mailbox and world of offences.
			w := start(t)
			w.Control(sandbox.Match{}, sandbox.Throttle(row.status, row.shape, row.wait))
			r := w.get("/me/messages").is(row.status)
			got := r.header.Get("Retry-After")
			if at, err := http.ParseTime(got); err == nil && time.Until(at) > 58*time.Second && time.Until(at) < 62*time.Second {
				got = "date"
			}
			if got != row.want {
				t.Errorf("Retry-After %q, want %q", got, row.want)
			}
			w.get("/me/messages").is(200)
			if st := w.Stats(); st.Offences == 1 != row.offence {
				t.Errorf("offences %d", st.Offences)
			}
		})
	}
	w.control(http.MethodPost, "faults", `{"fault":{"kind":"throttle","status":509,"shape":"date","wait":"3s"}}`).is(200)
	if r := w.get("/me/messages").is(509, "BandwidthLimitExceeded"); r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	w.control(http.MethodPost, "faults", `{"fault":{"kind":"throttle"}}`).is(200)
	w.get("/me/messages").is(429, "TooManyRequests")
	w.control(http.MethodPost, "faults", `{"fault":{"kind":"throttle","shape":"round"}}`).is(400)
	w.control(http.MethodPost, "faults", `{"fault":{"kind":"throttle","wait":"-1s"}}`).is(400)
}

func TestA202WithRetryAfterIsNoOrderToWait(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.Control(sandbox.Match{}, sandbox.AddHeader("Retry-After", "30"))
	if r := w.do(http.MethodPost, "/me/sendMail", sendMail("x", ben)).is(202); r.header.Get("Retry-After") != "30" {
		t.Errorf("%v", r.header)
	}
	w.get("/me/messages").is(200)
	if st := w.Stats(); st.Offences != 0 || len(w.Effects()) != 1 {
		t.Errorf("%+v", st)
	}
}

func TestARedirectToAnotherHost(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.control(http.MethodPost, "faults", `{"fault":{"kind":"redirect","location":"https://elsewhere.example/v1.0/me"}}`).is(200)
	if r := w.plain(http.MethodPost, "/me/sendMail", sendMail("x", ben)); r.status != 302 || r.header.Get("Location") != "https://elsewhere.example/v1.0/me" {
		t.Errorf("%d %v", r.status, r.header)
	}
	w.Control(sandbox.Match{}, sandbox.Redirect(307, w.GraphURL()+"/me/mailFolders/inbox"))
	w.get("/me/mailFolders/drafts").is(200)
	if len(w.Effects()) != 0 {
		t.Error("there was an effect")
	}
	w.control(http.MethodPost, "faults", `{"fault":{"kind":"redirect"}}`).is(400)
}

func TestLinksThatLeadNowhereGood(t *testing.T) {
	t.Parallel()
	w := start(t).with("Prefer", "odata.maxpagesize=2")
	for n := range 5 {
		w.deliver(ann, fmt.Sprint(n))
	}
	const list, delta = "/me/messages?$top=2&$select=subject", "/me/mailFolders/inbox/messages/delta?$select=subject"
	for _, row := range []struct {
		kind, path, next, delta string
	}{
		{`{"kind":"next_link_loop"}`, list, w.GraphURL() + list, ""},
		{`{"kind":"next_link_loop"}`, delta, w.GraphURL() + delta, ""},
		{`{"kind":"next_link_loop"}`, "/me/mailFolders/drafts/messages/delta", w.GraphURL() + "/me/mailFolders/drafts/messages/delta", ""},
		{`{"kind":"foreign_link","location":"http://elsewhere.example/"}`, list, "http://elsewhere.example/v1.0/me/messages?", ""},
		{`{"kind":"foreign_link"}`, "/me/messages?$top=100", "https://graph.example.invalid/v1.0/me/messages?$top=100", ""},
		{`{"kind":"no_links"}`, delta, "", ""},
		{`{"kind":"both_links"}`, delta, w.GraphURL() + "/me/mail", w.GraphURL() + delta},
	} {
		w.control(http.MethodPost, "faults", `{"match":{"method":"GET"},"fault":`+row.kind+`}`).is(200)
		r := w.get(row.path).is(200)
		next, last := r.str("@odata.nextLink"), r.str("@odata.deltaLink")
		if !strings.HasPrefix(next, row.next) || row.next == "" && next != "" || !strings.HasPrefix(last, row.delta) || row.delta == "" && last != "" {
			t.Errorf("%s on %s: next %q, delta %q", row.kind, row.path, next, last)
		}
		if len(r.value()) == 0 && !strings.Contains(row.path, "drafts") {
			t.Errorf("%s: the page is empty", row.kind)
		}
	}
	// What is not a page stays as it is.
	w.Control(sandbox.Match{}, sandbox.NextLinkLoop())
	if r := w.get("/me/mailFolders/inbox").is(200); r.str("@odata.nextLink") != "" {
		t.Errorf("%s", r.raw)
	}
}

func TestALostDeltaTokenIsOneOfAMatchedDeltaRequest(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "x")
	r := newReader(w, "inbox", "").round()
	w.control(http.MethodPost, "faults", `{"match":{"mailbox":"`+ann+`"},"fault":{"kind":"delta_lost"}}`).is(200)
	w.get("/me/messages").is(200)
	w.get("/me/mailFolders/inbox/messages/delta").is(200) // brings no token
	w.get("/me/messages?$skiptoken=x")                    // is no delta
	a := w.get(r.link).is(410, "SyncStateNotFound")
	if loc := a.header.Get("Location"); !strings.HasSuffix(loc, "/messages/delta") || !strings.HasPrefix(loc, w.GraphURL()) {
		t.Errorf("Location %s", loc)
	}
	w.get(r.link).is(200) // once
	w.Control(sandbox.Match{}, sandbox.LoseDelta(400, "syncStateNotFound"))
	w.get(r.link).is(400, "syncStateNotFound")
}

func TestAnErrorOfTheSignIn(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.control(http.MethodPost, "faults", `{"match":{"route":"/{t}/oauth2/v2.0/token"},"fault":{"kind":"token_error","error":"interaction_required","aadsts":50076}}`).is(200)
	r := w.post(w.TokenURL(), refreshForm("x")).is(400)
	if r.code() != "interaction_required" || !strings.HasPrefix(r.str("error_description"), "AADSTS50076: ") || fmt.Sprint(r.json["error_codes"]) != "[50076]" {
		t.Errorf("%s", r.raw)
	}
	if r := w.post(w.TokenURL(), refreshForm("x")).is(400); r.code() != "invalid_grant" {
		t.Errorf("%s", r.raw)
	}
}

func TestRulesAreAimedListedAndTakenAway(t *testing.T) {
	t.Parallel()
	w := start(t)
	first := w.control(http.MethodPost, "faults", `{"match":{"route":"/me/messages","query":"top=3"},"fault":{"kind":"fail_before","status":500},"skip":2,"count":2}`).is(200)
	w.control(http.MethodPost, "faults", `{"match":{"app":"nobody"},"fault":{"kind":"fail_before"},"count":-1}`).is(200)
	w.KeepControl(sandbox.Match{Method: "DELETE"}, sandbox.Delay(1))
	var got []int
	for range 5 {
		w.get("/me/messages").is(200) // another query
		got = append(got, w.get("/me/messages?$TOP=3").status)
		if len(got) == 3 {
			var rules []sandbox.RuleState
			decode(t, w.control(http.MethodGet, "faults", "").is(200), &rules)
			if len(rules) != 3 || float64(rules[0].ID) != first.json["id"] || rules[0].Hits != 1 || rules[0].Left != 1 || rules[0].Fault.Kind != "fail_before" ||
				rules[0].Match.Query != "top=3" || rules[1].Left != -1 || rules[1].Hits != 0 || rules[2].Fault.Kind != "go" {
				t.Errorf("%+v", rules)
			}
		}
	}
	if want := "[200 200 500 500 200]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	rules := w.Rules()
	if len(rules) != 2 {
		t.Fatalf("%+v", rules)
	}
	w.control(http.MethodDelete, fmt.Sprint("faults/", rules[0].ID), "").is(200)
	w.control(http.MethodDelete, fmt.Sprint("faults/", rules[0].ID), "").is(400)
	w.control(http.MethodDelete, "faults/x", "").is(400)
	if left := w.Rules(); len(left) != 1 || left[0].ID != rules[1].ID {
		t.Errorf("%+v", left)
	}
	for _, bad := range []string{
		`{"fault":{"kind":"truncate","bytes":-1}}`, `{"fault":{"kind":"truncate"},"probability":2}`, `{"fault":{"kind":"truncate"},"skip":-1}`,
		`{"fault":{"kind":"truncate"},"count":-2}`, `{"fault":{"kind":"dribble","every":"x"}}`, `{"fault":{"kind":"header"}}`,
	} {
		w.control(http.MethodPost, "faults", bad).is(400)
	}
}

func TestEveryKindOfFaultIsInTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds, ok := start(t).control(http.MethodGet, "", "").is(200).json["fault_kinds"].([]any)
	if !ok || len(kinds) < 20 {
		t.Fatalf("kinds %v", kinds)
	}
	for _, kind := range kinds {
		if !regexp.MustCompile(fmt.Sprintf("(?m)^\\| (`\\w+`, )*`%s`", kind)).Match(text) {
			t.Errorf("%s is not in the table of docs/sandbox.md", kind)
		}
	}
}

func TestAHeldRequestGoesOnWhenItsFaultIsTakenAway(t *testing.T) {
	t.Parallel()
	for _, release := range []string{"one", "all"} {
		w := start(t)
		id := w.control(http.MethodPost, "faults", `{"fault":{"kind":"hold"}}`).is(200).json["id"]
		done := make(chan int, 1)
		go func() {
			r, err := w.try(http.MethodPost, "/me/sendMail", sendMail("x", ben))
			if err != nil {
				done <- 0
				return
			}
			done <- r.status
		}()
		eventually(t, func() bool {
			return w.Stats().Mailboxes != nil && w.Stats().Mailboxes[0].Open == 1 && len(w.Rules()) == 0
		})
		if len(w.Effects()) != 0 {
			t.Error("it was not held")
		}
		if release == "one" {
			w.control(http.MethodDelete, fmt.Sprint("faults/", id), "").is(200)
			w.control(http.MethodDelete, fmt.Sprint("faults/", id), "").is(400)
		} else {
			w.control(http.MethodDelete, "faults", "").is(200)
		}
		if status := <-done; status != 202 || len(w.Effects()) != 1 {
			t.Errorf("%s: status %d, %d effects", release, status, len(w.Effects()))
		}
	}
}
