package publisher

import (
	"context"
	"errors"
	"time"

	"outlook-connector/internal/catalog"
)

// Outlook makes requests. [internal/graph] is behind it in the program.
type Outlook interface {
	// Ready returns nil where a request of this client could have its token now,
	// and otherwise why not, marked as by Do and never ambiguous: Reauth where
	// somebody must sign in. It has no effect, and promises nothing for the next
	// moment. It is asked before each Do. It must be safe for concurrent use.
	Ready(ctx context.Context, client string) error
	// Do makes one attempt, never a hidden repeat, and returns when it is
	// answered or ctx ends. Any 2xx is a nil error, whatever its headers or
	// body. Every other end is an error marked with internal/fault:
	//
	//   - Ambiguous where the request may have had its effect: bytes left and no
	//     final answer came back, or the answer was 408, a 5xx other than 501, or
	//     a redirect;
	//   - Kind Retry where the same request may succeed later, with After as the
	//     other side asked for it; Reauth where the client must sign in; Poison
	//     where it will never succeed.
	//
	// An error without a mark is taken as ambiguous. The answer carries what is
	// known of it beside an error too (status, request ids), and is zero where
	// nothing came back. It must be safe for concurrent use.
	Do(ctx context.Context, call Call) (Answer, error)
}

// Call is one request to Outlook.
type Call struct {
	// Client is the name of the client that makes it.
	Client string
	// Mailbox is "me", a user or a group's id in lower case, or "-".
	Mailbox string
	// Operation is what to do, and Params are its parameters.
	Operation *catalog.Operation
	Params    catalog.Params
	// Target is what Operation.Build made of Params, where that was looked at; nil
	// or one that fits others ([catalog.Target.Fits]) means that it is to be built.
	Target *catalog.Target
	// Method, Path, RawQuery and Template are what Operation.Build makes of
	// Params, so that nobody who only wants to send has to build it again:
	// Method is POST, PATCH, PUT or DELETE; Path is escaped, begins with a slash and is relative to …/v1.0; RawQuery
	// is escaped and without the question mark; Template is the path's template.
	Method, Path, RawQuery, Template string
	// Header are the headers that the message asks for, by canonical name; all
	// are from a short list. Nobody changes them.
	Header map[string]string
	// Body is the body of the request, empty for one without. ContentType says
	// what it is; "" means a JSON object. It may be a part of the message's text:
	// nobody changes it.
	Body        []byte
	ContentType string
	// Batch says that the request may go to Graph in one HTTP request with others of
	// the client: the publisher wants it, and [catalog.Operation.Batches]. Its end is
	// told as if it had gone alone. How many of these are made at a time is for
	// Outlook to bound, by [AtGraph]: several are one request.
	Batch bool
	// RequestID is to be sent as client-request-id, which Graph writes down for
	// support (https://learn.microsoft.com/graph/best-practices-concept). It is
	// new for each attempt and says nothing about repetition.
	RequestID string
	// Deadline returns the moment from which somebody else may be given the
	// command; nil means never. It moves, and so is asked right before each send:
	// once it has come nothing is sent, and the error is of kind Retry, not
	// ambiguous, with the code "deadline_passed".
	Deadline func() time.Time
}

// codeDeadlinePassed is the code of a request that was not sent because of
// [Call.Deadline].
const codeDeadlinePassed = "deadline_passed"

// Answer is what came back.
type Answer struct {
	// Status is the HTTP status, zero where none came.
	Status int
	// RequestID is Graph's request-id, ClientRequestID the client-request-id
	// that was sent; an empty one means that Call.RequestID was.
	RequestID, ClientRequestID string
	// Body is the body as it came. What is not JSON is left out of the outcome.
	Body []byte
}

// ErrConflict is returned by [Journal.Save] where the record is not at the
// expected revision any more.
var ErrConflict = errors.New("record was changed by somebody else")

// Journal keeps one record per command. It must be safe for concurrent use.
type Journal interface {
	// Load returns the record of a key as the last successful Save of anybody
	// left it (read from the leader, never from a copy that may lag), and its
	// revision. No record is nil data and revision 0, without an error.
	Load(ctx context.Context, key string) (data []byte, revision uint64, err error)
	// Save stores data if the key is still at the given revision, and returns
	// the new one; ErrConflict where it is not. After any other error the record
	// may or may not be stored, but for one of kind Poison: this very text can
	// never be stored (it is too large). Revision 0 means that there is no record.
	//
	// A key has the form <publisher>.<rest>, with letters, digits, "_" and "-"
	// in both parts. Records must outlive their command by days: a key that is
	// forgotten can be used again.
	Save(ctx context.Context, key string, data []byte, revision uint64) (uint64, error)
}

// Outcomes tells the world what came of a command. Everything is told again
// after a crash, so each method must bear repetition. An error of kind Poison
// says that this very text cannot be stored (it is too large); anything else is
// tried again. It must be safe for concurrent use.
type Outcomes interface {
	// Begin begins to store the outcome (JSON of [Outcome]) as the last word on
	// outlook.result.<id>, and returns at once. What it returns is called once, waits
	// until that is done or ctx ends, and returns nil only when it is stored.
	Begin(ctx context.Context, id string, body []byte) (stored func() error)
	// Told returns the outcome that is stored on outlook.result.<id>, as the last
	// successful Begin of anybody left it (read from the leader), and nil without an
	// error where there is none. Results may be forgotten after days.
	Told(ctx context.Context, id string) ([]byte, error)
	// Reply sends a copy to a subject that was checked. It is not stored.
	Reply(ctx context.Context, subject string, body []byte) error
	// Dead stores a dead letter under the name of a publisher, which is "unknown"
	// where the message's is not even a name. It returns nil only when it is
	// stored; a letter whose DedupeID is there already counts as stored.
	Dead(ctx context.Context, publisher string, letter DeadLetter) error
}

// Slots says who may use a mailbox now: Outlook takes four requests at a time
// for one app and mailbox
// (https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits).
// It must be safe for concurrent use.
type Slots interface {
	// Take takes a slot, waiting a few seconds at most where its turn is near.
	// With ok it is the caller's until release is called, once. Otherwise wait
	// is when to come back, zero where that is not known.
	Take(ctx context.Context, client, mailbox string) (release func(), wait time.Duration, ok bool)
}
