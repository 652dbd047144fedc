package jet

import (
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"outlook-connector/internal/fault"
)

const (
	// MaxPage is the most events one [Page] may have: the server takes 1,000
	// messages in a batch, and the cursor, the marker and new pieces of the index
	// are among them.
	MaxPage = 990

	// maxBatch is the server's limit.
	maxBatch = 1000

	// groupMessages and groupBytes bound what pages of several feeds make up
	// together. More bytes gain nothing and hold the stream's lock longer:
	// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md
	groupMessages = maxBatch
	groupBytes    = 6 << 20
)

// Header is a message's header. Unlike in HTTP, names are matched with their
// exact case.
type Header = map[string][]string

// Msg is a message to store.
type Msg struct {
	// Subject is built by [Names].
	Subject string
	// Header may be nil. It and Data must not be changed once they are stored or sent:
	// they may go out after the caller has stopped waiting. "Nats-Msg-Id" is refused: one duplicate would refuse
	// the batch of every feed in it.
	Header Header
	// Data is the body.
	Data []byte
	// TTL is how long the message stays; zero means for ever. The server
	// counts in whole seconds.
	TTL time.Duration
}

// Page is what is stored at once or not at all: a page of events, the pieces of
// the index that are new with it, and the cursor behind it.
type Page struct {
	// Events may be empty: then only the cursor moves.
	Events []Msg
	// Segments are the pieces, on subjects of [Names.Index].
	Segments []Msg
	// Moves is a second fence; nil: none.
	Moves *Moves
	// CursorSubject says which cursor the page moves, see [Names.Cursor].
	CursorSubject string
	// Cursor is its new content.
	Cursor []byte
	// After is the sequence that [Conn.Cursor] or the last Commit gave: the
	// page is stored only where the cursor still stands there. Zero means that
	// there is no cursor yet.
	After uint64
}

// Moves is the marker of moves as a page needs it.
type Moves struct {
	// Subject is built by [Names.Moved].
	Subject string
	// After is the sequence that [Conn.Moved] gave before the page was read: the
	// page is stored only where the marker still stands there. A page with
	// neither events nor segments nor Mark is not held up, because it tells
	// nobody anything.
	After uint64
	// Mark writes the marker anew, so that every page that was read before is
	// refused.
	Mark bool
}

// size is about what the message takes on the wire, the headers of the batch
// included.
func size(m Msg) int {
	n := len(m.Subject) + len(m.Data) + 160
	for name, values := range m.Header {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

// check refuses a page that the server would refuse, or worse, would spread
// over several streams.
func (p Page) check(n Names) error {
	if len(p.Events) > MaxPage || len(p.Events)+len(p.Segments)+2 > maxBatch {
		return &fault.Error{Kind: fault.Poison, Code: "page_too_big", Err: ErrPageTooBig, Hint: "ask Graph for smaller pages ($top, or Prefer: odata.maxpagesize)"}
	}
	if !strings.HasPrefix(p.CursorSubject, n.subject("cursor")+".") {
		return badSubject("%q is no subject of a cursor", p.CursorSubject)
	}
	if p.Moves != nil && !n.isMoved(p.Moves.Subject) {
		return badSubject("%q is no subject of a marker", p.Moves.Subject)
	}
	for _, m := range p.Segments {
		if err := n.checkIndex(m.Subject); err != nil {
			return err
		}
	}
	for _, m := range p.Events {
		if !strings.HasPrefix(m.Subject, n.subject("event")+".") {
			return badSubject("%q is no subject of an event", m.Subject)
		}
		if _, ok := m.Header[jetstream.MsgIDHeader]; ok {
			return fault.New(fault.Poison, "event for %s has a %s header, which a batch must not have", m.Subject, jetstream.MsgIDHeader)
		}
	}
	return nil
}

// stripped returns a stored header without what only the batch needed. The
// server keeps those headers.
func stripped(h nats.Header) Header {
	header := maps.Clone(Header(h))
	for _, name := range []string{
		jetstreamext.BatchIDHeader, jetstreamext.BatchSeqHeader, jetstreamext.BatchCommitHeader,
		jetstream.ExpectedStreamHeader, jetstream.ExpectedLastSubjSeqHeader, jetstream.ExpectedLastSubjSeqSubjHeader, jetstream.MsgRollup, commitHeader,
	} {
		delete(header, name)
	}
	return header
}
