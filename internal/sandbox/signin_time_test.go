package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/sandbox"
)

func TestCodesAndTokensLiveAsLongAsEntraSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, err := sandbox.New()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		serve := func(method, target, token string, form url.Values) *httptest.ResponseRecorder {
			req := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(form.Encode()))
			if form != nil {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, req)
			return rec
		}
		ask := url.Values{
			"client_id": {sandbox.DefaultClientID}, "response_type": {"code"}, "redirect_uri": {"http://localhost/cb"},
			"scope": {"offline_access Mail.Read"}, "account": {ann}, "consent": {"accept"},
		}
		code := func() string {
			u, err := url.Parse(serve(http.MethodGet, "/common/oauth2/v2.0/authorize?"+ask.Encode(), "", nil).Header().Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			return u.Query().Get("code")
		}
		redeem := func(code string) *httptest.ResponseRecorder {
			return serve(http.MethodPost, "/common/oauth2/v2.0/token", "", url.Values{
				"grant_type": {"authorization_code"}, "client_id": {sandbox.DefaultClientID}, "code": {code}, "redirect_uri": {"http://localhost/cb"},
			})
		}
		pass := func(d time.Duration) { <-time.After(d) }

		late := code()
		pass(10*time.Minute + time.Second)
		if r := redeem(late); r.Code != 400 || !strings.Contains(r.Body.String(), "AADSTS70008") {
			t.Errorf("after ten minutes: %d %s", r.Code, r.Body)
		}
		inTime := code()
		pass(9 * time.Minute)
		r := redeem(inTime)
		var tokens struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		if err := json.Unmarshal(r.Body.Bytes(), &tokens); err != nil || tokens.Access == "" {
			t.Fatalf("after nine minutes: %d %s", r.Code, r.Body)
		}
		pass(3598 * time.Second)
		if r := serve(http.MethodGet, "/v1.0/me/messages", tokens.Access, nil); r.Code != 200 {
			t.Errorf("a second before its end: %d %s", r.Code, r.Body)
		}
		pass(2 * time.Second)
		if r := serve(http.MethodGet, "/v1.0/me/messages", tokens.Access, nil); r.Code != 401 || !strings.Contains(r.Body.String(), "Lifetime validation failed") {
			t.Errorf("after its end: %d %s", r.Code, r.Body)
		}
		pass(89 * 24 * time.Hour)
		if r := serve(http.MethodPost, "/common/oauth2/v2.0/token", "", refreshForm(tokens.Refresh)); r.Code != 200 {
			t.Errorf("a refresh after 89 days: %d %s", r.Code, r.Body)
		}
		pass(2 * 24 * time.Hour)
		if r := serve(http.MethodPost, "/common/oauth2/v2.0/token", "", refreshForm(tokens.Refresh)); r.Code != 400 || !strings.Contains(r.Body.String(), "AADSTS700082") {
			t.Errorf("a refresh after 91 days: %d %s", r.Code, r.Body)
		}
	})
}
