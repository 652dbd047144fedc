package jet_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/seal"
)

// freeAddress returns a loopback address that was free a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func startServer(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, o jet.Options) *jet.Conn {
	t.Helper()
	c, err := jet.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(t, c) })
	return c
}

func TestAServerThatIsAbsentIsWaitedFor(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	c := dial(t, jet.Options{URL: "nats://u:secret@" + address, ManageStreams: true})
	ready := c.Ready()
	if fault.KindOf(ready) != fault.Retry || fault.Of(ready).Code != "not_connected" || fault.HintOf(ready) == "" || strings.Contains(ready.Error(), "secret") {
		t.Errorf("ready says %v", ready)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.EnsureStreams(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	set := make(chan error, 1)
	go func() { set <- c.EnsureStreams(t.Context()) }()
	startServer(t, embedded.Options{StoreDir: t.TempDir(), Listen: address, Open: true})
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(); err != nil {
		t.Errorf("ready says %v", err)
	}
	if s := c.Server(); s.Version == "" || s.Address != "nats://"+address {
		t.Errorf("server %+v", s)
	}
}

func TestACommandThatSomebodyWaitsForFailsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := jet.Connect(t.Context(), jet.Options{URL: "nats://" + freeAddress(t), FailFast: true})
	if err == nil || fault.HintOf(err) == "" {
		t.Errorf("got %v (%q)", err, fault.HintOf(err))
	}
	for _, o := range []jet.Options{
		{},
		{URL: "nats://127.0.0.1:1", Prefix: "a.b"},
		{Context: "no-such-context"},
		{URL: "x", CredentialsFile: "/none.creds"},
		{URL: "x", TLSCAFile: "/none.pem"},
		{URL: "x", TLSCertFile: "/none.pem"},
	} {
		if _, err := jet.Connect(t.Context(), o); fault.KindOf(err) != fault.Fatal || fault.HintOf(err) == "" {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestTheListenerDemandsItsCredential(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServer(t, embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0"})
	_, err := jet.Connect(t.Context(), jet.Options{URL: s.URL(), FailFast: true})
	if fault.Of(err).Code != "nats_auth" {
		t.Errorf("without a password: %v", err)
	}
	// One that waits says why it is not ready, and is let in by nothing else.
	waiting := dial(t, jet.Options{URL: s.URL(), User: "outlook", Password: "wrong"})
	eventually(t, "it says that the login is refused", func() bool { return fault.Of(waiting.Ready()).Code == "nats_auth" })

	found, err := embedded.ReadContext(dir)
	if err != nil {
		t.Fatal(err)
	}
	joined := dial(t, jet.Options{URL: found.URL, User: found.User, Password: found.Password, ManageStreams: true, FailFast: true})
	if err := joined.EnsureStreams(t.Context()); err != nil {
		t.Error(err)
	}
	// The same file serves as a context of the nats CLI.
	byContext := dial(t, jet.Options{Context: embedded.ContextPath(dir), FailFast: true})
	if err := byContext.EnsureStreams(t.Context()); err != nil {
		t.Error(err)
	}
	inside := dial(t, jet.Options{InProcess: s.InProcess()})
	if err := inside.EnsureStreams(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnswersComeToAPrivateInbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	raw := w.raw()
	spy := must(raw.SubscribeSync("_INBOX.>"))
	own := must(raw.SubscribeSync("_INBOX_outlook.>"))
	if err := raw.Flush(); err != nil { // the server must know of them before the answers come
		t.Fatal(err)
	}
	commit(t, c, "me", 0, 1)
	if _, err := own.NextMsg(5 * time.Second); err != nil {
		t.Errorf("no answer came to the private inbox: %v", err)
	}
	if m, err := spy.NextMsg(50 * time.Millisecond); err == nil {
		t.Errorf("an answer came to the shared inbox: %s", m.Data)
	}
}

func TestARefusedPermissionIsLogged(t *testing.T) {
	t.Parallel()
	log := new(buffer)
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.Log = slog.New(slog.NewJSONHandler(log, nil)) })
	c.ReportAsync(fmt.Errorf("%w: publish to x", nats.ErrPermissionViolation))
	c.ReportAsync(errors.New("slow consumer"))
	var line struct{ Level, Msg, Hint string }
	found := false
	for text := range strings.Lines(log.String()) {
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		found = found || line.Level == "ERROR" && line.Hint != ""
	}
	if !found {
		t.Errorf("logged %s", log.String())
	}
}

// buffer is a bytes.Buffer that several goroutines may use.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestARunNATSContextIsUsed(t *testing.T) {
	// Not parallel: it sets the environment.
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	s := startServer(t, embedded.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	dir := filepath.Join(home, "nats", "context")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	context := s.Context()
	text := must(json.Marshal(map[string]string{"url": context.URL, "user": context.User, "password": context.Password.Reveal(), "inbox_prefix": "_INBOX_mine"}))
	if err := os.WriteFile(filepath.Join(dir, "prod.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	inside := dial(t, jet.Options{InProcess: s.InProcess(), ManageStreams: true})
	if err := inside.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := dial(t, jet.Options{Context: "prod", FailFast: true})
	if err := c.EnsureStreams(t.Context()); err != nil {
		t.Error(err)
	}
	if got := c.NewInbox(); !strings.HasPrefix(got, "_INBOX_mine.") {
		t.Errorf("inbox %s: the context's own prefix was not kept", got)
	}
}

func TestCloseEndsEverythingAndMayBeRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	closeConn(t, c)
	closeConn(t, c)
	if _, err := c.Commit(t.Context(), page(c, "me", 0, 1)); fault.KindOf(err) != fault.Retry {
		t.Errorf("commit after close: %v", err)
	}
	if c.Ready() == nil {
		t.Error("ready after close")
	}
	absent := dial(t, jet.Options{URL: "nats://" + freeAddress(t)})
	closeConn(t, absent)
}

func TestNoPasswordIsPrinted(t *testing.T) {
	t.Parallel()
	o := jet.Options{Password: seal.Secret("hunter2")}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v", o, o, o), string(must(json.Marshal(o.Password)))} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("printed %s", text)
		}
	}
}
