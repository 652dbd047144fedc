package worker

import (
	"context"
	"errors"
	"fmt"
	"io"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

// bodies are the objects that commands name as their bodies.
type bodies struct{ conn *jet.Conn }

var _ publisher.Blobs = bodies{}

// Blob reads an object, unless it is too large for a request.
func (b bodies) Blob(ctx context.Context, name string, most int) ([]byte, error) {
	size, sum, err := b.conn.StatBlob(ctx, name)
	switch {
	case errors.Is(err, jet.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", publisher.ErrNoBlob, err)
	case err != nil:
		return nil, err
	case size > int64(most):
		return nil, fault.New(fault.Poison, "the object has %d bytes; a request may have %d", size, most).WithCode("too_large").
			WithHint("Outlook takes requests of up to 4 MB; name large files as attachments")
	}
	object, err := b.conn.OpenBlob(ctx, name, sum)
	if err == nil {
		var data []byte
		data, err = io.ReadAll(object)
		if err = errors.Join(err, object.Close()); err == nil {
			return data, nil
		}
	}
	if marked := fault.Of(err); marked.Code == "blob_changed" { // stored anew at this moment: read that one
		return nil, &fault.Error{Kind: fault.Retry, Code: marked.Code, Err: err}
	}
	return nil, err
}
