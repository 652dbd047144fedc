package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

const (
	// MaxBatch is how many requests one batch holds:
	// https://learn.microsoft.com/graph/json-batching
	MaxBatch = 20
	// batchAtOnce is how many parts Graph runs at once:
	// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
	batchAtOnce = 4
)

// Get is one GET request of a [Client.Batch].
type Get struct {
	// Path is escaped and relative to the mailbox, without a slash before it:
	// "messages/AAMk…". It must be that of an operation of the catalogue.
	Path string
	// Query are the query parameters, not escaped; Headers are of [Headers].
	Query, Headers map[string]string
}

// Got is the answer to a [Get].
type Got struct {
	// Status is the HTTP status; 0 where the part was not sent or not answered.
	Status int
	// Code is Graph's error code; "" where there is none.
	Code string
	// Body is the JSON of a 2xx answer.
	Body []byte
	// Err is nil for a 2xx answer, else marked as the errors of [Client.Do].
	Err error
}

// Batch makes up to [MaxBatch] GET requests of one mailbox ("me", a user, or "-"
// for paths that begin at the root) in one HTTP request, and returns their
// answers in the same order. Each has an error of its own; the error that is
// returned is of all of them.
//
// Graph counts every part, and runs up to four at once, each of which takes a
// place in the mailbox's four. So the caller holds as many slots as there are
// requests, or four: with fewer, what is not covered would run beside other
// requests of the mailbox and be throttled, and Batch refuses to. (Chaining the
// parts with dependsOn would make them run one by one in a single slot, but
// Graph fails whatever depends on a failed part (424), and that an item is gone
// is a usual answer here.)
//
// A part that is throttled parks the mailbox for the part's own Retry-After.
// https://learn.microsoft.com/graph/json-batching
func (c *Client) Batch(ctx context.Context, mailbox string, gets []Get) ([]Got, error) {
	if len(gets) > MaxBatch {
		return nil, fault.New(fault.Poison, "a batch of %d requests, %d is the most", len(gets), MaxBatch).WithCode("batch_refused")
	}
	got := make([]Got, len(gets))
	var parts []*batchPart
	for i, get := range gets {
		part, err := c.part(mailbox, get)
		if err != nil {
			got[i].Err = err
			continue
		}
		part.got = &got[i]
		parts = append(parts, part)
	}
	if len(parts) == 0 {
		return got, nil
	}
	if err := c.sendParts(ctx, parts); err != nil {
		return nil, err
	}
	return got, nil
}

// batchPart is one request of a batch.
type batchPart struct {
	call *call
	url  string
	got  *Got
}

// part checks a request. Its address is built here only to be refused where it
// is no plain path of the API: Graph gets it relative, so it cannot lead away.
func (c *Client) part(mailbox string, get Get) (*batchPart, error) {
	refuse := func(why string) error {
		return fault.New(fault.Poison, "part of a batch: %s", why).WithCode("path_refused")
	}
	root := ""
	switch {
	case mailbox == "-" || mailbox == "":
	case strings.EqualFold(mailbox, "me"):
		root = "/me"
	default:
		root = "/users/" + strings.ReplaceAll(url.PathEscape(mailbox), "+", "%2B")
	}
	path := root + "/" + get.Path
	found := catalog.Default().Match(http.MethodGet, slashedID.ReplaceAllString(path, "${1}ID$2"))
	if len(found) == 0 || strings.ContainsAny(get.Path, "?#") || strings.Contains(get.Path, "%25") {
		return nil, refuse("its path is that of no operation")
	}
	values := make(url.Values, len(get.Query))
	for name, value := range get.Query {
		values.Set(name, value)
	}
	// A $ stays readable, and a space is %20 to every decoder.
	query := strings.NewReplacer("+", "%20", "%24", "$").Replace(values.Encode())
	target := catalog.Target{Path: path, RawQuery: query, Template: templateOf(found[0], path)}
	address, err := c.address(&target)
	if err != nil {
		return nil, err
	}
	header, err := checkHeaders(get.Headers)
	if err != nil {
		return nil, err
	}
	return &batchPart{url: target.String(), call: &call{
		op: found[0], method: http.MethodGet, template: target.Template, url: &address, header: header, mailbox: c.known(mailbox),
	}}, nil
}

// slashedID is a segment that is an id with a slash in it, as base64 has them.
var slashedID = regexp.MustCompile(`(?i)(/)[A-Za-z0-9_-]+(?:(?:%2F|%2B)[A-Za-z0-9_-]+)+(?:=|%3D)*(/|$)`)

