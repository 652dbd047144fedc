package graph

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// HTTP are the settings of the connection to Graph. The zero value is usable.
type HTTP struct {
	// DialContext replaces the dialer, for tests and special networks. Nil
	// means TCP. What is dialed stays pinned to the base URL either way.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// RootCAs replaces the system's certificate authorities.
	RootCAs *x509.CertPool
	// DialTimeout bounds the making of a connection. Zero means 10 s.
	DialTimeout time.Duration
	// TLSTimeout bounds the TLS handshake. Zero means 10 s.
	TLSTimeout time.Duration
	// HeaderTimeout bounds the wait for the answer's head after the request
	// was written. Zero means 90 s: Graph may work on a big page for a minute.
	HeaderTimeout time.Duration
	// Timeout bounds one attempt in all, answer included. Zero means 2 min.
	Timeout time.Duration
	// ProgressTimeout is how long a body may take for 4 KiB (or its rest)
	// before the attempt is given up. Zero means 15 s.
	ProgressTimeout time.Duration
	// MaxConns bounds the connections to the host. Zero means 128.
	MaxConns int
	// MaxBody bounds the body of an answer in bytes after decompression, in
	// [Client.Do]. Zero means 32 MiB.
	MaxBody int64
	// MaxItem bounds one element of a page, about, in bytes. Zero means 16 MiB.
	MaxItem int64
	// MaxPage bounds a page in bytes after decompression. Zero means 64 MiB,
	// twice what 1,000 messages with long bodies take.
	MaxPage int64
	// UserAgent names the program to Graph. Empty means "outlook-connector".
	UserAgent string
}

// withDefaults fills in what the zero value means.
func (h HTTP) withDefaults() HTTP {
	set := func(d *time.Duration, value time.Duration) {
		if *d <= 0 {
			*d = value
		}
	}
	size := func(n *int64, value int64) {
		if *n <= 0 {
			*n = value
		}
	}
	set(&h.DialTimeout, 10*time.Second)
	set(&h.TLSTimeout, 10*time.Second)
	set(&h.HeaderTimeout, 90*time.Second)
	set(&h.Timeout, 2*time.Minute)
	set(&h.ProgressTimeout, 15*time.Second)
	size(&h.MaxBody, 32<<20)
	size(&h.MaxItem, 16<<20)
	size(&h.MaxPage, 64<<20)
	if h.MaxConns <= 0 {
		h.MaxConns = 128
	}
	if h.DialContext == nil {
		h.DialContext = (&net.Dialer{KeepAlive: 30 * time.Second}).DialContext
	}
	if h.UserAgent == "" {
		h.UserAgent = "outlook-connector"
	}
	return h
}

// errPinned means that a request was about to leave for somewhere else. It is
// the last line of defence and nothing should ever reach it.
var errPinned = errors.New("request refused: not the configured host")

// transport sends requests to one origin and path prefix and nowhere else. It
// sits below http.Client on purpose: redirects and cookies live there, so here
// a 3xx is just an answer and no cookie is kept.
type transport struct {
	base     *url.URL
	origin   origin
	prefix   string
	settings HTTP

	mu      sync.Mutex
	current *http.Transport
}

func newTransport(base *url.URL, settings HTTP) *transport {
	return &transport{
		base: base, origin: originOf(base), prefix: base.Path + "/", settings: settings,
		current: settings.newTransport(),
	}
}

// readSize is how much is read from a connection at a time. Of a page of 400 KB
// the default of 4 KiB makes a hundred system calls, each with a look at the
// timer that guards the body.
const readSize = 32 << 10

// writeSize is how much is written to a connection at a time. The head has some
// 2.5 KB with its token, so that with the default of 4 KiB most mails would take two
// system calls, and two records of TLS.
const writeSize = 16 << 10

// newTransport returns connections of its own.
func (h HTTP) newTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, h.DialTimeout)
			defer cancel()
			return h.DialContext(ctx, network, address)
		},
		// A server that still speaks TLS 1.1 is not Graph:
		// https://learn.microsoft.com/graph/deployments
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: h.RootCAs},
		TLSHandshakeTimeout:    h.TLSTimeout,
		MaxResponseHeaderBytes: 128 << 10,
		ReadBufferSize:         readSize,
		WriteBufferSize:        writeSize,
		MaxConnsPerHost:        h.MaxConns,
		MaxIdleConns:           h.MaxConns,
		MaxIdleConnsPerHost:    h.MaxConns,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
		// Pings find a connection that died silently, which otherwise takes
		// every request on it into its timeout.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// send makes one attempt. The returned transport belongs to [transport.done].
//
// net/http may repeat a request by itself in two cases, and both are harmless:
// when a reused connection broke before a single byte was written, or HTTP/2
// said that it did not look at the request; and for GET, which has no effect.
// It would repeat a POST that has an Idempotency-Key header, so there is none.
func (t *transport) send(req *http.Request) (*http.Response, *http.Transport, error) {
	if !t.allows(req) {
		return nil, nil, errPinned
	}
	t.mu.Lock()
	used := t.current
	t.mu.Unlock()
	resp, err := used.RoundTrip(req)
	return resp, used, err
}

// done ends the use of a transport after the body was read and closed. With
// fresh the next request goes over a new connection, as Graph wants after a
// 503: https://learn.microsoft.com/graph/best-practices-concept#handling-expected-errors
func (t *transport) done(used *http.Transport, fresh bool) {
	if used == nil {
		return
	}
	t.mu.Lock()
	if fresh && used == t.current {
		t.current = t.settings.newTransport()
	}
	old := used != t.current
	t.mu.Unlock()
	if old {
		// Requests still under way on the old one come by here as well.
		used.CloseIdleConnections()
	}
}

func (t *transport) close() {
	t.mu.Lock()
	current := t.current
	t.mu.Unlock()
	current.CloseIdleConnections()
}

// allows is the pin: scheme, host, port and path prefix of the base URL, no
// user name, no way out by dots, and none of the headers that make net/http
// repeat a request that is not repeatable.
func (t *transport) allows(req *http.Request) bool {
	u := req.URL
	_, key := req.Header["Idempotency-Key"]
	_, xkey := req.Header["X-Idempotency-Key"]
	return u != nil && u.User == nil && u.Opaque == "" &&
		(u.Scheme == t.base.Scheme && u.Host == t.base.Host || originOf(u) == t.origin) &&
		(req.Host == "" || strings.EqualFold(req.Host, u.Host)) &&
		strings.HasPrefix(u.EscapedPath(), t.prefix) && !dotted(u.Path) &&
		!key && !xkey
}

// origin is what a connection is pinned to.
type origin struct{ scheme, host, port string }

func originOf(u *url.URL) origin {
	o := origin{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.port == "" {
		o.port = map[string]string{"https": "443", "http": "80"}[o.scheme]
	}
	return o
}

// isLoopback reports whether a host name cannot leave this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

// dotted reports whether a path has a segment that walks.
func dotted(path string) bool {
	if !strings.Contains(path, "/.") && !strings.HasPrefix(path, ".") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}
