package subscriber

import (
	"context"
	"slices"
	"strconv"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// memberNote names what the connector has to say about a part of an event.
// memberIncomplete lists what an event should have and has not.
const (
	memberNote       = "@outlook.note"
	memberIncomplete = "@outlook.incomplete"
)

// piece is one item on its way through the enrichment. Its state stays with it,
// so that what was read once is not read again when the rest comes later.
type piece struct {
	item
	// version is the version of the change, of which the item may have none.
	version string
	notes   []note
	list    []attachment
	// mime is the raw message, stored where it lies if it is large; else the body
	// is the JSON in raw.
	mime   []byte
	stored *storedBody

	hydrated, listed, done bool
	// dropped says that the item is not told at all.
	dropped bool
}

// note is something that the event should have and has not, for good.
type note struct {
	what, code string
	status     int
}

// note writes down what could not be read.
func (p *piece) note(what string, got Got) {
	code := got.Code
	if code == "" && got.Err != nil {
		code = fault.Of(got.Err).Code
	}
	if code == "" {
		code = "unreadable"
	}
	p.notes = append(p.notes, note{what: what, code: code, status: got.Status})
}

// notesJSON is the value of memberIncomplete.
func notesJSON(notes []note) []byte {
	entries := make([][]byte, 0, len(notes))
	for _, n := range notes {
		entry := append([]byte(`{"what":`), quoteJSON(nil, n.what)...)
		entry = append(append(entry, `,"code":`...), quoteJSON(nil, n.code)...)
		if n.status > 0 {
			entry = strconv.AppendInt(append(entry, `,"status":`...), int64(n.status), 10)
		}
		entries = append(entries, append(entry, '}'))
	}
	return joinEntries(entries)
}

// enricher completes items with what a page does not have. It lives for one call
// and is used by one goroutine.
type enricher struct {
	fetch *fetcher
	blobs Blobs
	op    *catalog.Operation
	// path and query are those of the page's first request.
	path, query map[string]string
	// scope parts the names of stored bodies of different mailboxes.
	scope string

	hydrate, mime bool
	attachments   Attachments
	// whole are the members by which a whole item is known.
	whole []string
	// grown is how many bytes the items of one call may gain together, beyond the
	// last of them.
	grown int

	peek    peeker
	masters map[string]*series
}

// newEnricher makes an enricher for a subscription, nil where it wants nothing.
func newEnricher(sub *Subscription, req *Request, fetch *fetcher, blobs Blobs, grown int) *enricher {
	files := sub.Attachments != "" && sub.Attachments != AttachmentsNone
	mime := sub.MIME && sub.Operation.Type == typeMessage
	if !sub.Hydrate && !mime && !files {
		return nil
	}
	return &enricher{
		fetch: fetch, blobs: blobs, op: sub.Operation, path: req.Path, query: req.Query,
		scope:   digest(sub.Client, req.Mailbox),
		hydrate: sub.Hydrate, mime: mime, attachments: sub.Attachments,
		whole: wanted(sub.Operation, req.Query), grown: grown,
	}
}

// run enriches pieces in their order and returns how many of them are done. It
// ends before the last where they have grown by more than a commit takes; the
// caller stores what is done and comes again with the rest. An error is of the
// first piece that is not done, and those before it should be stored all the
// same: it is a [busyError], or one with its remedy that ends the poll. What will
// not be there later either is no error.
func (e *enricher) run(ctx context.Context, pieces []*piece) (done int, err error) {
	grown := 0
	for done < len(pieces) && grown < e.grown {
		chunk := e.chunk(pieces[done:])
		failed := e.rehydrate(ctx, chunk)
		if failed != nil {
			chunk = before(chunk, e.needsHydration)
		}
		if err := e.list(ctx, chunk); err != nil {
			failed, chunk = err, before(chunk, e.needsList)
		}
		for _, p := range chunk {
			size := len(p.raw)
			if err := e.finish(ctx, p); err != nil {
				return done, err
			}
			done++
			if grown += len(p.raw) - size + len(p.mime); grown >= e.grown {
				return done, nil
			}
		}
		if failed != nil {
			return done, failed
		}
	}
	return done, nil
}

// before returns the pieces before the first that is still waiting.
func before(pieces []*piece, waits func(*piece) bool) []*piece {
	if i := slices.IndexFunc(pieces, waits); i >= 0 {
		return pieces[:i]
	}
	return pieces
}

// chunk takes as many of the pieces as one batch can serve.
func (e *enricher) chunk(pieces []*piece) []*piece {
	asks := 0
	for i, p := range pieces {
		if p.done {
			continue
		}
		if e.needsHydration(p) || e.needsList(p) {
			asks++
		}
		if asks > batchMost {
			return pieces[:i]
		}
	}
	return pieces
}

// finish gives one item its content and notes.
func (e *enricher) finish(ctx context.Context, p *piece) error {
	if p.done || p.dropped {
		return nil
	}
	if e.mime {
		if err := e.rawMessage(ctx, p); err != nil {
			return err
		}
	}
	if p.listed {
		if err := e.content(ctx, p); err != nil {
			return err
		}
	}
	if len(p.notes) > 0 {
		raw, err := splice(p.raw, nil, member{memberIncomplete, notesJSON(p.notes)})
		if err != nil {
			return fault.New(fault.Retry, "write notes: %w", err) // the JSON was read before, so this cannot be
		}
		p.raw = raw
	}
	p.done = true
	return nil
}
