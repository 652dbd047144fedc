//go:build unix && oidc

package proof_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// oidcWorld is one machine with the real program and the provider.
type oidcWorld struct {
	t      *testing.T
	dir    string
	listen string
	p      *provider
	client *http.Client
	run    *process
	runs   int
	// heldBefore are the answers that were held back in earlier steps.
	heldBefore int
}

// Mailboxes that one client reads at the same time, and what the access tokens
// of that client live.
const (
	parallelFeeds = 64
	shortLife     = 4
)

// newOIDCWorld configures a client for each way to a token. "person" and
// "secret" read mailboxes every second, so that there is always somebody who
// asks for their tokens.
func newOIDCWorld(t *testing.T) *oidcWorld {
	t.Helper()
	w := &oidcWorld{t: t, dir: t.TempDir()}
	w.listen = fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000))
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w.client = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	_, port, _ := strings.Cut(w.listen, ":")
	redirect := "http://localhost:" + port + "/oauth/callback"
	key := newAppKey(t, w.dir)
	w.p = startProvider(t, oidcSetting{
		Clients: []registered{
			publicClient("person-id", redirect), webClient("web-id", redirect), deviceClient("device-id"),
			appWithSecret("secret-id"), appWithCertificate("certificate-id", key), publicClient("strict-id", redirect),
		},
		Lives:  map[string]int{"person-id": shortLife, "secret-id": shortLife, "strict-id": shortLife},
		Strict: []string{"strict-id"},
	})
	if _, stderr, code := call(t, w.dir, "init"); code != 0 {
		t.Fatalf("init: exit code %d\n%s", code, stderr)
	}
	mailboxes := make([]string, parallelFeeds)
	for i := range mailboxes {
		mailboxes[i] = fmt.Sprintf("box%d@example.org", i)
	}
	text := fmt.Sprintf(`
nats: {embedded: {store_dir: ./data/nats}}
token_store: {path: ./data/tokens.db, key: "${file:./data/token.key}"}
clients:
  - name: person
    client_id: person-id
    authorize_url: %[1]s/auth
    token_url: %[1]s/token
    base_url: %[1]s/v1.0
    scopes: [offline_access, Mail.Read]
  - name: web
    client_id: web-id
    client_secret: %[2]q
    authorize_url: %[1]s/auth
    token_url: %[1]s/token
    base_url: %[1]s/v1.0
    scopes: [offline_access, Mail.Read]
  - name: device
    grant: device_code
    client_id: device-id
    device_url: %[1]s/device/auth
    token_url: %[1]s/token
    base_url: %[1]s/v1.0
    scopes: [offline_access, Mail.Read]
  - name: secret
    grant: client_credentials
    client_id: secret-id
    client_secret: %[2]q
    token_url: %[1]s/token
    base_url: %[1]s/v1.0
    scopes: [%[3]q]
  - name: certificate
    grant: client_credentials
    client_id: certificate-id
    certificate: {cert_file: %[4]q, key_file: %[5]q}
    token_url: %[1]s/token
    base_url: %[1]s/v1.0
    scopes: [%[3]q]
  - name: strict
    client_id: strict-id
    authorize_url: %[1]s/auth
    token_url: %[1]s/token
    base_url: %[1]s/v1.0
    scopes: [offline_access, Mail.Read]
subscriptions:
  - name: inbox
    client: person
    entity: mail.message.delta
    path: {mailFolder-id: inbox}
    mailboxes: [%[6]s]
    every: 1s
  - name: app
    client: secret
    entity: mail.message.delta
    path: {mailFolder-id: inbox}
    mailboxes: [%[6]s]
    every: 1s
http: {listen: %[7]q}
log: {level: info, format: json}
`, w.p.Issuer, appSecret, appScope, key.certFile, key.keyFile, strings.Join(mailboxes, ", "), w.listen)
	if err := os.WriteFile(filepath.Join(w.dir, "outlook-connector.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if stdout, stderr, code := call(t, w.dir, "config", "check"); code != 0 {
		t.Fatalf("config check: exit code %d\n%s%s", code, stdout, stderr)
	}
	return w
}

