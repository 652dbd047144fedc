package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"outlook-connector/internal/cli"
	"outlook-connector/internal/sandbox"
)

const (
	annUPN       = "ann@contoso.example"
	webRedirect  = "https://connector.example.com/oauth/callback"
	daemonSecret = "CANARY-daemon-secret"
)

// desk is a folder with a configuration, a sandbox behind it, and a terminal.
type desk struct {
	*sandbox.Sandbox
	config string
}

// newDesk writes a configuration with one client.
func newDesk(t *testing.T, client, rest string) *desk {
	t.Helper()
	box, err := sandbox.New(sandbox.Apps(
		sandbox.App{ClientID: sandbox.DefaultClientID},
		sandbox.App{ClientID: "web-1", RedirectURIs: []string{webRedirect}},
		sandbox.App{ClientID: "daemon-1", Secret: daemonSecret, Roles: []string{"Mail.Send"}},
	))
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	port, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := port.Addr().String()
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	d := &desk{Sandbox: box, config: filepath.Join(t.TempDir(), "c.yaml")}
	text := fmt.Sprintf(`
token_store: {path: ./tokens.db, key: %s}
http: {listen: %s}
nats: {embedded: {listen: ""}}
clients:
  - name: it
    authorize_url: %s
    token_url: %s
    base_url: %s
%s
%s`, strings.Repeat("5a", 32), listen, box.AuthorizeURL(), box.TokenURL(), box.GraphURL(), client, rest)
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return d
}

// screen is an output that a person reads while the program runs.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
	news chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.news <- struct{}{}:
	default:
	}
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// see waits until a pattern is on the screen and returns its first group.
func (s *screen) see(t *testing.T, pattern string) string {
	t.Helper()
	find := regexp.MustCompile(pattern)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if found := find.FindStringSubmatch(s.String()); found != nil {
			return found[1]
		}
		select {
		case <-s.news:
		case <-ctx.Done():
			t.Fatalf("%q never came; there is\n%s", pattern, s)
		}
	}
}

// begin runs a command in the background. end waits for it and returns its exit
// code and output.
func (d *desk) begin(t *testing.T, in io.Reader, args ...string) (errs *screen, end func() (int, string)) {
	t.Helper()
	errs = &screen{news: make(chan struct{}, 1)}
	var out bytes.Buffer
	code := make(chan int, 1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	go func() { code <- cli.Main(ctx, append(args, "--config", d.config), in, &out, errs) }()
	return errs, func() (int, string) {
		defer cancel()
		n := <-code
		return n, out.String()
	}
}

// run runs a command to its end.
func (d *desk) run(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	errs, end := d.begin(t, nil, args...)
	code, out := end()
	return code, out, errs.String()
}

// noLanding is a browser on another machine: it stops where it is sent back to
// an address of ours, which it cannot reach, and keeps that address.
type noLanding struct {
	http.Transport
	landed string
}

func (n *noLanding) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasPrefix(req.URL.Path, "/oauth/callback") {
		n.landed = req.URL.String()
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("cannot be reached")), Header: http.Header{}, Request: req}, nil
	}
	return n.Transport.RoundTrip(req)
}

const delegatedClient = `    client_id: ` + sandbox.DefaultClientID + `
    scopes: [offline_access, Mail.Read]`

func TestASignInOverSSHEndsWithThePastedAddress(t *testing.T) {
	t.Parallel()
	d := newDesk(t, delegatedClient, `
publishers:
  - {name: send, client: it, entity: mail.message.sendMail}`)
	read, typed := io.Pipe()
	errs, end := d.begin(t, read, "auth", "login", "it", "--no-browser")
	address := errs.see(t, `(http://\S+/authorize\?\S+)`)
	browser := &noLanding{}
	defer browser.CloseIdleConnections()
	if _, err := sandbox.SignIn(t.Context(), &http.Client{Transport: browser}, address, annUPN); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(browser.landed)
	if err != nil || !u.Query().Has("code") {
		t.Fatalf("the browser ended at %q", browser.landed)
	}
	other := *u
	query := u.Query()
	query.Set("state", "of-somebody-else")
	other.RawQuery = query.Encode()
	for _, wrong := range []string{
		"", "hello", "https://evil.example/oauth/callback?" + u.RawQuery, "http://" + u.Host + "/oauth/callback",
		"http://ann@" + u.Host + "/oauth/callback?" + u.RawQuery, "http://" + u.Host + "/elsewhere?" + u.RawQuery,
		other.String(), "?state=" + u.Query().Get("state"), "?code=x", "?state=" + u.Query().Get("state") + "&state=x&code=y", "?%zz",
	} {
		fmt.Fprintln(typed, wrong)
	}
	fmt.Fprintln(typed, "  "+u.String()+"\r")
	code, out := end()
	if code != 0 || !strings.Contains(out, "access granted: client it, account "+annUPN) {
		t.Fatalf("%d %s\n%s", code, out, errs)
	}
	if err := typed.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(errs.String(), u.Query().Get("code")) {
		t.Error("the code is shown")
	}
	if n := tokenRequests(d); n != 1 {
		t.Errorf("%d token requests: the wrong addresses must make none", n)
	}

	_, status, _ := d.run(t, "auth", "status")
	for _, want := range []string{"it needs Mail.Send: missing Mail.Send", "lacks Mail.Send, which publisher send needs", "add Mail.Send to scopes of client it, start again, then: outlook-connector auth login it"} {
		if !strings.Contains(status, want) {
			t.Errorf("auth status does not say %q:\n%s", want, status)
		}
	}
}

