package graph

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/seal"
)

// Request is one call of an operation. It holds parameters, never a URL: the
// address is built by the catalogue. The one exception, Link, must fit the
// operation and the mailbox.
type Request struct {
	// Operation is what to do; it must not be nil.
	Operation *catalog.Operation
	// Mailbox is "me", a user (principal name or object id), a group's id, or
	// "-" for operations without a mailbox. The limits are kept under it, in
	// lower case.
	Mailbox string
	// Group says that Mailbox is a group's id; see [catalog.Params].
	Group bool
	// Aliases are other names of the same mailbox, such as the user's object
	// id. A link that Graph writes with one of them is accepted.
	Aliases []string
	// Path are the path parameters.
	Path map[string]string
	// Target is what the operation's Build made of these parameters, for callers
	// that had to look at it; nil builds it. One that does not fit them is built
	// again ([catalog.Target.Fits]), so no address comes from anywhere else.
	Target *catalog.Target
	// Query are the query parameters, not escaped. With Link they are only
	// checked: a link has them inside.
	Query map[string]string
	// Headers are those of [Headers]; others are refused.
	Headers map[string]string
	// Body is the body, nil for none. Graph takes 4 MB:
	// https://learn.microsoft.com/graph/outlook-large-attachments
	Body []byte
	// ContentType is that of Body. Empty means "application/json".
	ContentType string
	// ClientRequestID is the GUID of the attempt, for callers that write it down
	// before they send; empty makes one. Another attempt after a 401 has its
	// own.
	ClientRequestID string
	// Deadline returns the moment from which somebody else may make this request;
	// nil means never. It may move, and so it is asked right before each send of
	// a request that is not GET, when the token is there: once it has come nothing
	// is sent, and the error is of kind Retry, not ambiguous, with the code
	// "deadline_passed".
	Deadline func() time.Time
	// Directory says that the request is about the directory and not about the
	// mailbox's content, so that the limits of the mailbox are not asked.
	Directory bool
	// Link is an @odata.nextLink or @odata.deltaLink of an earlier page of
	// this very feed, for [Client.Page]. It is checked before it is used.
	Link string
}

// Headers returns the names of the headers that a request may bring, as
// https://learn.microsoft.com/graph/use-the-api#headers and the reference use
// them. Everything else (the token, the ids, lengths, encodings) is set here.
func Headers() []string { return slices.Sorted(maps.Values(allowedHeaders())) }

// allowedHeaders maps canonical names to the usual spelling. Nobody changes it.
var allowedHeaders = sync.OnceValue(func() map[string]string {
	allowed := make(map[string]string)
	for _, name := range []string{
		"Accept", "Accept-Language", "ConsistencyLevel", "Content-Type",
		"If-Match", "If-None-Match", "Prefer", "x-ms-throttle-priority",
	} {
		allowed[textproto.CanonicalMIMEHeaderKey(name)] = name
	}
	return allowed
})

// maxHeader bounds one header value in bytes.
const maxHeader = 8 << 10

// call is a checked request, ready to be sent once or, after a 401, twice.
type call struct {
	op       *catalog.Operation
	method   string
	template string
	url      *url.URL    // as a rule &address
	address  url.URL     // here, because each call has one
	header   http.Header // once sent, it also has what [Client.request] adds
	sent     bool        // header belongs to net/http, which may still read it
	body     []byte
	mailbox  *mailbox // whose limits are asked
	free     bool     // not about a mailbox: no limit of one is asked
	id       string   // of the first attempt
	deadline func() time.Time
	path     string        // for the rule of its links
	aliases  []string      // likewise
	parts    int           // of a batch: how many requests it is; 0 elsewhere
	width    int           // of a batch: how many of them run at once, each in a slot
	timeout  time.Duration // of one attempt; 0 means that of the client
	first    [1]string     // the id of the first attempt, for its header
}

// safe reports whether the call has no effect, so that an unknown end of it
// does no harm: a GET, a POST that only reads, a batch of GETs.
func (k *call) safe() bool { return k.method == http.MethodGet || k.op.Reads() || k.parts > 0 }

