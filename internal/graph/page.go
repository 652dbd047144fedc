package graph

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Page is what came with the items of one page.
type Page struct {
	// Next is the link to the next page, Delta the one for the next round. At
	// most one is set, and it was checked against the feed. Both are empty on
	// the last page of a list. They are opaque and hold tokens of the mailbox:
	// not for logs.
	Next, Delta string
	// Items is how many elements were handed out.
	Items int
	// Status is the HTTP status, Bytes the size after decompression.
	Status int
	Bytes  int64
	// Date is the answer's own time; zero if it has none.
	Date time.Time
	// RequestID and ClientRequestID name the request to Microsoft's support.
	RequestID, ClientRequestID string
	// Duration is the time of the attempt that succeeded, body included.
	Duration time.Duration
}

// Page reads one page: the first of a round, or that of req.Link. Headers are
// not in a link, so the caller gives the same ones with each page:
// https://learn.microsoft.com/graph/paging
//
// emit gets each element of "value" as it stands, in order; the bytes are
// valid until emit returns. Memory does not grow with the page. The answer is
// checked to its last byte before Page returns without an error, so the caller
// must drop what it collected when there is one: a page that was cut off is
// not a short page. An error of emit ends the page and comes back wrapped.
//
// Errors are those of [Client.Do]; of kind Resync when the link is worth
// nothing any more (410, syncStateNotFound, or it does not fit the request).
func (c *Client) Page(ctx context.Context, req Request, emit func(item []byte) error) (*Page, error) {
	k, err := c.prepare(req)
	if err != nil {
		return nil, err
	}
	var page *Page
	started := time.Now()
	err = c.run(ctx, k, func(a *answer) error {
		var err error
		page, err = c.split(k, a, emit)
		return err
	}, func() { started = time.Now() })
	if err != nil {
		return nil, err
	}
	page.Duration = time.Since(started)
	return page, nil
}

// emitError is an error of the caller, which is handed back unmarked.
type emitError struct{ err error }

func (e *emitError) Error() string { return e.err.Error() }
func (e *emitError) Unwrap() error { return e.err }

// split hands out the items of an answer and checks its links.
func (c *Client) split(k *call, a *answer, emit func([]byte) error) (*Page, error) {
	ahead := readers.Get().(*bufio.Reader) //nolint:forcetypeassert // nothing else is in there
	ahead.Reset(a.body)
	defer func() {
		ahead.Reset(nil) // the pool must not keep the answer
		readers.Put(ahead)
	}()
	counted := &capped{from: ahead, left: c.http.MaxPage}
	item := &capped{from: counted, left: c.http.MaxItem}
	s := splitter{emit: emit, begin: func() { item.left = c.http.MaxItem }}
	err := s.run(item)
	if taken, ok := errors.AsType[*emitError](err); ok {
		return nil, fmt.Errorf("%s %s: item %d: %w", k.method, k.template, s.items, taken.err)
	}
	if err == nil && k.op.Delta && s.next == "" && s.delta == "" {
		err = errors.New("a delta page has neither a next nor a delta link")
	}
	if err != nil {
		return nil, c.badBody(k, a, err)
	}
	if s.next != "" {
		// A page has one link or the other. Where it has both, there may be
		// more pages, and going on loses nothing.
		s.delta = ""
	}
	if s.next+s.delta != "" {
		rule := c.linkRule(k)
		s.next, s.delta = rule.received(s.next), rule.received(s.delta)
		to, err := rule.parse(s.next + s.delta)
		if err != nil {
			mark := c.badBody(k, a, err)
			mark.Code = "link_refused"
			mark.Hint = "Graph's link leads away from the feed, so it is not followed and the cursor stays where it is"
			return nil, mark
		}
		if s.next != "" && sameAddress(to, k.url) {
			// Of a first page, whose address has no token, the circle is not seen by who
			// follows it: each time it would be another first page, and what went in
			// between would never be missed.
			mark := c.badBody(k, a, errors.New("the nextLink is the address of the page itself"))
			mark.Code = "page_loop"
			return nil, mark
		}
	}
	return &Page{
		Next: s.next, Delta: s.delta, Items: s.items, Status: a.status, Bytes: c.http.MaxPage - counted.left,
		Date: a.date(), RequestID: a.requestID(), ClientRequestID: a.clientRequestID,
	}, nil
}

// sameAddress reports whether two addresses ask for the same, however their
// queries are ordered and escaped.
func sameAddress(a, b *url.URL) bool {
	return strings.EqualFold(a.Path, b.Path) && a.Query().Encode() == b.Query().Encode()
}

// readers read ahead. The decoder asks for as little as an item at a time, and
// each of its reads would set the timer that guards the body.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readSize) }}

// splitter cuts a page into its items.
type splitter struct {
	emit        func([]byte) error
	begin       func() // called before each member and each item
	next, delta string
	items       int
}

// run reads one JSON object and nothing after it. Two options are vital: by
// default jsontext refuses half a surrogate pair, which a preview that was cut
// in the middle of an emoji has, and one such mail would stop its mailbox for
// ever; and duplicate names.
func (s *splitter) run(from io.Reader) error {
	dec := jsontext.NewDecoder(from, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
	if err := open(dec, '{'); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return whole(err)
		}
		name := token.String()
		known := name == "value" || name == "@odata.nextLink" || name == "@odata.deltaLink"
		if known && seen[name] {
			return fmt.Errorf("the page has %s twice", name)
		}
		seen[name] = known
		s.begin()
		switch name {
		case "value":
			err = s.array(dec)
		case "@odata.nextLink":
			s.next, err = link(dec)
		case "@odata.deltaLink":
			s.delta, err = link(dec)
		default:
			err = dec.SkipValue()
		}
		if err != nil {
			return whole(err)
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return whole(err)
	}
	if !seen["value"] {
		return errors.New("the page has no value")
	}
	// To the end, so that a wrong length or checksum is noticed.
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("something follows the page")
		}
		return err
	}
	return nil
}

// array hands out the elements of value.
func (s *splitter) array(dec *jsontext.Decoder) error {
	if err := open(dec, '['); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		s.begin()
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		s.items++
		if err := s.emit(value); err != nil {
			return &emitError{err}
		}
	}
	_, err := dec.ReadToken()
	return err
}

// open reads the beginning of an object or array.
func open(dec *jsontext.Decoder, want jsontext.Kind) error {
	token, err := dec.ReadToken()
	if err != nil {
		return whole(err)
	}
	if token.Kind() != want {
		return fmt.Errorf("the page has %v where %v belongs", token.Kind(), want)
	}
	return nil
}

// link reads the value of a link; null is as good as none.
func link(dec *jsontext.Decoder) (string, error) {
	token, err := dec.ReadToken()
	switch {
	case err != nil:
		return "", err
	case token.Kind() == 'n':
		return "", nil
	case token.Kind() != '"':
		return "", errors.New("a link is not a string")
	}
	return strings.Clone(token.String()), nil
}

// whole says that an early end is an early end, except of the caller's errors.
func whole(err error) error {
	if _, taken := errors.AsType[*emitError](err); !taken && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