func tokenRequests(d *desk) int {
	n := 0
	for _, call := range d.Requests() {
		if strings.HasSuffix(call.Path, "/token") {
			n++
		}
	}
	return n
}

func TestASignInOverSSHIsNotHeldUpByAnEmptyInput(t *testing.T) {
	t.Parallel()
	d := newDesk(t, strings.Replace(delegatedClient, "Mail.Read", "Mail.Send", 1), "")
	errs, end := d.begin(t, strings.NewReader(""), "auth", "login", "it", "--no-browser")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	start := errs.see(t, `(http://\S+/oauth/start/it)`)
	if _, err := sandbox.SignIn(t.Context(), &http.Client{Transport: transport}, start, annUPN); err != nil {
		t.Fatal(err)
	}
	if code, out := end(); code != 0 || !strings.Contains(out, "access granted: client it") {
		t.Errorf("%d %s\n%s", code, out, errs)
	}
}

func TestASignInByCodeFromTheTerminal(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"flag", "grant"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			client, args := delegatedClient, []string{"auth", "login", "it", "--device"}
			if how == "grant" {
				client, args = client+"\n    grant: device_code", args[:3]
			}
			d := newDesk(t, client, "")
			d.Control(sandbox.Match{Route: "/{tenant}/oauth2/v2.0/devicecode"}, shortInterval)
			errs, end := d.begin(t, nil, args...)
			page, code := errs.see(t, `(http://\S+/devicelogin)`), errs.see(t, `\n  ([A-Z0-9]{9})\n`)
			if _, err := sandbox.SignInDevice(t.Context(), nil, page, code, annUPN); err != nil {
				t.Fatal(err)
			}
			exit, out := end()
			if exit != 0 || !strings.Contains(out, "access granted: client it, account "+annUPN) {
				t.Errorf("%d %s\n%s", exit, out, errs)
			}
			if _, status, _ := d.run(t, "auth", "status"); !strings.Contains(status, annUPN) {
				t.Errorf("auth status: %s", status)
			}
		})
	}
}

// shortInterval makes the pause between polls a second.
func shortInterval(r *sandbox.Request) bool {
	r.After(func(a *sandbox.Answer) {
		a.Body = bytes.Replace(a.Body, []byte(`"interval":5`), []byte(`"interval":1`), 1)
	})
	return false
}

func TestTheCredentialOfAnApplicationIsCheckedAtLogin(t *testing.T) {
	t.Parallel()
	app := `    grant: client_credentials
    client_id: daemon-1
    client_secret: `
	d := newDesk(t, app+daemonSecret, `
publishers:
  - {name: send, client: it, entity: mail.message.sendMail, mailboxes: ["*"]}`)
	code, out, errs := d.run(t, "auth", "login", "it")
	if code != 0 || !strings.Contains(out, "credential accepted: client it, the application itself, client secret") ||
		!strings.Contains(out, "it needs Mail.Send: granted or not is unknown until Graph answers 403") {
		t.Errorf("%d %s\n%s", code, out, errs)
	}
	if code, _, errs := d.run(t, "auth", "login", "it", "--device"); code != 2 || !strings.Contains(errs, "client_credentials") {
		t.Errorf("--device: %d %s", code, errs)
	}
	if code, out, _ := d.run(t, "auth", "logout", "it"); code != 0 || !strings.Contains(out, "the next one is asked for") {
		t.Errorf("logout: %d %s", code, out)
	}

	wrong := newDesk(t, app+"CANARY-wrong", "")
	code, out, errs = wrong.run(t, "auth", "login", "it")
	if code != 1 || !strings.Contains(errs, "invalid_client") || !strings.Contains(errs, "Try: Check client_id and client_secret of client it") {
		t.Errorf("%d %s\n%s", code, out, errs)
	}
	if strings.Contains(out+errs, "CANARY") {
		t.Errorf("the secret is shown: %s%s", out, errs)
	}
}
