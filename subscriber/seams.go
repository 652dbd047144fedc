package subscriber

import (
	"context"
	"errors"
	"time"

	"outlook-connector/internal/catalog"
)

// ErrFenced says that the cursor is not where the committing worker read it:
// another worker moved it. What was read is dropped; the other worker has told
// it, or will.
var ErrFenced = errors.New("cursor moved by another worker")

// Request is one page to be read.
type Request struct {
	// Client is the name of the signed-in connection to use.
	Client string
	// Mailbox is as configured: "me", a user, or "-" where there is none.
	Mailbox string
	// Operation is the entity.
	Operation *catalog.Operation
	// Path and Query are the parameters of the first request of a round. They
	// mean nothing where Link is set, because they live in the link:
	// https://learn.microsoft.com/graph/delta-query-overview
	Path, Query map[string]string
	// Headers go with every request, because they do not live in the link:
	// https://learn.microsoft.com/graph/paging
	Headers map[string]string
	// Body is the payload of an operation that is read by POST; nil for none.
	Body []byte
	// Link is a whole @odata.nextLink or @odata.deltaLink, as Graph gave it; ""
	// begins a round.
	Link string
}

// Page is what a page says beside its items.
type Page struct {
	// Next and Delta are @odata.nextLink and @odata.deltaLink, whole and
	// unchanged. Exactly one of them is set in a sound answer.
	Next, Delta string
	// Date is the moment of the answer by Graph's clock (the Date header); zero
	// where the answer had none.
	Date time.Time
}

// Source reads from Microsoft Graph.
//
// Read makes one request, with no retry of its own, and gives each member of
// the answer's "value" to emit, in order and byte for byte. The bytes are valid
// only until emit returns. An error of emit ends the reading and comes back in
// the chain. Every other error carries its remedy ([fault.Kind]); Resync means
// that Graph no longer knows the link. A link that leads to another host or
// mailbox is refused. Items may have been emitted before an error: the caller
// forgets them. Safe for concurrent use.
type Source interface {
	Read(ctx context.Context, req Request, emit func(item []byte) error) (Page, error)
}

// Stream keeps events, cursors and the pieces of the indexes together.
type Stream interface {
	Indexes
	// Cursor returns what the last Commit of the feed stored and the cursor's
	// sequence, or nil and 0 where there was none. It must not be older than a
	// commit that has been acknowledged to anybody.
	Cursor(ctx context.Context, feed Feed) (value []byte, seq uint64, err error)
	// Commit stores the events, then the segments and then the cursor, all or
	// nothing, if the cursor's sequence is still c.After and the marker's is
	// c.Moves.After, and returns the cursor's new sequence. It returns
	// [ErrFenced] where one of them is not. An error with the code "store_full"
	// says that there is no room: the feed waits. Any other error may have
	// happened before or after the effect; the caller reads the cursor again and
	// learns which.
	Commit(ctx context.Context, c Commit) (seq uint64, err error)
}

// Queue hands feeds to workers, one feed to one worker at a time as far as
// possible. Two workers on one feed are allowed to happen; the commit's fence
// is what keeps the events right.
type Queue interface {
	// Register makes the feed known, due at once, and reports whether it was known
	// already. It is idempotent: such a feed keeps its data and its due time.
	Register(ctx context.Context, feed Feed, data []byte) (known bool, err error)
	// Update replaces the data of a feed by what change makes of them, and makes
	// it due at once. Where somebody else changes them meanwhile, change is asked
	// again with the newer ones; what it returns as it was given writes nothing.
	// An error of change comes back. A feed that is not known stays so, which is
	// no error.
	Update(ctx context.Context, feed Feed, change func(data []byte) ([]byte, error)) error
	// Run calls poll for feeds that are due, at most parallel at a time, and
	// gives each back as the result says. It returns nil after ctx ended and
	// every poll has returned, or an error that it cannot work around.
	Run(ctx context.Context, parallel int, poll func(ctx context.Context, feed Feed, data []byte) Next) error
}

// Next says what becomes of a feed after a poll.
type Next struct {
	// After is when the feed is due again; zero means at once.
	After time.Duration
	// Drop removes the feed from the queue for everybody.
	Drop bool
}

// DeadLetters keeps items that could not become events.
//
// Put stores the letter durably before it returns. The same ID may come again,
// because the letter is written before the cursor moves; the implementer keeps
// one of them.
type DeadLetters interface {
	Put(ctx context.Context, letter DeadLetter) error
}

// DeadLetter is one item that could not become an event.
type DeadLetter struct {
	// ID is deterministic: the id that the event would have had.
	ID   string
	Feed Feed
	// Header is the header of the event that it would have been.
	Header map[string]string
	// Body is the item as Graph gave it, or {"id": …} where that is too large.
	Body []byte
	// Code is a short stable word (bad_item, transform, too_large), Reason a
	// sentence and Hint what a person can do.
	Code, Reason, Hint string
}

// Slots limits the concurrent requests to one mailbox, over polls and commands.
//
// Take does not wait for a slot. Where ok, the caller must call release exactly once, after
// its request. Otherwise wait is when to ask again.
type Slots interface {
	Take(ctx context.Context, client, mailbox string) (release func(), wait time.Duration, ok bool)
}

// Event is one message for the event stream.
type Event struct {
	// ID is the ce-id: the same change has the same id, however often it is read.
	ID string
	// Header is as it goes into the message, names in their exact case, values
	// free of control characters.
	Header map[string]string
	// Body is the entity's JSON. It must not be changed.
	Body []byte
	// TTL is how long the event stays in the stream; zero means for ever.
	TTL time.Duration
}
