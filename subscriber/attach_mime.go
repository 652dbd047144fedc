package subscriber

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"outlook-connector/internal/fault"
)

// mediaMIME is the media type of a raw message.
const mediaMIME = "message/rfc822"

// storedBody is a body in the object store.
type storedBody struct {
	// ref is "OUTLOOK_BLOB/…", sum the SHA-256 in hexadecimal digits.
	ref, sum string
}

// rawMessage reads a message as it was sent. A small one becomes the event's
// body, a large one goes into the object store piece by piece. A message that is
// gone is left to its tombstone; one whose raw form is refused stays JSON, with a
// note.
func (e *enricher) rawMessage(ctx context.Context, p *piece) error {
	path := itemPath(e.op, e.path, p.id)
	if path == "" {
		return nil
	}
	body := e.body(ctx, path+"/$value")
	defer func() { _ = body.Close() }() // for a panic; the second time it does nothing
	head, err := io.ReadAll(io.LimitReader(body, inlineMost+1))
	var large *storedBody
	if err == nil && len(head) > inlineMost {
		large, err = e.storeMessage(ctx, p, io.MultiReader(bytes.NewReader(head), body))
		head = nil
	}
	if body.err != nil { // it says more than what the store made of it
		err = body.err
	}
	err = errors.Join(err, body.Close())
	switch {
	case err == nil:
		p.mime, p.stored = head, large
		return nil
	case !forGood(err):
		return fmt.Errorf("read raw message: %w", err)
	}
	code := fault.Of(err).Code
	if goneCode(code) {
		p.dropped = true
		return nil
	}
	p.note("mime", Got{Code: code})
	return nil
}

// storeMessage keeps a raw message that is too large to be an event's body.
func (e *enricher) storeMessage(ctx context.Context, p *piece, from io.Reader) (*storedBody, error) {
	if e.blobs == nil {
		return nil, fault.New(fault.Poison, "the raw message has more than %d bytes and there is no object store", inlineMost).
			WithCode("too_large")
	}
	ref, _, sum, err := e.blobs.Put(ctx, "message-"+digest(e.scope, p.id, p.version), from)
	if err != nil {
		return nil, fmt.Errorf("store raw message: %w", err)
	}
	return &storedBody{ref: ref, sum: sum}, nil
}