// late returns an error if it is too late to send the call. after is the answer
// to the attempt before, if there was one.
func (k *call) late(after error) error {
	if k.safe() || k.deadline == nil {
		return nil
	}
	due := k.deadline()
	if time.Now().Before(due) {
		return nil
	}
	err := fmt.Errorf("%s %s: not sent: its time was over at %s", k.method, k.template, due.UTC().Format(time.RFC3339Nano))
	if answered, ok := errors.AsType[*Error](after); ok { // without its remedy, which is not this one's
		err = fmt.Errorf("%w (after %w)", err, answered)
	}
	return &fault.Error{Kind: fault.Retry, Code: "deadline_passed", Err: err}
}

// prepare checks a request and builds its address. Every error is Poison or,
// for a stored link that does not fit, Resync.
func (c *Client) prepare(req Request) (*call, error) {
	if req.Operation == nil {
		return nil, fault.New(fault.Poison, "request names no operation").WithCode("entity_unknown")
	}
	target := req.Target
	if params := (catalog.Params{Mailbox: req.Mailbox, Group: req.Group, Path: req.Path, Query: req.Query}); !target.Fits(req.Operation, params) {
		built, err := req.Operation.Build(params)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", req.Operation.ID, err)
		}
		target = &built
	}
	address, err := c.address(target)
	if err != nil {
		return nil, err
	}
	k := &call{
		op: req.Operation, method: req.Operation.Method, template: target.Template, address: address,
		body: req.Body, deadline: req.Deadline, mailbox: c.known(req.Mailbox), free: req.Directory,
		path: target.Path, aliases: req.Aliases,
	}
	k.url = &k.address
	if k.id = req.ClientRequestID; k.id != "" && !isGUID(k.id) {
		return nil, fault.New(fault.Poison, "client-request-id is not a GUID").WithCode("header_refused")
	}
	if k.header, err = checkHeaders(req.Headers); err != nil {
		return nil, err
	}
	if req.Link != "" && k.method != http.MethodGet {
		return nil, fault.New(fault.Poison, "%s is not read by pages, so it takes no link", k.op.ID).WithCode("link_refused")
	}
	if req.Link != "" {
		if k.url, err = c.linkRule(k).parse(req.Link); err != nil {
			return nil, &fault.Error{
				Kind: fault.Resync, Code: "link_refused", Err: fmt.Errorf("stored link: %w", err),
				Hint: "the stored link does not belong to this feed, so the feed is read again from its start",
			}
		}
	}
	if k.body != nil && k.header.Get("Content-Type") == "" {
		switch {
		case req.ContentType == "" || req.ContentType == typeJSON:
			k.header["Content-Type"] = c.usual.json
		case validHeaderValue(req.ContentType):
			k.header["Content-Type"] = []string{req.ContentType}
		default:
			return nil, fault.New(fault.Poison, "content type is not a header value").WithCode("header_refused")
		}
	}
	return k, nil
}

// address joins the base and a target and makes sure that parsing changed
// nothing about it.
func (c *Client) address(target *catalog.Target) (url.URL, error) {
	escaped := c.base.EscapedPath() + target.Path
	path, err := url.PathUnescape(escaped)
	u := url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: path, RawQuery: target.RawQuery}
	if u.EscapedPath() != escaped {
		// There are several ways to escape a path. This one is taken only where it has
		// no character that is none of a path, such as ? and #.
		u.RawPath = escaped
	}
	if err != nil || !strings.HasPrefix(target.Path, "/") || u.EscapedPath() != escaped || dotted(path) {
		return url.URL{}, fault.New(fault.Poison, "path %s is not a plain path", target.Template).WithCode("path_refused")
	}
	return u, nil
}

