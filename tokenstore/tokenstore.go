// Package tokenstore owns the grants that people gave: it signs in, keeps every
// grant sealed in one bbolt file, refreshes access tokens and hands them out.
//
// It promises that a refreshed token is on disk before anyone sees it, that one
// grant has one refresh at a time however many callers ask, that a refresh that
// fails or hangs does not disturb callers while the old token lives, and that
// neither a token nor a secret appears in an error, a log line or a metric.
// Refresh tokens never leave the process that holds the file; other processes
// ask it for access tokens ([Remote]). How questions and answers travel is left
// to the caller, and so are the pages on which people sign in.
package tokenstore

import (
	"context"
	"time"

	"outlook-connector/internal/seal"
)

// Source hands out access tokens. [Keeper], [Remote] and [Shared] are sources.
// Implementations are safe for concurrent use.
type Source interface {
	// Token returns an access token of the client that lives for minLife, or
	// for a little while where minLife is zero. It blocks only when there is no
	// living token; a caller whose context ends stops waiting, and the refresh
	// goes on for the others. A token that is about to expire is still returned
	// when no better one can be had. Errors are marked with their remedy: Retry
	// (the sign-in server or the owner of the tokens cannot be reached) or
	// Reauth (a person must act; the hint says who and how).
	Token(ctx context.Context, client string, minLife time.Duration) (Token, error)
	// Reject says that Graph answered 401 to this token, or that it asked for
	// claims (Token.Claims). It is not handed out again: the next Token
	// refreshes once, with the claims if there are any. Rejecting a token that
	// was already replaced does nothing, so every caller that met the 401 may
	// say so.
	Reject(ctx context.Context, client string, rejected Token)
}

// Token is an access token with its life. The zero value is no token.
type Token struct {
	// Access is the bearer token itself.
	Access seal.Secret
	// Issued and Expiry bound the life of the token by this machine's clock.
	Issued, Expiry time.Time
	// Generation counts the tokens of one grant upwards, across restarts.
	Generation uint64
	// Claims is for [Source].Reject only: the JSON of the claims challenge with
	// which Graph refused the token, empty for a plain 401. Token returns none.
	// https://learn.microsoft.com/entra/identity-platform/claims-challenge
	Claims string
}
