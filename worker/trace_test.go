package worker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"outlook-connector/internal/sandbox"
	"outlook-connector/worker"
)

// receiver is an OTLP/HTTP collector.
type receiver struct {
	*httptest.Server
	mu    sync.Mutex
	raw   [][]byte
	spans []*tracepb.Span
	names []string // of the services, with their versions
	paths []string
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		unpacked, err := gzip.NewReader(req.Body)
		if err != nil {
			t.Errorf("body: %v", err)
			return
		}
		body, err := io.ReadAll(unpacked)
		var got collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &got) != nil {
			t.Errorf("%d bytes that are no spans: %v", len(body), err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.raw, r.paths = append(r.raw, body), append(r.paths, req.URL.Path)
		for _, resource := range got.GetResourceSpans() {
			for _, a := range resource.GetResource().GetAttributes() {
				r.names = append(r.names, a.GetKey()+"="+a.GetValue().GetStringValue())
			}
			for _, scope := range resource.GetScopeSpans() {
				r.spans = append(r.spans, scope.GetSpans()...)
			}
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(r.Close)
	return r
}

// values are the attributes of a span; a number is its digits.
func values(s *tracepb.Span) map[string]any {
	out := make(map[string]any)
	for _, a := range s.GetAttributes() {
		if v := a.GetValue(); v.GetStringValue() != "" {
			out[a.GetKey()] = v.GetStringValue()
		} else {
			out[a.GetKey()] = v.GetIntValue()
		}
	}
	return out
}

// find returns the first span of a name with these attributes.
func (r *receiver) find(name string, want map[string]any) *tracepb.Span {
	i := slices.IndexFunc(r.spans, func(s *tracepb.Span) bool {
		has := values(s)
		for key, value := range want {
			if has[key] != value {
				return false
			}
		}
		return s.GetName() == name
	})
	if i < 0 {
		return nil
	}
	return r.spans[i]
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func otlp(address string) setting {
	return setting{more: "telemetry: {otlp_endpoint: " + address + "}"}
}

const (
	deltaSpan = "GET " + routeDelta
	tokenSpan = "POST /{tenant}/oauth2/v2.0/token"
)

func TestThePollTheCommandAndTheTokenRequestsAreSpans(t *testing.T) {
	t.Parallel()
	to := newReceiver(t)
	w := newWorld(t)
	r := w.start(w.config(otlp(to.URL))).signedIn().primed()
	var parents atomic.Int64
	w.KeepControl(sendMail, func(req *sandbox.Request) bool {
		parents.Add(int64(len(req.Header.Values("Traceparent"))))
		return false
	})
	w.ControlN(sandbox.Match{Route: routeDelta}, 1, sandbox.FailBefore(http.StatusUnauthorized, "InvalidAuthenticationToken", ""))
	r.done(r.publish("send-mail", nil, mail("canary-subject")))
	w.deliver("canary-from-outside")
	r.events(1)
	w.quietRounds(2)
	r.stop() // sends what is left

	to.mu.Lock()
	defer to.mu.Unlock()
	for _, s := range to.spans {
		t.Log(s.GetName(), values(s))
	}
	if !slices.Contains(to.names, "service.name=outlook-connector") || !slices.Contains(to.names, "service.version=1.2.3") || slices.ContainsFunc(to.paths, func(p string) bool { return p != "/v1/traces" }) {
		t.Errorf("resource %v, paths %v", to.names, to.paths)
	}
	of := func(name string, want map[string]any) *tracepb.Span {
		t.Helper()
		s := to.find(name, want)
		if s == nil {
			t.Fatalf("no span %s with %v", name, want)
		}
		return s
	}
	under := func(parent string, s *tracepb.Span) {
		t.Helper()
		for _, p := range to.spans {
			if bytes.Equal(p.GetSpanId(), s.GetParentSpanId()) && p.GetName() == parent && s.GetKind() == tracepb.Span_SPAN_KIND_CLIENT {
				return
			}
		}
		t.Errorf("the span %s, %v, is not under a %s", s.GetName(), s.GetKind(), parent)
	}
	refused := of(deltaSpan, map[string]any{"http.response.status_code": int64(401), "error.type": "401", "outlook.error.code": "InvalidAuthenticationToken"})
	under("poll", refused)
	if refused.GetStatus().GetCode() != tracepb.Status_STATUS_CODE_ERROR || refused.GetStatus().GetMessage() != "" {
		t.Errorf("status %v", refused.GetStatus())
	}
	under("poll", of(deltaSpan, map[string]any{"http.request.resend_count": int64(1), "http.response.status_code": int64(200)}))
	sent := of("POST /me/sendMail", map[string]any{"http.request.method": "POST", "url.template": "/me/sendMail", "http.response.status_code": int64(202), "outlook.client": "contoso", "server.address": "127.0.0.1"})
	under("command", sent)
	if id, _ := values(sent)["outlook.request_id"].(string); len(id) != 36 || values(sent)["http.request.body.size"].(int64) < 50 || sent.GetEndTimeUnixNano() <= sent.GetStartTimeUnixNano() {
		t.Errorf("%v, %d to %d", values(sent), sent.GetStartTimeUnixNano(), sent.GetEndTimeUnixNano())
	}
	of(tokenSpan, map[string]any{"outlook.grant": "authorization_code", "http.response.status_code": int64(200), "outlook.client": "contoso"})
	under("poll", of(tokenSpan, map[string]any{"outlook.grant": "refresh_token", "http.response.status_code": int64(200), "server.address": "127.0.0.1"}))
	of("command", map[string]any{"outlook.publisher": "send-mail"})
	of("poll", map[string]any{"outlook.subscription": "inbox"})

	all := bytes.Join(to.raw, nil)
	for _, secret := range []string{ann, ben, "canary-", "Bearer", "eyJ", "code_verifier", "client_secret", "refresh_token=", "deltatoken", "Authorization"} {
		if bytes.Contains(all, []byte(secret)) {
			t.Errorf("the spans hold %q", secret)
		}
	}
	if parents.Load() != 0 {
		t.Error("Graph was sent a traceparent")
	}
}

func TestWithoutAnEndpointNothingIsTraced(t *testing.T) {
	to := newReceiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", to.URL) // the configuration decides, and not the environment
	w := newWorld(t)
	r := w.start(w.config(setting{})).signedIn().primed()
	r.done(r.publish("send-mail", nil, mail("Untold")))
	r.stop()
	to.mu.Lock()
	defer to.mu.Unlock()
	if len(to.paths) > 0 {
		t.Errorf("%d requests to a collector that nobody configured", len(to.paths))
	}
}

func TestACollectorThatIsAwayOrHangsDoesNotStopTheWork(t *testing.T) {
	t.Parallel()
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(hang.Close)
	closed, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	for name, address := range map[string]string{"away": "http://" + closed.Addr().String(), "hangs": hang.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			log := &lines{}
			r := w.start(w.config(otlp(address)), func(o *worker.Options) { o.Log = slog.New(slog.NewTextHandler(log, nil)) }).signedIn().primed()
			for range 20 {
				r.done(r.publish("send-mail", nil, mail("Goes on")))
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := r.Stop(ctx); err != nil {
				t.Errorf("stop: %v", err)
			}
			if n := strings.Count(log.String(), "spans not sent"); n < 1 || n > 2 {
				t.Errorf("it was told %d times:\n%s", n, log.String())
			}
		})
	}
}
