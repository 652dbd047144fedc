package tokenstore_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/tokenstore"
)

func TestACertificateSignsAnAssertionForEveryRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		now := time.Now()
		p := newPair(t, folder, testRSA(), now.Add(-time.Hour), now.Add(24*time.Hour))
		c := daemon()
		c.Certificate = &p.Certificate
		e := newEntra(t, c, p.leaf)
		e.token(t)
		form, _ := e.asked()
		parts := strings.Split(form.Get("client_assertion"), ".")
		if len(parts) != 3 || form.Has("client_secret") {
			t.Fatalf("asked with %v", form)
		}
		decode := func(part string) map[string]any {
			data, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil {
				t.Fatal(err)
			}
			return jsonOf(t, data)
		}
		head, body := decode(parts[0]), decode(parts[1])
		if head["alg"] != "PS256" || head["typ"] != "JWT" || head["x5t#S256"] == nil || head["x5t"] != nil {
			t.Errorf("head %v", head)
		}
		nbf, exp := int64(body["nbf"].(float64)), int64(body["exp"].(float64))
		if body["aud"] != c.TokenURL || body["iss"] != daemonID || body["sub"] != daemonID || now.Unix()-nbf != 300 || exp-nbf != 600 {
			t.Errorf("body %v", body)
		}
		first := body["jti"]
		after(46 * time.Minute)
		e.token(t)
		synctest.Wait()
		form, n := e.asked()
		if second := decode(strings.Split(form.Get("client_assertion"), ".")[1])["jti"]; n != 2 || second == first || first == "" {
			t.Errorf("%d requests; jti %v and then %v", n, first, second)
		}
		// PKCS#8 is as good, and both may be in one file.
		pkcs8, err := x509.MarshalPKCS8PrivateKey(p.key)
		if err != nil {
			t.Fatal(err)
		}
		both := append(pemOf("CERTIFICATE", p.leaf.Raw), pemOf("PRIVATE KEY", pkcs8)...)
		write(t, p.CertFile, both)
		write(t, p.KeyFile, both)
		after(time.Hour)
		e.token(t)
	})
}

func TestANewCertificateIsUsedWithoutARestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		now := time.Now()
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		fresh := newPair(t, folder, other, now.Add(-time.Hour), now.Add(240*time.Hour))
		old := newPair(t, folder, testRSA(), now.Add(-time.Hour), now.Add(24*time.Hour))
		c := daemon()
		c.Certificate = &old.Certificate
		e := newEntra(t, c, old.leaf, fresh.leaf)
		e.token(t)
		// Between the two writes of a rotation the old pair is used.
		write(t, old.CertFile, pemOf("CERTIFICATE", fresh.leaf.Raw))
		after(time.Hour)
		e.token(t)
		for range 3 {
			e.keeper.Status() // who looks often is not told often
		}
		if n := strings.Count(e.out.String(), "new certificate not used"); n != 1 {
			t.Errorf("told %d times that the files do not fit, want once", n)
		}
		write(t, old.KeyFile, pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(other)))
		after(48 * time.Hour) // the old one would have expired
		e.token(t)
		status := e.keeper.Status()[0]
		if status.Credential != "certificate" || !status.CredentialEnds.Equal(fresh.leaf.NotAfter) || status.Condition != tokenstore.ConditionOK {
			t.Errorf("status %+v", status)
		}
	})
}

