package tokenstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/oauth2"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

const (
	// flowLife is how long a person has to sign in.
	flowLife = 10 * time.Minute
	// maxFlows bounds what somebody who calls Begin all day can fill; the oldest
	// flow goes first.
	maxFlows = 1000
)

// Codes of the errors with which a callback is refused before any token request
// is made; see [Logins.Callback].
const (
	// CodeStateMissing: the callback or the browser brought no state.
	CodeStateMissing = "state_missing"
	// CodeStateOther: the sign-in was begun in another browser.
	CodeStateOther = "state_other_browser"
	// CodeStateUnknown: the state was never given out, or was used already.
	CodeStateUnknown = "state_unknown"
	// CodeStateExpired: the sign-in took longer than ten minutes.
	CodeStateExpired = "state_expired"
	// CodeMissing: the callback brought neither a code nor an error.
	CodeMissing = "code_missing"
)

// Adopter saves the grant of a sign-in. [Keeper] and [Shared] are adopters.
type Adopter interface {
	// Adopt returns nil when the grant is on disk and in use.
	Adopt(ctx context.Context, grant Grant) error
}

// LoginsOptions are what [Logins] works with.
type LoginsOptions struct {
	// Clients are the clients of the configuration.
	Clients []Client
	// Adopter saves the grants.
	Adopter Adopter
	// Transport carries the token requests; nil means our own, see
	// [KeeperOptions].
	Transport http.RoundTripper
	// Tracer makes a span of each token request; nil is off.
	Tracer trace.Tracer
	// Log may be nil.
	Log *slog.Logger
}

// Logins are the sign-ins under way: authorization code with PKCE, and device
// code. They are kept in memory, so a restart means to begin again. Safe for
// concurrent use.
type Logins struct {
	adopter   Adopter
	log       *slog.Logger
	clients   map[string]*Client
	endpoints map[string]*endpoint

	mu      sync.Mutex
	pending map[[sha256.Size]byte]pending
	devices map[string]*device // sign-ins by device code, by the id that callers know
}

// pending is one sign-in under way, found by the hash of its state: a look-up
// by the state itself would take a time that tells how much of a guess is right.
type pending struct {
	client   string
	verifier string
	expires  time.Time
}

// Flow is a sign-in that was begun.
type Flow struct {
	// Client is who the sign-in is for.
	Client string
	// AuthURL is where to send the browser.
	AuthURL string
	// State goes into a cookie of that browser (HttpOnly, SameSite=Lax) and
	// comes back with the callback: so nobody can finish a sign-in of theirs in
	// somebody else's browser.
	State seal.Secret
	// Expires is when the sign-in must be complete.
	Expires time.Time
}

// NewLogins returns the sign-ins of the clients.
func NewLogins(o LoginsOptions) (*Logins, error) {
	clients, err := index(o.Clients)
	if err != nil {
		return nil, fault.New(fault.Fatal, "logins: %w", err).WithHint("Correct the clients in the configuration.")
	}
	l := &Logins{
		adopter: o.Adopter, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler)), clients: clients,
		endpoints: make(map[string]*endpoint, len(clients)), pending: make(map[[sha256.Size]byte]pending),
		devices: make(map[string]*device),
	}
	for name, client := range clients {
		l.endpoints[name] = newEndpoint(client, o.Transport, l.log, o.Tracer)
	}
	return l, nil
}

