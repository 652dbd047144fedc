//go:build unix

package proof_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// nodeMain runs one node of a cluster, as nats-server does with a configuration
// file, until it is killed.
func nodeMain() error {
	options, err := server.ProcessConfigFile(os.Getenv("NODE_CONFIG"))
	if err != nil {
		return err
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	s.WaitForShutdown()
	return nil
}

// node is one server of a cluster, a process that comes and goes.
type node struct {
	c             *cluster
	name          string
	client, route string // addresses
	process       *helper
	boots         int
}

// startNodes makes a cluster of three with its data on disk. They sync it when
// they like: what is killed here are processes, and three that sync every write on
// one disk would measure that.
func (c *cluster) startNodes() {
	for i := range 3 {
		c.nodes = append(c.nodes, &node{c: c, name: fmt.Sprintf("node-%d", i+1), client: c.freeAddress(), route: c.freeAddress()})
	}
	for _, n := range c.nodes {
		n.start()
	}
}

func (n *node) start() {
	t := n.c.t
	t.Helper()
	routes := make([]string, 0, len(n.c.nodes))
	for _, other := range n.c.nodes {
		routes = append(routes, "nats://"+other.route)
	}
	// Addresses are not told to clients: a worker that is cut off is to know no
	// other way.
	text := fmt.Sprintf(`server_name: %s
listen: %q
jetstream { store_dir: %q, max_file_store: 4GB }
cluster { name: proof, listen: %q, no_advertise: true, routes: [%s] }
lame_duck_duration: "30s"
lame_duck_grace_period: "2s"
`, n.name, n.client, filepath.Join(n.c.dir, n.name), n.route, strings.Join(routes, ", "))
	config := filepath.Join(n.c.dir, n.name+".conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n.boots++
	h := &helper{t: t, name: n.name, log: filepath.Join(n.c.logs, fmt.Sprintf("%s-%02d.log", n.name, n.boots))}
	out, err := os.Create(h.log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	h.cmd = exec.Command(os.Args[0])
	h.cmd.Env = []string{jobEnv + "=node", "NODE_CONFIG=" + config, "PATH=" + os.Getenv("PATH"), "HOME=" + n.c.dir}
	h.cmd.Stdout, h.cmd.Stderr, h.cmd.SysProcAttr = out, out, leash()
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.kill)
	n.process = h
	until(t, time.Minute, 20*time.Millisecond, n.name+" to listen; "+tail(h.log, 5), func() bool {
		conn, err := net.DialTimeout("tcp", n.client, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// roll ends the node as an update does, and starts it again.
func (n *node) roll() {
	n.c.t.Helper()
	if err := n.process.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		n.c.t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = n.process.cmd.Wait() // how it ends says nothing here
	}()
	select {
	case <-gone:
	case <-time.After(time.Minute):
		n.c.t.Errorf("%s does not end when it is told to\n%s", n.name, tail(n.process.log, 20))
		n.process.kill()
		<-gone
	}
	n.start()
}

// cable is a way for a worker to a node that can be cut: what is under way then
// arrives when it is mended, as between hosts.
type cable struct {
	address string
	mu      sync.Mutex
	mended  chan struct{} // closed while the cable is whole
}

// newCable lays a cable to an address until the test ends.
func newCable(t *testing.T, to string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{address: l.Addr().String(), mended: make(chan struct{})}
	close(c.mended)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { c.carry(ctx, conn, to) })
		}
	})
	return c
}

// carry connects a connection with the other end.
func (c *cable) carry(ctx context.Context, near net.Conn, to string) {
	defer near.Close()
	if !c.whole(ctx) {
		return
	}
	far, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	defer context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() })()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			defer way[1].Close()
			c.copy(ctx, way[1], way[0])
		})
	}
	both.Wait()
}

func (c *cable) copy(ctx context.Context, to io.Writer, from io.Reader) {
	room := make([]byte, 64<<10)
	for {
		n, err := from.Read(room)
		if n > 0 {
			if !c.whole(ctx) {
				return
			}
			if _, err := to.Write(room[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// whole waits until the cable is.
func (c *cable) whole(ctx context.Context) bool {
	c.mu.Lock()
	mended := c.mended
	c.mu.Unlock()
	select {
	case <-mended:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mended = make(chan struct{})
}

func (c *cable) mend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.mended)
}
