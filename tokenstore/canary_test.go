package tokenstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

// echo is a sign-in server, or a proxy before it, that repeats what it was sent
// in one of many ways. Everything secret that it saw is kept.
type echo struct {
	how  func(sent string) (status int, header http.Header, body string, err error)
	mu   sync.Mutex
	seen map[string]bool
	good bool // answer well, to have something to lose later
	n    int
}

func (e *echo) RoundTrip(req *http.Request) (*http.Response, error) {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(data))
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, key := range []string{"client_secret", "client_assertion", "refresh_token", "code", "code_verifier", "device_code"} {
		for _, value := range form[key] {
			e.seen[value] = true
			if parts := strings.Split(value, "."); len(parts) == 3 {
				e.seen[parts[2]] = true // the signature alone
			}
		}
	}
	e.n++
	status, header := http.StatusOK, http.Header{}
	var body string
	err = nil
	switch {
	case !strings.HasSuffix(req.URL.Path, "/token"):
		code := fmt.Sprintf("CANARY-device-%d", e.n)
		e.seen[code] = true
		body = `{"device_code":"` + code + `","user_code":"ABC","verification_uri":"https://login.example/d","expires_in":900,"interval":1}`
	case e.good:
		access, refresh := fmt.Sprintf("CANARY-access-%d", e.n), fmt.Sprintf("CANARY-refresh-%d", e.n)
		e.seen[access], e.seen[refresh] = true, true
		body = `{"access_token":"` + access + `","refresh_token":"` + refresh + `","expires_in":3600}`
	default:
		status, header, body, err = e.how(string(data))
	}
	if err != nil {
		return nil, err
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Request: req, Body: io.NopCloser(strings.NewReader(body)), ProtoMajor: 1, ProtoMinor: 1}, nil
}

// TestNoGrantShowsASecretOnAnyPath takes every grant and every way to show who
// the client is through every answer that repeats the request, at log level
// debug with the request log on, and looks for everything secret in all that
// comes out.
func TestNoGrantShowsASecretOnAnyPath(t *testing.T) {
	t.Parallel()
	type how = func(string) (int, http.Header, string, error)
	quoted := func(text string) string { data, _ := json.Marshal(text); return string(data) }
	ways := map[string]how{
		"a page": func(s string) (int, http.Header, string, error) { return 502, nil, "<html>" + s, nil },
		"a description": func(s string) (int, http.Header, string, error) {
			return 400, nil, `{"error":"invalid_grant","error_description":` + quoted(s) + `}`, nil
		},
		"the word": func(s string) (int, http.Header, string, error) { return 400, nil, `{"error":` + quoted(s) + `}`, nil },
		"the ids": func(s string) (int, http.Header, string, error) {
			return 401, http.Header{"X-Ms-Request-Id": {s}}, `{"error":"invalid_client","trace_id":` + quoted(s) + `,"correlation_id":` + quoted(s) + `}`, nil
		},
		"the claims": func(s string) (int, http.Header, string, error) {
			return 400, nil, `{"error":"interaction_required","claims":` + quoted(`{"access_token":{"x":`+quoted(s)+`}}`) + `}`, nil
		},
		"a header": func(s string) (int, http.Header, string, error) { return 429, http.Header{"Retry-After": {s}}, s, nil },
		"a location": func(s string) (int, http.Header, string, error) {
			return 307, http.Header{"Location": {"https://login.example/?" + s}}, "", nil
		},
		"a broken one": func(s string) (int, http.Header, string, error) {
			return 200, nil, `{"access_token":1,"x":` + quoted(s), nil
		},
		"a life": func(s string) (int, http.Header, string, error) {
			return 200, nil, `{"access_token":"x","expires_in":` + quoted(s) + `}`, nil
		},
		"an error": func(s string) (int, http.Header, string, error) {
			return 0, nil, "", fmt.Errorf("malformed answer %q", s)
		},
		"a pending one": func(s string) (int, http.Header, string, error) {
			return 400, nil, `{"error":"authorization_pending","error_description":` + quoted(s) + `}`, nil
		},
	}
	folder := t.TempDir()
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	p := newPair(t, folder, testRSA(), start.Add(-time.Hour), start.Add(1000*time.Hour))
	pemText, err := os.ReadFile(p.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	write(t, folder+"/assertion", []byte("CANARY-head.CANARY-body.CANARY-signature"))
	with := func(c tokenstore.Client, change func(*tokenstore.Client)) tokenstore.Client {
		c.LogRequests = true
		change(&c)
		return c
	}
	secret := func(c *tokenstore.Client) { c.ClientSecret = "CANARY-client-secret" }
	signed := func(c *tokenstore.Client) { c.Certificate = &p.Certificate }
	federated := func(c *tokenstore.Client) { c.AssertionFile = folder + "/assertion" }
	for clientKind, client := range map[string]tokenstore.Client{
		"a person, secret": with(person(), secret), "a person, certificate": with(person(), signed), "a person, public": with(person(), func(*tokenstore.Client) {}),
		"an application, secret": with(daemon(), secret), "an application, certificate": with(daemon(), signed), "an application, assertion": with(daemon(), federated),
	} {
		for name, way := range ways {
			t.Run(clientKind+", "+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { canary(t, client, way, string(pemText)) })
			})
		}
	}
}

