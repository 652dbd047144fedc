package tokenstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

func wantFault(t *testing.T, err error, kind fault.Kind, code string) *fault.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want kind %v, code %q", kind, code)
	}
	got := fault.Of(err)
	if got.Kind != kind || got.Code != code {
		t.Fatalf("got %v (%v, %q), want kind %v, code %q", err, fault.KindOf(err), got.Code, kind, code)
	}
	if got.Hint == "" {
		t.Errorf("the error %v has no hint", err)
	}
	return got
}

func TestALivingTokenIsServedWithoutARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.token(t)
		for range 100 {
			if got := w.token(t); got != first {
				t.Fatalf("got %+v, want %+v", got, first)
			}
		}
		after(29 * time.Minute) // less than half of its life
		w.token(t)
		synctest.Wait()
		if got := w.idp.requests(); got != 1 {
			t.Errorf("%d token requests, want the one of the sign-in", got)
		}
	})
}

func TestSixtyFourCallersShareOneRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.holdWith(func(context.Context) error { after(time.Second); return nil })
		after(61 * time.Minute)
		var callers sync.WaitGroup
		for range 64 {
			callers.Go(func() {
				token, err := w.keeper.Token(t.Context(), clientName, 0)
				if err != nil || token.Generation != 2 {
					t.Errorf("generation %d, %v", token.Generation, err)
				}
			})
		}
		callers.Wait()
		if got := w.idp.requests(); got != 2 {
			t.Errorf("%d token requests, want 2: sign-in and one refresh", got)
		}
	})
}

func TestTheTokenIsRenewedInTheBackgroundBetweenHalfAndThreeQuartersOfItsLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.holdWith(func(context.Context) error { after(time.Second); return nil })
		start := time.Now()
		for w.idp.requests() == 1 {
			if got := w.token(t); got.Generation != 1 {
				t.Fatal("a caller waited for the new token although the old one lived")
			}
			after(10 * time.Second)
		}
		if share := time.Since(start).Minutes() / 60; share < 0.49 || share > 0.76 {
			t.Errorf("renewed at %.2f of its life", share)
		}
		after(2 * time.Second)
		if got := w.token(t).Generation; got != 2 {
			t.Errorf("generation %d after the renewal, want 2", got)
		}
	})
}

func TestAHungEndpointDoesNotBlockWhileTheOldTokenLives(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.holdWith(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		after(50 * time.Minute)
		start := time.Now()
		if w.token(t).Generation != 1 || time.Since(start) != 0 {
			t.Errorf("a caller was blocked for %s", time.Since(start))
		}
		after(9*time.Minute + 30*time.Second) // close to the end
		start = time.Now()
		if w.token(t).Generation != 1 || time.Since(start) > 3*time.Second {
			t.Errorf("a caller was blocked for %s", time.Since(start))
		}
		after(time.Minute)
		start = time.Now()
		wantFault(t, w.noToken(t), fault.Retry, "token_endpoint")
		if waited := time.Since(start); waited > 16*time.Second {
			t.Errorf("without a token the caller waited %s, want at most the request's time", waited)
		}
		w.idp.holdWith(nil)
		after(2 * time.Minute)
		w.token(t)
	})
}

func TestACallerWhoLeavesDoesNotStopTheRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.holdWith(func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Second):
				return nil
			}
		})
		after(61 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := w.keeper.Token(ctx, clientName, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the caller's own deadline", err)
		}
		if waited := time.Since(start); waited != time.Second {
			t.Errorf("the caller came back after %s, want 1s", waited)
		}
		after(5 * time.Second)
		if got := w.token(t).Generation; got != 2 || w.idp.requests() != 2 {
			t.Errorf("generation %d after %d requests, want the refresh that was under way", got, w.idp.requests())
		}
	})
}

func TestMinLifeIsHonouredWhereItCanBe(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		after(25 * time.Minute) // too early for the renewal
		got, err := w.keeper.Token(t.Context(), clientName, 40*time.Minute)
		if err != nil || got.Generation != 1 {
			t.Fatalf("generation %d, %v: half a life is the most that one can ask for", got.Generation, err)
		}
		after(20 * time.Minute)
		got, err = w.keeper.Token(t.Context(), clientName, 20*time.Minute)
		if err != nil || time.Until(got.Expiry) < 20*time.Minute {
			t.Fatalf("the token lives %s, %v", time.Until(got.Expiry), err)
		}
	})
}

