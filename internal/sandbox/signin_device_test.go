package sandbox_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"outlook-connector/internal/sandbox"
)

func (w *world) deviceURL() string {
	return w.URL() + "/" + sandbox.DefaultDomain + "/oauth2/v2.0/devicecode"
}

// device asks for a code as a device does.
func (w *world) device(scope string) *reply {
	w.t.Helper()
	return w.post(w.deviceURL(), url.Values{"client_id": {sandbox.DefaultClientID}, "scope": {scope}}).is(http.StatusOK)
}

func pollForm(code string) url.Values {
	return url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {sandbox.DefaultClientID}, "device_code": {code}}
}

func (w *world) number(r *reply, want string) {
	w.t.Helper()
	if !strings.HasPrefix(r.str("error_description"), "AADSTS"+want+":") {
		w.t.Errorf("want AADSTS%s: %s", want, r.raw)
	}
}

func TestAForeignClientSignsInOnAnotherDevice(t *testing.T) {
	t.Parallel()
	w := start(t)
	ctx := context.WithValue(t.Context(), oauth2.HTTPClient, w.client)
	foreign := &oauth2.Config{
		ClientID: sandbox.DefaultClientID, Scopes: []string{"openid", "offline_access", "Mail.Read"},
		Endpoint: oauth2.Endpoint{DeviceAuthURL: w.deviceURL(), TokenURL: w.TokenURL()},
	}
	da, err := foreign.DeviceAuth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if left := time.Until(da.Expiry); da.Interval != 5 || left < 890*time.Second || left > 901*time.Second || da.VerificationURIComplete != "" {
		t.Errorf("device answer %+v", da)
	}
	w.number(w.post(w.TokenURL(), pollForm(da.DeviceCode)).is(http.StatusBadRequest, "authorization_pending"), "70016")
	at, err := sandbox.SignInDevice(ctx, w.client, da.VerificationURI, " "+strings.ToLower(da.UserCode[:4])+"-"+da.UserCode[4:], ben)
	if err != nil || !strings.Contains(at.Body, "You have signed in") {
		t.Fatalf("%v %+v", err, at)
	}
	da.Interval = 1 // it only makes the test shorter
	token, err := foreign.DeviceAccessToken(ctx, da)
	if err != nil {
		t.Fatal(err)
	}
	if token.RefreshToken == "" || token.Extra("id_token") == nil || token.Extra("scope") != "openid Mail.Read" {
		t.Errorf("token %+v", token)
	}
	w.deliver(ben, "for ben")
	w.token = token.AccessToken
	if got := w.in("inbox"); len(got) != 1 || got[0] != "for ben" {
		t.Errorf("inbox %v", got)
	}
	w.number(w.post(w.TokenURL(), pollForm(da.DeviceCode)).is(http.StatusBadRequest, "invalid_grant"), "54005")
	w.post(w.TokenURL(), refreshForm(token.RefreshToken)).is(http.StatusOK)
}

func TestADeviceIsToldThatThePersonDeclined(t *testing.T) {
	t.Parallel()
	w := start(t)
	d := w.device("Mail.Read")
	page := d.str("verification_uri")
	if !strings.Contains(d.str("message"), page) || !strings.Contains(d.str("message"), d.str("user_code")) {
		t.Errorf("message %q", d.str("message"))
	}
	if r := w.get(page).is(http.StatusOK); !strings.Contains(string(r.raw), `name="otc"`) {
		t.Errorf("device page: %s", r.raw)
	}
	action := w.URL() + "/common/oauth2/deviceauth"
	form := url.Values{"otc": {d.str("user_code")}, "account": {ann}}
	if r := w.post(action, form).is(http.StatusOK); !strings.Contains(string(r.raw), "Mail.Read") || !strings.Contains(string(r.raw), "another device") {
		t.Errorf("consent page: %s", r.raw)
	}
	w.post(w.TokenURL(), pollForm(d.str("device_code"))).is(http.StatusBadRequest, "authorization_pending")
	form.Set("consent", "cancel")
	if r := w.post(action, form).is(http.StatusOK); !strings.Contains(string(r.raw), "declined") {
		t.Errorf("last page: %s", r.raw)
	}
	w.post(w.TokenURL(), pollForm(d.str("device_code"))).is(http.StatusBadRequest, "authorization_declined")
	form.Set("consent", "accept")
	if r := w.post(action, form).is(http.StatusOK); !strings.Contains(string(r.raw), "didn’t work") {
		t.Errorf("a second decision: %s", r.raw)
	}
}

