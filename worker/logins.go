package worker

import (
	"cmp"
	"context"
	"log/slog"
	"net/url"

	"outlook-connector/config"
	"outlook-connector/internal/httpd"
	"outlook-connector/tokenstore"
)

// Logins are the token store's sign-ins as the pages and the terminal see them.
type Logins struct {
	config  *config.Config
	logins  *tokenstore.Logins
	tokens  *tokenstore.Shared
	granted func(ctx context.Context, client string)
}

var (
	_ httpd.Logins   = Logins{}
	_ httpd.Terminal = Logins{}
)

// NewLogins returns the sign-ins of the configured clients; grants go to the
// given token source. granted is called after each; it may be nil.
func NewLogins(c *config.Config, tokens *tokenstore.Shared, log *slog.Logger, granted func(ctx context.Context, client string)) (Logins, error) {
	return newLogins(c, tokens, Options{Log: log}, granted)
}

func newLogins(c *config.Config, tokens *tokenstore.Shared, o Options, granted func(ctx context.Context, client string)) (Logins, error) {
	logins, err := tokenstore.NewLogins(tokenstore.LoginsOptions{
		Clients: TokenClients(c), Adopter: tokens, Tracer: o.tracer, Log: o.Log.With("room", "tokens"),
	})
	if err != nil {
		return Logins{}, err
	}
	if granted == nil {
		granted = func(context.Context, string) {}
	}
	return Logins{c, logins, tokens, granted}, nil
}

// Origin returns scheme and host of the client's redirect address.
func (l Logins) Origin(client string) string {
	c := l.config.Client(client)
	if c == nil {
		return ""
	}
	u, err := url.Parse(c.RedirectURL)
	if err != nil {
		return "" // the configuration was checked
	}
	return u.Scheme + "://" + u.Host
}

// Begin begins a sign-in in a browser, where its grant could be saved.
func (l Logins) Begin(client string) (authorizeURL, state string, err error) {
	if err := l.tokens.CanAdopt(); err != nil {
		return "", "", err
	}
	flow, err := l.logins.Begin(client)
	if err != nil {
		return "", "", err
	}
	return flow.AuthURL, flow.State.Reveal(), nil
}

// Complete ends a sign-in in a browser.
func (l Logins) Complete(ctx context.Context, browserState string, query url.Values) (client, account string, err error) {
	grant, err := l.logins.Callback(ctx, query, browserState)
	if err != nil {
		return "", "", err
	}
	l.granted(ctx, grant.Client)
	return grant.Client, nameOf(grant.Account), nil
}

// Finish ends a sign-in whose browser was on another machine. The state that
// the terminal was given stands in the place of the cookie.
func (l Logins) Finish(ctx context.Context, state string, query url.Values) (client, account string, err error) {
	return l.Complete(ctx, state, query)
}

// BeginDevice begins a sign-in with a code for another machine.
func (l Logins) BeginDevice(ctx context.Context, client string) (httpd.DeviceLogin, error) {
	if err := l.tokens.CanAdopt(); err != nil {
		return httpd.DeviceLogin{}, err
	}
	flow, err := l.logins.BeginDevice(ctx, client)
	if err != nil {
		return httpd.DeviceLogin{}, err
	}
	return httpd.DeviceLogin{
		ID: flow.ID.Reveal(), UserCode: flow.UserCode, VerificationURL: flow.VerificationURL,
		Expires: flow.Expires, WaitMS: flow.Interval.Milliseconds(),
	}, nil
}

// PollDevice asks whether the person has finished.
func (l Logins) PollDevice(ctx context.Context, id string) (httpd.DeviceProgress, error) {
	progress, err := l.logins.PollDevice(ctx, id)
	if err != nil {
		return httpd.DeviceProgress{}, err
	}
	if progress.Grant == nil {
		return httpd.DeviceProgress{WaitMS: progress.Wait.Milliseconds(), Problem: progress.Problem}, nil
	}
	l.granted(ctx, progress.Grant.Client)
	return httpd.DeviceProgress{Done: true, Account: nameOf(progress.Grant.Account)}, nil
}

// Check asks the sign-in server for a token of the client now, and lets its
// feeds begin where there is one.
func (l Logins) Check(ctx context.Context, client string) error {
	if err := l.tokens.Renew(ctx, client); err != nil {
		return err
	}
	l.granted(ctx, client)
	return nil
}

// Logout removes a client's grant.
func (l Logins) Logout(ctx context.Context, client string) error {
	return l.tokens.Logout(ctx, client)
}

// nameOf is what people call an account.
func nameOf(account tokenstore.Account) string {
	return cmp.Or(account.UPN, account.Name, account.ObjectID)
}
