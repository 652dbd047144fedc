package graph_test

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

func TestDoSendsTheRequestAsTheReferenceSays(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		got = r.Clone(t.Context())
		body, _ = io.ReadAll(r.Body)
		rw.Header().Set("request-id", "req-9")
		rw.Header().Set("Set-Cookie", "a=b")
		rw.WriteHeader(http.StatusAccepted)
	}, nil)
	req := sendMail(t)
	req.Headers = map[string]string{"prefer": `IdType="ImmutableId"`}
	resp, err := w.Do(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPost || got.RequestURI != "/v1.0/me/sendMail" || string(body) != string(req.Body) {
		t.Errorf("sent %s %s %s", got.Method, got.RequestURI, body)
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer " + canary + "-0", "Content-Type": "application/json", "Prefer": `IdType="ImmutableId"`,
		"User-Agent": "outlook-connector", "Client-Request-Id": resp.ClientRequestID, "Idempotency-Key": "", "Cookie": "",
	} {
		if value := got.Header.Get(name); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(resp.ClientRequestID) {
		t.Errorf("client-request-id %q is no GUID", resp.ClientRequestID)
	}
	if resp.Status != 202 || resp.RequestID != "req-9" || resp.Body != nil || resp.BodyBroken || resp.Date().IsZero() || resp.Duration <= 0 {
		t.Errorf("response %+v", resp)
	}
	again, err := w.Do(t.Context(), req)
	if err != nil || again.ClientRequestID == resp.ClientRequestID || got.Header.Get("Cookie") != "" {
		t.Errorf("second request: %v, id %s, cookie %q", err, again.ClientRequestID, got.Header.Get("Cookie"))
	}
}

func TestDoTakesAnySuccessAsDone(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer func(http.ResponseWriter)
		broken bool
	}{
		{"202 with Retry-After", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "1"); w.WriteHeader(http.StatusAccepted) }, false},
		{"201 with JSON", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json; odata.metadata=minimal")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"id":"1","subject":"cut \ud83d"}`)
		}, false},
		{"204", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }, false},
		{"200 with half a JSON", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"id":"1`)
		}, true},
		{"200 with a wrong length", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"id":"1"}`)
		}, true},
		{"200 that is plain though it claims gzip", func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, `{"id":"1"}`)
		}, true},
		{"202 without a body, said to be a web page", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusAccepted)
		}, false},
		{"200 that is too large", func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, 5000)) }, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			w := serve(t, func(rw http.ResponseWriter, _ *http.Request) { calls.Add(1); tc.answer(rw) },
				func(o *graph.Options) { o.HTTP.MaxBody = 4096 })
			resp, err := w.Do(t.Context(), sendMail(t))
			if err != nil || resp.BodyBroken != tc.broken || calls.Load() != 1 {
				t.Fatalf("response %+v, error %v, %d calls; want done, broken %v, one call", resp, err, calls.Load(), tc.broken)
			}
			if tc.broken && resp.Body != nil {
				t.Errorf("a broken body was handed out: %q", resp.Body)
			}
			// The same answer to a read is no answer.
			_, err = w.Do(t.Context(), readMail(t))
			if tc.broken {
				wantFault(t, err, fault.Retry, false)
			} else if err != nil {
				t.Errorf("read: %v", err)
			}
		})
	}
}

// TestAWebPageIsNobodysSuccess: whoever stands in between has answered, and nobody
// knows whether Graph has seen the request.
func TestAWebPageIsNobodysSuccess(t *testing.T) {
	t.Parallel()
	w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(rw, `<html>`)
	}, nil)
	_, err := w.Do(t.Context(), sendMail(t))
	if mark := wantFault(t, err, fault.Retry, true); mark.Code != "bad_body" || mark.Hint == "" {
		t.Errorf("code %q, hint %q", mark.Code, mark.Hint)
	}
	_, err = w.Do(t.Context(), readMail(t))
	wantFault(t, err, fault.Retry, false)
}

func TestDoReplacesARefusedTokenOnce(t *testing.T) {
	t.Parallel()
	var seen, ids []string
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		ids = append(ids, r.Header.Get("client-request-id"))
		token := r.Header.Get("Authorization")
		body, _ := io.ReadAll(r.Body)
		if seen = append(seen, token+" "+string(body)); strings.HasSuffix(token, "-0") {
			writeError(rw, 401, "InvalidAuthenticationToken")
			return
		}
		rw.WriteHeader(http.StatusAccepted)
	}, nil)
	req := sendMail(t)
	req.ClientRequestID = "4f2c1c52-0f6d-4a2d-9f3e-0f4c5a6b7c8d"
	resp, err := w.Do(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || ids[0] != req.ClientRequestID || ids[1] == ids[0] || resp.ClientRequestID != ids[1] {
		t.Errorf("client-request-ids %q, answered %s", ids, resp.ClientRequestID)
	}
	body := " " + string(sendMail(t).Body)
	if want := "Bearer " + canary + "-0" + body + "|Bearer " + canary + "-1" + body; strings.Join(seen, "|") != want {
		t.Errorf("sent %q", seen)
	}
	if strings.Join(w.tokens.rejected, ",") != "0" {
		t.Errorf("rejected %q", w.tokens.rejected)
	}
}

func TestDoAsksForASignInOnlyAfterAFreshTokenWasRefused(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	refuse := func(rw http.ResponseWriter, _ *http.Request) { calls.Add(1); rw.WriteHeader(http.StatusUnauthorized) }

	w := serve(t, refuse, nil)
	_, err := w.Do(t.Context(), sendMail(t))
	mark := wantFault(t, err, fault.Reauth, false)
	if calls.Load() != 2 || len(w.tokens.rejected) != 1 || !strings.Contains(mark.Hint, "auth login contoso") {
		t.Errorf("%d calls, rejected %q, hint %q", calls.Load(), w.tokens.rejected, mark.Hint)
	}

	calls.Store(0)
	w = serve(t, refuse, nil)
	w.tokens.stuck = true
	_, err = w.Do(t.Context(), sendMail(t))
	wantFault(t, err, fault.Retry, false)
	if calls.Load() != 1 {
		t.Errorf("%d calls with the same token, want 1", calls.Load())
	}
}

func TestDoPassesOnWhatTheTokenSourceSays(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	w := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) }, nil)
	cause := errors.New("sign in again")
	for kind, err := range map[fault.Kind]error{
		fault.Reauth: fault.New(fault.Reauth, "grant: %w", cause),
		fault.Retry:  cause,
	} {
		w.tokens.err = err
		_, err := w.Do(t.Context(), sendMail(t))
		wantFault(t, err, kind, false)
		if !errors.Is(err, cause) {
			t.Errorf("the cause is lost in %v", err)
		}
	}
	w.tokens.err = &fault.Error{Kind: fault.Retry, Ambiguous: true, Err: cause}
	_, err := w.Do(t.Context(), sendMail(t))
	wantFault(t, err, fault.Retry, false)
	if calls.Load() != 0 {
		t.Errorf("%d requests without a token", calls.Load())
	}
}

func TestDoRefusesWhatMustNotBeSent(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	w := serve(t, func(http.ResponseWriter, *http.Request) { calls.Add(1) }, nil)
	cases := map[string]func(*graph.Request){
		"line break in a header":  func(r *graph.Request) { r.Headers = map[string]string{"Prefer": "x\r\nEvil: 1"} },
		"not ASCII in a header":   func(r *graph.Request) { r.Headers = map[string]string{"Prefer": "ü"} },
		"long header":             func(r *graph.Request) { r.Headers = map[string]string{"Prefer": strings.Repeat("x", 9000)} },
		"foreign header":          func(r *graph.Request) { r.Headers = map[string]string{"Authorization": "Bearer x"} },
		"idempotency key":         func(r *graph.Request) { r.Headers = map[string]string{"Idempotency-Key": "1"} },
		"client-request-id":       func(r *graph.Request) { r.Headers = map[string]string{"client-request-id": "1"} },
		"host":                    func(r *graph.Request) { r.Headers = map[string]string{"Host": "evil.example"} },
		"one header twice":        func(r *graph.Request) { r.Headers = map[string]string{"Prefer": "a", "prefer": "b"} },
		"line break in type":      func(r *graph.Request) { r.ContentType = "a\nb" },
		"no operation":            func(r *graph.Request) { r.Operation = nil },
		"a link for a write":      func(r *graph.Request) { r.Link = "http://127.0.0.1/v1.0/me/sendMail?a=b" },
		"an id that is no GUID":   func(r *graph.Request) { r.ClientRequestID = "1" },
		"dots for a mailbox":      func(r *graph.Request) { r.Mailbox = ".." },
		"an unknown path element": func(r *graph.Request) { r.Path = map[string]string{"x": "y"} },
	}
	for name, change := range cases {
		req := sendMail(t)
		change(&req)
		if _, err := w.Do(t.Context(), req); fault.KindOf(err) != fault.Poison {
			t.Errorf("%s: %v, want poison", name, err)
		}
	}
	if calls.Load() != 0 || len(w.dialed.list()) != 0 {
		t.Errorf("%d requests, dialed %q", calls.Load(), w.dialed.list())
	}
}

func TestAnIDStaysInItsSegment(t *testing.T) {
	t.Parallel()
	var uri string
	w := serve(t, func(_ http.ResponseWriter, r *http.Request) { uri = r.RequestURI }, nil)
	req := readMail(t)
	req.Path["message-id"] = "AAMk/B+c?d#e%2e"
	if _, err := w.Do(t.Context(), req); err == nil && strings.Count(uri, "/") != 4 {
		t.Errorf("sent %s", uri)
	}
	req.Path["message-id"] = "AAMkAGI2TG93AAA/B+c="
	if _, err := w.Do(t.Context(), req); err != nil || uri != "/v1.0/me/messages/AAMkAGI2TG93AAA%2FB%2Bc=" {
		t.Errorf("sent %s (%v)", uri, err)
	}
}

func TestNewRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	for _, base := range []string{
		"", "graph.microsoft.com", "ftp://graph.microsoft.com", "http://graph.microsoft.com", "https://u:p@graph.microsoft.com",
		"https://graph.microsoft.com/v1.0?x=1", "https:///v1.0", "https://graph.microsoft.com/a/../v1.0", "http://10.0.0.1", ":",
	} {
		if _, err := graph.New(graph.Options{Name: "x", BaseURL: base, Tokens: &tokens{}}); err == nil {
			t.Errorf("%q was accepted", base)
		}
	}
	for _, base := range []string{"https://graph.microsoft.com", "https://graph.microsoft.us/v1.0/", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost/x/v1.0"} {
		if _, err := graph.New(graph.Options{Name: "x", BaseURL: base, Tokens: &tokens{}}); err != nil {
			t.Errorf("%q: %v", base, err)
		}
	}
	if _, err := graph.New(graph.Options{BaseURL: "https://graph.microsoft.com"}); err == nil {
		t.Error("a client without tokens was made")
	}
}

func TestASlowBodyEndsInTime(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			_, _ = io.WriteString(rw, " ")
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			case <-stop:
				return
			}
		}
	}, func(o *graph.Options) { o.HTTP.ProgressTimeout = 100 * time.Millisecond })
	t.Cleanup(func() { close(stop) })
	started := time.Now()
	_, err := w.Do(t.Context(), readMail(t))
	wantFault(t, err, fault.Retry, false)
	if took := time.Since(started); took > 3*time.Second || !strings.Contains(err.Error(), "slower") {
		t.Errorf("after %v: %v", took, err)
	}
}
