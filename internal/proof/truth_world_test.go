//go:build unix

package proof_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What the subscriber is held to.
const (
	// tellsKinds: created, updated and deleted are told apart; changed is not said.
	tellsKinds = true
	// tellsLosses: where Graph loses a delta token, the true differences are told
	// and nothing else, missed deletions among them.
	tellsLosses = true
	// mayDoubt: a deletion may be told that nobody has looked up, and which says so,
	// because that would take too much of the mailbox's quota.
	mayDoubt = true
)

// crew is a sandbox, a NATS server as a process of its own, and workers that are
// killed and frozen while they work.
type crew struct {
	*world
	natsAddress string
	server      *helper
	boot        int // of the server
	// owner has the tokens alone, and keeps them until it is stopped.
	owner *process

	mu       sync.Mutex // guards what follows
	working  []*process
	frozen   *process
	kills    int
	restarts int
	freezes  int
	deeds    []deed
}

// newCrew starts the sandbox and the server, and has the person sign in. The
// subscriptions are made for a sandbox.
func newCrew(t *testing.T, people int, subscriptions func(g *graph) string, flags ...string) *crew {
	t.Helper()
	w := emptyWorld(t)
	c := &crew{world: w}
	w.config = filepath.Join(w.dir, "outlook-connector.yaml")
	w.graph = startGraph(t, w.dir, w.logs, people, flags...)
	w.listen, c.natsAddress = w.freeAddress(), w.freeAddress()
	if _, stderr, code := call(t, w.dir, "init"); code != 0 {
		t.Fatalf("init: exit code %d\n%s", code, stderr)
	}
	c.startServer()
	yaml := fmt.Sprintf(`
nats: {url: "nats://%s"}
token_store: {path: ./data/tokens.db, key: "${file:./data/token.key}"}
clients:
  - name: contoso
    tenant: contoso.example
    authorize_url: %q
    token_url: %q
    base_url: %q
    client_id: %q
    scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.ReadWrite.Shared, Mail.Send, Mail.Send.Shared, Calendars.Read, Calendars.Read.Shared, Contacts.Read, Contacts.Read.Shared, Tasks.Read, Tasks.Read.Shared]
subscriptions:
%s
http: {listen: %q}
log: {level: info, format: json}
`, c.natsAddress, w.graph.AuthorizeURL, w.graph.TokenURL, w.graph.BaseURL, w.graph.ClientID, subscriptions(w.graph), w.listen)
	if err := os.WriteFile(w.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := call(t, w.dir, "config", "check"); code != 0 {
		t.Fatalf("config check: exit code %d\n%s%s", code, stdout, stderr)
	}
	c.owner = w.start("--roles", "tokens,http")
	w.signIn(w.up(c.owner))
	return c
}

// everybody is the people as a list of YAML.
func everybody(people []string) string {
	return "[" + strings.Join(append([]string{"me"}, people[1:]...), ", ") + "]"
}

// startServer starts NATS and waits until it listens.
func (c *crew) startServer() {
	c.boot++
	h := &helper{t: c.t, name: "nats", log: filepath.Join(c.logs, fmt.Sprintf("nats-%02d.log", c.boot))}
	out, err := os.Create(h.log)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer out.Close()
	h.cmd = exec.Command(os.Args[0])
	h.cmd.Env = []string{
		jobEnv + "=nats", "SLOTS_STORE=" + filepath.Join(c.dir, "nats"), "SLOTS_NATS=" + c.natsAddress,
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir,
	}
	h.cmd.Stdout, h.cmd.Stderr, h.cmd.SysProcAttr = out, out, leash()
	if err := h.cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	c.t.Cleanup(h.kill)
	c.server = h
	if !waited(c.t.Context(), 60*time.Second, 20*time.Millisecond, func() bool {
		conn, err := net.DialTimeout("tcp", c.natsAddress, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}) {
		c.t.Errorf("NATS does not listen\n%s", tail(h.log, 25))
	}
}

func (c *crew) did(format string, args ...any) {
	c.deeds = append(c.deeds, deed{time.Now(), fmt.Sprintf(format, args...)})
}

// hire starts one more worker.
func (c *crew) hire() *process {
	p := c.start()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working = append(c.working, p)
	return p
}

// strike kills a random worker that is not frozen, and hires another one.
func (c *crew) strike(d *rand.Rand) {
	c.mu.Lock()
	i := d.IntN(len(c.working))
	if c.working[i] == c.frozen {
		i = (i + 1) % len(c.working)
	}
	p := c.working[i]
	c.working = append(c.working[:i], c.working[i+1:]...)
	c.kills++
	c.did("kill %s", p.name)
	c.mu.Unlock()
	p.alive()
	p.kill()
	c.hire()
}

// restart kills the server and starts it again.
func (c *crew) restart() {
	c.mu.Lock()
	c.restarts++
	c.did("kill NATS")
	c.mu.Unlock()
	c.server.kill()
	c.startServer()
}

// freeze stops a random worker for a time, and lets it go on as if nothing had
// happened.
func (c *crew) freeze(ctx context.Context, d *rand.Rand, span time.Duration) {
	c.mu.Lock()
	p := c.working[d.IntN(len(c.working))]
	c.frozen = p
	c.freezes++
	c.did("freeze %s", p.name)
	c.mu.Unlock()
	p.signal(syscall.SIGSTOP)
	pause(ctx, span)
	p.signal(syscall.SIGCONT)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = nil
	c.did("thaw %s", p.name)
}

// crisis is what happens to the workers and the server while people live.
type crisis struct {
	strike  time.Duration // mean time between two kills of a worker
	restart time.Duration // between two of the server
	frozen  time.Duration // how long one worker is frozen, again and again
	lose    time.Duration // between two losses of a mailbox's delta tokens; 0: none
	// restarts is how often the server is killed at most; 0: no bound.
	restarts int
}

// trouble makes a crisis until ctx ends, and returns when nobody is frozen any
// more.
func (c *crew) trouble(ctx context.Context, seed uint64, is crisis) {
	var wait sync.WaitGroup
	defer wait.Wait()
	every := func(lane uint64, mean time.Duration, do func(d *rand.Rand)) {
		if mean == 0 {
			return
		}
		d := rand.New(rand.NewPCG(seed, lane))
		wait.Go(func() {
			for {
				pause(ctx, mean/2+time.Duration(d.Int64N(int64(mean))))
				if ctx.Err() != nil {
					return
				}
				do(d)
			}
		})
	}
	every(101, is.strike, c.strike)
	every(102, is.restart, func(*rand.Rand) {
		if is.restarts == 0 || c.restarts < is.restarts {
			c.restart()
		}
	})
	every(103, is.frozen/2, func(d *rand.Rand) { c.freeze(ctx, d, is.frozen) })
	every(104, is.lose, func(d *rand.Rand) {
		upn := c.graph.People[d.IntN(len(c.graph.People))]
		if err := c.graph.control(ctx, http.MethodPost, "expire-delta", map[string]string{"mailbox": upn}, nil); err != nil && ctx.Err() == nil {
			c.t.Error(err)
		}
	})
}

// weather are the faults that Graph has in store for the connector, each with its
// odds; the dice are the sandbox's.
func (c *crew) weather(d *rand.Rand) {
	c.t.Helper()
	type spec = map[string]any
	for _, f := range []struct {
		odds  float64
		fault spec
	}{
		{0.010, spec{"kind": "throttle", "shape": "seconds", "wait": "1s"}},
		{0.005, spec{"kind": "throttle", "shape": "date", "wait": "2s"}},
		{0.010, spec{"kind": "fail_before", "status": 503, "code": "ServiceUnavailable", "retry_after": "1"}},
		{0.010, spec{"kind": "fail_before", "status": 504, "code": "UnknownError"}},
		{0.010, spec{"kind": "reset_before"}},
		{0.010, spec{"kind": "reset_after"}},
		{0.005, spec{"kind": "truncate", "bytes": 300}},
		{0.005, spec{"kind": "half_json"}},
		{0.005, spec{"kind": "html_page"}},
		{0.003, spec{"kind": "no_links"}},
		{0.003, spec{"kind": "both_links"}},
		{0.003, spec{"kind": "next_link_loop"}},
		{0.003, spec{"kind": "dribble", "bytes": 2000, "every": "20ms"}},
		{0.030, spec{"kind": "delay", "delay": "400ms"}},
		{0.003, spec{"kind": "delay", "delay": "3s"}},
	} {
		c.fault(d, f.odds, f.fault)
	}
	if tellsLosses {
		c.fault(d, 0.002, spec{"kind": "delta_lost"})
		c.fault(d, 0.001, spec{"kind": "delta_lost", "status": 400, "code": "syncStateNotFound"})
	}
	c.graph.must(http.MethodPost, "delta", map[string]any{"replays": 0.05, "seed": d.Uint64() >> 12, "empty_pages": 7}, nil)
}

func (c *crew) fault(d *rand.Rand, odds float64, fault map[string]any) {
	c.t.Helper()
	c.graph.must(http.MethodPost, "faults", map[string]any{
		"match": map[string]string{"method": "GET", "app": c.graph.ClientID}, "fault": fault,
		"count": -1, "probability": odds, "seed": d.Uint64() >> 12,
	}, nil)
}

// clear ends the weather, and says how many requests it hit.
func (c *crew) clear() (hits int) {
	c.t.Helper()
	var rules []struct{ Hits int }
	c.graph.must(http.MethodGet, "faults", nil, &rules)
	for _, r := range rules {
		hits += r.Hits
	}
	c.graph.must(http.MethodDelete, "faults", nil, nil)
	c.graph.must(http.MethodPost, "delta", map[string]any{}, nil)
	return hits
}
