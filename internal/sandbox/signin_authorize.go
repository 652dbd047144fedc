package sandbox

// The authorize page: pick an account, consent, be sent back with a code. It
// works in a browser and for an HTTP client that follows forms ([SignIn]).
// There are no passwords and no session: each visit asks for the account. The
// pages keep no state on the server, so the request travels in hidden fields
// and is checked again at each step.
//
// Modelled: client_id, redirect_uri, response_type=code, response_mode query and
// form_post, scope (.default too), state, nonce, code_challenge with S256,
// prompt, login_hint, claims; consent is asked for once per person, application
// and set of permissions, and not at all for what an administrator allowed.

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// codeLife is how long a code is good for:
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
const codeLife = 10 * time.Minute

// authCode is what a code stands for. Codes live in memory: after a restart one
// is unknown, which a client must bear anyway.
type authCode struct {
	app, person, redirect, challenge, nonce string
	scopes                                  []string
	claims                                  claimsAsked
	answered                                int64 // the account's NotBefore when the person signed in
	expires                                 time.Time
	used                                    bool
}

type codeBook struct {
	mu    sync.Mutex
	codes map[string]*authCode
	// devices are by device code; see signin_device.go.
	devices map[string]*deviceCode
}

func (b *codeBook) add(c *authCode) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for code, old := range b.codes {
		if now.After(old.expires) {
			delete(b.codes, code)
		}
	}
	code := "0." + randomText(96)
	b.codes[code] = c
	return code
}

// authRequest is a checked authorize request.
type authRequest struct {
	app       App
	redirect  string
	mode      string
	state     string
	nonce     string
	challenge string
	prompt    string
	hint      string
	scopes    []string
	claims    claimsAsked
	root      string
}

// requestFields travel through the pages.
func requestFields() []string {
	return []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
		"code_challenge", "code_challenge_method", "prompt", "login_hint", "claims",
	}
}

func (s *Sandbox) authorize(c *signinCall) *Answer {
	if a := c.pageForm(); a != nil {
		return a
	}
	form := c.Form
	q, e := s.checkAddress(form)
	if e != nil {
		// The address to answer to is not to be trusted: the person is told.
		return failure(e)
	}
	q.root = c.root
	if e := q.check(form); e != nil {
		return q.refuse(e)
	}
	account := form.Get("account")
	if account == "" {
		account = q.hint
	}
	who := s.visitorNamed(q.app, account)
	data := signinPage{Action: c.URL.EscapedPath(), Fields: keep(form, requestFields()...), App: q.app.ClientID}
	switch {
	case !who.known && q.prompt == "none":
		return q.refuse(newSigninError(0, "login_required", 50058, "A silent sign-in request was sent but no user is signed in."))
	case !who.known:
		data.Unknown = form.Get("account")
		return s.pickAccount(data)
	case who.account.Disabled:
		return failure(errDisabled())
	}
	if q.scopes, e = expandDefault(q.app, who.consented, q.scopes); e != nil {
		return q.refuse(e)
	}
	switch {
	case form.Get("consent") == "cancel":
		return q.refuse(newSigninError(0, "access_denied", 65004, "User declined to consent to access the app."))
	case form.Get("consent") == "accept":
		if err := s.consent(who.ID, q.app.ClientID, q.scopes); err != nil {
			return page(http.StatusInternalServerError, failurePage, err.Error())
		}
	case q.prompt == "consent" || !covers(who.consented, q.scopes):
		if q.prompt == "none" {
			return q.refuse(newSigninError(0, "interaction_required", 65001, "The user or administrator has not consented to use the application."))
		}
		data.Who, data.Scopes = who.Person, q.scopes
		return page(http.StatusOK, consentPage, data)
	}
	code := s.codes.add(&authCode{
		app: q.app.ClientID, person: who.ID, redirect: q.redirect, challenge: q.challenge, nonce: q.nonce,
		scopes: q.scopes, claims: q.claims, answered: who.account.NotBefore, expires: time.Now().Add(codeLife),
	})
	return q.answer(url.Values{"code": {code}, "session_state": {newGUID()}})
}

// checkAddress checks what decides where the answer may go.
func (s *Sandbox) checkAddress(form url.Values) (*authRequest, *signinError) {
	for _, name := range []string{"client_id", "redirect_uri"} {
		if form.Get(name) == "" {
			return nil, newSigninError(0, "invalid_request", 900144, "The request body must contain the following parameter: '%s'.", name)
		}
	}
	app, ok := s.app(form.Get("client_id"))
	if !ok {
		return nil, errNoApp(form.Get("client_id"))
	}
	redirect := form.Get("redirect_uri")
	if !app.allows(redirect) {
		return nil, errRedirect(redirect, app)
	}
	return &authRequest{app: app, redirect: redirect, state: form.Get("state"), mode: form.Get("response_mode")}, nil
}

func errRedirect(redirect string, app App) *signinError {
	return newSigninError(0, "invalid_request", 50011,
		"The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", redirect, app.ClientID)
}

// check checks the rest of the request.
func (q *authRequest) check(form url.Values) *signinError {
	q.nonce, q.prompt, q.hint, q.challenge = form.Get("nonce"), form.Get("prompt"), form.Get("login_hint"), form.Get("code_challenge")
	method := form.Get("code_challenge_method")
	switch {
	case form.Get("response_type") == "":
		return newSigninError(0, "invalid_request", 900144, "The request body must contain the following parameter: 'response_type'.")
	case form.Get("response_type") != "code":
		return newSigninError(0, "unsupported_response_type", 700051, "response_type '%s' is not enabled for the application.", form.Get("response_type"))
	case !slices.Contains([]string{"", "query", "form_post"}, q.mode):
		return newSigninError(0, "invalid_request", 90014, "The response_mode '%s' is not supported.", q.mode)
	case !slices.Contains([]string{"", "none", "login", "consent", "select_account"}, q.prompt):
		return newSigninError(0, "invalid_request", 90023, "Unsupported 'prompt' value.")
	case (q.challenge != "" || method != "") && method != "S256":
		return newSigninError(0, "invalid_request", 50149, "Invalid Code_Challenge_method parameter.")
	case method != "" && len(q.challenge) != 43:
		return newSigninError(0, "invalid_request", 501491, "Invalid size of Code_Challenge parameter.")
	}
	var e *signinError
	if q.scopes, e = readScopes(form.Get("scope"), q.root); e == nil {
		q.claims, e = readClaims(form.Get("claims"))
	}
	return e
}

func (q *authRequest) refuse(e *signinError) *Answer {
	v := url.Values{"error": {e.code}, "error_description": {e.describe()}}
	return q.answer(v)
}

// answer sends the browser back with values.
func (q *authRequest) answer(v url.Values) *Answer {
	if q.state != "" {
		v.Set("state", q.state)
	}
	if q.mode == "form_post" {
		return page(http.StatusOK, postPage, map[string]any{"To": q.redirect, "Values": v})
	}
	u, err := url.Parse(q.redirect)
	if err != nil { // allows has parsed it
		return page(http.StatusBadRequest, failurePage, err.Error())
	}
	all := u.Query()
	maps.Copy(all, v)
	u.RawQuery = all.Encode()
	return &Answer{Status: http.StatusFound, Header: http.Header{"Location": {u.String()}, "Cache-Control": {"no-store"}}}
}

// keep copies the request's own fields.
func keep(form url.Values, names ...string) map[string]string {
	fields := map[string]string{}
	for _, name := range names {
		if v := form.Get(name); v != "" {
			fields[name] = v
		}
	}
	return fields
}
