package tokenstore_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

func (w *world) begin(t *testing.T) tokenstore.Flow {
	t.Helper()
	flow, err := w.logins.Begin(clientName)
	if err != nil {
		t.Fatal(err)
	}
	return flow
}

func TestASignInEndsWithASavedGrant(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t)
	flow := w.begin(t)
	u, err := url.Parse(flow.AuthURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Host != "login.example" || q.Get("redirect_uri") != testClient().RedirectURL || q.Get("client_id") != "app-1" {
		t.Errorf("the sign-in leads to %s", flow.AuthURL)
	}
	if got := q.Get("scope"); got != "offline_access Mail.Read openid profile" {
		t.Errorf("scope = %q", got)
	}
	if len(flow.State.Reveal()) < 43 || q.Get("state") != flow.State.Reveal() {
		t.Errorf("the state has %d characters", len(flow.State.Reveal()))
	}
	if strings.Contains(flow.AuthURL, secretCanary) {
		t.Error("the client secret is in the address")
	}
	grant, err := w.logins.Callback(t.Context(), w.idp.consent(t, flow.AuthURL), flow.State.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	want := tokenstore.Account{Tenant: "tenant-1", ObjectID: "user-1", UPN: "ann@contoso.example", Name: "Ann[31m"}
	if grant.Account != want {
		t.Errorf("account %+v, want %+v (without control characters)", grant.Account, want)
	}
	if stored := w.vault.get(t); stored.Refresh == "" || stored.Refresh != grant.Refresh || !slices.Equal(stored.Scopes, []string{"Mail.Read", "openid"}) {
		t.Errorf("stored scopes %v, refresh token %v", stored.Scopes, stored.Refresh)
	}
	if w.token(t).Access != grant.Access || w.idp.requests() != 1 {
		t.Error("the token of the sign-in is not the one in use")
	}
}

func TestAnAnswerWithoutIDTokenOrScopeIsAGrantToo(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t)
	for name, body := range map[string]string{
		"nothing":      `{"access_token":"x","expires_in":60}`,
		"broken":       `{"access_token":"x","expires_in":60,"id_token":"a.b.c"}`,
		"not a string": `{"access_token":"x","expires_in":60,"id_token":7,"scope":[]}`,
		"two parts":    `{"access_token":"x","expires_in":60,"id_token":"e30.e30"}`,
	} {
		w.idp.breakWith(func(*reply) *reply { return &reply{status: 200, body: body} })
		grant := w.signIn(t)
		if grant.Account != (tokenstore.Account{}) || !slices.Equal(grant.Scopes, testClient().Scopes) {
			t.Errorf("%s: account %+v, scopes %v", name, grant.Account, grant.Scopes)
		}
	}
}

func TestCallbacksThatAreRefusedMakeNoTokenRequest(t *testing.T) {
	t.Parallel()
	good := func(t *testing.T, w *world) (url.Values, string) {
		t.Helper()
		flow := w.begin(t)
		return w.idp.consent(t, flow.AuthURL), flow.State.Reveal()
	}
	for name, c := range map[string]struct {
		code   string
		change func(t *testing.T, w *world, q url.Values, cookie string) (url.Values, string)
	}{
		"no state": {tokenstore.CodeStateMissing, func(_ *testing.T, _ *world, q url.Values, cookie string) (url.Values, string) {
			q.Del("state")
			return q, cookie
		}},
		"an empty query": {tokenstore.CodeStateMissing, func(*testing.T, *world, url.Values, string) (url.Values, string) { return nil, "" }},
		"no cookie": {tokenstore.CodeStateMissing, func(_ *testing.T, _ *world, q url.Values, _ string) (url.Values, string) {
			return q, ""
		}},
		"two states": {tokenstore.CodeStateMissing, func(_ *testing.T, _ *world, q url.Values, cookie string) (url.Values, string) {
			q.Add("state", cookie)
			return q, cookie
		}},
		"an invented state": {tokenstore.CodeStateUnknown, func(_ *testing.T, _ *world, q url.Values, _ string) (url.Values, string) {
			q.Set("state", strings.Repeat("A", 43))
			return q, strings.Repeat("A", 43)
		}},
		"the state of another browser": {tokenstore.CodeStateOther, func(t *testing.T, w *world, q url.Values, _ string) (url.Values, string) {
			t.Helper()
			return q, w.begin(t).State.Reveal()
		}},
		"an expired state": {tokenstore.CodeStateExpired, func(_ *testing.T, _ *world, q url.Values, cookie string) (url.Values, string) {
			after(10*time.Minute + time.Second)
			return q, cookie
		}},
		"no code": {tokenstore.CodeMissing, func(_ *testing.T, _ *world, q url.Values, cookie string) (url.Values, string) {
			q.Del("code")
			return q, cookie
		}},
		"declined": {"access_denied", func(_ *testing.T, _ *world, q url.Values, cookie string) (url.Values, string) {
			q.Set("error", "access_denied")
			q.Set("error_description", "CANARY-description")
			return q, cookie
		}},
		"an error that is no word": {"unreadable_error", func(_ *testing.T, _ *world, q url.Values, cookie string) (url.Values, string) {
			q.Set("error", "<script>CANARY-error")
			return q, cookie
		}},
		"after a restart": {tokenstore.CodeStateUnknown, func(t *testing.T, w *world, q url.Values, cookie string) (url.Values, string) {
			t.Helper()
			w.restart(t)
			return q, cookie
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newEmptyWorld(t)
				query, cookie := good(t, w)
				query, cookie = c.change(t, w, query, cookie)
				_, err := w.logins.Callback(t.Context(), query, cookie)
				failure := wantFault(t, err, fault.Reauth, c.code)
				if w.idp.requests() != 0 {
					t.Error("a token request was made")
				}
				if text := failure.Error() + failure.Hint; strings.Contains(text, "CANARY") || strings.Contains(text, "<") {
					t.Errorf("the error repeats what came in: %s", text)
				}
			})
		})
	}
}

