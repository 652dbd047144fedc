package tokenstore

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// The sign-in on another machine (RFC 8628):
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-device-code
const (
	deviceGrant = "urn:ietf:params:oauth:grant-type:device_code"
	// codePending and codeSlowDown are answers of a sign-in that goes on.
	codePending  = "authorization_pending"
	codeSlowDown = "slow_down"
	// devicePoll is the interval where the server names none, and slowDown what
	// slow_down adds to it (RFC 8628, 3.5).
	devicePoll = 5 * time.Second
	slowDown   = 5 * time.Second
	// maxDevicePoll bounds the pause after failures; maxDeviceLife what is
	// believed of a code's life.
	maxDevicePoll = 30 * time.Second
	maxDeviceLife = time.Hour
)

// Codes of the errors with which a sign-in by device code ends without a grant;
// see [Logins.PollDevice].
const (
	// CodeDeviceUnknown: there is no such sign-in, or it is over.
	CodeDeviceUnknown = "device_unknown"
	// CodeDeviceExpired: nobody entered the code in time.
	CodeDeviceExpired = "device_expired"
	// CodeDeviceDeclined: the person declined.
	CodeDeviceDeclined = "device_declined"
)

// DeviceFlow is a sign-in by device code that was begun.
type DeviceFlow struct {
	// ID names the flow for [Logins.PollDevice]. Whoever has it can end the
	// sign-in, so it is not shown.
	ID seal.Secret
	// Client is who the sign-in is for.
	Client string
	// UserCode is what the person enters at VerificationURL.
	UserCode, VerificationURL string
	// Expires is when the code stops working, and Interval the least pause
	// between two polls.
	Expires  time.Time
	Interval time.Duration
}

// DeviceProgress is what a poll found.
type DeviceProgress struct {
	// Grant is the saved grant; nil while the person has not finished.
	Grant *Grant
	// Wait is how long to wait before the next poll.
	Wait time.Duration
	// Problem is why this poll was no answer, such as a server that is away; the
	// sign-in goes on. Empty where there was an answer.
	Problem string
}

// device is a sign-in by device code under way.
type device struct {
	client   string
	code     seal.Secret
	expires  time.Time
	interval time.Duration
	failures int // in a row
	next     time.Time
	polling  bool
}

// BeginDevice asks the sign-in server for a code that a person can enter on any
// machine. Every client with a device_url may sign in so; one with
// client_credentials may not.
func (l *Logins) BeginDevice(ctx context.Context, client string) (DeviceFlow, error) {
	e, err := l.endpoint(client)
	if err != nil {
		return DeviceFlow{}, err
	}
	switch {
	case e.client.appOnly():
		return DeviceFlow{}, appOnlyLogin(e.client)
	case e.client.DeviceURL == "":
		return DeviceFlow{}, fault.New(fault.Poison, "client %s has no address for device codes", client).WithCode("no_device_url").
			WithHint("Give client %s a tenant, or device_url.", client)
	}
	form := url.Values{"client_id": {e.client.ClientID}, "scope": {strings.Join(e.client.signInScopes(), " ")}}
	if claims := l.claims(client); claims != "" {
		form.Set("claims", claims)
	}
	got, refused := e.post(ctx, e.client.DeviceURL, form)
	if refused != nil {
		return DeviceFlow{}, l.failed(ctx, client, refused)
	}
	var answer struct {
		DeviceCode string   `json:"device_code"`
		UserCode   string   `json:"user_code"`
		URI        string   `json:"verification_uri"`
		URL        string   `json:"verification_url"` // as servers before the RFC spell it
		Life       lifetime `json:"expires_in"`
		Interval   lifetime `json:"interval"`
	}
	if json.Unmarshal(got.body, &answer) != nil || answer.DeviceCode == "" || answer.UserCode == "" {
		return DeviceFlow{}, l.failed(ctx, client, got.noTokens())
	}
	page := answer.URI
	if page == "" {
		page = answer.URL
	}
	if checkURL(page) != nil { // it is shown to a person as the place to type a password
		return DeviceFlow{}, l.failed(ctx, client, &refusal{status: http.StatusOK, cause: errUnusable})
	}
	now := time.Now()
	d := &device{
		client: client, code: seal.Secret(answer.DeviceCode), interval: devicePoll,
		expires: now.Add(min(max(time.Duration(answer.Life)*time.Second, time.Minute), maxDeviceLife)),
	}
	if answer.Interval > 0 {
		d.interval = min(time.Duration(answer.Interval)*time.Second, time.Minute)
	}
	d.next = now.Add(d.interval)
	id := rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweepDevices(now)
	l.devices[id] = d
	return DeviceFlow{
		ID: seal.Secret(id), Client: client, UserCode: printable(answer.UserCode), VerificationURL: page, Expires: d.expires, Interval: d.interval,
	}, nil
}

