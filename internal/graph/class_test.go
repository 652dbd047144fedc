package graph_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

func TestEveryStatusHasItsRemedy(t *testing.T) {
	t.Parallel()
	const retry, poison, resync, reauth = fault.Retry, fault.Poison, fault.Resync, fault.Reauth
	cases := []struct {
		status int
		code   string
		header string // "Name: value" in the answer
		send   string // If-Match in the request

		write, read fault.Kind
		ambiguous   bool // of the write; a read never is
	}{
		{status: 400, code: "ErrorInvalidRequest", write: poison, read: poison},
		{status: 400, code: "ErrorExceededMessageLimit", write: retry, read: retry},
		{status: 400, code: "SyncStateNotFound", write: poison, read: resync},
		{status: 400, code: "resyncRequired", write: poison, read: resync},
		{status: 404, code: "InvalidSyncStateData", write: poison, read: resync},
		{status: 403, code: "ErrorAccessDenied", write: poison, read: poison},
		{status: 403, code: "insufficient_claims", write: reauth, read: reauth},
		{status: 403, code: "ErrorQuotaExceeded", write: poison, read: poison},
		{status: 404, code: "ErrorItemNotFound", write: poison, read: poison},
		{status: 404, code: "ErrorMailboxMoveInProgress", write: retry, read: retry},
		{status: 404, code: "MailboxNotEnabledForRESTAPI", write: poison, read: poison},
		{status: 405, write: poison, read: poison},
		{status: 406, write: poison, read: poison},
		{status: 408, write: retry, read: retry, ambiguous: true},
		{status: 409, code: "nameAlreadyExists", write: poison, read: poison},
		{status: 409, header: "Retry-After: 3", write: retry, read: retry},
		{status: 409, code: "ErrorDuplicateTransactionId", write: poison, read: poison},
		{status: 410, write: poison, read: resync},
		{status: 411, write: poison, read: poison},
		{status: 412, code: "ErrorIrresolvableConflict", write: retry, read: retry},
		{status: 412, code: "ErrorIrresolvableConflict", send: `W/"x"`, write: poison, read: poison},
		{status: 413, write: poison, read: poison},
		{status: 413, header: "Content-Type: text/html", write: poison, read: poison},
		{status: 415, write: poison, read: poison},
		{status: 422, write: poison, read: poison},
		{status: 423, write: poison, read: poison},
		{status: 429, code: "ApplicationThrottled", write: retry, read: retry},
		{status: 429, code: "ErrorQuotaExceeded", write: poison, read: poison},
		{status: 403, header: "Content-Type: text/html", write: retry, read: retry, ambiguous: true},
		{status: 404, header: "Content-Type: text/html; charset=us-ascii", write: retry, read: retry, ambiguous: true},
		{status: 500, code: "ErrorInternalServerError", write: retry, read: retry, ambiguous: true},
		{status: 500, code: "ExtensionError", write: retry, read: poison, ambiguous: true},
		{status: 501, write: poison, read: poison},
		{status: 502, header: "Content-Type: text/html", write: retry, read: retry, ambiguous: true},
		{status: 503, code: "ErrorServerBusy", write: retry, read: retry, ambiguous: true},
		{status: 504, code: "UnknownError", write: retry, read: retry, ambiguous: true},
		{status: 507, write: retry, read: retry, ambiguous: true},
		{status: 509, write: retry, read: retry, ambiguous: true},
		{status: 300, write: retry, read: retry, ambiguous: true},
		{status: 304, write: retry, read: retry, ambiguous: true},
	}
	for _, tc := range cases {
		t.Run(fmt.Sprintf("%d %s %s%s", tc.status, tc.code, tc.header, tc.send), func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				if name, value, ok := strings.Cut(tc.header, ": "); ok {
					rw.Header().Set(name, value)
				}
				if tc.code == "" {
					rw.WriteHeader(tc.status)
					return
				}
				writeError(rw, tc.status, tc.code)
			}, nil)
			for n, req := range []graph.Request{sendMail(t), readMail(t)} {
				req.Mailbox = []string{"one@contoso.com", "two@contoso.com"}[n] // a throttle of one is not the other's
				if tc.send != "" {
					req.Headers = map[string]string{"If-Match": tc.send}
				}
				_, err := w.Do(t.Context(), req)
				mark := wantFault(t, err, []fault.Kind{tc.write, tc.read}[n], n == 0 && tc.ambiguous)
				answer, ok := errors.AsType[*graph.Error](err)
				if !ok || answer.Status != tc.status || answer.Code != tc.code || answer.ClientRequestID == "" || mark.Code == "" {
					t.Errorf("error %+v, mark code %q", answer, mark.Code)
				}
			}
			if calls.Load() != 2 {
				t.Errorf("%d requests for two calls", calls.Load())
			}
		})
	}
}

