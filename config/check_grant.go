package config

import (
	"fmt"
	"slices"
	"strings"
)

// personalTenant is the directory of personal accounts under its id.
// https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
const personalTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// sharedTenants stand for many directories, or for personal accounts. An
// application of its own has no account there.
func sharedTenants() []string {
	return []string{"common", "organizations", "consumers", personalTenant}
}

func (d *document) checkTenant(path string, c *Client, cloudKnown bool) {
	at := path + ".tenant"
	switch {
	case c.Tenant != "" && !tenantPattern.MatchString(c.Tenant):
		d.add(at, "a domain such as contoso.onmicrosoft.com, or the directory's id", "tenant: %s is not a tenant", d.quote(at, c.Tenant))
		return
	case c.AppOnly() && slices.Contains(sharedTenants(), strings.ToLower(c.Tenant)):
		// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
		d.add(at, "tenant: contoso.onmicrosoft.com, or the directory's id",
			"tenant: %s is no directory of its own, which client_credentials needs", d.quote(at, c.Tenant))
		return
	case c.Tenant != "" || !cloudKnown:
		return
	}
	needed := []string{"token_url", "base_url"}
	given := map[string]string{"token_url": c.TokenURL, "base_url": c.BaseURL}
	switch c.Grant {
	case grantCode:
		needed, given["authorize_url"] = slices.Insert(needed, 0, "authorize_url"), c.AuthorizeURL
	case grantDevice:
		needed, given["device_url"] = append(needed, "device_url"), c.DeviceURL
	}
	for _, key := range needed {
		if given[key] == "" {
			last := len(needed) - 1
			d.add(at, "tenant: contoso.onmicrosoft.com; or give "+strings.Join(needed[:last], ", ")+" and "+needed[last], "no tenant is named")
			return
		}
	}
}

// checkCredential reports a client that shows nothing where it must, or more
// than one thing.
func (d *document) checkCredential(path string, c *Client) {
	var given []string
	if c.ClientSecret != "" {
		given = append(given, "client_secret")
	}
	if cert := c.Certificate; cert != nil {
		given = append(given, "certificate")
		if cert.CertFile == "" || cert.KeyFile == "" {
			d.add(path+".certificate", "certificate: {cert_file: …, key_file: …}", "certificate needs cert_file and key_file")
		}
	}
	if c.AssertionFile != "" {
		given = append(given, "assertion_file")
	}
	switch {
	case len(given) > 1:
		at := path + "." + given[len(given)-1]
		d.add(at, "keep one of them", "%s are given: one is enough for the sign-in server, and it takes no two", strings.Join(given, " and "))
	case len(given) == 0 && c.AppOnly() && !d.failed[path+".client_secret"]:
		d.add(path+".grant", "client_secret: ${env:NAME}, certificate: {cert_file: …, key_file: …} or assertion_file: …",
			"client_credentials needs something to show who the application is")
	}
}

func (d *document) checkScopes(path string, c *Client) {
	sample := "scopes: [offline_access, Mail.ReadWrite, Mail.Send]"
	if c.AppOnly() {
		sample = "remove it: the permissions are those of the app registration, with an administrator's consent"
		if len(c.Scopes) != 1 || !strings.HasSuffix(c.Scopes[0], "/.default") {
			d.add(path, sample, "scopes: client_credentials takes one scope only, the root of Graph with /.default")
			return
		}
	}
	if len(c.Scopes) == 0 {
		d.add(path, sample, "no scopes are named")
		return
	}
	for i, scope := range c.Scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' }) {
			at := fmt.Sprintf("%s[%d]", path, i)
			d.add(at, sample, "%s is not a scope", d.quote(at, scope))
		}
	}
	if !c.AppOnly() && !slices.Contains(c.Scopes, "offline_access") {
		// https://learn.microsoft.com/entra/identity-platform/scopes-oidc#the-offline_access-scope
		d.add(path, sample, "scopes lack offline_access: without it access ends after about an hour")
	}
}