func canary(t *testing.T, client tokenstore.Client, way func(string) (int, http.Header, string, error), pemText string) {
	t.Helper()
	server := &echo{how: way, seen: map[string]bool{"CANARY-client-secret": true}, good: true}
	for line := range strings.Lines(pemText) {
		if line = strings.TrimSpace(line); len(line) > 40 {
			server.seen[line] = true
		}
	}
	out := &syncBuffer{}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	v := newVault()
	keeper, err := tokenstore.NewKeeper(tokenstore.KeeperOptions{Vault: v, Clients: []tokenstore.Client{client}, Transport: server, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	logins, err := tokenstore.NewLogins(tokenstore.LoginsOptions{Clients: []tokenstore.Client{client}, Adopter: keeper, Transport: server, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	show := func(err error) {
		for ; err != nil; err = errors.Unwrap(err) {
			fmt.Fprintf(out, "%v %+v %#v %q\n", err, err, err, err)
			log.Error("x", "error", err, "marked", fault.Of(err), "hint", fault.HintOf(err))
		}
	}
	everything := func() {
		_, err := keeper.Token(t.Context(), client.Name, 0)
		show(err)
		show(keeper.Renew(t.Context(), client.Name))
		if client.Grant != tokenstore.GrantCredentials {
			flow, err := logins.Begin(client.Name)
			if err != nil {
				t.Fatal(err)
			}
			server.mu.Lock()
			server.seen["CANARY-code"] = true
			server.mu.Unlock()
			_, err = logins.Callback(t.Context(), url.Values{"state": {flow.State.Reveal()}, "code": {"CANARY-code"}}, flow.State.Reveal())
			show(err)
			device, err := logins.BeginDevice(t.Context(), client.Name)
			show(err)
			after(2 * time.Second)
			_, err = logins.PollDevice(t.Context(), device.ID.Reveal())
			show(err)
			fmt.Fprintf(out, "%v %+v %#v %s", flow.State, device, device, flow.AuthURL) // whose state is for the browser
		}
		status, err := json.Marshal(keeper.Status())
		fmt.Fprintf(out, "%s %v %+v %#v %+v %#v", status, err, keeper.Status(), client, v.grants, tokenstore.Service{Source: keeper}.Answer(t.Context(), client.Name, []byte(`{"v":1}`)))
	}
	everything()
	server.mu.Lock()
	server.good = false
	server.mu.Unlock()
	for range 3 {
		after(61 * time.Minute)
		everything()
	}
	synctest.Wait()
	all := out.String()
	if !strings.Contains(all, `"msg":"sign-in request"`) {
		t.Error("the request log is empty")
	}
	for canary := range server.seen {
		// In an address or a form it would be escaped.
		for _, form := range []string{canary, url.QueryEscape(canary)} {
			if i := strings.Index(all, form); i >= 0 {
				t.Errorf("%.12s… is shown: …%s…", canary, all[max(0, i-150):min(len(all), i+50)])
			}
		}
	}
}
