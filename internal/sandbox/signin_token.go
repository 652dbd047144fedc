package sandbox

// The token endpoint. Modelled: authorization_code (one use, PKCE) and
// refresh_token (a new one each time, the old one stays good as with Entra, or
// strict rotation), client secret in the body or by Basic, errors as Entra words
// them. Client programs must react to "error" alone; numbers and texts are given
// for people. https://learn.microsoft.com/entra/identity-platform/refresh-tokens

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// refreshLife is how long an unused refresh token is good for.
const refreshLife = 90 * 24 * time.Hour

// grant is what a refresh token stands for.
type grant struct {
	Token   string   `json:"token"`
	Family  string   `json:"family"` // the sign-in it comes from
	App     string   `json:"app"`
	Person  string   `json:"person"`
	Scopes  []string `json:"scopes"`
	Issued  int64    `json:"issued"`
	Used    bool     `json:"used,omitempty"`
	Revoked bool     `json:"revoked,omitempty"`
}

func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

func (s *Sandbox) token(r *http.Request, id string) *Answer {
	if r.Method != http.MethodPost {
		return tokenFailure(newSigninError(http.StatusMethodNotAllowed, "invalid_request", 900561,
			"The endpoint only accepts POST requests. Received a %s request.", r.Method), id)
	}
	if err := r.ParseForm(); err != nil {
		return tokenFailure(newSigninError(http.StatusBadRequest, "invalid_request", 90014, "The request body cannot be read."), id)
	}
	form := r.PostForm
	if user, pass, ok := r.BasicAuth(); ok {
		// RFC 6749 §2.3.1: both are form-encoded before they are joined.
		user, _ = url.QueryUnescape(user)
		pass, _ = url.QueryUnescape(pass)
		form.Set("client_id", user)
		form.Set("client_secret", pass)
	}
	v, e := s.exchange(form, s.root(r))
	if e != nil {
		return tokenFailure(e, id)
	}
	return jsonDocument(v)
}

