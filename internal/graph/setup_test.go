package graph_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// canary is in every token, so that a test can look for it where it must not
// be.
const canary = "canary-7f3a9c"

// tokens is a token source that makes a new token for each rejected one.
type tokens struct {
	mu       sync.Mutex
	n        int
	rejected []string
	stuck    bool  // keeps the rejected token
	err      error // what Token answers
}

func (s *tokens) Token(context.Context) (graph.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return graph.Token{}, s.err
	}
	id := fmt.Sprintf("%d", s.n)
	return graph.Token{Access: seal.Secret(canary + "-" + id), ID: id}, nil
}

func (s *tokens) Reject(_ context.Context, token graph.Token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejected = append(s.rejected, token.ID)
	if !s.stuck && token.ID == fmt.Sprintf("%d", s.n) {
		s.n++
	}
}

// world is a client with everything around it that a test looks at.
type world struct {
	*graph.Client
	tokens   *tokens
	log      *syncBuffer
	registry *prometheus.Registry
	dialed   *dialed
}

// dialed notes every address that a client connects to.
type dialed struct {
	mu    sync.Mutex
	hosts []string
}

func (d *dialed) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.hosts...)
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// connect returns a client of the server at base.
func connect(t *testing.T, base string, change func(*graph.Options)) *world {
	t.Helper()
	w := &world{tokens: &tokens{}, log: &syncBuffer{}, registry: prometheus.NewRegistry(), dialed: &dialed{}}
	o := graph.Options{
		Name: "contoso", BaseURL: base, Tokens: w.tokens, LogRequests: true,
		Log: slog.New(slog.NewJSONHandler(w.log, nil)), Registerer: w.registry,
	}
	if change != nil {
		change(&o)
	}
	dial := o.HTTP.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	o.HTTP.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		w.dialed.mu.Lock()
		w.dialed.hosts = append(w.dialed.hosts, address)
		w.dialed.mu.Unlock()
		return dial(ctx, network, address)
	}
	var err error
	if w.Client, err = graph.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// serve starts a server and returns a client of it.
func serve(t *testing.T, handler http.HandlerFunc, change func(*graph.Options)) *world {
	t.Helper()
	server := httptest.NewServer(handler)
	w := connect(t, server.URL, change)
	t.Cleanup(func() { w.Close(); server.Close() })
	return w
}

// rawServe accepts connections and lets script play each; n counts from 1.
func rawServe(t *testing.T, script func(n int, conn net.Conn)) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := 1; ; n++ {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { defer conn.Close(); script(n, conn) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); wait.Wait() })
	return "http://" + listener.Addr().String()
}

// readRequest reads one whole request from a raw connection.
func readRequest(conn net.Conn) string {
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	var text strings.Builder
	one := make([]byte, 1)
	for !strings.HasSuffix(text.String(), "\r\n\r\n") {
		if _, err := conn.Read(one); err != nil {
			return text.String()
		}
		text.Write(one)
	}
	var length int
	for line := range strings.SplitSeq(text.String(), "\r\n") {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			_, _ = fmt.Sscan(value, &length)
		}
	}
	body := make([]byte, length)
	_, _ = io.ReadFull(conn, body)
	return text.String() + string(body)
}

func operation(tb testing.TB, id string) *catalog.Operation {
	tb.Helper()
	op, err := catalog.Default().Lookup(id)
	if err != nil {
		tb.Fatal(err)
	}
	return op
}

// sendMail is a write with an outside effect.
func sendMail(tb testing.TB) graph.Request {
	tb.Helper()
	return graph.Request{
		Operation: operation(tb, "mail.message.sendMail"), Mailbox: "me",
		Body: []byte(`{"message":{"subject":"hi"}}`),
	}
}

// readMail is a read of one item.
func readMail(tb testing.TB) graph.Request {
	tb.Helper()
	return graph.Request{
		Operation: operation(tb, "mail.message.get"), Mailbox: "me", Path: map[string]string{"message-id": "AAMk="},
	}
}

// delta is a page of a feed.
func delta(tb testing.TB) graph.Request {
	tb.Helper()
	return graph.Request{
		Operation: operation(tb, "mail.message.delta"), Mailbox: "me", Path: map[string]string{"mailFolder-id": "inbox"},
		Headers: map[string]string{"Prefer": `IdType="ImmutableId", odata.maxpagesize=100`},
	}
}

// wantFault fails the test unless err has this mark.
func wantFault(t *testing.T, err error, kind fault.Kind, ambiguous bool) *fault.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %v", kind)
	}
	mark := fault.Of(err)
	if mark.Kind != kind || mark.Ambiguous != ambiguous {
		t.Fatalf("kind %v, ambiguous %v; want %v, %v: %v", mark.Kind, mark.Ambiguous, kind, ambiguous, err)
	}
	if strings.Contains(err.Error(), canary) || strings.Contains(mark.Hint, canary) {
		t.Fatalf("the token is in the error: %v", err)
	}
	return mark
}

// writeError answers as Graph does.
func writeError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("request-id", "req-1")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%q,"message":"text of %s","innerError":{"request-id":"req-1"}}}`, code, code)
}