func TestHintsSayWhatToDo(t *testing.T) {
	t.Parallel()
	status, code := 403, "ErrorAccessDenied"
	handler := func(rw http.ResponseWriter, _ *http.Request) { writeError(rw, status, code) }
	w := serve(t, handler, nil)
	_, err := w.Do(t.Context(), sendMail(t))
	if hint := fault.HintOf(err); !strings.Contains(hint, "Mail.Send") || !strings.Contains(hint, "outlook-connector auth login contoso") {
		t.Errorf("hint %q names neither the permission nor the command", hint)
	}
	app := serve(t, handler, func(o *graph.Options) { o.Application = true })
	_, err = app.Do(t.Context(), graph.Request{Operation: operation(t, "mail.message.sendMail"), Mailbox: "ann@contoso.com", Body: []byte("{}")})
	if hint := fault.HintOf(err); !strings.Contains(hint, "Mail.Send") || strings.Contains(hint, "auth login") {
		t.Errorf("hint for an app %q", hint)
	}
	status, code = 404, "ErrorItemNotFound"
	_, err = w.Do(t.Context(), readMail(t))
	if hint := fault.HintOf(err); !strings.Contains(hint, "case-sensitive") {
		t.Errorf("hint %q", hint)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var foreign atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { foreign.Add(1) }))
	t.Cleanup(other.Close)
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, location := range []string{other.URL + "/v1.0/me/sendMail", "/v1.0/me/messages", "http://%zz", ""} {
			t.Run(fmt.Sprint(status, " ", location != ""), func(t *testing.T) {
				t.Parallel()
				var calls atomic.Int32
				w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
					calls.Add(1)
					if location != "" {
						rw.Header().Set("Location", location)
					}
					rw.WriteHeader(status)
				}, nil)
				_, err := w.Do(t.Context(), sendMail(t))
				wantFault(t, err, fault.Retry, true)
				_, err = w.Do(t.Context(), readMail(t))
				wantFault(t, err, fault.Retry, false)
				if calls.Load() != 2 || foreign.Load() != 0 {
					t.Errorf("%d requests here, %d elsewhere", calls.Load(), foreign.Load())
				}
			})
		}
	}
}

func TestABrokenConnectionIsAmbiguousOnceItWasUsed(t *testing.T) {
	t.Parallel()
	answer := "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"
	cases := map[string]func(net.Conn){
		"closed after the request": func(conn net.Conn) { readRequest(conn) },
		"reset after the request":  func(conn net.Conn) { readRequest(conn); _ = conn.(*net.TCPConn).SetLinger(0) },
		"reset within the request": func(conn net.Conn) { _, _ = conn.Read(make([]byte, 8)); _ = conn.(*net.TCPConn).SetLinger(0) },
		"closed within the head":   func(conn net.Conn) { readRequest(conn); _, _ = io.WriteString(conn, answer[:20]) },
		"no HTTP":                  func(conn net.Conn) { readRequest(conn); _, _ = io.WriteString(conn, "hello\r\n\r\n") },
		"silent":                   func(conn net.Conn) { readRequest(conn); _, _ = conn.Read(make([]byte, 1)) },
		"an endless head": func(conn net.Conn) {
			readRequest(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", 1<<20))
		},
		"a head that trickles": func(conn net.Conn) {
			readRequest(conn)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nA: ")
			_, _ = conn.Read(make([]byte, 1))
		},
		"closed before the request": func(net.Conn) {},
	}
	for name, script := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			base := rawServe(t, func(_ int, conn net.Conn) { requests.Add(1); script(conn) })
			w := connect(t, base, func(o *graph.Options) { o.HTTP.Timeout = 300 * time.Millisecond })
			_, err := w.Do(t.Context(), sendMail(t))
			if mark := wantFault(t, err, fault.Retry, true); mark.Code != "no_answer" || requests.Load() != 1 {
				t.Errorf("code %q after %d connections: %v", mark.Code, requests.Load(), err)
			}
			_, err = w.Do(t.Context(), readMail(t))
			wantFault(t, err, fault.Retry, false)
		})
	}
}

