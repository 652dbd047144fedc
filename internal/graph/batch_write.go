package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// MaxBatchBody is how large the body of a write is that goes in a batch, in bytes.
// [MaxBatch] of them stay far below the 4 MB that Graph takes of a request.
const MaxBatchBody = 64 << 10

// Write is a PATCH or DELETE that goes together with others, and what became of
// it: see [Client.Together].
type Write struct {
	// Response is the answer where it is a 2xx, else nil.
	Response *Response
	// Err is marked as the errors of [Client.Do]; nil beside a Response.
	Err error
	// Apart says that Graph refused the batch as such before it ran any part of
	// it, so that this request is still to be made, alone.
	Apart bool

	owner context.Context // of the one who wants it: for its span, and whether anybody still does
	call  *call
	url   string
	id    string // client-request-id
}

// Batches reports whether a request may be given to [Client.NewWrite]: a PATCH or
// DELETE that may be made again ([catalog.Operation.Batches]), with a small JSON
// body or none.
func (r *Request) Batches() bool {
	return r.Operation != nil && r.Operation.Batches() && len(r.Body) <= MaxBatchBody && r.Link == "" && !r.Directory &&
		(r.ContentType == "" || r.ContentType == "application/json")
}

// NewWrite checks a request as [Client.Do] does. ok is false for one that must go
// alone. Where ctx has ended when the batch is about to leave, it is left out.
func (c *Client) NewWrite(ctx context.Context, req Request) (w *Write, ok bool, err error) {
	if !req.Batches() {
		return nil, false, nil
	}
	k, err := c.prepare(req)
	if err != nil {
		return nil, false, err
	}
	if k.body != nil && (k.header.Get("Content-Type") != "application/json" || k.body[0] != '{' || !json.Valid(k.body)) {
		return nil, false, nil
	}
	address := strings.TrimPrefix(k.url.EscapedPath(), c.base.EscapedPath())
	if strings.Contains(address, "%25") || strings.Contains(address, "+") {
		return nil, false, nil // who unescapes a part once more would see another path
	}
	if k.url.RawQuery != "" {
		address += "?" + k.url.RawQuery
	}
	return &Write{owner: ctx, call: k, url: address}, true, nil
}

// Together makes up to [MaxBatch] writes in one HTTP request, and fills in what
// became of each. They may be of several mailboxes; for each the caller holds a
// slot of its mailbox. In which order they are made is not known: Graph runs up to
// four at once.
//
// Each write has an end of its own, which is marked as if it had gone alone. Where
// the batch has no answer, or that of a server in trouble, any of its parts may
// have had its effect: each is Ambiguous. So is one that the answer leaves out, and
// each of a batch that was throttled as a whole: Graph throttles parts, and does
// not say what became of them where it throttles the whole.
// https://learn.microsoft.com/graph/json-batching
// https://learn.microsoft.com/graph/throttling#throttling-and-batching
func (c *Client) Together(ctx context.Context, writes []*Write) {
	k, err := c.envelope()
	if err == nil && len(writes) > MaxBatch {
		err = fault.New(fault.Poison, "a batch of %d requests, %d is the most", len(writes), MaxBatch).WithCode("batch_refused")
	}
	if err != nil {
		fail(writes, err)
		return
	}
	token, err := c.token(ctx, k)
	if err != nil {
		fail(writes, err)
		return
	}
	refused := c.sendWrites(ctx, k, token, writes)
	if len(refused) == 0 {
		return
	}
	rejected := token
	rejected.Claims = claimsAsked(refused[0].Err)
	c.tokens.Reject(ctx, rejected)
	fresh, err := c.token(ctx, k)
	switch {
	case err != nil:
		for _, w := range refused {
			w.Err = fmt.Errorf("%w (after %w)", err, w.Err)
		}
	case fresh.Access == token.Access:
		for _, w := range refused {
			w.Err = &fault.Error{Kind: fault.Retry, Code: fault.Of(w.Err).Code, Err: fmt.Errorf("token is not renewed yet: %w", w.Err)}
		}
	default:
		c.metrics.retries.WithLabelValues(c.name, "unauthorized").Inc()
		c.sendWrites(ctx, k, fresh, refused)
	}
}

func fail(writes []*Write, err error) {
	for _, w := range writes {
		w.Err = err
	}
}

// envelope is the call of a batch of writes. It is of no mailbox: each part counts
// in its own.
func (c *Client) envelope() (*call, error) {
	op, err := catalog.Default().Lookup("batch.batch.send")
	if err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	k, err := c.prepare(Request{Operation: op, Mailbox: "-"})
	if err != nil {
		return nil, err
	}
	k.header.Set("Content-Type", "application/json")
	k.free = true
	return k, nil
}

