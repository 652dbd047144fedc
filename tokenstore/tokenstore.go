// Package tokenstore owns the grants that people gave: it signs in, keeps every
// grant sealed in one bbolt file, refreshes access tokens and hands them out.
//
// It promises that a refreshed token is on disk before anyone sees it, that one
// grant has one refresh at a time however many callers ask, that a refresh that
// fails or hangs does not disturb callers while the old token lives, and that
// neither a token nor a secret appears in an error, a log line or a metric.
// Refresh tokens never leave the process that holds the file; other processes
// ask it for access tokens ([Remote]). How questions and answers travel is left
// to the caller, and so are the pages on which people sign in.
package tokenstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/seal"
)

// Source hands out access tokens. [Keeper], [Remote] and [Shared] are sources.
// Implementations are safe for concurrent use.
type Source interface {
	// Token returns an access token of the client that lives for minLife, or
	// for a little while where minLife is zero. It blocks only when there is no
	// living token; a caller whose context ends stops waiting, and the refresh
	// goes on for the others. A token that is about to expire is still returned
	// when no better one can be had. Errors are marked with their remedy: Retry
	// (the sign-in server or the owner of the tokens cannot be reached) or
	// Reauth (a person must act; the hint says who and how).
	Token(ctx context.Context, client string, minLife time.Duration) (Token, error)
	// Reject says that Graph answered 401 to this token. It is not handed out
	// again: the next Token refreshes once. Rejecting a token that was already
	// replaced does nothing, so every caller that met the 401 may say so.
	Reject(ctx context.Context, client string, rejected Token)
}

// Token is an access token with its life. The zero value is no token.
type Token struct {
	// Access is the bearer token itself.
	Access seal.Secret
	// Issued and Expiry bound the life of the token by this machine's clock.
	Issued, Expiry time.Time
	// Generation counts the tokens of one grant upwards, across restarts.
	Generation uint64
}

// Client is one registered application at a sign-in server: what the package
// needs to know of an entry under "clients" in the configuration.
type Client struct {
	// Name is the client's name in the configuration.
	Name string
	// ClientID is the application (client) id.
	ClientID string
	// ClientSecret is empty for a public client.
	ClientSecret seal.Secret
	// AuthorizeURL and TokenURL are https, or http on loopback. Token requests
	// go to the host of TokenURL and nowhere else.
	AuthorizeURL, TokenURL string
	// RedirectURL is sent as it stands here, whatever address the browser used.
	RedirectURL string
	// Scopes are asked for at sign-in. openid and profile are added, because
	// without them the answer does not say who signed in; offline_access is
	// not, but without it there is no refresh token:
	// https://learn.microsoft.com/entra/identity-platform/scopes-oidc
	Scopes []string
}

// check returns what is wrong with the client, all of it at once.
func (c *Client) check() error {
	var problems []error
	if c.Name == "" || strings.ContainsAny(c.Name, "\x00/") {
		problems = append(problems, errors.New("the client has no usable name"))
	}
	if c.ClientID == "" {
		problems = append(problems, errors.New("client_id is missing"))
	}
	for key, text := range map[string]string{"authorize_url": c.AuthorizeURL, "token_url": c.TokenURL} {
		if err := checkURL(text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("client %q: %w", c.Name, errors.Join(problems...))
}

// checkURL refuses an address to which a secret must not be sent.
func checkURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return errors.New("not an address") // the parser's error repeats the text
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("must be https://host/path")
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	default:
		return errors.New("must be https; http is for loopback addresses only")
	}
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// tokenHost is the host (with port) that tokens of this client come from.
func (c *Client) tokenHost() string {
	u, err := url.Parse(c.TokenURL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// signInScopes returns the scopes of the sign-in request.
func (c *Client) signInScopes() []string {
	scopes := slices.Clone(c.Scopes)
	for _, need := range []string{"openid", "profile"} {
		if !slices.Contains(scopes, need) {
			scopes = append(scopes, need)
		}
	}
	return scopes
}

// index returns the clients by name, or what is wrong with them.
func index(clients []Client) (map[string]*Client, error) {
	byName := make(map[string]*Client, len(clients))
	var problems []error
	for _, client := range clients {
		if err := client.check(); err != nil {
			problems = append(problems, err)
			continue
		}
		if byName[client.Name] != nil {
			problems = append(problems, fmt.Errorf("two clients are called %q", client.Name))
			continue
		}
		byName[client.Name] = &client
	}
	return byName, errors.Join(problems...)
}
