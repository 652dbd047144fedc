package sandbox_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"outlook-connector/internal/sandbox"
)

const daemonApp = "daemon-1"

// credential is a key with its certificate.
type credential struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

// newCredential makes a certificate that is good until then.
func newCredential(key *rsa.PrivateKey, until time.Time) credential {
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "daemon"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return credential{key, cert}
}

// testKey is made once; it costs a moment.
var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func part(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// sign makes a JWT.
func (c credential) sign(head, body map[string]any) string {
	text := part(head) + "." + part(body)
	sum := sha256.Sum256([]byte(text))
	var sig []byte
	var err error
	if head["alg"] == "RS256" {
		sig, err = rsa.SignPKCS1v15(rand.Reader, c.key, crypto.SHA256, sum[:])
	} else {
		sig, err = rsa.SignPSS(rand.Reader, c.key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	}
	if err != nil {
		panic(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func (c credential) head() map[string]any {
	sum := sha256.Sum256(c.cert.Raw)
	return map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(sum[:])}
}

func assertionBody(aud string) map[string]any {
	now := time.Now()
	return map[string]any{
		"aud": aud, "iss": daemonApp, "sub": daemonApp, "jti": "j1",
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
}

// payload reads the claims of a token, as people do though they should not.
func payload(tb testing.TB, token string) map[string]any {
	tb.Helper()
	var c map[string]any
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func daemonForm() url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {daemonApp}, "scope": {"https://graph.microsoft.com/.default"}}
}

func TestAForeignClientGetsATokenOfTheApplicationByItsSecret(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: daemonApp, Secret: "s3 cret&", Roles: []string{"Mail.Read", "User.Read.All"}}))
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams, oauth2.AuthStyleAutoDetect} {
		foreign := clientcredentials.Config{
			ClientID: daemonApp, ClientSecret: "s3 cret&", TokenURL: w.TokenURL(),
			Scopes: []string{"https://graph.microsoft.com/.default"}, AuthStyle: style,
		}
		token, err := foreign.Token(context.WithValue(t.Context(), oauth2.HTTPClient, w.client))
		if err != nil {
			t.Fatal(err)
		}
		if token.RefreshToken != "" || token.Extra("expires_in") != 3599.0 || token.Extra("scope") != nil {
			t.Errorf("token %+v", token)
		}
		c := payload(t, token.AccessToken)
		if fmt.Sprint(c["roles"]) != "[Mail.Read User.Read.All]" || c["idtyp"] != "app" || c["scp"] != nil || c["upn"] != nil || c["appid"] != daemonApp || c["tid"] != w.TenantID() {
			t.Errorf("claims %v", c)
		}
		w.token = token.AccessToken
		w.get("/users/" + ben + "/messages").is(http.StatusOK)
		w.do(http.MethodPost, "/users/"+ben+"/sendMail", sendMail("no", ann)).is(http.StatusForbidden, "ErrorAccessDenied")
	}
	c := payload(t, w.token)
	if slices.ContainsFunc(w.People(), func(p sandbox.Person) bool { return p.ID == c["oid"] }) || c["oid"] == "" {
		t.Errorf("oid %v is no service principal", c["oid"])
	}
}

func TestAnApplicationShowsACertificate(t *testing.T) {
	t.Parallel()
	good := newCredential(testKey(), time.Now().Add(24*time.Hour))
	w := start(t, sandbox.Apps(sandbox.App{ClientID: daemonApp, Certificates: []*x509.Certificate{good.cert}, Roles: []string{"Mail.Read"}}))
	short := sha1.Sum(good.cert.Raw)
	old := map[string]any{"alg": "RS256", "typ": "JWT", "x5t": base64.RawURLEncoding.EncodeToString(short[:])}
	byGUID := w.URL() + "/" + w.TenantID() + "/oauth2/v2.0/token"
	for name, row := range map[string]struct {
		head     map[string]any
		aud, url string
	}{
		"PS256":                     {good.head(), w.TokenURL(), w.TokenURL()},
		"RS256 with x5t":            {old, w.TokenURL(), w.TokenURL()},
		"audience by GUID":          {good.head(), byGUID, w.TokenURL()},
		"audience by domain":        {good.head(), w.TokenURL(), byGUID},
		"audience in other letters": {good.head(), strings.ToUpper(byGUID), w.TokenURL()},
	} {
		f := daemonForm()
		f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		f.Set("client_assertion", good.sign(row.head, assertionBody(row.aud)))
		for range 2 { // a jti may come again
			if r := w.post(row.url, f); r.status != http.StatusOK || fmt.Sprint(payload(t, r.str("access_token"))["roles"]) != "[Mail.Read]" {
				t.Errorf("%s: %d %s", name, r.status, r.raw)
			}
		}
	}
}

