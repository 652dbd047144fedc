package jet_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		if err := runVictim(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	// A server that is stopped in the middle of a batch keeps the staged copy
	// open (2.15.2: it leaves that to the next start). A server left running
	// would show by its other goroutines.
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction(server+".(*msgBlock).flushLoop"),
		goleak.IgnoreTopFunction(server+"/ats.Register.func1"),
	)
}

// world is one embedded server that a test can stop and start again under its
// connections.
type world struct {
	t    testing.TB
	dir  string
	late bool // the disk is synced as rarely as nats-server does by itself

	mu     sync.Mutex
	server *embedded.Server
	conns  []*pipe
}

func newWorld(tb testing.TB) *world {
	tb.Helper()
	return started(&world{t: tb, dir: tb.TempDir()})
}

// newLateWorld has a server that syncs its disk as rarely as nats-server does by
// itself.
func newLateWorld(tb testing.TB) *world {
	tb.Helper()
	return started(&world{t: tb, dir: tb.TempDir(), late: true})
}

func started(w *world) *world {
	w.t.Helper()
	w.start()
	w.t.Cleanup(w.stop)
	return w
}

func (w *world) start() {
	w.t.Helper()
	server, err := embedded.Start(context.WithoutCancel(w.t.Context()), embedded.Options{StoreDir: w.dir, MaxPayload: 1 << 20, SyncLate: w.late})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	w.server = server
	w.mu.Unlock()
}

func (w *world) stop() {
	w.mu.Lock()
	server := w.server
	w.server = nil
	w.mu.Unlock()
	if server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), 20*time.Second)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		w.t.Error(err)
	}
}

// InProcessConn leads to whichever server runs at the time.
func (w *world) InProcessConn() (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server == nil {
		return nil, errors.New("server is down")
	}
	var o nats.Options
	if err := w.server.InProcess()(&o); err != nil {
		return nil, err
	}
	conn, err := o.InProcessServer.InProcessConn()
	if err != nil {
		return nil, err
	}
	p := &pipe{Conn: conn, muted: make(chan struct{}), closed: make(chan struct{})}
	w.conns = append(w.conns, p)
	return p, nil
}

// mute makes the connections that exist deaf: what they send arrives, and the
// answers do not come.
func (w *world) mute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.conns {
		close(p.muted)
	}
}

// cut ends the connections that are muted; their clients connect again.
func (w *world) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = slices.DeleteFunc(w.conns, func(p *pipe) bool {
		select {
		case <-p.muted:
			return p.Close() == nil
		default:
			return false
		}
	})
}

// writes is how often the connections that exist were written to.
func (w *world) writes() (n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.conns {
		n += p.writes.Load()
	}
	return n
}

// pipe is a connection whose answers can be held up, and whose writes are counted.
type pipe struct {
	net.Conn
	writes atomic.Int64
	muted  chan struct{}
	once   sync.Once
	closed chan struct{}
}

func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	select {
	case <-p.muted:
		<-p.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (p *pipe) Write(b []byte) (int, error) {
	p.writes.Add(1)
	return p.Conn.Write(b)
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.Conn.Close()
}

// option is InProcess through the world, so that it survives a restart.
func (w *world) option() nats.Option {
	return func(o *nats.Options) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.server != nil {
			if err := w.server.InProcess()(o); err != nil { // for user and password, which stay the same
				return err
			}
		}
		o.InProcessServer = w
		return nil
	}
}

// connect returns a connection with its streams set up.
func (w *world) connect(change ...func(*jet.Options)) *jet.Conn {
	w.t.Helper()
	c := w.dial(change...)
	if err := c.EnsureStreams(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) dial(change ...func(*jet.Options)) *jet.Conn {
	w.t.Helper()
	o := jet.Options{InProcess: w.option(), ManageStreams: true, AckWait: 600 * time.Millisecond, Timeout: 3 * time.Second}
	for _, f := range change {
		f(&o)
	}
	c, err := jet.Connect(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { closeConn(w.t, c) })
	return c
}

func closeConn(tb testing.TB, c *jet.Conn) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 10*time.Second)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		tb.Error(err)
	}
}

// raw is a plain client of the same server, for what the package does not
// offer.
func (w *world) raw() *nats.Conn {
	w.t.Helper()
	nc, err := nats.Connect("", w.option())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(nc.Close)
	return nc
}

// eventually waits until holds is true, or fails.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(15 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// must returns v where err is nil.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
