package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"outlook-connector/internal/catalog"
)

// complete fills in what follows from other values: the embedded server where
// no other is named, the token key's usual place, addresses from tenant and
// cloud, methods and modes from entities. Values that are given are left as
// they are, so that check sees what the file says.
func (d *document) complete(c *Config) {
	d.completeNATS(&c.NATS)
	if c.TokenStore.Key == "" && d.nodes["token_store.key"] == nil {
		d.completeKey(&c.TokenStore)
	}
	c.TokenStore.Path = d.path(c.TokenStore.Path)
	if tls := c.HTTP.TLS; tls != nil {
		tls.CertFile, tls.KeyFile = d.path(tls.CertFile), d.path(tls.KeyFile)
	}
	for i := range c.Clients {
		c.Clients[i].complete(&c.HTTP)
		if cert := c.Clients[i].Certificate; cert != nil {
			cert.CertFile, cert.KeyFile = d.path(cert.CertFile), d.path(cert.KeyFile)
		}
		c.Clients[i].AssertionFile = d.path(c.Clients[i].AssertionFile)
	}
	for i := range c.Subscriptions {
		d.completeSubscription(fmt.Sprintf("subscriptions[%d]", i), &c.Subscriptions[i])
	}
	for i := range c.Publishers {
		c.Publishers[i].complete()
	}
}

// path returns a path of the file as the process can open it; "" stays "".
func (d *document) path(path string) string {
	if path == "" {
		return ""
	}
	return d.rooted(path)
}

func (d *document) completeNATS(n *NATS) {
	if n.Embedded == nil && n.URL == "" && n.Context == "" {
		n.Embedded = new(Embedded)
		n.Embedded.setDefaults()
	}
	if n.Embedded != nil {
		n.Embedded.StoreDir = d.path(n.Embedded.StoreDir)
	}
	if strings.ContainsAny(n.Context, `/\`) {
		n.Context = d.path(n.Context)
	}
	n.CredentialsFile = d.path(n.CredentialsFile)
	if tls := n.TLS; tls != nil {
		tls.CAFile, tls.CertFile, tls.KeyFile = d.path(tls.CAFile), d.path(tls.CertFile), d.path(tls.KeyFile)
	}
}

// completeKey reads the token key from its usual place.
func (d *document) completeKey(t *TokenStore) {
	const path = "token_store.key"
	text, err := d.interpolate(defaultTokenKey)
	if err != nil {
		line, column := d.place(path)
		d.push(Problem{
			Line: line, Column: column, Path: path, cause: err.cause,
			Text: "token_store.key is not given, and " + err.text,
			Hint: "outlook-connector init writes a key; or key: ${env:NAME}",
		})
		d.failed[path] = true
		return
	}
	_ = t.Key.UnmarshalText([]byte(text))
}

func (c *Client) complete(h *HTTP) {
	if cloud, ok := cloudOf(c.Cloud); ok {
		if c.Tenant != "" && c.AuthorizeURL == "" {
			c.AuthorizeURL = cloud.login + "/" + c.Tenant + "/oauth2/v2.0/authorize"
		}
		if c.Tenant != "" && c.TokenURL == "" {
			c.TokenURL = cloud.login + "/" + c.Tenant + "/oauth2/v2.0/token"
		}
		if c.AppOnly() && c.Scopes == nil {
			// https://learn.microsoft.com/graph/deployments#app-registration-and-token-service-root-endpoints
			c.Scopes = []string{cloud.graph + "/.default"}
		}
		if c.BaseURL == "" && (c.Tenant != "" || c.AuthorizeURL == "" || c.TokenURL == "") {
			c.BaseURL = cloud.graph
		}
	}
	if before, ok := strings.CutSuffix(c.TokenURL, "/oauth2/v2.0/token"); ok && c.DeviceURL == "" {
		c.DeviceURL = before + "/oauth2/v2.0/devicecode"
	}
	if base, err := url.Parse(c.BaseURL); err == nil && base.Host != "" {
		base.Path = strings.TrimRight(base.Path, "/")
		if base.Path == "" {
			base.Path = "/v1.0"
		}
		c.BaseURL = base.String()
	}
	if c.RedirectURL == "" {
		scheme := "http"
		if h.TLS != nil {
			scheme = "https"
		}
		if _, port, err := net.SplitHostPort(h.Listen); err == nil {
			c.RedirectURL = scheme + "://localhost:" + port + callbackPath
		}
	}
}

// completeSubscription fills in what follows from the entity.
func (d *document) completeSubscription(path string, s *Subscription) {
	op := s.Operation()
	if op != nil {
		s.Entity = op.ID
		if s.Method == "" {
			s.Method = op.Method
		}
		if modes := op.Modes(); s.Mode == "" && len(modes) > 0 {
			s.Mode = modes[0]
		}
		if s.Mailboxes.List == nil && !d.isMapping(path+".mailboxes") {
			s.Mailboxes.List = usualMailboxes(op.NeedsMailbox())
		}
	}
	if s.Cron != "" && d.nodes[path+".every"] == nil {
		s.Every = Every{}
	}
	unknown := s.Mode == catalog.ModeList && !s.Paginate || s.Mode == catalog.ModeSingle && op != nil && !isObject(op)
	if d.nodes[path+".changes"] == nil && unknown {
		s.Changes = []string{"created", "updated"} // of the rest nobody would know
	}
	s.Method = strings.ToUpper(s.Method)
}

func (p *Publisher) complete() {
	needsMailbox := true
	if p.Entity != "" {
		if op, err := catalog.Default().Lookup(p.Entity); err == nil {
			p.Entity = op.ID
			if p.Method == "" {
				p.Method = op.Method
			}
			needsMailbox = op.NeedsMailbox()
		}
	}
	if p.Mailboxes == nil {
		p.Mailboxes = usualMailboxes(needsMailbox)
	}
	p.Method = strings.ToUpper(p.Method)
}

// usualMailboxes is what mailboxes is when the file does not say.
func usualMailboxes(needed bool) []string {
	if needed {
		return []string{"me"}
	}
	return []string{"-"}
}

// Operations returns the catalogue's operations that the publisher may do: that
// of Entity, or those that Entities name, each once. It is nil for a publisher
// that was not checked.
func (p *Publisher) Operations() []*catalog.Operation {
	if p.Entity != "" {
		if op, err := catalog.Default().Lookup(p.Entity); err == nil {
			return []*catalog.Operation{op}
		}
		return nil
	}
	var list []*catalog.Operation
	seen := make(map[string]bool)
	for _, pattern := range p.Entities {
		for _, op := range selectEntities(pattern) {
			if !seen[op.ID] && (p.Method == "" || op.Method == p.Method) {
				seen[op.ID] = true
				list = append(list, op)
			}
		}
	}
	return list
}

// selectEntities returns what one item of entities stands for: those that a
// pattern fits, or the one of an id or title.
func selectEntities(item string) []*catalog.Operation {
	if strings.ContainsAny(item, "*?") {
		return catalog.Default().Select(item)
	}
	if op, err := catalog.Default().Lookup(item); err == nil {
		return []*catalog.Operation{op}
	}
	return nil
}
