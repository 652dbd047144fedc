//go:build unix

package proof_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// TestProofCluster runs four workers on a cluster of three NATS servers with three
// copies of everything, under a steady load, and has what a cluster has happen to
// it: nodes, leaders and workers are killed, a worker is cut off, the nodes are
// updated one after the other, workers leave and join. Nothing may be lost or done
// twice, and lateness be as before within [takeover].
func TestProofCluster(t *testing.T) {
	together(t)
	c := newCluster(t)
	c.load(t.Context())
	pause(t.Context(), c.calm) // as long as all is well
	for _, is := range c.disasters() {
		if t.Failed() {
			break
		}
		c.happens(is)
		pause(t.Context(), time.Until(is.at.Add(takeover+c.calm)))
	}
	c.end()
	c.judge()
}

// cluster is a machine with a cluster of NATS on it, and workers.
type cluster struct {
	*world
	nodes   []*node
	witness *witness
	cables  []*cable
	remote  *process // the worker behind the cables
	crew    []*process

	boxes, copies int // mailboxes, and subscriptions of each
	mails, outs   int // to be done a second
	every, calm   time.Duration

	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex // guards what follows
	sent     map[string]time.Time
	happened []*disaster
}

// disaster is something that happens to the cluster.
type disaster struct {
	what string
	do   func()
	at   time.Time
	over time.Time // when all was done that belongs to it
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	w := emptyWorld(t)
	c := &cluster{
		world: w, boxes: pick(10, 100), copies: pick(2, 10), mails: pick(2, 5), outs: pick(10, 200),
		every: pick(2*time.Second, 10*time.Second), calm: pick(2*time.Second, 15*time.Second),
		sent: map[string]time.Time{},
	}
	w.config = filepath.Join(w.dir, "outlook-connector.yaml")
	w.graph = startGraph(t, w.dir, w.logs, c.boxes)
	w.listen = w.freeAddress()
	if _, stderr, code := call(t, w.dir, "init"); code != 0 {
		t.Fatalf("init: exit code %d\n%s", code, stderr)
	}
	c.startNodes()
	urls := make([]string, 0, len(c.nodes))
	lines := make([]string, 0, len(c.nodes))
	for _, n := range c.nodes {
		urls = append(urls, "nats://"+n.client)
		cable := newCable(t, n.client)
		c.cables, lines = append(c.cables, cable), append(lines, "nats://"+cable.address)
	}
	c.configure(w.config, strings.Join(urls, ","))
	c.configure(c.behind(), strings.Join(lines, ","))
	c.witness = newWitness(t, listener{URL: strings.Join(urls, ",")})
	w.signIn(w.up(w.start("--roles", "tokens,http")))
	for range 3 {
		c.crew = append(c.crew, w.start("--roles", "subscriber,publisher"))
	}
	c.remote = w.start("--roles", "subscriber,publisher", "--config", c.behind())
	for _, p := range append(slices.Clone(c.crew), c.remote) {
		c.works(p)
	}
	return c
}

// works waits until a worker without a port has started.
func (c *cluster) works(p *process) {
	c.t.Helper()
	until(c.t, time.Minute, 20*time.Millisecond, p.name+" to start", func() bool {
		p.alive()
		_, ok := p.logged("worker started")
		return ok
	})
}

// behind is the configuration of the worker that cables lead to.
func (c *cluster) behind() string { return filepath.Join(c.dir, "remote.yaml") }

