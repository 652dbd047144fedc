package sandbox_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// product is the least that a program does to sign in: a start page that sends
// the browser away, and a callback that takes the code.
type product struct {
	w        *world
	server   *httptest.Server
	verifier string
	extra    url.Values
	callback chan url.Values
}

func newProduct(w *world, extra url.Values) *product {
	p := &product{w: w, verifier: strings.Repeat("v", 50), extra: extra, callback: make(chan url.Values, 10)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /oauth/start", func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, p.authorizeURL(), http.StatusFound)
	})
	mux.HandleFunc("/oauth/callback", func(rw http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		p.callback <- r.Form
		rw.Header().Set("Content-Type", "text/html")
		_, _ = rw.Write([]byte("<html><body>signed in, you may close this</body></html>"))
	})
	p.server = httptest.NewServer(mux)
	w.t.Cleanup(p.server.Close)
	return p
}

func (p *product) redirect() string { return p.server.URL + "/oauth/callback" }

func (p *product) authorizeURL() string {
	sum := sha256.Sum256([]byte(p.verifier))
	v := url.Values{
		"client_id": {sandbox.DefaultClientID}, "response_type": {"code"}, "redirect_uri": {p.redirect()},
		"scope": {"openid profile offline_access Mail.ReadWrite Mail.Send"}, "state": {"s&t=1"}, "nonce": {"n1"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for name, value := range p.extra {
		if v[name] = value; value[0] == "" {
			v.Del(name)
		}
	}
	return p.w.AuthorizeURL() + "?" + v.Encode()
}

// code signs in and returns what came to the callback.
func (p *product) code(upn string) url.Values {
	p.w.t.Helper()
	if _, err := sandbox.SignIn(p.w.t.Context(), p.w.client, p.server.URL+"/oauth/start", upn); err != nil {
		p.w.t.Fatal(err)
	}
	return <-p.callback
}

func (p *product) codeForm(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "client_id": {sandbox.DefaultClientID}, "code": {code},
		"redirect_uri": {p.redirect()}, "code_verifier": {p.verifier},
	}
}

func refreshForm(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {sandbox.DefaultClientID}, "refresh_token": {token}}
}

func TestAPersonSignsInAndTheProgramActsInTheirName(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, nil)
	at, err := sandbox.SignIn(t.Context(), w.client, p.server.URL+"/oauth/start", "Ben@Contoso.example")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(at.Body, "signed in") || at.URL.Path != "/oauth/callback" {
		t.Errorf("ended at %s: %s", at.URL, at.Body)
	}
	back := <-p.callback
	if back.Get("state") != "s&t=1" {
		t.Errorf("state came back as %q", back.Get("state"))
	}
	r := w.post(w.TokenURL(), p.codeForm(back.Get("code"))).is(http.StatusOK)
	if got := r.str("scope"); got != "openid profile Mail.ReadWrite Mail.Send" {
		t.Errorf("scope %q", got)
	}
	if r.json["expires_in"] != 3599.0 || r.str("token_type") != "Bearer" || r.str("refresh_token") == "" {
		t.Errorf("answer %s", r.raw)
	}
	w.token = r.str("access_token")
	w.do(http.MethodPost, "/me/sendMail", sendMail("from ben", ann)).is(http.StatusAccepted)
	if e := w.Effects(); len(e) != 1 || e[0].Mailbox != ben || e[0].App != sandbox.DefaultClientID {
		t.Errorf("effects %+v", e)
	}
	w.get("/me").is(http.StatusForbidden, "Authorization_RequestDenied")
}

