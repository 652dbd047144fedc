package sandbox_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

const cp1 = `{"access_token":{"xms_cc":{"values":["cp1"]}}}`

// challenge reads the claims of a WWW-Authenticate header.
func challenge(t *testing.T, r *reply) string {
	t.Helper()
	h := r.header.Get("WWW-Authenticate")
	m := regexp.MustCompile(`^Bearer realm="", authorization_uri="https://[^"]*".*, error="insufficient_claims", claims="([^"]+)"$`).FindStringSubmatch(h)
	if m == nil {
		t.Fatalf("no challenge: %q", h)
	}
	b, err := base64.StdEncoding.DecodeString(m[1])
	if err != nil || !json.Valid(b) {
		t.Fatalf("claims %q: %v", m[1], err)
	}
	return string(b)
}

// withClaims adds a claims parameter.
func withClaims(f url.Values, claims string) url.Values {
	f.Set("claims", claims)
	return f
}

func TestAClaimsChallengeEndsWhenTheClaimsAreAskedFor(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, nil)
	first := w.post(w.TokenURL(), withClaims(p.codeForm(p.code(ann).Get("code")), cp1)).is(http.StatusOK)
	plain := w.as(ann, allMail)
	w.token = first.str("access_token")
	w.get("/me/messages").is(http.StatusOK)
	for range 2 { // a second challenge is another one
		if err := w.ChallengeClaims(ann); err != nil {
			t.Fatal(err)
		}
		r := w.get("/me/messages").is(http.StatusUnauthorized, "InvalidAuthenticationToken")
		wanted := challenge(t, r)

		again := w.post(w.TokenURL(), withClaims(refreshForm(first.str("refresh_token")), cp1)).is(http.StatusOK)
		w.token = again.str("access_token")
		if got := challenge(t, w.get("/me/messages").is(http.StatusUnauthorized)); got != wanted {
			t.Errorf("without the claims: %s, before %s", got, wanted)
		}
		both := strings.Replace(wanted, `"nbf"`, `"xms_cc":{"values":["CP1"]},"nbf"`, 1)
		w.token = w.post(w.TokenURL(), withClaims(refreshForm(first.str("refresh_token")), both)).is(http.StatusOK).str("access_token")
		w.get("/me/messages").is(http.StatusOK)
	}
	r := plain.get("/me/messages").is(http.StatusUnauthorized, "InvalidAuthenticationToken")
	if h := r.header.Get("WWW-Authenticate"); strings.Contains(h, "claims") || !strings.HasPrefix(h, "Bearer ") {
		t.Errorf("a client without cp1 is challenged: %q", h)
	}
	w.as(ann, allMail).get("/me/messages").is(http.StatusOK)
	w.as(ben, allMail).get("/me/messages").is(http.StatusOK)
	w.post(w.TokenURL(), withClaims(refreshForm(first.str("refresh_token")), "{")).is(http.StatusBadRequest, "invalid_request")
	if err := w.ChallengeClaims(noPerson); err == nil {
		t.Error("nobody was challenged")
	}
}

func TestARevokedSessionIsAChallengeToWhoCanAnswerAndANewSignInEndsIt(t *testing.T) {
	t.Parallel()
	w := start(t)
	p := newProduct(w, url.Values{"claims": {cp1}}) // declared at the authorize page
	first := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK)
	plain := w.as(ann, allMail)
	w.RevokeSessions(ann)
	plain.get("/me/messages").is(http.StatusOK)
	w.token = first.str("access_token")
	wanted := challenge(t, w.get("/me/messages").is(http.StatusUnauthorized))
	w.number(w.post(w.TokenURL(), withClaims(refreshForm(first.str("refresh_token")), wanted)).is(http.StatusBadRequest, "invalid_grant"), "50173")
	w.token = w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK).str("access_token")
	w.get("/me/messages").is(http.StatusOK)
}

func TestANewPasswordLeavesConfidentialClientsAlone(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.Apps(sandbox.App{ClientID: "app-2", Secret: "s3cret"}))
	public := newProduct(w, nil)
	hers := w.post(w.TokenURL(), public.codeForm(public.code(ann).Get("code"))).is(http.StatusOK).str("refresh_token")
	his := w.post(w.TokenURL(), public.codeForm(public.code(ben).Get("code"))).is(http.StatusOK).str("refresh_token")
	confidential := newProduct(w, url.Values{"client_id": {"app-2"}})
	secret := func(f url.Values) url.Values {
		f.Set("client_id", "app-2")
		f.Set("client_secret", "s3cret")
		return f
	}
	kept := w.post(w.TokenURL(), secret(confidential.codeForm(confidential.code(ann).Get("code")))).is(http.StatusOK).str("refresh_token")
	w.ChangePassword(ann)
	w.number(w.post(w.TokenURL(), refreshForm(hers)).is(http.StatusBadRequest, "invalid_grant"), "50173")
	w.post(w.TokenURL(), refreshForm(his)).is(http.StatusOK)
	w.post(w.TokenURL(), secret(refreshForm(kept))).is(http.StatusOK)
	w.RevokeSessions(ann)
	w.number(w.post(w.TokenURL(), secret(refreshForm(kept))).is(http.StatusBadRequest, "invalid_grant"), "50173")
}

func TestADisabledAccountGetsNoTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := start(t, sandbox.StoreDir(dir))
	p := newProduct(w, nil)
	refresh := w.post(w.TokenURL(), p.codeForm(p.code(ann).Get("code"))).is(http.StatusOK).str("refresh_token")
	code := p.code(ann).Get("code")
	d := w.device("Mail.Read")
	if err := w.DisableAccount(ann, true); err != nil {
		t.Fatal(err)
	}
	w.number(w.post(w.TokenURL(), refreshForm(refresh)).is(http.StatusBadRequest, "invalid_grant"), "50057")
	w.number(w.post(w.TokenURL(), p.codeForm(code)).is(http.StatusBadRequest, "invalid_grant"), "50057")
	for name, r := range map[string]*reply{
		"authorize": w.get(p.authorizeURL() + "&login_hint=" + ann),
		"device":    w.post(d.str("verification_uri"), url.Values{"otc": {d.str("user_code")}, "account": {ann}}),
	} {
		if r.status != http.StatusBadRequest || !strings.Contains(string(r.raw), "AADSTS50057") {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	w.get("/me/messages").is(http.StatusOK) // a token is a token
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = start(t, sandbox.StoreDir(dir))
	w.number(w.post(w.TokenURL(), refreshForm(refresh)).is(http.StatusBadRequest, "invalid_grant"), "50057")
	if err := w.DisableAccount(ann, false); err != nil {
		t.Fatal(err)
	}
	w.post(w.TokenURL(), refreshForm(refresh)).is(http.StatusOK)
	if err := w.DisableAccount(noPerson, true); err == nil {
		t.Error("nobody was disabled")
	}
}
