package sandbox

// The token endpoint. Modelled: authorization_code (one use, PKCE), the device
// code (signin_device.go), refresh_token (a new one each time, the old one stays
// good as with Entra, or strict rotation; more scopes than before if the person
// has consented to them meanwhile), client_credentials for an application with
// nobody signed in, the claims parameter, errors as Entra words them. Client
// programs must react to "error" alone; numbers and texts are given for people.
// https://learn.microsoft.com/entra/identity-platform/refresh-tokens
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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

func (s *Sandbox) token(c *signinCall) *Answer {
	if e := c.postOnly(); e != nil {
		return tokenFailure(e, c.id, c.Header)
	}
	form := c.PostForm
	if user, pass, ok := c.BasicAuth(); ok {
		// RFC 6749 §2.3.1: both are form-encoded before they are joined.
		user, _ = url.QueryUnescape(user)
		pass, _ = url.QueryUnescape(pass)
		form.Set("client_id", user)
		form.Set("client_secret", pass)
	}
	v, e := s.exchange(c, form)
	if e != nil {
		return tokenFailure(e, c.id, c.Header)
	}
	return jsonDocument(v)
}

func missing(name string) *signinError {
	return newSigninError(http.StatusBadRequest, "invalid_request", 900144, "The request body must contain the following parameter: '%s'.", name)
}

// The grant types that have long names.
const (
	grantClient = "client_credentials"
	grantDevice = "urn:ietf:params:oauth:grant-type:device_code"
)

func (s *Sandbox) exchange(c *signinCall, form url.Values) (map[string]any, *signinError) {
	kind := form.Get("grant_type")
	if kind == "" {
		return nil, missing("grant_type")
	}
	if kind == grantClient && isShared(c.tenant) {
		return nil, newSigninError(http.StatusBadRequest, "invalid_request", 50059,
			"No tenant-identifying information found in either the request or implied by any provided credentials.")
	}
	app, e := s.authenticateClient(c, form)
	if e != nil {
		return nil, e
	}
	switch kind {
	case "authorization_code":
		return s.redeemCode(c, app, form)
	case "refresh_token":
		return s.refresh(c, app, form)
	case grantDevice, "device_code":
		return s.redeemDevice(c, app, form)
	case grantClient:
		return s.clientCredentials(c, app, form)
	}
	return nil, newSigninError(http.StatusBadRequest, "unsupported_grant_type", 70003,
		"The app requested an unsupported grant type '%s' (the sandbox models authorization_code, refresh_token, device_code and client_credentials).", kind)
}

