package subscriber

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"

	"outlook-connector/internal/fault"
)

// content puts the attachments of an item into its JSON, as the subscription
// wants them.
func (e *enricher) content(ctx context.Context, p *piece) error {
	mode, left := e.attachments, int64(inlineMost)
	over := false
	if mode == AttachmentsInline {
		var total int64
		for i := range p.list {
			if p.list[i].kind != referenceKind {
				total += p.list[i].size
			}
		}
		over = total > left
	}
	entries := make([][]byte, 0, len(p.list))
	for i := range p.list {
		one := &p.list[i]
		var entry []byte
		var err error
		switch {
		case mode == AttachmentsList:
			entry = one.raw
		case one.kind == referenceKind:
			entry, err = e.reference(ctx, p, one)
		case mode == AttachmentsInline && !over:
			entry, err = e.inline(ctx, p, one, &left)
		default:
			entry, err = e.stored(ctx, p, one, over)
		}
		if err != nil {
			return err
		}
		entries = append(entries, entry)
	}
	raw, err := splice(p.raw, nil, member{"attachments", joinEntries(entries)})
	if err != nil {
		return fmt.Errorf("write attachments: %w", err) // the JSON was read before, so this cannot be
	}
	p.raw, p.list = raw, nil
	return nil
}

// attachmentPath is the path of one attachment.
func (e *enricher) attachmentPath(p *piece, one *attachment, tail string) string {
	path := itemPath(e.op, e.path, p.id)
	return path + expandPath("/attachments/{id}", nil, one.id) + tail
}

// inline puts the content itself into the entry. left is what the item may still
// carry; content that turns out larger than its size said is stored instead.
func (e *enricher) inline(ctx context.Context, p *piece, one *attachment, left *int64) ([]byte, error) {
	body := e.body(ctx, e.attachmentPath(p, one, "/$value"))
	defer func() { _ = body.Close() }() // for a panic; the second time it does nothing
	data, err := io.ReadAll(io.LimitReader(body, *left+1))
	err = errors.Join(err, body.Close())
	switch {
	case err != nil:
		return e.missing(one, err)
	case int64(len(data)) > *left:
		return e.stored(ctx, p, one, true)
	}
	*left -= int64(len(data))
	text := make([]byte, 0, base64.StdEncoding.EncodedLen(len(data))+2)
	text = append(base64.StdEncoding.AppendEncode(append(text, '"'), data), '"')
	return splice(one.raw, nil, member{"contentBytes", text})
}

// stored streams the content into the object store. over says that it is there
// because the event would have become too large.
func (e *enricher) stored(ctx context.Context, p *piece, one *attachment, over bool) ([]byte, error) {
	if e.blobs == nil {
		return splice(one.raw, nil, member{memberNote, quoteJSON(nil, "the content is not kept: there is no object store")})
	}
	// The name is that of the content: it is the same for a repeat, and for
	// another version of the item with the same attachment.
	state := one.modified
	if state == "" {
		state = p.version
	}
	name := "attachment-" + digest(e.scope, p.id, one.id, one.etag, state, strconv.FormatInt(one.size, 10))
	body := e.body(ctx, e.attachmentPath(p, one, "/$value"))
	defer func() { _ = body.Close() }() // for a panic; the second time it does nothing
	ref, size, sum, err := e.blobs.Put(ctx, name, body)
	closed := body.Close()
	switch {
	case body.err != nil: // what the reading failed by says more than what the store makes of it
		return e.missing(one, body.err)
	case err != nil:
		return e.missing(one, fmt.Errorf("store: %w", err))
	case closed != nil:
		return e.missing(one, closed)
	}
	add := []member{
		{"size", strconv.AppendInt(nil, size, 10)},
		{"blob", quoteJSON(nil, ref)},
		{"sha256", quoteJSON(nil, sum)},
	}
	if over {
		add = append(add, member{memberNote, quoteJSON(nil, "over the limit of "+strconv.Itoa(inlineMost)+" bytes of an item, kept as a blob")})
	}
	return splice(one.raw, nil, add...)
}

// reference reads the whole entry of a link, which is all there is of it here:
// Graph answers 405 to a request for its content.
func (e *enricher) reference(ctx context.Context, p *piece, one *attachment) ([]byte, error) {
	got, err := e.fetch.batch(ctx, []Get{{Path: e.attachmentPath(p, one, "")}})
	if err != nil {
		return nil, fmt.Errorf("read link: %w", err)
	}
	if got[0].Err != nil {
		return e.missing(one, got[0].Err)
	}
	whole, err := readAttachment(got[0].Body)
	if err != nil {
		return e.missing(one, fault.New(fault.Poison, "read link: %w", err).WithCode("bad_item"))
	}
	return whole.raw, nil
}

// missing answers a failure: what may be there later ends the poll, what will
// not is written into the entry.
func (e *enricher) missing(one *attachment, err error) ([]byte, error) {
	if !forGood(err) {
		return nil, fmt.Errorf("read attachment: %w", err)
	}
	code := fault.Of(err).Code
	if code == "" {
		code = "unreadable"
	}
	return splice(one.raw, nil, member{memberNote, quoteJSON(nil, "the content cannot be read: "+code)})
}

// lazy opens a body when it is first read, so that a store that knows the name
// already costs no request. It holds a slot of the mailbox from then until it is closed.
type lazy struct {
	fetch *fetcher
	ctx   context.Context //nolint:containedctx // a reader has no other way to get one, and it lives as long as one call
	get   Get

	body    io.ReadCloser
	release func()
	// err is why the reading failed.
	err error
}

// body is a stream that is not opened yet.
func (e *enricher) body(ctx context.Context, path string) *lazy {
	return &lazy{fetch: e.fetch, ctx: ctx, get: Get{Path: path}}
}

// Read implements [io.Reader].
func (l *lazy) Read(p []byte) (int, error) {
	if l.err != nil {
		return 0, l.err
	}
	if l.body == nil {
		if l.err = l.open(); l.err != nil {
			return 0, l.err
		}
	}
	n, err := l.body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

func (l *lazy) open() error {
	_, release, err := l.fetch.hold(l.ctx, 1)
	if err != nil {
		return err
	}
	l.get.Headers = l.fetch.headers
	body, _, err := l.fetch.items.Open(l.ctx, l.fetch.client, l.fetch.mailbox, l.get)
	if err != nil {
		release()
		return err
	}
	l.body, l.release = body, release
	return nil
}

// Close closes what was opened and gives the slot back. It may be called twice.
func (l *lazy) Close() error {
	if l.body == nil || l.release == nil {
		return nil
	}
	defer func() { l.release = nil }()
	defer l.release()
	return l.body.Close()
}