func TestTheIDTokenNamesThePersonAndVerifiesWithThePublishedKey(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, nil)
	token := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK).str("id_token")
	parts := strings.Split(token, ".")
	doc := w.get(w.URL() + "/" + sandbox.DefaultDomain + "/v2.0/.well-known/openid-configuration").is(http.StatusOK)
	var keys struct {
		Keys []struct{ N, E string }
	}
	if err := json.Unmarshal(w.get(doc.str("jwks_uri")).is(http.StatusOK).raw, &keys); err != nil {
		t.Fatal(err)
	}
	part := func(s string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(part(keys.Keys[0].N)), E: int(new(big.Int).SetBytes(part(keys.Keys[0].E)).Int64())}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], part(parts[2])); err != nil {
		t.Error(err)
	}
	var c map[string]any
	if err := json.Unmarshal(part(parts[1]), &c); err != nil {
		t.Fatal(err)
	}
	me := w.People()[0]
	want := map[string]any{"oid": me.ID, "tid": w.TenantID(), "preferred_username": ann, "nonce": "n1", "aud": sandbox.DefaultClientID, "iss": doc.str("issuer"), "name": me.Name()}
	for name, value := range want {
		if c[name] != value {
			t.Errorf("claim %s is %v, want %v", name, c[name], value)
		}
	}
	if exp, _ := c["exp"].(float64); int64(exp) <= time.Now().Unix() {
		t.Errorf("exp %v is over", c["exp"])
	}
}

func TestARefreshGivesANewTokenAndTheOldOneStaysGood(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, nil)
	first := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK).str("refresh_token")
	second := w.post(w.TokenURL(), refreshForm(first)).is(http.StatusOK).str("refresh_token")
	if first == second {
		t.Error("the refresh token was not rotated")
	}
	w.post(w.TokenURL(), refreshForm(first)).is(http.StatusOK)
	r := w.post(w.TokenURL(), refreshForm(second)).is(http.StatusOK)
	w.token = r.str("access_token")
	w.get("/me/messages").is(http.StatusOK)

	w.RevokeSessions(ann)
	r = w.post(w.TokenURL(), refreshForm(second)).is(http.StatusBadRequest, "invalid_grant")
	if !strings.HasPrefix(r.str("error_description"), "AADSTS50173:") {
		t.Errorf("after revocation: %s", r.raw)
	}
}

func TestStrictRotationTakesTheFamilyAwayWhenAnOldTokenIsUsed(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.StrictRotation())
	p := newProduct(w, nil)
	first := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK).str("refresh_token")
	second := w.post(w.TokenURL(), refreshForm(first)).is(http.StatusOK).str("refresh_token")
	w.post(w.TokenURL(), refreshForm(first)).is(http.StatusBadRequest, "invalid_grant")
	w.post(w.TokenURL(), refreshForm(second)).is(http.StatusBadRequest, "invalid_grant")
}

func TestWithoutOfflineAccessThereIsNoRefreshTokenAndWithoutOpenIDNoIDToken(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, url.Values{"scope": {"https://graph.microsoft.com/mail.read"}})
	r := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK)
	if r.str("refresh_token") != "" || r.str("id_token") != "" || r.str("scope") != "Mail.Read" {
		t.Errorf("answer %s", r.raw)
	}
}

func TestConsentIsAskedForOnceAndCanBeRefused(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, nil)
	p.code(ann)
	again := w.get(p.authorizeURL() + "&login_hint=" + ann)
	if back := <-p.callback; back.Get("code") == "" {
		t.Errorf("a second visit asked again: %s", again.raw)
	}
	r := w.get(p.authorizeURL() + "&login_hint=" + ben)
	if !strings.Contains(string(r.raw), "Accept") {
		t.Errorf("another person is not asked: %s", r.raw)
	}
	w.get(p.authorizeURL() + "&login_hint=" + ben + "&account=" + ben + "&consent=cancel")
	back := <-p.callback
	if back.Get("error") != "access_denied" || back.Get("state") != "s&t=1" || !strings.HasPrefix(back.Get("error_description"), "AADSTS65004") {
		t.Errorf("cancel came back as %v", back)
	}
	w.get(p.authorizeURL() + "&prompt=none")
	if back := <-p.callback; back.Get("error") != "login_required" {
		t.Errorf("prompt=none came back as %v", back)
	}
}

