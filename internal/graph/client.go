// Package graph is the one way to Microsoft Graph: it builds, sends and logs a
// request, reads the answer or splits a page, and marks every error with its
// remedy. It promises one HTTP attempt per call (a refused token is replaced
// once, a 401 has no effect), no connection and no token to any host but the
// configured one, and that an error says whether the request may have had its
// effect. Repeating, queueing and storing are left to the callers, tokens to a
// [TokenSource].
package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"outlook-connector/internal/seal"
)

// Token is an access token for the client's account.
type Token struct {
	// Access goes into the Authorization header.
	Access seal.Secret
	// ID names this very token for [TokenSource.Reject], such as a generation
	// number; it must not be secret and may be empty.
	ID string
	// Claims is for [TokenSource.Reject] only: the JSON of the claims challenge
	// with which Graph refused the token, empty where it sent none.
	Claims string
}

// TokenSource yields access tokens for one client. Implementations are safe
// for concurrent use.
type TokenSource interface {
	// Token returns a token to use now. Its errors carry their remedy
	// (fault.Reauth where somebody must sign in again).
	Token(ctx context.Context) (Token, error)
	// Reject says that Graph answered 401 to this token, or asked for claims
	// (Token.Claims), so that the next call of Token returns another one. Rejecting a token that has been replaced
	// already must do nothing.
	Reject(ctx context.Context, token Token)
}

// Options is what a Client is made of.
type Options struct {
	// Name is the configured name of the client; it labels metrics and logs.
	Name string
	// BaseURL is the root of the API with its version, such as
	// "https://graph.microsoft.com/v1.0". Without a path it gets "/v1.0".
	// Plain http is accepted for loopback addresses only.
	BaseURL string
	// Tokens is asked before every request.
	Tokens TokenSource
	// Application says that the tokens are the app's own, without a user. It
	// only changes which permissions a hint names.
	Application bool
	// HTTP are timeouts, sizes and the dialer.
	HTTP HTTP
	// Limits bound the use of each mailbox, where there is no Limiter.
	Limits Limits
	// Limiter keeps the limits. Clients with the same app id must share one; nil
	// makes one for this client alone. The caller closes it.
	Limiter *Limiter
	// Resolve returns the name under which the limits of a mailbox are kept, so
	// that "me", a principal name and an object id are one; wait says that it is
	// not known yet, and when to ask again. Nil takes the name as it comes, in
	// lower case. It is asked when a slot is taken, but not again within keep.
	Resolve func(ctx context.Context, mailbox string) (key string, keep, wait time.Duration)
	// LogRequests writes one line per HTTP attempt, without headers and bodies.
	LogRequests bool
	// Tracer makes one span per HTTP attempt, with what LogRequests tells; nil is
	// off and costs nothing. Graph is sent no traceparent.
	Tracer trace.Tracer
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; it may be nil. Clients may share it.
	Registerer prometheus.Registerer
}

// Client sends requests of one account to Graph. It is safe for concurrent
// use. Close it when it is done with.
type Client struct {
	name        string
	base        *url.URL
	tokens      TokenSource
	application bool
	http        HTTP
	transport   *transport
	uploads     uploadHosts
	limits      *Limiter
	resolve     func(ctx context.Context, mailbox string) (key string, keep, wait time.Duration)
	usual       usualHeaders
	bearer      atomic.Pointer[bearer] // of the token that was used last; nil: none yet
	logRequests bool
	tracer      trace.Tracer // nil: off
	log         *slog.Logger
	metrics     *metrics

	mu        sync.RWMutex
	mailboxes map[string]resolved // by name
}

// New checks the options and returns a Client. It opens no connection.
func New(o Options) (*Client, error) {
	base, err := parseBase(o.BaseURL)
	if err != nil {
		return nil, fmt.Errorf("graph client %s: %w", o.Name, err)
	}
	if o.Tokens == nil {
		return nil, fmt.Errorf("graph client %s: no token source", o.Name)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("graph client %s: %w", o.Name, err)
	}
	limits := o.Limiter
	if limits == nil {
		if limits, err = NewLimiter(LimiterOptions{Limits: o.Limits, Name: o.Name, Registerer: o.Registerer}); err != nil {
			return nil, fmt.Errorf("graph client %s: %w", o.Name, err)
		}
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	settings := o.HTTP.withDefaults()
	return &Client{
		name:        o.Name,
		base:        base,
		tokens:      o.Tokens,
		application: o.Application,
		http:        settings,
		transport:   newTransport(base, settings),
		limits:      limits,
		resolve:     o.Resolve,
		logRequests: o.LogRequests,
		tracer:      o.Tracer,
		log:         log,
		metrics:     m,
		usual:       newUsualHeaders(settings.UserAgent),
		mailboxes:   make(map[string]resolved),
	}, nil
}

// resolved is what a name was last resolved to, with the time until which it is not
// asked for again.
type resolved struct {
	mailbox *mailbox
	until   time.Time // zero: it is asked for each time
}

// mailbox returns a mailbox for the limits, under the name that it has by now.
func (c *Client) mailbox(ctx context.Context, name string) (m *mailbox, wait time.Duration) {
	name = limitKey(name)
	c.mu.RLock()
	known := c.mailboxes[name]
	c.mu.RUnlock()
	key, keep := name, time.Duration(0)
	if c.resolve != nil && name != "-" {
		if !known.until.IsZero() && time.Now().Before(known.until) {
			return known.mailbox, 0
		}
		if key, keep, wait = c.resolve(ctx, name); wait > 0 {
			return nil, wait
		}
	}
	if m = known.mailbox; m == nil || m.key != key || keep > 0 {
		m = c.note(name, key, keep)
	}
	return m, 0
}

// known returns a mailbox as it was last resolved.
func (c *Client) known(name string) *mailbox {
	name = limitKey(name)
	c.mu.RLock()
	m := c.mailboxes[name].mailbox
	c.mu.RUnlock()
	if m == nil {
		m = c.note(name, name, 0)
	}
	return m
}

// note keeps what a name means.
func (c *Client) note(name, key string, keep time.Duration) *mailbox {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.mailboxes[name].mailbox
	if m == nil || m.key != key {
		m = &mailbox{key: key}
	}
	now := resolved{mailbox: m}
	if keep > 0 {
		now.until = time.Now().Add(keep)
	}
	c.mailboxes[name] = now
	return m
}

// Close closes idle connections. Requests under way are not disturbed.
func (c *Client) Close() {
	c.transport.close()
	c.uploads.close()
}

// parseBase checks the root of the API.
func parseBase(text string) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("the base URL is not a URL")
	}
	switch {
	case base.Opaque != "" || base.Hostname() == "":
		return nil, fmt.Errorf("the base URL %q names no host", text)
	case base.User != nil:
		return nil, errors.New("the base URL must not hold a user name or password")
	case base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, fmt.Errorf("the base URL %q must end with its path", text)
	case base.Scheme != "https" && (base.Scheme != "http" || !isLoopback(base.Hostname())):
		return nil, fmt.Errorf("the base URL %q must be https (http only for a loopback address)", text)
	}
	base.Path = strings.TrimRight(base.Path, "/")
	base.RawPath = ""
	if base.Path == "" {
		base.Path = "/v1.0"
	}
	if dotted(base.Path) {
		return nil, fmt.Errorf("the base URL %q has dots for a segment", text)
	}
	base.Host = strings.ToLower(base.Host)
	return base, nil
}
