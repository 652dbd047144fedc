//go:build unix && oidc

package proof_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// TestOIDCOneRequestForEachExpiry lets 64 callers loose at the moment at which
// a token has expired, and 64 more who ask all the time.
func TestOIDCOneRequestForEachExpiry(t *testing.T) {
	const callers, expiries, life = 64, 6, 2
	p := startProvider(t, oidcSetting{
		Clients: []registered{publicClient("person-id", noPage), appWithSecret("app-id")},
		Lives:   map[string]int{"person-id": life, "app-id": life},
	})
	k := newKeeping(t, p, p.person("person"), p.app("app", appSecret))
	k.signedIn("person")
	k.token("app")
	for client, kind := range map[string]string{"person": kindRefresh, "app": kindCredentials} {
		for range expiries {
			old := k.expired(client)
			before := len(p.counts().of(client+"-id", kind))
			all := askTogether(t, k.keeper, client, callers)
			if asked := len(p.counts().of(client+"-id", kind)) - before; asked != 1 {
				t.Errorf("%s: %d callers at once made %d token requests", client, callers, asked)
			}
			for _, token := range all {
				if token.Access != all[0].Access || token.Generation != old.Generation+1 {
					t.Errorf("%s: the callers got different tokens, or an old one", client)
				}
			}
		}
		loud(t, "%s: %d callers at the moment of expiry, %d times: 1 token request each time, all with the same new token", client, callers, expiries)
	}
	const hammering = 10 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), hammering)
	defer cancel()
	from, before := k.token("person"), len(p.counts().of("person-id", kindRefresh))
	var all sync.WaitGroup
	var calls [callers]int
	for i := range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := k.keeper.Token(ctx, "person", 0); err != nil && ctx.Err() == nil {
					t.Errorf("token: %v", err)
					return
				}
				calls[i]++
				pause(ctx, 200*time.Microsecond)
			}
		})
	}
	all.Wait()
	requests := p.counts().of("person-id", kindRefresh)[before:]
	generations := int(k.token("person").Generation - from.Generation)
	total := 0
	for _, n := range calls {
		total += n
	}
	if len(requests) != generations || apart(requests) < life*time.Second/4 || len(requests) < int(hammering.Seconds())/(life+1) {
		t.Errorf("%d token requests for %d tokens, closest %s", len(requests), generations, apart(requests))
	}
	loud(t, "%d callers without a pause for %s: %d calls, %d token requests for %d new tokens, closest two %s apart",
		callers, hammering, total, len(requests), generations, apart(requests))
}

// askTogether has callers wait for each other and then ask.
func askTogether(t *testing.T, source tokenstore.Source, client string, callers int) []tokenstore.Token {
	t.Helper()
	tokens, begin := make([]tokenstore.Token, callers), make(chan struct{})
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			<-begin
			token, err := source.Token(t.Context(), client, 0)
			if err != nil {
				t.Errorf("token: %v", err)
			}
			tokens[i] = token
		})
	}
	close(begin)
	all.Wait()
	return tokens
}

// TestOIDCRotation refreshes many times where each refresh token works once, and
// loses answers between the provider and the disk.
func TestOIDCRotation(t *testing.T) {
	const refreshes, crashes = 100, 10
	p := startProvider(t, oidcSetting{Clients: []registered{publicClient("person-id", noPage)}})
	k := newKeeping(t, p, p.person("person"))
	k.signedIn("person")
	for i := range refreshes {
		if err := k.keeper.Renew(t.Context(), "person"); err != nil {
			t.Fatalf("refresh %d: %v", i+1, err)
		}
		if i%10 == 9 { // what is on disk must be what the provider takes next
			k.keeper.Close()
			k.open()
		}
	}
	if bad := failed(p.counts().of("person-id", kindRefresh)); len(bad) > 0 {
		t.Fatalf("refused: %+v", bad)
	}
	loud(t, "strict rotation: %d refreshes with %d restarts in between, 0 refused", refreshes, refreshes/10)
	for i := range crashes {
		before := len(p.counts().of("person-id", kindRefresh))
		k.vault.mu.Lock()
		k.vault.gone = true
		k.vault.mu.Unlock()
		if err := k.keeper.Renew(t.Context(), "person"); err == nil {
			t.Fatal("a token that is not on disk was given out")
		}
		k.keeper.Close()
		k.open() // the memory of the killed process is gone, and with it the new refresh token
		err := k.keeper.Renew(t.Context(), "person")
		if err == nil {
			t.Fatalf("crash %d: a used refresh token was taken", i)
		}
		failure := fault.Of(err)
		if failure.Code != "invalid_grant" || failure.Kind != fault.Retry || failure.After < 50*time.Second {
			t.Errorf("crash %d: the first refusal is %v, kind %v, after %s", i, err, failure.Kind, failure.After)
		}
		for range 20 { // feeds go on asking
			if _, err := k.keeper.Token(t.Context(), "person", time.Hour); err != nil && fault.Of(err).Code != "invalid_grant" {
				t.Errorf("crash %d: %v", i, err)
			}
		}
		requests := p.counts().of("person-id", kindRefresh)[before:]
		if len(requests) != 2 || requests[0].What != "ok" || requests[1].Text != "refresh token already used" {
			t.Errorf("crash %d: the provider saw %+v", i, requests)
		}
		k.signedIn("person")
	}
	loud(t, "%d crashes between answer and save: each ends with \"refresh token already used\" after 1 request, 20 callers cause no further one, the record stays", crashes)
}