// templateOf is the template that a path stands for in errors: one as long.
func templateOf(op *catalog.Operation, path string) string {
	if i := slices.IndexFunc(op.Paths, func(t string) bool { return strings.Count(t, "/") == strings.Count(path, "/") }); i >= 0 {
		return op.Paths[i]
	}
	return op.Paths[0]
}

// sendParts sends the parts and fills in their answers.
func (c *Client) sendParts(ctx context.Context, parts []*batchPart) error {
	op, err := catalog.Default().Lookup("batch.batch.send")
	if err != nil {
		return fmt.Errorf("batch: %w", err)
	}
	k, err := c.prepare(Request{Operation: op, Mailbox: "-"})
	if err != nil {
		return err
	}
	if k.body, err = batchBody(parts); err != nil {
		return fault.New(fault.Poison, "batch: %w", err)
	}
	k.header.Set("Content-Type", "application/json")
	k.mailbox, k.parts, k.width = parts[0].call.mailbox, len(parts), min(len(parts), batchAtOnce)
	repeated := false
	return c.run(ctx, k, func(a *answer) error {
		err := c.batchAnswers(k, a, parts)
		if err != nil || repeated {
			return err
		}
		// A token that is not taken any more shows in the parts, too.
		repeated = true
		for _, part := range parts {
			if refusesToken(part.got.Err) {
				return part.got.Err
			}
		}
		return nil
	}, func() {})
}

// batchBody is the envelope of the parts; their ids count from 1.
func batchBody(parts []*batchPart) ([]byte, error) {
	type request struct {
		ID      string            `json:"id"`
		Method  string            `json:"method"`
		URL     string            `json:"url"`
		Headers map[string]string `json:"headers,omitempty"`
	}
	requests := make([]request, len(parts))
	for i, part := range parts {
		requests[i] = request{ID: strconv.Itoa(i + 1), Method: http.MethodGet, URL: part.url}
		for name := range maps.Keys(part.call.header) {
			if requests[i].Headers == nil {
				requests[i].Headers = make(map[string]string)
			}
			requests[i].Headers[name] = part.call.header.Get(name)
		}
	}
	return json.Marshal(map[string]any{"requests": requests})
}

// partAnswer is one answer of a batch.
type partAnswer struct {
	ID      string            `json:"id"`
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"`
	Body    json.RawMessage   `json:"body"`
}

// batchAnswers hands the answers to the parts. They come in any order.
func (c *Client) batchAnswers(k *call, a *answer, parts []*batchPart) error {
	var envelope struct {
		Responses []partAnswer `json:"responses"`
	}
	body, err := io.ReadAll(&capped{from: a.body, left: c.http.MaxPage})
	if err == nil {
		err = json.Unmarshal(body, &envelope)
	}
	if err != nil {
		return c.badBody(k, a, err)
	}
	seen := make([]bool, len(parts))
	for _, one := range envelope.Responses {
		i, err := strconv.Atoi(one.ID)
		if err != nil || i < 1 || i > len(parts) || seen[i-1] {
			return c.badBody(k, a, errors.New("an answer that fits no request"))
		}
		seen[i-1] = true
		c.partAnswer(parts[i-1], a, one)
	}
	if slices.Contains(seen, false) {
		return c.badBody(k, a, errors.New("a request has no answer"))
	}
	if !slices.ContainsFunc(envelope.Responses, func(one partAnswer) bool { return one.Status == http.StatusTooManyRequests }) {
		c.limits.calm(k.mailbox)
	}
	return nil
}

// partAnswer fills in what became of one part, by the rules of a request that
// went alone.
func (c *Client) partAnswer(part *batchPart, whole *answer, one partAnswer) {
	*part.got = Got{Status: one.Status}
	if one.Status >= 200 && one.Status < 300 {
		part.got.Body = one.Body
		return
	}
	a := &answer{
		status: one.Status, header: make(http.Header, len(one.Headers)+2), body: bytes.NewReader(one.Body),
		clientRequestID: whole.clientRequestID, secret: whole.secret,
	}
	for _, name := range []string{"Date", "Request-Id"} {
		a.header.Set(name, whole.header.Get(name))
	}
	for name, value := range one.Headers {
		a.header.Set(name, value)
	}
	part.got.Err = c.failure(part.call, a)
	if answered, ok := errors.AsType[*Error](part.got.Err); ok {
		part.got.Code = answered.Code
	}
}
