package httpd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLogins plays the token store: one client, one state.
type fakeLogins struct {
	browserState string
	completed    int
	loggedOut    int
	begun        int
	origin       string
}

// fakeTerminal plays the token store for the terminal.
type fakeTerminal struct {
	calls int
	err   error
}

func (f *fakeTerminal) Finish(context.Context, string, url.Values) (client, account string, err error) {
	f.calls++
	return "contoso", "ann@contoso.example", f.err
}

func (f *fakeTerminal) BeginDevice(context.Context, string) (httpd.DeviceLogin, error) {
	f.calls++
	return httpd.DeviceLogin{}, f.err
}

func (f *fakeTerminal) PollDevice(context.Context, string) (httpd.DeviceProgress, error) {
	f.calls++
	return httpd.DeviceProgress{}, f.err
}

func (f *fakeTerminal) Check(context.Context, string) error {
	f.calls++
	return f.err
}

const knownState = "state-of-this-flow"

func (f *fakeLogins) Origin(string) string { return f.origin }

func (f *fakeLogins) Begin(client string) (authorizeURL, state string, err error) {
	if client != "contoso" {
		return "", "", fault.New(fault.Poison, "no client named %q", client).WithHint("outlook-connector config check")
	}
	f.begun++
	return "https://login.example/authorize?state=" + knownState, knownState, nil
}

func (f *fakeLogins) Complete(_ context.Context, browserState string, query url.Values) (client, account string, err error) {
	f.browserState = browserState
	if browserState == "" || browserState != query.Get("state") {
		return "", "", errors.New("this browser did not start the sign-in")
	}
	f.completed++
	return "contoso", "ann@contoso.example", nil
}

func (f *fakeLogins) Logout(_ context.Context, client string) error {
	if client != "contoso" {
		return fault.New(fault.Poison, "no client named %q", client)
	}
	f.loggedOut++
	return nil
}

type setup struct {
	url    string
	logins *fakeLogins
	checks *health.Checks
	client *http.Client
}

