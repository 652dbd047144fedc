package tokenstore_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/sandbox"
	"outlook-connector/tokenstore"
)

// beginDevice begins a sign-in by code.
func (e *entra) beginDevice(t *testing.T) tokenstore.DeviceFlow {
	t.Helper()
	flow, err := e.logins.BeginDevice(t.Context(), clientName)
	if err != nil {
		t.Fatal(err)
	}
	return flow
}

// enter is a person with the code: they accept or decline.
func (e *entra) enter(t *testing.T, flow tokenstore.DeviceFlow, decision string) {
	t.Helper()
	e.visit(t, http.MethodPost, flow.VerificationURL, url.Values{"otc": {flow.UserCode}, "account": {ann}, "consent": {decision}})
}

// poll polls once, when it is time to.
func (e *entra) poll(t *testing.T, flow tokenstore.DeviceFlow) (tokenstore.DeviceProgress, error) {
	t.Helper()
	for {
		_, before := e.asked()
		progress, err := e.logins.PollDevice(t.Context(), flow.ID.Reveal())
		if _, n := e.asked(); err != nil || progress.Grant != nil || n > before {
			return progress, err
		}
		after(progress.Wait)
	}
}

func deviceClient() tokenstore.Client {
	c := person()
	c.Grant, c.AuthorizeURL = tokenstore.GrantDevice, ""
	return c
}

func TestASignInByCodeIsAGrantLikeAnyOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, deviceClient())
		flow := e.beginDevice(t)
		form, _ := e.asked()
		if form.Get("scope") != "offline_access Mail.ReadWrite openid profile" || form.Get("client_id") != sandbox.DefaultClientID || form.Has("client_secret") {
			t.Errorf("asked with %v", form)
		}
		if len(flow.UserCode) != 9 || !strings.HasPrefix(flow.VerificationURL, "http://localhost/") || time.Until(flow.Expires) != 15*time.Minute {
			t.Errorf("flow %+v", flow)
		}
		for range 3 {
			if progress, err := e.poll(t, flow); err != nil || progress.Grant != nil || progress.Problem != "" || progress.Wait != 5*time.Second {
				t.Fatalf("%+v, %v", progress, err)
			}
		}
		e.enter(t, flow, "accept")
		progress, err := e.poll(t, flow)
		if err != nil || progress.Grant == nil {
			t.Fatalf("%+v, %v", progress, err)
		}
		if g := e.vault.get(t); g.Account.UPN != ann || g.Refresh == "" || g.Grant != tokenstore.GrantDevice {
			t.Errorf("saved %+v", g)
		}
		if status, _ := e.graph(t, e.token(t), "/me/messages"); status != 200 {
			t.Errorf("Graph answers %d", status)
		}
		after(2 * time.Hour)
		if got := e.token(t); got.Generation != 2 {
			t.Errorf("generation %d after the refresh", got.Generation)
		}
		_, err = e.logins.PollDevice(t.Context(), flow.ID.Reveal())
		wantFault(t, err, fault.Reauth, tokenstore.CodeDeviceUnknown)
	})
}

func TestABadMomentOfTheServerIsNoEndOfASignInByCode(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, deviceClient())
		flow := e.beginDevice(t)
		for _, break1 := range []sandbox.ControlFunc{
			sandbox.FailToken("temporarily_unavailable", 90033), sandbox.FailToken("server_error", 90033),
			sandbox.FailBefore(503, "", ""), sandbox.FailBefore(502, "", ""), sandbox.FailBefore(429, "", ""),
		} {
			e.Control(sandbox.Match{Route: tokenRoute}, break1)
			progress, err := e.poll(t, flow)
			if err != nil || progress.Problem == "" || progress.Wait < 10*time.Second || progress.Wait > time.Minute {
				t.Fatalf("%+v, %v", progress, err)
			}
			if progress, err := e.poll(t, flow); err != nil || progress.Problem != "" || progress.Wait != 5*time.Second {
				t.Fatalf("after it: %+v, %v", progress, err)
			}
		}
		rule := e.KeepControl(sandbox.Match{Route: tokenRoute}, sandbox.FailBefore(503, "", ""))
		_, before := e.asked()
		start := time.Now()
		for time.Since(start) < 5*time.Minute {
			if _, err := e.poll(t, flow); err != nil {
				t.Fatal(err)
			}
		}
		if _, n := e.asked(); n-before > 13 {
			t.Errorf("%d polls in five minutes of a server that is away", n-before)
		}
		rule.Remove()
		e.enter(t, flow, "accept")
		if progress, err := e.poll(t, flow); err != nil || progress.Grant == nil {
			t.Errorf("%+v, %v", progress, err)
		}
	})
}

func TestAServerThatAsksToSlowDownIsAskedLessOften(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, deviceClient())
		flow := e.beginDevice(t)
		for want := 10 * time.Second; want <= 20*time.Second; want += 5 * time.Second {
			e.Control(sandbox.Match{Route: tokenRoute}, sandbox.FailToken("slow_down", 70016))
			if progress, err := e.poll(t, flow); err != nil || progress.Wait != want || progress.Problem != "" {
				t.Fatalf("%+v, %v; want %s", progress, err, want)
			}
		}
		if progress, err := e.poll(t, flow); err != nil || progress.Wait != 20*time.Second {
			t.Errorf("afterwards: %+v, %v", progress, err)
		}
	})
}

func TestAPollThatComesTooEarlyAsksNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, deviceClient())
		flow := e.beginDevice(t)
		_, before := e.asked()
		for range 100 {
			if progress, err := e.logins.PollDevice(t.Context(), flow.ID.Reveal()); err != nil || progress.Wait <= 0 {
				t.Fatalf("%+v, %v", progress, err)
			}
		}
		if _, n := e.asked(); n != before {
			t.Errorf("%d polls", n-before)
		}
	})
}

func TestASignInByCodeEndsWithItsReason(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		do   func(d doing)
		kind fault.Kind
		code string
	}{
		"declined":  {func(d doing) { d.e.enter(d.t, d.flow, "cancel") }, fault.Reauth, tokenstore.CodeDeviceDeclined},
		"expired":   {func(doing) { after(16 * time.Minute) }, fault.Reauth, tokenstore.CodeDeviceExpired},
		"they say":  {control("expired_token", 70020), fault.Reauth, tokenstore.CodeDeviceExpired},
		"unknown":   {control("bad_verification_code", 70018), fault.Reauth, tokenstore.CodeDeviceUnknown},
		"used":      {control("invalid_grant", 54005), fault.Reauth, tokenstore.CodeDeviceUnknown},
		"forbidden": {control("access_denied", 50000), fault.Reauth, tokenstore.CodeDeviceDeclined},
		"the app":   {control("invalid_client", 7000218), fault.Reauth, "invalid_client"},
		"no such":   {control("unauthorized_client", 700016), fault.Reauth, "unauthorized_client"},
		"a policy":  {control("interaction_required", 53003), fault.Reauth, "interaction_required"},
		"a full one": {func(d doing) {
			d.e.vault.breakWith(errDiskFull)
			d.e.enter(d.t, d.flow, "accept")
		}, fault.Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEntra(t, deviceClient())
				flow := e.beginDevice(t)
				test.do(doing{t, e, flow})
				after(10 * time.Second)
				progress, err := e.poll(t, flow)
				if err == nil {
					t.Fatalf("no error: %+v", progress)
				}
				if got := fault.Of(err); test.code != "" && (got.Kind != test.kind || got.Code != test.code || got.Hint == "") {
					t.Errorf("%v (%s, %q), Try: %s", err, got.Kind, got.Code, got.Hint)
				}
				if _, err := e.logins.PollDevice(t.Context(), flow.ID.Reveal()); fault.Of(err).Code != tokenstore.CodeDeviceUnknown {
					t.Errorf("it goes on: %v", err)
				}
				if strings.Contains(err.Error()+e.out.String(), flow.ID.Reveal()) {
					t.Error("the id is shown")
				}
			})
		})
	}
}

// doing is a sign-in under way, to be ended.
type doing struct {
	t    *testing.T
	e    *entra
	flow tokenstore.DeviceFlow
}

func control(code string, number int) func(doing) {
	return func(d doing) {
		d.e.Control(sandbox.Match{Route: tokenRoute}, sandbox.FailToken(code, number))
	}
}

func TestASignInByCodeThatCannotBeginSaysWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, deviceClient())
		begin := func(kind fault.Kind, code string) *fault.Error {
			_, err := e.logins.BeginDevice(t.Context(), clientName)
			return wantFault(t, err, kind, code)
		}
		e.Control(sandbox.Match{Route: "/{tenant}/oauth2/v2.0/devicecode"}, sandbox.FailBefore(503, "", ""))
		begin(fault.Retry, "token_endpoint")
		for name, body := range map[string]string{
			"no code":    `{"user_code":"A","verification_uri":"https://m.example/d","expires_in":900}`,
			"no address": `{"device_code":"CANARY","user_code":"A","expires_in":900}`,
			"a script":   `{"device_code":"CANARY","user_code":"A","verification_uri":"javascript:alert(1)"}`,
			"plain http": `{"device_code":"CANARY","user_code":"A","verification_uri":"http://m.example/"}`,
			"a page":     `<html>CANARY`,
		} {
			e.Control(sandbox.Match{Route: "/{tenant}/oauth2/v2.0/devicecode"}, func(r *sandbox.Request) bool {
				r.Answer(sandbox.Answer{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)})
				return true
			})
			if failure := begin(fault.Retry, "token_endpoint"); strings.Contains(failure.Error()+e.out.String(), "CANARY") {
				t.Errorf("%s: %v", name, failure)
			}
		}
		_, err := e.logins.Begin(clientName)
		wantFault(t, err, fault.Poison, "device_code")
		_, err = e.logins.BeginDevice(t.Context(), "other")
		wantFault(t, err, fault.Poison, "unknown_client")
		_, err = e.logins.PollDevice(t.Context(), "")
		wantFault(t, err, fault.Reauth, tokenstore.CodeDeviceUnknown)
		e.client = person()
		e.client.DeviceURL = ""
		e.restart(t)
		begin(fault.Poison, "no_device_url")
		e.client = secretDaemon()
		e.restart(t)
		begin(fault.Poison, "client_credentials")
		_, err = e.logins.Begin(clientName)
		wantFault(t, err, fault.Poison, "client_credentials")
	})
}

func TestTwoPollsAtOnceAreOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, deviceClient())
		flow := e.beginDevice(t)
		after(6 * time.Second)
		_, before := e.asked()
		e.slow = 3 * time.Second
		done := make(chan error, 20)
		for range cap(done) {
			go func() {
				_, err := e.logins.PollDevice(t.Context(), flow.ID.Reveal())
				done <- err
			}()
		}
		for range cap(done) {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if _, n := e.asked(); n-before != 1 {
			t.Errorf("%d requests", n-before)
		}
	})
}
