package graph

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"outlook-connector/internal/fault"
)

// writeAnswer is one answer of a batch of writes.
type writeAnswer struct {
	ID      string          `json:"id"`
	Status  int             `json:"status"`
	Headers map[string]any  `json:"headers"` // numbers have been seen
	Body    json.RawMessage `json:"body"`
}

// writeAnswers hands the answers of a batch to its parts. They come in any order.
// Where the body breaks off, those before have been told; the others are left
// without an answer.
func (c *Client) writeAnswers(k *call, a *answer, writes []*Write) error {
	seen := make([]bool, len(writes))
	err := eachAnswer(&capped{from: a.body, left: c.http.MaxPage}, func(one writeAnswer) {
		i, err := strconv.Atoi(one.ID)
		if err != nil || i < 1 || i > len(writes) {
			return // of nothing that was asked
		}
		w := writes[i-1]
		if seen[i-1] { // which of them is right is not known
			w.Response, w.Err = nil, &fault.Error{Kind: fault.Retry, Ambiguous: true, Code: "bad_body", Err: fmt.Errorf(
				"%s %s: the batch answers twice (client-request-id %s)", w.call.method, w.call.template, w.id)}
			return
		}
		seen[i-1] = true
		if one.Status < 200 || one.Status > 599 {
			return // no final answer
		}
		w.Response, w.Err = c.writeAnswer(w, a, one)
	})
	if err != nil {
		mark := c.badBody(k, a, err)
		mark.Ambiguous = true
		return mark
	}
	return nil
}

// writeAnswer judges one answer by the rules of a request that went alone.
func (c *Client) writeAnswer(w *Write, whole *answer, one writeAnswer) (*Response, error) {
	if string(one.Body) == "null" {
		one.Body = nil
	}
	a := &answer{
		status: one.Status, header: make(http.Header, len(one.Headers)+2), body: bytes.NewReader(one.Body),
		clientRequestID: w.id, secret: whole.secret,
	}
	for _, name := range []string{"Date", "Request-Id"} {
		a.header.Set(name, whole.header.Get(name))
	}
	for name, value := range one.Headers {
		a.header.Set(name, fmt.Sprint(value))
	}
	if one.Status > 299 {
		return nil, c.failure(w.call, a)
	}
	return c.whole(w.call, a, c.http.MaxBody)
}

// eachAnswer reads {"responses": […]} one after the other.
func eachAnswer(from io.Reader, each func(writeAnswer)) error {
	dec := jsontext.NewDecoder(from, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if token, err := dec.ReadToken(); err != nil || token.Kind() != '{' {
		return errors.Join(errors.New("the answer is no object"), err)
	}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return err
		}
		if name.String() != "responses" || dec.PeekKind() != '[' {
			if err := dec.SkipValue(); err != nil {
				return err
			}
			continue
		}
		if err := eachElement(dec, each); err != nil {
			return err
		}
	}
	_, err := dec.ReadToken()
	return err
}

// eachElement reads an array. What is no answer answers nothing.
func eachElement(dec *jsontext.Decoder, each func(writeAnswer)) error {
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		text, err := dec.ReadValue()
		if err != nil {
			return err
		}
		var one writeAnswer
		if json.Unmarshal(text, &one) == nil {
			each(one)
		}
	}
	_, err := dec.ReadToken()
	return err
}
