package jet

import (
	"context"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"outlook-connector/internal/fault"
)

const (
	// MaxPage is the most events one [Page] may have: the server takes 1,000
	// messages in a batch, and the cursor is one of them.
	MaxPage = 990

	// groupMessages and groupBytes bound what pages of several feeds make up
	// together. Larger batches gain nothing and hold the stream's lock longer:
	// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-50.md
	groupMessages = 900
	groupBytes    = 4 << 20
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

// Page is what is stored at once or not at all: a page of events and the
// cursor behind it.
type Page struct {
	// Events may be empty: then only the cursor moves.
	Events []Msg
	// CursorSubject says which cursor the page moves, see [Names.Cursor].
	CursorSubject string
	// Cursor is its new content.
	Cursor []byte
	// After is the sequence that [Conn.Cursor] or the last Commit gave: the
	// page is stored only where the cursor still stands there. Zero means that
	// there is no cursor yet.
	After uint64
}

// commitHeader marks a stored cursor or record with the call that wrote it. It
// is how a caller that got no answer finds out that its write was stored,
// where another's might have had the same content.
const commitHeader = "Outlook-Commit"

// write is one atomic change on its way: any messages and, last, the one that
// is fenced. Cursor last, because a batch that a power cut tears then leaves
// events without their cursor, which are told again, and never a cursor whose
// events are lost.
type write struct {
	ctx    context.Context
	id     string // unique, in commitHeader
	events []Msg
	fenced Msg
	after  uint64
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
func (w *write) messages() int { return len(w.events) + 1 }

// finish gives the caller its answer.
func (w *write) finish(seq uint64, err error) { w.done <- written{seq, err} }

// batch returns fresh messages for one attempt: publishing adds headers to
// them, and the caller's maps are not ours to change.
func (w *write) batch(stream string, rollup bool) []*nats.Msg {
	list := make([]*nats.Msg, 0, w.messages())
	for _, m := range w.events {
		list = append(list, m.nats())
	}
	fenced := w.fenced.nats()
	fenced.Header.Set(commitHeader, w.id)
	fenced.Header.Set(jetstream.ExpectedStreamHeader, stream)
	fenced.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.after, 10))
	if rollup {
		fenced.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	}
	return append(list, fenced)
}

// nats returns the message as the client wants it. The header is never nil:
// publishing a batch panics on one.
func (m Msg) nats() *nats.Msg {
	header := make(nats.Header, len(m.Header)+4)
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
	if len(p.Events) > MaxPage {
		return &fault.Error{Kind: fault.Poison, Code: "page_too_big", Err: ErrPageTooBig, Hint: "ask Graph for smaller pages ($top, or Prefer: odata.maxpagesize)"}
	}
	if !strings.HasPrefix(p.CursorSubject, n.subject("cursor")+".") {
		return badSubject("%q is no subject of a cursor", p.CursorSubject)
	}
	for _, m := range p.Events {
		if !strings.HasPrefix(m.Subject, n.subject("event")+".") && !strings.HasPrefix(m.Subject, n.subject("index")+".") {
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
		jetstream.ExpectedStreamHeader, jetstream.ExpectedLastSubjSeqHeader, jetstream.MsgRollup, commitHeader,
	} {
		delete(header, name)
	}
	return header
}