func TestACertificateThatCannotBeUsedIsSaidSoBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	key := testRSA()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curveDER, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	good, end := now.Add(-time.Hour), now.Add(time.Hour)
	for name, test := range map[string]struct {
		change func(p files)
		want   string
	}{
		"no certificate": {func(p files) { remove(p.t, p.CertFile) }, "app.pem does not exist"},
		"no key":         {func(p files) { remove(p.t, p.KeyFile) }, "app.key does not exist"},
		"empty":          {func(p files) { write(p.t, p.KeyFile, nil) }, "app.key is empty"},
		"a folder":       {func(p files) { remove(p.t, p.KeyFile); mkdir(p.t, p.KeyFile) }, "app.key is a folder"},
		"huge":           {func(p files) { write(p.t, p.KeyFile, make([]byte, 300<<10)) }, "larger than"},
		"no PEM":         {func(p files) { write(p.t, p.CertFile, []byte("CANARY")) }, "holds no PEM certificate"},
		"a key for both": {func(p files) { p.CertFile, p.KeyFile = swap(p.t, p.pair) }, "holds no PEM certificate"},
		"no PEM key":     {func(p files) { write(p.t, p.KeyFile, []byte("CANARY")) }, "holds no PEM private key"},
		"damaged":        {func(p files) { write(p.t, p.KeyFile, pemOf("PRIVATE KEY", []byte("CANARY"))) }, "the key cannot be read"},
		"damaged PKCS#1": {func(p files) { write(p.t, p.KeyFile, pemOf("RSA PRIVATE KEY", []byte("CANARY"))) }, "the key cannot be read"},
		"damaged cert":   {func(p files) { write(p.t, p.CertFile, pemOf("CERTIFICATE", []byte("CANARY"))) }, "the certificate cannot be read"},
		"with a phrase":  {func(p files) { write(p.t, p.KeyFile, pemOf("ENCRYPTED PRIVATE KEY", []byte("CANARY"))) }, "pass phrase"},
		"of a curve":     {func(p files) { write(p.t, p.KeyFile, pemOf("PRIVATE KEY", curveDER)) }, "not an RSA key"},
		"EC":             {func(p files) { write(p.t, p.KeyFile, pemOf("EC PRIVATE KEY", curveDER)) }, "not an RSA key"},
		"too small": {func(p files) {
			write(p.t, p.KeyFile, pemOf("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(small)))
		}, "1024 bits"},
		"of another": {func(p files) {
			newPair(p.t, filepath.Dir(p.KeyFile), otherRSA(p.t), good, end)
			write(p.t, p.CertFile, pemOf("CERTIFICATE", p.leaf.Raw))
		}, "is not that of the certificate"},
		"expired":           {func(p files) { newPair(p.t, filepath.Dir(p.KeyFile), key, good, now.Add(-time.Minute)) }, "the certificate expired on"},
		"not yet":           {func(p files) { newPair(p.t, filepath.Dir(p.KeyFile), key, end, end.Add(time.Hour)) }, "is not valid before"},
		"expired on a zone": {func(p files) { newPair(p.t, filepath.Dir(p.KeyFile), key, good.Add(-48*time.Hour), good) }, "expired on"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, t.TempDir(), key, good, end)
			test.change(files{p, t})
			c := daemon()
			c.Certificate = &p.Certificate
			e := newEntra(t, c, p.leaf)
			failure := wantFault(t, e.noToken(t), fault.Reauth, "credential_unusable")
			if !strings.Contains(failure.Error(), test.want) || !strings.Contains(failure.Hint, "certificate.") {
				t.Errorf("got %v\n    Try: %s\nwant %q", failure, failure.Hint, test.want)
			}
			if _, n := e.asked(); n != 0 {
				t.Errorf("%d requests were made", n)
			}
			if all := e.out.String() + failure.Error(); strings.Contains(all, "CANARY") {
				t.Errorf("what is in the file is shown: %s", all)
			}
			if status := e.keeper.Status()[0]; status.Condition != tokenstore.ConditionNeedsReauth && status.Condition != tokenstore.ConditionFailing {
				t.Errorf("condition %s", status.Condition)
			}
		})
	}
}

// files are those of a certificate, to be spoiled.
type files struct {
	pair
	t *testing.T
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// swap puts the key where the certificate belongs.
func swap(t *testing.T, p pair) (cert, key string) {
	t.Helper()
	data, err := os.ReadFile(p.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	write(t, p.CertFile, data)
	return p.CertFile, p.KeyFile
}

func otherRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