// start starts the worker and waits until it serves.
func (w *oidcWorld) start() {
	w.t.Helper()
	w.runs++
	w.run = spawn(w.t, w.dir, w.t.ArtifactDir(), fmt.Sprintf("run-%02d", w.runs), "run")
	until(w.t, 30*time.Second, 10*time.Millisecond, "the worker to serve", func() bool {
		w.run.alive()
		_, ok := w.run.logged("worker started")
		return ok
	})
}

// oidcStatus is what the proof reads of a client in /status.
type oidcStatus struct {
	Name    string   `json:"name"`
	State   string   `json:"state"`
	Account string   `json:"account"`
	Scopes  []string `json:"scopes"`
	Error   string   `json:"error"`
	Hint    string   `json:"hint"`
}

func (w *oidcWorld) status(client string) oidcStatus {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.listen+"/status", http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var all struct {
		Clients []oidcStatus `json:"clients"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		w.t.Fatal(err)
	}
	for _, c := range all.Clients {
		if c.Name == client {
			return c
		}
	}
	w.t.Fatalf("no client %s in /status", client)
	return oidcStatus{}
}

// signIn signs in at the worker's own page.
func (w *oidcWorld) signIn(client string) place {
	w.t.Helper()
	return newVisitor(w.t, "ann").signIn("http://" + w.listen + "/oauth/start/" + client)
}

// login runs "auth login" beside a script that reads what it says.
func (w *oidcWorld) login(client string, stdin io.Reader, script func(said func() string), flags ...string) string {
	w.t.Helper()
	out, err := os.Create(filepath.Join(w.dir, "login-"+client+".txt"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.CommandContext(w.t.Context(), binary(w.t), append([]string{"auth", "login", client}, flags...)...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = w.dir, stdin, out, out, leash()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	said := func() string {
		text, _ := os.ReadFile(out.Name())
		return string(text)
	}
	script(said)
	err = cmd.Wait()
	if code := exitCode(err); code != 0 {
		w.t.Fatalf("auth login %s: exit code %d\n%s", client, code, said())
	}
	return said()
}

// waitFor waits until a text shows up in what a command says.
func waitFor(t *testing.T, said func() string, pattern string) []string {
	t.Helper()
	var found []string
	until(t, 20*time.Second, 20*time.Millisecond, pattern, func() bool {
		found = regexp.MustCompile(pattern).FindStringSubmatch(said())
		return found != nil
	})
	return found
}

// TestOIDCProgram is the real program against the provider, from the first
// sign-in to a grant that is lost in a crash and given again.
func TestOIDCProgram(t *testing.T) {
	w := newOIDCWorld(t)
	w.start()
	began := time.Now()

	// The four ways, each with the command that a person types.
	said := w.login("person", nil, func(said func() string) {
		page := waitFor(t, said, `http://\S+/oauth/start/person`)
		if end := newVisitor(t, "ann").signIn(page[0]); end.status != http.StatusOK {
			t.Fatalf("the sign-in ended at %s with %d\n%s", end.url, end.status, end.body)
		}
	}, "--no-browser")
	mustSay(t, said, "access granted: client person")
	loud(t, "authorization code with PKCE, browser on this machine: granted (%s)", lastLine(said))

	reader, writer := io.Pipe()
	said = w.login("web", reader, func(said func() string) {
		defer writer.Close()
		address := waitFor(t, said, `http://\S+/auth\?\S+`)[0]
		elsewhere := newVisitor(t, "ben")
		elsewhere.stopAt = "http://localhost:"
		end := elsewhere.signIn(address)
		fmt.Fprintln(writer, end.url)
	}, "--no-browser")
	mustSay(t, said, "access granted: client web")
	loud(t, "authorization code with PKCE and a secret, address pasted as over SSH: granted (%s)", lastLine(said))

	said = w.login("device", nil, func(said func() string) {
		shown := waitFor(t, said, `visit in a browser on any machine\s+(\S+)\s+and enter the code\s+(\S+)`)
		end := newVisitor(t, "cid").walk(shown[1], map[string]string{"login": "cid", "password": "any", "user_code": shown[2]})
		if end.status != http.StatusOK {
			t.Fatalf("the device sign-in ended at %s with %d\n%s", end.url, end.status, end.body)
		}
	})
	mustSay(t, said, "access granted: client device")
	loud(t, "device code: granted (%s)", lastLine(said))

	for _, app := range []string{"secret", "certificate"} {
		stdout, stderr, code := call(t, w.dir, "auth", "login", app)
		if code != 0 {
			t.Fatalf("auth login %s: exit code %d\n%s%s", app, code, stdout, stderr)
		}
		mustSay(t, stdout, "credential accepted")
		loud(t, "client credentials with %s: %s", app, firstLine(stdout))
	}
	for _, client := range []string{"person", "web", "device", "secret", "certificate"} {
		if s := w.status(client); s.State != "ok" {
			t.Errorf("client %s is %+v", client, s)
		}
	}
	loud(t, "all ways took %s", time.Since(began).Round(100*time.Millisecond))

	w.getsNoRefreshToken()
	w.rotates(30 * time.Second)
	w.survivesKills(8)
	w.losesAnswer()
}

