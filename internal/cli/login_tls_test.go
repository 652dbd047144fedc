package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// writeCertificate makes a certificate for a name that is not this machine's.
func writeCertificate(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"connector.example.com"}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"web.pem": {Type: "CERTIFICATE", Bytes: certificate}, "web.key": {Type: "PRIVATE KEY", Bytes: text},
	} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// admitted is a browser that takes any certificate, knows the credential, and
// reaches every https address at one place.
type admitted struct {
	next              *http.Transport
	place, credential string
}

func (a admitted) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme == "https" {
		r = r.Clone(r.Context())
		r.URL.Host, r.Host = a.place, a.place
		r.SetBasicAuth("me", a.credential)
	}
	return a.next.RoundTrip(r)
}

// TestASignInWithoutAProcessIsServedAsTheProcessWouldServeIt: with the
// certificate that the redirect address needs, and to nobody without the
// credential.
func TestASignInWithoutAProcessIsServedAsTheProcessWouldServeIt(t *testing.T) {
	t.Parallel()
	const credential = "a credential of some length 1234567890"
	d := newDesk(t, "", "")
	writeCertificate(t, filepath.Dir(d.config))
	data, err := os.ReadFile(d.config)
	if err != nil {
		t.Fatal(err)
	}
	listen := regexp.MustCompile(`http: \{listen: ([^}]+)\}`).FindSubmatch(data)[1]
	text := strings.Replace(string(data), "listen: "+string(listen)+"}",
		"listen: "+string(listen)+", credential: "+credential+", tls: {cert_file: ./web.pem, key_file: ./web.key}}", 1)
	text = strings.TrimSpace(text) + "\n    client_id: web-1\n    redirect_url: " + webRedirect + "\n    scopes: [openid, profile, offline_access, Mail.Read]\n"
	if err := os.WriteFile(d.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	errs, end := d.begin(t, nil, "auth", "login", "it", "--no-browser")
	start := errs.see(t, `(https://\S+/oauth/start/it)`)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	for _, path := range []string{"/oauth/logout/it", "/oauth/begin/it", "/oauth/finish", "/oauth/poll", "/oauth/device/it", "/oauth/check/it"} {
		address := url.URL{Scheme: "https", Host: string(listen), Path: path}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address.String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without the credential: %d %v", path, resp.StatusCode, err)
		}
	}
	if _, err := sandbox.SignIn(t.Context(), &http.Client{Transport: admitted{transport, string(listen), credential}}, start, annUPN); err != nil {
		t.Fatal(err)
	}
	if code, out := end(); code != 0 || !strings.Contains(out, "access granted: client it") {
		t.Errorf("%d %s\n%s", code, out, errs)
	}
}
