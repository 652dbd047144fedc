//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// world is one machine: a folder, the sandbox and the workers in it.
type world struct {
	t      *testing.T
	dice   *rand.Rand
	dir    string // configuration and all data
	logs   string // kept where the test runs with -artifacts
	config string
	listen string // of http
	nats   string // address of the embedded server's listener; "" where NATS is elsewhere
	graph  *graph
	client *http.Client

	workers []*process
}

// setting is what the worlds of the proofs differ in.
type setting struct {
	people int
	// everybody reads the inboxes of all people, which makes several feeds; else
	// it is that of the one who signs in.
	everybody bool
	natsURL   string   // an external NATS; empty: embedded
	extra     string   // more publishers, YAML
	sandbox   []string // more flags of the sandbox
}

// person is who signs in; everybody writes to friend.
const (
	person = "ann@contoso.example"
	friend = "ben@contoso.example"
)

// emptyWorld is a machine with nothing on it.
func emptyWorld(t *testing.T) *world {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return &world{
		t: t, dice: dice(t), dir: t.TempDir(), logs: t.ArtifactDir(),
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
	}
}

func newWorld(t *testing.T, s setting) *world {
	t.Helper()
	w := emptyWorld(t)
	w.config = filepath.Join(w.dir, "outlook-connector.yaml")
	w.graph = startGraph(t, w.dir, w.logs, s.people, s.sandbox...)
	w.listen = w.freeAddress()
	// init makes the key; the sample configuration beside it gives way to ours.
	if _, stderr, code := call(t, w.dir, "init"); code != 0 {
		t.Fatalf("init: exit code %d\n%s", code, stderr)
	}
	nats := fmt.Sprintf("{url: %q}", s.natsURL)
	if s.natsURL == "" {
		w.nats = w.freeAddress()
		nats = fmt.Sprintf("{embedded: {store_dir: ./data/nats, listen: %q}}", w.nats)
	}
	mailboxes, scopes := []string{"me"}, ""
	if s.everybody {
		mailboxes, scopes = append(mailboxes, w.graph.People[1:]...), ", Mail.ReadWrite.Shared"
	}
	yaml := fmt.Sprintf(`
nats: %s
token_store: {path: ./data/tokens.db, key: "${file:./data/token.key}"}
clients:
  - name: contoso
    tenant: contoso.example
    authorize_url: %q
    token_url: %q
    base_url: %q
    client_id: %q
    scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.Send%s]
subscriptions:
  - name: inbox
    client: contoso
    entity: mail.message.delta
    path: {mailFolder-id: inbox}
    mailboxes: [%s]
    query: {$select: "subject,from,receivedDateTime"}
    every: 1s
    start: all
publishers:
  - name: send-mail
    client: contoso
    entity: mail.message.sendMail
    delivery: at_most_once
%s
http: {listen: %q}
log: {level: info, format: json}
`, nats, w.graph.AuthorizeURL, w.graph.TokenURL, w.graph.BaseURL, w.graph.ClientID, scopes,
		strings.Join(mailboxes, ", "), s.extra, w.listen)
	if err := os.WriteFile(w.config, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := call(t, w.dir, "config", "check"); code != 0 {
		t.Fatalf("config check: exit code %d\n%s%s", code, stdout, stderr)
	}
	return w
}

// freeAddress returns a free address on loopback. A worker that is started
// again must find the same port free, so it lies below those that the system
// gives to outgoing connections.
func (w *world) freeAddress() string {
	w.t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	w.t.Fatal("no free port found")
	return ""
}

// start starts a worker. It returns at once; see up.
func (w *world) start(args ...string) *process {
	w.t.Helper()
	p := spawn(w.t, w.dir, w.logs, fmt.Sprintf("run-%02d", len(w.workers)+1), append([]string{"run"}, args...)...)
	w.workers = append(w.workers, p)
	return p
}

// up waits until a worker serves, and returns its HTTP address: a second worker
// of a machine takes a port of its own.
func (w *world) up(p *process) (address string) {
	w.t.Helper()
	until(w.t, 30*time.Second, 5*time.Millisecond, p.name+" to serve", func() bool {
		p.alive()
		entry, ok := p.logged("worker started")
		if ok {
			address, _ = entry["http"].(string)
		}
		return ok
	})
	if address == "" {
		w.t.Fatalf("%s says nothing of its address:\n%s", p.name, tail(p.log, 25))
	}
	return address
}

// signIn has the person grant access at a running worker.
func (w *world) signIn(address string) {
	w.t.Helper()
	landing, err := sandbox.SignIn(w.t.Context(), w.client, address+"/oauth/start/contoso", person)
	if err != nil {
		text := ""
		if landing != nil {
			text = landing.URL.String() + "\n" + landing.Body
		}
		w.t.Fatalf("sign-in: %v\n%s", err, text)
	}
	if landing.Status != http.StatusOK || !strings.Contains(landing.Body, person) {
		w.t.Fatalf("the sign-in ended at %s with %d:\n%s", landing.URL.Redacted(), landing.Status, landing.Body)
	}
}

// status is what the proofs read of a worker's /status.
type status struct {
	TokenRole string `json:"token_role"`
	Clients   []struct {
		Name    string `json:"name"`
		State   string `json:"state"`
		Account string `json:"account"`
	} `json:"clients"`
}

// get fetches a page of a worker.
func (w *world) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", address, resp.Status, body)
	}
	return body, err
}

func (w *world) status(address string) (s status, err error) {
	body, err := w.get(w.t.Context(), address+"/status")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

// signIns counts how often somebody was asked to sign in, and refreshes how
// often a token was fetched without that, by the sandbox's log.
func (w *world) signIns() (asked, tokens int) {
	w.t.Helper()
	for _, r := range w.graph.requests() {
		switch {
		case strings.HasSuffix(r.Route, "/oauth2/v2.0/authorize") && r.Method == http.MethodGet:
			asked++
		case strings.HasSuffix(r.Route, "/oauth2/v2.0/token") && r.Status == http.StatusOK:
			tokens++
		}
	}
	return asked, tokens
}
