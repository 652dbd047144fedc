package tokenstore_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// expired returns a keeper of one client at a real server whose token is over,
// so that asking for one makes a token request.
func expired(t *testing.T, tokenURL string, transport http.RoundTripper) *tokenstore.Keeper {
	t.Helper()
	client := testClient()
	client.TokenURL = tokenURL
	grant := testGrant(clientName, 1)
	grant.TokenHost = strings.Split(strings.TrimPrefix(strings.TrimPrefix(tokenURL, "https://"), "http://"), "/")[0]
	v := newVault()
	v.grants[clientName] = grant
	keeper, err := tokenstore.NewKeeper(tokenstore.KeeperOptions{Vault: v, Clients: []tokenstore.Client{client}, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keeper.Close)
	return keeper
}

func TestRedirectsOfTheTokenEndpointAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		var foreign atomic.Int64
		evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { foreign.Add(1) }))
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/token" {
				foreign.Add(1)
			}
			w.Header().Set("Location", map[bool]string{true: evil.URL, false: "/elsewhere"}[status%2 == 0])
			w.WriteHeader(status)
		}))
		_, err := expired(t, server.URL+"/token", nil).Token(t.Context(), clientName, 0)
		wantFault(t, err, fault.Retry, "token_endpoint")
		if foreign.Load() != 0 {
			t.Errorf("%d: followed", status)
		}
		server.Close()
		evil.Close()
	}
}

func TestAHugeAnswerIsNotRead(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"access_token":"`)
		for sent.Load() < 64<<20 {
			n, err := w.Write(bytes.Repeat([]byte("a"), 64<<10))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	defer server.Close()
	_, err := expired(t, server.URL+"/token", nil).Token(t.Context(), clientName, 0)
	wantFault(t, err, fault.Retry, "token_endpoint")
	if sent.Load() >= 64<<20 {
		t.Errorf("%d bytes were taken", sent.Load())
	}
}

func TestTLSFailuresNameTheirCause(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	_, err := expired(t, server.URL+"/token", nil).Token(t.Context(), clientName, 0)
	failure := wantFault(t, err, fault.Retry, "token_endpoint")
	if !strings.Contains(failure.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", failure)
	}

	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	wrongName := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "other.invalid", MinVersion: tls.VersionTLS12}}
	defer wrongName.CloseIdleConnections()
	_, err = expired(t, server.URL+"/token", wrongName).Token(t.Context(), clientName, 0)
	if failure := wantFault(t, err, fault.Retry, "token_endpoint"); !strings.Contains(failure.Error(), "other.invalid") {
		t.Errorf("a wrong name: %v", failure)
	}

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, err = expired(t, strings.Replace(plain.URL, "http://", "https://", 1)+"/token", nil).Token(t.Context(), clientName, 0)
	if failure := wantFault(t, err, fault.Retry, "token_endpoint"); !strings.Contains(failure.Error(), "HTTP response to HTTPS client") {
		t.Errorf("a server without TLS: %v", failure)
	}

	old := httptest.NewUnstartedServer(http.NotFoundHandler())
	old.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	old.StartTLS()
	defer old.Close()
	if _, err := expired(t, old.URL+"/token", nil).Token(t.Context(), clientName, 0); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestANetworkThatIsNotThereNamesTheCause(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = expired(t, "http://"+address+"/token", nil).Token(t.Context(), clientName, 0)
	if failure := wantFault(t, err, fault.Retry, "token_endpoint"); !strings.Contains(failure.Error(), "refused") {
		t.Errorf("got %v", failure)
	}
}

