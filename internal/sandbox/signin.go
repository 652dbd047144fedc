package sandbox

// The sign-in server (Microsoft identity platform v2.0): which addresses it
// has, the tenant, discovery and keys. The pages are in signin_authorize.go,
// the tokens in signin_token.go.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
//
// Left out: device code, client credentials, sign-out, admin consent, claims
// challenges, personal accounts.

import (
	"encoding/json"
	"fmt"
	"html/template"
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
}

// Error makes signinError an error.
func (e *signinError) Error() string { return e.code + ": " + e.describe() }

func (e *signinError) describe() string { return fmt.Sprintf("AADSTS%d: %s", e.number, e.text) }

func newSigninError(status int, code string, number int, format string, args ...any) *signinError {
	return &signinError{status: status, code: code, number: number, text: fmt.Sprintf(format, args...)}
}

// serveSignin answers a request below /{tenant}/.
func (s *Sandbox) serveSignin(w http.ResponseWriter, r *http.Request, tenant, rest string) {
	entry := Call{ID: newGUID(), ClientRequestID: r.Header.Get("client-request-id"), Arrived: time.Now(), Method: r.Method, Path: r.URL.Path, Route: "/{tenant}/" + rest}
	var handle func(r *http.Request, id string) *Answer
	switch strings.ToLower(rest) {
	case "oauth2/v2.0/authorize":
		handle = s.authorize
	case "oauth2/v2.0/token":
		handle = s.token
	case "v2.0/.well-known/openid-configuration":
		handle = s.discovery
	case "discovery/v2.0/keys":
		handle = func(*http.Request, string) *Answer { return jsonDocument(s.keys.set()) }
	default:
		entry.Route = r.URL.Path
		s.finish(w, r, &Answer{Status: http.StatusNotFound, Header: http.Header{}}, entry)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	req := &Request{ID: entry.ID, Method: r.Method, Path: r.URL.Path, RawQuery: r.URL.RawQuery, Route: entry.Route, Header: r.Header}
	entry.Fault = s.control(req, "")
	s.obey(req)
	a := req.answer
	switch {
	case a != nil:
	case !s.tenantKnown(tenant):
		e := newSigninError(http.StatusBadRequest, "invalid_request", 90002,
			"Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", tenant)
		if a = tokenFailure(e, entry.ID); r.Method == http.MethodGet {
			a = page(http.StatusBadRequest, failurePage, e.describe())
		}
	default:
		a = handle(r, entry.ID)
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

func (s *Sandbox) tenantKnown(name string) bool {
	return slices.Contains([]string{DefaultDomain, s.TenantID(), "common", "organizations"}, strings.ToLower(name))
}

// discovery is the OpenID document.
func (s *Sandbox) discovery(r *http.Request, _ string) *Answer {
	root := s.root(r) + "/" + s.TenantID()
	return jsonDocument(map[string]any{
		"issuer":                                root + "/v2.0",
		"authorization_endpoint":                root + "/oauth2/v2.0/authorize",
		"token_endpoint":                        root + "/oauth2/v2.0/token",
		"jwks_uri":                              root + "/discovery/v2.0/keys",
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query", "form_post"},
		"subject_types_supported":               []string{"pairwise"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "oid", "tid", "preferred_username", "name", "nonce"},
	})
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

// knownScopes are the delegated permissions of Graph's Outlook part.
const knownScopes = "Mail.ReadBasic Mail.Read Mail.ReadWrite Mail.Send Mail.ReadBasic.Shared Mail.Read.Shared Mail.ReadWrite.Shared Mail.Send.Shared" +
	" MailboxSettings.Read MailboxSettings.ReadWrite Calendars.ReadBasic Calendars.Read Calendars.ReadWrite Calendars.Read.Shared Calendars.ReadWrite.Shared" +
	" Contacts.Read Contacts.ReadWrite Contacts.Read.Shared Contacts.ReadWrite.Shared Tasks.Read Tasks.ReadWrite Tasks.Read.Shared Tasks.ReadWrite.Shared" +
	" People.Read People.Read.All Place.Read.All Place.ReadWrite.All Group.Read.All Group.ReadWrite.All Group-Conversation.ReadWrite.All" +
	" User.Read User.ReadWrite User.ReadBasic.All User.Read.All User.ReadWrite.All openid profile email offline_access"

// readScopes reads a scope parameter into canonical names.
func readScopes(text string) ([]string, *signinError) {
	var list []string
	for given := range strings.FieldsSeq(text) {
		name := given
		const resource = "https://graph.microsoft.com/"
		if len(given) > len(resource) && strings.EqualFold(given[:len(resource)], resource) {
			name = given[len(resource):]
		}
		all := strings.Fields(knownScopes)
		i := slices.IndexFunc(all, func(k string) bool { return strings.EqualFold(k, name) })
		if i < 0 {
			return nil, newSigninError(http.StatusBadRequest, "invalid_scope", 70011,
				"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope %s is not valid.", given)
		}
		if !slices.Contains(list, all[i]) {
			list = append(list, all[i])
		}
	}
	if len(list) == 0 {
		return nil, newSigninError(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: 'scope'.")
	}
	return list, nil
}

// page renders a template into an answer.
func page(status int, t *template.Template, data any) *Answer {
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return &Answer{Status: http.StatusInternalServerError, Header: http.Header{}, Body: []byte(err.Error())}
	}
	return &Answer{Status: status, Header: http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"no-store"},
	}, Body: []byte(b.String())}
}
