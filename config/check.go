package config

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
	"outlook-connector/internal/xform"
)

// callbackPath is where the browser comes back to after signing in.
const callbackPath = "/oauth/callback"

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	inboxPattern  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	tenantPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]*$`)
)

// check adds every problem that a decoded configuration has: rules within a
// value and between values.
func (d *document) check(c *Config) {
	d.checkNATS(&c.NATS)
	d.checkTokenStore(&c.TokenStore)
	d.checkHTTP(&c.HTTP)
	d.checkAudit(&c.Audit)
	if c.Telemetry.OTLPEndpoint != "" {
		d.checkAddress("telemetry.otlp_endpoint", c.Telemetry.OTLPEndpoint)
	}
	d.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	d.oneOf("log.format", c.Log.Format, "auto", "json", "text")

	for i := range c.Clients {
		d.checkClient(fmt.Sprintf("clients[%d]", i), &c.Clients[i])
	}
	for i := range c.Subscriptions {
		d.checkSubscription(fmt.Sprintf("subscriptions[%d]", i), &c.Subscriptions[i], c)
	}
	for i := range c.Publishers {
		d.checkPublisher(fmt.Sprintf("publishers[%d]", i), &c.Publishers[i], c)
	}
	checkUnique(d, "clients", c.Clients, func(c *Client) string { return c.Name })
	checkUnique(d, "subscriptions", c.Subscriptions, func(s *Subscription) string { return s.Name })
	checkUnique(d, "publishers", c.Publishers, func(p *Publisher) string { return p.Name })
}

// checkUnique reports names that are there twice, at the second.
func checkUnique[T any](d *document, list string, items []T, name func(*T) string) {
	first := make(map[string]int)
	for i := range items {
		name := name(&items[i])
		at, taken := first[name]
		if !taken {
			first[name] = i
			continue
		}
		if name == "" {
			continue // reported as missing already
		}
		path := fmt.Sprintf("%s[%d].name", list, i)
		line, _ := d.place(fmt.Sprintf("%s[%d].name", list, at))
		d.add(path, "give one of them another name", "the name %s is taken on line %d already", d.quote(path, name), line)
	}
}

func (d *document) checkName(path, name, of string) {
	path += ".name"
	switch {
	case name == "":
		d.add(path, "name: a word of lower-case letters, digits and dashes", "%s has no name", of)
	case !namePattern.MatchString(name):
		d.add(path, "lower-case letters, digits and dashes, beginning with a letter or a digit, at most 63",
			"%s is not a name", d.quote(path, name))
	}
}

// oneOf reports a value that is none of a fixed set.
func (d *document) oneOf(path, value string, allowed ...string) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	near := ""
	if word := nearest(value, allowed); word != "" && d.written[path] == "" {
		near = fmt.Sprintf(": did you mean %q?", word)
	}
	hint := "one of " + strings.Join(allowed, ", ")
	if len(allowed) == 1 {
		hint = subject(path) + ": " + allowed[0]
	}
	d.add(path, hint, "%s: %s is not known%s", subject(path), d.quote(path, value), near)
	return false
}

// checkReference reports a client that is not defined.
func (d *document) checkReference(path, name string, c *Config) *Client {
	path += ".client"
	if client := c.Client(name); client != nil && name != "" {
		return client
	}
	var names []string
	for _, client := range c.Clients {
		if client.Name != "" {
			names = append(names, client.Name)
		}
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	hint := "define a client of that name under clients"
	if len(names) > 0 {
		hint = "one of " + strings.Join(names, ", ") + ", or define it under clients"
	}
	switch near := nearest(name, names); {
	case d.failed["clients"]:
	case name == "":
		d.add(path, hint, "no client is named")
	case near != "":
		d.add(path, hint, "there is no client %s: did you mean %q?", d.quote(path, name), near)
	default:
		d.add(path, hint, "there is no client %s", d.quote(path, name))
	}
	return nil
}

// checkAddress reports an address that is not https, or http on this machine.
func (d *document) checkAddress(path, value string) {
	key := subject(path)
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		d.add(path, key+": https://host/path", "%s: %s is not an address", key, d.quote(path, value))
	case u.User != nil:
		// The value is not repeated: there may be a password in it.
		d.add(path, "leave user and password out", "%s has a user or a password in it", key)
	case u.Scheme == "http" && !isLoopback(u.Hostname()):
		d.add(path, "use https", "%s: %s is plain http, which is accepted for loopback addresses only", key, d.quote(path, value))
	case u.Scheme != "https" && u.Scheme != "http":
		d.add(path, "use https", "%s: %s is not an https address", key, d.quote(path, value))
	case key == "authorize_url" && u.Fragment == "":
		// Some servers want a query there, such as prompt=consent.
	case u.Fragment != "" || u.RawQuery != "" || u.ForceQuery:
		d.add(path, "end the address with its path", "%s: %s has more than a path behind its host", key, d.quote(path, value))
	}
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// checkListen reports a listening address that is none. It returns its host.
func (d *document) checkListen(path, value string) (host string, ok bool) {
	host, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || strings.ContainsAny(host, " /") {
		d.add(path, subject(path)+": 127.0.0.1:8480", "%s: %s is not host:port", subject(path), d.quote(path, value))
		return "", false
	}
	return host, true
}

func (d *document) checkNATS(n *NATS) {
	external := 0
	if n.URL != "" {
		external++
		d.checkServers("nats.url", n.URL)
	}
	if n.Context != "" {
		external++
	}
	switch {
	case n.Embedded != nil && external > 0:
		d.add("nats.embedded", "keep one of them", "embedded is given together with url or context")
	case external > 1:
		d.add("nats.context", "keep one of them", "context is given together with url")
	}
	if n.URL == "" {
		const because = "keep it only with url; a context brings its own"
		if n.CredentialsFile != "" {
			d.add("nats.credentials_file", because, "credentials_file belongs to url")
		}
		if n.TLS != nil {
			d.add("nats.tls", because, "tls belongs to url")
		}
	}
	if n.InboxPrefix != "" && !inboxPattern.MatchString(n.InboxPrefix) {
		d.add("nats.inbox_prefix", "inbox_prefix: _INBOX_worker", "inbox_prefix: %s cannot be the first word of a subject of ours", d.quote("nats.inbox_prefix", n.InboxPrefix))
	}
	if n.TLS != nil && (n.TLS.CertFile == "") != (n.TLS.KeyFile == "") {
		d.add("nats.tls", "give both or neither", "cert_file and key_file belong together")
	}
	if e := n.Embedded; e != nil {
		if e.StoreDir == "" {
			d.add("nats.embedded.store_dir", "store_dir: ./data/nats", "store_dir is empty")
		}
		if e.Listen != "" {
			const path = "nats.embedded.listen"
			if host, ok := d.checkListen(path, e.Listen); ok && !isLoopback(host) {
				d.add(path, "a loopback address, or a nats-server of your own and nats.url",
					"listen: the embedded server listens on loopback addresses only, not on %s", d.quote(path, e.Listen))
			}
		}
	}
	switch {
	case n.Replicas != 1 && n.Replicas != 3 && n.Replicas != 5:
		d.add("nats.replicas", "1, 3 or 5", "replicas: a stream cannot have %d copies", n.Replicas)
	case n.Replicas > 1 && n.Embedded != nil && external == 0:
		d.add("nats.replicas", "replicas: 1, or a cluster of your own and nats.url", "replicas: the embedded server keeps 1 copy")
	}
	if !namePattern.MatchString(n.Prefix) {
		d.add("nats.prefix", "lower-case letters, digits and dashes, beginning with a letter or a digit",
			"prefix: %s cannot begin a subject", d.quote("nats.prefix", n.Prefix))
	}
}

// checkServers reports addresses of NATS that are none. It does not repeat
// them: a password may be in the wrong place.
func (d *document) checkServers(path string, servers Servers) {
	list := servers.List()
	for _, address := range list {
		u, err := url.Parse(address)
		switch {
		case err != nil || u.Hostname() == "":
			d.add(path, "nats://host:4222, several with commas between them", "url: one of the addresses is not an address of NATS")
		case !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme):
			d.add(path, "nats://, tls://, ws:// or wss://", "url: %q is not a scheme of NATS", clip(u.Scheme))
		case u.RawQuery != "" || u.Fragment != "":
			d.add(path, "nats://host:4222", "url: an address ends after its port or path")
		}
	}
	if len(list) == 0 {
		d.add(path, "nats://host:4222", "url names no server")
	}
}

func (d *document) checkTokenStore(t *TokenStore) {
	if t.Path == "" {
		d.add("token_store.path", "path: ./data/tokens.db", "path is empty")
	}
	key, err := seal.ParseKey(t.Key, "check")
	d.checkPreviousKeys(t.PreviousKeys, key)
	switch {
	case err == nil:
	case t.Key == "":
		d.add("token_store.key", "outlook-connector init writes a key file; or key: ${env:NAME}", "key is empty: tokens are kept only sealed")
	default:
		d.add("token_store.key", "outlook-connector init writes a key file; or openssl rand -hex 32", "key: %s", err)
	}
}

// checkPreviousKeys reports earlier keys that are none, or that are there
// already. Keys are told apart by what they stand for: hex and base64 can be
// the same key.
func (d *document) checkPreviousKeys(earlier []seal.Secret, current *seal.Key) {
	seen := make(map[string]string)
	if current != nil {
		seen[current.ID()] = "key"
	}
	for i, text := range earlier {
		what := fmt.Sprintf("previous_keys[%d]", i)
		path := "token_store." + what
		key, err := seal.ParseKey(text, "check")
		switch {
		case err != nil:
			d.add(path, "a key that key was before: 64 hex digits, best as ${file:./data/token.key.old}", "%s: %s", what, err)
		case seen[key.ID()] != "":
			d.add(path, "remove it; previous_keys are for keys that key replaced", "%s is the same key as %s", what, seen[key.ID()])
		default:
			seen[key.ID()] = what
		}
	}
}

// minCredential is the least length of http.credential, in bytes.
const minCredential = 16

func (d *document) checkHTTP(h *HTTP) {
	host, ok := d.checkListen("http.listen", h.Listen)
	if h.TLS != nil && (h.TLS.CertFile == "" || h.TLS.KeyFile == "") {
		d.add("http.tls", "tls: {cert_file: …, key_file: …}", "tls needs cert_file and key_file")
	}
	if h.Credential != "" && len(h.Credential) < minCredential {
		d.add("http.credential", "openssl rand -hex 32", "credential is shorter than %d characters", minCredential)
	}
	if !ok || isLoopback(host) {
		return
	}
	if h.TLS == nil && !h.Insecure {
		d.add("http.listen", "tls: {cert_file: …, key_file: …}, or insecure: true where something in front does TLS",
			"listen: %s is not a loopback address, so it needs tls or insecure: true", d.quote("http.listen", h.Listen))
	}
	if h.Credential == "" {
		d.add("http.listen", "credential: ${file:./data/http.credential}, with a long random text in that file",
			"listen: %s is not a loopback address, so it needs a credential", d.quote("http.listen", h.Listen))
	}
}

// checkProgram reports a jq program that does not compile, at the place of the
// mistake within the file.
func (d *document) checkProgram(path, src string) {
	if src == "" {
		return
	}
	_, err := xform.Compile(src)
	if err == nil {
		return
	}
	d.addProgram(path, src, err)
}

// hinted returns the hint of an error from another package, or a fallback.
func hinted(err error, fallback string) string {
	if hint := fault.HintOf(err); hint != "" {
		return hint
	}
	return fallback
}

func (d *document) checkAudit(a *Audit) {
	const path = "audit.keep"
	if a.Keep != 0 && a.Keep < 24*hour {
		d.add(path, "keep: 8760h", "audit: %s is too short for a record: at least 24h, or 0 for ever", d.quote(path, a.Keep.String()))
	}
}
