package tokenstore

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

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
type endpoint struct {
	config oauth2.Config
	http   *http.Client
}

// newEndpoint returns the endpoint of a client. A nil transport means our own.
func newEndpoint(c *Client, transport http.RoundTripper) *endpoint {
	if transport == nil {
		transport = newTransport()
	}
	return &endpoint{
		config: oauth2.Config{
			ClientID:     c.ClientID,
			ClientSecret: c.ClientSecret.Reveal(),
			RedirectURL:  c.RedirectURL,
			Scopes:       c.signInScopes(),
			// Left to itself, x/oauth2 finds out how a server likes the client
			// secret by trying: every failing refresh is then sent twice.
			Endpoint: oauth2.Endpoint{AuthURL: c.AuthorizeURL, TokenURL: c.TokenURL, AuthStyle: oauth2.AuthStyleInParams},
		},
		http: &http.Client{
			Transport: pinned{host: c.tokenHost(), next: transport},
			Timeout:   tokenTimeout,
			// A token request carries the client secret and the refresh token:
			// on 307 and 308 a client that follows sends both to the new place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

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

// pinned lets requests pass to one host only, and caps the answers.
type pinned struct {
	host string
	next http.RoundTripper
}

var errForeignHost = errors.New("refused to send a token request to another host")

func (p pinned) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.EqualFold(req.URL.Host, p.host) {
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

// answer is what the sign-in server gave.
type answer struct {
	access, refresh seal.Secret
	issued, expiry  time.Time
	scopes          []string
	account         Account
}

// exchange trades an authorization code for tokens.
func (e *endpoint) exchange(ctx context.Context, code, verifier string) (answer, error) {
	asked := time.Now()
	token, err := e.config.Exchange(e.with(ctx), code, oauth2.VerifierOption(verifier))
	if err != nil {
		return answer{}, describe(err)
	}
	return read(token, asked), nil
}

// refresh trades a refresh token for new tokens. Where the answer has no new
// refresh token the old one is in it: it goes on being valid.
func (e *endpoint) refresh(ctx context.Context, refresh seal.Secret) (answer, error) {
	asked := time.Now()
	// A token source made for one call: kept, it would hold its lock during the
	// request, and nobody would learn of a new refresh token.
	token, err := e.config.TokenSource(e.with(ctx), &oauth2.Token{RefreshToken: refresh.Reveal()}).Token()
	if err != nil {
		return answer{}, describe(err)
	}
	return read(token, asked), nil
}

func (e *endpoint) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, e.http)
}

// read takes from an answer what we keep. The life of the token is counted from
// before the request: the server began to count at some moment after that.
func read(token *oauth2.Token, asked time.Time) answer {
	life := time.Duration(token.ExpiresIn) * time.Second
	if token.ExpiresIn <= 0 || life > maxLife {
		life = defaultLife
	}
	a := answer{
		access: seal.Secret(token.AccessToken), refresh: seal.Secret(token.RefreshToken),
		issued: asked, expiry: asked.Add(life),
	}
	if scope, ok := token.Extra("scope").(string); ok {
		a.scopes = strings.Fields(scope)
	}
	if idToken, ok := token.Extra("id_token").(string); ok {
		a.account = readAccount(idToken)
	}
	return a
}

// readAccount reads who signed in from an id token. The signature is not
// checked: the token came in the answer of the token endpoint itself, over TLS
// that names the host, which OpenID Connect accepts in its place
// (https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation,
// item 6). Whoever could forge it could as well give us another access token.
// The claims are shown to people and open nothing.
func readAccount(idToken string) Account {
	parts := strings.Split(idToken, ".")
	if len(parts) != 3 {
		return Account{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Account{}
	}
	var claims struct {
		TID               string `json:"tid"`
		OID               string `json:"oid"`
		PreferredUsername string `json:"preferred_username"`
		Name              string `json:"name"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return Account{}
	}
	return Account{
		Tenant: printable(claims.TID), ObjectID: printable(claims.OID),
		UPN: printable(claims.PreferredUsername), Name: printable(claims.Name),
	}
}

// printable keeps a foreign text from drawing on somebody's terminal, and short.
func printable(text string) string {
	const most = 256
	text = strings.ToValidUTF8(text, "")
	quoted := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r <= 0x9f {
			return -1
		}
		return r
	}, text)
	if len(quoted) > most {
		quoted = strings.ToValidUTF8(quoted[:most], "")
	}
	return quoted
}

// String keeps the client secret inside config out of a print.
func (e *endpoint) String() string { return fmt.Sprintf("token endpoint of %s", e.config.ClientID) }

// GoString hides the same from %#v.
func (e *endpoint) GoString() string { return e.String() }