// sendWrites makes one HTTP request of those that may be sent now. It returns those
// of which another token may do.
func (c *Client) sendWrites(ctx context.Context, k *call, token Token, writes []*Write) (refused []*Write) {
	var live []*Write
	for _, w := range writes {
		done, err := c.admit(ctx, w)
		if err != nil {
			w.Err = err
			continue
		}
		defer done() // when all have ended: what runs at Graph is known for the whole only
		live = append(live, w)
	}
	// To count the others may have taken a moment.
	live = slices.DeleteFunc(live, func(w *Write) bool {
		repeat := w.Err != nil
		if w.Err = w.call.late(w.Err); w.Err != nil {
			return true
		}
		if w.id = w.call.id; w.id == "" || repeat {
			w.id = newGUID()
		}
		return false
	})
	if len(live) == 0 {
		return nil
	}
	var err error
	if k.body, err = encodeWrites(live); err != nil {
		fail(live, fault.New(fault.Poison, "batch: %w", err).WithCode("batch_refused"))
		return nil
	}
	k.id = newGUID()
	started := time.Now()
	whole := &answer{clientRequestID: k.id, secret: token}
	err = c.attempt(ctx, k, token, false, func(a *answer) error {
		whole = a
		return c.writeAnswers(k, a, live)
	})
	for _, w := range live {
		entry := logEntry{call: w.call, clientRequestID: w.id, batch: k.id, started: started, requestID: whole.requestID()}
		switch {
		case w.Response != nil:
			entry.status, entry.requestID, entry.size = w.Response.Status, w.Response.RequestID, int64(len(w.Response.Body))
			w.Response.Duration = time.Since(started)
			c.limits.calm(w.call.mailbox)
		case w.Err == nil:
			c.unanswered(w, err)
		}
		if answered, ok := errors.AsType[*Error](w.Err); ok {
			entry.status, entry.requestID = answered.Status, answered.RequestID
		}
		c.finish(w.owner, entry, w.Err) //nolint:contextcheck // each part has its owner's
		if refusesToken(w.Err) {
			refused = append(refused, w)
		}
	}
	return refused
}

// admit counts a write in the limits of its mailbox.
func (c *Client) admit(ctx context.Context, w *Write) (done func(), err error) {
	k := w.call
	if end := w.owner.Err(); end != nil {
		return nil, &fault.Error{Kind: fault.Retry, Code: "not_sent", Err: fmt.Errorf("%s %s: not sent: %w", k.method, k.template, end)}
	}
	done, wait, why := c.limits.charge(ctx, k.mailbox, int64(len(k.body)))
	if wait > 0 {
		return nil, &fault.Error{Kind: fault.Retry, After: wait, Code: why, Err: fmt.Errorf(
			"%s %s: not sent: %s leaves this mailbox alone for %v", k.method, k.template, why, wait.Round(time.Millisecond))}
	}
	return done, nil
}

// encodeWrites is the body of a batch; the ids count from 1. Where a part has a
// client-request-id of its own, it is told like any other header.
func encodeWrites(writes []*Write) ([]byte, error) {
	type request struct {
		ID      string            `json:"id"`
		Method  string            `json:"method"`
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers"`
		Body    json.RawMessage   `json:"body,omitempty"`
	}
	requests := make([]request, len(writes))
	for i, w := range writes {
		headers := make(map[string]string, len(w.call.header)+1)
		for name := range w.call.header {
			headers[name] = w.call.header.Get(name)
		}
		headers["client-request-id"] = w.id
		requests[i] = request{ID: strconv.Itoa(i + 1), Method: w.call.method, URL: w.url, Headers: headers, Body: w.call.body}
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(map[string]any{"requests": requests})
	return text.Bytes(), err
}

// unanswered says what becomes of a write to which no answer came: err is the end
// of the batch.
func (c *Client) unanswered(w *Write, err error) {
	k := w.call
	if err == nil {
		w.Err = &fault.Error{Kind: fault.Retry, Ambiguous: true, Code: "no_answer", Err: fmt.Errorf(
			"%s %s: the answer of the batch has none for this part (client-request-id %s)", k.method, k.template, w.id)}
		return
	}
	mark := *fault.Of(err)
	mark.Err = fmt.Errorf("%s %s: in a batch: %w", k.method, k.template, err)
	status := 0
	if answered, ok := errors.AsType[*Error](err); ok {
		status = answered.Status
	}
	switch {
	case status == http.StatusTooManyRequests:
		mark.Kind, mark.Ambiguous = fault.Retry, true
		mark.After = c.limits.throttled(k.mailbox, mark.After)
	case status == http.StatusServiceUnavailable && mark.After > 0:
		c.limits.park(k.mailbox, time.Now().Add(mark.After))
	case status != 0 && !mark.Ambiguous && !refusesToken(err):
		// The form of the batch is refused, or that there is one at all.
		w.Apart = true
	}
	w.Err = &mark
}