func TestTheAccountPageTakesATypedAccountAndNamesAnUnknownOne(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Mailboxes(60))
	p := newProduct(w, url.Values{"response_mode": {"form_post"}})
	last := w.People()[59].UPN
	if back := p.code(last); back.Get("code") == "" {
		t.Errorf("form_post came back as %v", back)
	}
	at, err := sandbox.SignIn(t.Context(), w.client, p.server.URL+"/oauth/start", noPerson)
	if err != nil || !strings.Contains(at.Body, "There is no account "+noPerson) {
		t.Errorf("%v %v", at, err)
	}
}

func TestAuthorizeRefusesOnAPageWhatItMayNotAnswerTo(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: "app-2", Secret: "s3cret", RedirectURIs: []string{"https://ok.example/cb"}}))
	for name, row := range map[string]struct {
		extra url.Values
		want  string
	}{
		"no client":         {url.Values{"client_id": {""}}, "AADSTS900144"},
		"unknown client":    {url.Values{"client_id": {"who"}}, "AADSTS700016"},
		"no address":        {url.Values{"redirect_uri": {""}}, "AADSTS900144"},
		"foreign address":   {url.Values{"redirect_uri": {"https://evil.example/cb"}}, "AADSTS50011"},
		"look-alike":        {url.Values{"redirect_uri": {"http://localhost.evil.example/cb"}}, "AADSTS50011"},
		"user information":  {url.Values{"redirect_uri": {"http://localhost@evil.example/cb"}}, "AADSTS50011"},
		"longer registered": {url.Values{"client_id": {"app-2"}, "redirect_uri": {"https://ok.example/cb/x"}}, "AADSTS50011"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := *w
			w.t = t
			r := w.get(newProduct(&w, row.extra).authorizeURL()).is(http.StatusBadRequest)
			if !strings.Contains(string(r.raw), row.want) {
				t.Errorf("want %s: %s", row.want, r.raw)
			}
		})
	}
	r := w.get(strings.Replace(newProduct(w, nil).authorizeURL(), "/"+sandbox.DefaultDomain+"/", "/nowhere.example/", 1)).is(http.StatusBadRequest)
	if !strings.Contains(string(r.raw), "AADSTS90002") {
		t.Errorf("unknown tenant: %s", r.raw)
	}
}

func TestAuthorizeSendsOtherMistakesBack(t *testing.T) {
	t.Parallel()
	w := start(t)
	for name, row := range map[string]struct {
		extra url.Values
		want  string
	}{
		"implicit":        {url.Values{"response_type": {"token"}}, "unsupported_response_type"},
		"no type":         {url.Values{"response_type": {""}}, "invalid_request"},
		"fragment":        {url.Values{"response_mode": {"fragment"}}, "invalid_request"},
		"unknown scope":   {url.Values{"scope": {"Mail.Everything"}}, "invalid_scope"},
		"no scope":        {url.Values{"scope": {""}}, "invalid_request"},
		"plain":           {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"no method":       {url.Values{"code_challenge_method": {""}}, "invalid_request"},
		"short challenge": {url.Values{"code_challenge": {"abc"}}, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := *w
			w.t = t
			p := newProduct(&w, row.extra)
			w.get(p.authorizeURL()).is(http.StatusOK)
			if back := <-p.callback; back.Get("error") != row.want || back.Get("state") != "s&t=1" {
				t.Errorf("came back as %v, want %s", back, row.want)
			}
		})
	}
}