func TestABadClientAssertionIsRefused(t *testing.T) {
	t.Parallel()
	good := newCredential(testKey(), time.Now().Add(24*time.Hour))
	late := newCredential(testKey(), time.Now().Add(-time.Hour))
	unknown := newCredential(testKey(), time.Now().Add(25*time.Hour))
	w := start(t, sandbox.Apps(sandbox.App{ClientID: daemonApp, Certificates: []*x509.Certificate{good.cert, late.cert}}))
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, row := range map[string]struct {
		head   map[string]any // besides the good one's
		body   map[string]any
		form   url.Values
		by     credential
		status int
		err    string
		number string
	}{
		"too old":           {body: map[string]any{"nbf": at(-20 * time.Minute), "iat": at(-20 * time.Minute), "exp": at(-10 * time.Minute)}, number: "700024"},
		"from the future":   {body: map[string]any{"nbf": at(8 * time.Minute), "exp": at(12 * time.Minute)}, number: "700024"},
		"for an hour":       {body: map[string]any{"exp": at(time.Hour)}, number: "700024"},
		"for ever":          {body: map[string]any{"exp": 0}, number: "700024"},
		"other audience":    {body: map[string]any{"aud": "https://graph.microsoft.com"}, number: "700023"},
		"v1 audience":       {body: map[string]any{"aud": w.URL() + "/" + sandbox.DefaultDomain + "/oauth2/token"}, number: "700023"},
		"other issuer":      {body: map[string]any{"iss": "other"}, number: "700021"},
		"other subject":     {body: map[string]any{"sub": "other"}, number: "700021"},
		"federated":         {body: map[string]any{"iss": "https://token.actions.example"}, number: "700211"},
		"unknown key":       {by: unknown, head: unknown.head(), number: "700027"},
		"no thumbprint":     {head: map[string]any{"x5t#S256": ""}, number: "700027"},
		"expired key":       {by: late, head: late.head(), number: "700027"},
		"wrong algorithm":   {head: map[string]any{"alg": "none"}, number: "700027"},
		"other signature":   {head: map[string]any{"alg": "RS256"}, form: url.Values{"swap": {"alg"}}, number: "700027"},
		"no type":           {form: url.Values{"client_assertion_type": {""}}, status: 400, err: "invalid_request", number: "900144"},
		"other type":        {form: url.Values{"client_assertion_type": {"saml"}}, status: 400, err: "invalid_request", number: "90023"},
		"no JWT":            {form: url.Values{"client_assertion": {"abc"}}, status: 400, err: "invalid_request", number: "50027"},
		"a secret instead":  {form: url.Values{"client_assertion": {""}, "client_secret": {"x"}}, number: "7000215"},
		"nothing to show":   {form: url.Values{"client_assertion": {""}}, number: "7000216"},
		"public with proof": {form: url.Values{"client_id": {sandbox.DefaultClientID}}, number: "700025"},
	} {
		head, body := good.head(), assertionBody(w.TokenURL())
		maps.Copy(head, row.head)
		maps.Copy(body, row.body)
		by := good
		if row.by.key != nil {
			by = row.by
		}
		jwt := by.sign(head, body)
		if row.form.Get("swap") != "" { // signed as another algorithm says
			parts := strings.Split(jwt, ".")
			head["alg"] = "PS256"
			jwt = part(head) + "." + parts[1] + "." + parts[2]
		}
		f := daemonForm()
		f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		f.Set("client_assertion", jwt)
		maps.Copy(f, row.form)
		if row.status == 0 {
			row.status, row.err = 401, "invalid_client"
		}
		r := w.post(w.TokenURL(), f)
		if r.status != row.status || r.str("error") != row.err || !strings.HasPrefix(r.str("error_description"), "AADSTS"+row.number+":") {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
}

func TestClientCredentialsAreForOneResourceInOneTenant(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: daemonApp, Secret: "s3cret"}))
	for name, row := range map[string]struct {
		tenant, scope, err, number string
	}{
		"a permission":    {sandbox.DefaultDomain, "https://graph.microsoft.com/Mail.Read", "invalid_scope", "1002012"},
		"a bare name":     {sandbox.DefaultDomain, "Mail.Read", "invalid_scope", "1002012"},
		"bare default":    {sandbox.DefaultDomain, ".default", "invalid_scope", "1002012"},
		"two":             {sandbox.DefaultDomain, "https://graph.microsoft.com/.default openid", "invalid_scope", "70011"},
		"none":            {sandbox.DefaultDomain, "", "invalid_request", "900144"},
		"other resource":  {sandbox.DefaultDomain, "https://vault.azure.example/.default", "invalid_resource", "500011"},
		"common":          {"common", "https://graph.microsoft.com/.default", "invalid_request", "50059"},
		"organizations":   {"Organizations", "https://graph.microsoft.com/.default", "invalid_request", "50059"},
		"consumers":       {"consumers", "https://graph.microsoft.com/.default", "invalid_request", "9002332"},
		"unknown tenant":  {"nowhere.example", "https://graph.microsoft.com/.default", "invalid_request", "90002"},
		"personal tenant": {"9188040d-6c67-4c5b-b112-36a304b66dad", "https://graph.microsoft.com/.default", "invalid_request", "9002332"},
	} {
		f := daemonForm()
		f.Set("client_secret", "s3cret")
		f.Set("scope", row.scope)
		r := w.post(w.URL()+"/"+row.tenant+"/oauth2/v2.0/token", f)
		if r.status != http.StatusBadRequest || r.str("error") != row.err || !strings.HasPrefix(r.str("error_description"), "AADSTS"+row.number+":") {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	// Without a role the token is good for nothing, but it is a token.
	f := daemonForm()
	f.Set("client_secret", "s3cret")
	f.Set("scope", w.URL()+"/.default")
	w.token = w.post(w.TokenURL(), f).is(http.StatusOK).str("access_token")
	w.get("/users/"+ann+"/messages").is(http.StatusForbidden, "ErrorAccessDenied")
}

func TestACertificateIsGoodForTheCodeAndTheRefreshOfAPerson(t *testing.T) {
	t.Parallel()
	good := newCredential(testKey(), time.Now().Add(24*time.Hour))
	w := start(t, sandbox.Apps(sandbox.App{ClientID: daemonApp, Certificates: []*x509.Certificate{good.cert}}))
	p := newProduct(w, url.Values{"client_id": {daemonApp}})
	prove := func(f url.Values) url.Values {
		f.Set("client_id", daemonApp)
		f.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		f.Set("client_assertion", good.sign(good.head(), assertionBody(w.TokenURL())))
		return f
	}
	w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusBadRequest) // of another application
	f := p.codeForm(p.code(ann).Get("code"))
	f.Set("client_id", daemonApp)
	w.number(w.post(w.TokenURL(), f).is(http.StatusUnauthorized, "invalid_client"), "7000218")
	r := w.post(w.TokenURL(), prove(p.codeForm(p.code(ann).Get("code")))).is(http.StatusOK)
	w.post(w.TokenURL(), prove(refreshForm(r.str("refresh_token")))).is(http.StatusOK)
}

