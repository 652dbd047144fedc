package config

import (
	"outlook-connector/internal/seal"
)

// Config is the whole file. Each field's comment is its documentation: the
// JSON Schema and docs/configuration.md are made from it.
type Config struct {
	// Where NATS is: an embedded server, or a server of your own.
	NATS NATS `yaml:"nats"`
	// Where the tokens of granted access are kept.
	TokenStore TokenStore `yaml:"token_store"`
	// The signed-in connections to Microsoft Graph.
	Clients []Client `yaml:"clients"`
	// What is brought from Outlook into NATS.
	Subscriptions []Subscription `yaml:"subscriptions"`
	// What is taken from NATS to Outlook.
	Publishers []Publisher `yaml:"publishers"`
	// The program's own HTTP side: health, metrics, sign-in, status page.
	HTTP HTTP `yaml:"http"`
	// The record of who had what done.
	Audit Audit `yaml:"audit"`
	// Where traces go.
	Telemetry Telemetry `yaml:"telemetry"`
	// How the program logs.
	Log Log `yaml:"log"`

	// written holds, by path, the text of every value that has ${…} in it, so
	// that Show and problems can print that instead of what it stands for.
	written map[string]string
}

// Client returns the client of that name, or nil.
func (c *Config) Client(name string) *Client {
	for i := range c.Clients {
		if c.Clients[i].Name == name {
			return &c.Clients[i]
		}
	}
	return nil
}

func (c *Config) setDefaults() {
	c.NATS.ManageStreams = true
	c.NATS.Prefix = "outlook"
	c.NATS.Replicas = 1
	c.TokenStore.Path = "./data/tokens.db"
	c.HTTP.Listen = "127.0.0.1:8480"
	c.Audit.Enabled = true
	c.Audit.Keep = 8760 * hour
	c.Log.Level = "info"
	c.Log.Format = "auto"
}

// NATS says where NATS is. With neither url nor context a server is embedded.
type NATS struct {
	// The server inside this process. It is the default; give either this, url
	// or context.
	Embedded *Embedded `yaml:"embedded,omitempty"`
	// Servers of your own, separated by commas: nats://a:4222,nats://b:4222. The
	// schemes are nats, tls, ws and wss. User and password in it are never
	// printed.
	URL Servers `yaml:"url,omitempty"`
	// The name of a context of the nats command line tool, instead of url. The
	// context brings its own addresses and credentials.
	Context string `yaml:"context,omitempty"`
	// A .creds file for url.
	CredentialsFile string `yaml:"credentials_file,omitempty"`
	// Where answers of NATS come to, for users that may subscribe to little:
	// _INBOX_worker. Letters, digits, dashes and underscores. Default _INBOX_ and
	// the prefix, or what the context says.
	InboxPrefix string `yaml:"inbox_prefix,omitempty" jsonschema:"pattern=^[A-Za-z0-9_-]+$"`
	// Certificates for url.
	TLS *ClientTLS `yaml:"tls,omitempty"`
	// Copies of each stream: 1, 3 or 5; the embedded server has 1. Default 1.
	Replicas int `yaml:"replicas" jsonschema:"enum=1,enum=3,enum=5"`
	// Whether the program creates and updates its streams. With false they must
	// exist and fit, else it says what differs and stops. Default true.
	ManageStreams bool `yaml:"manage_streams"`
	// The first token of every subject and, in capitals, the first part of every
	// stream's name, so that several connectors can share an account. Lower-case
	// letters, digits and dashes. Default outlook.
	Prefix string `yaml:"prefix" jsonschema:"pattern=^[a-z0-9-]+$"`
}

// Embedded is the NATS server inside this process.
type Embedded struct {
	// The folder of the streams. Default ./data/nats.
	StoreDir string `yaml:"store_dir"`
	// The loopback address on which other programs of this machine reach the
	// server; port 0 takes a free one, "" keeps the server inside the process.
	// Default 127.0.0.1:4222.
	Listen string `yaml:"listen"`
}

