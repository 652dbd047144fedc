package tokenstore_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outlook-connector/internal/seal"
	"outlook-connector/tokenstore"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashChild); path != "" {
		saveUntilKilled(path) // see crash_test.go
		return
	}
	if path := os.Getenv(rekeyChild); path != "" {
		rekeyUntilKilled(path) // see rekey_test.go
		return
	}
	if path := os.Getenv(killChild); path != "" {
		refreshUntilKilled(path) // see crash_points_test.go
		return
	}
	goleak.VerifyTestMain(m)
}

const (
	clientName   = "contoso"
	secretCanary = "CANARY-client-secret"
)

var testKey = seal.Secret(strings.Repeat("5a", seal.KeySize))

func testClient() tokenstore.Client {
	return tokenstore.Client{
		Name: clientName, ClientID: "app-1", ClientSecret: secretCanary,
		AuthorizeURL: "https://login.example/t/authorize", TokenURL: "https://login.example/t/token",
		RedirectURL: "http://localhost:8480/oauth/callback", Scopes: []string{"offline_access", "Mail.Read"},
	}
}

// idp is a sign-in server without a network: a RoundTripper that knows the
// token endpoint's rules, and can be told to break them.
type idp struct {
	mu       sync.Mutex
	forms    []url.Values                    // every token request
	codes    map[string]string               // code → PKCE challenge
	refresh  map[string]bool                 // refresh tokens that are valid
	answer   func(*reply) *reply             // changes the next answers
	hold     func(ctx context.Context) error // before an answer, outside the lock
	life     any                             // expires_in
	strict   bool                            // a used refresh token is revoked
	keep     bool                            // the answer has no new refresh token
	noID     bool                            // the answer has no id token
	numbered int
}

// reply is one answer of the token endpoint.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func newIDP() *idp {
	return &idp{codes: map[string]string{}, refresh: map[string]bool{}, life: 3600}
}

// requests returns how many token requests came.
func (p *idp) requests() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.forms)
}

// breakWith makes every answer the one that f returns; nil heals.
func (p *idp) breakWith(f func(*reply) *reply) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

func (p *idp) refuseWith(status int, code string, more ...string) {
	body := fmt.Sprintf(`{"error":%q,"error_description":"AADSTS: CANARY-description"%s}`, code, strings.Join(more, ""))
	p.breakWith(func(*reply) *reply { return &reply{status: status, body: body} })
}

func (p *idp) holdWith(f func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = f
}

// consent is the person at the browser: it takes the address of a sign-in and
// returns what the browser brings to the redirect address.
func (p *idp) consent(t *testing.T, authURL string) url.Values {
	t.Helper()
	u, err := url.Parse(authURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("response_type") != "code" {
		t.Fatalf("the sign-in does not use PKCE: %v", q)
	}
	code := "CANARY-code-" + rand.Text()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[code] = q.Get("code_challenge")
	return url.Values{"code": {code}, "state": {q.Get("state")}}
}

func (p *idp) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	_ = req.Body.Close()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.forms = append(p.forms, form)
	hold := p.hold
	p.mu.Unlock()
	if hold != nil {
		if err := hold(req.Context()); err != nil {
			return nil, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.token(req, form)
	if p.answer != nil {
		r = p.answer(r)
	}
	if r.err != nil {
		return nil, r.err
	}
	header := r.header
	if header == nil {
		header = http.Header{}
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	return &http.Response{
		StatusCode: r.status, Status: http.StatusText(r.status), Header: header, Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(r.body)),
	}, nil
}

// token is the token endpoint. The caller holds mu.
func (p *idp) token(req *http.Request, form url.Values) *reply {
	refuse := func(code string) *reply { return &reply{status: 400, body: fmt.Sprintf(`{"error":%q}`, code)} }
	if req.Method != http.MethodPost || req.Header.Get("Authorization") != "" ||
		form.Get("client_id") != "app-1" || form.Get("client_secret") != secretCanary {
		return refuse("invalid_client")
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		sum := sha256.Sum256([]byte(form.Get("code_verifier")))
		challenge, known := p.codes[form.Get("code")]
		delete(p.codes, form.Get("code"))
		if !known || challenge != base64.RawURLEncoding.EncodeToString(sum[:]) || form.Get("redirect_uri") != testClient().RedirectURL {
			return refuse("invalid_grant")
		}
	case "refresh_token":
		if !p.refresh[form.Get("refresh_token")] {
			return refuse("invalid_grant")
		}
		if p.strict {
			delete(p.refresh, form.Get("refresh_token"))
		}
	default:
		return refuse("unsupported_grant_type")
	}
	p.numbered++
	answer := map[string]any{
		"token_type": "Bearer", "access_token": fmt.Sprintf("CANARY-access-%d", p.numbered), "scope": "Mail.Read openid",
	}
	if p.life != nil {
		answer["expires_in"] = p.life
	}
	if !p.keep || form.Get("grant_type") == "authorization_code" {
		fresh := fmt.Sprintf("CANARY-refresh-%d", p.numbered)
		p.refresh[fresh] = true
		answer["refresh_token"] = fresh
	}
	if !p.noID {
		claims := base64.RawURLEncoding.EncodeToString([]byte(
			`{"tid":"tenant-1","oid":"user-1","preferred_username":"ann@contoso.example","name":"Ann\u001b[31m"}`))
		answer["id_token"] = "e30." + claims + ".c2ln"
	}
	body, err := json.Marshal(answer)
	if err != nil {
		return &reply{err: err}
	}
	return &reply{status: 200, body: string(body)}
}

// vault is a store in memory that can be made to fail.
type vault struct {
	mu     sync.Mutex
	grants map[string]tokenstore.Grant
	broken error
	puts   int
	onPut  func(tokenstore.Grant)
}

func newVault() *vault { return &vault{grants: map[string]tokenstore.Grant{}} }

func (v *vault) List() ([]tokenstore.Grant, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []tokenstore.Grant
	for _, g := range v.grants {
		all = append(all, g)
	}
	slices.SortFunc(all, func(a, b tokenstore.Grant) int { return strings.Compare(a.Client, b.Client) })
	return all, nil
}

func (v *vault) Put(g tokenstore.Grant) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.puts++
	if v.broken != nil {
		return v.broken
	}
	if v.onPut != nil {
		v.onPut(g)
	}
	v.grants[g.Client] = g
	return nil
}

func (v *vault) Delete(client string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.grants, client)
	return v.broken
}