// Begin begins a sign-in for a client. A client of another grant than
// authorization_code is refused: its app registration need not know our redirect
// address.
func (l *Logins) Begin(client string) (Flow, error) {
	endpoint, err := l.endpoint(client)
	if err != nil {
		return Flow{}, err
	}
	if err := otherWay(endpoint.client); err != nil {
		return Flow{}, err
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	state := base64.RawURLEncoding.EncodeToString(random[:])
	verifier := oauth2.GenerateVerifier()
	now := time.Now()
	flow := Flow{
		Client: client, State: seal.Secret(state), Expires: now.Add(flowLife),
		AuthURL: endpoint.authURL(state, verifier, l.claims(client)),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	l.pending[sha256.Sum256([]byte(state))] = pending{client: client, verifier: verifier, expires: flow.Expires}
	return flow, nil
}

func (l *Logins) endpoint(client string) (*endpoint, error) {
	e := l.endpoints[client]
	if e == nil {
		return nil, fault.New(fault.Poison, "no client is called %q", client).WithCode("unknown_client").
			WithHint("Name a client of the configuration.")
	}
	return e, nil
}

// otherWay refuses a sign-in by browser where the client has another grant.
func otherWay(c *Client) error {
	switch c.Grant {
	case GrantDevice:
		return fault.New(fault.Poison, "client %s signs in with a device code, not in this browser", c.Name).WithCode("device_code").
			WithHint("outlook-connector auth login %s", c.Name)
	case GrantCredentials:
		return appOnlyLogin(c)
	default:
		return nil
	}
}

// appOnlyLogin says that nobody signs in for an application of its own.
func appOnlyLogin(c *Client) error {
	return fault.New(fault.Poison, "nobody signs in for client %s: it is an application of its own (client_credentials)", c.Name).
		WithCode("client_credentials").
		WithHint("An administrator consents to its application permissions in the app registration; outlook-connector auth login %s checks its credential.", c.Name)
}

// claims returns what the sign-in of a client must ask for, if whoever saves
// its grants knows.
func (l *Logins) claims(client string) string {
	if known, ok := l.adopter.(interface{ Claims(client string) string }); ok {
		return known.Claims(client)
	}
	return ""
}

// sweep forgets sign-ins that are long over, and the oldest of too many. An
// expired one is kept as long again, so that whoever comes late is told so.
func (l *Logins) sweep(now time.Time) {
	var oldest [sha256.Size]byte
	var oldestExpires time.Time
	for key, flow := range l.pending {
		if now.After(flow.expires.Add(flowLife)) {
			delete(l.pending, key)
			continue
		}
		if oldestExpires.IsZero() || flow.expires.Before(oldestExpires) {
			oldest, oldestExpires = key, flow.expires
		}
	}
	if len(l.pending) >= maxFlows {
		delete(l.pending, oldest)
	}
}

// Callback ends a sign-in with what the browser brought to the redirect address:
// the query, and the state that its cookie holds. It returns the saved grant.
//
// A callback whose state is missing, unknown, used, expired or another browser's
// is refused with one of the codes above, and no token request is made for it.
// All errors have a hint for the person; an error of kind Retry means that the
// sign-in server (or the disk) failed, any other that the person or an
// administrator must do something. A sign-in is over after one callback that
// knew its state, whatever came of it.
func (l *Logins) Callback(ctx context.Context, query url.Values, cookie string) (Grant, error) {
	states := query["state"]
	switch {
	case len(states) != 1 || states[0] == "":
		return Grant{}, callbackError(CodeStateMissing, "the sign-in came back without its state")
	case cookie == "":
		return Grant{}, callbackError(CodeStateMissing, "this browser has not begun a sign-in, or has lost the cookie of it")
	case subtle.ConstantTimeCompare([]byte(states[0]), []byte(cookie)) != 1:
		return Grant{}, callbackError(CodeStateOther, "the sign-in was begun in another browser or tab")
	}
	if refused := query.Get("error"); refused != "" {
		flow, err := l.take(states[0])
		if err != nil {
			return Grant{}, err
		}
		return Grant{}, denied(flow.client, refused)
	}
	codes := query["code"]
	if len(codes) != 1 || codes[0] == "" {
		return Grant{}, callbackError(CodeMissing, "the sign-in came back without a code")
	}
	return l.Complete(ctx, states[0], codes[0])
}

// Complete ends a sign-in with its state and the code of the sign-in server,
// where there is no browser whose cookie could be checked: the person carried
// both here by hand. Everything else is as in [Logins.Callback].
func (l *Logins) Complete(ctx context.Context, state, code string) (Grant, error) {
	flow, err := l.take(state)
	if err != nil {
		return Grant{}, err
	}
	// A code works once. Somebody who closes the browser now has signed in all
	// the same; the time limit of the request is the endpoint's own.
	ctx = context.WithoutCancel(ctx)
	got, err := l.endpoints[flow.client].exchange(ctx, code, flow.verifier)
	if err != nil {
		return Grant{}, l.failed(ctx, flow.client, asRefusal(err))
	}
	return l.adopt(ctx, l.clients[flow.client], GrantCode, got)
}

// failed marks a sign-in that gave no token.
func (l *Logins) failed(ctx context.Context, client string, r *refusal) error {
	failure := r.fault(client)
	l.log.WarnContext(ctx, "sign-in failed", "client", client, "error", r, "hint", failure.Hint)
	return failure
}

// adopt saves the grant of a sign-in.
func (l *Logins) adopt(ctx context.Context, client *Client, how GrantType, got answer) (Grant, error) {
	grant := client.grant(how, got)
	if err := l.adopter.Adopt(ctx, grant); err != nil {
		return Grant{}, fmt.Errorf("sign in for %s: %w", client.Name, err)
	}
	return grant, nil
}

// grant is what an answer gives the client.
func (c *Client) grant(how GrantType, got answer) Grant {
	grant := Grant{
		Client: c.Name, ClientID: c.ClientID, TokenHost: c.tokenHost(), Grant: how, Account: got.account, Scopes: got.scopes,
		Granted: time.Now(), Access: got.access, Issued: got.issued, Expiry: got.expiry, Refresh: got.refresh, State: StateOK,
	}
	if len(grant.Scopes) == 0 {
		grant.Scopes = c.Scopes // no scope in the answer: all that were asked for (RFC 6749, 5.1)
	}
	return grant
}

// take returns the sign-in of a state and forgets it.
func (l *Logins) take(state string) (pending, error) {
	key := sha256.Sum256([]byte(state))
	l.mu.Lock()
	flow, found := l.pending[key]
	delete(l.pending, key)
	l.mu.Unlock()
	if !found {
		return pending{}, callbackError(CodeStateUnknown, "this sign-in is not known, or is over already")
	}
	if time.Now().After(flow.expires) {
		return pending{}, callbackError(CodeStateExpired, "the sign-in took longer than ten minutes")
	}
	return flow, nil
}

func callbackError(code, text string) error {
	return fault.New(fault.Reauth, "%s", text).WithCode(code).
		WithHint("Begin again, with \"Grant access\" on the connector's page or with outlook-connector auth login CLIENT.")
}

// denied is what comes of a sign-in that the server ended with an error. Its
// description is not shown: whoever made the link could have written it.
func denied(client, code string) error {
	if !word.MatchString(code) {
		code = "unreadable_error"
	}
	failure := fault.New(fault.Reauth, "the sign-in server refused the sign-in for %s: %s", client, code).WithCode(code)
	if code == "temporarily_unavailable" || code == "server_error" {
		failure.Kind = fault.Retry
	}
	return failure.WithHint("%s", deniedHint(client, code))
}
