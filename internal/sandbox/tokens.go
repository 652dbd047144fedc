package sandbox

// Access tokens and id tokens. An access token is a JWT that only this sandbox
// can read (HS256 with the instance's secret): to a client it is opaque, as
// Graph's are. It survives a restart with a store. One for a person carries scp
// and upn; one for an application carries roles and idtyp "app" instead. An id
// token is RS256. https://learn.microsoft.com/entra/identity-platform/access-tokens
//
// Here is also where Graph looks at a token: signature, life, and whether
// something has happened to the account since (signin_accounts.go).

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// claims are what the sandbox reads from its own access tokens.
type claims struct {
	Audience  string `json:"aud"`
	Issued    int64  `json:"iat"`
	NotBefore int64  `json:"nbf"`
	Expires   int64  `json:"exp"`
	AppID     string `json:"appid"`
	// Kind is "app" for a token without a person, else "user".
	Kind   string   `json:"idtyp"`
	Scopes string   `json:"scp,omitempty"`
	Roles  []string `json:"roles,omitempty"`
	OID    string   `json:"oid"` // the person, or the application's service principal
	Tenant string   `json:"tid"`
	UPN    string   `json:"upn,omitempty"`
	ID     string   `json:"uti"`
	// Capabilities are what the client said it can do: cp1 is to answer claims
	// challenges.
	Capabilities []string `json:"xms_cc,omitempty"`

	// The rest is the sandbox's own. ExpireAccessTokens ends all up to a
	// generation; the others are explained at account.
	Generation int64 `json:"xms_gen,omitempty"`
	Challenges int64 `json:"xms_chg,omitempty"`
	Answered   int64 `json:"xms_ans,omitempty"`
}

const kindApp = "app"

// appOnly says that the token is an application's own: nobody is signed in.
func (c claims) appOnly() bool { return c.Kind == kindApp }

// has says whether the token carries a permission, delegated or of the
// application.
func (c claims) has(name string) bool {
	for s := range strings.SplitSeq(c.Scopes, " ") {
		if s == name {
			return true
		}
	}
	return slices.Contains(c.Roles, name)
}

// delegated are the claims of a token for a person.
func delegated(who Person, app string, scopes []string) claims {
	return claims{AppID: app, Kind: "user", OID: who.ID, UPN: who.UPN, Scopes: strings.Join(shownScopes(scopes), " ")}
}

// shownScopes leaves out what is no permission at a resource but a wish to the
// sign-in.
func shownScopes(scopes []string) []string {
	return slices.DeleteFunc(slices.Clone(scopes), func(s string) bool { return s == "offline_access" })
}

const jwtHead = `{"typ":"JWT","alg":"HS256"}`

// mint makes an access token; it fills in what does not depend on whom it is
// for.
func (st *state) mint(c claims, now time.Time, life time.Duration) string {
	c.Audience, c.Tenant, c.ID, c.Generation = graphResource, st.Tenant, randomText(16), st.generation
	c.Issued, c.NotBefore, c.Expires = now.Unix(), now.Unix(), now.Add(life).Unix()
	if !c.appOnly() {
		c.Challenges = st.account(c.OID).Challenges
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(jwtHead)) + "." + base64.RawURLEncoding.EncodeToString(appendJSON(nil, c))
	return signed + "." + base64.RawURLEncoding.EncodeToString(accessMAC(st.Secret, signed))
}

func accessMAC(secret []byte, signed string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("access token"))
	mac.Write([]byte(signed))
	return mac.Sum(nil)
}

// authenticate reads the bearer token of a request to Graph.
func (s *Sandbox) authenticate(r *http.Request) (claims, error) {
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(kind, "Bearer") || token == "" {
		return claims{}, errToken("Access token is empty.")
	}
	c, known := s.tokens.get(token)
	if !known {
		var err error
		if c, err = s.readToken(token); err != nil {
			return claims{}, err
		}
		s.tokens.put(token, c)
	}
	var generation int64
	var acc account
	s.read(func(st *state) { generation, acc = st.generation, st.account(c.OID) })
	if time.Now().Unix() >= c.Expires || c.Generation < generation {
		return c, errToken("Lifetime validation failed, the token is expired.")
	}
	if err := acc.refuses(c); err != nil {
		return c, err
	}
	return c, nil
}

// readToken reads a token and checks that this sandbox signed it.
func (s *Sandbox) readToken(token string) (claims, error) {
	var c claims
	i := strings.LastIndexByte(token, '.')
	if strings.Count(token, ".") != 2 {
		return c, errToken("CompactToken parsing failed with error code: 80049217")
	}
	_, payload, _ := strings.Cut(token[:i], ".")
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(b, &c) != nil {
		return c, errToken("CompactToken parsing failed with error code: 80049217")
	}
	var secret []byte
	s.read(func(st *state) { secret = st.Secret })
	mac, err := base64.RawURLEncoding.DecodeString(token[i+1:])
	if err != nil || !hmac.Equal(mac, accessMAC(secret, token[:i])) {
		return c, errToken("Access token validation failure. Invalid signature.")
	}
	return c, nil
}

const challengeHead = `Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`