func TestUnusableLivesAreTakenAsFiveMinutes(t *testing.T) {
	for name, life := range map[string]any{"missing": nil, "zero": 0, "negative": -5, "absurd": 200000, "huge": 1 << 40} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.idp.mu.Lock()
				w.idp.life = life
				w.idp.mu.Unlock()
				after(61 * time.Minute)
				if got := time.Until(w.token(t).Expiry); got != 5*time.Minute {
					t.Errorf("the token lives %s, want 5m", got)
				}
			})
		})
	}
	t.Run("a string is a number too", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.idp.mu.Lock()
			w.idp.life = "1800"
			w.idp.mu.Unlock()
			after(61 * time.Minute)
			if got := time.Until(w.token(t).Expiry); got != 30*time.Minute {
				t.Errorf("the token lives %s, want 30m", got)
			}
		})
	})
}

func TestTheOldRefreshTokenIsKeptWhereTheAnswerHasNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		old := w.vault.get(t).Refresh
		w.idp.mu.Lock()
		w.idp.keep = true
		w.idp.mu.Unlock()
		after(61 * time.Minute)
		w.token(t)
		if w.vault.get(t).Refresh != old {
			t.Error("the refresh token was lost")
		}
	})
}

func TestARejectedTokenIsRefreshedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.token(t)
		var callers sync.WaitGroup
		for range 64 { // all of them met the same 401
			callers.Go(func() {
				w.keeper.Reject(t.Context(), clientName, first)
				if got, err := w.keeper.Token(t.Context(), clientName, 0); err != nil || got.Generation != 2 {
					t.Errorf("generation %d, %v", got.Generation, err)
				}
			})
		}
		callers.Wait()
		if w.idp.requests() != 2 {
			t.Errorf("%d token requests, want 2", w.idp.requests())
		}
		w.keeper.Reject(t.Context(), clientName, first) // late news
		if w.token(t).Generation != 2 {
			t.Error("the rejection of an old token dropped the new one")
		}
	})
}

func TestA401ForEveryTokenDoesNotBecomeAStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		refused := 0
		for range 600 { // ten minutes of a request each second, each with a 401
			token, err := w.keeper.Token(t.Context(), clientName, 0)
			if err == nil {
				w.keeper.Reject(t.Context(), clientName, token)
			} else {
				wantFault(t, err, fault.Retry, "token_rejected")
				refused++
			}
			after(time.Second)
		}
		if made := w.idp.requests(); made > 12 || refused < 500 {
			t.Errorf("%d token requests, %d callers were told to wait", made, refused)
		}
	})
}

func TestNobodyHasSignedIn(t *testing.T) {
	t.Parallel()
	w := newEmptyWorld(t)
	failure := wantFault(t, w.noToken(t), fault.Reauth, "no_grant")
	if !strings.Contains(failure.Hint, "outlook-connector auth login "+clientName) {
		t.Errorf("hint %q", failure.Hint)
	}
	if _, err := w.keeper.Token(t.Context(), "nobody", 0); fault.Of(err).Code != "unknown_client" {
		t.Errorf("an unknown client: %v", err)
	}
	if w.keeper.Status()[0].Condition != tokenstore.ConditionNoGrant {
		t.Errorf("status %+v", w.keeper.Status()[0])
	}
}

func TestAGrantWithoutARefreshTokenEndsWithItsToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		grant := w.vault.get(t)
		grant.Refresh = ""
		if err := w.keeper.Adopt(t.Context(), grant); err != nil {
			t.Fatal(err)
		}
		after(55 * time.Minute)
		w.token(t)
		after(6 * time.Minute)
		failure := wantFault(t, w.noToken(t), fault.Reauth, "no_refresh_token")
		if !strings.Contains(failure.Hint, "offline_access") {
			t.Errorf("hint %q", failure.Hint)
		}
	})
}