// getsNoRefreshToken signs in at a provider that wants prompt=consent with
// offline_access, and so gives no refresh token.
func (w *oidcWorld) getsNoRefreshToken() {
	w.t.Helper()
	if end := w.signIn("strict"); end.status != http.StatusOK {
		w.t.Fatalf("the sign-in ended at %s with %d\n%s", end.url, end.status, end.body)
	}
	until(w.t, 2*shortLife*time.Second, 100*time.Millisecond, "the token without a refresh token to expire", func() bool {
		return w.status("strict").State == "needs_reauth"
	})
	status := w.status("strict")
	mustSay(w.t, status.Error, "no refresh token")
	loud(w.t, "a provider that wants prompt=consent with offline_access (OpenID Connect Core, 11): no refresh token; status once the token has expired: %s; %s", status.Error, status.Hint)
}

// survivesKills kills the worker within some milliseconds of an answer with a
// new refresh token. What was saved goes on; what was not is told apart by the
// provider, which sees a used refresh token.
func (w *oidcWorld) survivesKills(kills int) {
	w.t.Helper()
	t, saved := w.t, 0
	for i := range kills {
		w.p.twist("person-id", map[string]any{"hold": true, "times": 1})
		until(t, 20*time.Second, 5*time.Millisecond, "an answer to be held back", func() bool { return w.p.counts().Held == i+1 })
		before := len(w.p.counts().of("person-id", kindRefresh))
		w.p.release()
		pause(t.Context(), time.Duration(rand.Int64N(int64(8*time.Millisecond))))
		w.run.kill()
		w.start()
		var next []asked
		until(t, 20*time.Second, 50*time.Millisecond, "a refresh after the restart", func() bool {
			next = w.p.counts().of("person-id", kindRefresh)[before:]
			return len(next) > 0
		})
		switch {
		case next[0].What == "ok":
			saved++
		case next[0].Text == "refresh token already used":
			if end := w.signIn("person"); end.status != http.StatusOK {
				t.Fatalf("the new sign-in ended at %s with %d\n%s", end.url, end.status, end.body)
			}
		default:
			t.Errorf("kill %d: the next refresh was %+v", i, next[0])
		}
	}
	w.heldBefore = kills
	loud(t, "%d kills within 8 ms of an answer: %d times the new refresh token was on disk and worked, %d times the provider saw a used one; nothing else",
		kills, saved, kills-saved)
}