// odd is an answer that Entra would not give.
type odd struct {
	name  string
	twist map[string]any
	// want judges what a refresh came to: the grant's new token or its error.
	want func(token tokenstore.Token, err error) error
}

// TestOIDCOddAnswers shows what becomes of answers that the standard allows and
// Entra does not give, and of those that no standard allows.
func TestOIDCOddAnswers(t *testing.T) {
	p := startProvider(t, oidcSetting{
		Clients: []registered{
			publicClient("person-id", noPage), appWithSecret("wrong-secret-id"),
			appWithCertificate("wrong-key-id", newAppKey(t, t.TempDir())), appWithSecret("wrong-way-id"),
		},
		Keeps: []string{"person-id"},
	})
	k := newKeeping(t, p, p.person("person"))

	p.twist("person-id", map[string]any{"omit": []string{"id_token", "scope", "expires_in"}})
	grant := k.signedIn("person")
	if life := grant.Expiry.Sub(grant.Issued); life != 5*time.Minute || len(grant.Scopes) == 0 || grant.Refresh == "" {
		t.Errorf("a sign-in without id_token, scope and expires_in gave %s, %v", life, grant.Scopes)
	}
	loud(t, "sign-in without id_token, scope and expires_in: granted, account %q, scopes as asked %v, life taken as 5m0s", grant.Account.UPN, grant.Scopes)
	p.twist("person-id", nil)

	lives := func(life time.Duration) func(tokenstore.Token, error) error {
		return func(token tokenstore.Token, err error) error {
			if err == nil && token.Expiry.Sub(token.Issued) != life {
				err = fmt.Errorf("the token lives %s", token.Expiry.Sub(token.Issued))
			}
			return err
		}
	}
	fails := func(kind fault.Kind, code, hint string) func(tokenstore.Token, error) error {
		return func(_ tokenstore.Token, err error) error {
			if err == nil {
				return errors.New("it was taken")
			}
			if f := fault.Of(err); f.Kind != kind || f.Code != code || !strings.Contains(f.Hint, hint) {
				return fmt.Errorf("kind %v, code %q, hint %q: %w", f.Kind, f.Code, f.Hint, err)
			}
			return nil
		}
	}
	twist := func(status int, body any, headers map[string]string) map[string]any {
		return map[string]any{"status": status, "body": body, "headers": headers}
	}
	elsewhere := map[string]string{"Location": "/proof/elsewhere"}
	basic := map[string]string{"WWW-Authenticate": `Basic realm="provider"`}
	for _, o := range []odd{
		{"refresh without a new refresh token", map[string]any{"omit": []string{"refresh_token"}}, lives(time.Hour)},
		{"refresh again without one", map[string]any{"omit": []string{"refresh_token", "id_token"}}, lives(time.Hour)},
		{"refresh without expires_in", map[string]any{"omit": []string{"expires_in"}}, lives(5 * time.Minute)},
		{"expires_in as text", map[string]any{"add": map[string]any{"expires_in": "120"}}, lives(2 * time.Minute)},
		{"expires_in 0", map[string]any{"add": map[string]any{"expires_in": 0}}, lives(5 * time.Minute)},
		{"303 to elsewhere", twist(303, "", elsewhere), fails(fault.Retry, "token_endpoint", "token_url")},
		{"302 to elsewhere", twist(302, "", elsewhere), fails(fault.Retry, "token_endpoint", "token_url")},
		{"307 to elsewhere", twist(307, "", elsewhere), fails(fault.Retry, "token_endpoint", "token_url")},
		{"308 to elsewhere", twist(308, "", elsewhere), fails(fault.Retry, "token_endpoint", "token_url")},
		{"a page instead of JSON", twist(200, "<html>sign in to the hotel</html>", nil), fails(fault.Retry, "token_endpoint", "token_url")},
		{"an error with 200", twist(200, map[string]string{"error": "temporarily_unavailable"}, nil), fails(fault.Retry, "temporarily_unavailable", "")},
		{"401 invalid_client", twist(401, map[string]string{"error": "invalid_client"}, basic), fails(fault.Reauth, "invalid_client", "client person")},
		{"401 without a body", twist(401, "", basic), fails(fault.Retry, "token_endpoint", "token_url")},
		{"503", twist(503, "busy", map[string]string{"Retry-After": "7"}), fails(fault.Retry, "token_endpoint", "")},
		{"429", twist(429, map[string]string{"error": "slow_down"}, map[string]string{"Retry-After": "7"}), fails(fault.Retry, "slow_down", "wait")},
	} {
		o.twist["times"] = 1
		p.twist("person-id", o.twist)
		token, err := tokenstore.Token{}, k.keeper.Renew(t.Context(), "person")
		if err == nil {
			token = k.token("person")
		}
		p.twist("person-id", nil)
		if wrong := o.want(token, err); wrong != nil {
			t.Errorf("%s: %v", o.name, wrong)
		}
		outcome := "taken"
		if err != nil {
			outcome = fmt.Sprintf("%v; %s", err, fault.HintOf(err))
		}
		loud(t, "%-36s %s", o.name+":", outcome)
		if err := k.keeper.Renew(t.Context(), "person"); err != nil {
			t.Errorf("%s: the next refresh fails: %v", o.name, err)
		}
	}
	if n := p.counts().Elsewhere; n > 0 {
		t.Errorf("%d requests went where a redirect pointed", n)
	}
	loud(t, "requests that followed a redirect of the token endpoint: 0")
	for client, hint := range map[string]string{"wrong-secret": "client_secret", "wrong-key": "certificate", "wrong-way": "certificate"} {
		app := p.app(client, "not the secret that was registered")
		if client != "wrong-secret" { // a key that was not registered, or where a secret was
			key := newAppKey(t, t.TempDir())
			app.ClientSecret, app.Certificate = "", &tokenstore.Certificate{CertFile: key.certFile, KeyFile: key.keyFile}
		}
		err := newKeeping(t, p, app).keeper.Renew(t.Context(), client)
		if wrong := fails(fault.Reauth, "invalid_client", hint)(tokenstore.Token{}, err); wrong != nil {
			t.Errorf("%s: %v", client, wrong)
		}
		if log := p.counts().of(app.ClientID, kindCredentials); len(log) != 1 || log[0].Status != http.StatusUnauthorized {
			t.Errorf("%s: the provider saw %+v", client, log)
		}
		loud(t, "%-36s %v; %s", client+":", err, fault.HintOf(err))
	}
}

