package publisher

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"outlook-connector/internal/catalog"
)

// batchID is the operation that holds others.
const batchID = "batch.batch.send"

// maxParts is how many a batch holds: https://learn.microsoft.com/graph/json-batching
const maxParts = 20

// part is one request of a batch.
type part struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers,omitempty"`
	Body      json.RawMessage   `json:"body,omitempty"`
	DependsOn []string          `json:"dependsOn,omitempty"`
}

// checkBatch holds every part of a batch against the publisher's policy, as if it
// had come alone, and writes the batch anew, with the headers that each part must
// have for itself.
func (w *Worker) checkBatch(def *definition, payload jsontext.Value) ([]byte, error) {
	var batch struct {
		Requests []part `json:"requests"`
	}
	if len(payload) > 0 {
		dec := json.NewDecoder(bytes.NewReader(payload))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&batch); err != nil {
			return nil, badBatch("the payload is no batch: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
	}
	if n := len(batch.Requests); n == 0 || n > maxParts {
		return nil, badBatch("the batch has %d requests; it may have 1 to %d", n, maxParts)
	}
	seen := make(map[string]bool, len(batch.Requests))
	for i := range batch.Requests {
		p := &batch.Requests[i]
		if id := strings.ToLower(p.ID); id == "" || seen[id] {
			return nil, badBatch("request %d of the batch has no id of its own", i+1)
		} else {
			seen[id] = true
		}
		if err := w.checkPart(def, p); err != nil {
			marked := asFault(err)
			return nil, refuse(marked.Code, "request %q of the batch: %w", clip(p.ID), err).WithHint("%s", marked.Hint)
		}
	}
	return encode(batch)
}

func badBatch(format string, args ...any) error {
	return refuse("bad_batch", format, args...).
		WithHint(`{"requests": [{"id": "1", "method": "PATCH", "url": "/me/messages/AAMk…", "headers": {…}, "body": {…}}, …]}`)
}

// checkPart checks one part and completes its headers.
func (w *Worker) checkPart(def *definition, p *part) error {
	p.URL = "/" + strings.TrimPrefix(p.URL, "/")
	// A reader that unescapes twice would see another path than this one.
	ops := w.catalog.Match(p.Method, p.URL)
	if len(ops) == 0 || strings.Contains(p.URL, "%25") {
		return refuse("path_refused", "%s %s is that of no operation", clip(p.Method), clip(p.URL)).
			WithHint("the url begins with /me/, /users/<id>/ or /groups/<id>/, and has neither host nor version")
	}
	op, err := def.partOperation(ops)
	if err != nil {
		return err
	}
	named := ""
	if op.NeedsMailbox() {
		var ok bool
		if named, ok = mailboxOf(p.URL[1:]); !ok {
			return refuse("mailbox_not_allowed", "%s lies in no mailbox", clip(p.URL)).WithHint("begin the url with /me/, /users/<id>/ or /groups/<id>/")
		}
	}
	mailbox, err := def.mailbox(op, named)
	if err != nil {
		return err
	}
	return def.checkPartContent(op, mailbox, p)
}

// partOperation picks the operation that a part does. Several may share a path
// (an event message is a message too); what one of them allows is what is done.
func (d *definition) partOperation(ops []*catalog.Operation) (*catalog.Operation, error) {
	var chosen *catalog.Operation
	for _, op := range ops {
		if chosen == nil && d.allowed[op.ID] != nil {
			chosen = op
		}
	}
	switch {
	case chosen == nil && checkOperation(plainly(ops)[0]) != nil:
		return nil, checkOperation(plainly(ops)[0])
	case chosen == nil:
		return nil, refuse("entity_not_allowed", "the publisher %s may not do %s", d.Name, plainly(ops)[0].ID).WithHint("%s", d.entitiesHint())
	case chosen.ID == batchID:
		return nil, refuse("bad_batch", "a batch holds no batch").WithHint("give its requests in the same one")
	case slices.ContainsFunc(plainly(ops), sendsMail):
		return nil, refuse("batch_part_sends", "%s sends mail, which is never done in a batch: where the answer is lost nobody could tell whether it went out", chosen.ID).
			WithHint("send it as a command of its own")
	}
	return chosen, nil
}

// plainly leaves out the operations that are others with an extension, whose class
// is that of the strictest of many paths.
func plainly(ops []*catalog.Operation) []*catalog.Operation {
	rest := slices.DeleteFunc(slices.Clone(ops), func(op *catalog.Operation) bool { return strings.HasPrefix(op.ID, "extensions.") })
	if len(rest) == 0 {
		return ops
	}
	return rest
}

func sendsMail(op *catalog.Operation) bool {
	return slices.Contains([]catalog.Class{catalog.D1, catalog.D2, catalog.D3, catalog.G3}, op.Class())
}

// checkPartContent checks headers and body of a part.
func (d *definition) checkPartContent(op *catalog.Operation, mailbox string, p *part) error {
	headers := make(map[string]*string, len(p.Headers))
	for name, value := range p.Headers {
		headers[name] = &value
	}
	named, headers := takeContentType(headers)
	checked, err := checkHeaders(headers)
	if err != nil {
		return err
	}
	r, err := p.request()
	if err != nil {
		return err
	}
	b, err := bodyOf(op, r, named)
	if err != nil {
		return err
	}
	if err := errors.Join(d.checkMention(mailbox, b.mail), d.checkNotifications(op, r.payload)); err != nil {
		return err
	}
	if d.ImmutableIDs {
		checked = withImmutableIDs(checked)
	}
	p.Headers = make(map[string]string, len(checked)+1)
	maps.Copy(p.Headers, checked)
	if len(b.data) > 0 {
		p.Headers[headerContentType] = orElse(b.contentType, typeJSON)
	}
	return nil
}

// request is what the part's body would be in a command of its own.
func (p *part) request() (request, error) {
	var r request
	if len(p.Body) == 0 {
		return r, nil
	}
	if err := r.setPayload("the part", jsontext.Value(p.Body)); err != nil {
		return r, fmt.Errorf("body: %w", err)
	}
	return r, nil
}
