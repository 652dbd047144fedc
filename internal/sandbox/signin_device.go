package sandbox

// Signing in on another machine (RFC 8628): the application gets a code, a
// person types it on a page, picks an account and accepts or declines, while the
// application asks the token endpoint again and again.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code
//
// Modelled: expires_in 900, interval 5, message; no verification_uri_complete,
// which Entra does not send. The device page always asks, consent or not, so
// that nobody signs in somebody else's machine unaware. A client that polls
// faster than the interval is answered as usual: Entra documents no slow_down.
// Codes live in memory, as those of the authorize page.
//
// Left out: verification codes of another tenant, the count of wrong codes.

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	deviceLife     = 15 * time.Minute
	deviceInterval = 5 // seconds
	// deviceMemory is how long an expired code is still told from an unknown one.
	deviceMemory = time.Hour
)

type deviceState int

const (
	devicePending deviceState = iota
	deviceAccepted
	deviceDeclined
	deviceRedeemed
)

// deviceCode is a sign-in that waits for its person.
type deviceCode struct {
	userCode string
	app      string
	scopes   []string
	claims   claimsAsked
	expires  time.Time

	state    deviceState
	person   string
	answered int64 // the account's NotBefore when the person accepted
}

// userCodeLetters have none that are taken for one another.
const userCodeLetters = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

func newUserCode() string {
	var b [9]byte
	_, _ = rand.Read(b[:]) // never fails
	for i := range b {
		b[i] = userCodeLetters[int(b[i])%len(userCodeLetters)]
	}
	return string(b[:])
}

func (b *codeBook) addDevice(d *deviceCode) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.devices == nil {
		b.devices = map[string]*deviceCode{}
	}
	now := time.Now()
	for code, old := range b.devices {
		if now.After(old.expires.Add(deviceMemory)) {
			delete(b.devices, code)
		}
	}
	code := "0." + randomText(96)
	b.devices[code] = d
	return code
}

// waiting copies the device that shows a user code and still waits.
func (b *codeBook) waiting(userCode string) (deviceCode, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.find(userCode)
	if d == nil {
		return deviceCode{}, false
	}
	return *d, true
}

func (b *codeBook) find(userCode string) *deviceCode {
	for _, d := range b.devices {
		if d.userCode == userCode && d.state == devicePending && time.Now().Before(d.expires) {
			return d
		}
	}
	return nil
}

// decide ends the waiting. It fails when somebody else did so first.
func (b *codeBook) decide(userCode string, state deviceState, scopes []string, person string, answered int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.find(userCode)
	if d == nil {
		return false
	}
	d.state, d.person, d.answered = state, person, answered
	if state == deviceAccepted {
		d.scopes = scopes
	}
	return true
}

// devicecode starts a sign-in.
func (s *Sandbox) devicecode(c *signinCall) *Answer {
	if e := c.postOnly(); e != nil {
		return tokenFailure(e, c.id, c.Header)
	}
	form := c.PostForm
	d := &deviceCode{userCode: newUserCode(), expires: time.Now().Add(deviceLife)}
	var e *signinError
	app, ok := s.app(form.Get("client_id"))
	switch {
	case form.Get("client_id") == "":
		e = missing("client_id")
	case !ok:
		e = errNoApp(form.Get("client_id"))
	default:
		d.app = app.ClientID
		if d.scopes, e = readScopes(form.Get("scope"), c.root); e == nil {
			d.claims, e = readClaims(form.Get("claims"))
		}
	}
	if e != nil {
		return tokenFailure(e, c.id, c.Header)
	}
	code := s.codes.addDevice(d)
	page := c.root + "/devicelogin"
	return jsonDocument(map[string]any{
		"device_code": code, "user_code": d.userCode, "verification_uri": page,
		"expires_in": int(deviceLife / time.Second), "interval": deviceInterval,
		"message": "To sign in, use a web browser to open the page " + page + " and enter the code " + d.userCode + " to authenticate.",
	})
}

// deviceauth is the page for the person.
func (s *Sandbox) deviceauth(c *signinCall) *Answer {
	if a := c.pageForm(); a != nil {
		return a
	}
	form := c.Form
	data := signinPage{Action: c.root + "/common/oauth2/deviceauth", Code: form.Get("otc"), Device: true}
	if c.Method == http.MethodGet {
		return page(http.StatusOK, devicePage, data)
	}
	typed := plainUserCode(data.Code)
	d, ok := s.codes.waiting(typed)
	if !ok {
		data.Wrong = true
		return page(http.StatusOK, devicePage, data)
	}
	data.App, data.Fields = d.app, map[string]string{"otc": typed}
	app, _ := s.app(d.app)
	who := s.visitorNamed(app, form.Get("account"))
	switch {
	case !who.known:
		data.Unknown = form.Get("account")
		return s.pickAccount(data)
	case who.account.Disabled:
		return failure(errDisabled())
	}
	scopes, e := expandDefault(app, who.consented, d.scopes)
	if e != nil {
		return failure(e)
	}
	var decision deviceState
	end := devicePermitted
	switch form.Get("consent") {
	case "accept":
		decision = deviceAccepted
		if err := s.consent(who.ID, app.ClientID, scopes); err != nil {
			return page(http.StatusInternalServerError, failurePage, err.Error())
		}
	case "cancel":
		decision, end = deviceDeclined, deviceRefused
	default:
		data.Who, data.Scopes = who.Person, scopes
		return page(http.StatusOK, consentPage, data)
	}
	if !s.codes.decide(typed, decision, scopes, who.ID, who.account.NotBefore) {
		data.Wrong = true
		return page(http.StatusOK, devicePage, data)
	}
	return page(http.StatusOK, end, data)
}

// plainUserCode undoes what people do to a code that they type.
func plainUserCode(typed string) string {
	return strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(typed))
}

// redeemDevice answers a client that polls.
func (s *Sandbox) redeemDevice(c *signinCall, app App, form url.Values) (map[string]any, *signinError) {
	code := form.Get("device_code")
	if code == "" {
		// MSAL of some languages calls it code, as the first draft did.
		if code = form.Get("code"); code == "" {
			return nil, missing("device_code")
		}
	}
	asked, e := readClaims(form.Get("claims"))
	if e != nil {
		return nil, e
	}
	d, e := s.codes.takeDevice(code, app)
	if e != nil {
		return nil, e
	}
	return s.issue(c, &grant{App: app.ClientID, Person: d.person, Scopes: d.scopes, Family: newGUID()},
		issueFor{claims: asked.join(d.claims), answered: d.answered})
}

func (b *codeBook) takeDevice(code string, app App) (deviceCode, *signinError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bad := func(code string, number int, text string) (deviceCode, *signinError) {
		return deviceCode{}, newSigninError(http.StatusBadRequest, code, number, "%s", text)
	}
	d := b.devices[code]
	switch {
	case d == nil || !strings.EqualFold(d.app, app.ClientID):
		return bad("bad_verification_code", 70018, "The provided value for the input parameter 'device_code' is not valid.")
	case d.state == deviceRedeemed:
		return bad("invalid_grant", 54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.")
	case d.state == deviceDeclined:
		return bad("authorization_declined", 65004, "User declined to consent to access the app.")
	case !time.Now().Before(d.expires):
		return bad("expired_token", 70020, "The provided value for the input parameter 'device_code' is not valid. This device code has expired.")
	case d.state == devicePending:
		return bad("authorization_pending", 70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.")
	}
	d.state = deviceRedeemed
	return *d, nil
}