func errToken(text string) *graphError {
	return newError(http.StatusUnauthorized, "InvalidAuthenticationToken", "%s", text).with("WWW-Authenticate", challengeHead)
}

// Token makes an access token without a sign-in, for tests that are about
// something else. Scopes: separated by spaces.
func (s *Sandbox) Token(upn, scopes string) (string, error) {
	list, e := readScopes(scopes)
	if e == nil {
		list, e = expandDefault(App{}, "", list)
	}
	if e != nil {
		return "", e
	}
	var token string
	s.read(func(st *state) {
		if box := st.mailboxNamed(upn); box != nil {
			token = st.mint(delegated(box.Person, DefaultClientID, list), time.Now(), s.opts.tokenLife)
		}
	})
	if token == "" {
		return "", errors.New("sandbox: no account " + upn)
	}
	return token, nil
}

// AppToken makes an access token of an application, with nobody signed in and
// without asking for the application's secret, for tests that are about
// something else. Roles are application permissions, separated by spaces; empty
// stands for what the application was granted.
func (s *Sandbox) AppToken(clientID, roles string) (string, error) {
	app, ok := s.app(clientID)
	if !ok {
		return "", errors.New("sandbox: no application " + clientID)
	}
	list := strings.Fields(roles)
	for _, role := range list {
		if !slices.Contains(knownPermissions().Application, role) {
			return "", errors.New("sandbox: no application permission " + role)
		}
	}
	var token string
	s.read(func(st *state) {
		if roles == "" {
			list = st.granted(app)
		}
		token = st.mintApp(app, list, time.Now(), s.opts.tokenLife)
	})
	return token, nil
}

// mintApp makes a token of an application. Its oid is that of the service
// principal, the application's account in the tenant.
func (st *state) mintApp(app App, roles []string, now time.Time, life time.Duration) string {
	return st.mint(claims{AppID: app.ClientID, Kind: kindApp, OID: seededGUID(st.Seed, "service principal "+app.ClientID), Roles: roles}, now, life)
}

// ExpireAccessTokens makes every access token that was given out so far an
// expired one. Refresh tokens stay good.
func (s *Sandbox) ExpireAccessTokens() {
	err := s.update(func(t *tx) error {
		t.do(record{Counters: &counters{Seq: t.seq, NextKey: t.nextKey, Epoch: t.epoch, Generation: t.generation + 1}})
		return nil
	})
	if err != nil {
		s.log.Error("expire access tokens failed", "error", err.Error())
	}
}

// signingKey signs id tokens. Its factors are published primes (RFC 2409 group
// 2 and the 1024-bit group of RFC 5054), so it is a secret to nobody, costs
// nothing to make and is the same in every sandbox.
type signingKey struct{ *rsa.PrivateKey }

const (
	primeP = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD" +
		"EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED" +
		"EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF"
	primeQ = "EEAF0AB9ADB38DD69C33F80AFA8FC5E86072618775FF3C0B9EA2314C9C256576D674DF7496EA81D3383B4813D692C6E0" +
		"E0D5D8E250B98BE48E495C1D6089DAD15DC7D7B46154D6B6CE8EF4AD69B15D4982559B297BCF1885C529F566660E57EC" +
		"68EDBC3C05726CC02FD4CBF4976EAA9AFD5138FE8376435B9FC61D2FC0EB06E3"
)

// theSigningKey is made once; making it costs a millisecond.
var theSigningKey = sync.OnceValue(func() signingKey {
	p, _ := new(big.Int).SetString(primeP, 16)
	q, _ := new(big.Int).SetString(primeQ, 16)
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q}}
	k.D = new(big.Int).ModInverse(big.NewInt(int64(k.E)), phi)
	k.Precompute()
	return signingKey{k}
})

// keyID is a name, as good as any.
const keyID = "sandbox-1"

// set is the JSON Web Key Set.
func (k signingKey) set() any {
	return map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "kid": keyID, "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes()),
	}}}
}

// idToken makes the id token of an answer.
func (s *Sandbox) idToken(who Person, g *grant, nonce, issuer string, now time.Time) string {
	tenant := s.TenantID()
	c := map[string]any{
		"aud": g.App, "iss": issuer + "/" + tenant + "/v2.0", "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"oid": who.ID, "tid": tenant, "sub": who.ID, "ver": "2.0",
	}
	if slices.Contains(g.Scopes, "profile") || slices.Contains(g.Scopes, "email") {
		c["name"], c["email"] = who.Name(), who.UPN
	}
	c["preferred_username"] = who.UPN
	if nonce != "" {
		c["nonce"] = nonce
	}
	signed := base64.RawURLEncoding.EncodeToString(appendJSON(nil, map[string]string{"typ": "JWT", "alg": "RS256", "kid": keyID})) +
		"." + base64.RawURLEncoding.EncodeToString(appendJSON(nil, c))
	sum := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(rand.Reader, s.keys.PrivateKey, crypto.SHA256, sum[:])
	if err != nil {
		panic("sandbox: sign id token: " + err.Error()) // the key is a constant
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func numberText(n int) string { return strconv.Itoa(n) }