func TestAFailedConnectionIsNotSent(t *testing.T) {
	t.Parallel()
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	cases := map[string]struct {
		ctx    context.Context
		base   string
		change func(*graph.Options)
	}{
		"refused":        {t.Context(), "http://" + closed.Addr().String(), nil},
		"no such host":   {t.Context(), "https://graph.invalid", failDial(&net.DNSError{Err: "no such host", IsNotFound: true})},
		"ended before":   {ended, "http://" + closed.Addr().String(), nil},
		"slow to accept": {t.Context(), "https://graph.invalid", hangDial},
		"no TLS":         {t.Context(), strings.Replace(rawServe(t, func(_ int, conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 400 no\r\n\r\n") }), "http", "https", 1), nil},
		"TLS stalls":     {t.Context(), strings.Replace(rawServe(t, func(_ int, conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), "http", "https", 1), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := connect(t, tc.base, func(o *graph.Options) {
				o.HTTP.DialTimeout, o.HTTP.TLSTimeout = 100*time.Millisecond, 100*time.Millisecond
				if tc.change != nil {
					tc.change(o)
				}
			})
			_, err := w.Do(tc.ctx, sendMail(t))
			if mark := wantFault(t, err, fault.Retry, false); mark.Code != "not_sent" || mark.Hint == "" {
				t.Errorf("code %q, hint %q: %v", mark.Code, mark.Hint, err)
			}
		})
	}
}

func failDial(err error) func(*graph.Options) {
	return func(o *graph.Options) {
		o.HTTP.DialContext = func(context.Context, string, string) (net.Conn, error) { return nil, err }
	}
}

func hangDial(o *graph.Options) {
	o.HTTP.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
}

func TestStoppingIsRecognisedAndStillAmbiguous(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopping := errors.New("stopping")
	w := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		cancel(stopping)
		<-r.Context().Done()
	}, nil)
	_, err := w.Do(ctx, sendMail(t))
	wantFault(t, err, fault.Retry, true)
	if !fault.Stopped(ctx, err) || !errors.Is(err, stopping) {
		t.Errorf("the stop is not in %v", err)
	}
}

func TestAPostIsNeverRepeatedOnAReusedConnection(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"mail.message.sendMail", "mail.message.update", "mail.message.delete"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			// The first request of each connection is answered, the second one
			// is read and the connection closed.
			base := rawServe(t, func(_ int, conn net.Conn) {
				for range 2 {
					if readRequest(conn) == "" {
						return
					}
					if requests.Add(1) == 1 {
						_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
						continue
					}
					return
				}
			})
			w := connect(t, base, nil)
			req := sendMail(t)
			if method != "mail.message.sendMail" {
				req = readMail(t)
				req.Operation = operation(t, method)
			}
			if method == "mail.message.update" {
				req.Body = []byte(`{"isRead":true}`)
			}
			if _, err := w.Do(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			_, err := w.Do(t.Context(), req)
			wantFault(t, err, fault.Retry, true)
			if requests.Load() != 2 || len(w.dialed.list()) != 1 {
				t.Errorf("%d requests over %d connections; want 2 over 1", requests.Load(), len(w.dialed.list()))
			}
		})
	}
}

func TestAfter503ANewConnectionIsUsed(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} { // HTTP/1.1 and HTTP/2
		t.Run(fmt.Sprint(secure), func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if secure != (r.ProtoMajor == 2) {
					t.Errorf("%s with TLS %v", r.Proto, secure)
				}
				if calls.Add(1) == 2 {
					writeError(rw, 503, "ErrorServerBusy")
				}
			}))
			if server.EnableHTTP2 = secure; secure {
				server.StartTLS()
			} else {
				server.Start()
			}
			w := connect(t, server.URL, func(o *graph.Options) {
				if secure {
					o.HTTP.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
				}
			})
			t.Cleanup(func() { w.Close(); server.Close() })
			for n, want := range []int{1, 1, 2, 2} {
				_, _ = w.Do(t.Context(), readMail(t))
				if got := len(w.dialed.list()); got != want {
					t.Errorf("after request %d: %d connections, want %d", n+1, got, want)
				}
			}
		})
	}
}

func TestAServerThatIsNotTrustedGetsNothing(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	w := connect(t, server.URL, nil) // system roots do not know this one
	_, err := w.Do(t.Context(), sendMail(t))
	if mark := wantFault(t, err, fault.Retry, false); !strings.Contains(mark.Hint, "certificate") {
		t.Errorf("hint %q for %v", mark.Hint, err)
	}
	old := httptest.NewUnstartedServer(server.Config.Handler)
	old.Config.ErrorLog = discardLog()
	old.TLS = tls11()
	old.StartTLS()
	t.Cleanup(old.Close)
	w = connect(t, old.URL, func(o *graph.Options) {
		o.HTTP.RootCAs = old.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	})
	_, err = w.Do(t.Context(), sendMail(t))
	if wantFault(t, err, fault.Retry, false); calls.Load() != 0 || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("%d requests, %v", calls.Load(), err)
	}
}

func TestOneHostThatHangsLeavesTheOthersAlone(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "slow@") {
			<-release
		}
	}, nil)
	done := make(chan error)
	slow, fast := readMail(t), readMail(t)
	slow.Mailbox, fast.Mailbox = "slow@contoso.com", "fast@contoso.com"
	for range 8 {
		go func() { _, err := w.Do(t.Context(), slow); done <- err }()
	}
	for range 20 {
		if _, err := w.Do(t.Context(), fast); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
