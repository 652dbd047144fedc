//go:build unix

package proof_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// The secrets of the configuration. What Graph and the sign-in server give out
// is learnt as it passes.
const (
	secretClient   = "canary-client-secret-3fd1c07e"
	secretApp      = "canary-app-secret-90ab55e1c2"
	secretNATS     = "canary-nats-password-77b2e9"
	secretHTTP     = "canary-http-credential-1c9d04"
	secretKey      = "ca9a41e5000102030405060708090a0b0c0d0e0f101112131415161718ca9a41"
	secretPrevious = "ca9a42e5000102030405060708090a0b0c0d0e0f101112131415161718ca9a42"
)

// TestProofNoSecretComesOut runs two workers at several levels of the log (all, in
// the long form) through errors whose answers repeat what they were sent, and looks for every secret in
// all that the program said, stored, served and published.
func TestProofNoSecretComesOut(t *testing.T) {
	together(t)
	c := newCanaries(t)
	for _, level := range pick([]string{"info", "debug"}, []string{"info", "warn", "error", "debug"}) {
		c.run(level)
	}
	c.search()
}

// canaries is a world with secrets in every place that takes one.
type canaries struct {
	*world
	gossip *gossip
	nats   *server.Server
	nc     *nats.Conn
	signed bool

	mu    sync.Mutex
	heard bytes.Buffer // every message on NATS
	said  bytes.Buffer // what commands printed and pages showed
}

func newCanaries(t *testing.T) *canaries {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w := &world{t: t, dice: dice(t), dir: t.TempDir(), logs: t.ArtifactDir()}
	w.client = &http.Client{Timeout: 10 * time.Second, Transport: credential{transport, w}}
	w.graph = startGraph(t, w.dir, t.TempDir(), 2) // what the sandbox says is not searched
	w.listen = w.freeAddress()
	w.config = filepath.Join(w.dir, "outlook-connector.yaml")
	c := &canaries{world: w, gossip: newGossip(t, w.graph, secretClient)}

	var err error
	c.nats, err = server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: filepath.Join(w.dir, "nats"), NoSigs: true, NoLog: true,
		Username: "worker", Password: secretNATS,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.nats.Start()
	t.Cleanup(func() { c.nats.Shutdown(); c.nats.WaitForShutdown() })
	if !c.nats.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	if c.nc, err = nats.Connect(c.nats.ClientURL(), nats.UserInfo("worker", secretNATS)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.nc.Close)
	if _, err := c.nc.Subscribe(">", func(m *nats.Msg) {
		c.mu.Lock()
		defer c.mu.Unlock()
		fmt.Fprintf(&c.heard, "%s %s %v %s\n", m.Subject, m.Reply, m.Header, m.Data)
	}); err != nil {
		t.Fatal(err)
	}
	return c
}

// credential shows http.credential to the workers, and to nobody else.
type credential struct {
	next http.RoundTripper
	w    *world
}

func (c credential) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(c.w.listen, ":"+req.URL.Port()) && req.Header.Get("Authorization") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+secretHTTP)
	}
	return c.next.RoundTrip(req)
}

