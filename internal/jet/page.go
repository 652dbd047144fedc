package jet

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
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
	// Header may be nil. "Nats-Msg-Id" is refused: one duplicate would refuse
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

// commitHeader marks a stored cursor or record with the call that wrote it. It
// is how a caller that got no answer finds out that its write was stored,
// where another's might have had the same content.
const commitHeader = "Outlook-Commit"

// write is one atomic change on its way: any messages and, last, the one that
// is fenced; before it the marker of moves where it is written, which is fenced,
// too. Cursor last, because a batch that a power cut tears then leaves
// events without their cursor, which are told again, and never a cursor whose
// events are lost.
type write struct {
	ctx    context.Context
	id     string // unique, in commitHeader
	events []Msg  // and pieces of the index
	moves  *Moves
	fenced Msg
	after  uint64
	loose  bool // it is not fenced at all, and replaces whatever is there
	bytes  int
	done   chan written // has room for one
}

type written struct {
	seq uint64
	err error
}

func newWrite(ctx context.Context, events []Msg, fenced Msg, after uint64) *write {
	w := &write{ctx: ctx, id: nuid.Next(), events: events, fenced: fenced, after: after, done: make(chan written, 1)}
	for _, m := range events {
		w.bytes += size(m)
	}
	w.bytes += size(fenced)
	return w
}

// messages is how many messages the write has.
func (w *write) messages() int {
	if w.moves != nil && w.moves.Mark {
		return len(w.events) + 2
	}
	return len(w.events) + 1
}

// apart says that two writes must not be in one batch. A subject may be rolled
// up and fenced only once, and it cannot be fenced where the batch has written
// it before. Two pages that fence a marker at different places cannot both be
// right, and the one that is not would have the other one refused.
func (w *write) apart(o *write) bool {
	if w.fenced.Subject == o.fenced.Subject {
		return true
	}
	a, b := w.moves, o.moves
	return a != nil && b != nil && a.Subject == b.Subject && (a.Mark || b.Mark || a.After != b.After)
}

// finish gives the caller its answer.
func (w *write) finish(seq uint64, err error) { w.done <- written{seq, err} }

// batch returns fresh messages for one attempt: publishing adds headers to
// them, and the caller's maps are not ours to change.
func (w *write) batch(stream string, rollup bool) []*nats.Msg {
	list := make([]*nats.Msg, 0, w.messages())
	for _, m := range w.events {
		list = append(list, m.nats())
	}
	fence := func(m Msg, after uint64, rollup bool) {
		n := m.nats()
		n.Header.Set(commitHeader, w.id)
		n.Header.Set(jetstream.ExpectedStreamHeader, stream)
		n.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(after, 10))
		if rollup {
			n.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
		}
		list = append(list, n)
	}
	switch {
	case w.moves == nil:
	case w.moves.Mark:
		fence(Msg{Subject: w.moves.Subject}, w.moves.After, true)
	case len(list) > 0:
		// Any message may carry the fence of another subject; the cursor has one
		// of its own.
		list[0].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.moves.After, 10))
		list[0].Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, w.moves.Subject)
	}
	if w.loose {
		return append(list, w.fenced.nats())
	}
	fence(w.fenced, w.after, rollup)
	return list
}

// headers are maps for messages that were sent and forgotten: a page has a
// hundred of them, and they were a seventh of all that a worker allocates.
var headers = sync.Pool{New: func() any { return make(nats.Header) }}

// recycle takes back the headers of messages that nobody uses any more.
func recycle(messages []*nats.Msg) {
	for _, m := range messages {
		clear(m.Header)
		headers.Put(m.Header)
		m.Header = nil
	}
}

// nats returns the message as the client wants it. The header is never nil:
// publishing a batch panics on one.
func (m Msg) nats() *nats.Msg {
	header := headers.Get().(nats.Header) //nolint:forcetypeassert // nothing else is in there
	maps.Copy(header, m.Header)
	if m.TTL > 0 {
		// Whole seconds, at least one: the server refuses less.
		header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(max(m.TTL.Round(time.Second), time.Second)/time.Second), 10))
	}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}
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
