package subscriber

import (
	"context"
	"io"
)

// Items reads single things from Microsoft Graph, beside the pages of [Source].
// Every error carries its remedy, as those of [Source]. The caller holds the
// mailbox's slots: one for Object and Open, for Batch as many as there are
// requests, at most 4.
type Items interface {
	// Object reads one object, or the answer of an action that only reads: the
	// whole body, at most limit bytes (0: the source's own limit).
	Object(ctx context.Context, req Request, limit int64) (body []byte, page Page, err error)
	// Batch makes up to 20 GET requests of one mailbox in one request. Each has
	// its own answer; the error is of the batch as a whole. It counts as that
	// many requests of the mailbox, of which Graph runs 4 at a time:
	// https://learn.microsoft.com/graph/json-batching
	Batch(ctx context.Context, client, mailbox string, gets []Get) ([]Got, error)
	// Open reads a large body (an attachment, a message as MIME) as a stream.
	// The caller closes it.
	Open(ctx context.Context, client, mailbox string, get Get) (body io.ReadCloser, size int64, err error)
}

// Get is one GET request below a mailbox.
type Get struct {
	// Path is relative to the mailbox, with each value escaped, such as
	// "messages/AAMk…"; see [Relative].
	Path string
	// Query and Headers may be nil.
	Query, Headers map[string]string
}

// The statuses that decide something here.
const (
	statusNotFound  = 404
	statusThrottled = 429
)

// Got is one answer of [Items.Batch].
type Got struct {
	// Status is the HTTP status.
	Status int
	// Code is Graph's error code, "" where there is none.
	Code string
	// Body is the answer's JSON.
	Body []byte
	// Err is nil for a 2xx answer; else it carries its remedy.
	Err error
}

// Blobs keeps large bodies beside the stream.
type Blobs interface {
	// Put stores what it reads, in constant memory, and returns its name
	// ("OUTLOOK_BLOB/…"), size and SHA-256 in hexadecimal digits.
	Put(ctx context.Context, name string, body io.Reader) (ref string, size int64, sum string, err error)
}
