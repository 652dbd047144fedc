package tokenstore_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

func TestTransientFailuresAreNotHammeredAndCostNoGrant(t *testing.T) {
	for name, broken := range map[string]*reply{
		"network":      {err: errors.New("connection reset")},
		"503":          {status: 503, body: "busy"},
		"500 and json": {status: 500, body: `{"error":"invalid_grant"}`},
		"temporarily":  {status: 400, body: `{"error":"temporarily_unavailable"}`},
		"html":         {status: 200, body: "<html>proxy</html>"},
		"no token":     {status: 200, body: `{}`},
		"redirect":     {status: 307, header: http.Header{"Location": {"https://evil.example/"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.idp.breakWith(func(*reply) *reply { return broken })
				after(61 * time.Minute)
				before := w.idp.requests()
				for range 600 {
					failure := fault.Of(w.noToken(t))
					if failure.Kind != fault.Retry || failure.Hint == "" {
						t.Fatalf("got %v: %v, hint %q", failure.Kind, failure, failure.Hint)
					}
					after(time.Second)
				}
				if made := w.idp.requests() - before; made < 8 || made > 40 {
					t.Errorf("%d requests in ten minutes of failure", made)
				}
				w.idp.breakWith(nil)
				after(2 * time.Minute)
				if w.token(t).Generation != 2 || w.vault.get(t).State != tokenstore.StateOK {
					t.Error("the grant did not survive")
				}
			})
		})
	}
}

func TestRetryAfterOfTheSignInServerIsRespected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.breakWith(func(*reply) *reply {
			return &reply{status: 429, header: http.Header{"Retry-After": {"90"}}, body: `{"error":"slow_down"}`}
		})
		after(61 * time.Minute)
		if failure := wantFault(t, w.noToken(t), fault.Retry, "slow_down"); failure.After != 90*time.Second {
			t.Errorf("After = %s, want 90s", failure.After)
		}
		before := w.idp.requests()
		after(89 * time.Second)
		if failure := wantFault(t, w.noToken(t), fault.Retry, "slow_down"); failure.After != time.Second {
			t.Errorf("After = %s, want the second that is left", failure.After)
		}
		if w.idp.requests() != before {
			t.Error("asked again before the time was over")
		}
	})
}

func TestOneRefusalIsNoEndTwoAreOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.refuseWith(400, "invalid_grant", `,"error_codes":[700082]`)
		after(61 * time.Minute)
		failure := wantFault(t, w.noToken(t), fault.Retry, "invalid_grant")
		if failure.After != time.Minute || w.vault.get(t).State != tokenstore.StateOK || w.vault.get(t).RefusedAt.IsZero() {
			t.Fatalf("after one refusal: wait %s, stored %+v", failure.After, w.vault.get(t))
		}
		before := w.idp.requests()
		after(59 * time.Second)
		wantFault(t, w.noToken(t), fault.Retry, "invalid_grant")
		w.restart(t) // the first refusal is remembered, and the wait after it
		wantFault(t, w.noToken(t), fault.Retry, "invalid_grant")
		if w.idp.requests() != before {
			t.Fatal("asked again within a minute")
		}
		after(2 * time.Second)
		failure = wantFault(t, w.noToken(t), fault.Reauth, "invalid_grant")
		if !strings.Contains(failure.Hint, "outlook-connector auth login "+clientName) {
			t.Errorf("hint %q", failure.Hint)
		}
		stored := w.vault.get(t)
		if stored.State != tokenstore.StateNeedsReauth || stored.Reason != "invalid_grant" || stored.Refresh == "" {
			t.Errorf("stored: state %s, reason %s; the record must stay", stored.State, stored.Reason)
		}
		before = w.idp.requests()
		for range 100 {
			after(time.Minute)
			wantFault(t, w.noToken(t), fault.Reauth, "invalid_grant")
		}
		w.restart(t)
		wantFault(t, w.noToken(t), fault.Reauth, "invalid_grant")
		if w.idp.requests() != before {
			t.Error("a dead grant was tried again")
		}
		w.idp.breakWith(nil)
		w.signIn(t)
		if w.token(t); w.vault.get(t).State != tokenstore.StateOK {
			t.Error("a new sign-in did not heal the grant")
		}
	})
}

func TestARefusalFollowedBySuccessIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.refuseWith(400, "invalid_grant")
		after(61 * time.Minute)
		w.noToken(t)
		w.idp.breakWith(nil)
		after(61 * time.Second)
		w.token(t)
		if !w.vault.get(t).RefusedAt.IsZero() {
			t.Error("the refusal is still counted")
		}
	})
}

func TestAnEndedGrantIsUsedWhileItsTokenLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.refuseWith(400, "interaction_required")
		after(50 * time.Minute)
		w.token(t)
		synctest.Wait()
		if w.vault.get(t).State != tokenstore.StateNeedsReauth {
			t.Fatal("a server that asks for a person in so many words needs no second try")
		}
		status := w.keeper.Status()[0]
		if status.Condition != tokenstore.ConditionNeedsReauth || !status.HasToken || status.Hint == "" {
			t.Errorf("status %+v", status)
		}
		w.token(t)
		after(11 * time.Minute)
		wantFault(t, w.noToken(t), fault.Reauth, "interaction_required")
	})
}

func TestTheRetryLoopNumberOnlyMakesUsWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.refuseWith(400, "invalid_grant", `,"error_codes":[50196]`)
		after(61 * time.Minute)
		for range 5 {
			failure := wantFault(t, w.noToken(t), fault.Retry, "invalid_grant")
			after(failure.After + time.Second)
		}
		if stored := w.vault.get(t); stored.State != tokenstore.StateOK || !stored.RefusedAt.IsZero() {
			t.Errorf("stored %s, refused at %s: a throttle is no refusal", stored.State, stored.RefusedAt)
		}
	})
}

func TestARefusedApplicationIsTheAdministratorsMatter(t *testing.T) {
	for _, code := range []string{"invalid_client", "unauthorized_client", "invalid_scope", "invalid_request", "something_new"} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.idp.refuseWith(401, code)
				after(61 * time.Minute)
				failure := wantFault(t, w.noToken(t), fault.Reauth, code)
				if strings.Contains(failure.Hint, "auth login") || !strings.Contains(failure.Hint, clientName) {
					t.Errorf("hint %q: signing in again would not help", failure.Hint)
				}
				if w.vault.get(t).State != tokenstore.StateOK {
					t.Error("the grant was given up although only the application was refused")
				}
				before := w.idp.requests()
				after(time.Minute)
				w.noToken(t)
				if w.idp.requests() != before {
					t.Error("asked again after a minute")
				}
				w.idp.breakWith(nil)
				after(5 * time.Minute)
				w.token(t)
			})
		})
	}
}

func TestAFailingRefreshIsOneRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.refuseWith(401, "invalid_client")
		after(61 * time.Minute)
		before := w.idp.requests()
		w.noToken(t)
		if made := w.idp.requests() - before; made != 1 {
			t.Errorf("%d requests, want 1: x/oauth2 must not guess the AuthStyle", made)
		}
	})
}
