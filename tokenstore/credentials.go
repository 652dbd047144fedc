package tokenstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"outlook-connector/internal/seal"
)

// assertionType is the kind of client assertion that Entra takes, a signed one
// of our own or that of another issuer.
// https://learn.microsoft.com/entra/identity-platform/certificate-credentials
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxCredential bounds a file with a certificate, a key or an assertion.
const maxCredential = 256 << 10

// prover shows the sign-in server who the client is.
type prover interface {
	// prove adds the client's credential to a token request that is sent now.
	// Its error is a *refusal that says what a person must do.
	prove(form url.Values, now time.Time) error
	// describe names the credential and says until when it is good, as far as
	// that is known, without using it.
	describe(now time.Time) (name string, until time.Time, err error)
}

// newProver returns what the client shows, nil for a public client.
func newProver(c *Client, log *slog.Logger) prover {
	switch {
	case c.ClientSecret != "":
		return secretProof{secret: c.ClientSecret}
	case c.Certificate != nil:
		return &certificateProof{client: c, log: log}
	case c.AssertionFile != "":
		return assertionProof{client: c}
	default:
		return nil
	}
}

// secretProof is a client secret.
type secretProof struct{ secret seal.Secret }

func (p secretProof) prove(form url.Values, _ time.Time) error {
	form.Set("client_secret", p.secret.Reveal())
	return nil
}

func (secretProof) describe(time.Time) (string, time.Time, error) {
	return "client secret", time.Time{}, nil
}

// String and GoString hide the secret, which fmt would print: it calls no
// method of a value in an unexported field.
func (secretProof) String() string   { return "client secret" }
func (secretProof) GoString() string { return "client secret" }

// assertionProof is a file with the token of another issuer.
type assertionProof struct{ client *Client }

func (p assertionProof) prove(form url.Values, _ time.Time) error {
	assertion, err := p.read()
	if err != nil {
		return err
	}
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion)
	return nil
}

func (p assertionProof) describe(time.Time) (string, time.Time, error) {
	_, err := p.read()
	return "assertion file", time.Time{}, err
}

// read reads the assertion. The file is not judged any further: the sign-in
// server knows whom it trusts.
func (p assertionProof) read() (string, error) {
	data, err := readCredential(p.client.AssertionFile)
	if err != nil {
		return "", p.client.unproven(err, "Check assertion_file of client %s: the platform (such as the workload identity webhook) must write it.", p.client.Name)
	}
	text := strings.TrimSpace(string(data))
	if strings.Count(text, ".") != 2 || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", p.client.unproven(fmt.Errorf("%s does not hold one signed token (three parts with dots between)", p.client.AssertionFile),
			"Check assertion_file of client %s: it must be the projected token itself, nothing around it.", p.client.Name)
	}
	return text, nil
}

// unproven is a credential that cannot be used: nothing was sent.
func (c *Client) unproven(err error, hint string, args ...any) *refusal {
	return &refusal{unproven: true, code: "credential_unusable", cause: err, hint: fmt.Sprintf(hint, args...), appOnly: c.appOnly(), shown: c.shown()}
}

// readCredential reads a small file whole. Its errors name the file and nothing
// of what is in it.
func readCredential(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	defer func() { _ = file.Close() }() // only read from
	data, err := io.ReadAll(io.LimitReader(file, maxCredential+1))
	switch {
	case err != nil:
		return nil, fileError(path, err)
	case len(data) > maxCredential:
		return nil, fmt.Errorf("%s is larger than %d KiB", path, maxCredential>>10)
	case len(strings.TrimSpace(string(data))) == 0:
		return nil, fmt.Errorf("%s is empty", path)
	}
	return data, nil
}

func fileError(path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist", path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s may not be read by this user", path)
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%s is a folder", path)
	default:
		return fmt.Errorf("%s cannot be read: %w", path, err)
	}
}