func (c *cluster) configure(path, urls string) {
	c.t.Helper()
	var subscriptions strings.Builder
	for i := range c.copies {
		fmt.Fprintf(&subscriptions, `  - {name: inbox-%d, client: contoso, entity: mail.message.delta, path: {mailFolder-id: inbox}, mailboxes: %s, query: {$select: subject}, every: %s, start: all}
`, i, everybody(c.graph.People), c.every)
	}
	text := fmt.Sprintf(`nats: {url: %q, replicas: 3}
token_store: {path: ./data/tokens.db, key: "${file:./data/token.key}"}
clients:
  - name: contoso
    tenant: contoso.example
    authorize_url: %q
    token_url: %q
    base_url: %q
    client_id: %q
    scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.ReadWrite.Shared, Mail.Send, Mail.Send.Shared]
subscriptions:
%spublishers:
  - {name: send, client: contoso, entity: mail.message.sendMail, mailboxes: ["*"], settle: 5s}
http: {listen: %q}
log: {level: info, format: json}
`, urls, c.graph.AuthorizeURL, c.graph.TokenURL, c.graph.BaseURL, c.graph.ClientID, subscriptions.String(), c.listen)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if stdout, stderr, code := call(c.t, c.dir, "config", "check", "--config", path); code != 0 {
		c.t.Fatalf("config check: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// disasters are what happens, in that order.
func (c *cluster) disasters() []*disaster {
	list := []*disaster{
		{what: "the leader of the commands is killed", do: func() { c.strike(c.leader("OUTLOOK_PUBLISH")) }},
		{what: "a worker is killed", do: c.killWorker},
	}
	if !*long {
		return list
	}
	return append(list,
		&disaster{what: "a node that leads nothing of the commands is killed", do: func() {
			leader := c.leader("OUTLOOK_PUBLISH")
			c.strike(c.nodes[(slices.Index(c.nodes, leader)+1)%len(c.nodes)])
		}},
		&disaster{what: "the leader of the events is killed", do: func() { c.strike(c.leader("OUTLOOK_EVENTS")) }},
		&disaster{what: "a worker is cut off", do: c.isolate},
		&disaster{what: "the nodes are updated one after the other", do: func() {
			for _, n := range c.nodes {
				n.roll()
				c.healthy()
			}
		}},
		&disaster{what: "workers leave and others join", do: func() {
			old := c.crew
			c.crew = nil
			for _, p := range old {
				c.hire()
				p.stop()
			}
		}},
	)
}

func (c *cluster) happens(is *disaster) {
	is.at = time.Now()
	is.do()
	is.over = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.happened = append(c.happened, is)
}

// leader is the node that leads a stream.
func (c *cluster) leader(stream string) (leads *node) {
	c.t.Helper()
	until(c.t, takeover, 200*time.Millisecond, "a leader of "+stream, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		s, err := c.witness.js.Stream(ctx, stream)
		if err != nil || s.CachedInfo().Cluster == nil {
			return false
		}
		for _, n := range c.nodes {
			if n.name == s.CachedInfo().Cluster.Leader {
				leads = n
			}
		}
		return leads != nil
	})
	return leads
}

// strike kills a node, which comes back after a while.
func (c *cluster) strike(n *node) {
	n.process.kill()
	pause(c.t.Context(), 3*time.Second)
	n.start()
}

// healthy waits until every stream has all its copies.
func (c *cluster) healthy() {
	c.t.Helper()
	until(c.t, time.Minute, 300*time.Millisecond, "every copy to be current", func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		list := c.witness.js.ListStreams(ctx)
		n := 0
		for info := range list.Info() {
			n++
			if info.Cluster == nil || info.Cluster.Leader == "" || len(info.Cluster.Replicas) != 2 {
				return false
			}
			for _, r := range info.Cluster.Replicas {
				if !r.Current || r.Offline {
					return false
				}
			}
		}
		return list.Err() == nil && n > 5
	})
}

func (c *cluster) hire() {
	p := c.start("--roles", "subscriber,publisher")
	c.crew = append(c.crew, p)
	c.works(p)
}

func (c *cluster) killWorker() {
	i := c.dice.IntN(len(c.crew))
	c.crew[i].kill()
	c.crew = slices.Delete(c.crew, i, i+1)
	c.hire()
}

// isolate cuts a worker off from all nodes, for longer than anything waits for it.
// Graph it still reaches.
func (c *cluster) isolate() {
	for _, cable := range c.cables {
		cable.cut()
	}
	pause(c.t.Context(), 2*ackWait+5*time.Second)
	for _, cable := range c.cables {
		cable.mend()
	}
}

// load has mails come and commands be published until [cluster.end].
func (c *cluster) load(ctx context.Context) {
	ctx, c.stop = context.WithCancel(ctx)
	each := func(perSecond int, do func(n int)) {
		c.running.Go(func() {
			ticker := time.NewTicker(time.Second / time.Duration(perSecond))
			defer ticker.Stop()
			var busy sync.WaitGroup
			defer busy.Wait()
			for n := 0; ; n++ {
				select {
				case <-ticker.C:
					busy.Go(func() { do(n) })
				case <-ctx.Done():
					return
				}
			}
		})
	}
	each(c.mails, func(n int) {
		subject := fmt.Sprintf("in-%d", n)
		if err := c.graph.deliver(c.t.Context(), c.graph.People[n%c.boxes], subject); err != nil {
			c.t.Error(err)
			return
		}
		c.note(subject)
	})
	each(c.outs, func(n int) { c.command(fmt.Sprintf("out-%d", n), n%c.boxes) })
}

func (c *cluster) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[what] = time.Now()
}

// command publishes a command, again and again until the cluster has it.
func (c *cluster) command(id string, box int) {
	mailbox := "me"
	if box > 0 {
		mailbox = c.graph.People[box]
	}
	msg := nats.NewMsg("outlook.publish.send")
	msg.Header.Set("Nats-Msg-Id", id)
	msg.Data = fmt.Appendf(nil, `{"mailbox": %q, "payload": {"message": {"subject": %q, "body": {"contentType": "Text", "content": "x"}, "toRecipients": [{"emailAddress": {"address": "nobody@elsewhere.example"}}]}}}`, mailbox, id)
	if !waited(c.t.Context(), time.Minute, 100*time.Millisecond, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		_, err := c.witness.js.PublishMsg(ctx, msg)
		return err == nil
	}) {
		c.t.Errorf("command %s cannot be published", id)
		return
	}
	c.note(id)
}

// end stops the load and waits until everything has arrived.
func (c *cluster) end() {
	c.t.Helper()
	c.stop()
	c.running.Wait()
	commands := 0
	for what := range c.sent {
		if strings.HasPrefix(what, "out-") {
			commands++
		}
	}
	want := map[string]int{"OUTLOOK_RESULT": commands, "OUTLOOK_EVENTS": (len(c.sent) - commands) * c.copies}
	filter := map[string]string{"OUTLOOK_RESULT": "outlook.result.>", "OUTLOOK_EVENTS": "outlook.event.>"}
	for stream, n := range want {
		waited(c.t.Context(), 2*time.Minute, 500*time.Millisecond, func() bool {
			ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
			defer cancel()
			s, err := c.witness.js.Stream(ctx, stream)
			if err != nil {
				return false
			}
			info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter[stream]))
			if err != nil {
				return false
			}
			stored := 0
			for _, k := range info.State.Subjects {
				stored += int(k)
			}
			return stored >= n
		})
	}
}
