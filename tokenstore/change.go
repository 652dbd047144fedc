package tokenstore

import (
	"slices"
	"time"
)

// What happens to a grant.
const (
	// GrantSignedIn is a sign-in that was saved.
	GrantSignedIn = "signed_in"
	// GrantSignedOut is a grant that somebody removed.
	GrantSignedOut = "signed_out"
	// GrantEnded is a grant that the sign-in server refuses, until somebody signs
	// in again.
	GrantEnded = "ended"
)

// GrantChange says what happened to a client's grant. It has no token.
type GrantChange struct {
	// Change is one of GrantSignedIn, GrantSignedOut and GrantEnded.
	Change  string
	Client  string
	Grant   GrantType
	Account Account
	Scopes  []string
	// Granted is when the account signed in.
	Granted time.Time
	// Reason is the sign-in server's error word where the grant ended.
	Reason string
}

func (g *Grant) change(what string) GrantChange {
	return GrantChange{Change: what, Client: g.Client, Grant: g.Grant, Account: g.Account, Scopes: slices.Clone(g.Scopes), Granted: g.Granted}
}