func TestAStateWorksOnce(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t)
	flow := w.begin(t)
	query := w.idp.consent(t, flow.AuthURL)
	if _, err := w.logins.Callback(t.Context(), query, flow.State.Reveal()); err != nil {
		t.Fatal(err)
	}
	_, err := w.logins.Callback(t.Context(), query, flow.State.Reveal())
	wantFault(t, err, fault.Reauth, tokenstore.CodeStateUnknown)
	if w.idp.requests() != 1 {
		t.Errorf("%d token requests, want 1", w.idp.requests())
	}
	// A sign-in that the person declined is over too.
	flow = w.begin(t)
	query = url.Values{"state": {flow.State.Reveal()}, "error": {"access_denied"}}
	if _, err := w.logins.Callback(t.Context(), query, flow.State.Reveal()); err == nil {
		t.Fatal("declined, and signed in")
	}
	_, err = w.logins.Callback(t.Context(), w.idp.consent(t, flow.AuthURL), flow.State.Reveal())
	wantFault(t, err, fault.Reauth, tokenstore.CodeStateUnknown)
}

func TestTwoSignInsAtOnceDoNotMeet(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t)
	one, two := w.begin(t), w.begin(t)
	queryOne, queryTwo := w.idp.consent(t, one.AuthURL), w.idp.consent(t, two.AuthURL)
	// The code of one with the state of the other: PKCE says no.
	mixed := maps.Clone(queryOne)
	mixed["code"] = queryTwo["code"]
	if _, err := w.logins.Callback(t.Context(), mixed, one.State.Reveal()); fault.Of(err).Code != "invalid_grant" {
		t.Errorf("a code of another sign-in: %v", err)
	}
	three := w.begin(t)
	if _, err := w.logins.Callback(t.Context(), w.idp.consent(t, three.AuthURL), three.State.Reveal()); err != nil {
		t.Errorf("an honest sign-in: %v", err)
	}
}

func TestAClosedBrowserDoesNotLoseTheCode(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t)
	flow := w.begin(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.logins.Callback(ctx, w.idp.consent(t, flow.AuthURL), flow.State.Reveal()); err != nil {
		t.Errorf("the sign-in was lost: %v", err)
	}
}

func TestAFailedExchangeSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for code, kind := range map[string]fault.Kind{
		"invalid_grant": fault.Reauth, "invalid_client": fault.Reauth, "temporarily_unavailable": fault.Retry, "consent_required": fault.Reauth,
	} {
		w := newEmptyWorld(t)
		w.idp.refuseWith(400, code)
		flow := w.begin(t)
		_, err := w.logins.Callback(t.Context(), w.idp.consent(t, flow.AuthURL), flow.State.Reveal())
		wantFault(t, err, kind, code)
		if w.idp.requests() != 1 || len(w.vault.grants) != 0 {
			t.Errorf("%s: %d requests, %d grants", code, w.idp.requests(), len(w.vault.grants))
		}
	}
	w := newEmptyWorld(t)
	w.vault.breakWith(errDiskFull)
	flow := w.begin(t)
	if _, err := w.logins.Callback(t.Context(), w.idp.consent(t, flow.AuthURL), flow.State.Reveal()); err == nil {
		t.Error("a grant that was not saved counts as saved")
	}
}

func TestManySignInsThatNobodyEndsAreForgotten(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t)
	first := w.begin(t)
	for range 1000 {
		w.begin(t)
	}
	_, err := w.logins.Callback(t.Context(), w.idp.consent(t, first.AuthURL), first.State.Reveal())
	wantFault(t, err, fault.Reauth, tokenstore.CodeStateUnknown)
	w.signIn(t)
}

func TestClientsThatWouldSendASecretInTheClearAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*tokenstore.Client){
		"http":            func(c *tokenstore.Client) { c.TokenURL = "http://login.example/token" },
		"http authorize":  func(c *tokenstore.Client) { c.AuthorizeURL = "http://login.example/authorize" },
		"user info":       func(c *tokenstore.Client) { c.TokenURL = "https://a:b@login.example/token" },
		"no host":         func(c *tokenstore.Client) { c.TokenURL = "/token" },
		"another scheme":  func(c *tokenstore.Client) { c.TokenURL = "ftp://login.example/token" },
		"looks loopback":  func(c *tokenstore.Client) { c.TokenURL = "http://127.0.0.1.evil.example/token" },
		"no client id":    func(c *tokenstore.Client) { c.ClientID = "" },
		"no name":         func(c *tokenstore.Client) { c.Name = "" },
		"a secret inside": func(c *tokenstore.Client) { c.TokenURL = "https://CANARY secret/%zz" },
	} {
		client := testClient()
		change(&client)
		_, err := tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: []tokenstore.Client{client}})
		if fault.KindOf(err) != fault.Fatal || strings.Contains(fmt.Sprint(err), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, address := range []string{"http://127.0.0.1:1/token", "http://[::1]:1/token", "http://localhost:1/token", "https://login.example/token"} {
		client := testClient()
		client.TokenURL = address
		if _, err := tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: []tokenstore.Client{client}}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if _, err := tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: []tokenstore.Client{testClient(), testClient()}}); err == nil {
		t.Error("two clients of one name are accepted")
	}
}
