package graph

import (
	"context"
	"errors"
	"time"
)

// Object reads one object, or the answer of an operation that only reads, whole:
// at most limit bytes after decompression (0: what [Client.Do] takes). It is
// [Client.Do] for reads: an answer that is cut off, is not JSON where it should
// be, or is empty, is an error to retry, and one that is too large has the code
// "answer_too_large". A slot is the caller's matter, as with Do.
func (c *Client) Object(ctx context.Context, req Request, limit int64) (*Response, error) {
	k, err := c.prepare(req)
	if err != nil {
		return nil, err
	}
	if limit <= 0 {
		limit = c.http.MaxBody
	}
	var out *Response
	started := time.Now()
	err = c.run(ctx, k, func(a *answer) error {
		var err error
		if out, err = c.whole(k, a, limit); err == nil && !k.op.Raw() && !validJSON(out.Body) {
			err = c.badBody(k, a, errors.New("the body is not one JSON value"))
		}
		return err
	}, func() { started = time.Now() })
	if err != nil {
		return nil, err
	}
	out.Duration = time.Since(started)
	return out, nil
}
