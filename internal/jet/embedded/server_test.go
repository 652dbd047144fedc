package embedded_test

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
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o embedded.Options) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *embedded.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestMessagesSurviveARestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "nats")
	s := start(t, embedded.Options{StoreDir: dir})
	if s.URL() != "" {
		t.Errorf("without a listener the address is %q", s.URL())
	}
	if err := s.Healthy(); err != nil {
		t.Error(err)
	}
	if s.MaxStore() <= 0 {
		t.Errorf("streams may use %d bytes", s.MaxStore())
	}
	publish := func(s *embedded.Server) uint64 {
		nc, err := nats.Connect("", s.InProcess())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if nc.MaxPayload() != embedded.DefaultMaxPayload {
			t.Errorf("max payload is %d", nc.MaxPayload())
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		ack, err := js.Publish(t.Context(), "s", nil)
		if err != nil {
			t.Fatal(err)
		}
		return ack.Sequence
	}
	publish(s)
	stop(t, s)
	stop(t, s) // twice is allowed
	if err := s.Healthy(); fault.HintOf(err) == "" {
		t.Errorf("a stopped server is healthy: %v", err)
	}
	if seq := publish(start(t, embedded.Options{StoreDir: dir})); seq != 2 {
		t.Errorf("after a restart the next sequence is %d, want 2", seq)
	}
}

func TestEveryWriteIsSynced(t *testing.T) {
	t.Parallel()
	if !start(t, embedded.Options{StoreDir: t.TempDir()}).SyncAlways() {
		t.Error("a power cut would lose minutes of acknowledged messages")
	}
}

func TestTheFolderHasOneServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, embedded.Options{StoreDir: dir})
	_, err := embedded.Start(t.Context(), embedded.Options{StoreDir: dir})
	if !errors.Is(err, embedded.ErrLocked) || !strings.Contains(err.Error(), dir) || fault.HintOf(err) == "" {
		t.Fatalf("second server: %v (%q)", err, fault.HintOf(err))
	}
	if _, err := embedded.ReadContext(dir); fault.HintOf(err) == "" {
		t.Errorf("a server without a listener can be joined: %v", err)
	}
	stop(t, first)
	start(t, embedded.Options{StoreDir: dir})
}

func TestTheFolderAndItsCredentialAreClosedToOthers(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // no such modes
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0"})
	for path, want := range map[string]os.FileMode{dir: 0o700, embedded.ContextPath(dir): 0o600} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", path, got, want)
		}
	}
}

func TestTheListenersCredentialStaysTheSame(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0"})
	first, err := embedded.ReadContext(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first != s.Context() || first.URL != s.URL() || first.User == "" || len(first.Password) < 32 {
		t.Errorf("read %+v, server at %s", first, s.URL())
	}
	if nc, err := nats.Connect(first.URL, nats.MaxReconnects(0)); err == nil {
		nc.Close()
		t.Error("the listener is open")
	}
	nc, err := nats.Connect(first.URL, nats.UserInfo(first.User, first.Password.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	stop(t, s)

	again := start(t, embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0"})
	if again.Context().Password != first.Password {
		t.Error("a restart changed the password: saved contexts stop working")
	}
	stop(t, again)

	for _, broken := range []string{"", "{", `{"user":"outlook","password":"short"}`} {
		if err := os.WriteFile(embedded.ContextPath(dir), []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0"})
		if len(s.Context().Password) < 32 {
			t.Errorf("file %q gives password of %d bytes", broken, len(s.Context().Password))
		}
		stop(t, s)
	}
}

func TestTheContextFileIsOneOfTheNATSCLI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, embedded.Options{StoreDir: dir, Listen: "localhost:0"})
	raw, err := os.ReadFile(embedded.ContextPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]string
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	if fields["url"] != s.URL() || fields["user"] == "" || fields["password"] == "" || fields["description"] == "" || len(fields) != 4 {
		t.Errorf("file has %v", fields)
	}
	if leftovers, _ := filepath.Glob(embedded.ContextPath(dir) + ".*"); len(leftovers) != 0 {
		t.Errorf("left behind: %v", leftovers)
	}
}

func TestAnOpenListenerAsksForNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := start(t, embedded.Options{StoreDir: dir, Listen: "127.0.0.1:0", Open: true})
	nc, err := nats.Connect(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if c, err := embedded.ReadContext(dir); err != nil || c.User != "" || c.Password != "" {
		t.Errorf("read %+v, %v", c, err)
	}
}

func TestOnlyLoopbackIsListenedOn(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:4222", ":4222", "[::]:0", "192.0.2.1:4222", "example.com:1", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "127.0.0.1:-1"} {
		dir := t.TempDir()
		s, err := embedded.Start(t.Context(), embedded.Options{StoreDir: dir, Listen: address})
		if err == nil {
			stop(t, s)
			t.Errorf("%s was taken", address)
		} else if fault.KindOf(err) != fault.Fatal || fault.HintOf(err) == "" {
			t.Errorf("%s: %v (%q)", address, err, fault.HintOf(err))
		}
	}
	if _, err := embedded.Start(t.Context(), embedded.Options{}); fault.HintOf(err) == "" {
		t.Errorf("no folder: %v", err)
	}
}

func TestATakenAddressIsSaidOrWalkedAround(t *testing.T) {
	t.Parallel()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	address, dir := l.Addr().String(), t.TempDir()
	_, err = embedded.Start(t.Context(), embedded.Options{StoreDir: dir, Listen: address})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), address) || fault.HintOf(err) == "" {
		t.Errorf("got %v (%q)", err, fault.HintOf(err))
	}
	s := start(t, embedded.Options{StoreDir: dir, Listen: address, FreePortIfTaken: true})
	if s.URL() == "nats://"+address || s.URL() == "" {
		t.Errorf("listens on %s", s.URL())
	}
	if c, err := embedded.ReadContext(dir); err != nil || c.URL != s.URL() {
		t.Errorf("others are told %s, %v", c.URL, err)
	}
}

func TestAFullStoreIsRefusedWithAnAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Options{StoreDir: t.TempDir(), MaxStore: 64 << 10})
	nc, err := nats.Connect("", s.InProcess())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Discard: jetstream.DiscardNew}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err = js.Publish(t.Context(), "s", make([]byte, 16<<10)); err != nil {
			break
		}
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); !ok || api.ErrorCode != 10023 && api.ErrorCode != 10047 {
		t.Errorf("got %v", err)
	}
}

func TestNobodyHasRunThere(t *testing.T) {
	t.Parallel()
	if _, err := embedded.ReadContext(t.TempDir()); !errors.Is(err, os.ErrNotExist) || fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestAFolderThatCannotBeUsedIsAnError(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := embedded.Start(t.Context(), embedded.Options{StoreDir: filepath.Join(file, "nats")}); fault.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestTheServersLogGoesToOursWithoutThePassword(t *testing.T) {
	t.Parallel()
	out := new(buffer)
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := start(t, embedded.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Log: log, ServerName: "mine"})
	nc, err := nats.Connect(s.URL(), nats.UserInfo(s.Context().User, s.Context().Password.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if _, err := nats.Connect(s.URL(), nats.UserInfo("outlook", "guess")); err == nil {
		t.Error("let in with a wrong password")
	}
	stop(t, s)
	text := out.String()
	if !strings.Contains(text, "mine") || !strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("logged %s", text)
	}
	if password := s.Context().Password.Reveal(); strings.Contains(text, password) || strings.Contains(fmt.Sprintf("%+v %#v", s.Context(), s.Context()), password) {
		t.Error("the password is printed")
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
