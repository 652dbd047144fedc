package jet

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

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
	id     string // unique, in commitHeader; empty before the first attempt, and where it is loose
	events []Msg  // and pieces of the index
	moves  *Moves
	fenced Msg
	after  uint64
	loose  bool // it is not fenced at all, and replaces whatever is there
	bytes  int
	done   chan written // has room for one; nil where sent is there
	sent   *single      // the message that its caller has sent by itself
}

type written struct {
	seq uint64
	err error
}

func newWrite(ctx context.Context, events []Msg, fenced Msg, after uint64) *write {
	w := &write{ctx: ctx, events: events, fenced: fenced, after: after}
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
	switch {
	case w.moves == nil:
	case w.moves.Mark:
		n := Msg{Subject: w.moves.Subject}.nats()
		w.fence(n.Header, stream, w.moves.After, true)
		list = append(list, n)
	case len(list) > 0:
		// Any message may carry the fence of another subject; the cursor has one
		// of its own.
		list[0].Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(w.moves.After, 10))
		list[0].Header.Set(jetstream.ExpectedLastSubjSeqSubjHeader, w.moves.Subject)
	}
	n := w.fenced.nats()
	if !w.loose {
		w.fence(n.Header, stream, w.after, rollup)
	}
	return append(list, n)
}

// fence adds the headers without which a message would be stored after others
// than it thinks.
func (w *write) fence(h nats.Header, stream string, after uint64, rollup bool) {
	if w.id == "" {
		w.id = nuid.Next()
	}
	h.Set(commitHeader, w.id)
	expect(h, stream, after)
	if rollup {
		h.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	}
}

// expect adds the headers with which a message is stored behind another one of
// its subject only.
func expect(h nats.Header, stream string, after uint64) {
	values := [...]string{stream, strconv.FormatUint(after, 10)} // one object for both
	h[jetstream.ExpectedStreamHeader] = values[0:1:1]
	h[jetstream.ExpectedLastSubjSeqHeader] = values[1:2:2]
}

// headers are maps for messages that were sent and forgotten: a page has a
// hundred of them, and they were a seventh of all that a worker allocates.
var headers = sync.Pool{New: func() any { return make(nats.Header) }}

// recycle takes back the headers of messages that nobody uses any more.
func recycle(messages ...*nats.Msg) {
	for _, m := range messages {
		clear(m.Header)
		headers.Put(m.Header)
		m.Header = nil
	}
}

// nats returns the message as the client wants it. The header is never nil:
// publishing a batch panics on one.
func (m Msg) nats() *nats.Msg {
	n := new(nats.Msg)
	m.into(n)
	return n
}

// into is nats for a message that is there already.
func (m Msg) into(n *nats.Msg) {
	n.Subject, n.Header, n.Data = m.Subject, headers.Get().(nats.Header), m.Data //nolint:forcetypeassert // nothing else is in there
	maps.Copy(n.Header, m.Header)
	if m.TTL > 0 {
		// Whole seconds, at least one: the server refuses less.
		n.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(max(m.TTL.Round(time.Second), time.Second)/time.Second), 10))
	}
}
