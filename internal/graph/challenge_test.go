package graph_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
)

// challenged is a token source that keeps the claims it is told of.
type challenged struct {
	tokens
	mu     sync.Mutex
	claims []string
}

func (s *challenged) Reject(ctx context.Context, token graph.Token) {
	s.mu.Lock()
	s.claims = append(s.claims, token.Claims)
	s.mu.Unlock()
	s.tokens.Reject(ctx, token)
}

const (
	wanted        = `{"access_token":{"nbf":{"essential":true, "value":"1604106651"}}}`
	challengeHead = `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="%s"`
)

func TestAClaimsChallengeGoesToTheTokensAndTheRequestIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		var seen []string
		source := &challenged{}
		w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header.Get("Authorization"))
			if len(seen) == 1 {
				rw.Header().Set("WWW-Authenticate", fmt.Sprintf(challengeHead, base64.StdEncoding.EncodeToString([]byte(wanted))))
				writeError(rw, status, "InvalidAuthenticationToken")
				return
			}
			rw.WriteHeader(http.StatusAccepted)
		}, func(o *graph.Options) { o.Tokens = source })
		if _, err := w.Do(t.Context(), graph.Request{Operation: operation(t, "mail.message.sendMail"), Mailbox: "me", Body: []byte(`{}`)}); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if len(seen) != 2 || seen[0] == seen[1] || len(source.claims) != 1 || source.claims[0] != wanted {
			t.Errorf("%d: %d requests, claims %q", status, len(seen), source.claims)
		}
	}
}

func TestAForbiddenRequestWithoutAChallengeIsNotRepeated(t *testing.T) {
	t.Parallel()
	encode := base64.StdEncoding.EncodeToString
	for name, header := range map[string]string{
		"none":            "",
		"no claims":       `Bearer error="insufficient_claims"`,
		"not base64":      fmt.Sprintf(challengeHead, "%%%%"),
		"no JSON":         fmt.Sprintf(challengeHead, encode([]byte("hello, world"))),
		"a list":          fmt.Sprintf(challengeHead, encode([]byte(`["access_token"]`))),
		"nothing in it":   fmt.Sprintf(challengeHead, encode([]byte(`{}`))),
		"too much":        fmt.Sprintf(challengeHead, encode([]byte(`{"a":"`+strings.Repeat("x", 3000)+`"}`))),
		"another name":    fmt.Sprintf(`Bearer xclaims="%s"`, encode([]byte(wanted))),
		"the token in it": fmt.Sprintf(challengeHead, encode([]byte(`{"access_token":"`+canary+`-0"}`))),
	} {
		n := 0
		source := &challenged{}
		w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
			n++
			rw.Header().Set("WWW-Authenticate", header)
			writeError(rw, http.StatusForbidden, "ErrorAccessDenied")
		}, func(o *graph.Options) { o.Tokens = source })
		_, err := w.Do(t.Context(), graph.Request{Operation: operation(t, "mail.message.sendMail"), Mailbox: "me", Body: []byte(`{}`)})
		if n != 1 || len(source.claims) != 0 || fault.KindOf(err) != fault.Poison {
			t.Errorf("%s: %d requests, claims %q, %v", name, n, source.claims, err)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAChallengeThatIsNotMetEndsAfterOneRepetition(t *testing.T) {
	t.Parallel()
	n := 0
	w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
		n++
		rw.Header().Set("WWW-Authenticate", fmt.Sprintf(challengeHead, base64.RawURLEncoding.EncodeToString([]byte(wanted))))
		writeError(rw, http.StatusUnauthorized, "InvalidAuthenticationToken")
	}, nil)
	_, err := w.Do(t.Context(), graph.Request{Operation: operation(t, "mail.message.sendMail"), Mailbox: "me", Body: []byte(`{}`)})
	if n != 2 || fault.KindOf(err) != fault.Reauth {
		t.Errorf("%d requests, %v", n, err)
	}
}
