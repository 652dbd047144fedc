package tokenstore

import (
	"encoding/base64"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"
)

// Sign-in servers other than Entra: what they may say differently.

func TestTheAccountOfAGenericServerHasSomeName(t *testing.T) {
	t.Parallel()
	for claims, want := range map[string]string{
		`{"sub":"u-7"}`:                         "u-7",
		`{"sub":"u-7","email":"ann@x.example"}`: "ann@x.example",
		`{"sub":"u-7","email":"a@x","preferred_username":"ann@contoso"}`: "ann@contoso",
	} {
		got := readAccount("e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x")
		if got.UPN != want || got.ObjectID != "" {
			t.Errorf("%s is the account %+v, want %s and no object id", claims, got, want)
		}
	}
}

func TestATokenOfAnotherTypeIsNotUsed(t *testing.T) {
	t.Parallel()
	for kind, good := range map[string]bool{`"Bearer"`: true, `"bearer"`: true, `null`: true, `"DPoP"`: false, `"mac"`: false, `""`: false} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"t","expires_in":60,"token_type":` + kind + `}`))
		}))
		client := &Client{Name: "c", ClientID: "app", TokenURL: server.URL}
		_, err := newEndpoint(client, nil, slog.New(slog.DiscardHandler), noop.NewTracerProvider().Tracer("")).token(t.Context(), url.Values{"grant_type": {"x"}})
		if (err == nil) != good || err != nil && !strings.Contains(err.Error(), "unsupported_token_type") {
			t.Errorf("token_type %s: %v", kind, err)
		}
		server.Close()
	}
}

func TestTheHintForANakedServerErrorIsToWait(t *testing.T) {
	t.Parallel()
	if hint := (&refusal{status: 503}).fault("c").Hint; strings.Contains(hint, "proxy") {
		t.Errorf("hint for 503: %s", hint)
	}
	if hint := (&refusal{status: 404}).fault("c").Hint; !strings.Contains(hint, "token_url") {
		t.Errorf("hint for 404: %s", hint)
	}
}

func TestTheHintForNoRefreshTokenKnowsWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	c := &Client{Name: "c"}
	if hint := c.noRefreshHint(); !strings.Contains(hint, "Add offline_access") {
		t.Errorf("hint %q", hint)
	}
	c.Scopes = []string{"offline_access"}
	if hint := c.noRefreshHint(); !strings.Contains(hint, "prompt=consent") {
		t.Errorf("hint %q", hint)
	}
}
