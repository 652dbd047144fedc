//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/sandbox"
)

// crowd is many mailboxes, a NATS server and workers of the program that have
// one publisher: an application that makes drafts in any mailbox. The sandbox and
// the server are in this process. NATS syncs its disk now and then only, as it
// does by itself, so that it is not the disk that bounds the rate.
type crowd struct {
	t       *testing.T
	box     *sandbox.Sandbox
	people  []string
	server  *embedded.Server
	js      jetstream.JetStream
	dir     string
	logs    string
	workers []*process
	latency time.Duration
	slow    *sandbox.Rule
}

const crowdApp, crowdSecret = "crowd-app", "crowd-secret"

// newCrowd makes the world and its streams. No worker runs yet.
func newCrowd(t *testing.T, people, inFlight int, latency time.Duration) *crowd {
	t.Helper()
	box, err := sandbox.New(
		sandbox.Mailboxes(people), sandbox.KeepRequests(1_000_000), sandbox.RequestWindow(0, 0), sandbox.AppWindow(0, 0),
		sandbox.Apps(sandbox.App{ClientID: crowdApp, Secret: crowdSecret, Roles: []string{"Mail.ReadWrite"}}),
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	c := &crowd{t: t, box: box, dir: t.TempDir(), logs: t.ArtifactDir()}
	for _, p := range box.People() {
		c.people = append(c.people, p.UPN)
	}
	c.latency = latency
	c.delay()
	c.startNATS()
	c.configure(inFlight)
	return c
}

func (c *crowd) delay() {
	c.slow = c.box.KeepControl(sandbox.Match{Method: "POST", Route: "/users/{user-id}/messages"}, sandbox.Delay(c.latency))
}

// throttle has the next request to a mailbox told to wait. The first rule that
// fits a request is the one that hits it, so the delay is made anew.
func (c *crowd) throttle(mailbox string, asked time.Duration) {
	c.slow.Remove()
	c.box.ControlN(sandbox.Match{Method: "POST", Mailbox: mailbox}, 1, sandbox.Throttle(http.StatusTooManyRequests, sandbox.RetrySeconds, asked))
	c.delay()
}

func (c *crowd) startNATS() {
	c.t.Helper()
	server, err := embedded.Start(c.t.Context(), embedded.Options{StoreDir: filepath.Join(c.dir, "nats"), Listen: "127.0.0.1:0", Open: true, SyncLate: true})
	if err != nil {
		c.t.Fatal(err)
	}
	c.server = server
	c.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			c.t.Errorf("stop nats: %v", err)
		}
	})
	nc, err := nats.Connect(server.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	if c.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(4096)); err != nil {
		c.t.Fatal(err)
	}
	conn, err := jet.Connect(c.t.Context(), jet.Options{URL: server.URL(), ManageStreams: true})
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(c.t.Context())) }()
	if err := conn.EnsureStreams(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crowd) configure(inFlight int) {
	c.t.Helper()
	if _, stderr, code := call(c.t, c.dir, "init"); code != 0 {
		c.t.Fatalf("init: exit code %d\n%s", code, stderr)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	yaml := fmt.Sprintf(`
nats: {url: %q}
token_store: {path: ./data/tokens.db, key: "${file:./data/token.key}"}
clients:
  - name: app
    tenant: contoso.example
    token_url: %q
    base_url: %q
    grant: client_credentials
    client_id: %s
    client_secret: %s
    scopes: ["%s/.default"]
    limits: {requests: 10000000/10m}
publishers:
  - {name: draft, client: app, entity: mail.message.create, delivery: at_most_once, mailboxes: ["*"], in_flight: %d}
http: {listen: %q}
log: {level: warn, format: json}
`, c.server.URL(), c.box.TokenURL(), c.box.GraphURL(), crowdApp, crowdSecret, c.box.URL(), inFlight, address)
	if err := os.WriteFile(filepath.Join(c.dir, "outlook-connector.yaml"), []byte(yaml), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if stdout, stderr, code := call(c.t, c.dir, "config", "check"); code != 0 {
		c.t.Fatalf("config check: exit code %d\n%s%s", code, stdout, stderr)
	}
}

func (c *crowd) join() *process {
	c.t.Helper()
	p := spawn(c.t, c.dir, c.logs, fmt.Sprintf("run-%02d", len(c.workers)+1), "run")
	c.workers = append(c.workers, p)
	return p
}

// crowdDraft is one command.
type crowdDraft struct{ mailbox, subject string }

// publish stores commands in their order; ordered says by the subjects of their
// mailboxes.
func (c *crowd) publish(ordered bool, list ...crowdDraft) {
	c.t.Helper()
	var acks []jetstream.PubAckFuture
	for _, d := range list {
		command := map[string]any{"payload": map[string]any{"subject": d.subject}}
		subject := "outlook.publish.draft"
		if ordered {
			subject += "." + d.mailbox
		} else {
			command["mailbox"] = d.mailbox
		}
		text, err := json.Marshal(command)
		if err != nil {
			c.t.Fatal(err)
		}
		ack, err := c.js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: text})
		if err != nil {
			c.t.Fatal(err)
		}
		acks = append(acks, ack)
	}
	for _, ack := range acks {
		select {
		case <-ack.Ok():
		case err := <-ack.Err():
			c.t.Fatal(err)
		case <-c.t.Context().Done():
			c.t.Fatal("commands were not stored in time")
		}
	}
}

// made are the drafts that were made, in the order in which that was begun.
func (c *crowd) made() []sandbox.Effect {
	return slices.DeleteFunc(c.box.Effects(), func(e sandbox.Effect) bool { return e.Kind != sandbox.EffectCreated })
}

// deliveries is how often the shared consumer gave out a command, and held how
// many are given out or put off.
func (c *crowd) deliveries() (n uint64, held int) {
	c.t.Helper()
	consumer, err := c.js.Consumer(c.t.Context(), "OUTLOOK_PUBLISH", "publish")
	if err != nil {
		c.t.Fatal(err)
	}
	info := consumer.CachedInfo()
	return info.Delivered.Consumer, info.NumAckPending
}

// check looks for drafts that were made twice, and for broken limits.
func (c *crowd) check(made []sandbox.Effect) {
	c.t.Helper()
	subjects := map[string]int{}
	for _, e := range made {
		if subjects[e.Subject]++; subjects[e.Subject] == 2 {
			c.t.Errorf("%q was made twice", e.Subject)
		}
	}
	s := c.box.Stats()
	if early := c.early(); s.MaxConcurrency > 4 || s.Refused > 0 || s.Throttled > 0 || early > 0 {
		c.t.Errorf("the limits were broken: %d at once, %d refused, %d throttled, %d before their Retry-After",
			s.MaxConcurrency, s.Refused, s.Throttled, early)
	}
}

// early counts the requests that came before a Retry-After was over, but for
// those that were on their way when it was said.
func (c *crowd) early() (n int) {
	const onTheWay = 100 * time.Millisecond
	said := map[string]time.Time{}
	for _, call := range c.box.Requests() {
		switch at := said[call.Mailbox]; {
		case !call.Offence && call.Status == http.StatusTooManyRequests:
			said[call.Mailbox] = call.Finished
		case call.Offence && call.Arrived.After(at.Add(onTheWay)):
			n++
		}
	}
	return n
}
