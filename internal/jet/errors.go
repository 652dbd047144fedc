package jet

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"outlook-connector/internal/fault"
)

// Errors that callers tell apart with [errors.Is].
var (
	// ErrFenced says that a cursor is no longer where the page began: another
	// worker got ahead. The page is not stored, or it is and the other worker
	// has already gone on from it (which takes a lost answer). Either way: read
	// the cursor and go on from there.
	ErrFenced = errors.New("another worker moved the cursor")
	// ErrConflict says that a ledger record is no longer the one that was
	// loaded. Load it and decide again.
	ErrConflict = errors.New("another worker changed the record")
	// ErrPageTooBig says that a page has more messages than one atomic batch
	// can hold, see [MaxPage].
	ErrPageTooBig = errors.New("page has too many messages for one batch")
	// ErrNoOwner says that no process serves the tokens of a client.
	ErrNoOwner = errors.New("no process serves tokens")
	// ErrNotFound says that there is no such dead letter, outcome or body.
	ErrNotFound = errors.New("not found")
)

// Codes of the server that are told apart here:
// https://github.com/nats-io/nats-server/blob/main/server/errors.json
const (
	codeStoreFailed          jetstream.ErrorCode = 10077 // also: subject or stream full under discard new
	codeWrongLastSeq         jetstream.ErrorCode = 10071
	codeWrongLastSeqConstant jetstream.ErrorCode = 10164
	codeInsufficient         jetstream.ErrorCode = 10023
	codeAccountResources     jetstream.ErrorCode = 10002
	codeMemoryExceeded       jetstream.ErrorCode = 10028
	codeStorageExceeded      jetstream.ErrorCode = 10047
	codeMaxBytes             jetstream.ErrorCode = 10122
	codeMsgTooLarge          jetstream.ErrorCode = 10054
	codeHeaderTooLarge       jetstream.ErrorCode = 10097
	codeStreamNotFound       jetstream.ErrorCode = 10059
	codeConsumerNotFound     jetstream.ErrorCode = 10014
	codeNotEnabled           jetstream.ErrorCode = 10076
	codeNotEnabledForAccount jetstream.ErrorCode = 10039
)

// apiCode returns the server's code in err, or 0: the server gave no verdict.
func apiCode(err error) jetstream.ErrorCode {
	// Not errors.AsType: jetstream.APIError and the errors that embed it are
	// found by their own interface.
	if e, ok := errors.AsType[jetstream.JetStreamError](err); ok && e.APIError() != nil {
		return e.APIError().ErrorCode
	}
	if e, ok := errors.AsType[*jetstream.APIError](err); ok {
		return e.ErrorCode
	}
	return 0
}

// subjectTaken reports that a subject already holds its one message, under
// DiscardNewPerSubject. The server uses one code for every refusal of the store.
func subjectTaken(err error) bool {
	return apiCode(err) == codeStoreFailed && strings.Contains(err.Error(), "per subject")
}

func wrongSequence(err error) bool {
	code := apiCode(err)
	return code == codeWrongLastSeq || code == codeWrongLastSeqConstant
}

// mark gives err its remedy and says what was being done. ctx is the caller's:
// its end is no failure and gets no mark. An error that has a mark keeps it.
func mark(ctx context.Context, err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	doing := fmt.Sprintf(format, args...)
	if _, marked := errors.AsType[*fault.Error](err); marked {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if fault.Stopped(ctx, err) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	e := &fault.Error{Kind: fault.Retry, Err: fmt.Errorf("%s: %w", doing, err)}
	if code := apiCode(err); code != 0 {
		e.Kind, e.Code, e.Hint = remedyOfCode(code, err)
		return e
	}
	e.Kind, e.Code, e.Hint, e.Ambiguous = remedyOfClient(err)
	return e
}

// remedyOfCode is what to do about an answer of the server.
func remedyOfCode(code jetstream.ErrorCode, err error) (fault.Kind, string, string) {
	switch code {
	case codeInsufficient, codeAccountResources, codeMemoryExceeded, codeStorageExceeded, codeMaxBytes:
		return fault.Retry, "store_full", fullHint
	case codeStoreFailed:
		if strings.Contains(err.Error(), "maximum") {
			return fault.Retry, "store_full", fullHint
		}
		return fault.Retry, "store_failed", "look at the NATS server's log: its store refuses writes"
	case codeMsgTooLarge, codeHeaderTooLarge:
		return fault.Poison, "too_large", "make the message smaller, or raise max_payload and the stream's max_msg_size"
	case codeStreamNotFound, codeConsumerNotFound:
		return fault.Retry, "stream_missing", "a stream or consumer is gone: restart the program with nats.manage_streams: true to make it again"
	case codeNotEnabled, codeNotEnabledForAccount:
		return fault.Fatal, "jetstream_disabled", "turn JetStream on for the server and for the account of these credentials"
	default:
		return fault.Retry, "", ""
	}
}

const fullHint = "the store is full: consume or purge events, shorten ttl, or give JetStream more room; nothing is lost meanwhile"

// remedyOfClient is what to do where the server gave no verdict. The last
// result says that the request may have had its effect.
func remedyOfClient(err error) (kind fault.Kind, code, hint string, ambiguous bool) {
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fault.Fatal, "jetstream_disabled", "turn JetStream on for the server and for the account of these credentials", false
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return fault.Fatal, "nats_auth", "check the user, credentials_file or context in the nats section", false
	case errors.Is(err, nats.ErrPermissionViolation):
		return fault.Fatal, "nats_permission", "allow this NATS user the subjects and the JetStream API of the connector; the NATS server's log names what it refused", false
	case errors.Is(err, nats.ErrMaxPayload):
		return fault.Poison, "too_large", "make the message smaller, or raise max_payload of the NATS server", false
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return fault.Retry, "no_stream", "no stream takes this subject: is the connector's worker set up on this NATS account, and is the name right?", false
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrNoServers), errors.Is(err, errNotConnected):
		return fault.Retry, "not_connected", "is the NATS server running, and is its address right?", false
	case errors.Is(err, jetstreamext.ErrInvalidBatchAck):
		return fault.Retry, "", "", true
	default:
		lost := errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errNoAnswer) || errors.Is(err, errLost)
		return fault.Retry, "", "", lost
	}
}
