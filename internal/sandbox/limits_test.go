package sandbox_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/sandbox"
)

// inProcess is a client without a network, so that it can live in a bubble with
// a clock of its own.
type inProcess struct {
	*sandbox.Sandbox
	t *testing.T
}

func handler(t *testing.T, opts ...sandbox.Option) *inProcess {
	t.Helper()
	s, err := sandbox.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &inProcess{s, t}
}

func (p *inProcess) do(who, method, path, body string) *reply {
	p.t.Helper()
	token, err := p.Token(who, allMail)
	if err != nil {
		p.t.Fatal(err)
	}
	req := httptest.NewRequestWithContext(p.t.Context(), method, "/v1.0"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	p.Handler().ServeHTTP(rec, req)
	r := &reply{t: p.t, status: rec.Code, header: rec.Header(), raw: rec.Body.Bytes()}
	if rec.Code >= 400 {
		decode(p.t, r, &r.json)
	}
	return r
}

// wait is the Retry-After of a 429 in seconds.
func (r *reply) wait() time.Duration {
	r.t.Helper()
	secs, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil || r.status != http.StatusTooManyRequests {
		r.t.Fatalf("status %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
	return time.Duration(secs) * time.Second
}

func TestRequestsOverTheWindowAreRefusedUntilThereIsRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := handler(t, sandbox.RequestWindow(10, 10*time.Minute))
		for range 10 {
			p.do(ann, "GET", "/me/messages", "").is(200)
			pass(time.Minute / 2)
		}
		r := p.do(ann, "GET", "/me/messages", "").is(429, "TooManyRequests")
		inner := r.json["error"].(map[string]any)["innerError"].(map[string]any)
		if inner["code"] != "429" || inner["status"] != "429" || inner["message"] != "Please retry after" || inner["date"] == nil {
			t.Errorf("%s", r.raw)
		}
		p.do(ben, "GET", "/me/messages", "").is(200)            // another mailbox
		p.do(ben, "GET", "/users/"+ann+"/messages", "").is(403) // refused before it counts
		pass(r.wait() - time.Second)
		again := p.do(ann, "GET", "/me/messages", "").is(429) // too early: it counts as well
		pass(again.wait())
		p.do(ann, "GET", "/me/messages", "").is(200)                          // the wait was long enough
		if next := p.do(ann, "GET", "/me/messages", ""); next.status != 429 { // and not much longer than it had to be
			t.Errorf("status %d", next.status)
		}
		st := p.Stats()
		if st.Throttled != 3 || st.Offences != 1 || st.Refused != 0 {
			t.Errorf("%+v", st)
		}
		pass(11 * time.Minute)
		for range 10 {
			p.do(ann, "GET", "/me/messages", "").is(200)
		}
	})
}

func TestAClientThatKeepsToTheDocumentedRateIsNeverRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := handler(t, sandbox.RequestWindow(100, 10*time.Second))
		for n := range 1000 {
			if r := p.do(ann, "GET", "/me/messages", ""); r.status != 200 {
				t.Fatalf("request %d: %d", n, r.status)
			}
			pass(100 * time.Millisecond)
		}
	})
}

func TestUploadsAreCountedInBytesAndReadsPassWhileTheyAreThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := handler(t, sandbox.UploadWindow(10_000, 5*time.Minute))
		big := sendMail(strings.Repeat("x", 4000), ben)
		p.do(ann, "POST", "/me/sendMail", big).is(202)
		p.do(ann, "POST", "/me/sendMail", big).is(202)
		r := p.do(ann, "POST", "/me/sendMail", big).is(429, "TooManyRequests")
		if w := r.wait(); w < 4*time.Minute || w > 5*time.Minute+time.Second {
			t.Errorf("wait %s", w)
		}
		p.do(ann, "GET", "/me/messages", "").is(200)
		pass(r.wait())
		p.do(ann, "POST", "/me/sendMail", big).is(202)
		if st := p.Stats(); st.Throttled != 1 || st.Offences != 1 || st.Mailboxes[0].Uploaded != int64(3*len(big)) {
			t.Errorf("%+v", st)
		}
	})
}

func TestAllMailboxesTogetherHaveALimitToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := handler(t, sandbox.AppWindow(4, 10*time.Second))
		for _, who := range []string{ann, ben, ann, ben} {
			p.do(who, "GET", "/me/messages", "").is(200)
		}
		r := p.do(cleo, "GET", "/me/messages", "").is(429, "TooManyRequests")
		pass(r.wait())
		p.do(cleo, "GET", "/me/messages", "").is(200)
	})
}

func TestMailsOverThoseOfAMinuteAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := handler(t, sandbox.MessagesPerMinute(30))
		for n := range 30 {
			p.do(ann, "POST", "/me/sendMail", sendMail(fmt.Sprint(n), ben)).is(202)
		}
		r := p.do(ann, "POST", "/me/sendMail", sendMail("x", ben)).is(429, "ErrorExceededMessageLimit")
		p.do(ben, "POST", "/me/sendMail", sendMail("x", ann)).is(202)
		pass(r.wait())
		p.do(ann, "POST", "/me/sendMail", sendMail("x", ben)).is(202)
		if n := len(p.Effects()); n != 32 {
			t.Errorf("%d effects", n)
		}
	})
}

func TestWithoutLimitsNothingIsRefused(t *testing.T) {
	t.Parallel()
	p := handler(t, sandbox.RequestWindow(0, 0), sandbox.UploadWindow(0, 0), sandbox.AppWindow(0, 0))
	for range 200 {
		p.do(ann, "GET", "/me/messages?$top=1", "").is(200)
	}
}

// pass lets time go by, in a bubble.
func pass(d time.Duration) { <-time.After(d) }

func TestTheDirectoryCountsInUnitsOfItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := handler(t, sandbox.DirectoryUnits(10), sandbox.RequestWindow(5, time.Hour))
		for range 8 {
			p.do(ann, "GET", "/me", "").is(200)
		}
		r := p.do(ann, "GET", "/me?$select=id", "").is(200) // 9 of 10
		if r.header.Get("x-ms-resource-unit") != "1" || r.header.Get("x-ms-throttle-limit-percentage") != "0.90" {
			t.Errorf("%v", r.header)
		}
		p.do(ann, "GET", "/me", "").is(200)
		r = p.do(ann, "GET", "/me", "").is(429, "TooManyRequests")
		if scope := r.header.Get("x-ms-throttle-scope"); !strings.HasPrefix(scope, "Tenant_Application/ReadWrite/"+sandbox.DefaultClientID+"/") {
			t.Errorf("scope %q", scope)
		}
		mail := p.do(ann, "GET", "/me/messages", "").is(200) // Outlook has its own counts
		if mail.header.Get("x-ms-resource-unit") != "" {
			t.Errorf("%v", mail.header)
		}
		pass(r.wait())
		p.do(ann, "GET", "/me", "").is(200)
		if st := p.Stats(); st.MaxConcurrency != 1 || st.Throttled != 1 || st.Offences != 0 {
			t.Errorf("%+v", st)
		}
	})
}

func TestTheDirectoryDoesNotCountWhatIsOpen(t *testing.T) {
	t.Parallel()
	w := start(t)
	open := make(chan struct{})
	rule := w.KeepControl(sandbox.Match{Route: "/me"}, sandbox.Hold(open))
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			if r, err := w.try(http.MethodGet, "/me", ""); err != nil || r.status != 200 {
				t.Errorf("%v %v", r, err)
			}
		})
	}
	eventually(t, func() bool { return rule.Hits() == 6 })
	close(open)
	wait.Wait()
}

func TestABodyThatIsTooLargeIsRefusedToAClientThatWritesItAllFirst(t *testing.T) {
	t.Parallel()
	w := start(t)
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 12 << 20
	head := fmt.Sprintf("POST /v1.0/me/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", w.token, size)
	if _, err := conn.Write(append([]byte(head), make([]byte, size)...)); err != nil {
		t.Fatalf("write: %v", err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "413") {
		t.Errorf("%q, %v", line, err)
	}
}
