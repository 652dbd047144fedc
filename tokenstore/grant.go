package tokenstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"outlook-connector/internal/seal"
)

// State says whether a grant can be refreshed.
type State string

// The states of a grant.
const (
	// StateOK is a grant that works as far as we know.
	StateOK State = "ok"
	// StateNeedsReauth is a grant that the sign-in server refused for good: the
	// account must sign in again. The record stays, so that one can see whose
	// grant it was and why it ended.
	StateNeedsReauth State = "needs_reauth"
)

// Account is who signed in, as the id token said. Any field may be empty.
type Account struct {
	// Tenant is the id of the directory (tid).
	Tenant string `json:"tenant,omitempty"`
	// ObjectID is the id of the user in the directory (oid).
	ObjectID string `json:"oid,omitempty"`
	// UPN is the sign-in name (preferred_username). It can change; it is for
	// people to read, not a key.
	UPN string `json:"upn,omitempty"`
	// Name is the display name.
	Name string `json:"name,omitempty"`
}

// Grant is what the store keeps for one client.
type Grant struct {
	// Client is the client's name; the store holds one grant for each.
	Client string
	// ClientID and TokenHost are the application and the sign-in server that
	// the grant came from. A refresh token is sent to no other.
	ClientID, TokenHost string
	// Grant is how it came about. The token of an application itself must never
	// be used where a person's is meant, nor the other way round.
	Grant GrantType
	// Account is who signed in; empty for [GrantCredentials].
	Account Account
	// Scopes are the scopes that were granted, where the server said so.
	Scopes []string
	// Granted is when the account signed in.
	Granted time.Time
	// Access is the newest access token; Issued and Expiry bound its life.
	Access         seal.Secret
	Issued, Expiry time.Time
	// Refresh is the newest refresh token; empty where there is none.
	Refresh seal.Secret
	// Generation counts the access tokens of this client upwards.
	Generation uint64
	// Epoch is that of the owner who saved the record. The store refuses a record
	// with an earlier epoch than the one that is there.
	Epoch uint64
	// State says whether the grant works, and Reason is the error word of the
	// sign-in server ("invalid_grant") where it does not.
	State  State
	Reason string
	// RefusedAt is when the refresh token was refused for the first time since
	// it last worked. Zero: it was not.
	RefusedAt time.Time
	// Claims are what the next sign-in must ask for, where the sign-in server or
	// Graph demanded that; see [Keeper.Claims]. No secret, but a foreign text.
	Claims seal.Secret
}

// appOnly says that the grant is the application's own.
func (g *Grant) appOnly() bool { return g.Grant == GrantCredentials }

// token returns the access token of the grant.
func (g *Grant) token() Token {
	return Token{Access: g.Access, Issued: g.Issued, Expiry: g.Expiry, Generation: g.Generation}
}

// record is the stored form of a grant. Here, and nowhere else, the tokens are
// plain strings: a [seal.Secret] would be stored as "«redacted»".
type record struct {
	Client     string    `json:"client"`
	ClientID   string    `json:"client_id"`
	TokenHost  string    `json:"token_host"`
	Grant      GrantType `json:"grant,omitempty"`
	Account    Account   `json:"account"`
	Scopes     []string  `json:"scopes,omitempty"`
	Granted    time.Time `json:"granted"`
	Access     string    `json:"access"`
	Issued     time.Time `json:"issued"`
	Expiry     time.Time `json:"expiry"`
	Refresh    string    `json:"refresh,omitempty"`
	Generation uint64    `json:"generation"`
	Epoch      uint64    `json:"epoch,omitempty"`
	State      State     `json:"state"`
	Reason     string    `json:"reason,omitempty"`
	RefusedAt  time.Time `json:"refused_at,omitzero"`
	Claims     string    `json:"claims,omitempty"`
}

func encodeGrant(g Grant) ([]byte, error) {
	data, err := json.Marshal(record{
		Client: g.Client, ClientID: g.ClientID, TokenHost: g.TokenHost, Grant: g.Grant, Account: g.Account, Scopes: g.Scopes,
		Granted: g.Granted, Access: g.Access.Reveal(), Issued: g.Issued, Expiry: g.Expiry, Refresh: g.Refresh.Reveal(),
		Generation: g.Generation, Epoch: g.Epoch, State: g.State, Reason: g.Reason, RefusedAt: g.RefusedAt, Claims: g.Claims.Reveal(),
	})
	if err != nil {
		return nil, errors.New("the grant cannot be encoded") // the cause could quote a token
	}
	return data, nil
}

func decodeGrant(data []byte) (Grant, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return Grant{}, errors.New("the grant is not in a known form") // likewise
	}
	if r.State != StateOK && r.State != StateNeedsReauth {
		return Grant{}, fmt.Errorf("the grant has the unknown state %q: a newer version wrote it", r.State)
	}
	return Grant{
		Client: r.Client, ClientID: r.ClientID, TokenHost: r.TokenHost, Grant: r.Grant, Account: r.Account, Scopes: r.Scopes,
		Granted: r.Granted, Access: seal.Secret(r.Access), Issued: r.Issued, Expiry: r.Expiry, Refresh: seal.Secret(r.Refresh),
		Generation: r.Generation, Epoch: r.Epoch, State: r.State, Reason: r.Reason, RefusedAt: r.RefusedAt, Claims: seal.Secret(r.Claims),
	}, nil
}
