package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/tokenstore"
	"outlook-connector/worker"
)

const (
	// loginTimeout is how long a sign-in may take: as long as its state lives.
	loginTimeout = 10 * time.Minute
	// signInTimeout is how long our own process may take to answer a question
	// for which it asks the sign-in server.
	signInTimeout = 30 * time.Second
)

// loginFlags say how to sign in.
type loginFlags struct{ noBrowser, device bool }

func (a *app) login(ctx context.Context, name string, how loginFlags) error {
	c, err := a.loadConfig()
	if err != nil {
		return err
	}
	if err := clientNamed(c, name); err != nil {
		return err
	}
	client := c.Client(name)
	if client.AppOnly() && (how.device || how.noBrowser) {
		return usageHint(fmt.Errorf("nobody signs in for client %s: its grant is client_credentials", name), "outlook-connector auth login %s", name)
	}
	byDevice := how.device || client.Grant == string(tokenstore.GrantDevice)
	if byDevice && how.noBrowser {
		return usageHint(fmt.Errorf("client %s signs in with a code, which needs no browser here", name), "outlook-connector auth login %s", name)
	}

	p, err := findProcess(ctx, c)
	switch {
	case err == nil:
		if err := p.ownsTokens(ctx); err != nil {
			return err
		}
	case errors.Is(err, errNoProcess):
		listen := c.HTTP.Listen
		if client.AppOnly() || byDevice {
			listen = "127.0.0.1:0" // no browser comes back: any port will do
		}
		var stop func()
		if p, stop, err = a.serveLogin(ctx, c, listen); err != nil {
			return err
		}
		defer stop()
	default:
		return err
	}
	switch {
	case client.AppOnly():
		return a.checkCredential(ctx, p, name)
	case byDevice:
		return a.loginByDevice(ctx, p, name)
	default:
		return a.loginByBrowser(ctx, p, name, how.noBrowser)
	}
}

// serveLogin serves the sign-in from this command, where no process runs.
func (a *app) serveLogin(ctx context.Context, c *config.Config, listen string) (*process, func(), error) {
	tokens, err := openTokens(ctx, c, nil)
	if err != nil {
		return nil, nil, err
	}
	if tokens.Role() != tokenstore.RoleOwner {
		tokens.Stop()
		return nil, nil, fault.New(fault.Fatal, "another process holds %s but does not serve http at %s", c.TokenStore.Path, c.HTTP.Listen).
			WithHint("start it with the roles tokens and http, or stop it")
	}
	log := slog.New(slog.DiscardHandler)
	logins, err := worker.NewLogins(c, tokens, log, nil)
	if err != nil {
		tokens.Stop()
		return nil, nil, err
	}
	own, err := ownCertificate(c)
	if err != nil {
		tokens.Stop()
		return nil, nil, err
	}
	reach := &http.Client{Timeout: signInTimeout}
	var served *tls.Config
	if own != nil { // the browser comes back to an https address
		served = &tls.Config{Certificates: []tls.Certificate{*own}, MinVersion: tls.VersionTLS12}
		reach.Transport = ownTransport(own)
	}
	server, err := httpd.Listen(ctx, httpd.Options{
		Listen: listen, TLS: served, Credential: c.HTTP.Credential, Version: buildVersion(), Instance: worker.Instance(c),
		Checks: &health.Checks{}, Metrics: noMetrics(), Log: log, Logins: logins, Terminal: logins,
		Status: func(context.Context) httpd.Status {
			return httpd.Status{Version: buildVersion(), Clients: worker.ClientStatuses(c, tokens.Status())}
		},
	})
	if err != nil {
		tokens.Stop()
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve() }()
	stop := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Stop(ctx) // the end page may still be on its way; nothing else is lost
		if err := <-ended; err != nil {
			a.complain(err)
		}
		tokens.Stop()
	}
	base := server.URL()
	if u, err := url.Parse(base); err == nil {
		base = u.Scheme + "://" + here(u.Hostname(), u.Port())
	}
	return &process{base: base, credential: c.HTTP.Credential.Reveal(), client: reach}, stop, nil
}

// loginByBrowser signs in with the browser of this machine or, with noBrowser,
// of any.
func (a *app) loginByBrowser(ctx context.Context, p *process, name string, noBrowser bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, loginTimeout, errors.New("nobody signed in within ten minutes"))
	defer cancel()
	before, err := statusOf(ctx, p.clients, name)
	if err != nil {
		return err
	}
	start := p.base + "/oauth/start/" + name
	var pasted *byHand
	switch {
	case noBrowser:
		if pasted, err = a.beginByHand(ctx, p, name, start); err != nil {
			return err
		}
	case openBrowser(ctx, start) == nil:
		fmt.Fprintf(a.err, "The browser opens to sign in. If it does not, visit:\n\n  %s\n\nWaiting…\n", start)
	default:
		fmt.Fprintf(a.err, "Visit this address on this machine to sign in:\n\n  %s\n\nWaiting…\n", start)
	}
	account, err := a.waitForGrant(ctx, p, name, before.Granted, pasted)
	if err != nil {
		return err
	}
	return a.granted(name, account)
}

func (a *app) granted(name, account string) error {
	_, err := fmt.Fprintf(a.out, "access granted: client %s, account %s\n", name, orDash(account))
	return err
}

// checkCredential says whether the sign-in server takes what an application of
// its own shows.
func (a *app) checkCredential(ctx context.Context, p *process, name string) error {
	if err := p.ask(ctx, "/oauth/check/"+name, nil, nil); err != nil {
		return err
	}
	client, err := statusOf(ctx, p.clients, name)
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(a.out, "credential accepted: client %s, %s, token until %s\n",
		name, accountText(client), client.Expiry.Local().Format("15:04:05")); err != nil {
		return err
	}
	a.printNeeds(client)
	return nil
}

func statusOf(ctx context.Context, status func(context.Context) ([]httpd.ClientStatus, error), name string) (httpd.ClientStatus, error) {
	clients, err := status(ctx)
	if err != nil {
		return httpd.ClientStatus{}, err
	}
	for _, client := range clients {
		if client.Name == name {
			return client, nil
		}
	}
	return httpd.ClientStatus{}, fault.New(fault.Fatal, "the running process knows no client %q", name).
		WithHint("restart it with this configuration")
}

// waitForGrant waits for a grant that is newer than the one before, or for one
// whose address is pasted here; pasted may be nil. It returns the account.
func (a *app) waitForGrant(ctx context.Context, p *process, name string, before time.Time, pasted *byHand) (string, error) {
	ticker := time.NewTicker(300 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", fault.New(fault.Reauth, "no access granted: %w", context.Cause(ctx)).WithHint("outlook-connector auth login %s", name)
		case line, open := <-pasted.lines():
			if !open {
				pasted = nil // nobody will paste any more; the browser of this machine may still come
				continue
			}
			account, done, err := pasted.finish(ctx, line)
			if done || err != nil {
				return account, err
			}
			continue
		case <-ticker.C:
		}
		client, err := statusOf(ctx, p.clients, name)
		if err != nil && ctx.Err() == nil {
			return "", err
		}
		if client.Granted.After(before) {
			return client.Account, nil
		}
	}
}

func openBrowser(ctx context.Context, address string) error {
	var cmd *exec.Cmd
	switch runtime.GOOS {
	case "darwin":
		cmd = exec.CommandContext(ctx, "open", address)
	case "windows":
		cmd = exec.CommandContext(ctx, "rundll32", "url.dll,FileProtocolHandler", address)
	default:
		cmd = exec.CommandContext(ctx, "xdg-open", address)
	}
	return cmd.Run()
}