func missing(name string) *signinError {
	return newSigninError(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: '%s'.", name)
}

func (s *Sandbox) exchange(form url.Values, issuer string) (map[string]any, *signinError) {
	if form.Get("grant_type") == "" {
		return nil, missing("grant_type")
	}
	if form.Get("client_id") == "" {
		return nil, missing("client_id")
	}
	app, ok := s.app(form.Get("client_id"))
	if !ok {
		return nil, newSigninError(http.StatusBadRequest, "unauthorized_client", 700016,
			"Application with identifier '%s' was not found in the directory 'Contoso'.", form.Get("client_id"))
	}
	secret := form.Get("client_secret")
	switch {
	case app.Secret == "" && secret != "":
		return nil, newSigninError(http.StatusUnauthorized, "invalid_client", 700025,
			"Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
	case app.Secret != "" && secret == "":
		return nil, newSigninError(http.StatusUnauthorized, "invalid_client", 7000218,
			"The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	case subtle.ConstantTimeCompare([]byte(app.Secret), []byte(secret)) != 1:
		return nil, newSigninError(http.StatusUnauthorized, "invalid_client", 7000215,
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", app.ClientID)
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.redeemCode(app, form, issuer)
	case "refresh_token":
		return s.refresh(app, form, issuer)
	}
	return nil, newSigninError(http.StatusBadRequest, "unsupported_grant_type", 70003,
		"The app requested an unsupported grant type '%s' (the sandbox models authorization_code and refresh_token).", form.Get("grant_type"))
}

func invalidGrant(number int, format string, args ...any) *signinError {
	return newSigninError(http.StatusBadRequest, "invalid_grant", number, format, args...)
}

func (s *Sandbox) redeemCode(app App, form url.Values, issuer string) (map[string]any, *signinError) {
	for _, name := range []string{"code", "redirect_uri"} {
		if form.Get(name) == "" {
			return nil, missing(name)
		}
	}
	c, e := s.takeCode(app, form)
	if e != nil {
		return nil, e
	}
	scopes := c.scopes
	if asked := form.Get("scope"); asked != "" {
		if scopes, e = narrow(asked, c.scopes); e != nil {
			return nil, e
		}
	}
	return s.issue(&grant{App: app.ClientID, Person: c.person, Scopes: scopes, Family: newGUID()}, c.nonce, issuer, nil)
}

// takeCode checks a code and uses it up. A request that fails the checks before
// the code's own uses it up as well: whoever holds a code may try once.
func (s *Sandbox) takeCode(app App, form url.Values) (*authCode, *signinError) {
	s.codes.mu.Lock()
	defer s.codes.mu.Unlock()
	c := s.codes.codes[form.Get("code")]
	verifier := form.Get("code_verifier")
	switch {
	case c == nil:
		return nil, invalidGrant(9002313, "Invalid request. Request is malformed or invalid.")
	case c.used:
		return nil, invalidGrant(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
	case time.Now().After(c.expires):
		return nil, invalidGrant(70008, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.")
	}
	c.used = true
	sum := sha256.Sum256([]byte(verifier))
	switch {
	case !strings.EqualFold(c.app, app.ClientID):
		return nil, invalidGrant(700005, "Provided Authorization Code is intended to use against other application.")
	case c.redirect != form.Get("redirect_uri"):
		return nil, invalidGrant(500112, "The reply address '%s' does not match the reply address '%s' provided when requesting Authorization code.", form.Get("redirect_uri"), c.redirect)
	case c.challenge == "" && verifier == "":
	case base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge:
		// Also when only one of the two was given: a client that sends a
		// verifier without a challenge is not protected and should be told.
		return nil, invalidGrant(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.")
	}
	return c, nil
}

// narrow reads a scope parameter that may not go beyond what was consented to.
func narrow(asked string, consented []string) ([]string, *signinError) {
	list, e := readScopes(asked)
	if e != nil {
		return nil, e
	}
	for _, scope := range list {
		if !slices.Contains(consented, scope) {
			e := invalidGrant(65001, "The user or administrator has not consented to use the application. Send an interactive authorization request for this user and resource.")
			e.suberror = "consent_required"
			return nil, e
		}
	}
	return list, nil
}

func (s *Sandbox) refresh(app App, form url.Values, issuer string) (map[string]any, *signinError) {
	if form.Get("refresh_token") == "" {
		return nil, missing("refresh_token")
	}
	var old *grant
	s.read(func(st *state) {
		if g := st.grants[form.Get("refresh_token")]; g != nil {
			c := *g
			old = &c
		}
	})
	switch {
	case old == nil:
		return nil, invalidGrant(9002313, "Invalid request. Request is malformed or invalid.")
	case !strings.EqualFold(old.App, app.ClientID):
		return nil, invalidGrant(700005, "Provided refresh token is intended to use against other application.")
	case old.Revoked:
		return nil, invalidGrant(50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password.")
	case time.Since(time.Unix(old.Issued, 0)) > refreshLife:
		return nil, invalidGrant(700082, "The refresh token has expired due to inactivity.")
	case old.Used && s.opts.strictRotation:
		s.revoke(func(g *grant) bool { return g.Family == old.Family })
		return nil, invalidGrant(50173, "The provided grant was used before and is revoked with all that came of it.")
	}
	fresh := &grant{App: old.App, Person: old.Person, Scopes: old.Scopes, Family: old.Family}
	if asked := form.Get("scope"); asked != "" {
		list, e := narrow(asked, old.Scopes)
		if e != nil {
			return nil, e
		}
		fresh.Scopes = list
		if slices.Contains(old.Scopes, "offline_access") && !slices.Contains(list, "offline_access") {
			fresh.Scopes = append(slices.Clone(list), "offline_access") // it stays: the grant is offline
		}
	}
	return s.issue(fresh, "", issuer, old)
}

// issue makes the tokens of an answer. The refresh token is stored before it is
// given out.
func (s *Sandbox) issue(g *grant, nonce, issuer string, old *grant) (map[string]any, *signinError) {
	now := time.Now()
	var who Person
	var access string
	err := s.update(func(t *tx) error {
		box := t.mailboxNamed(g.Person)
		if old != nil {
			// Two requests with one token race here when rotation is strict.
			current := t.grants[old.Token]
			if current.Revoked || current.Used && s.opts.strictRotation {
				return invalidGrant(50173, "The provided grant was used before.")
			}
			if !current.Used {
				used := *current
				used.Used = true
				t.do(record{Grant: &used})
			}
		}
		who = box.Person
		access = t.mint(who, g.App, g.Scopes, now, s.opts.tokenLife)
		if slices.Contains(g.Scopes, "offline_access") {
			g.Token, g.Issued = "1."+randomText(300), now.Unix()
			t.do(record{Grant: g})
		}
		return nil
	})
	if err != nil {
		if e, ok := err.(*signinError); ok { //nolint:errorlint // made a few lines above, never wrapped
			return nil, e
		}
		return nil, newSigninError(http.StatusServiceUnavailable, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again.")
	}
	seconds := int(s.opts.tokenLife / time.Second)
	v := map[string]any{
		"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": access,
		"scope": strings.Join(slices.DeleteFunc(slices.Clone(g.Scopes), func(s string) bool { return s == "offline_access" }), " "),
	}
	if g.Token != "" {
		v["refresh_token"] = g.Token
	}
	if slices.Contains(g.Scopes, "openid") {
		v["id_token"] = s.idToken(who, g, nonce, issuer, now)
	}
	return v, nil
}

func (s *Sandbox) revoke(which func(*grant) bool) {
	err := s.update(func(t *tx) error {
		for _, g := range t.grants {
			if which(g) && !g.Revoked {
				dead := *g
				dead.Revoked = true
				t.do(record{Grant: &dead})
			}
		}
		return nil
	})
	if err != nil {
		s.log.Error("revoke failed", "error", err.Error())
	}
}

// RevokeSessions makes all refresh tokens of a person useless, as an
// administrator does. Access tokens stay good until they expire.
func (s *Sandbox) RevokeSessions(upn string) {
	var id string
	s.read(func(st *state) {
		if b := st.mailboxNamed(upn); b != nil {
			id = b.ID
		}
	})
	s.revoke(func(g *grant) bool { return id != "" && g.Person == id })
}

// tokenFailure is an error body of the token endpoint.
func tokenFailure(e *signinError, traceID string) *Answer {
	now := time.Now().UTC()
	correlation := newGUID()
	body := map[string]any{
		"error": e.code,
		"error_description": e.describe() + " Trace ID: " + traceID + " Correlation ID: " + correlation +
			" Timestamp: " + now.Format("2006-01-02 15:04:05Z"),
		"error_codes": []int{e.number}, "timestamp": now.Format("2006-01-02 15:04:05Z"),
		"trace_id": traceID, "correlation_id": correlation,
		"error_uri": "https://login.microsoftonline.com/error?code=" + numberText(e.number),
	}
	if e.suberror != "" {
		body["suberror"] = e.suberror
	}
	a := jsonDocument(body)
	a.Status = e.status
	return a
}
