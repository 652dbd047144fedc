package sandbox

// The sign-in server (Microsoft identity platform v2.0): which addresses it
// has, the tenant, discovery, keys and sign-out. The pages are in
// signin_authorize.go, signin_device.go and signin_admin.go, the grants in
// signin_token.go, the applications' ways to show who they are in
// signin_client.go, the tokens in tokens.go.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
//
// The tenant in the path is its GUID, its domain, common or organizations.
// consumers is refused at the endpoints with a client (AADSTS9002332), since
// all applications and accounts here are of an organization.
//
// Left out: version 1 endpoints, implicit and hybrid answers, on-behalf-of,
// password and SAML grants, single-page applications and CORS, the discovery of
// clouds (/common/discovery/instance), userinfo.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// signinError is what Entra says: an OAuth error and an AADSTS number.
// https://learn.microsoft.com/entra/identity-platform/reference-error-codes
type signinError struct {
	status   int
	code     string // of OAuth
	number   int    // AADSTS
	text     string
	suberror string
	claims   string // what a new sign-in must ask for
}

// Error makes signinError an error.
func (e *signinError) Error() string { return e.code + ": " + e.describe() }

func (e *signinError) describe() string { return fmt.Sprintf("AADSTS%d: %s", e.number, e.text) }

func newSigninError(status int, code string, number int, format string, args ...any) *signinError {
	return &signinError{status: status, code: code, number: number, text: fmt.Sprintf(format, args...)}
}

// signinCall is a request on its way through the sign-in.
type signinCall struct {
	*http.Request
	id     string
	tenant string // as the path says it
	root   string // scheme and host
}

// personal is the tenant of personal accounts.
// https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference
const personal = "9188040d-6c67-4c5b-b112-36a304b66dad"

// endpoint is one address of the sign-in.
type endpoint struct {
	handle func(*Sandbox, *signinCall) *Answer
	// page: its mistakes are told to a person, else to a program.
	page bool
	// any: it does not matter which kind of account the tenant has.
	any bool
}

func endpointNamed(rest string) (endpoint, bool) {
	switch strings.ToLower(rest) {
	case "oauth2/v2.0/authorize":
		return endpoint{handle: (*Sandbox).authorize, page: true}, true
	case "oauth2/v2.0/token":
		return endpoint{handle: (*Sandbox).token}, true
	case "oauth2/v2.0/devicecode":
		return endpoint{handle: (*Sandbox).devicecode}, true
	case "oauth2/deviceauth", "oauth2/v2.0/deviceauth":
		return endpoint{handle: (*Sandbox).deviceauth, page: true}, true
	case "oauth2/v2.0/logout":
		return endpoint{handle: (*Sandbox).logout, page: true, any: true}, true
	case "adminconsent":
		return endpoint{handle: (*Sandbox).adminconsent, page: true}, true
	case "v2.0/adminconsent":
		return endpoint{handle: (*Sandbox).adminconsent2, page: true}, true
	case "v2.0/.well-known/openid-configuration":
		return endpoint{handle: (*Sandbox).discovery, any: true}, true
	case "discovery/v2.0/keys":
		return endpoint{handle: func(s *Sandbox, _ *signinCall) *Answer { return jsonDocument(s.keys.set()) }, any: true}, true
	}
	return endpoint{}, false
}

// serveSignin answers a request below /{tenant}/.
func (s *Sandbox) serveSignin(w http.ResponseWriter, r *http.Request, tenant, rest string) {
	entry := Call{ID: newGUID(), ClientRequestID: r.Header.Get("client-request-id"), Arrived: time.Now(), Method: r.Method, Path: r.URL.Path, Route: "/{tenant}/" + rest}
	at, ok := endpointNamed(rest)
	if !ok {
		entry.Route = r.URL.Path
		s.finish(w, r, &Answer{Status: http.StatusNotFound, Header: http.Header{}}, entry)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	req := &Request{ID: entry.ID, Method: r.Method, Path: r.URL.Path, RawQuery: r.URL.RawQuery, Route: entry.Route, Header: r.Header}
	entry.Fault = s.control(req, "")
	s.obey(req)
	a := req.answer
	if a == nil {
		c := &signinCall{Request: r, id: entry.ID, tenant: tenant, root: s.root(r)}
		e := s.checkTenant(tenant, at.any)
		switch {
		case e == nil:
			a = at.handle(s, c)
		case at.page:
			a = failure(e)
		default:
			a = tokenFailure(e, c.id, r.Header)
		}
	}
	for _, fn := range req.after {
		fn(a)
	}
	if a.Header == nil {
		a.Header = http.Header{}
	}
	a.Header.Set("x-ms-request-id", entry.ID)
	s.finish(w, r, a, entry)
}

func (s *Sandbox) checkTenant(name string, personalToo bool) *signinError {
	switch name = strings.ToLower(name); {
	case isPersonal(name) && !personalToo:
		return newSigninError(http.StatusBadRequest, "invalid_request", 9002332,
			"The application is configured for use by Microsoft Entra ID users only. Please do not use the /consumers endpoint to serve this request.")
	case isPersonal(name), isShared(name), name == DefaultDomain, name == s.TenantID():
		return nil
	}
	return newSigninError(http.StatusBadRequest, "invalid_request", 90002,
		"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", name)
}

func isPersonal(tenant string) bool {
	return strings.EqualFold(tenant, "consumers") || strings.EqualFold(tenant, personal)
}

// isShared says that a tenant stands for many.
func isShared(tenant string) bool {
	return strings.EqualFold(tenant, "common") || strings.EqualFold(tenant, "organizations")
}

// postOnly reads the form of an endpoint for programs.
func (c *signinCall) postOnly() *signinError {
	if c.Method != http.MethodPost {
		return newSigninError(http.StatusMethodNotAllowed, "invalid_request", 900561,
			"The endpoint only accepts POST requests. Received a %s request.", c.Method)
	}
	if err := c.ParseForm(); err != nil {
		return newSigninError(http.StatusBadRequest, "invalid_request", 90014, "The request body cannot be read.")
	}
	return nil
}

// pageForm reads the form of an endpoint for people. An answer means that it
// cannot be read.
func (c *signinCall) pageForm() *Answer {
	if c.Method != http.MethodGet && c.Method != http.MethodPost {
		return &Answer{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"GET, POST"}}}
	}
	if err := c.ParseForm(); err != nil {
		return page(http.StatusBadRequest, failurePage, "AADSTS900144: The request cannot be read.")
	}
	return nil
}