// sweepDevices forgets flows that are over, and any of too many.
func (l *Logins) sweepDevices(now time.Time) {
	for id, d := range l.devices {
		if now.After(d.expires.Add(flowLife)) || len(l.devices) >= maxFlows {
			delete(l.devices, id)
		}
	}
}

// PollDevice asks once whether the person has finished, if it is time to ask,
// and saves the grant when that is so. A server that does not answer, or that
// asks to slow down, is no error: the progress says when to ask again. An error
// ends the flow: the code works once.
func (l *Logins) PollDevice(ctx context.Context, id string) (DeviceProgress, error) {
	now := time.Now()
	l.mu.Lock()
	d := l.devices[id]
	switch {
	case d == nil:
		l.mu.Unlock()
		return DeviceProgress{}, deviceError(CodeDeviceUnknown, "", "this sign-in by code is not known, or is over already")
	case d.polling || now.Before(d.next):
		wait := max(d.next.Sub(now), time.Second)
		l.mu.Unlock()
		return DeviceProgress{Wait: wait}, nil
	case now.After(d.expires):
		delete(l.devices, id)
		l.mu.Unlock()
		return DeviceProgress{}, deviceError(CodeDeviceExpired, d.client, "nobody entered the code in time")
	}
	d.polling = true
	l.mu.Unlock()

	// The code works once: whoever leaves now has signed in all the same.
	ctx = context.WithoutCancel(ctx)
	got, err := l.endpoints[d.client].token(ctx, url.Values{"grant_type": {deviceGrant}, "device_code": {d.code.Reveal()}})
	if err == nil {
		l.endDevice(id)
		grant, err := l.adopt(ctx, l.clients[d.client], GrantDevice, got)
		if err != nil {
			return DeviceProgress{}, err
		}
		return DeviceProgress{Grant: &grant}, nil
	}
	return l.notYet(ctx, id, d, asRefusal(err))
}

// notYet deals with a poll that gave no token.
func (l *Logins) notYet(ctx context.Context, id string, d *device, r *refusal) (DeviceProgress, error) {
	waits := r.waits() && r.status != 0
	if waits || r.verdict() == transient || r.verdict() == throttled {
		l.mu.Lock()
		defer l.mu.Unlock()
		d.polling = false
		pause, progress := d.interval, DeviceProgress{}
		switch {
		case r.code == codeSlowDown:
			d.interval = min(d.interval+slowDown, time.Minute)
			pause, d.failures = d.interval, 0
		case waits:
			d.failures = 0
		default:
			// A pause that grows, as RFC 8628, 3.5 asks for after a timeout.
			d.failures++
			pause = max(min(d.interval<<min(d.failures, 5), maxDevicePoll), r.after)
			progress.Problem = r.Error()
			l.log.WarnContext(ctx, "sign-in by code not answered, asked again", "client", d.client, "error", r, "retry_in", pause.String())
		}
		d.next = time.Now().Add(pause)
		progress.Wait = pause
		return progress, nil
	}
	l.endDevice(id)
	switch r.code {
	case "expired_token", "code_expired":
		return DeviceProgress{}, deviceError(CodeDeviceExpired, d.client, "nobody entered the code in time")
	case "authorization_declined", "access_denied":
		return DeviceProgress{}, deviceError(CodeDeviceDeclined, d.client, "the person declined")
	case "bad_verification_code", "invalid_grant":
		l.log.WarnContext(ctx, "sign-in failed", "client", d.client, "error", r)
		return DeviceProgress{}, deviceError(CodeDeviceUnknown, d.client, "the sign-in server does not know the code, or it was used already ("+r.Error()+")")
	}
	return DeviceProgress{}, l.failed(ctx, d.client, r)
}

func (l *Logins) endDevice(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.devices, id)
}

// deviceError ends a flow.
func deviceError(code, client, text string) error {
	if client == "" {
		client = "CLIENT"
	}
	hint := "Begin again: outlook-connector auth login " + client + " --device"
	if code == CodeDeviceDeclined {
		hint = "If that was a mistake: outlook-connector auth login " + client + " --device. Where the page asked for an administrator's approval, an administrator must consent first."
	}
	return fault.New(fault.Reauth, "%s", text).WithCode(code).WithHint("%s", hint)
}