func TestTheDevicePageDoesNotTakeAWrongCode(t *testing.T) {
	t.Parallel()
	w := start(t)
	d := w.device("Mail.Read")
	if at, err := sandbox.SignInDevice(t.Context(), w.client, d.str("verification_uri"), "WRONG1234", ann); err == nil || !strings.Contains(at.Body, "didn’t work") {
		t.Errorf("%v %+v", err, at)
	}
	w.post(w.TokenURL(), pollForm(d.str("device_code"))).is(http.StatusBadRequest, "authorization_pending")
	w.number(w.post(w.TokenURL(), pollForm("other")).is(http.StatusBadRequest, "bad_verification_code"), "70018")
	w.post(w.TokenURL(), pollForm("")).is(http.StatusBadRequest, "invalid_request")
	w.post(w.deviceURL(), url.Values{"scope": {"Mail.Read"}}).is(http.StatusBadRequest, "invalid_request")
	w.post(w.deviceURL(), url.Values{"client_id": {"who"}, "scope": {"Mail.Read"}}).is(http.StatusBadRequest, "unauthorized_client")
	w.post(w.deviceURL(), url.Values{"client_id": {sandbox.DefaultClientID}}).is(http.StatusBadRequest, "invalid_request")
	w.get(w.deviceURL()).is(http.StatusMethodNotAllowed, "invalid_request")
}

func TestTheDevicePageAsksEvenWhoHasConsentedBefore(t *testing.T) {
	t.Parallel()
	w := start(t)
	for range 2 {
		d := w.device("Mail.Read")
		r := w.post(w.URL()+"/devicelogin", url.Values{"otc": {d.str("user_code")}, "account": {ann}}).is(http.StatusOK)
		if !strings.Contains(string(r.raw), `value="accept"`) {
			t.Errorf("not asked: %s", r.raw)
		}
		if _, err := sandbox.SignInDevice(t.Context(), w.client, d.str("verification_uri"), d.str("user_code"), ann); err != nil {
			t.Error(err)
		}
		w.post(w.TokenURL(), pollForm(d.str("device_code"))).is(http.StatusOK)
	}
}

func TestADeviceCodeExpiresAfterAQuarterOfAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := sandbox.New()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		post := func(target string, form url.Values) (map[string]any, string) {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, req)
			var doc map[string]any
			_ = json.Unmarshal(rec.Body.Bytes(), &doc) // a page is no JSON
			return doc, rec.Body.String()
		}
		ask := func() (code, user string) {
			d, _ := post("/common/oauth2/v2.0/devicecode", url.Values{"client_id": {sandbox.DefaultClientID}, "scope": {"Mail.Read"}})
			return d["device_code"].(string), d["user_code"].(string)
		}
		poll := func(code string) any {
			r, _ := post("/common/oauth2/v2.0/token", pollForm(code))
			return r["error"]
		}
		code, user := ask()
		<-time.After(899 * time.Second)
		if got := poll(code); got != "authorization_pending" {
			t.Errorf("a second before its end: %v", got)
		}
		<-time.After(2 * time.Second)
		ask() // another device does not make this one forgotten
		if got := poll(code); got != "expired_token" {
			t.Errorf("after its end: %v", got)
		}
		if _, text := post("/devicelogin", url.Values{"otc": {user}, "account": {ann}, "consent": {"accept"}}); !strings.Contains(text, "didn’t work") {
			t.Errorf("the page takes it: %s", text)
		}
		// Accepted in time, fetched too late.
		code, user = ask()
		<-time.After(890 * time.Second)
		post("/devicelogin", url.Values{"otc": {user}, "account": {ann}, "consent": {"accept"}})
		<-time.After(20 * time.Second)
		if got := poll(code); got != "expired_token" {
			t.Errorf("fetched too late: %v", got)
		}
		<-time.After(2 * time.Hour)
		ask()
		if got := poll(code); got != "bad_verification_code" {
			t.Errorf("hours later: %v", got)
		}
	})
}
