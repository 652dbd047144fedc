package tokenstore

import (
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
	// RoleStopped is neither, before Start and after Stop.
	RoleStopped Role = "stopped"
)

// Status is what a [Shared] says about itself. It holds no secret.
type Status struct {
	Role Role   `json:"role"`
	Path string `json:"path"`
	// Problem is why this process is not the owner, or cannot answer others;
	// empty where all is well.
	Problem string `json:"problem,omitempty"`
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
	// Account, Scopes and Granted are known to the owner only.
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
		all = append(all, k.holdings[name].status(time.Now()))
	}
	return all
}

func (h *holding) status(now time.Time) ClientStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := ClientStatus{Client: h.client.Name, Condition: ConditionOK, HasToken: h.usable(now).Access != "", Refreshed: h.refreshed}
	if h.grant != nil {
		c.Account, c.Scopes, c.Granted = h.grant.Account, h.grant.Scopes, h.grant.Granted
		c.Expiry, c.Generation = h.grant.Expiry, h.grant.Generation
	}
	err := h.obstacle(now)
	switch {
	case err != nil && (!c.HasToken || fault.Of(err).Code != "no_refresh_token"):
		c = c.explained(err)
		if after := fault.Of(err).After; after > 0 {
			c.NextTry = now.Add(after)
		}
	case h.failure != nil: // the wait is over and nobody has asked since
		c = c.explained(h.failure)
	}
	return c
}
