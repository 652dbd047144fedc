package sandbox

// Consent: what persons and administrators have allowed, and the page on which
// an administrator allows an application what it is registered for.
// https://learn.microsoft.com/entra/identity-platform/v2-admin-consent
// https://learn.microsoft.com/graph/auth-v2-service
//
// Modelled: both versions of the page, the answer with tenant and
// admin_consent=True, a refusal; application permissions of the registration,
// delegated ones for everybody in the tenant. There are no directory roles here:
// every account is good enough to be the administrator.

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// granted are the application permissions that an application has.
func (st *state) granted(app App) []string {
	var list []string
	if !app.ConsentRequired {
		list = slices.Clone(app.Roles)
	}
	for role := range strings.FieldsSeq(st.consents[notedRoles+" "+app.ClientID]) {
		if !slices.Contains(list, role) {
			list = append(list, role)
		}
	}
	return list
}

// visitor is who uses a page.
type visitor struct {
	Person
	known     bool
	account   account
	consented string // by the person or for everybody, for the application
}

// visitorNamed looks up an account by name or id.
func (s *Sandbox) visitorNamed(app App, name string) visitor {
	var v visitor
	s.read(func(st *state) {
		if b := st.mailboxNamed(name); b != nil {
			v = visitor{Person: b.Person, known: true, account: st.account(b.ID), consented: st.consented(b.ID, app.ClientID)}
		}
	})
	return v
}

func (st *state) consented(person, app string) string {
	return strings.TrimSpace(st.consents[person+" "+app] + " " + st.consents[notedTenant+" "+app])
}

// consent adds permissions to what was consented to before.
func (s *Sandbox) consent(person, app string, names []string) error {
	return s.update(func(t *tx) error {
		all := strings.Fields(t.consents[person+" "+app])
		before := len(all)
		for _, name := range names {
			if !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
		if len(all) > before {
			t.do(record{Consent: &consentRecord{Person: person, App: app, Scopes: strings.Join(all, " ")}})
		}
		return nil
	})
}

func covers(consented string, scopes []string) bool {
	have := strings.Fields(consented)
	return !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(have, s) })
}

// adminconsent is version 1 of the page: it asks for all of the registration.
func (s *Sandbox) adminconsent(c *signinCall) *Answer { return s.adminPage(c, false) }

// adminconsent2 is version 2: it asks for the scopes of the request.
func (s *Sandbox) adminconsent2(c *signinCall) *Answer { return s.adminPage(c, true) }

func (s *Sandbox) adminPage(c *signinCall, scoped bool) *Answer {
	if a := c.pageForm(); a != nil {
		return a
	}
	form := c.Form
	app, ok := s.app(form.Get("client_id"))
	redirect := form.Get("redirect_uri")
	switch {
	case form.Get("client_id") == "":
		return failure(missing("client_id"))
	case !ok:
		return failure(errNoApp(form.Get("client_id")))
	case redirect != "" && !app.allows(redirect):
		return failure(errRedirect(redirect, app))
	}
	scopes, roles := app.Scopes, app.Roles
	answered := graphResource + "/" + defaultScope
	if scoped {
		asked, e := readScopes(form.Get("scope"), c.root)
		if e != nil {
			return failure(e)
		}
		if !slices.Contains(asked, defaultScope) {
			scopes, roles = asked, nil
			answered = strings.Join(asked, " ")
		}
	}
	data := signinPage{
		Action: c.URL.EscapedPath(), Fields: keep(form, "client_id", "redirect_uri", "state", "scope"),
		App: app.ClientID, Admin: true, Scopes: scopes, Roles: roles,
	}
	who := s.visitorNamed(app, form.Get("account"))
	switch {
	case !who.known:
		data.Unknown = form.Get("account")
		return s.pickAccount(data)
	case who.account.Disabled:
		return failure(errDisabled())
	}
	back := &authRequest{redirect: redirect, state: form.Get("state")}
	switch form.Get("consent") {
	case "accept":
		if err := s.consentForTenant(app, scopes, roles); err != nil {
			return page(http.StatusInternalServerError, failurePage, err.Error())
		}
	case "cancel":
		if redirect == "" {
			return failure(newSigninError(0, "permission_denied", 65004, "The admin canceled the request."))
		}
		if scoped {
			return back.answer(url.Values{"error": {"consent_required"}, "admin_consent": {"True"}, "error_description": {
				"AADSTS65004: The resource owner or authorization server denied the request.",
			}})
		}
		return back.answer(url.Values{"error": {"permission_denied"}, "error_description": {"The admin canceled the request"}})
	default:
		data.Who = who.Person
		return page(http.StatusOK, consentPage, data)
	}
	if redirect == "" {
		return page(http.StatusOK, adminDone, data)
	}
	v := url.Values{"tenant": {s.TenantID()}, "admin_consent": {"True"}}
	if scoped {
		v.Set("scope", answered)
	}
	return back.answer(v)
}

func (s *Sandbox) consentForTenant(app App, scopes, roles []string) error {
	if err := s.consent(notedTenant, app.ClientID, scopes); err != nil {
		return err
	}
	return s.consent(notedRoles, app.ClientID, roles)
}
