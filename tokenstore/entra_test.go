package tokenstore_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
	"outlook-connector/tokenstore"
)

const (
	entraRoot   = "http://localhost/" + sandbox.DefaultDomain
	tokenRoute  = "/{tenant}/oauth2/v2.0/token"
	daemonID    = "daemon-1"
	daemonProof = "CANARY-daemon-secret"
	ann         = "ann@contoso.example"
)

// entra is the sandbox's sign-in server without a network, with a keeper and
// sign-ins of one client, so that it lives in a synctest bubble.
type entra struct {
	*sandbox.Sandbox
	client tokenstore.Client
	vault  *vault
	keeper *tokenstore.Keeper
	logins *tokenstore.Logins
	out    *syncBuffer
	forms  []url.Values // of every request to the sign-in server
	slow   time.Duration
	mu     sync.Mutex
}

// newEntra starts it. The sandbox knows the public default application and a
// daemon with a secret and, if given, certificates.
func newEntra(t *testing.T, client tokenstore.Client, certificates ...*x509.Certificate) *entra {
	t.Helper()
	s, err := sandbox.New(sandbox.Apps(
		sandbox.App{ClientID: sandbox.DefaultClientID},
		sandbox.App{ClientID: daemonID, Secret: daemonProof, Certificates: certificates, Roles: []string{"Mail.ReadWrite"}},
	))
	if err != nil {
		t.Fatal(err)
	}
	e := &entra{Sandbox: s, client: client, vault: newVault(), out: &syncBuffer{}}
	e.restart(t)
	t.Cleanup(func() {
		e.keeper.Close()
		_ = s.Close()
	})
	return e
}

// restart makes a new keeper over the same vault.
func (e *entra) restart(t *testing.T) {
	t.Helper()
	if e.keeper != nil {
		e.keeper.Close()
	}
	log := slog.New(slog.NewJSONHandler(e.out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	clients := []tokenstore.Client{e.client}
	var err error
	if e.keeper, err = tokenstore.NewKeeper(tokenstore.KeeperOptions{Vault: e.vault, Clients: clients, Transport: e, Log: log}); err != nil {
		t.Fatal(err)
	}
	if e.logins, err = tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: clients, Adopter: e.keeper, Transport: e, Log: log}); err != nil {
		t.Fatal(err)
	}
}

// RoundTrip hands a request to the sandbox.
func (e *entra) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.forms = append(e.forms, form)
	slow := e.slow
	e.mu.Unlock()
	if slow > 0 {
		after(slow)
	}
	served := httptest.NewRequestWithContext(req.Context(), req.Method, req.URL.String(), strings.NewReader(string(body)))
	served.Header = req.Header
	rec := httptest.NewRecorder()
	e.Handler().ServeHTTP(rec, served)
	return rec.Result(), nil
}

// asked returns the form of the last request, and how many there were.
func (e *entra) asked() (last url.Values, n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.forms) == 0 {
		return nil, 0
	}
	return e.forms[len(e.forms)-1], len(e.forms)
}

// visit is a browser: it returns the page, or where it leads.
func (e *entra) visit(t *testing.T, method, address string, form url.Values) (location, page string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	rec := httptest.NewRecorder()
	e.Handler().ServeHTTP(rec, req)
	return rec.Header().Get("Location"), rec.Body.String()
}

// signIn is Ann at the address of a sign-in: it returns what comes back.
func (e *entra) signIn(t *testing.T, authURL string) url.Values {
	t.Helper()
	location, page := e.visit(t, http.MethodGet, authURL+"&account="+ann+"&consent=accept", nil)
	u, err := url.Parse(location)
	if err != nil || location == "" {
		t.Fatalf("the sign-in leads to %q: %s", location, page)
	}
	return u.Query()
}

// grant signs Ann in.
func (e *entra) grant(t *testing.T, more string) tokenstore.Grant {
	t.Helper()
	flow, err := e.logins.Begin(e.client.Name)
	if err != nil {
		t.Fatal(err)
	}
	grant, err := e.logins.Callback(t.Context(), e.signIn(t, flow.AuthURL+more), flow.State.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return grant
}

// graph asks Graph with the client's token and returns the answer.
func (e *entra) graph(t *testing.T, token tokenstore.Token, path string) (status int, challenge string) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/v1.0"+path, http.NoBody)
	req.Header.Set("Authorization", "Bearer "+token.Access.Reveal())
	rec := httptest.NewRecorder()
	e.Handler().ServeHTTP(rec, req)
	return rec.Code, rec.Header().Get("WWW-Authenticate")
}

// person is a client for which people sign in.
func person() tokenstore.Client {
	return tokenstore.Client{
		Name: clientName, ClientID: sandbox.DefaultClientID, RedirectURL: "http://localhost:8480/oauth/callback",
		AuthorizeURL: entraRoot + "/oauth2/v2.0/authorize", TokenURL: entraRoot + "/oauth2/v2.0/token",
		DeviceURL: entraRoot + "/oauth2/v2.0/devicecode", Scopes: []string{"offline_access", "Mail.ReadWrite"},
	}
}

// daemon is a client that is an application of its own.
func daemon() tokenstore.Client {
	return tokenstore.Client{
		Name: clientName, ClientID: daemonID, Grant: tokenstore.GrantCredentials, TokenURL: entraRoot + "/oauth2/v2.0/token",
		Scopes: []string{"https://graph.microsoft.com/.default"}, LogRequests: true,
	}
}

// pair is a certificate with its key, in files.
type pair struct {
	tokenstore.Certificate
	leaf *x509.Certificate
	key  *rsa.PrivateKey
}

var testRSA = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// newPair writes a certificate that is good from then until then.
func newPair(t *testing.T, folder string, key *rsa.PrivateKey, from, until time.Time) pair {
	t.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "daemon"}, NotBefore: from, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{leaf: leaf, key: key}
	p.CertFile, p.KeyFile = filepath.Join(folder, "app.pem"), filepath.Join(folder, "app.key")
	write(t, p.CertFile, pemOf("CERTIFICATE", der))
	write(t, p.KeyFile, pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)))
	return p
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// token asks for a token that must come.
func (e *entra) token(t *testing.T) tokenstore.Token {
	t.Helper()
	token, err := e.keeper.Token(t.Context(), clientName, 0)
	if err != nil {
		t.Fatalf("Token: %v", err)
	}
	return token
}

// noToken asks for a token that must not come.
func (e *entra) noToken(t *testing.T) error {
	t.Helper()
	if token, err := e.keeper.Token(t.Context(), clientName, 0); err == nil {
		t.Fatalf("Token gave generation %d, want an error", token.Generation)
	} else {
		return err
	}
	return nil
}

func jsonOf(t *testing.T, part []byte) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(part, &object); err != nil {
		t.Fatal(err)
	}
	return object
}
