package tokenstore

import (
	"cmp"
	"fmt"
	"time"

	"outlook-connector/internal/fault"
)

// Role says what a process is to the token store.
type Role string

// The roles.
const (
	// RoleOwner holds the file, refreshes, and answers the others.
	RoleOwner Role = "owner"
	// RoleClient asks the owner.
	RoleClient Role = "client"
	// RoleCandidate holds the file and is not the owner yet: it cannot look who
	// has the lease, or has no grants and the owner that has them is away. It
	// refreshes none, and becomes the owner where somebody signs in.
	RoleCandidate Role = "candidate"
	// RoleStopped is neither, before Start and after Stop.
	RoleStopped Role = "stopped"
)

// Status is what a [Shared] says about itself. It holds no secret.
type Status struct {
	Role Role   `json:"role"`
	Path string `json:"path"`
	// Owner is who has the lease, where that is known.
	Owner *Owner `json:"owner,omitempty"`
	// Problem is why this process is not the owner, or cannot answer others;
	// empty where all is well. Hint says what to do about it.
	Problem string `json:"problem,omitempty"`
	Hint    string `json:"hint,omitempty"`
	// Clients are in the order of the configuration.
	Clients []ClientStatus `json:"clients"`
}

// Conditions of a client, the values of [ClientStatus].Condition.
const (
	// ConditionOK: tokens are handed out.
	ConditionOK = "ok"
	// ConditionNoGrant: nobody signed in yet.
	ConditionNoGrant = "no_grant"
	// ConditionNeedsReauth: the account must sign in again.
	ConditionNeedsReauth = "needs_reauth"
	// ConditionFailing: the last token request failed; it is made again.
	ConditionFailing = "failing"
	// ConditionUnknown: this process has not asked the owner yet.
	ConditionUnknown = "unknown"
)

// ClientStatus is the state of one client's grant. It holds no secret.
type ClientStatus struct {
	Client    string `json:"client"`
	Condition string `json:"condition"`
	// Code, Text and Hint say what is wrong and what to do where the condition
	// is not ok.
	Code string `json:"code,omitempty"`
	Text string `json:"text,omitempty"`
	Hint string `json:"hint,omitempty"`
	// Grant is how the client gets its tokens.
	Grant GrantType `json:"grant,omitempty"`
	// Credential names what the client shows the sign-in server ("client
	// secret", "certificate", "assertion file"), and CredentialEnds until when
	// that is good, where it is known: of a certificate. The owner knows.
	Credential     string    `json:"credential,omitempty"`
	CredentialEnds time.Time `json:"credential_ends,omitzero"`
	// Account, Scopes and Granted are known to the owner only. What an
	// application's own token may do is not known: Scopes holds what was asked.
	Account Account   `json:"account,omitzero"`
	Scopes  []string  `json:"scopes,omitempty"`
	Granted time.Time `json:"granted,omitzero"`
	// Refreshed is when this process last got a new token, Expiry when the
	// token at hand expires, NextTry when a failed request is made again.
	Refreshed  time.Time `json:"refreshed,omitzero"`
	Expiry     time.Time `json:"expiry,omitzero"`
	NextTry    time.Time `json:"next_try,omitzero"`
	Generation uint64    `json:"generation,omitempty"`
	// HasToken says that there is a token that lives now, whatever the
	// condition: work goes on until it expires.
	HasToken bool `json:"has_token"`
}

// explained fills in what is wrong.
func (c ClientStatus) explained(err error) ClientStatus {
	failure := fault.Of(err)
	c.Code, c.Text, c.Hint = failure.Code, failure.Error(), fault.HintOf(err)
	switch {
	case failure.Code == "no_grant":
		c.Condition = ConditionNoGrant
	case failure.Kind == fault.Reauth:
		c.Condition = ConditionNeedsReauth
	default:
		c.Condition = ConditionFailing
	}
	return c
}

// Status returns the state of every client's grant.
func (k *Keeper) Status() []ClientStatus {
	all := make([]ClientStatus, 0, len(k.names))
	for _, name := range k.names {
		status := k.holdings[name].status(time.Now())
		status.credential(k.holdings[name].endpoint)
		all = append(all, status)
	}
	return all
}

// Accounts returns who signed in at which client, as far as this process is the
// owner and so knows it; else nil. Unlike Status it reads no file and takes no
// time, so it may be asked often.
func (s *Shared) Accounts() map[string]Account {
	s.mu.RLock()
	keeper, owner := s.keeper, s.role() == RoleOwner
	s.mu.RUnlock()
	if !owner {
		return nil
	}
	accounts := make(map[string]Account)
	for _, name := range keeper.names {
		h := keeper.holdings[name]
		h.mu.Lock()
		if h.grant != nil && !h.client.appOnly() && !h.grant.appOnly() {
			accounts[name] = h.grant.Account
		}
		h.mu.Unlock()
	}
	return accounts
}

func (h *holding) status(now time.Time) ClientStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := ClientStatus{
		Client: h.client.Name, Grant: cmp.Or(h.client.Grant, GrantCode), Condition: ConditionOK,
		HasToken: h.usable(now).Access != "", Refreshed: h.refreshed,
	}
	if h.grant != nil && h.grant.appOnly() == h.client.appOnly() {
		c.Account, c.Scopes, c.Granted = h.grant.Account, h.grant.Scopes, h.grant.Granted
		c.Expiry, c.Generation = h.grant.Expiry, h.grant.Generation
	}
	err := h.obstacle(now)
	switch {
	case err != nil && (!c.HasToken || fault.Of(err).Code != "no_refresh_token" && fault.Of(err).Code != "no_lease"):
		c = c.explained(err)
		if after := fault.Of(err).After; after > 0 {
			c.NextTry = now.Add(after)
		}
	case h.failure != nil: // the wait is over and nobody has asked since
		c = c.explained(h.failure)
	case h.grant == nil: // of an application of its own
		c.Condition = ConditionUnknown
		c.Text = fmt.Sprintf("no token of %s was needed yet", h.client.Name)
	}
	return c
}

// credential fills in what is known of the client's credential. It reads files,
// so it is not done under a lock.
func (c *ClientStatus) credential(e *endpoint) {
	if e.proof == nil {
		return
	}
	name, until, err := e.proof.describe(time.Now())
	c.Credential, c.CredentialEnds = name, until
	if err != nil && c.Condition != ConditionFailing && c.Condition != ConditionNeedsReauth && c.Condition != ConditionNoGrant {
		// The token at hand works; the next request for one will not.
		failure := asRefusal(err).fault(c.Client)
		c.Condition, c.Code, c.Text, c.Hint = ConditionFailing, failure.Code, failure.Error(), failure.Hint
	}
}