func (e *Embedded) setDefaults() {
	e.StoreDir = "./data/nats"
	e.Listen = "127.0.0.1:4222"
}

// ClientTLS is how the program shows itself to a server over TLS, and whom it
// trusts.
type ClientTLS struct {
	// The certificates of the authorities to trust, PEM. Without it those of
	// the system.
	CAFile string `yaml:"ca_file,omitempty"`
	// The program's own certificate, PEM; together with key_file.
	CertFile string `yaml:"cert_file,omitempty"`
	// The private key of cert_file, PEM.
	KeyFile string `yaml:"key_file,omitempty"`
}

// TokenStore is where the tokens of granted access are kept.
type TokenStore struct {
	// The database file; one process at a time holds it, others ask that one.
	// Default ./data/tokens.db.
	Path string `yaml:"path"`
	// The key that seals every token in the file: 32 random bytes as 64 hex
	// digits or as base64. "outlook-connector init" writes one. Without the key
	// the file's tokens are lost. Default ${file:./data/token.key}.
	Key seal.Secret `yaml:"key"`
	// Keys that key replaced, and that still open the tokens which they sealed.
	// Whatever is written is sealed with key; "outlook-connector auth rekey"
	// seals all of it with key, and then these can go.
	PreviousKeys []seal.Secret `yaml:"previous_keys,omitempty"`
}

// defaultTokenKey is what token_store.key is when the file does not say.
const defaultTokenKey = "${file:./data/token.key}" //nolint:gosec // a reference to a key, not a key

// HTTP is the program's own HTTP side.
type HTTP struct {
	// The address to listen on; port 0 takes a free one. An address that is not
	// loopback needs a credential, and tls or insecure: true. Default
	// 127.0.0.1:8480.
	Listen string `yaml:"listen"`
	// The certificate to serve https with. Without it http is served.
	TLS *ServerTLS `yaml:"tls,omitempty"`
	// What everything but health, metrics and the sign-in's callback asks for,
	// as a bearer token or as the password of basic authentication: at least 16
	// characters, for example ${file:./data/http.credential}.
	Credential seal.Secret `yaml:"credential,omitempty"`
	// Serve plain http on an address that is not loopback, because something
	// else in front of it does TLS. Default false.
	Insecure bool `yaml:"insecure"`
}

// ServerTLS is the certificate of the program's own HTTP side.
type ServerTLS struct {
	// The certificate chain, PEM.
	CertFile string `yaml:"cert_file" jsonschema:"required"`
	// The private key of cert_file, PEM.
	KeyFile string `yaml:"key_file" jsonschema:"required"`
}

// Audit is the record of who had what done: the end of every command and every
// change of a grant. "outlook-connector audit verify" checks it.
type Audit struct {
	// Whether it is kept. With true a command is not answered before its row is
	// stored, and none is begun while rows cannot be. Default true.
	Enabled bool `yaml:"enabled"`
	// How long a row is kept, at least 24h; 0 is for ever. The stream is made so; a
	// shorter time later leaves it as it is, because that would throw rows away.
	// Default 8760h.
	Keep Duration `yaml:"keep"`
}

// Telemetry is where traces go.
type Telemetry struct {
	// The address of an OTLP/HTTP collector that takes the traces, such as
	// http://127.0.0.1:4318: https, or http on loopback; /v1/traces is added
	// where it does not end so. Headers for it come from the environment,
	// OTEL_EXPORTER_OTLP_HEADERS. Without it nothing is traced.
	OTLPEndpoint string `yaml:"otlp_endpoint,omitempty"`
}

// Log is how the program logs, always to standard error.
type Log struct {
	// The least severe level that is logged: debug, info, warn or error. Default
	// info.
	Level string `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// json, text, or auto: text on a terminal and json elsewhere. Default auto.
	Format string `yaml:"format" jsonschema:"enum=auto,enum=json,enum=text"`
}
