package tokenstore_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/sandbox"
	"outlook-connector/tokenstore"
)

func secretDaemon() tokenstore.Client {
	c := daemon()
	c.ClientSecret = daemonProof
	return c
}

func TestAnApplicationGetsItsTokensByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, secretDaemon())
		first := e.token(t)
		if status, _ := e.graph(t, first, "/users/"+ann+"/messages"); status != 200 {
			t.Errorf("Graph answers %d", status)
		}
		form, n := e.asked()
		if n != 1 || form.Get("scope") != "https://graph.microsoft.com/.default" || form.Get("grant_type") != "client_credentials" || form.Get("client_secret") != daemonProof {
			t.Errorf("%d requests, the last %v", n, form)
		}
		saved := e.vault.get(t)
		if saved.Access != first.Access || saved.Refresh != "" || saved.Grant != tokenstore.GrantCredentials {
			t.Errorf("saved: %+v", saved)
		}
		// The next one is there before this one ends, and nobody waits for it.
		after(46 * time.Minute)
		e.token(t)
		synctest.Wait()
		second := e.token(t)
		if second.Generation != first.Generation+1 {
			t.Errorf("generation %d after %d", second.Generation, first.Generation)
		}
		// A restart costs no request: the token is in the store.
		e.restart(t)
		if got := e.token(t); got.Access != second.Access {
			t.Error("the token did not survive the restart")
		}
		if _, n := e.asked(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
	})
}

func TestAHundredCallersOfAnApplicationShareOneRequestAndTheTokenIsSavedFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, secretDaemon())
		var saved bool
		e.vault.onPut = func(tokenstore.Grant) { after(time.Second); saved = true }
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() {
				if _, err := e.keeper.Token(t.Context(), clientName, 0); err != nil || !saved {
					t.Errorf("saved %v, %v", saved, err)
				}
			})
		}
		callers.Wait()
		if _, n := e.asked(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestAFullDiskDoesNotCostAnApplicationMoreRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, secretDaemon())
		e.vault.breakWith(errDiskFull)
		wantFault(t, e.noToken(t), fault.Retry, "token_not_saved")
		after(time.Minute)
		wantFault(t, e.noToken(t), fault.Retry, "token_not_saved")
		e.vault.breakWith(nil)
		after(2 * time.Minute)
		e.token(t)
		if _, n := e.asked(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestARejectedTokenOfAnApplicationIsReplacedOnceAndALogoutIsNoEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, secretDaemon())
		first := e.token(t)
		e.keeper.Reject(t.Context(), clientName, first)
		second := e.token(t)
		if second.Access == first.Access || second.Generation <= first.Generation {
			t.Error("the rejected token is still handed out")
		}
		e.keeper.Reject(t.Context(), clientName, second)
		wantFault(t, e.noToken(t), fault.Retry, "token_rejected")
		if err := e.keeper.Logout(t.Context(), clientName); err != nil {
			t.Fatal(err)
		}
		for before := second; before.Generation < second.Generation+3; {
			next := e.token(t)
			if next.Generation <= before.Generation {
				t.Fatalf("generation %d after %d: a worker that rejected it would never take it", next.Generation, before.Generation)
			}
			before = next
			if err := e.keeper.Logout(t.Context(), clientName); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestAnApplicationThatIsRefusedNeverNeedsASignInAndHealsByItself(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		code   string
		number int
	}{{"invalid_client", 7000215}, {"unauthorized_client", 700016}, {"invalid_grant", 53003}, {"interaction_required", 50076}, {"consent_required", 65001}} {
		t.Run(test.code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				e := newEntra(t, secretDaemon())
				rule := e.KeepControl(sandbox.Match{Route: tokenRoute}, sandbox.FailToken(test.code, test.number))
				failure := wantFault(t, e.noToken(t), fault.Reauth, test.code)
				if strings.Contains(failure.Hint, "auth login") {
					t.Errorf("the hint asks for a sign-in: %s", failure.Hint)
				}
				for range 10 {
					after(10 * time.Second)
					wantFault(t, e.noToken(t), fault.Reauth, test.code)
				}
				if _, n := e.asked(); n != 1 {
					t.Errorf("%d requests in two minutes", n)
				}
				rule.Remove()
				after(5 * time.Minute)
				e.token(t)
			})
		})
	}
}