func TestAGrantIsNotSentToAnotherServer(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*tokenstore.Client){
		"another server": func(c *tokenstore.Client) { c.TokenURL = "https://login.other.example/t/token" },
		"another app":    func(c *tokenstore.Client) { c.ClientID = "app-2" },
	} {
		w := newWorld(t)
		client := testClient()
		change(&client)
		keeper, err := tokenstore.NewKeeper(tokenstore.KeeperOptions{Vault: w.vault, Clients: []tokenstore.Client{client}, Transport: w.idp})
		if err != nil {
			t.Fatal(err)
		}
		_, err = keeper.Token(t.Context(), clientName, 0)
		wantFault(t, err, fault.Reauth, "other_app")
		keeper.Close()
		if w.idp.requests() != 1 {
			t.Errorf("%s: the refresh token was sent", name)
		}
	}
}

func TestLogoutRemovesTheGrant(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		before := w.token(t)
		if err := w.keeper.Logout(t.Context(), clientName); err != nil {
			t.Fatal(err)
		}
		wantFault(t, w.noToken(t), fault.Reauth, "no_grant")
		w.restart(t)
		wantFault(t, w.noToken(t), fault.Reauth, "no_grant")
		w.signIn(t)
		if got := w.token(t); got.Access == before.Access {
			t.Error("the old token came back")
		}
	})
}

func TestASignInDuringARefreshWins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		after(50 * time.Minute)
		w.idp.holdWith(func(context.Context) error { after(5 * time.Second); return nil })
		w.token(t) // begins a renewal that takes five seconds
		synctest.Wait()
		w.idp.holdWith(nil)
		w.signIn(t)
		signedIn := w.token(t)
		after(10 * time.Second)
		if got := w.token(t); got.Access != signedIn.Access || w.vault.get(t).Access != signedIn.Access {
			t.Error("the refresh of the old grant overwrote the new sign-in")
		}
	})
}

func TestCloseWaitsForARefreshAndItIsSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.mu.Lock()
		w.idp.strict = true
		w.idp.mu.Unlock()
		w.idp.holdWith(func(context.Context) error { after(3 * time.Second); return nil })
		after(50 * time.Minute)
		w.token(t)
		synctest.Wait()
		w.keeper.Close()
		if got := w.vault.get(t).Generation; got != 2 {
			t.Errorf("generation %d is stored: what the server gave during Close is lost", got)
		}
		after(time.Hour)
		if _, err := w.keeper.Token(t.Context(), clientName, 0); fault.KindOf(err) != fault.Retry {
			t.Errorf("a closed keeper: %v", err)
		}
	})
}

func TestCloseDoesNotWaitForAHungServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.idp.holdWith(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		after(50 * time.Minute)
		w.token(t)
		synctest.Wait()
		start := time.Now()
		w.keeper.Close()
		if waited := time.Since(start); waited > 6*time.Second {
			t.Errorf("Close took %s", waited)
		}
		if stored := w.vault.get(t); stored.State != tokenstore.StateOK || !stored.RefusedAt.IsZero() {
			t.Errorf("the cancelled refresh left %+v", stored.State)
		}
	})
}

func TestMetricsSayWhatTheKeeperDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		reg := prometheus.NewPedanticRegistry()
		keeper, err := tokenstore.NewKeeper(tokenstore.KeeperOptions{
			Vault: w.vault, Clients: []tokenstore.Client{testClient()}, Transport: w.idp, Metrics: tokenstore.NewMetrics(reg),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer keeper.Close()
		after(61 * time.Minute)
		if _, err := keeper.Token(t.Context(), clientName, 0); err != nil {
			t.Fatal(err)
		}
		w.idp.refuseWith(503, "server_error")
		after(61 * time.Minute)
		if _, err := keeper.Token(t.Context(), clientName, 0); err == nil {
			t.Fatal("a token came from a server that is down")
		}
		want := `
# HELP outlook_token_expiry_seconds Seconds until the access token at hand expires; negative when it has expired.
# TYPE outlook_token_expiry_seconds gauge
outlook_token_expiry_seconds{client="contoso"} -60
# HELP outlook_token_refreshes_total Refreshes of access tokens, by what came of them.
# TYPE outlook_token_refreshes_total counter
outlook_token_refreshes_total{client="contoso",result="ok"} 1
outlook_token_refreshes_total{client="contoso",result="transient"} 1
`
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}
