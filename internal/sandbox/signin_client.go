package sandbox

// How an application shows who it is at the token endpoint: not at all (public),
// with a secret in the body or by Basic, or with a JWT that it signs with the
// key of a registered certificate (private_key_jwt).
// https://learn.microsoft.com/entra/identity-platform/certificate-credentials
//
// Modelled: alg PS256 and RS256, the certificate named by x5t#S256 or by the
// older x5t, aud, iss, sub, nbf and exp, the certificate's own dates. A lifetime
// over 10 minutes is refused, as documented; Entra was seen to be laxer. A jti
// may come again: nothing documented forbids it.
//
// Left out: assertions of other issuers (workload identity federation), subject
// name and issuer authentication (x5c), keys other than RSA, client TLS, several
// secrets, secrets that expire.

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // x5t is a SHA-1 thumbprint by definition (RFC 7515 §4.1.7)
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// assertionType is the only client_assertion_type there is.
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionLife and assertionSkew bound the window of an assertion.
const (
	assertionLife = 10 * time.Minute
	assertionSkew = 5 * time.Minute
)

// public says that the application has nothing to show.
func (a App) public() bool { return a.Secret == "" && len(a.Certificates) == 0 }

// authenticateClient finds the application of a token request and checks what it
// shows.
func (s *Sandbox) authenticateClient(c *signinCall, form url.Values) (App, *signinError) {
	if form.Get("client_id") == "" {
		return App{}, missing("client_id")
	}
	app, ok := s.app(form.Get("client_id"))
	if !ok {
		return App{}, errNoApp(form.Get("client_id"))
	}
	secret, assertion := form.Get("client_secret"), form.Get("client_assertion")
	switch {
	case app.public() && (secret != "" || assertion != ""):
		return app, errClient(700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.")
	case assertion != "":
		return app, s.checkAssertion(c, app, form.Get("client_assertion_type"), assertion)
	case secret == "" && form.Get("grant_type") == grantClient:
		return app, errClient(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	case app.public():
		return app, nil
	case secret == "":
		return app, errClient(7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
	case app.Secret == "" || subtle.ConstantTimeCompare([]byte(app.Secret), []byte(secret)) != 1:
		return app, errClient(7000215,
			"Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", app.ClientID)
	}
	return app, nil
}

func errClient(number int, format string, args ...any) *signinError {
	return newSigninError(http.StatusUnauthorized, "invalid_client", number, format, args...)
}

func errNoApp(id string) *signinError {
	return newSigninError(http.StatusBadRequest, "unauthorized_client", 700016,
		"Application with identifier '%s' was not found in the directory 'Contoso'.", id)
}

// assertionHead and assertionBody are the parts of a client assertion.
type assertionHead struct {
	Alg     string `json:"alg"`
	X5T     string `json:"x5t"`
	X5TS256 string `json:"x5t#S256"`
}

type assertionBody struct {
	Audience  audience `json:"aud"`
	Issuer    string   `json:"iss"`
	Subject   string   `json:"sub"`
	Expires   int64    `json:"exp"`
	NotBefore int64    `json:"nbf"`
	Issued    int64    `json:"iat"`
}

// audience is one text or a list (RFC 7519 §4.1.3).
type audience []string

// UnmarshalJSON reads either form.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(a))
}

// checkAssertion checks a client assertion against the certificates of the
// application.
func (s *Sandbox) checkAssertion(c *signinCall, app App, kind, jwt string) *signinError {
	if kind == "" {
		return missing("client_assertion_type")
	}
	if kind != assertionType {
		return newSigninError(http.StatusBadRequest, "invalid_request", 90023, "Unsupported 'client_assertion_type' value '%s'.", kind)
	}
	var head assertionHead
	var body assertionBody
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || decodePart(parts[0], &head) != nil || decodePart(parts[1], &body) != nil {
		return newSigninError(http.StatusBadRequest, "invalid_request", 50027, "JWT token is invalid or malformed.")
	}
	switch {
	case body.Issuer != body.Subject && strings.HasPrefix(body.Issuer, "https://"):
		return errClient(700211, "No matching federated identity record found for presented assertion issuer '%s'.", body.Issuer)
	case !strings.EqualFold(body.Issuer, app.ClientID), !strings.EqualFold(body.Subject, app.ClientID):
		return errClient(700021, "Client assertion application identifier doesn't match 'client_id' parameter.")
	}
	now := time.Now()
	if e := app.checkSignature(head, parts, now); e != nil {
		return e
	}
	if !slices.ContainsFunc(body.Audience, func(aud string) bool { return s.isTokenURL(c, aud) }) {
		return errClient(700023, "Client assertion audience claim does not match Realm issuer.")
	}
	from, to := time.Unix(max(body.NotBefore, body.Issued), 0), time.Unix(body.Expires, 0)
	start := from
	if body.NotBefore == 0 && body.Issued == 0 {
		start = now
	}
	if body.Expires == 0 || now.After(to.Add(assertionSkew)) || now.Add(assertionSkew).Before(from) || to.Sub(start) > assertionLife+assertionSkew {
		const layout = "2006-01-02T15:04:05.0000000Z"
		return errClient(700024, "Client assertion is not within its valid time range. Current time: %s, assertion valid from %s, expiry time of assertion %s.",
			now.UTC().Format(layout), from.UTC().Format(layout), to.UTC().Format(layout))
	}
	return nil
}

func decodePart(part string, into any) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// isTokenURL says whether an address is the token endpoint that was asked, with
// the tenant as the request, its GUID or its domain name.
func (s *Sandbox) isTokenURL(c *signinCall, address string) bool {
	return slices.ContainsFunc([]string{c.tenant, s.TenantID(), DefaultDomain}, func(tenant string) bool {
		return strings.EqualFold(address, c.root+"/"+tenant+"/oauth2/v2.0/token")
	})
}

// checkSignature finds the certificate and checks the signature with its key.
func (a App) checkSignature(head assertionHead, parts []string, now time.Time) *signinError {
	thumb := head.X5TS256
	if thumb == "" {
		thumb = head.X5T
	}
	shown := thumb
	if b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(thumb, "=")); err == nil {
		shown = strings.ToUpper(hex.EncodeToString(b))
	}
	fail := func(reason string) *signinError {
		return errClient(700027, "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - %s, Thumbprint of key used by client: '%s']", reason, shown)
	}
	i := slices.IndexFunc(a.Certificates, func(c *x509.Certificate) bool {
		long := sha256.Sum256(c.Raw)
		short := sha1.Sum(c.Raw) //nolint:gosec // x5t
		if head.X5TS256 != "" {
			return sameThumb(head.X5TS256, long[:])
		}
		return sameThumb(head.X5T, short[:])
	})
	if i < 0 || thumb == "" {
		return fail("The key was not found.")
	}
	cert := a.Certificates[i]
	key, ok := cert.PublicKey.(*rsa.PublicKey)
	if !ok {
		return fail("The key is not an RSA key.")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return fail("The provided signature value did not match the expected signature value.")
	}
	switch head.Alg {
	case "PS256":
		// A salt as long as the hash: RFC 7518 §3.5.
		err = rsa.VerifyPSS(key, crypto.SHA256, sum[:], sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case "RS256":
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig)
	default:
		return fail("The algorithm '" + head.Alg + "' is not supported.")
	}
	if err != nil {
		return fail("The provided signature value did not match the expected signature value.")
	}
	if now.After(cert.NotAfter) || now.Before(cert.NotBefore) {
		return fail("The key used is expired.")
	}
	return nil
}

func sameThumb(given string, sum []byte) bool {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(given, "="))
	return err == nil && subtle.ConstantTimeCompare(b, sum) == 1
}
