package tokenstore

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// assertionLife is how long a signed assertion is good; Entra takes up to
	// ten minutes. assertionSkew is how far our clock may be ahead of theirs.
	assertionLife = 10 * time.Minute
	assertionSkew = 5 * time.Minute
	// minRSA is the smallest key that is used, in bits.
	minRSA = 2048
)

// certificateProof signs an assertion with the key of a certificate. The files
// are read for every request, which there is one of in half an hour: so a new
// certificate is used as soon as it is there. While only one of the two files
// has been changed, the earlier pair goes on being used.
type certificateProof struct {
	client *Client
	log    *slog.Logger

	mu      sync.Mutex
	last    *keyPair
	problem string // with the files, as last logged: who shows the status looks often
}

// keyPair is a certificate with its key.
type keyPair struct {
	leaf *x509.Certificate
	key  *rsa.PrivateKey
}

// String and GoString hide the key.
func (*certificateProof) String() string   { return "certificate" }
func (*certificateProof) GoString() string { return "certificate" }

func (p *certificateProof) prove(form url.Values, now time.Time) error {
	pair, err := p.pair(now)
	if err != nil {
		return err
	}
	assertion, err := pair.assertion(p.client.ClientID, p.client.TokenURL, now)
	if err != nil {
		return p.client.unproven(errors.New("the key does not sign"), "Make a new certificate for client %s, with an RSA key.", p.client.Name)
	}
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

func (p *certificateProof) describe(now time.Time) (string, time.Time, error) {
	pair, err := p.pair(now)
	if err != nil {
		return "certificate", time.Time{}, err
	}
	return "certificate", pair.leaf.NotAfter, nil
}

// pair returns the certificate and key of the files or, where these cannot be
// used, the ones that were read before, as long as they are good.
func (p *certificateProof) pair(now time.Time) (*keyPair, error) {
	files := p.client.Certificate
	pair, err := readPair(files.CertFile, files.KeyFile, now)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.last, p.problem = pair, ""
		return pair, nil
	}
	if p.last != nil && p.last.good(now) == nil {
		if text := err.Error(); text != p.problem {
			p.problem = text
			p.log.Warn("new certificate not used, the earlier one is still good", "client", p.client.Name, "error", err)
		}
		return p.last, nil
	}
	return nil, p.client.unproven(err, "Check certificate.cert_file and certificate.key_file of client %s; the certificate must be uploaded to the app registration too.", p.client.Name)
}

// good says whether the certificate is good at a moment.
func (p *keyPair) good(now time.Time) error {
	const day = time.DateOnly
	switch {
	case now.After(p.leaf.NotAfter):
		return fmt.Errorf("the certificate expired on %s", p.leaf.NotAfter.UTC().Format(day))
	case now.Before(p.leaf.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s: check the clock", p.leaf.NotBefore.UTC().Format(day))
	}
	return nil
}

// readPair reads a certificate and its key from two files.
func readPair(certFile, keyFile string, now time.Time) (*keyPair, error) {
	leaf, err := readCertificate(certFile)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	if public, ok := leaf.PublicKey.(*rsa.PublicKey); !ok || !public.Equal(key.Public()) {
		return nil, fmt.Errorf("the key in %s is not that of the certificate in %s", keyFile, certFile)
	}
	pair := &keyPair{leaf: leaf, key: key}
	if err := pair.good(now); err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	return pair, nil
}

func readCertificate(path string) (*x509.Certificate, error) {
	data, err := readCredential(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fmt.Errorf("%s holds no PEM certificate", path)
		}
		if block.Type != "CERTIFICATE" {
			continue // the key may be in the same file
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: the certificate cannot be read", path)
		}
		if _, ok := leaf.PublicKey.(*rsa.PublicKey); !ok {
			return nil, fmt.Errorf("%s: the certificate has no RSA key, which the sign-in server needs", path)
		}
		return leaf, nil
	}
}

// readKey reads a private key. What is wrong with it is said without a byte of
// it.
func readKey(path string) (*rsa.PrivateKey, error) {
	data, err := readCredential(path)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, fmt.Errorf("%s holds no PEM private key", path)
		}
		var key any
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, fmt.Errorf("%s: the key has a pass phrase; write it without one (openssl pkey -in … -out …) and protect the file", path)
		case block.Type == "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case block.Type == "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, fmt.Errorf("%s: the key is not an RSA key, which the sign-in server needs", path)
		default:
			continue // the certificate may be in the same file
		}
		if err != nil {
			return nil, fmt.Errorf("%s: the key cannot be read", path)
		}
		private, ok := key.(*rsa.PrivateKey)
		switch {
		case !ok:
			return nil, fmt.Errorf("%s: the key is not an RSA key, which the sign-in server needs", path)
		case private.N.BitLen() < minRSA:
			return nil, fmt.Errorf("%s: the key has %d bits, at least %d are needed", path, private.N.BitLen(), minRSA)
		}
		return private, nil
	}
}

// assertion is the signed statement that this is the client, for one audience
// and a few minutes: PS256, the certificate named by the SHA-256 of itself.
// https://learn.microsoft.com/entra/identity-platform/certificate-credentials
func (p *keyPair) assertion(clientID, audience string, now time.Time) (string, error) {
	thumbprint := sha256.Sum256(p.leaf.Raw)
	head, err := json.Marshal(map[string]string{
		"alg": "PS256", "typ": "JWT", "x5t#S256": base64.RawURLEncoding.EncodeToString(thumbprint[:]),
	})
	if err != nil {
		return "", err
	}
	// Entra bounds the whole window, so it begins in the past at the cost of its
	// end: nbf is five minutes ago for the clocks, exp ten minutes after it.
	begin := now.Add(-assertionSkew)
	body, err := json.Marshal(map[string]any{
		"aud": audience, "iss": clientID, "sub": clientID, "jti": rand.Text(),
		"nbf": begin.Unix(), "iat": now.Unix(), "exp": begin.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	digest := sha256.Sum256([]byte(signed))
	signature, err := p.key.Sign(rand.Reader, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
	if err != nil {
		return "", err
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