func start(t *testing.T, change func(*httpd.Options)) setup {
	t.Helper()
	logins := &fakeLogins{}
	checks := &health.Checks{}
	opts := httpd.Options{
		Listen: "127.0.0.1:0", Version: "test", Instance: "i-1", Checks: checks, Logins: logins,
		Log:     slog.New(slog.DiscardHandler),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "outlook_up 1\n") }),
		Status: func(ctx context.Context) httpd.Status {
			return httpd.Status{
				Version: "test", Conditions: checks.List(ctx),
				Clients: []httpd.ClientStatus{{Name: "contoso", State: "needs_login", Hint: `<script>alert(1)</script>`}},
			}
		},
	}
	if change != nil {
		change(&opts)
	}
	server, err := httpd.Listen(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Stop(context.Background()); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("stop: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return setup{server.URL(), logins, checks, &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s setup) get(t *testing.T, path string, change func(*http.Request)) (code int, body string, header http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, buf.String(), resp.Header
}

func TestProbes(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if code, body, _ := s.get(t, "/livez", nil); code != 200 || !strings.Contains(body, `"program": "outlook-connector"`) || !strings.Contains(body, `"instance": "i-1"`) {
		t.Errorf("livez: %d %s", code, body)
	}
	if code, _, _ := s.get(t, "/readyz", nil); code != 200 {
		t.Errorf("readyz without conditions: %d", code)
	}
	s.checks.Add("nats", health.High, func(context.Context) error { return errors.New("not connected") })
	code, body, _ := s.get(t, "/readyz", nil)
	var answer struct {
		Ready      bool
		Conditions []health.Condition
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	if code != 503 || answer.Ready || len(answer.Conditions) != 1 || answer.Conditions[0].Cause != "not connected" {
		t.Errorf("readyz: %d %s", code, body)
	}
	if code, body, _ := s.get(t, "/metrics", nil); code != 200 || body != "outlook_up 1\n" {
		t.Errorf("metrics: %d %q", code, body)
	}
}

func TestSignInIsBoundToTheBrowserThatStartedIt(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	if code, body, _ := s.get(t, "/oauth/callback?code=c&state="+knownState, nil); code != 400 || !strings.Contains(body, "did not start") {
		t.Errorf("callback of a browser without the cookie: %d %s", code, body)
	}
	code, _, header := s.get(t, "/oauth/start/contoso", nil)
	if code != 302 || header.Get("Location") != "https://login.example/authorize?state="+knownState {
		t.Fatalf("start: %d %s", code, header.Get("Location"))
	}
	if cookie := header.Get("Set-Cookie"); !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") {
		t.Errorf("cookie: %s", cookie)
	}
	if code, _, _ := s.get(t, "/oauth/callback?code=c&state=another", nil); code != 400 || s.logins.browserState != "" {
		t.Errorf("callback with another state: %d, browser state %q", code, s.logins.browserState)
	}
	code, body, _ := s.get(t, "/oauth/callback?code=c&state="+knownState, nil)
	if code != 200 || !strings.Contains(body, "ann@contoso.example") || s.logins.completed != 1 {
		t.Errorf("callback: %d %s", code, body)
	}
	if code, _, _ := s.get(t, "/oauth/callback?code=c&state="+knownState, nil); code != 400 {
		t.Errorf("the cookie outlived its sign-in: %d", code)
	}
}

func TestSignInStartsUnderTheHostItComesBackTo(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	s.logins.origin = "http://localhost:" + at.Port()
	code, _, header := s.get(t, "/oauth/start/contoso", nil)
	moved := header.Get("Location")
	if code != 302 || moved != s.logins.origin+"/oauth/start/contoso?moved=1" || header.Get("Set-Cookie") != "" {
		t.Fatalf("start under another host: %d %s", code, moved)
	}
	code, _, header = s.get(t, "/oauth/start/contoso?moved=1", func(r *http.Request) { r.Host = "localhost:" + at.Port() })
	if code != 302 || !strings.HasPrefix(header.Get("Location"), "https://login.example/") || header.Get("Set-Cookie") == "" {
		t.Errorf("start under its own host: %d %s", code, header.Get("Location"))
	}
	if code, _, header = s.get(t, "/oauth/start/contoso?moved=1", nil); code != 302 || !strings.HasPrefix(header.Get("Location"), "https://login.example/") {
		t.Errorf("moved once and still under another host (a proxy): %d %s", code, header.Get("Location"))
	}
}

func TestUnknownClientSaysWhatToDo(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	code, body, _ := s.get(t, "/oauth/start/nobody", nil)
	if code != 404 || !strings.Contains(body, "no client named") || !strings.Contains(body, "config check") {
		t.Errorf("%d %s", code, body)
	}
}

func TestForeignHostNamesAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, path := range []string{"/", "/livez", "/oauth/start/contoso", "/oauth/callback"} {
		if code, _, _ := s.get(t, path, func(r *http.Request) { r.Host = "evil.example" }); code != http.StatusMisdirectedRequest {
			t.Errorf("%s with a foreign host: %d", path, code)
		}
	}
	if code, _, _ := s.get(t, "/livez", func(r *http.Request) { r.Host = "localhost:8480" }); code != 200 {
		t.Errorf("localhost: %d", code)
	}
}

func TestCredentialGuardsAllButProbesMetricsAndCallback(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *httpd.Options) { o.Credential = "s3cret" })
	for path, want := range map[string]int{
		"/": 401, "/status": 401, "/oauth/start/contoso": 401,
		"/livez": 200, "/readyz": 200, "/metrics": 200, "/oauth/callback": 400, "/style.css": 200,
	} {
		if code, _, _ := s.get(t, path, nil); code != want {
			t.Errorf("%s without credential: %d, want %d", path, code, want)
		}
	}
	for name, set := range map[string]func(*http.Request){
		"bearer": func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") },
		"basic":  func(r *http.Request) { r.SetBasicAuth("anybody", "s3cret") },
	} {
		if code, _, _ := s.get(t, "/status", set); code != 200 {
			t.Errorf("%s credential: %d", name, code)
		}
	}
	if code, _, _ := s.get(t, "/status", func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cre") }); code != 401 {
		t.Errorf("wrong credential: %d", code)
	}
}