// clientCredentials makes a token of the application itself, with the roles that
// an administrator has allowed it: without any, it opens nothing.
func (s *Sandbox) clientCredentials(c *signinCall, app App, form url.Values) (map[string]any, *signinError) {
	scopes := strings.Fields(form.Get("scope"))
	if len(scopes) == 0 {
		return nil, missing("scope")
	}
	if len(scopes) > 1 {
		return nil, newSigninError(http.StatusBadRequest, "invalid_scope", 70011,
			"The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope %s is not valid.", form.Get("scope"))
	}
	resource, name, ok := cutResource(scopes[0])
	switch {
	case !ok || name != defaultScope:
		return nil, newSigninError(http.StatusBadRequest, "invalid_scope", 1002012,
			"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", scopes[0])
	case !isGraph(resource, []string{c.root}):
		return nil, errResource(resource)
	}
	if _, e := readClaims(form.Get("claims")); e != nil {
		return nil, e
	}
	var token string
	s.read(func(st *state) { token = st.mintApp(app, st.granted(app), time.Now(), s.opts.tokenLife) })
	seconds := int(s.opts.tokenLife / time.Second)
	return map[string]any{"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}, nil
}

func invalidGrant(number int, format string, args ...any) *signinError {
	return newSigninError(http.StatusBadRequest, "invalid_grant", number, format, args...)
}

func (s *Sandbox) redeemCode(c *signinCall, app App, form url.Values) (map[string]any, *signinError) {
	for _, name := range []string{"code", "redirect_uri"} {
		if form.Get(name) == "" {
			return nil, missing(name)
		}
	}
	asked, e := readClaims(form.Get("claims"))
	if e != nil {
		return nil, e
	}
	code, e := s.takeCode(app, form)
	if e != nil {
		return nil, e
	}
	scopes := code.scopes
	if asked := form.Get("scope"); asked != "" {
		if scopes, e = narrow(asked, c.root, code.scopes); e != nil {
			return nil, e
		}
	}
	return s.issue(c, &grant{App: app.ClientID, Person: code.person, Scopes: scopes, Family: newGUID()},
		issueFor{nonce: code.nonce, claims: asked.join(code.claims), answered: code.answered})
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
func narrow(asked, root string, consented []string) ([]string, *signinError) {
	list, e := readScopes(asked, root)
	if e != nil {
		return nil, e
	}
	if list, e = expandDefault(App{}, strings.Join(consented, " "), list); e != nil {
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

func (s *Sandbox) refresh(c *signinCall, app App, form url.Values) (map[string]any, *signinError) {
	if form.Get("refresh_token") == "" {
		return nil, missing("refresh_token")
	}
	asked, e := readClaims(form.Get("claims"))
	if e != nil {
		return nil, e
	}
	var old *grant
	var acc account
	var allowed []string
	s.read(func(st *state) {
		if g := st.grants[form.Get("refresh_token")]; g != nil {
			dup := *g
			old, acc = &dup, st.account(g.Person)
			allowed = append(slices.Clone(g.Scopes), strings.Fields(st.consented(g.Person, g.App))...)
		}
	})
	switch {
	case old == nil:
		return nil, invalidGrant(9002313, "Invalid request. Request is malformed or invalid.")
	case !strings.EqualFold(old.App, app.ClientID):
		return nil, invalidGrant(700005, "Provided refresh token is intended to use against other application.")
	case acc.Disabled:
		return nil, errDisabled()
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
		list, e := narrow(asked, c.root, allowed)
		if e != nil {
			return nil, e
		}
		fresh.Scopes = list
		if slices.Contains(old.Scopes, "offline_access") && !slices.Contains(list, "offline_access") {
			fresh.Scopes = append(slices.Clone(list), "offline_access") // it stays: the grant is offline
		}
	}
	return s.issue(c, fresh, issueFor{claims: asked, old: old})
}

// issueFor is what the tokens of an answer depend on besides the grant.
type issueFor struct {
	nonce  string
	claims claimsAsked
	// answered is the account's NotBefore when the person signed in; 0: nobody
	// did just now.
	answered int64
	old      *grant // the one that is refreshed
}

// issue makes the tokens of an answer. The refresh token is stored before it is
// given out.
func (s *Sandbox) issue(c *signinCall, g *grant, with issueFor) (map[string]any, *signinError) {
	now := time.Now()
	var who Person
	var access string
	err := s.update(func(t *tx) error {
		box := t.mailboxNamed(g.Person)
		if box == nil {
			return invalidGrant(50034, "The user account does not exist in the directory 'Contoso'.")
		}
		if t.account(box.ID).Disabled {
			return errDisabled()
		}
		if old := with.old; old != nil {
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
		token := delegated(who, g.App, g.Scopes)
		token.Capabilities, token.Answered = with.claims.capabilities, max(with.answered, with.claims.notBefore)
		access = t.mint(token, now, s.opts.tokenLife)
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
		"scope": strings.Join(shownScopes(g.Scopes), " "),
	}
	if g.Token != "" {
		v["refresh_token"] = g.Token
	}
	if slices.Contains(g.Scopes, "openid") {
		v["id_token"] = s.idToken(who, g, with.nonce, c.root, now)
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

// tokenFailure is an error body of the token endpoint. Like Entra it takes the
// client's own request id, if it is one, for the correlation id.
func tokenFailure(e *signinError, traceID string, h http.Header) *Answer {
	now := time.Now().UTC()
	correlation := h.Get("client-request-id")
	if !isGUID(correlation) {
		correlation = newGUID()
	}
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
	if e.claims != "" {
		body["claims"] = e.claims
	}
	a := jsonDocument(body)
	a.Status = e.status
	return a
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	_, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	return err == nil && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
}
