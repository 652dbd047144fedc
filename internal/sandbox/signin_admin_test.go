package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func TestAnAdministratorConsentsForAnApplication(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	app := sandbox.Apps(sandbox.App{ClientID: daemonApp, Secret: "s3cret", Roles: []string{"Mail.Send"}, Scopes: []string{"Contacts.Read"}, ConsentRequired: true})
	w := start(t, app, sandbox.StoreDir(dir))
	p := newProduct(w, nil)
	roles := func() string {
		f := daemonForm()
		f.Set("client_secret", "s3cret")
		return fmt.Sprint(payload(t, w.post(w.TokenURL(), f).is(http.StatusOK).str("access_token"))["roles"])
	}
	ask := url.Values{"client_id": {daemonApp}, "redirect_uri": {p.redirect()}, "state": {"12345"}}
	page := w.URL() + "/" + w.TenantID() + "/adminconsent?"
	if r := w.get(page + ask.Encode() + "&account=" + ann).is(http.StatusOK); !strings.Contains(string(r.raw), "your organization") || !strings.Contains(string(r.raw), "Mail.Send") {
		t.Errorf("consent page: %s", r.raw)
	}
	w.get(page + ask.Encode() + "&account=" + ann + "&consent=cancel")
	if back := <-p.callback; back.Get("error") != "permission_denied" || back.Get("state") != "12345" || back.Get("admin_consent") != "" {
		t.Errorf("cancel came back as %v", back)
	}
	if got := roles(); got != "<nil>" {
		t.Errorf("roles before consent: %s", got)
	}
	if _, err := sandbox.SignIn(t.Context(), w.client, page+ask.Encode(), ann); err != nil {
		t.Fatal(err)
	}
	back := <-p.callback
	if back.Get("admin_consent") != "True" || back.Get("tenant") != w.TenantID() || back.Get("state") != "12345" || back.Get("error") != "" {
		t.Errorf("came back as %v", back)
	}
	if got := roles(); got != "[Mail.Send]" {
		t.Errorf("roles after consent: %s", got)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start reads what the first one compacted
		w = start(t, app, sandbox.StoreDir(dir))
		if got := roles(); got != "[Mail.Send]" {
			t.Errorf("roles after a restart: %s", got)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	w = start(t, app, sandbox.StoreDir(dir))
	// What the administrator allowed for everybody, nobody is asked for.
	other := newProduct(w, url.Values{"client_id": {daemonApp}, "scope": {"https://graph.microsoft.com/.default"}})
	if r := w.get(other.authorizeURL() + "&login_hint=" + ben); strings.Contains(string(r.raw), "Accept") {
		t.Fatalf("asked: %s", r.raw)
	}
	f := other.codeForm((<-other.callback).Get("code"))
	f.Set("client_id", daemonApp)
	f.Set("client_secret", "s3cret")
	if r := w.post(w.TokenURL(), f).is(http.StatusOK); r.str("scope") != "Contacts.Read" {
		t.Errorf("scope %q", r.str("scope"))
	}
}

func TestTheSecondAdminConsentPageAsksForTheScopesOfTheRequest(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: daemonApp, Secret: "s", Roles: []string{"Mail.Send"}, ConsentRequired: true}))
	p := newProduct(w, nil)
	ask := url.Values{"client_id": {daemonApp}, "redirect_uri": {p.redirect()}, "scope": {"https://graph.microsoft.com/Mail.Read User.Read"}}
	page := w.URL() + "/organizations/v2.0/adminconsent?"
	w.get(page + ask.Encode() + "&account=" + ann + "&consent=cancel")
	if back := <-p.callback; back.Get("error") != "consent_required" || back.Get("admin_consent") != "True" {
		t.Errorf("cancel came back as %v", back)
	}
	if _, err := sandbox.SignIn(t.Context(), w.client, page+ask.Encode(), ann); err != nil {
		t.Fatal(err)
	}
	if back := <-p.callback; back.Get("admin_consent") != "True" || back.Get("scope") != "Mail.Read User.Read" {
		t.Errorf("came back as %v", back)
	}
	if token, err := w.AppToken(daemonApp, ""); err != nil || payload(t, token)["roles"] != nil {
		t.Errorf("delegated scopes gave roles: %v", err)
	}
	for want, bad := range map[string]url.Values{
		"AADSTS900144": {"client_id": {daemonApp}},
		"AADSTS700016": {"client_id": {"who"}},
		"AADSTS50011":  {"client_id": {daemonApp}, "redirect_uri": {"https://evil.example/"}},
		"AADSTS70011":  {"client_id": {daemonApp}, "scope": {"Mail.Everything"}},
	} {
		if r := w.get(page + bad.Encode()).is(http.StatusBadRequest); !strings.Contains(string(r.raw), want) {
			t.Errorf("want %s: %s", want, r.raw)
		}
	}
}