// TestOIDCDevice signs in by device code, once approved and once declined, and
// refreshes the grant.
func TestOIDCDevice(t *testing.T) {
	p := startProvider(t, oidcSetting{Clients: []registered{deviceClient("yes-id"), deviceClient("no-id")}})
	clients := []tokenstore.Client{p.person("yes"), p.person("no")}
	for i := range clients {
		clients[i].Grant, clients[i].DeviceURL = tokenstore.GrantDevice, p.Issuer+"/device/auth"
	}
	k := newKeeping(t, p, clients...)
	flows := make(map[string]tokenstore.DeviceFlow)
	for _, client := range []string{"yes", "no"} {
		flow, err := k.logins.BeginDevice(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		flows[client] = flow
	}
	// One is asked about before anybody entered the code.
	progress := k.poll(flows["yes"])
	if progress.Grant != nil || progress.Problem != "" || progress.Wait <= 0 {
		t.Errorf("the code was not entered, and the poll says %+v", progress)
	}
	ann := newVisitor(t, "ann")
	ann.walk(flows["yes"].VerificationURL, map[string]string{"login": "ann", "password": "any", "user_code": flows["yes"].UserCode})
	ben := newVisitor(t, "ben")
	ben.submit(ben.visit(http.MethodGet, flows["no"].VerificationURL, nil), map[string]string{"user_code": flows["no"].UserCode}, "abort")
	if progress = k.poll(flows["yes"]); progress.Grant == nil {
		t.Fatalf("approved, and the poll says %+v", progress)
	}
	for range 10 {
		if err := k.keeper.Renew(t.Context(), "yes"); err != nil {
			t.Fatalf("refresh: %v", err)
		}
	}
	_, err := k.logins.PollDevice(t.Context(), flows["no"].ID.Reveal())
	if err == nil || fault.Of(err).Code != tokenstore.CodeDeviceDeclined {
		t.Errorf("declined, and the poll says %v", err)
	}
	loud(t, "device code: pending, approved, refreshed 10 times under strict rotation; declined: %v", err)
}

// TestOIDCDeclined has the person turn back at the sign-in page.
func TestOIDCDeclined(t *testing.T) {
	p := startProvider(t, oidcSetting{Clients: []registered{publicClient("person-id", noPage)}})
	k := newKeeping(t, p, p.person("person"))
	flow, err := k.logins.Begin("person")
	if err != nil {
		t.Fatal(err)
	}
	v := newVisitor(t, "ann")
	v.stopAt = noPage
	at := v.visit(http.MethodGet, flow.AuthURL, nil)
	end := v.visit(http.MethodGet, at.url.String()+"/abort", nil)
	_, err = k.logins.Callback(t.Context(), end.url.Query(), flow.State.Reveal())
	if f := fault.Of(err); f == nil || f.Code != "access_denied" || f.Kind != fault.Reauth {
		t.Errorf("declined at %s: %v", end.url.Path, err)
	}
	loud(t, "declined at the sign-in page: %v; %s", err, fault.HintOf(err))
}