func (c *canaries) configure(level string) {
	c.t.Helper()
	yaml := fmt.Sprintf(`
nats: {url: "nats://worker:%s@%s"}
token_store: {path: ./data/tokens.db, key: %q, previous_keys: [%q]}
clients:
  - name: contoso
    tenant: contoso.example
    authorize_url: %q
    token_url: %q
    base_url: %q
    client_id: %q
    client_secret: %s
    scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.Send]
    log_requests: true
  - name: app
    tenant: contoso.example
    token_url: %q
    base_url: %q
    grant: client_credentials
    client_id: %q
    client_secret: %s
    scopes: ["%s/.default"]
    log_requests: true
subscriptions:
  - {name: inbox, client: contoso, entity: mail.message.delta, path: {mailFolder-id: inbox}, every: 1s, start: all}
  - {name: theirs, client: app, entity: mail.message.delta, path: {mailFolder-id: inbox}, mailboxes: [%q], every: 1s}
publishers:
  - {name: send-mail, client: contoso, entity: mail.message.sendMail, delivery: at_most_once, give_up_after: 3s}
http: {listen: %q, credential: %q}
log: {level: %s, format: json}
`, secretNATS, c.nats.Addr(), secretKey, secretPrevious, c.graph.AuthorizeURL, c.tokenURL(), c.base(), c.graph.ClientID, secretClient,
		c.tokenURL(), c.base(), c.graph.ClientID, secretApp, c.gossip.server.URL, friend, c.listen, secretHTTP, level)
	if err := os.WriteFile(c.config, []byte(yaml), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *canaries) tokenURL() string {
	return strings.Replace(c.graph.TokenURL, c.graph.URL, c.gossip.server.URL, 1)
}

func (c *canaries) base() string {
	return strings.Replace(c.graph.BaseURL, c.graph.URL, c.gossip.server.URL, 1)
}

// run has two workers go through everything at one level of the log.
func (c *canaries) run(level string) {
	c.t.Helper()
	c.configure(level)
	c.command("config", "check")
	if c.signed {
		c.gossip.answerFeed(map[string]string{"debug": "400", "warn": "half", "error": "502"}[level]) // the first poll fails
	}
	pair := c.pair()
	if !c.signed {
		c.signIn("http://" + c.listen)
		c.signed = true
		c.until("mails to be read", func() bool { return c.seen("outlook.event.") })
	}
	for i, how := range []string{"400", "403", "404", "409", "500", "502", "302", "half", "429", "401"} {
		c.publish(fmt.Sprintf("%s-%d-good", level, i), "good news")
		c.publish(fmt.Sprintf("%s-%s", level, how), "gossip-"+how+" of the day")
		c.provoke("graph "+how, how)
	}
	for _, p := range pair {
		p.stop()
	}
	// A refresh fails; a process that just started asks for one at once.
	how := map[string]string{"info": "429", "debug": "400", "warn": "502", "error": "half"}[level]
	c.gossip.answerTokens(how)
	c.graph.expireTokens()
	pair = c.pair()
	c.publish(level+"-late", "no token")
	c.provoke("token "+how, "")
	c.look()
	c.gossip.answerTokens("")
	for _, p := range pair {
		if level == "debug" { // the last one: the stacks of all goroutines go to the log
			p.signal(syscall.SIGQUIT)
			<-p.done
		} else {
			p.stop()
		}
	}
	c.command("status")
	c.command("auth", "status")
	c.command("auth", "rekey")
}

// pair starts two workers: the second asks the first for tokens.
func (c *canaries) pair() []*process {
	c.t.Helper()
	first := c.start()
	c.serving(first)
	return []*process{c.start("--roles", "subscriber,publisher"), first}
}

// provoke has Graph answer in one way, and asks until it did.
func (c *canaries) provoke(label, how string) {
	c.t.Helper()
	before := c.gossip.repeated(label)
	c.gossip.answerFeed(how)
	c.until(label, func() bool {
		if c.gossip.repeated(label) == before {
			c.command("call", "mail.message.list", "--client", "contoso")
		}
		return c.gossip.repeated(label) > before
	})
}

// look calls every command and page that shows something.
func (c *canaries) look() {
	c.t.Helper()
	for _, line := range []string{
		"config show", "config show --output json", "status", "status --output json", "auth status", "auth status --output json",
		"dlq list", "dlq list --output json", "dlq show 1", "dlq show 2 --output json", "auth login nobody", "auth rekey", "auth export --out x",
		"call mail.message.list --client contoso", "publish send-mail --data {}", "run --roles none", "entities", "version",
	} {
		c.command(strings.Fields(line)...)
	}
	for _, page := range []string{
		"/", "/status", "/metrics", "/readyz", "/livez", "/oauth/start/contoso", "/oauth/start/app", "/oauth/start/nobody", "/oauth/callback?state=x&code=y",
		"/oauth/callback?error=access_denied&error_description=" + secretHTTP[:6], "/debug/pprof/goroutine?debug=2", "/debug/vars", "/debug/pprof/cmdline", "/nothing",
	} {
		for _, shown := range []string{"", "Bearer wrong", "Basic " + base64.StdEncoding.EncodeToString([]byte("x:y"))} {
			c.page(page, shown)
		}
	}
	if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.workers[len(c.workers)-1].cmd.Process.Pid)); err == nil {
		c.said.Write(text)
	}
}

// command runs a command, whatever comes of it, and keeps what it printed. One
// that would wait for better times is ended.
func (c *canaries) command(args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 3*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(c.t), args...)
	cmd.Dir, cmd.Env = c.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "TMPDIR=" + c.dir}
	text, err := cmd.CombinedOutput()
	fmt.Fprintf(&c.said, "$ %v: %v\n%s", args, err, text)
}

