package tokenstore

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"outlook-connector/internal/seal"
)

// GrantType is how a client comes to its tokens.
type GrantType string

// The grant types.
const (
	// GrantCode: a person signs in, in a browser that comes back to the redirect
	// address (authorization code with PKCE).
	GrantCode GrantType = "authorization_code"
	// GrantDevice: a person signs in on any machine, with a code to type there.
	GrantDevice GrantType = "device_code"
	// GrantCredentials: the application is itself; nobody signs in, and there is
	// no refresh token.
	GrantCredentials GrantType = "client_credentials"
)

// Client is one registered application at a sign-in server: what the package
// needs to know of an entry under "clients" in the configuration.
type Client struct {
	// Name is the client's name in the configuration.
	Name string
	// Grant is how it gets its tokens; empty means [GrantCode].
	Grant GrantType
	// ClientID is the application (client) id.
	ClientID string
	// ClientSecret, Certificate and AssertionFile are the ways in which an
	// application shows who it is; at most one is given, and a public client has
	// none. A client with GrantCredentials needs one.
	ClientSecret seal.Secret
	Certificate  *Certificate
	// AssertionFile is a file with a token of another issuer that the
	// application trusts (workload identity federation). It is read again for
	// every request: whoever wrote it renews it.
	// https://learn.microsoft.com/entra/workload-id/workload-identity-federation
	AssertionFile string
	// AuthorizeURL, TokenURL and DeviceURL are https, or http on loopback. Token
	// requests go to the host of TokenURL and nowhere else. AuthorizeURL is not
	// needed where nobody signs in by browser, DeviceURL not where nobody signs
	// in by code.
	AuthorizeURL, TokenURL, DeviceURL string
	// RedirectURL is sent as it stands here, whatever address the browser used.
	RedirectURL string
	// Scopes are asked for at sign-in. openid and profile are added, because
	// without them the answer does not say who signed in; offline_access is
	// not, but without it there is no refresh token:
	// https://learn.microsoft.com/entra/identity-platform/scopes-oidc
	// With GrantCredentials they are sent as they stand: Entra takes only
	// "<root of Graph>/.default" there.
	Scopes []string
	// LogRequests writes a line for every request to the sign-in server, without
	// headers, bodies and tokens.
	LogRequests bool
}

// Certificate names the files of a certificate with its RSA key.
type Certificate struct {
	// CertFile is the certificate, PEM; the first one counts where the file
	// holds a chain. KeyFile is its private key, PEM, PKCS#1 or PKCS#8, without
	// a pass phrase. Both are read again for every request.
	CertFile, KeyFile string
}

// appOnly says that nobody signs in for this client.
func (c *Client) appOnly() bool { return c.Grant == GrantCredentials }

// check returns what is wrong with the client, all of it at once.
func (c *Client) check() error {
	var problems []error
	if c.Name == "" || strings.ContainsAny(c.Name, "\x00/") {
		problems = append(problems, errors.New("the client has no usable name"))
	}
	if c.ClientID == "" {
		problems = append(problems, errors.New("client_id is missing"))
	}
	needs := []struct {
		key, text string
		needed    bool
	}{
		{"token_url", c.TokenURL, true},
		{"authorize_url", c.AuthorizeURL, cmp.Or(c.Grant, GrantCode) == GrantCode},
		{"device_url", c.DeviceURL, c.Grant == GrantDevice},
	}
	for _, address := range needs {
		if address.text == "" && !address.needed {
			continue
		}
		if err := checkURL(address.text); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", address.key, err))
		}
	}
	switch ways := c.ways(); {
	case ways > 1:
		problems = append(problems, errors.New("more than one of client_secret, certificate and assertion_file is given"))
	case ways == 0 && c.appOnly():
		problems = append(problems, errors.New("client_credentials needs client_secret, certificate or assertion_file"))
	}
	if !slices.Contains([]GrantType{"", GrantCode, GrantDevice, GrantCredentials}, c.Grant) {
		problems = append(problems, fmt.Errorf("grant %q is not known", c.Grant))
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("client %q: %w", c.Name, errors.Join(problems...))
}

// The keys of the configuration with what a client shows.
const (
	keySecret      = "client_secret"
	keyCertificate = "certificate"
	keyAssertion   = "assertion_file"
)

// shown returns the key with what the client shows; empty for a public one.
func (c *Client) shown() string {
	switch {
	case c.ClientSecret != "":
		return keySecret
	case c.Certificate != nil:
		return keyCertificate
	case c.AssertionFile != "":
		return keyAssertion
	default:
		return ""
	}
}

// ways counts the ways in which the client shows who it is.
func (c *Client) ways() int {
	n := 0
	for _, given := range []bool{c.ClientSecret != "", c.Certificate != nil, c.AssertionFile != ""} {
		if given {
			n++
		}
	}
	return n
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
func (c *Client) tokenHost() string { return hostOf(c.TokenURL) }

func hostOf(address string) string {
	u, err := url.Parse(address)
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