func TestTheTokenEndpointRefusesAsEntraDoes(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: "app-2", Secret: "s3cret"}))
	p := newProduct(w, nil)
	for name, row := range map[string]struct {
		change func(f url.Values)
		status int
		err    string
		number float64
	}{
		"no grant type":      {func(f url.Values) { f.Del("grant_type") }, 400, "invalid_request", 900144},
		"other grant type":   {func(f url.Values) { f.Set("grant_type", "password") }, 400, "unsupported_grant_type", 70003},
		"no client":          {func(f url.Values) { f.Del("client_id") }, 400, "invalid_request", 900144},
		"unknown client":     {func(f url.Values) { f.Set("client_id", "who") }, 400, "unauthorized_client", 700016},
		"public with secret": {func(f url.Values) { f.Set("client_secret", "x") }, 401, "invalid_client", 700025},
		"no secret":          {func(f url.Values) { f.Set("client_id", "app-2") }, 401, "invalid_client", 7000218},
		"wrong secret":       {func(f url.Values) { f.Set("client_id", "app-2"); f.Set("client_secret", "x") }, 401, "invalid_client", 7000215},
		"other app":          {func(f url.Values) { f.Set("client_id", "app-2"); f.Set("client_secret", "s3cret") }, 400, "invalid_grant", 700005},
		"unknown code":       {func(f url.Values) { f.Set("code", "0.x") }, 400, "invalid_grant", 9002313},
		"no code":            {func(f url.Values) { f.Del("code") }, 400, "invalid_request", 900144},
		"other address":      {func(f url.Values) { f.Set("redirect_uri", "http://localhost/other") }, 400, "invalid_grant", 500112},
		"wrong verifier":     {func(f url.Values) { f.Set("code_verifier", strings.Repeat("w", 50)) }, 400, "invalid_grant", 501481},
		"no verifier":        {func(f url.Values) { f.Del("code_verifier") }, 400, "invalid_grant", 501481},
		"unknown refresh":    {func(f url.Values) { f.Set("grant_type", "refresh_token"); f.Set("refresh_token", "x") }, 400, "invalid_grant", 9002313},
		"more scopes":        {func(f url.Values) { f.Set("scope", "Contacts.Read") }, 400, "invalid_grant", 65001},
	} {
		f := p.codeForm(p.code(ann).Get("code"))
		row.change(f)
		r := w.post(w.TokenURL(), f)
		codes, _ := r.json["error_codes"].([]any)
		if r.status != row.status || r.str("error") != row.err || !slices.Contains(codes, any(row.number)) {
			t.Errorf("%s: %d %s", name, r.status, indent(r.raw))
		}
		for _, member := range []string{"error_description", "timestamp", "trace_id", "correlation_id"} {
			if r.str(member) == "" {
				t.Errorf("%s: no %s", name, member)
			}
		}
	}
	w.get(w.TokenURL()).is(http.StatusMethodNotAllowed, "invalid_request")

	code := p.code(ann).Get("code")
	w.post(w.TokenURL(), p.codeForm(code)).is(http.StatusOK)
	r := w.post(w.TokenURL(), p.codeForm(code)).is(http.StatusBadRequest, "invalid_grant")
	if !strings.HasPrefix(r.str("error_description"), "AADSTS54005:") {
		t.Errorf("second use: %s", r.raw)
	}
}

func TestAConfidentialClientMaySendItsSecretByBasic(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: "app-2", Secret: "s3 cret&"}))
	p := newProduct(w, url.Values{"client_id": {"app-2"}})
	f := p.codeForm(p.code(ann).Get("code"))
	f.Del("client_id")
	basic := base64.StdEncoding.EncodeToString([]byte("app-2:" + url.QueryEscape("s3 cret&")))
	w.token = ""
	w.with("Authorization", "Basic "+basic).post(w.TokenURL(), f).is(http.StatusOK)
}

func TestAnAccessTokenExpires(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.get("/me/messages").is(http.StatusOK)
	w.ExpireAccessTokens()
	r := w.get("/me/messages").is(http.StatusUnauthorized, "InvalidAuthenticationToken")
	if !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer ") {
		t.Errorf("WWW-Authenticate %q", r.header.Get("WWW-Authenticate"))
	}
	w.as(ann, allMail).get("/me/messages").is(http.StatusOK)

	short := start(t, sandbox.TokenLife(0))
	short.get("/me/messages").is(http.StatusUnauthorized, "InvalidAuthenticationToken")
}
