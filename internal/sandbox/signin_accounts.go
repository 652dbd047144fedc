package sandbox

// What an administrator, or the person, does to an account, and what becomes of
// its tokens.
//
// Modelled: revoking all sessions, a changed password (which leaves the refresh
// tokens of confidential clients alone), a disabled account, and the claims
// challenge of continuous access evaluation: a client that declared the
// capability cp1 is told with a 401 to get a token with certain claims, whatever
// the token's life says; any other client goes on until its token expires.
// https://learn.microsoft.com/entra/identity-platform/refresh-tokens
// https://learn.microsoft.com/entra/identity-platform/claims-challenge
// https://learn.microsoft.com/entra/identity-platform/app-resilience-continuous-access-evaluation
//
// Left out: the long life (up to 28 hours) of tokens for cp1 clients, challenges
// by network location, challenges of applications without a person.

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// account is what is noted about a person's account. The zero value is an
// account like any other.
type account struct {
	Disabled bool `json:"disabled,omitempty"`
	// Challenges counts the calls of ChallengeClaims. A token of a client
	// without cp1 that was made at a lower count is expired.
	Challenges int64 `json:"challenges,omitempty"`
	// NotBefore is the nbf that a cp1 client must ask for in its claims
	// parameter; 0: it was never challenged. A fresh sign-in counts as having
	// asked.
	NotBefore int64 `json:"not_before,omitempty"`
}

// The journal keeps consents by a person and an application. These stand in the
// place of the person where something else is noted about the second one.
const (
	notedAccount = "account" // of the person whose object id follows
	notedTenant  = "tenant"  // delegated permissions, consented to for everybody
	notedRoles   = "roles"   // application permissions
)

func (st *state) account(id string) account {
	var a account
	if text := st.consents[notedAccount+" "+id]; text != "" {
		_ = json.Unmarshal([]byte(text), &a) // written by changeAccount alone
	}
	return a
}

// changeAccount changes what is noted about a person.
func (s *Sandbox) changeAccount(upn string, change func(a *account)) error {
	err := s.update(func(t *tx) error {
		box := t.mailboxNamed(upn)
		if box == nil {
			return errors.New("no account " + upn)
		}
		a := t.account(box.ID)
		change(&a)
		t.do(record{Consent: &consentRecord{Person: notedAccount, App: box.ID, Scopes: string(appendJSON(nil, a))}})
		return nil
	})
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	return nil
}

// critical notes an event after which Graph asks cp1 clients for a newer token.
func (a *account) critical() { a.NotBefore = max(time.Now().Unix(), a.NotBefore+1) }

// refuses says whether Graph takes a token of this account.
func (a account) refuses(c claims) error {
	if !slices.Contains(c.Capabilities, capabilityCP1) {
		if c.Challenges < a.Challenges && !c.appOnly() {
			return errToken("Lifetime validation failed, the token is expired.")
		}
		return nil
	}
	if c.Answered >= a.NotBefore {
		return nil
	}
	wanted := `{"access_token":{"nbf":{"essential":true, "value":"` + strconv.FormatInt(a.NotBefore, 10) + `"}}}`
	return newError(http.StatusUnauthorized, "InvalidAuthenticationToken",
		"Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp").
		with("WWW-Authenticate", challengeHead+`, error="insufficient_claims", claims="`+base64.StdEncoding.EncodeToString([]byte(wanted))+`"`)
}

// RevokeSessions makes all refresh tokens of a person useless, as an
// administrator does. Access tokens stay good until they expire, except those of
// clients that declared cp1: these get a claims challenge.
func (s *Sandbox) RevokeSessions(upn string) {
	s.endSessions(upn, func(*grant) bool { return true })
}

// ChangePassword does to the tokens of a person what a new password does: the
// refresh tokens of public applications are revoked, those of applications with
// a secret or certificate stay.
func (s *Sandbox) ChangePassword(upn string) {
	s.endSessions(upn, func(g *grant) bool {
		app, ok := s.app(g.App)
		return !ok || app.public()
	})
}

func (s *Sandbox) endSessions(upn string, which func(*grant) bool) {
	var id string
	s.read(func(st *state) {
		if b := st.mailboxNamed(upn); b != nil {
			id = b.ID
		}
	})
	if id == "" {
		return
	}
	s.revoke(func(g *grant) bool { return g.Person == id && which(g) })
	if err := s.changeAccount(upn, (*account).critical); err != nil {
		s.log.Error("revoke failed", "error", err.Error())
	}
}

// ChallengeClaims has Graph refuse every access token of a person that was made
// so far. A client that declared the capability cp1 is answered with a claims
// challenge until it gets a token with a claims parameter that holds the
// challenge's nbf, or by a new sign-in; for any other its token has expired.
// Refresh tokens stay good.
func (s *Sandbox) ChallengeClaims(upn string) error {
	return s.changeAccount(upn, func(a *account) {
		a.critical()
		a.Challenges++
	})
}

// DisableAccount blocks a person's sign-in, or unblocks it. While blocked there
// are no new tokens (AADSTS50057), not even by refresh tokens, which are good
// again afterwards.
func (s *Sandbox) DisableAccount(upn string, disabled bool) error {
	return s.changeAccount(upn, func(a *account) {
		if a.Disabled = disabled; disabled {
			a.critical()
		}
	})
}

func errDisabled() *signinError {
	return invalidGrant(50057, "The user account is disabled.")
}

// capabilityCP1 says that a client can answer claims challenges.
const capabilityCP1 = "cp1"

// claimsAsked is what the sandbox reads from a claims parameter.
// https://learn.microsoft.com/entra/identity-platform/claims-challenge
type claimsAsked struct {
	capabilities []string
	notBefore    int64
}

// readClaims reads a claims parameter; empty is none.
func readClaims(text string) (claimsAsked, *signinError) {
	var asked claimsAsked
	if text == "" {
		return asked, nil
	}
	type request struct {
		Value  json.RawMessage `json:"value"`
		Values []string        `json:"values"`
	}
	var doc struct {
		AccessToken map[string]*request `json:"access_token"`
	}
	bad := newSigninError(http.StatusBadRequest, "invalid_request", 90023, "The 'claims' parameter is not a valid claims request.")
	if json.Unmarshal([]byte(text), &doc) != nil {
		return asked, bad
	}
	if cc := doc.AccessToken["xms_cc"]; cc != nil {
		for _, name := range cc.Values {
			if strings.EqualFold(name, capabilityCP1) {
				asked.capabilities = []string{capabilityCP1}
			}
		}
	}
	if nbf := doc.AccessToken["nbf"]; nbf != nil {
		n, err := strconv.ParseInt(strings.Trim(string(nbf.Value), `"`), 10, 64)
		if err != nil {
			return asked, bad
		}
		asked.notBefore = n
	}
	return asked, nil
}

// join adds what was asked for at another step of the same sign-in.
func (a claimsAsked) join(o claimsAsked) claimsAsked {
	if len(o.capabilities) > 0 {
		a.capabilities = o.capabilities
	}
	a.notBefore = max(a.notBefore, o.notBefore)
	return a
}
