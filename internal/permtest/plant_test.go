package permtest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"outlook-connector/config"
	"outlook-connector/internal/cli"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
	"outlook-connector/worker"
)

const (
	ann = "ann@contoso.example"
	ben = "ben@contoso.example"

	patience = 30 * time.Second
)

// roles are the roles that run in the scenario, each with its user. The role
// worker is the sum of subscriber and publisher, see its own test.
func roles() []string {
	return []string{"setup", "tokens", "subscriber", "publisher", "http", "sender", "listener", "operator"}
}

// guard is the server's log, of which only violations count.
type guard struct {
	mu         sync.Mutex
	violations []string
	first      chan struct{}
}

func (g *guard) Noticef(string, ...any) {}
func (g *guard) Warnf(string, ...any)   {}
func (g *guard) Fatalf(string, ...any)  {}
func (g *guard) Debugf(string, ...any)  {}
func (g *guard) Tracef(string, ...any)  {}

var violation = regexp.MustCompile(`((?:Publish|Subscription) Violation) - (.*)$`)

// Errorf takes the server's errors.
func (g *guard) Errorf(format string, v ...any) {
	found := violation.FindString(fmt.Sprintf(format, v...))
	if found == "" {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.violations) == 0 {
		close(g.first)
	}
	g.violations = append(g.violations, found)
}

func (g *guard) list() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.violations
}

// plant is everything that the roles work with: a server with their permissions,
// a sandbox, and a wire for each role.
type plant struct {
	*sandbox.Sandbox
	t     *testing.T
	ctx   context.Context //nolint:containedctx // ends at the first violation
	dir   string
	guard *guard
	wires map[string]*wire
	admin string // an address of the server for a user who may do everything
	http  *http.Client
}

// newPlant starts a plant. files are the permissions of the roles, by their names.
func newPlant(t *testing.T, files map[string]string) *plant {
	t.Helper()
	graph, err := sandbox.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := graph.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	p := &plant{
		Sandbox: graph, t: t, ctx: ctx, dir: t.TempDir(), wires: map[string]*wire{}, guard: &guard{first: make(chan struct{})},
		http: &http.Client{Transport: transport, Timeout: patience},
	}
	var watching sync.WaitGroup
	watching.Go(func() { // what was refused has been shown, and the rest only waits
		select {
		case <-p.guard.first:
			cancel()
		case <-ctx.Done():
		}
	})
	t.Cleanup(func() {
		cancel()
		watching.Wait()
		transport.CloseIdleConnections()
		if err := graph.Close(); err != nil {
			t.Errorf("close sandbox: %v", err)
		}
	})
	p.write("token.key", seal.NewKeyText().Reveal())
	address := p.serve(files)
	for _, role := range roles() {
		p.wires[role] = newWire(t, address)
	}
	p.admin = "nats://admin:admin@" + address
	return p
}

func (p *plant) write(name, text string) string {
	p.t.Helper()
	file := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// serve starts the server from a configuration file that includes those of the
// roles, as deploy/nats/nats-server.conf does.
func (p *plant) serve(files map[string]string) (address string) {
	p.t.Helper()
	var users strings.Builder
	for _, role := range roles() {
		p.write("roles/"+role+".conf", files[role])
		fmt.Fprintf(&users, "      { user: %q, password: %q, permissions: { include \"roles/%s.conf\" } }\n", role, role, role)
	}
	// A small max_payload has large bodies go to the object store.
	main := p.write("nats-server.conf", fmt.Sprintf(`
listen: "127.0.0.1:-1"
max_payload: 256KB
jetstream { store_dir: %q }
accounts {
  OUTLOOK {
    jetstream: enabled
    users: [
      { user: admin, password: admin }
%s    ]
  }
}
`, filepath.Join(p.dir, "nats"), users.String()))
	options, err := server.ProcessConfigFile(main)
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	options.NoSigs = true
	ns, err := server.NewServer(options)
	if err != nil {
		p.t.Fatal(err)
	}
	ns.SetLoggerV2(p.guard, false, false, false)
	ns.Start()
	p.t.Cleanup(func() { ns.Shutdown(); ns.WaitForShutdown() })
	if !ns.ReadyForConnections(patience) {
		p.t.Fatal("the server does not come up")
	}
	return ns.Addr().String()
}

// config writes the configuration of a role's program and returns its file.
func (p *plant) config(role, more string) string {
	p.t.Helper()
	return p.write(role+".yaml", fmt.Sprintf(`
nats:
  url: "nats://%s:%s@%s"
  inbox_prefix: _INBOX_%s
  manage_streams: false
token_store: {path: ./%s/tokens.db, key: "${file:./token.key}"}
clients:
  - {name: contoso, tenant: contoso.example, authorize_url: %q, token_url: %q, base_url: %q, client_id: %q, scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.Send]}
http: {listen: %q}
%s
`, role, role, p.wires[role].address(), role, role, p.AuthorizeURL(), p.TokenURL(), p.GraphURL(), sandbox.DefaultClientID, p.freeAddress(), more))
}

func (p *plant) freeAddress() string {
	p.t.Helper()
	l, err := (&net.ListenConfig{}).Listen(p.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts the process of a role. stop may be called before the end of the
// test.
func (p *plant) start(file string, of ...worker.Role) (w *worker.Worker, stop func()) {
	p.t.Helper()
	c, err := config.Load(file)
	if err != nil {
		p.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(p.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	w, err = worker.New(worker.Options{Config: c, Roles: of, Log: log.With("of", filepath.Base(file))})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := w.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.t.Context()), patience)
		defer cancel()
		if err := w.Stop(ctx); err != nil && p.ctx.Err() == nil {
			p.t.Errorf("stop: %v", err)
		}
	})
	p.t.Cleanup(stop)
	return w, stop
}

// run runs a command line of a role, which must end with the code.
func (p *plant) run(code int, args ...string) string {
	p.t.Helper()
	var out, problems bytes.Buffer
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if got := cli.Main(ctx, args, strings.NewReader(""), &out, &problems); got != code {
		p.fail("outlook-connector %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out.String(), problems.String())
	}
	return out.String()
}

// broken ends a scenario.
type broken struct{ text string }

// fail ends the scenario.
func (p *plant) fail(format string, args ...any) { panic(broken{fmt.Sprintf(format, args...)}) }

// until waits until something holds, and ends the scenario where it does not or
// the server has refused something.
func (p *plant) until(what string, holds func() bool) {
	p.t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-p.guard.first:
			p.fail("refused while waiting for %s", what)
		case <-deadline:
			p.fail("no %s", what)
		}
	}
}

// play runs a scenario to its end or its first trouble, which it returns.
func (p *plant) play(scenario func(p *plant)) (trouble string) {
	defer func() {
		if problem := recover(); problem != nil {
			b, ok := problem.(broken)
			if !ok {
				panic(problem)
			}
			trouble = b.text
		}
	}()
	scenario(p)
	return ""
}