// TestNoErrorPathShowsASecret lets the sign-in server, or a proxy before it,
// repeat the whole request in every way that it has, and looks at everything
// that comes out: errors in all formats, the log, the status.
func TestNoErrorPathShowsASecret(t *testing.T) {
	t.Parallel()
	echo := `client_secret=CANARY-client-secret&refresh_token=CANARY-refresh-1&code=CANARY-code-1`
	long := strings.Repeat(echo+"\n", 20)
	for name, broken := range map[string]*reply{
		"html":                {status: 502, body: "<html>" + echo},
		"a body with 400":     {status: 400, body: echo},
		"a description":       {status: 400, body: fmt.Sprintf(`{"error":"invalid_grant","error_description":%q}`, echo)},
		"an error word":       {status: 400, body: fmt.Sprintf(`{"error":%q}`, echo)},
		"an error uri":        {status: 400, body: fmt.Sprintf(`{"error":"invalid_client","error_uri":%q}`, echo)},
		"a suberror":          {status: 400, body: fmt.Sprintf(`{"error":"invalid_grant","suberror":%q,"trace_id":%q,"correlation_id":%q}`, echo, echo, echo)},
		"a claims challenge":  {status: 400, body: fmt.Sprintf(`{"error":"interaction_required","claims":%q}`, echo)},
		"a form":              {status: 400, header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, body: "error=CANARY-client-secret&" + echo},
		"a broken form":       {status: 200, header: http.Header{"Content-Type": {"text/plain"}}, body: echo + ";%zz"},
		"broken json":         {status: 200, body: `{"access_token":"CANARY-access-9",` + echo},
		"a wrong type":        {status: 200, body: `{"access_token":["CANARY-access-9"]}`},
		"a wrong number":      {status: 200, body: `{"access_token":"CANARY-access-9","expires_in":"CANARY-client-secret"}`},
		"no token":            {status: 200, body: `{"refresh_token":"CANARY-refresh-9"}`},
		"a location":          {status: 307, header: http.Header{"Location": {"https://evil.example/?" + echo}}},
		"a retry-after":       {status: 429, header: http.Header{"Retry-After": {echo}}, body: long},
		"a transport error":   {err: fmt.Errorf("malformed HTTP response %q", echo)},
		"a wrapped one":       {err: fmt.Errorf("proxy said %s: %w", echo, errors.New(echo))},
		"a timeout that says": {err: fmt.Errorf("%s: %w", echo, context.DeadlineExceeded)},
		"a closed connection": {err: fmt.Errorf("%s: %w", echo, io.ErrUnexpectedEOF)},
		"an operation":        {err: &net.OpError{Op: "read", Net: "tcp", Err: errors.New(echo)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.idp.breakWith(func(*reply) *reply { return broken })
				var out strings.Builder
				show := func(err error) {
					if err == nil {
						t.Fatal("no error")
					}
					log := slog.New(slog.NewJSONHandler(&out, nil))
					for ; err != nil; err = errors.Unwrap(err) {
						fmt.Fprintf(&out, "%v %+v %#v %s %q\n", err, err, err, err, err)
						log.Error("x", "error", err, "marked", fault.Of(err), "hint", fault.HintOf(err))
					}
				}
				after(61 * time.Minute)
				show(w.noToken(t))
				after(6 * time.Minute)
				show(w.noToken(t)) // the second refusal, the remembered failure
				show(w.noToken(t))
				flow := w.begin(t)
				_, err := w.logins.Callback(t.Context(), w.idp.consent(t, flow.AuthURL), flow.State.Reveal())
				show(err)
				fmt.Fprintf(&out, "%+v %+v %+v", w.keeper.Status(), w.vault.get(t), flow.State)
				fmt.Fprintf(&out, "%s", tokenstore.Service{Source: w.keeper}.Answer(t.Context(), clientName, []byte(`{"v":1}`)))
				synctest.Wait()
				all := out.String() + w.out.String()
				if i := strings.Index(all, "CANARY"); i >= 0 {
					t.Errorf("…%s…", all[max(0, i-200):min(len(all), i+200)])
				}
			})
		})
	}
}

func TestPrintedGrantsAndTokensShowNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	for _, value := range []any{w.token(t), w.vault.get(t), testClient(), w.keeper.Status()} {
		fmt.Fprintf(&out, "%v %+v %#v", value, value, value)
		log.Info("x", "value", value)
	}
	if strings.Contains(out.String(), "CANARY") {
		t.Errorf("a secret is shown: %s", out.String())
	}
}