func (c *canaries) page(path, shown string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.listen+path, http.NoBody)
	if err != nil {
		c.t.Fatal(err)
	}
	if shown != "" {
		req.Header.Set("Authorization", shown)
	}
	resp, err := c.client.Transport.RoundTrip(req)
	if err != nil {
		c.t.Fatalf("%s: %v", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	fmt.Fprintf(&c.said, "GET %s: %s %v\n%s\n", path, resp.Status, resp.Header, body)
}

// serving waits until a worker answers; at some levels its log does not say so.
func (c *canaries) serving(p *process) {
	c.t.Helper()
	c.until("the worker to serve", func() bool {
		p.alive()
		_, err := c.get(c.t.Context(), "http://"+c.listen+"/livez")
		return err == nil
	})
}

func (c *canaries) until(what string, ok func() bool) {
	c.t.Helper()
	until(c.t, 60*time.Second, 20*time.Millisecond, what, ok)
}

func (c *canaries) seen(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Contains(c.heard.Bytes(), []byte(text))
}

func (c *canaries) publish(id, subject string) {
	c.t.Helper()
	if err := c.graph.deliver(c.t.Context(), person, "to "+id); err != nil {
		c.t.Fatal(err)
	}
	m := nats.NewMsg("outlook.publish.send-mail")
	m.Header.Set("Nats-Msg-Id", id)
	m.Data = sendMail(subject)
	if err := c.nc.PublishMsg(m); err != nil {
		c.t.Fatal(err)
	}
}

// search looks for every secret, in every form that it could take, in all that
// was kept.
func (c *canaries) search() {
	c.t.Helper()
	secrets := c.gossip.secrets()
	known := map[string]int{}
	for _, what := range secrets {
		known[what]++
	}
	for _, what := range []string{"access token", "refresh token", "id token", "code", "code verifier", "client secret"} {
		if known[what] == 0 {
			c.t.Errorf("no %s was in use: the test does not test", what)
		}
	}
	for what, secret := range map[string]string{
		"client secret": secretClient, "app secret": secretApp, "nats password": secretNATS, "http credential": secretHTTP,
		"key": secretKey, "previous key": secretPrevious,
	} {
		secrets[secret] = what
	}
	for _, key := range []string{secretKey, secretPrevious} {
		raw, err := hex.DecodeString(key)
		if err != nil {
			c.t.Fatal(err)
		}
		secrets[string(raw)] = "key as bytes"
	}
	c.mu.Lock() // messages may still be coming
	heard := bytes.Clone(c.heard.Bytes())
	c.mu.Unlock()
	places := map[string][]byte{"commands and pages": c.said.Bytes(), "messages on nats": heard}
	for _, root := range []string{c.logs, filepath.Join(c.dir, "data"), filepath.Join(c.dir, "nats")} {
		if err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			places[path], err = os.ReadFile(path)
			return err
		}); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, hit := range hits(secrets, places) {
		c.t.Error(hit)
	}
	size := 0
	for _, data := range places {
		size += len(data)
	}
	for _, want := range []string{"dlq list", "«redacted»", "outlook_"} {
		if !bytes.Contains(c.said.Bytes(), []byte(want)) {
			c.t.Errorf("nothing said %q: the test does not look where it should", want)
		}
	}
	c.t.Logf("%d secrets, %d places, %.1f MB: searched", len(secrets), len(places), float64(size)/1e6)
}

// hits says where which secret is.
func hits(secrets map[string]string, places map[string][]byte) (list []string) {
	for secret, what := range secrets {
		for form, text := range spellings(secret) {
			for place, data := range places {
				if at := bytes.Index(data, []byte(text)); at >= 0 {
					list = append(list, fmt.Sprintf("%s, as %s, is in %s: …%q…", what, form, place, data[max(0, at-200):min(len(data), at+20)]))
				}
			}
		}
	}
	return list
}

func TestTheSearchSeesASecretInEverySpelling(t *testing.T) {
	t.Parallel()
	secret := `canary "with" & all/that+hurts`
	quoted, err := json.Marshal(map[string]string{"text": secret})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"plain": "x" + secret + "y", "json": string(quoted), "query": url.Values{"a": {secret}}.Encode(), "hex": fmt.Sprintf("%x", secret),
		"base64": base64.StdEncoding.EncodeToString([]byte(secret)), "basic": base64.StdEncoding.EncodeToString([]byte("worker:" + secret)),
	} {
		if len(hits(map[string]string{secret: "it"}, map[string][]byte{"here": []byte("… " + text + " …")})) == 0 {
			t.Errorf("as %s it is not seen", name)
		}
	}
	if found := hits(map[string]string{secret: "it"}, map[string][]byte{"here": []byte("canary with all that hurts")}); len(found) > 0 {
		t.Errorf("seen where it is not: %v", found)
	}
}

// spellings returns a secret as encoders would write it.
func spellings(secret string) map[string]string {
	quoted, _ := json.Marshal(secret) // a string always can be
	forms := map[string]string{
		"it is": secret, "a query": url.QueryEscape(secret), "json": string(quoted[1 : len(quoted)-1]), "hex": hex.EncodeToString([]byte(secret)),
		"base64": base64.RawStdEncoding.EncodeToString([]byte(secret))[:len(secret)*4/3-2], "base64 of a login": base64.RawStdEncoding.EncodeToString([]byte("worker:" + secret))[10:len(secret)],
	}
	// What is cut somewhere is a secret still. A token's beginning is not: all have
	// the same header.
	if len(secret) >= 40 {
		forms["its middle"], forms["its end"] = secret[len(secret)/2:][:20], secret[len(secret)-20:]
	}
	return forms
}
