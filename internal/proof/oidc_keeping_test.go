//go:build unix && oidc

package proof_test

import (
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/seal"
	"outlook-connector/tokenstore"
)

// The redirect address of clients that no page of ours serves: the browser is
// stopped before it.
const noPage = "http://localhost:1/oauth/callback"

// keeping is a token store with its keeper and its sign-ins, as a worker has
// them, without the worker.
type keeping struct {
	t       *testing.T
	p       *provider
	store   *tokenstore.Store
	vault   *fragile
	clients []tokenstore.Client
	keeper  *tokenstore.Keeper
	logins  *tokenstore.Logins
	log     strings.Builder
	logging sync.Mutex
}

// fragile is a vault that can stop taking grants, as one whose process is killed
// before the write.
type fragile struct {
	*tokenstore.Store
	mu   sync.Mutex
	gone bool
	lost int // writes that came too late
}

var errGone = errors.New("killed before the write")

func (f *fragile) Put(g tokenstore.Grant) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		f.lost++
		return errGone
	}
	return f.Store.Put(g)
}

func (k *keeping) Write(line []byte) (int, error) {
	k.logging.Lock()
	defer k.logging.Unlock()
	return k.log.Write(line)
}

func newKeeping(t *testing.T, p *provider, clients ...tokenstore.Client) *keeping {
	t.Helper()
	store, err := tokenstore.Open(tokenstore.Options{
		Path: filepath.Join(t.TempDir(), "data", "tokens.db"), Key: seal.Secret(strings.Repeat("5f", 32)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	k := &keeping{t: t, p: p, store: store, clients: clients}
	k.open()
	t.Cleanup(func() {
		k.keeper.Close()
		k.silent()
	})
	return k
}

// silent demands that the log holds no token and no secret.
func (k *keeping) silent() {
	grants, err := k.store.List()
	if err != nil {
		k.t.Error(err)
	}
	var secrets []seal.Secret
	for _, grant := range grants {
		secrets = append(secrets, grant.Access, grant.Refresh)
	}
	for _, client := range k.clients {
		secrets = append(secrets, client.ClientSecret)
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(k.log.String(), secret.Reveal()) {
			k.t.Error("a token or a secret is in the log")
		}
	}
}

// open begins with what is on disk, as after a start.
func (k *keeping) open() {
	k.t.Helper()
	k.vault = &fragile{Store: k.store}
	log := slog.New(slog.NewTextHandler(k, nil))
	var err error
	k.keeper, err = tokenstore.NewKeeper(tokenstore.KeeperOptions{Vault: k.vault, Clients: k.clients, Log: log})
	if err != nil {
		k.t.Fatal(err)
	}
	k.logins, err = tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: k.clients, Adopter: k.keeper, Log: log})
	if err != nil {
		k.t.Fatal(err)
	}
}

// person returns a client for whom a person signs in.
func (p *provider) person(name string) tokenstore.Client {
	return tokenstore.Client{
		Name: name, ClientID: name + "-id", AuthorizeURL: p.Issuer + "/auth", TokenURL: p.Issuer + "/token",
		RedirectURL: noPage, Scopes: []string{"offline_access", "Mail.Read"},
	}
}

// app returns a client that is an application of its own.
func (p *provider) app(name, secret string) tokenstore.Client {
	return tokenstore.Client{
		Name: name, ClientID: name + "-id", Grant: tokenstore.GrantCredentials, ClientSecret: seal.Secret(secret),
		TokenURL: p.Issuer + "/token", Scopes: []string{appScope},
	}
}

// signIn has somebody sign in and returns what became of it.
func (k *keeping) signIn(client string) (tokenstore.Grant, error) {
	k.t.Helper()
	flow, err := k.logins.Begin(client)
	if err != nil {
		k.t.Fatal(err)
	}
	v := newVisitor(k.t, "ann")
	v.stopAt = noPage
	end := v.signIn(flow.AuthURL)
	if end.status != http.StatusSeeOther {
		k.t.Fatalf("the sign-in of %s ended at %s with %d\n%s", client, end.url, end.status, end.body)
	}
	return k.logins.Callback(k.t.Context(), end.url.Query(), flow.State.Reveal())
}

func (k *keeping) signedIn(client string) tokenstore.Grant {
	k.t.Helper()
	grant, err := k.signIn(client)
	if err != nil {
		k.t.Fatalf("sign-in of %s: %v", client, err)
	}
	return grant
}

func (k *keeping) token(client string) tokenstore.Token {
	k.t.Helper()
	token, err := k.keeper.Token(k.t.Context(), client, 0)
	if err != nil {
		k.t.Fatalf("token of %s: %v", client, err)
	}
	return token
}

// expired waits until the token of a client has expired, without a question
// that would renew it.
func (k *keeping) expired(client string) tokenstore.ClientStatus {
	k.t.Helper()
	for {
		for _, status := range k.keeper.Status() {
			if status.Client != client {
				continue
			}
			if time.Now().After(status.Expiry) {
				return status
			}
			pause(k.t.Context(), time.Until(status.Expiry)+20*time.Millisecond)
		}
	}
}

// poll waits until the server may be asked again, and asks.
func (k *keeping) poll(flow tokenstore.DeviceFlow) tokenstore.DeviceProgress {
	k.t.Helper()
	for wait := flow.Interval; ; {
		pause(k.t.Context(), wait)
		asked := len(k.p.counts().of(flow.Client+"-id", "device_code"))
		progress, err := k.logins.PollDevice(k.t.Context(), flow.ID.Reveal())
		if err != nil {
			k.t.Fatal(err)
		}
		if len(k.p.counts().of(flow.Client+"-id", "device_code")) > asked {
			return progress
		}
		wait = progress.Wait
	}
}