func TestTheTokenOfAnApplicationIsNotThatOfAPersonNorTheOtherWayRound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, secretDaemon())
		first := e.token(t)
		e.client = person()
		e.client.ClientID, e.client.ClientSecret = daemonID, daemonProof
		e.restart(t)
		wantFault(t, e.noToken(t), fault.Reauth, "other_app")
		e.grant(t, "")
		persons := e.token(t)
		e.client = secretDaemon()
		e.restart(t)
		again := e.token(t)
		if again.Access == persons.Access || again.Access == first.Access || again.Generation <= persons.Generation {
			t.Errorf("generation %d after %d", again.Generation, persons.Generation)
		}
		if form, _ := e.asked(); form.Get("grant_type") != "client_credentials" || form.Get("refresh_token") != "" {
			t.Errorf("asked with %v", form)
		}
	})
}

func TestAnAssertionFileIsReadForEveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "token")
		c := daemon()
		c.AssertionFile = path
		e := newEntra(t, c)
		failure := wantFault(t, e.noToken(t), fault.Reauth, "credential_unusable")
		if !strings.Contains(failure.Error(), "does not exist") || !strings.Contains(failure.Hint, "assertion_file") {
			t.Errorf("%v; %s", failure, failure.Hint)
		}
		for i, text := range []string{"CANARY", "a.b", "a.b.c d", "a.b.c\nd", "a.b.c.d", " "} {
			write(t, path, []byte(text))
			after(time.Minute)
			failure := wantFault(t, e.noToken(t), fault.Reauth, "credential_unusable")
			if strings.Contains(failure.Error(), "CANARY") {
				t.Errorf("%d: %v", i, failure)
			}
		}
		if _, n := e.asked(); n != 0 {
			t.Errorf("%d requests with something that is no assertion", n)
		}
		// The sandbox trusts no other issuer; what was sent is what counts.
		for _, text := range []string{"CANARY-one.CANARY-two.CANARY-three", "CANARY-four.CANARY-five.CANARY-six"} {
			write(t, path, []byte(text+"\n"))
			after(6 * time.Minute)
			failure := wantFault(t, e.noToken(t), fault.Reauth, "invalid_request")
			form, _ := e.asked()
			if form.Get("client_assertion") != text || form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
				t.Errorf("asked with %v", form)
			}
			if strings.Contains(failure.Error()+e.out.String(), "CANARY") {
				t.Errorf("the assertion is shown: %v", failure)
			}
		}
	})
}

func TestAFailedReplacementOfACredentialIsSeenInTheStatusWhileTheTokenLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		p := newPair(t, t.TempDir(), testRSA(), now.Add(-time.Hour), now.Add(48*time.Hour))
		c := daemon()
		c.Certificate = &p.Certificate
		e := newEntra(t, c, p.leaf)
		e.token(t)
		e.restart(t) // the pair that was good is forgotten
		remove(t, p.KeyFile)
		e.token(t)
		status := e.keeper.Status()[0]
		if status.Condition != tokenstore.ConditionFailing || status.Code != "credential_unusable" || !status.HasToken {
			t.Errorf("status %+v", status)
		}
	})
}

func TestRenewAsksNowHoweverRecentlyItWasRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, secretDaemon())
		e.Control(sandbox.Match{Route: tokenRoute}, sandbox.FailToken("invalid_client", 7000215))
		wantFault(t, e.keeper.Renew(t.Context(), clientName), fault.Reauth, "invalid_client")
		wantFault(t, e.noToken(t), fault.Reauth, "invalid_client")
		if err := e.keeper.Renew(t.Context(), clientName); err != nil {
			t.Errorf("the second time: %v", err)
		}
		if _, n := e.asked(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		wantFault(t, e.keeper.Renew(t.Context(), "other"), fault.Poison, "unknown_client")
		e.client = person()
		e.restart(t)
		wantFault(t, e.keeper.Renew(t.Context(), clientName), fault.Reauth, "other_app")
	})
}
