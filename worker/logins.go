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

// browserLogins are the token store's sign-ins as the pages see them.
type browserLogins struct {
	config  *config.Config
	logins  *tokenstore.Logins
	tokens  *tokenstore.Shared
	granted func(ctx context.Context, client string)
}

// NewLogins returns the sign-ins of the configured clients, for the pages;
// grants go to the given token source. granted is called after each; it may be
// nil.
func NewLogins(c *config.Config, tokens *tokenstore.Shared, log *slog.Logger, granted func(ctx context.Context, client string)) (httpd.Logins, error) {
	logins, err := tokenstore.NewLogins(tokenstore.LoginsOptions{
		Clients: TokenClients(c), Adopter: tokens, Log: log.With("room", "tokens"),
	})
	if err != nil {
		return nil, err
	}
	if granted == nil {
		granted = func(context.Context, string) {}
	}
	return browserLogins{c, logins, tokens, granted}, nil
}

// Origin returns scheme and host of the client's redirect address.
func (b browserLogins) Origin(client string) string {
	c := b.config.Client(client)
	if c == nil {
		return ""
	}
	u, err := url.Parse(c.RedirectURL)
	if err != nil {
		return "" // the configuration was checked
	}
	return u.Scheme + "://" + u.Host
}

func (b browserLogins) Begin(client string) (authorizeURL, state string, err error) {
	flow, err := b.logins.Begin(client)
	if err != nil {
		return "", "", err
	}
	return flow.AuthURL, flow.State.Reveal(), nil
}

func (b browserLogins) Complete(ctx context.Context, browserState string, query url.Values) (client, account string, err error) {
	grant, err := b.logins.Callback(ctx, query, browserState)
	if err != nil {
		return "", "", err
	}
	b.granted(ctx, grant.Client)
	return grant.Client, cmp.Or(grant.Account.UPN, grant.Account.Name, grant.Account.ObjectID), nil
}

func (b browserLogins) Logout(ctx context.Context, client string) error {
	return b.tokens.Logout(ctx, client)
}
