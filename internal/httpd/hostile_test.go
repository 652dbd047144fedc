package httpd_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/httpd"
)

// raw sends a request as it stands, as a browser or an attacker could, and
// returns the answer's status line and headers. net/http's client would tidy
// the request up.
func (s setup) raw(t *testing.T, request string) *http.Response {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprint(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	_ = resp.Body.Close()
	return resp
}

// hostilePlaces are texts that some program somewhere takes for an address of
// another host.
func hostilePlaces() []string {
	return []string{
		"//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\\\evil.example", "/\\/evil.example",
		"https:evil.example", "https:/evil.example", "https://evil.example", "HTTPS://EVIL.EXAMPLE", "http:\\\\evil.example",
		"%2f%2fevil.example", "/%2fevil.example", "%5c%5cevil.example", "/%5cevil.example", "//%65vil.example", "/%09/evil.example",
		"/%0a/evil.example", "/%0d%0aLocation:%20https://evil.example", "%0d%0aSet-Cookie:%20a=b", "/.evil.example", "//evil.example/%2e%2e",
		"/..//evil.example", "/%2e%2e//evil.example", "//evil.example@localhost", "//localhost@evil.example", "//localhost:80@evil.example",
		"https://localhost.evil.example", "https://evil.example%23.localhost", "//evil%E3%80%82example", "//evil.example%00localhost",
		"javascript:alert(1)", "data:text/html,x", "//[::1]@evil.example", "//0x7f.1", "//evil.example:80#@localhost", "/contoso//evil.example",
		"contoso%2f..%2f..%2f%2fevil.example", "contoso%3f@evil.example", "contoso%23//evil.example", "contoso;//evil.example",
		"..%5c..%5cevil.example", "%E2%80%AEelpmaxe.live//:sptth", "//%EF%BC%8Fevil.example", "//evil.example?moved=1",
	}
}

// leaves reports whether a Location leads to a host that is neither this server
// nor the sign-in server.
func leaves(location string, allowed ...string) bool {
	if location == "" {
		return false
	}
	// As a browser reads it: backslashes are slashes, white space is dropped.
	read := strings.NewReplacer("\\", "/", "\t", "", "\n", "", "\r", "").Replace(location)
	u, err := url.Parse(read)
	if err != nil {
		return true
	}
	if u.Host == "" {
		return strings.HasPrefix(read, "//") || u.Scheme != ""
	}
	for _, host := range allowed {
		if strings.EqualFold(u.Host, host) {
			return false
		}
	}
	return true
}

func TestNoHostileTextLeadsToAnotherHost(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	host := strings.TrimPrefix(s.url, "http://")
	s.logins.origin = s.url
	places := hostilePlaces()
	if len(places) < 40 {
		t.Fatalf("only %d texts", len(places))
	}
	requests := 0
	for _, place := range places {
		query := url.QueryEscape(place)
		for _, target := range []string{
			"/" + place, "/oauth/start/" + place, "/oauth/start/contoso?next=" + query, "/oauth/start/contoso?redirect_uri=" + query + "&moved=" + query,
			"/oauth/callback?state=" + query + "&code=c", "/oauth/callback?error=" + query + "&state=" + knownState,
			"/oauth/callback?redirect_uri=" + query + "&post_logout_redirect_uri=" + query, "/oauth/callback/" + place,
		} {
			if strings.ContainsAny(target, " \r\n\t") {
				continue // no request line
			}
			requests++
			resp := s.raw(t, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
			if location := resp.Header.Get("Location"); leaves(location, host, "login.example") {
				t.Errorf("GET %s leads to %q", target, location)
			}
			if resp.Header.Get("Set-Cookie") != "" && !strings.HasPrefix(resp.Header.Get("Set-Cookie"), "outlook-connector-") {
				t.Errorf("GET %s sets %q", target, resp.Header.Get("Set-Cookie"))
			}
		}
	}
	if s.logins.completed != 0 {
		t.Errorf("%d sign-ins were completed", s.logins.completed)
	}
	t.Logf("%d requests", requests)
}

func TestNoHeaderMovesTheSignInToAnotherHost(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	host := strings.TrimPrefix(s.url, "http://")
	s.logins.origin = s.url
	for _, evil := range []string{
		"evil.example", "EVIL.example:80", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:8480", "[::1].evil.example",
		"127.0.0.1@evil.example", "0.0.0.0.evil.example", "2130706433.evil.example", "xn--evil-example", "[2001:db8::1]", "10.0.0.1", "169.254.169.254", "192.168.0.1:8480",
	} {
		resp := s.raw(t, "GET /oauth/start/contoso HTTP/1.1\r\nHost: "+evil+"\r\nConnection: close\r\n\r\n")
		if resp.StatusCode != http.StatusMisdirectedRequest && resp.StatusCode != http.StatusBadRequest {
			t.Errorf("Host %s: %d, Location %q", evil, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	for _, header := range []string{
		"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Server: evil.example", "X-Host: evil.example",
		"Forwarded: host=evil.example;proto=https", "X-Original-Host: evil.example", "X-Rewrite-URL: //evil.example", "X-Original-URL: //evil.example",
		"Origin: https://evil.example", "Referer: https://evil.example/", "X-HTTP-Method-Override: POST", "X-Forwarded-Prefix: //evil.example",
	} {
		resp := s.raw(t, "GET /oauth/start/contoso HTTP/1.1\r\nHost: "+host+"\r\n"+header+"\r\nConnection: close\r\n\r\n")
		if location := resp.Header.Get("Location"); location != "https://login.example/authorize?state="+knownState {
			t.Errorf("%s: %d, Location %q", header, resp.StatusCode, location)
		}
	}
}

func TestTheRoutesOfTheTerminalAreForProgramsOfThisMachine(t *testing.T) {
	t.Parallel()
	terminal := &fakeTerminal{}
	s := start(t, func(o *httpd.Options) { o.Credential, o.Terminal = "s3cret-s3cret-s3cret", terminal })
	paths := []string{"/oauth/begin/contoso", "/oauth/finish", "/oauth/device/contoso", "/oauth/poll", "/oauth/check/contoso"}
	send := func(method, path string, header map[string]string) int {
		t.Helper()
		body := `{"id":"x","state":"` + knownState + `","query":"code=c"}`
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range header {
			req.Header.Set(name, value)
		}
		resp, err := s.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	with := func(more ...string) map[string]string {
		header := map[string]string{"Authorization": "Bearer s3cret-s3cret-s3cret", "Content-Type": "application/json"}
		for i := 0; i < len(more); i += 2 {
			header[more[i]] = more[i+1]
		}
		return header
	}
	for _, path := range paths {
		for name, test := range map[string]struct {
			method string
			header map[string]string
			want   []int
		}{
			"no credential":     {http.MethodPost, map[string]string{"Content-Type": "application/json"}, []int{401}},
			"a wrong one":       {http.MethodPost, with("Authorization", "Bearer x"), []int{401}},
			"GET":               {http.MethodGet, with(), []int{404, 405}},
			"another site":      {http.MethodPost, with("Sec-Fetch-Site", "cross-site"), []int{403}},
			"another origin":    {http.MethodPost, with("Origin", "https://evil.example"), []int{403}},
			"the same, in name": {http.MethodPost, with("Origin", s.url+".evil.example"), []int{403}},
		} {
			got := send(test.method, path, test.header)
			fits := false
			for _, want := range test.want {
				fits = fits || got == want
			}
			if !fits {
				t.Errorf("%s, %s: %d, want %v", path, name, got, test.want)
			}
		}
	}
	for _, path := range []string{"/oauth/finish", "/oauth/poll"} { // what a form of a page can send
		for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""} {
			if got := send(http.MethodPost, path, with("Content-Type", kind)); got != http.StatusUnsupportedMediaType {
				t.Errorf("%s as %q: %d", path, kind, got)
			}
		}
	}
	if terminal.calls != 0 || s.logins.begun != 0 {
		t.Fatalf("%d and %d calls came through", terminal.calls, s.logins.begun)
	}
	for _, path := range paths {
		if got := send(http.MethodPost, path, with()); got != 200 && got != 204 {
			t.Errorf("%s: %d", path, got)
		}
	}
	if terminal.calls != 4 || s.logins.begun != 1 {
		t.Errorf("%d and %d calls", terminal.calls, s.logins.begun)
	}
	terminal.err = fault.New(fault.Reauth, "declined").WithCode("device_declined").WithHint("again")
	if got := send(http.MethodPost, "/oauth/poll", with()); got != http.StatusBadRequest {
		t.Errorf("a refusal: %d", got)
	}
}