// rotates watches 64 feeds of one client while its tokens live four seconds.
func (w *oidcWorld) rotates(watch time.Duration) {
	w.t.Helper()
	until(w.t, 30*time.Second, 100*time.Millisecond, "all mailboxes to be read", func() bool {
		return w.p.counts().Graph.Requests > 4*parallelFeeds
	})
	before := w.p.counts()
	pause(w.t.Context(), watch)
	w.run.alive()
	after := w.p.counts()
	for client, kind := range map[string]string{"person-id": kindRefresh, "secret-id": kindCredentials} {
		requests := after.of(client, kind)[len(before.of(client, kind)):]
		fresh := slices.DeleteFunc(slices.Collect(maps.Keys(after.Graph.Tokens[client])), func(token string) bool {
			return before.Graph.Tokens[client][token] > 0
		})
		if bad := failed(requests); len(bad) > 0 {
			w.t.Errorf("%s: refused token requests: %+v", client, bad)
		}
		// A token is renewed at 50 % of its life at the earliest. Two requests for
		// one expiry would be closer together than that, also where the machine is
		// slow: they would meet.
		if gap := apart(requests); gap < shortLife*time.Second/4 {
			w.t.Errorf("%s: two token requests within %s", client, gap)
		}
		if least := int(watch.Seconds()) / (shortLife + 1); len(requests) < least {
			w.t.Errorf("%s: %d refreshes in %s, at least %d expected", client, len(requests), watch, least)
		}
		// At either end one token may have been asked for and not yet used.
		if difference := len(requests) - len(fresh); difference < -1 || difference > 1 {
			w.t.Errorf("%s: %d token requests, but Graph saw %d new tokens", client, len(requests), len(fresh))
		}
		loud(w.t, "%s: %d feeds, tokens of %d s, %s watched: %d token requests (%s), %d new tokens at Graph, closest two %s apart",
			client, parallelFeeds, shortLife, watch, len(requests), kind, len(fresh), apart(requests))
	}
	if after.Graph.Refused > before.Graph.Refused {
		w.t.Errorf("Graph refused %d requests: their token had expired", after.Graph.Refused-before.Graph.Refused)
	}
	loud(w.t, "Graph meanwhile: %d requests, up to %d at once, %d refused",
		after.Graph.Requests-before.Graph.Requests, after.Graph.AtOnce, after.Graph.Refused-before.Graph.Refused)
}

// losesAnswer kills the worker after the provider has rotated and before its
// answer has arrived: the refresh token on disk is a used one.
func (w *oidcWorld) losesAnswer() {
	w.t.Helper()
	t := w.t
	w.p.twist("person-id", map[string]any{"hold": true, "times": 1})
	until(t, 20*time.Second, 5*time.Millisecond, "an answer to be held back", func() bool { return w.p.counts().Held > w.heldBefore })
	w.run.kill()
	before := len(w.p.counts().of("person-id", kindRefresh))
	w.start()
	restarted := time.Now()
	until(t, 100*time.Second, 200*time.Millisecond, "needs_reauth", func() bool { return w.status("person").State == "needs_reauth" })
	requests := w.p.counts().of("person-id", kindRefresh)[before:]
	took := time.Since(restarted)
	status := w.status("person")
	if len(requests) != 2 || requests[0].Text != "refresh token already used" || requests[0].What != "invalid_grant" || requests[1].What != "invalid_grant" {
		t.Errorf("a lost answer led to %+v", requests)
	}
	if !strings.Contains(status.Error, "invalid_grant") || !strings.Contains(status.Hint, "auth login person") {
		t.Errorf("the status does not say why and what to do: %+v", status)
	}
	pause(t.Context(), 10*time.Second)
	if again := w.p.counts().of("person-id", kindRefresh)[before:]; len(again) != len(requests) {
		t.Errorf("the refused grant is used again: %+v", again)
	}
	loud(t, "killed between the provider's answer and the disk: needs_reauth after %s and %d requests (%q, %q), none in 10 s after; status: %s; %s",
		took.Round(time.Second), len(requests), requests[0].Text, requests[len(requests)-1].Text, status.Error, status.Hint)
	w.run.kill()
	w.start()
	if s := w.status("person"); s.State != "needs_reauth" {
		t.Errorf("after another restart the client is %+v", s)
	}
	if end := w.signIn("person"); end.status != http.StatusOK {
		t.Fatalf("the new sign-in ended at %s with %d\n%s", end.url, end.status, end.body)
	}
	until(t, 20*time.Second, 100*time.Millisecond, "the client to work again", func() bool {
		return w.status("person").State == "ok" && len(w.p.counts().of("person-id", kindRefresh)) > before+len(requests)
	})
	loud(t, "a new sign-in heals it: refreshed again")
	w.run.stop()
}

func mustSay(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%q is not in:\n%s", part, text)
	}
}

func firstLine(text string) string { return strings.SplitN(strings.TrimSpace(text), "\n", 2)[0] }

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