func TestTokensOfAnApplicationWithoutASignIn(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: daemonApp, Secret: "s", Roles: []string{"Mail.Read"}}))
	for roles, want := range map[string]string{"": "[Mail.Read]", "Mail.Send Calendars.Read": "[Mail.Send Calendars.Read]"} {
		token, err := w.AppToken(daemonApp, roles)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(payload(t, token)["roles"]); got != want {
			t.Errorf("%q: roles %s", roles, got)
		}
	}
	for _, row := range [][2]string{{"who", ""}, {daemonApp, "Mail.Read.Shared"}} {
		if token, err := w.AppToken(row[0], row[1]); err == nil || token != "" {
			t.Errorf("%v: no error", row)
		}
	}
}

func TestAFaultOfTheTokenEndpointReadsLikeEntra(t *testing.T) {
	t.Parallel()
	w := start(t)
	where := sandbox.Match{Route: "/{tenant}/oauth2/v2.0/token"}
	for _, row := range []struct {
		code   string
		number int
		status int
	}{
		{"interaction_required", 50076, 400},
		{"invalid_grant", 50173, 400},
		{"invalid_client", 7000222, 401},
		{"temporarily_unavailable", 90033, 503},
		{"server_error", 90033, 500},
	} {
		w.Control(where, sandbox.FailToken(row.code, row.number))
		foreign := &oauth2.Config{ClientID: sandbox.DefaultClientID, Endpoint: oauth2.Endpoint{TokenURL: w.TokenURL(), AuthStyle: oauth2.AuthStyleInParams}}
		_, err := foreign.TokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, w.client), &oauth2.Token{RefreshToken: "x"}).Token()
		e, ok := errors.AsType[*oauth2.RetrieveError](err)
		if !ok || e.ErrorCode != row.code || e.Response.StatusCode != row.status || !strings.HasPrefix(e.ErrorDescription, fmt.Sprintf("AADSTS%d:", row.number)) {
			t.Errorf("%v: %v", row, err)
			continue
		}
		var body struct {
			Suberror, Claims string
			Codes            []int `json:"error_codes"`
		}
		if err := json.Unmarshal(e.Body, &body); err != nil || !slices.Equal(body.Codes, []int{row.number}) {
			t.Errorf("%v: %s", row, e.Body)
		}
		if asks := row.code == "interaction_required"; asks != (body.Suberror == "basic_action") || asks != json.Valid([]byte(body.Claims)) {
			t.Errorf("%v: %s", row, e.Body)
		}
	}
	mine := "11111111-2222-4333-8444-555555555555"
	r := w.with("client-request-id", mine).post(w.TokenURL(), refreshForm("x")).is(http.StatusBadRequest, "invalid_grant")
	if r.str("correlation_id") != mine || !strings.Contains(r.str("error_description"), mine) {
		t.Errorf("correlation: %s", r.raw)
	}
}