// discovery is the OpenID document. That of a shared tenant has a pattern for
// the issuer, in which the client puts the tid of a token.
func (s *Sandbox) discovery(c *signinCall) *Answer {
	issuer, at := s.TenantID(), s.TenantID()
	switch {
	case isShared(c.tenant):
		issuer, at = "{tenantid}", strings.ToLower(c.tenant)
	case isPersonal(c.tenant):
		issuer, at = personal, strings.ToLower(c.tenant)
	}
	root := c.root + "/" + at
	return jsonDocument(map[string]any{
		"issuer":                                           c.root + "/" + issuer + "/v2.0",
		"authorization_endpoint":                           root + "/oauth2/v2.0/authorize",
		"token_endpoint":                                   root + "/oauth2/v2.0/token",
		"device_authorization_endpoint":                    root + "/oauth2/v2.0/devicecode",
		"end_session_endpoint":                             root + "/oauth2/v2.0/logout",
		"jwks_uri":                                         root + "/discovery/v2.0/keys",
		"response_types_supported":                         []string{"code"},
		"response_modes_supported":                         []string{"query", "form_post"},
		"subject_types_supported":                          []string{"pairwise"},
		"scopes_supported":                                 []string{"openid", "profile", "email", "offline_access"},
		"id_token_signing_alg_values_supported":            []string{"RS256"},
		"token_endpoint_auth_methods_supported":            []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"PS256", "RS256"},
		"code_challenge_methods_supported":                 []string{"S256"},
		"claims_supported":                                 []string{"sub", "iss", "aud", "exp", "iat", "oid", "tid", "preferred_username", "name", "nonce"},
		"msgraph_host":                                     strings.TrimPrefix(strings.TrimPrefix(c.root, "https://"), "http://"),
	})
}

// logout ends a session. There is none here, so it only sends the browser on,
// if the address is one of an application's.
func (s *Sandbox) logout(c *signinCall) *Answer {
	if a := c.pageForm(); a != nil {
		return a
	}
	to := c.Form.Get("post_logout_redirect_uri")
	if to != "" && slices.ContainsFunc(s.opts.apps, func(a App) bool { return a.allows(to) }) {
		return (&authRequest{redirect: to, state: c.Form.Get("state")}).answer(url.Values{})
	}
	return page(http.StatusOK, signedOut, nil)
}

func jsonDocument(v any) *Answer {
	b, err := json.Marshal(v)
	if err != nil {
		return &Answer{Status: http.StatusInternalServerError, Header: http.Header{}}
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{
		"Content-Type": {"application/json; charset=utf-8"}, "Cache-Control": {"no-store, no-cache"},
	}, Body: b}
}

// app finds a registered application.
func (s *Sandbox) app(id string) (App, bool) {
	i := slices.IndexFunc(s.opts.apps, func(a App) bool { return strings.EqualFold(a.ClientID, id) })
	if i < 0 {
		return App{}, false
	}
	return s.opts.apps[i], true
}

// allows says whether the application may be answered at this address. Loopback
// needs no registration here; Entra ignores only its port.
// https://learn.microsoft.com/entra/identity-platform/reply-url
func (a App) allows(redirect string) bool {
	if slices.Contains(a.RedirectURIs, redirect) {
		return true
	}
	u, err := url.Parse(redirect)
	return err == nil && u.Scheme == "http" && u.Fragment == "" && u.User == nil &&
		slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, u.Hostname())
}