func (v *vault) breakWith(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = err
}

func (v *vault) get(t *testing.T) tokenstore.Grant {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	g, found := v.grants[clientName]
	if !found {
		t.Fatal("there is no grant in the vault")
	}
	return g
}

// world is a keeper with everything around it.
type world struct {
	idp    *idp
	vault  *vault
	keeper *tokenstore.Keeper
	logins *tokenstore.Logins
	out    *syncBuffer // the log
	// changed is told of changes of grants from the next restart on; it may be nil.
	changed func(context.Context, tokenstore.GrantChange)
}

// newWorld returns a keeper of one client; Ann has signed in.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := newEmptyWorld(t)
	w.signIn(t)
	return w
}

func newEmptyWorld(t *testing.T) *world {
	t.Helper()
	w := &world{idp: newIDP(), vault: newVault(), out: &syncBuffer{}}
	w.restart(t)
	t.Cleanup(func() { w.keeper.Close() })
	return w
}

// restart makes a new keeper over what is in the vault, as a new process would.
func (w *world) restart(t *testing.T) {
	t.Helper()
	if w.keeper != nil {
		w.keeper.Close()
	}
	log := slog.New(slog.NewJSONHandler(w.out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	keeper, err := tokenstore.NewKeeper(tokenstore.KeeperOptions{
		Vault: w.vault, Clients: []tokenstore.Client{testClient()}, Transport: w.idp, Changed: w.changed, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	logins, err := tokenstore.NewLogins(tokenstore.LoginsOptions{
		Clients: []tokenstore.Client{testClient()}, Adopter: keeper, Transport: w.idp, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.keeper, w.logins = keeper, logins
}

func (w *world) signIn(t *testing.T) tokenstore.Grant {
	t.Helper()
	flow, err := w.logins.Begin(clientName)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := w.logins.Callback(t.Context(), w.idp.consent(t, flow.AuthURL), flow.State.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

// token asks for a token that must come.
func (w *world) token(t *testing.T) tokenstore.Token {
	t.Helper()
	token, err := w.keeper.Token(t.Context(), clientName, 0)
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	return token
}

// noToken asks for a token that must not come.
func (w *world) noToken(t *testing.T) error {
	t.Helper()
	token, err := w.keeper.Token(t.Context(), clientName, 0)
	if err == nil {
		t.Fatalf("Token gave generation %d, want an error", token.Generation)
	}
	return err
}

// after lets time go by; for use in a synctest bubble.
func after(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for !so() {
		select {
		case <-ticker.C:
		case <-late.C:
			t.Fatalf("it did not happen: %s", what)
		}
	}
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

var errDiskFull = errors.New("no space left on device")