// checkHeaders copies the caller's headers if each may be sent.
func checkHeaders(headers map[string]string) (http.Header, error) {
	allowed := allowedHeaders()
	out := make(http.Header, len(headers)+ownHeaders)
	values := make([]string, 0, len(headers))
	for name, value := range headers {
		key := name
		known, ok := allowed[key]
		if !ok { // written otherwise
			key = textproto.CanonicalMIMEHeaderKey(name)
			known, ok = allowed[key]
		}
		if !ok {
			return nil, fault.New(fault.Poison, "header %q may not be set", clip(name, 64)).WithCode("header_refused").
				WithHint("headers that may be set: %s", strings.Join(Headers(), ", "))
		}
		if !validHeaderValue(value) {
			return nil, fault.New(fault.Poison, "header %s has a value that cannot be sent", known).WithCode("header_refused")
		}
		if out[key] != nil {
			return nil, fault.New(fault.Poison, "header %s is there twice", known).WithCode("header_refused")
		}
		values = append(values, value)
		out[key] = values[len(values)-1 : len(values) : len(values)]
	}
	return out, nil
}

// validHeaderValue accepts visible ASCII, spaces and tabs. A line break would
// start a header of the sender's own choice.
func validHeaderValue(value string) bool {
	if len(value) > maxHeader {
		return false
	}
	for i := range len(value) {
		if b := value[i]; b != '\t' && (b < ' ' || b > '~') {
			return false
		}
	}
	return true
}

// typeJSON is what most bodies are.
const typeJSON = "application/json"

// ownHeaders is how many headers [Client.request] sets, and the body's type.
const ownHeaders = 6

// usualHeaders are the values that are the same in every request. Nobody changes
// them.
type usualHeaders struct{ accept, agent, yes, json []string }

func newUsualHeaders(agent string) usualHeaders {
	return usualHeaders{
		accept: []string{"application/json, */*;q=0.5"}, agent: []string{agent}, yes: []string{"true"}, json: []string{typeJSON},
	}
}

// request makes the HTTP request of one attempt.
func (c *Client) request(ctx context.Context, k *call, token Token, id string) *http.Request {
	ids := k.first[:]
	if k.sent {
		ids = make([]string, 1)
		k.header = k.header.Clone()
	}
	k.sent = true
	ids[0] = id
	if k.header["Accept"] == nil {
		k.header["Accept"] = c.usual.accept
	}
	k.header["User-Agent"] = c.usual.agent
	// For support only; Graph does not take it for an idempotency key:
	// https://learn.microsoft.com/graph/best-practices-concept#reliability-and-support
	k.header["Client-Request-Id"] = ids
	k.header["Return-Client-Request-Id"] = c.usual.yes
	k.header["Authorization"] = c.authorization(token.Access)
	// With [http.NewRequestWithContext] the address would be written and read again.
	req := (&http.Request{
		Method: k.method, URL: k.url, Header: k.header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	if len(k.body) > 0 {
		// A bytes.Reader, so that net/http knows that it need not wait for the body,
		// and can rewind: on a stale connection it starts over if nothing was written.
		body := k.body
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	return req
}

// bearer is the header of a token, kept for the next request with it: a token is
// some 2 KB, and thousands of requests have the same.
type bearer struct {
	access seal.Secret
	header []string
}

// authorization returns the values of the header Authorization; nil for a token
// that is none.
func (c *Client) authorization(access seal.Secret) []string {
	known := c.bearer.Load()
	if known == nil || known.access != access {
		if access == "" || !validHeaderValue(access.Reveal()) {
			return nil
		}
		known = &bearer{access: access, header: []string{"Bearer " + access.Reveal()}}
		c.bearer.Store(known)
	}
	return known.header
}

// isGUID reports whether a text has the form of 01234567-89ab-cdef-0123-456789abcdef.
func isGUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
		default:
			return false
		}
	}
	return true
}

// newGUID returns a random UUID (version 4).
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := make([]byte, 0, 36)
	for i, part := range [][]byte{b[:4], b[4:6], b[6:8], b[8:10], b[10:]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}

// limitKey is the name under which a mailbox's limits are kept.
func limitKey(mailbox string) string {
	if mailbox == "" {
		return "-"
	}
	return strings.ToLower(mailbox)
}
