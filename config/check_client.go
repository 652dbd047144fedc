package config

import (
	"net/url"
	"strconv"
	"strings"
	"unicode"
)

func (d *document) checkClient(path string, c *Client) {
	d.checkName(path, c.Name, "a client")
	known := d.oneOf(path+".cloud", c.Cloud, "global", "usgov", "usgov_dod", "china")
	d.checkTenant(path, c, known)
	for _, address := range []struct{ key, value string }{
		{"authorize_url", c.AuthorizeURL}, {"token_url", c.TokenURL}, {"device_url", c.DeviceURL}, {"base_url", c.BaseURL},
	} {
		if at := path + "." + address.key; d.nodes[at] != nil && address.value != "" {
			d.checkAddress(at, address.value)
		}
	}
	d.oneOf(path+".grant", c.Grant, grantCode, grantDevice, grantCredentials)
	d.checkCredential(path, c)
	if c.ClientID == "" || strings.ContainsFunc(c.ClientID, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		d.add(path+".client_id", "the application (client) id of the app registration", "client_id is missing or has a space in it")
	}
	d.checkScopes(path+".scopes", c)
	d.checkRedirect(path+".redirect_url", c.RedirectURL)
	if c.Limits.Concurrency < 1 || c.Limits.Concurrency > 64 {
		d.add(path+".limits.concurrency", "Outlook's own limit is 4", "concurrency: %s is not between 1 and 64",
			d.quote(path+".limits.concurrency", strconv.Itoa(c.Limits.Concurrency)))
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
