// Package httpd is the process's HTTP side: health, metrics, the page with
// "Grant access", and the end of the sign-in. It shows what others know and
// decides nothing itself. Every route but health, metrics and the sign-in's
// callback asks for the credential where one is configured.
package httpd

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/seal"
)

// Logins carries out sign-ins.
type Logins interface {
	// Origin returns scheme and host to which the browser comes back after the
	// sign-in of a client, "" for an unknown client.
	Origin(client string) string
	// Begin starts a sign-in of a client. It returns the address that the
	// browser must visit, and the state that the browser must bring back.
	Begin(client string) (authorizeURL, state string, err error)
	// Complete ends a sign-in with what came to the callback. browserState is
	// the state that this browser was given, "" if it was given none. It
	// returns the client's name and the account that granted access.
	Complete(ctx context.Context, browserState string, query url.Values) (client, account string, err error)
	// Logout removes a client's grant.
	Logout(ctx context.Context, client string) error
}

// Options say what the server shows. Checks, Metrics, Status, Logins and Log
// must be set.
type Options struct {
	// Listen is the address, such as 127.0.0.1:8480; port 0 takes a free one.
	Listen string
	// FreePortIfTaken takes a free port of the same host where Listen is in
	// use, instead of failing. Where a process of the same Instance has the port
	// that happens without it, too.
	FreePortIfTaken bool
	// TLS serves https; nil serves http.
	TLS *tls.Config
	// Credential protects everything but health, metrics and the callback:
	// as a bearer token, or as the password of basic authentication with any
	// user. Empty leaves it open, which the configuration allows on loopback
	// only.
	Credential seal.Secret
	// Version is shown by /livez.
	Version string
	// HolderFile is where the process that has the port writes so, so that the
	// others know it even while it is frozen. Empty: nowhere.
	HolderFile string
	// Instance tells processes of different configurations apart; it is shown
	// by /livez, and by it a process knows a sibling that has its port.
	Instance string
	Checks   *health.Checks
	Metrics  http.Handler
	// Status returns the snapshot behind /status and the page.
	Status func(ctx context.Context) Status
	Logins Logins
	// Terminal serves "auth login" of a terminal; nil leaves its routes out.
	Terminal Terminal
	Log      *slog.Logger
}

// Server is a listening HTTP server. Create it with [Listen], run it with
// [Server.Serve] and end it with [Server.Stop].
type Server struct {
	opts     Options
	listener net.Listener
	http     *http.Server
}

// Listen opens the port, so that its address is known before anything is
// served.
func Listen(ctx context.Context, opts Options) (*Server, error) {
	listener, err := listen(ctx, opts)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New(fault.Fatal, "http address %s is in use: %w", opts.Listen, err).
			WithHint("stop the program that uses it, or set http.listen to another address")
	}
	if err != nil {
		return nil, fault.New(fault.Fatal, "http: %w", err)
	}
	s := &Server{opts: opts, listener: listener}
	s.http = &http.Server{
		Handler:           s.routes(),
		ConnContext:       withPeer,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(opts.Log.Handler(), slog.LevelDebug),
	}
	if opts.TLS != nil {
		s.listener = tls.NewListener(listener, opts.TLS)
	}
	return s, nil
}

const (
	// holderTimeout bounds the question who has the port.
	holderTimeout = 2 * time.Second
	// portPatience is how long a port is tried of which nobody says whose it is: a
	// process that was killed leaves it a moment later, one that was just started
	// answers a moment later.
	portPatience = 5 * time.Second
)

