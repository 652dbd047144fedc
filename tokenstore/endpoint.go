package tokenstore

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/oauth2"

	"outlook-connector/internal/seal"
)

const (
	// tokenTimeout bounds one token request, from dialling to the last byte.
	tokenTimeout = 15 * time.Second
	// maxAnswer bounds the answer of the sign-in server, unpacked.
	maxAnswer = 256 << 10
	// defaultLife is taken where the answer says nothing usable about the life
	// of the token, and maxLife is where it stops being believable.
	defaultLife = 5 * time.Minute
	maxLife     = 48 * time.Hour
)

// endpoint makes the token requests of one client: one POST for each call,
// never repeated, to the client's own sign-in server and to no other.
//
// It does not use the requests of x/oauth2: its refresh takes no parameters, and
// a claims challenge and a signed assertion are parameters of the refresh.
type endpoint struct {
	client  *Client
	http    *http.Client
	log     *slog.Logger
	tracer  trace.Tracer // nil: off
	proof   prover       // nil for a public client
	failing atomic.Int64 // requests in a row that gave no token
}

// newEndpoint returns the endpoint of a client. A nil transport means our own,
// and a nil log or tracer none.
func newEndpoint(c *Client, transport http.RoundTripper, log *slog.Logger, tracer trace.Tracer) *endpoint {
	if transport == nil {
		transport = newTransport()
	}
	e := &endpoint{
		client: c, log: cmp.Or(log, slog.New(slog.DiscardHandler)), tracer: tracer,
		http: &http.Client{
			Transport: pinned{hosts: []string{c.tokenHost(), hostOf(c.DeviceURL)}, next: transport},
			Timeout:   tokenTimeout,
			// A token request carries the client secret and the refresh token:
			// on 307 and 308 a client that follows sends both to the new place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	e.proof = newProver(c, e.log)
	return e
}

// authURL is where a browser goes to sign in.
func (e *endpoint) authURL(state, verifier, claims string) string {
	config := oauth2.Config{
		ClientID: e.client.ClientID, RedirectURL: e.client.RedirectURL, Scopes: e.client.signInScopes(),
		Endpoint: oauth2.Endpoint{AuthURL: e.client.AuthorizeURL},
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier)}
	if claims != "" {
		options = append(options, oauth2.SetAuthURLParam("claims", claims))
	}
	return config.AuthCodeURL(state, options...)
}

// answer is what the sign-in server gave.
type answer struct {
	access, refresh seal.Secret
	issued, expiry  time.Time
	scopes          []string
	account         Account
}

// exchange trades an authorization code for tokens.
func (e *endpoint) exchange(ctx context.Context, code, verifier string) (answer, error) {
	return e.token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {e.client.RedirectURL},
	})
}

// refresh trades a refresh token for new tokens, with the claims that Graph
// asked for, if any. Where the answer has no new refresh token the old one goes
// on being valid.
func (e *endpoint) refresh(ctx context.Context, refresh seal.Secret, claims string) (answer, error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refresh.Reveal()}}
	if claims != "" {
		form.Set("claims", claims)
	}
	return e.token(ctx, form)
}

// ownToken asks for a token of the application itself.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
func (e *endpoint) ownToken(ctx context.Context, claims string) (answer, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {strings.Join(e.client.Scopes, " ")}}
	if claims != "" {
		form.Set("claims", claims)
	}
	return e.token(ctx, form)
}

// String keeps what is inside out of a print.
func (e *endpoint) String() string { return fmt.Sprintf("token endpoint of %s", e.client.ClientID) }

// GoString hides the same from %#v.
func (e *endpoint) GoString() string { return e.String() }

// newTransport returns a transport for token requests, which are rare.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// pinned lets requests pass to the client's own sign-in server only, and caps
// the answers.
type pinned struct {
	hosts []string
	next  http.RoundTripper
}

var errForeignHost = errors.New("refused to send a token request to another host")

func (p pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	if !slices.Contains(p.hosts, strings.ToLower(req.URL.Host)) {
		return nil, errForeignHost
	}
	resp, err := p.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}
