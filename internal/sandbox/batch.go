package sandbox

// $batch: up to 20 requests in one. Modelled: ids, dependsOn with 424, four parts
// at once without dependsOn and one at a time with it, per-part errors, limits and
// Retry-After, binary bodies as base64, the refusals of a bad envelope. Each part
// goes the way of any request: it counts against its mailbox, faults see it, the
// log has it. Left out: mixes of sequence and parallelism, which Graph refuses in
// part; here any dependsOn makes the batch go one by one.
// https://learn.microsoft.com/graph/json-batching

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// maxBatch is the number of requests in a batch, and batchAtOnce how many of them
// run together whatever their mailboxes.
const (
	maxBatch    = 20
	batchAtOnce = 4
)

func batchRoutes() []route {
	return []route{{method: "POST", path: "/$batch", handle: (*call).batch}}
}

// batchPart is one request of a batch.
type batchPart struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

// batchAnswer is what became of a part.
type batchAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`

	reset bool
}

func errBatch(format string, args ...any) *graphError {
	return newError(http.StatusBadRequest, "BadRequest", format, args...)
}

func (c *call) batch() (*Answer, error) {
	if c.part {
		return nil, errBatch("A batch cannot hold a batch.")
	}
	parts, err := c.batchParts()
	if err != nil {
		return nil, err
	}
	var answers []batchAnswer
	if slices.ContainsFunc(parts, func(p batchPart) bool { return len(p.DependsOn) > 0 }) {
		answers = c.batchInOrder(parts)
	} else {
		answers = c.batchTogether(parts)
	}
	if slices.ContainsFunc(answers, func(a batchAnswer) bool { return a.reset }) {
		return &Answer{Reset: true}, nil // a cut connection cuts the whole batch
	}
	return c.jsonAnswer(http.StatusOK, appendJSON(nil, map[string]any{"responses": answers})), nil
}

// batchParts reads and checks the envelope.
func (c *call) batchParts() ([]batchPart, error) {
	var envelope struct {
		Requests []batchPart `json:"requests"`
	}
	if _, err := c.readObject(); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(c.body, &envelope); err != nil {
		return nil, errBatch("Invalid batch payload format.")
	}
	parts := envelope.Requests
	switch {
	case len(parts) == 0:
		return nil, errBatch("Invalid batch payload format.")
	case len(parts) > maxBatch:
		return nil, errBatch("Number of batch request steps exceeds the maximum value of %d.", maxBatch)
	}
	seen := map[string]bool{}
	for i, p := range parts {
		id := strings.ToLower(p.ID)
		switch {
		case id == "" || p.Method == "" || p.URL == "":
			return nil, errBatch("Write request id, method and url of each request: the request at position %d is not complete.", i)
		case seen[id]:
			return nil, errBatch("Request Id has to be unique in a batch: '%s' is there twice.", p.ID)
		case hasBody(p) && !hasHeader(p, "Content-Type"):
			return nil, errBatch("Write request id : %s does not contain Content-Type header or body.", p.ID)
		}
		for _, other := range p.DependsOn {
			if !seen[strings.ToLower(other)] {
				return nil, errBatch("The dependsOn of request '%s' names '%s', which is no request before it.", p.ID, other)
			}
		}
		seen[id] = true
	}
	return parts, nil
}

func hasBody(p batchPart) bool { return len(p.Body) > 0 && string(p.Body) != "null" }

func hasHeader(p batchPart, name string) bool {
	for n := range p.Headers {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// batchInOrder does one part after the other; what depends on a failed one is
// not done.
func (c *call) batchInOrder(parts []batchPart) []batchAnswer {
	failed := map[string]bool{}
	answers := make([]batchAnswer, 0, len(parts))
	for _, p := range parts {
		var a batchAnswer
		if slices.ContainsFunc(p.DependsOn, func(id string) bool { return failed[strings.ToLower(id)] }) {
			e := newError(http.StatusFailedDependency, "FailedDependency", "One of the requests that this request depends on has failed.")
			a = partAnswer(p.ID, e.answer(newGUID(), c.clientID, time.Now()))
		} else {
			a = c.doPart(p)
		}
		failed[strings.ToLower(p.ID)] = a.Status >= 400 || a.reset
		answers = append(answers, a)
	}
	return answers
}

// batchTogether does the parts four at a time; the answers come in the order in
// which they were ready.
func (c *call) batchTogether(parts []batchPart) []batchAnswer {
	var mu sync.Mutex
	var wait sync.WaitGroup
	answers := make([]batchAnswer, 0, len(parts))
	free := make(chan struct{}, batchAtOnce)
	var broken any // a panic of a part, for the server to deal with
	for _, p := range parts {
		free <- struct{}{}
		wait.Go(func() {
			defer func() {
				if why := recover(); why != nil {
					mu.Lock()
					broken = why
					mu.Unlock()
					<-free
				}
			}()
			a := c.doPart(p)
			mu.Lock()
			answers = append(answers, a)
			mu.Unlock()
			<-free
		})
	}
	wait.Wait()
	if broken != nil {
		panic(broken)
	}
	return answers
}

// doPart does one request of the batch as if it had come alone, with the token of
// the whole.
func (c *call) doPart(p batchPart) batchAnswer {
	target, err := url.Parse(c.base + "/v1.0/" + strings.TrimPrefix(p.URL, "/"))
	if err != nil || strings.Contains(p.URL, "://") {
		return partAnswer(p.ID, errBatch("The url of request '%s' is not relative.", p.ID).answer(newGUID(), c.clientID, time.Now()))
	}
	header := http.Header{"Authorization": c.header.Values("Authorization")}
	for name, value := range p.Headers {
		header.Set(name, value)
	}
	body, err := partBody(p)
	if err != nil {
		return partAnswer(p.ID, errBatch("The body of request '%s' is not base64.", p.ID).answer(newGUID(), c.clientID, time.Now()))
	}
	r := &http.Request{
		Method: strings.ToUpper(p.Method), URL: target, Header: header, Host: c.request.Host, TLS: c.request.TLS,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
	r = r.WithContext(c.request.Context())
	inner := &call{Sandbox: c.Sandbox, id: newGUID(), header: header, path: target.EscapedPath(), request: r, part: true}
	inner.clientID = header.Get("client-request-id")
	if inner.clientID == "" {
		inner.clientID = inner.id
	}
	entry := Call{
		ID: inner.id, ClientRequestID: header.Get("client-request-id"), Arrived: time.Now(), Method: r.Method,
		Route: target.Path, Path: target.Path, Query: target.RawQuery, Batch: c.id,
	}
	a := c.answer(inner, r, &entry)
	entry.Finished, entry.Status, entry.Code = time.Now(), a.Status, errorCode(a)
	if a.Reset {
		entry.Status, entry.Code = 0, ""
	}
	c.calls.add(entry)
	return partAnswer(p.ID, a)
}

// partBody is the body of a part: JSON as it stands, anything else as base64 in a
// text.
func partBody(p batchPart) ([]byte, error) {
	if !hasBody(p) {
		return nil, nil
	}
	kind := ""
	for name, value := range p.Headers {
		if strings.EqualFold(name, "Content-Type") {
			kind, _, _ = strings.Cut(value, ";")
		}
	}
	var text string
	isText := json.Unmarshal(p.Body, &text) == nil
	if !isText || strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return p.Body, nil
	}
	if strings.HasPrefix(strings.ToLower(kind), "text/") {
		return []byte(text), nil // MIME is base64 by itself
	}
	if b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "=")); err == nil {
		return b, nil
	}
	return base64.StdEncoding.DecodeString(text)
}

func partAnswer(id string, a *Answer) batchAnswer {
	out := batchAnswer{ID: id, Status: a.Status, Headers: map[string]string{}, reset: a.Reset}
	for name, values := range a.Header {
		if name == "Request-Id" || name == "Client-Request-Id" {
			continue // the whole has them
		}
		out.Headers[name] = strings.Join(values, ",")
	}
	switch {
	case len(a.Body) == 0:
	case json.Valid(a.Body):
		out.Body = a.Body
	default:
		out.Body = appendString(nil, base64.StdEncoding.EncodeToString(a.Body))
	}
	return out
}