// listen opens the port, or another one where a sibling has it: a process of the same
// deployment, such as a worker that started while nobody owned the tokens, or at
// the very same moment. A stranger on the port is for a person to look at.
func listen(ctx context.Context, opts Options) (net.Listener, error) {
	var config net.ListenConfig
	for began := time.Now(); ; {
		listener, err := config.Listen(ctx, "tcp", opts.Listen)
		if err == nil {
			opts.hold()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return listener, err
		}
		has := opts.holder(ctx)
		if has == mute {
			has = opts.frozen()
		}
		switch {
		case has == stranger && !opts.FreePortIfTaken, has == nobody && time.Since(began) >= portPatience:
			return nil, err
		case opts.FreePortIfTaken, has == sibling:
			host, _, _ := net.SplitHostPort(opts.Listen)
			return config.Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
		}
		timer := time.NewTimer(100 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// holder is who has a port.
type holder int

const (
	nobody holder = iota // it is not taken any more, or not served yet
	mute                 // somebody who does not answer
	sibling
	stranger
)

// hold writes down who has the port. Without it nothing is lost but what a frozen
// sibling is known by.
func (opts Options) hold() {
	if opts.HolderFile != "" {
		_ = os.WriteFile(opts.HolderFile, fmt.Appendf(nil, "%d %s\n", os.Getpid(), opts.Listen), 0o600)
	}
}

// frozen is who has a port and does not answer: a sibling where the one that wrote
// so is still there.
func (opts Options) frozen() holder {
	text, err := os.ReadFile(opts.HolderFile)
	if err != nil {
		return stranger
	}
	var pid int
	var address string
	if _, err := fmt.Sscan(string(text), &pid, &address); err != nil || address != opts.Listen {
		return stranger
	}
	process, err := os.FindProcess(pid)
	if err != nil || process.Signal(syscall.Signal(0)) != nil {
		return stranger
	}
	return sibling
}

// holder asks at the port who has it.
func (opts Options) holder(ctx context.Context) holder {
	host, port, err := net.SplitHostPort(opts.Listen)
	if err != nil {
		return stranger
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http"
	transport := &http.Transport{DisableKeepAlives: true}
	if opts.TLS != nil {
		scheme = "https"
		// Nothing secret is sent, and the answer decides about a port only.
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // as the line above says
	}
	ctx, cancel := context.WithTimeout(ctx, holderTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+net.JoinHostPort(host, port)+"/livez", nil)
	if err != nil {
		return stranger
	}
	response, err := transport.RoundTrip(request)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return mute
	case err != nil: // refused or cut off; a stranger that goes on so is one after a while
		return nobody
	}
	defer response.Body.Close()
	var live struct{ Program, Instance string }
	switch err := json.NewDecoder(io.LimitReader(response.Body, 4<<10)).Decode(&live); {
	case err == nil && live.Program == Program && live.Instance == opts.Instance:
		return sibling
	default:
		return stranger
	}
}

// URL returns the root address of the server, without a trailing slash.
func (s *Server) URL() string {
	scheme := "http"
	if s.opts.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String()
}

// Serve answers requests until [Server.Stop]; it then returns nil.
func (s *Server) Serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http: %w", err)
	}
	return nil
}

// Stop lets running requests end, at most until ctx is over.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop http: %w", err), s.http.Close())
	}
	return s.listener.Close()
}

// routes builds the route table. open routes need no credential: probes and
// scrapers come without one, and the callback is protected by its state.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, h http.HandlerFunc) { mux.HandleFunc(pattern, h) }
	closed := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, s.authenticated(h)) }

	open("GET /livez", s.livez)
	open("GET /readyz", s.readyz)
	open("GET /metrics", s.opts.Metrics.ServeHTTP)
	open("GET /oauth/callback", s.oauthCallback)
	open("GET /style.css", asset("text/css; charset=utf-8", styleSource))
	open("GET /script.js", asset("text/javascript; charset=utf-8", scriptSource))
	open("GET /icon.svg", asset("image/svg+xml", iconSource))
	closed("GET /oauth/start/{client}", s.oauthStart)
	closed("POST /oauth/logout/{client}", s.oauthLogout)
	s.terminalRoutes(closed)
	closed("GET /status", s.status)
	closed("GET /{$}", s.page)

	return s.guarded(http.NewCrossOriginProtection().Handler(mux))
}

// contentPolicy lets a page load our own style, icon and script, and ask us; nothing
// inline and nothing from elsewhere: https://www.w3.org/TR/CSP3/
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guarded sets the headers every answer carries, and on a loopback listener
// refuses other host names: a web page that rebinds its name to 127.0.0.1
// must not reach us through the browser.
func (s *Server) guarded(next http.Handler) http.Handler {
	loopback := isLoopback(s.listener.Addr().String())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if loopback && !isLoopback(r.Host) {
			http.Error(w, "this address answers to localhost only", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLoopback reports whether a host, with or without a port, is this machine.
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
