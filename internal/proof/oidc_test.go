//go:build unix && oidc

package proof_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The sign-in proof: the counterpart is a certified OpenID provider that nobody
// here wrote (oidc/server.js), with opaque access tokens, refresh tokens that
// work once, and the end of a grant whose used refresh token comes again. It
// needs node and the packages of oidc/package-lock.json, so it has a build tag
// of its own: make prove-oidc.

// provider is the OpenID provider as a process.
type provider struct {
	t      *testing.T
	client *http.Client

	Issuer string `json:"issuer"`
}

// registered is a client as the provider knows it (RFC 7591).
type registered map[string]any

// oidcSetting is how the provider is started.
type oidcSetting struct {
	Clients []registered   `json:"clients"`
	Lives   map[string]int `json:"lives"`  // of access tokens, in seconds, by client
	Strict  []string       `json:"strict"` // clients that get no refresh token without prompt=consent
	Keeps   []string       `json:"keeps"`  // clients whose refresh token stays the same
}

// counted is what the provider saw.
type counted struct {
	Tokens map[string]struct {
		Log []asked `json:"log"`
	} `json:"tokens"`
	Graph struct {
		Requests int                       `json:"requests"`
		Refused  int                       `json:"refused"`
		AtOnce   int                       `json:"atOnce"`
		Tokens   map[string]map[string]int `json:"tokens"` // requests by client and token
	} `json:"graph"`
	Elsewhere int `json:"elsewhere"`
	Held      int `json:"held"`
}

// asked is one token request with what the provider answered.
type asked struct {
	Kind         string   `json:"kind"`
	What         string   `json:"what"`
	Status       int      `json:"status"`
	Authenticate string   `json:"authenticate"`
	Text         string   `json:"text"`
	At           int64    `json:"at"` // ms
	Keys         []string `json:"keys"`
}

// of returns the requests of one kind.
func (c counted) of(client, kind string) (all []asked) {
	for _, a := range c.Tokens[client].Log {
		if a.Kind == kind {
			all = append(all, a)
		}
	}
	return all
}

const kindRefresh, kindCredentials = "refresh_token", "client_credentials"

func startProvider(t *testing.T, s oidcSetting) *provider {
	t.Helper()
	setting, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("node", "server.js", string(setting))
	cmd.Dir, cmd.SysProcAttr = "oidc", leash()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the provider (node): %v", err)
	}
	t.Cleanup(func() {
		_ = stdin.Close() // it ends with its input
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the provider said:\n%s", stderr.String())
		}
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	p := &provider{t: t, client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil || json.Unmarshal(line, p) != nil || p.Issuer == "" {
		_ = stdin.Close()
		_ = cmd.Wait()
		t.Fatalf("the provider did not start (make prove-oidc installs its packages): %v\n%s", err, stderr.String())
	}
	return p
}

func (p *provider) do(method, path string, body, into any) {
	p.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(p.t.Context()), method, p.Issuer+path, bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s: %s %v\n%s", path, resp.Status, err, answer)
	}
}

func (p *provider) counts() (c counted) {
	p.t.Helper()
	p.do(http.MethodGet, "/proof/counts", nil, &c)
	return c
}

// twist changes the next answers of the token endpoint to a client; an empty
// one ends that.
func (p *provider) twist(client string, how map[string]any) {
	p.t.Helper()
	all := map[string]any{"client": client}
	maps.Copy(all, how)
	p.do(http.MethodPost, "/proof/twist", all, nil)
}

func (p *provider) release() {
	p.t.Helper()
	p.do(http.MethodPost, "/proof/release", nil, nil)
}

// visitor is a scripted browser: it keeps cookies, follows redirects, fills in
// the forms of the provider's development pages and sends them off.
type visitor struct {
	t      *testing.T
	name   string // who signs in
	client *http.Client
	// stopAt ends the way before this address is visited; empty: never.
	stopAt string
}

// place is where a browser ended.
type place struct {
	url    *url.URL
	status int
	body   string
}

