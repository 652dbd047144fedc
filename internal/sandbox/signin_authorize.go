package sandbox

// The authorize page: pick an account, consent, be sent back with a code. It
// works in a browser and for an HTTP client that follows forms ([SignIn]).
// There are no passwords and no session: each visit asks for the account. The
// pages keep no state on the server, so the request travels in hidden fields
// and is checked again at each step.
//
// Modelled: client_id, redirect_uri, response_type=code, response_mode query and
// form_post, scope, state, nonce, code_challenge with S256, prompt, login_hint;
// consent is asked for once per person, application and set of permissions.

import (
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
	expires                                 time.Time
	used                                    bool
}

type codeBook struct {
	mu    sync.Mutex
	codes map[string]*authCode
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
}

// requestFields travel through the pages.
func requestFields() []string {
	return []string{
		"client_id", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce",
		"code_challenge", "code_challenge_method", "prompt", "login_hint",
	}
}

func (s *Sandbox) authorize(r *http.Request, _ string) *Answer {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return &Answer{Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {"GET, POST"}}}
	}
	if err := r.ParseForm(); err != nil {
		return page(http.StatusBadRequest, failurePage, "AADSTS900144: The request cannot be read.")
	}
	form := r.Form
	q, e := s.checkAddress(form)
	if e != nil {
		// The address to answer to is not to be trusted: the person is told.
		return page(http.StatusBadRequest, failurePage, e.describe())
	}
	if e := q.check(form); e != nil {
		return q.refuse(e)
	}
	account := form.Get("account")
	if account == "" {
		account = q.hint
	}
	var who Person
	known, consented := false, ""
	s.read(func(st *state) {
		if b := st.mailboxNamed(account); b != nil {
			who, known = b.Person, true
			consented = st.consents[who.ID+" "+q.app.ClientID]
		}
	})
	data := signinPage{Action: r.URL.EscapedPath(), Fields: keep(form), App: q.app.ClientID}
	if !known {
		if q.prompt == "none" {
			return q.refuse(newSigninError(0, "login_required", 50058, "A silent sign-in request was sent but no user is signed in."))
		}
		data.Unknown = form.Get("account")
		for i, p := range s.People() {
			if i == 50 { // the rest can be typed
				break
			}
			data.People = append(data.People, p)
		}
		return page(http.StatusOK, accountPage, data)
	}
	switch {
	case form.Get("consent") == "cancel":
		return q.refuse(newSigninError(0, "access_denied", 65004, "User declined to consent to access the app."))
	case form.Get("consent") == "accept":
		if err := s.consent(who, q, consented); err != nil {
			return page(http.StatusInternalServerError, failurePage, err.Error())
		}
	case q.prompt == "consent" || !covers(consented, q.scopes):
		if q.prompt == "none" {
			return q.refuse(newSigninError(0, "interaction_required", 65001, "The user or administrator has not consented to use the application."))
		}
		data.Who, data.Scopes = who, q.scopes
		return page(http.StatusOK, consentPage, data)
	}
	code := s.codes.add(&authCode{
		app: q.app.ClientID, person: who.ID, redirect: q.redirect, challenge: q.challenge, nonce: q.nonce,
		scopes: q.scopes, expires: time.Now().Add(codeLife),
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
		return nil, newSigninError(0, "unauthorized_client", 700016, "Application with identifier '%s' was not found in the directory 'Contoso'.", form.Get("client_id"))
	}
	redirect := form.Get("redirect_uri")
	if !app.allows(redirect) {
		return nil, newSigninError(0, "invalid_request", 50011,
			"The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", redirect, app.ClientID)
	}
	return &authRequest{app: app, redirect: redirect, state: form.Get("state"), mode: form.Get("response_mode")}, nil
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
	q.scopes, e = readScopes(form.Get("scope"))
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

func covers(consented string, scopes []string) bool {
	have := strings.Fields(consented)
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(have, s) })
}

func (s *Sandbox) consent(who Person, q *authRequest, before string) error {
	all := strings.Fields(before)
	for _, scope := range q.scopes {
		if !slices.Contains(all, scope) {
			all = append(all, scope)
		}
	}
	return s.update(func(t *tx) error {
		t.do(record{Consent: &consentRecord{Person: who.ID, App: q.app.ClientID, Scopes: strings.Join(all, " ")}})
		return nil
	})
}

// keep copies the request's own fields.
func keep(form url.Values) map[string]string {
	fields := map[string]string{}
	for _, name := range requestFields() {
		if v := form.Get(name); v != "" {
			fields[name] = v
		}
	}
	return fields
}

type signinPage struct {
	Action  string
	Fields  map[string]string
	App     string
	People  []Person
	Unknown string
	Who     Person
	Scopes  []string
}

const pageHead = `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sign in (sandbox)</title><style>
body{font:16px system-ui,sans-serif;max-width:28rem;margin:3rem auto;padding:0 1rem;color:#222}
button{font:inherit;padding:.5rem 1rem;margin:.2rem 0;cursor:pointer}form.pick button{width:100%;text-align:left}
small{color:#666}</style></head><body><p><small>Sandbox, not Microsoft: no password is asked for.</small></p>`

// The ids of the forms and the names of their fields are what SignIn looks for.
var (
	accountPage = template.Must(template.New("account").Parse(pageHead + `<h1>Pick an account</h1>
{{if .Unknown}}<p role="alert">There is no account {{.Unknown}} here.</p>{{end}}
<form id="account" class="pick" method="post" action="{{.Action}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}{{range .People}}<button name="account" value="{{.UPN}}">{{.Name}}<br><small>{{.UPN}}</small></button>
{{end}}</form>
<form id="other" method="post" action="{{.Action}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}<label>Another: <input name="account" type="email"></label> <button>Next</button></form></body></html>`))

	consentPage = template.Must(template.New("consent").Parse(pageHead + `<h1>Permissions requested</h1>
<p>{{.Who.Name}} &lt;{{.Who.UPN}}&gt;</p><p>The application <code>{{.App}}</code> would like to:</p>
<ul>{{range .Scopes}}<li>{{.}}</li>{{end}}</ul>
<form id="consent" method="post" action="{{.Action}}">
{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}<input type="hidden" name="account" value="{{.Who.UPN}}">
<button name="consent" value="accept">Accept</button> <button name="consent" value="cancel">Cancel</button></form></body></html>`))

	postPage = template.Must(template.New("post").Parse(pageHead + `<form id="post" method="post" action="{{.To}}">
{{range $name, $values := .Values}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}<button>Continue</button></form><script>document.forms[0].submit()</script></body></html>`))

	failurePage = template.Must(template.New("failure").Parse(pageHead + `<h1>Sorry, but we’re having trouble signing you in.</h1>
<p role="alert">{{.}}</p></body></html>`))
)
