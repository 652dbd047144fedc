package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

func (d *document) checkClient(path string, c *Client) {
	d.checkName(path, c.Name, "a client")
	known := d.oneOf(path+".cloud", c.Cloud, "global", "usgov", "usgov_dod", "china")
	switch {
	case c.Tenant != "" && !tenantPattern.MatchString(c.Tenant):
		d.add(path+".tenant", "a domain such as contoso.onmicrosoft.com, or the directory's id",
			"tenant: %s is not a tenant", d.quote(path+".tenant", c.Tenant))
	case c.Tenant == "" && known && (c.AuthorizeURL == "" || c.TokenURL == "" || c.BaseURL == ""):
		d.add(path+".tenant", "tenant: contoso.onmicrosoft.com; or give authorize_url, token_url and base_url", "no tenant is named")
	}
	for _, address := range []struct{ key, value string }{
		{"authorize_url", c.AuthorizeURL}, {"token_url", c.TokenURL}, {"base_url", c.BaseURL},
	} {
		if at := path + "." + address.key; d.nodes[at] != nil && address.value != "" {
			d.checkAddress(at, address.value)
		}
	}
	d.checkClientUnavailable(path, c)
	if c.ClientID == "" || strings.ContainsFunc(c.ClientID, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		d.add(path+".client_id", "the application (client) id of the app registration", "client_id is missing or has a space in it")
	}
	d.checkScopes(path+".scopes", c.Scopes)
	d.checkRedirect(path+".redirect_url", c.RedirectURL)
	if c.Limits.Concurrency < 1 || c.Limits.Concurrency > 64 {
		d.add(path+".limits.concurrency", "Outlook's own limit is 4", "concurrency: %s is not between 1 and 64",
			d.quote(path+".limits.concurrency", strconv.Itoa(c.Limits.Concurrency)))
	}
}

// checkClientUnavailable refuses the ways to sign in that are not built yet.
func (d *document) checkClientUnavailable(path string, c *Client) {
	switch at := path + ".grant"; c.Grant {
	case grantCode:
	case grantDevice, grantCredentials:
		d.unavailable(at, "grant: "+grantCode, "grant: "+c.Grant)
	default:
		d.oneOf(at, c.Grant, grantCode)
	}
	const secret = "client_secret: ${env:NAME}, or none for a public client"
	if c.Certificate != nil {
		d.unavailable(path+".certificate", secret, "certificate")
	}
	if c.AssertionFile != "" {
		d.unavailable(path+".assertion_file", secret, "assertion_file")
	}
	if c.DeviceURL != "" {
		d.unavailable(path+".device_url", "remove it", "device_url")
	}
}

func (d *document) checkScopes(path string, scopes []string) {
	const sample = "scopes: [offline_access, Mail.ReadWrite, Mail.Send]"
	if len(scopes) == 0 {
		d.add(path, sample, "no scopes are named")
		return
	}
	for i, scope := range scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' }) {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.add(at, sample, "%s is not a scope", d.quote(at, scope))
		}
	}
	if !slices.Contains(scopes, "offline_access") {
		// https://learn.microsoft.com/entra/identity-platform/scopes-oidc#the-offline_access-scope
		d.add(path, sample, "scopes lack offline_access: without it access ends after about an hour")
	}
}

func (d *document) checkRedirect(path, value string) {
	if value == "" {
		return // http.listen has a problem, or it would have been filled in
	}
	u, err := url.Parse(value)
	if err == nil && u.Host != "" && !strings.HasSuffix(u.Path, callbackPath) {
		d.add(path, "redirect_url: http://localhost:8480"+callbackPath, "redirect_url: %s does not end in %s", d.quote(path, value), callbackPath)
		return
	}
	d.checkAddress(path, value)
}
