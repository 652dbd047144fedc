// Package fault says what can be done about an error.
//
// The edge that meets an error (the Graph client, the token store, JetStream)
// marks it once with its remedy. Loops ask for the remedy with [KindOf] and
// [Of] and never look at status codes or texts.
package fault

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Kind names the remedy of an error, not its cause.
type Kind int

// The remedies.
const (
	// Unknown is an error that nobody marked. It is treated like Retry and
	// logged with its kind, so that the missing mark is found.
	Unknown Kind = iota
	// Retry says that the same call may succeed later.
	Retry
	// Reauth says that the account must sign in again; its loop parks until
	// somebody does.
	Reauth
	// Resync says that a delta cursor is gone: enumerate again.
	Resync
	// Poison says that this message will never succeed: dead-letter it and go
	// on with the next.
	Poison
	// Fatal says that the process cannot do its work: stop it.
	Fatal
)

// String returns the lower-case name of the remedy, as used in logs.
func (k Kind) String() string {
	switch k {
	case Retry:
		return "retry"
	case Reauth:
		return "reauth"
	case Resync:
		return "resync"
	case Poison:
		return "poison"
	case Fatal:
		return "fatal"
	default:
		return "unknown"
	}
}

// Error is an error with its remedy and, for people, a hint.
type Error struct {
	// Kind is the remedy.
	Kind Kind
	// After is the least time to wait before a retry, as the other side asked
	// for it. Zero leaves the choice to the caller's backoff.
	After time.Duration
	// Ambiguous says that the failed call may have had its effect all the
	// same: the request left this process and no final answer came back.
	// A caller must not repeat an ambiguous call that is not repeatable.
	Ambiguous bool
	// Code is a short stable word for the cause, such as Graph's error code
	// ("ErrorItemNotFound") or our own ("policy_denied"). It may be empty.
	Code string
	// Hint is one sentence that tells a person what to do, with the command to
	// run where there is one. It may be empty.
	Hint string
	// Err is the cause. It must not be nil.
	Err error
}

// Error returns the text of the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the given kind with a formatted cause; %w works as
// in [fmt.Errorf].
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// WithHint sets what a person can do and returns the error.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// WithCode sets the stable word for the cause and returns the error.
func (e *Error) WithCode(code string) *Error {
	e.Code = code
	return e
}

// Of returns the outermost marked error in err's chain, or an [Error] of kind
// Unknown that wraps err. It returns nil only for a nil err.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	if marked, ok := errors.AsType[*Error](err); ok {
		return marked
	}
	return &Error{Kind: Unknown, Err: err}
}

// KindOf returns the remedy of err: Unknown where it carries none.
func KindOf(err error) Kind {
	if err == nil {
		return Unknown
	}
	return Of(err).Kind
}

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		marked, ok := errors.AsType[*Error](err)
		if !ok {
			return ""
		}
		if marked.Hint != "" {
			return marked.Hint
		}
		err = marked.Err
	}
	return ""
}

// Stopped reports whether err comes from a context that ended because its
// owner is stopping. Cancellation is not a failure: it is neither counted nor
// logged as an error.
func Stopped(ctx context.Context, err error) bool {
	return err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err())
}