func newVisitor(t *testing.T, name string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	v := &visitor{t: t, name: name}
	v.client = &http.Client{
		Jar: jar, Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if v.stopAt != "" && strings.HasPrefix(req.URL.String(), v.stopAt) || len(via) > 15 {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	return v
}

var (
	formTag  = regexp.MustCompile(`(?s)<form[^>]*action="([^"]*)"[^>]*>(.*?)</form>`)
	inputTag = regexp.MustCompile(`(?s)<input[^>]*>`)
	nameAttr = regexp.MustCompile(`\bname="([^"]*)"`)
	valAttr  = regexp.MustCompile(`\bvalue="([^"]*)"`)
)

// walk visits an address and goes on through every form until a page has none.
func (v *visitor) walk(address string, fill map[string]string) place {
	v.t.Helper()
	at := v.visit(http.MethodGet, address, nil)
	for range 8 {
		if at.status >= 300 || !formTag.MatchString(at.body) {
			return at
		}
		at = v.submit(at, fill)
	}
	v.t.Fatalf("the sign-in of %s does not end: %s\n%s", v.name, at.url, at.body)
	return place{}
}

// submit fills in the first form of a page and sends it off, with buttons that
// were pressed.
func (v *visitor) submit(at place, fill map[string]string, pressed ...string) place {
	v.t.Helper()
	form := formTag.FindStringSubmatch(at.body)
	if form == nil {
		v.t.Fatalf("no form at %s:\n%s", at.url, at.body)
	}
	values := url.Values{}
	for _, input := range inputTag.FindAllString(form[2], -1) {
		name, value := nameAttr.FindStringSubmatch(input), valAttr.FindStringSubmatch(input)
		if name == nil {
			continue
		}
		text := fill[name[1]]
		if text == "" && value != nil {
			text = html.UnescapeString(value[1])
		}
		values.Set(name[1], text)
	}
	for _, button := range pressed {
		values.Set(button, "yes")
	}
	action, err := at.url.Parse(html.UnescapeString(form[1]))
	if err != nil {
		v.t.Fatal(err)
	}
	return v.visit(http.MethodPost, action.String(), values)
}

// signIn signs in and consents.
func (v *visitor) signIn(address string) place {
	v.t.Helper()
	return v.walk(address, map[string]string{"login": v.name, "password": "any"})
}

func (v *visitor) visit(method, address string, form url.Values) place {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	at := place{url: resp.Request.URL, status: resp.StatusCode, body: string(body)}
	if location, err := resp.Location(); err == nil { // the way was ended here
		at.url = location
	}
	return at
}

// appKey is a key with its certificate, in files, and as the provider
// knows it.
type appKey struct {
	certFile, keyFile string
	jwk               map[string]any
}

func newAppKey(t *testing.T, dir string) appKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "outlook-connector"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c := appKey{certFile: filepath.Join(dir, "app.crt"), keyFile: filepath.Join(dir, "app.key")}
	for file, block := range map[string]*pem.Block{
		c.certFile: {Type: "CERTIFICATE", Bytes: der}, c.keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	encode := base64.RawURLEncoding.EncodeToString
	c.jwk = map[string]any{
		"kty": "RSA", "alg": "PS256", "use": "sig", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes()),
	}
	return c
}

// The registrations of the proof's clients.

const (
	deviceCodeGrant = "urn:ietf:params:oauth:grant-type:device_code"
	appSecret       = "the secret of an application, long enough for anybody"
	appScope        = "https://graph.example/.default"
)

func publicClient(id, redirect string) registered {
	return registered{
		"client_id": id, "token_endpoint_auth_method": "none", "application_type": "native",
		"redirect_uris": []string{redirect}, "grant_types": []string{"authorization_code", "refresh_token"},
	}
}

func webClient(id, redirect string) registered {
	return registered{
		"client_id": id, "client_secret": appSecret, "token_endpoint_auth_method": "client_secret_post",
		"redirect_uris": []string{redirect}, "grant_types": []string{"authorization_code", "refresh_token"},
	}
}

func deviceClient(id string) registered {
	return registered{
		"client_id": id, "token_endpoint_auth_method": "none", "application_type": "native",
		"redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{deviceCodeGrant, "refresh_token"},
	}
}

func appWithSecret(id string) registered {
	return registered{
		"client_id": id, "client_secret": appSecret, "token_endpoint_auth_method": "client_secret_post",
		"redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{kindCredentials}, "scope": appScope,
	}
}

func appWithCertificate(id string, c appKey) registered {
	return registered{
		"client_id": id, "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "PS256",
		"jwks":          map[string]any{"keys": []any{c.jwk}},
		"redirect_uris": []string{}, "response_types": []string{}, "grant_types": []string{kindCredentials}, "scope": appScope,
	}
}

// apart returns the shortest time between two requests that follow each other.
func apart(requests []asked) time.Duration {
	shortest := time.Duration(-1)
	for i := range requests[min(1, len(requests)):] {
		gap := time.Duration(requests[i+1].At-requests[i].At) * time.Millisecond
		if shortest < 0 || gap < shortest {
			shortest = gap
		}
	}
	return shortest
}

// failed returns the requests that gave no token.
func failed(requests []asked) []asked {
	return slices.DeleteFunc(slices.Clone(requests), func(a asked) bool { return a.What == "ok" })
}

// exitCode returns how a command ended.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -1
}

// loud prints a figure of the proof.
func loud(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Log("FIGURE " + fmt.Sprintf(format, args...))
}