func TestPageShowsTheStatusAndEscapesIt(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	code, body, header := s.get(t, "/", nil)
	if code != 200 || !strings.Contains(body, "Grant access to Outlook") || strings.Contains(body, "<script>") {
		t.Errorf("page: %d %s", code, body)
	}
	if csp := header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("CSP: %q", csp)
	}
}

func TestStatusIsData(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	_, body, _ := s.get(t, "/status", nil)
	var status httpd.Status
	if err := json.Unmarshal([]byte(body), &status); err != nil || status.Version != "test" || len(status.Clients) != 1 {
		t.Errorf("%v %s", err, body)
	}
}

func TestLogoutIsForThisSiteOnly(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	post := func(client, origin string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/oauth/logout/"+client, nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Sec-Fetch-Site", "cross-site")
			req.Header.Set("Origin", origin)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if code := post("contoso", "https://evil.example"); code != 403 || s.logins.loggedOut != 0 {
		t.Errorf("from another site: %d", code)
	}
	if code := post("nobody", ""); code != 409 {
		t.Errorf("unknown client: %d", code)
	}
	if code := post("contoso", ""); code != 204 || s.logins.loggedOut != 1 {
		t.Errorf("logout: %d", code)
	}
}

func TestAPortThatASiblingHasIsLeftToIt(t *testing.T) {
	t.Parallel()
	first := start(t, func(o *httpd.Options) { o.Instance = "one" })
	address := strings.TrimPrefix(first.url, "http://")
	second := start(t, func(o *httpd.Options) { o.Listen, o.Instance = address, "one" })
	if code, _, _ := second.get(t, "/livez", nil); code != 200 || second.url == first.url {
		t.Errorf("a sibling: %d at %s", code, second.url)
	}
	if _, err := httpd.Listen(t.Context(), httpd.Options{Listen: address, Instance: "two"}); err == nil || fault.HintOf(err) == "" {
		t.Errorf("a process of another configuration: %v", err)
	}
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	_, err = httpd.Listen(t.Context(), httpd.Options{Listen: address})
	if err == nil || fault.HintOf(err) == "" || !strings.Contains(err.Error(), address) {
		t.Errorf("taken port: %v (hint %q)", err, fault.HintOf(err))
	}
	s := start(t, func(o *httpd.Options) { o.Listen, o.FreePortIfTaken = address, true })
	if code, _, _ := s.get(t, "/livez", nil); code != 200 || strings.HasSuffix(s.url, address) {
		t.Errorf("free port instead: %d at %s", code, s.url)
	}
}

// TestAPortOfAFrozenOrDyingSibling is about siblings that were stopped or killed.
func TestAPortOfAFrozenOrDyingSibling(t *testing.T) { // alone: the others must not be given its port
	frozen, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer frozen.Close()
	file := filepath.Join(t.TempDir(), "http")
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d %s\n", os.Getpid(), frozen.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, func(o *httpd.Options) { o.Listen, o.HolderFile = frozen.Addr().String(), file })
	if code, _, _ := s.get(t, "/livez", nil); code != 200 || strings.HasSuffix(s.url, frozen.Addr().String()) {
		t.Errorf("beside a frozen one: %d at %s", code, s.url)
	}

	dying, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // closes each connection, and then the port
		for range 3 {
			if c, err := dying.Accept(); err == nil {
				_ = c.Close()
			}
		}
		_ = dying.Close()
	}()
	s = start(t, func(o *httpd.Options) { o.Listen, o.HolderFile = dying.Addr().String(), file })
	if code, _, _ := s.get(t, "/livez", nil); code != 200 || !strings.HasSuffix(s.url, dying.Addr().String()) {
		t.Errorf("after a dying one: %d at %s", code, s.url)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != fmt.Sprintf("%d %s\n", os.Getpid(), dying.Addr()) {
		t.Errorf("who has the port is written down as %q, %v", text, err)
	}
}
