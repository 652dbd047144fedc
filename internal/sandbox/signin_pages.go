package sandbox

// The pages of the sign-in: plain forms that work without a script. Their ids
// and the names of their fields are what SignIn and SignInDevice look for, and
// what a scripted browser may rely on.

import (
	"html/template"
	"net/http"
	"strings"
)

// signinPage is what the pages show.
type signinPage struct {
	Action  string            // where the form goes
	Fields  map[string]string // travel along, hidden
	App     string
	People  []Person
	Unknown string // an account that was typed and is not there
	Who     Person
	Scopes  []string
	Roles   []string
	// Device: the person is at another machine than the application.
	Device bool
	// Admin: the consent is for everybody in the tenant.
	Admin bool
	Code  string // of a device, as it was typed
	Wrong bool   // the code is not good
}

// accountsShown is how many accounts have a button; the others can be typed.
const accountsShown = 50

func (s *Sandbox) pickAccount(data signinPage) *Answer {
	people := s.People()
	data.People = people[:min(accountsShown, len(people))]
	return page(http.StatusOK, accountPage, data)
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

// failure is a page that says why the sign-in ends here.
func failure(e *signinError) *Answer { return page(http.StatusBadRequest, failurePage, e.describe()) }

const pageHead = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Sign in (sandbox)</title><style>
body{font:16px system-ui,sans-serif;max-width:28rem;margin:3rem auto;padding:0 1rem;color:#222}
button{font:inherit;padding:.5rem 1rem;margin:.2rem 0;cursor:pointer}form.pick button{width:100%;text-align:left}
input{font:inherit;padding:.4rem}small{color:#555}</style></head><body><p><small>Sandbox, not Microsoft: no password is asked for.</small></p><main>`

const pageFoot = `</main></body></html>`

const hiddenFields = `{{range $name, $value := .Fields}}<input type="hidden" name="{{$name}}" value="{{$value}}">
{{end}}`

func newPage(name, body string) *template.Template {
	return template.Must(template.New(name).Parse(pageHead + body + pageFoot))
}

var (
	accountPage = newPage("account", `<h1>Pick an account</h1>
{{if .Unknown}}<p role="alert">There is no account {{.Unknown}} here.</p>{{end}}
<form id="account" class="pick" method="post" action="{{.Action}}">
`+hiddenFields+`{{range .People}}<button name="account" value="{{.UPN}}">{{.Name}}<br><small>{{.UPN}}</small></button>
{{end}}</form>
<form id="other" method="post" action="{{.Action}}">
`+hiddenFields+`<label>Another: <input name="account" type="email" autocomplete="username"></label> <button>Next</button></form>`)

	consentPage = newPage("consent", `<h1>{{if .Admin}}Permissions requested for your organization{{else}}Permissions requested{{end}}</h1>
<p>{{.Who.Name}} &lt;{{.Who.UPN}}&gt;</p>
{{if .Device}}<p>You are signing in to <code>{{.App}}</code> on another device. Accept only if it is you who asked there for the code you typed.</p>{{end}}
<p>The application <code>{{.App}}</code> would like to:</p>
<ul>{{range .Scopes}}<li>{{.}}</li>{{end}}{{range .Roles}}<li>{{.}} <small>(in all mailboxes, with nobody signed in)</small></li>{{end}}</ul>
<form id="consent" method="post" action="{{.Action}}">
`+hiddenFields+`<input type="hidden" name="account" value="{{.Who.UPN}}">
<button name="consent" value="accept">Accept</button> <button name="consent" value="cancel">Cancel</button></form>`)

	devicePage = newPage("device", `<h1>Enter code</h1>
<p>Enter the code displayed on your app or device.</p>
{{if .Wrong}}<p role="alert" id="wrong-code">That code didn’t work. Check the code and try again.</p>{{end}}
<form id="device" method="post" action="{{.Action}}">
<label>Code: <input name="otc" value="{{.Code}}" autocomplete="off" autocapitalize="characters" required></label> <button>Next</button></form>`)

	devicePermitted = newPage("device done", `<h1>You have signed in to {{.App}} on your device</h1>
<p role="status">You may now close this window.</p>`)

	deviceRefused = newPage("device refused", `<h1>You declined</h1>
<p role="status">The application {{.App}} was not signed in. You may now close this window.</p>`)

	adminDone = newPage("admin done", `<h1>Consent is given</h1>
<p role="status">The application {{.App}} has its permissions. You may now close this window.</p>`)

	signedOut = newPage("signed out", `<h1>You signed out of your account</h1>
<p role="status">It’s a good idea to close all browser windows.</p>`)

	postPage = newPage("post", `<form id="post" method="post" action="{{.To}}">
{{range $name, $values := .Values}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}<button>Continue</button></form><script>document.forms[0].submit()</script>`)

	failurePage = newPage("failure", `<h1>Sorry, but we’re having trouble signing you in.</h1>
<p role="alert">{{.}}</p>`)
)
