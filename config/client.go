package config

import "outlook-connector/internal/seal"

// Client is a signed-in connection to Microsoft Graph.
type Client struct {
	// The client's name: lower-case letters, digits and dashes, at most 63.
	Name string `yaml:"name" jsonschema:"required,pattern=^[a-z0-9][a-z0-9-]{0\\,62}$"`
	// The directory to sign in to: a domain such as contoso.onmicrosoft.com, the
	// directory's id, or common, organizations or consumers (personal accounts).
	// client_credentials needs a directory of its own. Not needed where
	// token_url, base_url and, for authorization_code, authorize_url are given.
	Tenant string `yaml:"tenant,omitempty"`
	// The national cloud of the tenant: global (also US GCC), usgov (GCC High),
	// usgov_dod or china. It decides the addresses below. Default global.
	Cloud string `yaml:"cloud" jsonschema:"enum=global,enum=usgov,enum=usgov_dod,enum=china"`
	// The authorization endpoint, where it is not the cloud's; it may have a query,
	// such as ?prompt=consent. All addresses are https; http is accepted for
	// loopback addresses.
	AuthorizeURL string `yaml:"authorize_url,omitempty"`
	// The token endpoint, where it is not the cloud's.
	TokenURL string `yaml:"token_url,omitempty"`
	// The device code endpoint, where it is neither the cloud's nor beside
	// token_url.
	DeviceURL string `yaml:"device_url,omitempty"`
	// The root of Microsoft Graph, where it is not the cloud's. It ends in /v1.0,
	// which is added to an address without a path.
	BaseURL string `yaml:"base_url,omitempty"`
	// How access is granted: authorization_code, by a person in a browser, with
	// PKCE; device_code, by a person who types a code in a browser anywhere;
	// client_credentials, by an administrator to the application itself, for every
	// mailbox that Exchange does not close to it. Default authorization_code.
	Grant string `yaml:"grant" jsonschema:"enum=authorization_code,enum=device_code,enum=client_credentials"`
	// The application (client) id of the app registration.
	ClientID string `yaml:"client_id" jsonschema:"required"`
	// The secret of the app registration, for example ${env:CONTOSO_SECRET}. A
	// public client (desktop, PKCE only) has none. At most one of client_secret,
	// certificate and assertion_file is given; client_credentials needs one.
	ClientSecret seal.Secret `yaml:"client_secret,omitempty"`
	// A certificate with its key instead of a secret.
	Certificate *Certificate `yaml:"certificate,omitempty"`
	// A file with the token of another issuer that the app registration trusts
	// (workload identity federation), instead of a secret. It is read again for
	// every request to the sign-in server.
	AssertionFile string `yaml:"assertion_file,omitempty"`
	// The permissions to ask for, such as [offline_access, Mail.ReadWrite,
	// Mail.Send]. offline_access must be among them: without it Microsoft gives no
	// refresh token, and access ends after about an hour. With client_credentials
	// it is left out, or one scope that ends in /.default: the permissions are
	// those of the app registration.
	Scopes []string `yaml:"scopes"`
	// Where the browser comes back to after signing in, as it stands in the app
	// registration: http on a loopback host or https, path /oauth/callback.
	// Without it http://localhost with the port of http.listen.
	RedirectURL string `yaml:"redirect_url,omitempty"`
	// Log every request to Graph and to the sign-in server: method, path, status,
	// time and request id, never headers or bodies. Default false.
	LogRequests bool `yaml:"log_requests"`
	// How hard one mailbox is used.
	Limits ClientLimits `yaml:"limits"`
}

func (c *Client) setDefaults() {
	c.Cloud = "global"
	c.Grant = grantCode
	c.Limits.setDefaults()
}

// The grants.
const (
	grantCode        = "authorization_code"
	grantDevice      = "device_code"
	grantCredentials = "client_credentials"
)

// Certificate is a client certificate for the token endpoint. New files are used
// without a restart.
type Certificate struct {
	// The certificate, PEM; the same one is uploaded to the app registration.
	CertFile string `yaml:"cert_file" jsonschema:"required"`
	// Its private key: RSA, PEM (PKCS#1 or PKCS#8), without a pass phrase.
	KeyFile string `yaml:"key_file" jsonschema:"required"`
}

// AppOnly reports whether the client is an application of its own, for which
// nobody signs in.
func (c *Client) AppOnly() bool { return c.Grant == grantCredentials }

// ClientLimits is how hard one mailbox is used. The defaults are Outlook's own
// limits per app and mailbox:
// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
type ClientLimits struct {
	// Requests at the same time, 1 to 64. Default 4.
	Concurrency int `yaml:"concurrency" jsonschema:"minimum=1,maximum=64"`
	// Requests in a time. Default 10000/10m.
	Requests Rate `yaml:"requests"`
	// Bytes sent up in a time. Default 150MB/5m.
	Upload ByteRate `yaml:"upload"`
}

func (l *ClientLimits) setDefaults() {
	l.Concurrency = 4
	l.Requests = Rate{Count: 10000, Per: 10 * minute}
	l.Upload = ByteRate{Bytes: 150 * megabyte, Per: 5 * minute}
}

// cloud holds the addresses of a national cloud:
// https://learn.microsoft.com/graph/deployments
type cloud struct{ graph, login string }

// cloudOf returns the addresses of a cloud by its name.
func cloudOf(name string) (cloud, bool) {
	switch name {
	case "global":
		return cloud{"https://graph.microsoft.com", "https://login.microsoftonline.com"}, true
	case "usgov":
		return cloud{"https://graph.microsoft.us", "https://login.microsoftonline.us"}, true
	case "usgov_dod":
		return cloud{"https://dod-graph.microsoft.us", "https://login.microsoftonline.us"}, true
	case "china":
		return cloud{"https://microsoftgraph.chinacloudapi.cn", "https://login.partner.microsoftonline.cn"}, true
	default:
		return cloud{}, false
	}
}
