package tokenstore_test

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/sandbox"
)

// cp1 makes the sandbox challenge this client: it is what a client says that
// promises to answer challenges. Ours does not say it, and answers.
const cp1 = `&claims=%7B%22access_token%22%3A%7B%22xms_cc%22%3A%7B%22values%22%3A%5B%22cp1%22%5D%7D%7D%7D`

// challengeOf reads the claims of a challenge.
func challengeOf(t *testing.T, header string) string {
	t.Helper()
	found := regexp.MustCompile(`claims="([^"]+)"`).FindStringSubmatch(header)
	if found == nil {
		t.Fatalf("no challenge in %q", header)
	}
	claims, err := base64.StdEncoding.DecodeString(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(claims)
}

func TestAClaimsChallengeIsAnsweredWithOneRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, person())
		e.grant(t, cp1)
		token := e.token(t)
		if err := e.ChallengeClaims(ann); err != nil {
			t.Fatal(err)
		}
		status, header := e.graph(t, token, "/me/messages")
		if status != 401 {
			t.Fatalf("Graph answers %d", status)
		}
		token.Claims = challengeOf(t, header)
		_, before := e.asked()
		e.keeper.Reject(t.Context(), clientName, token)
		fresh := e.token(t)
		form, n := e.asked()
		if n-before != 1 || form.Get("claims") != token.Claims || form.Get("grant_type") != "refresh_token" {
			t.Errorf("%d requests, the last %v", n-before, form)
		}
		if status, _ := e.graph(t, fresh, "/me/messages"); status != 200 {
			t.Errorf("Graph answers %d to the new token", status)
		}
		after(time.Hour)
		e.token(t)
		if form, _ := e.asked(); form.Has("claims") {
			t.Errorf("the claims are asked for for ever: %v", form)
		}
	})
}

func TestAChallengeThatOnlyAPersonCanAnswerGoesIntoTheNextSignIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, person())
		e.grant(t, "")
		e.Control(sandbox.Match{Route: tokenRoute}, sandbox.FailToken("interaction_required", 50076))
		e.keeper.Reject(t.Context(), clientName, e.token(t))
		wantFault(t, e.noToken(t), fault.Reauth, "interaction_required")
		claims := func() string {
			flow, err := e.logins.Begin(clientName)
			if err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(flow.AuthURL)
			if err != nil {
				t.Fatal(err)
			}
			return u.Query().Get("claims")
		}
		want := claims()
		if !strings.Contains(want, "capolids") {
			t.Fatalf("the sign-in asks for %q", want)
		}
		e.restart(t) // it must not be lost
		if got := claims(); got != want {
			t.Errorf("after a restart it asks for %q", got)
		}
		if _, err := e.logins.BeginDevice(t.Context(), clientName); err != nil {
			t.Fatal(err)
		}
		if form, _ := e.asked(); form.Get("claims") != want {
			t.Errorf("the sign-in by code asks for %v", form)
		}
		e.grant(t, "")
		if got := claims(); got != "" {
			t.Errorf("after the sign-in it still asks for %q", got)
		}
		e.token(t)
	})
}

func TestClaimsThatAreNoneAreLeftOut(t *testing.T) {
	t.Parallel()
	for _, claims := range []string{"x", `"x"`, "[]", "{}", "{", "null", "{\"a\":\"\x00\"}", `{"a":"` + strings.Repeat("x", 3000) + `"}`} {
		synctest.Test(t, func(t *testing.T) {
			e := newEntra(t, person())
			e.grant(t, "")
			token := e.token(t)
			token.Claims = claims
			e.keeper.Reject(t.Context(), clientName, token)
			e.token(t)
			if form, n := e.asked(); n != 2 || form.Has("claims") {
				t.Errorf("%q: %d requests, the last %v", claims, n, form)
			}
		})
	}
}

func TestAChallengeReachesTheOwnerOfTheTokens(t *testing.T) {
	t.Parallel()
	w, _, remote := newRemote(t)
	token := borrow(t, remote)
	token.Claims = `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`
	remote.Reject(t.Context(), clientName, token)
	if fresh := borrow(t, remote); fresh.Generation == token.Generation {
		t.Error("the rejected token is still handed out")
	}
	w.idp.mu.Lock()
	defer w.idp.mu.Unlock()
	if last := w.idp.forms[len(w.idp.forms)-1]; last.Get("claims") != token.Claims {
		t.Errorf("the owner asked with %v", last)
	}
}

func TestAnApplicationAnswersAChallengeToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := newEntra(t, secretDaemon())
		token := e.token(t)
		token.Claims = `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`
		e.keeper.Reject(t.Context(), clientName, token)
		e.token(t)
		if form, _ := e.asked(); form.Get("claims") != token.Claims {
			t.Errorf("asked with %v", form)
		}
	})
}
