package publisher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"outlook-connector/internal/fault"
)

// ErrNoBlob is returned by [Blobs] where there is no such object.
var ErrNoBlob = errors.New("no such object")

// Blobs is the object store, which holds bodies that do not fit into a message.
// It must be safe for concurrent use.
type Blobs interface {
	// Blob returns the object that a message names ("OUTLOOK_BLOB/<name>"):
	// [ErrNoBlob] where there is none, an error of kind Poison where it can never
	// be had (it has more than so many bytes, or the name is no object's). After
	// any other error it is asked again.
	Blob(ctx context.Context, name string, most int) ([]byte, error)
}

const (
	// patienceBlob is how long a command waits for its body, which was perhaps
	// stored in another place of the cluster a moment ago.
	patienceBlob = time.Minute
	delayBlob    = 2 * time.Second
)

// fetch puts the object that a request names into its place: a JSON object
// becomes its payload, anything else its raw body. An error of kind Retry says
// when to look again.
func (w *Worker) fetch(ctx context.Context, m *Message, def *definition, t terms, r request) (request, error) {
	if r.blob == "" {
		return r, nil
	}
	if def.blobs == nil {
		return r, refuse("not_supported", "payload_blob: there is no object store here").WithHint("put the body into payload")
	}
	now := w.now()
	if now.Before(t.notBefore) { // it may be stored by then
		return r, waitFor("not_yet", t.notBefore.Sub(now), errors.New("the command is put off"))
	}
	data, err := def.blobs.Blob(ctx, r.blob, maxBody)
	switch {
	case err == nil:
	case errors.Is(err, ErrNoBlob) && now.Before(later(m.Received, t.notBefore).Add(patienceBlob)):
		return r, waitFor("blob_missing", delayBlob, fmt.Errorf("payload_blob: no object %q yet", clip(r.blob)))
	case errors.Is(err, ErrNoBlob):
		return r, refuse("blob_missing", "payload_blob: there is no object %q", clip(r.blob)).
			WithHint("store the object before the command, and keep it until the outcome is told")
	case fault.KindOf(err) == fault.Poison:
		marked := fault.Of(err)
		return r, refuse(orElse(marked.Code, "bad_blob"), "payload_blob: %w", err).
			WithHint("%s", orElse(marked.Hint, "name it as in OUTLOOK_BLOB/photo-of-ann"))
	default:
		return r, waitFor(orElse(fault.Of(err).Code, "blob_unread"), max(fault.Of(err).After, delayBlob), fmt.Errorf("payload_blob: %w", err))
	}
	r.blob = ""
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) {
		if r.raw = data; len(data) == 0 {
			return r, refuse("bad_blob", "payload_blob: the object is empty").WithHint("store the whole body under this name")
		}
		return r, nil
	}
	if err := checkText("the object that payload_blob names", data); err != nil {
		return r, err
	}
	r.payload = bytes.TrimSpace(data)
	return r, nil
}

func waitFor(code string, after time.Duration, err error) error {
	return &fault.Error{Kind: fault.Retry, Code: code, After: after, Err: err}
}

// planWait is how long to put off a command that cannot be planned yet; zero
// where it never can, or has had its time.
func (j *job) planWait(ctx context.Context, p *plan, err error, now time.Time) time.Duration {
	marked := fault.Of(err)
	if j.def == nil || marked.Kind != fault.Retry {
		return 0
	}
	left := j.giveUpAt(p).Sub(now)
	if expires := p.expires; !expires.IsZero() {
		left = min(left, expires.Sub(now))
	}
	if left <= 0 {
		return 0
	}
	after := max(min(marked.After, left, maxDelay), delayLeast)
	j.log.InfoContext(ctx, "command waits for its body", "code", marked.Code, "after", after, "error", err)
	return after
}

// plainBlob reports whether a message may name such an object at all.
func plainBlob(name string) bool {
	bucket, object, ok := strings.Cut(name, "/")
	return ok && bucket != "" && object != "" && len(name) <= 256 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