func TestADefaultScopeStandsForTheRegistration(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(
		sandbox.App{ClientID: "app-3", Scopes: []string{"Mail.Read", "Calendars.Read"}},
		sandbox.App{ClientID: "app-4"},
	))
	p := newProduct(w, url.Values{"client_id": {"app-3"}, "scope": {"offline_access https://graph.microsoft.com/.default"}})
	f := p.codeForm(p.code(ann).Get("code"))
	f.Set("client_id", "app-3")
	f.Set("scope", "https://graph.microsoft.com/.default")
	if r := w.post(w.TokenURL(), f).is(http.StatusOK); r.str("scope") != "Mail.Read Calendars.Read" {
		t.Errorf("scope %q", r.str("scope"))
	}
	for want, extra := range map[string]url.Values{
		"AADSTS650056": {"client_id": {"app-4"}, "scope": {"https://graph.microsoft.com/.default"}},
		"AADSTS70011":  {"scope": {"https://graph.microsoft.com/.default Mail.Read"}},
		"AADSTS500011": {"scope": {"https://outlook.example/Mail.Read"}},
	} {
		p := newProduct(w, extra)
		w.get(p.authorizeURL() + "&login_hint=" + ann)
		if back := <-p.callback; !strings.HasPrefix(back.Get("error_description"), want) {
			t.Errorf("want %s: %v", want, back)
		}
	}
	if _, err := w.Token(ann, ".default"); err == nil {
		t.Error("a token for .default of nothing")
	}
}

func TestARefreshMayAskForWhatWasConsentedToMeanwhile(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, url.Values{"scope": {"offline_access Mail.Read"}})
	first := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK).str("refresh_token")
	more := refreshForm(first)
	more.Set("scope", "Contacts.Read Mail.Read")
	r := w.post(w.TokenURL(), more).is(http.StatusBadRequest, "invalid_grant")
	if w.number(r, "65001"); r.str("suberror") != "consent_required" {
		t.Errorf("suberror: %s", r.raw)
	}
	newProduct(w, url.Values{"scope": {"Contacts.Read"}}).code(ann)
	if r := w.post(w.TokenURL(), more).is(http.StatusOK); r.str("scope") != "Contacts.Read Mail.Read" || r.str("refresh_token") == "" {
		t.Errorf("answer %s", r.raw)
	}
}

// The sandbox has its own copy of the facts, so another copy may check it.
func TestEveryPermissionOfAnOutlookOperationCanBeAskedFor(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../catalog/operations.json")
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	w := start(t)
	var names []string
	var walk func(v any, delegated bool)
	walk = func(v any, delegated bool) {
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				walk(inner, strings.HasPrefix(key, "delegated_"))
			}
		case []any:
			for _, inner := range v {
				if name, ok := inner.(string); ok && delegated && !slices.Contains(names, name) {
					names = append(names, name)
				} else {
					walk(inner, false)
				}
			}
		}
	}
	walk(doc, false)
	if len(names) < 30 {
		t.Fatalf("only %d names: %v", len(names), names)
	}
	for _, name := range append(names, "Mail.Send.Shared", "https://graph.microsoft.com/Tasks.Read.Shared", "00000003-0000-0000-c000-000000000000/user.read") {
		if _, err := w.Token(ann, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDiscoveryNamesTheEndpoints(t *testing.T) {
	t.Parallel()
	w := start(t)
	for tenant, want := range map[string]struct{ issuer, at string }{
		sandbox.DefaultDomain: {w.TenantID(), w.TenantID()},
		w.TenantID():          {w.TenantID(), w.TenantID()},
		"common":              {"{tenantid}", "common"},
		"consumers":           {"9188040d-6c67-4c5b-b112-36a304b66dad", "consumers"},
	} {
		r := w.get(w.URL() + "/" + tenant + "/v2.0/.well-known/openid-configuration").is(http.StatusOK)
		root := w.URL() + "/" + want.at
		for name, value := range map[string]string{
			"issuer":                        w.URL() + "/" + want.issuer + "/v2.0",
			"token_endpoint":                root + "/oauth2/v2.0/token",
			"device_authorization_endpoint": root + "/oauth2/v2.0/devicecode",
			"end_session_endpoint":          root + "/oauth2/v2.0/logout",
		} {
			if r.str(name) != value {
				t.Errorf("%s: %s is %q, want %q", tenant, name, r.str(name), value)
			}
		}
		if methods := fmt.Sprint(r.json["token_endpoint_auth_methods_supported"]); !strings.Contains(methods, "private_key_jwt") {
			t.Errorf("methods %s", methods)
		}
	}
	w.number(w.get(w.URL()+"/nowhere.example/v2.0/.well-known/openid-configuration").is(http.StatusBadRequest), "90002")
	r := w.get(strings.Replace(newProduct(w, nil).authorizeURL(), "/"+sandbox.DefaultDomain+"/", "/consumers/", 1)).is(http.StatusBadRequest)
	if !strings.Contains(string(r.raw), "AADSTS9002332") {
		t.Errorf("consumers: %s", r.raw)
	}
}

func TestSignOutSendsTheBrowserOnlyToAnAddressOfAnApplication(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, nil)
	out := w.URL() + "/common/oauth2/v2.0/logout"
	for _, bad := range []string{"", "?post_logout_redirect_uri=https://evil.example/"} {
		if r := w.get(out + bad).is(http.StatusOK); !strings.Contains(string(r.raw), "You signed out") {
			t.Errorf("%s: %s", bad, r.raw)
		}
	}
	w.get(out + "?state=s1&post_logout_redirect_uri=" + url.QueryEscape(p.redirect()))
	if back := <-p.callback; back.Get("state") != "s1" {
		t.Errorf("came back as %v", back)
	}
}
