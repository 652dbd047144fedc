package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"outlook-connector/internal/fault"
)

// Response is an answer with a 2xx status: the call is done, whatever else it
// says. A Retry-After on a 202 is not an order to repeat; who obeyed it sent a
// mail twice.
type Response struct {
	// Status is the HTTP status, 200 to 299.
	Status int
	// Header are the headers of the answer.
	Header http.Header
	// Body is the whole body after decompression; nil if there is none or if
	// BodyBroken is set.
	Body []byte
	// BodyBroken says that the call is done, but that what it answered is lost:
	// the body was cut off, too large, or not the JSON it claims to be. The id
	// of what was made must then be looked up.
	BodyBroken bool
	// RequestID and ClientRequestID name the request to Microsoft's support.
	RequestID, ClientRequestID string
	// Duration is the time of the attempt that succeeded, body included.
	Duration time.Duration
}

// Date returns the answer's own time; zero if it has none.
func (r *Response) Date() time.Time { return dateOf(r.Header) }

// Do sends a request once and returns its answer. There is no retry in it but
// this: a 401 has no effect and usually means an old token, so that token is
// rejected and the request goes out once more with another one; likewise a 403
// with a claims challenge, whose claims the next token is asked to hold.
//
// An error is always a fault.Error somewhere in its chain. Its Ambiguous says
// that the request may have had its effect all the same, which is never said
// of GET. A truncated or invalid body makes a write BodyBroken and a GET an
// error to retry; a web page in the place of one is ambiguous. Take a slot ([Client.TakeSlot], [Client.Acquire]) before.
func (c *Client) Do(ctx context.Context, req Request) (*Response, error) {
	k, err := c.prepare(req)
	if err != nil {
		return nil, err
	}
	var out *Response
	var started time.Time
	err = c.run(ctx, k, func(a *answer) error {
		var err error
		out, err = c.whole(k, a, c.http.MaxBody)
		return err
	}, func() { started = time.Now() })
	if err != nil {
		return nil, err
	}
	out.Duration = time.Since(started)
	return out, nil
}

// whole reads the body of a success, of at most limit bytes.
func (c *Client) whole(k *call, a *answer, limit int64) (*Response, error) {
	out := &Response{Status: a.status, Header: a.header, RequestID: a.requestID(), ClientRequestID: a.clientRequestID}
	if a.body == http.NoBody || a.header.Get("Content-Length") == "0" {
		return out, nil
	}
	body, err := readAll(&capped{from: a.body, left: limit}, a.length())
	if err == nil && len(body) > 0 && a.html() && !strings.HasSuffix(k.template, "/$value") { // an attachment may be one
		err = errWebPage
	}
	if err == nil && a.mediaType() == typeJSON && len(bytes.TrimSpace(body)) > 0 && !validJSON(body) {
		err = errors.New("the body is not JSON")
	}
	switch {
	case err == nil:
		if len(body) > 0 {
			out.Body = body
		}
	case k.safe():
		return nil, c.badBody(k, a, err)
	case errors.Is(err, errWebPage):
		// It is somebody else's answer, who stands in between: Graph may never have
		// seen the request.
		mark := c.badBody(k, a, err)
		mark.Ambiguous, mark.Hint = true, "the answer is a web page and not Graph's; check base_url and any proxy on the way"
		return nil, mark
	default:
		out.BodyBroken = true
	}
	return out, nil
}

// errWebPage says that an answer is a page for people.
var errWebPage = errors.New("the body is a web page")

// badBody marks a success whose body cannot be used.
func (c *Client) badBody(k *call, a *answer, err error) *fault.Error {
	mark := &fault.Error{Kind: fault.Retry, Code: "bad_body", Err: fmt.Errorf(
		"%s %s: %d with an unusable body: %w (request-id %s, client-request-id %s)",
		k.method, k.template, a.status, err, a.requestID(), a.clientRequestID)}
	if errors.Is(err, errTooLarge) {
		mark.Code = "answer_too_large"
		mark.Hint = "ask for less: name the properties with $select, or a smaller odata.maxpagesize"
	}
	return mark
}

// validJSON checks syntax only: half a surrogate pair and duplicate names pass,
// as Graph sends both.
func validJSON(body []byte) bool {
	return jsontext.Value(body).IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true))
}

// run makes the attempt and, after a 401, the one other. begin is called
// before each.
func (c *Client) run(ctx context.Context, k *call, read func(*answer) error, begin func()) error {
	token, err := c.token(ctx, k)
	if err != nil {
		return err
	}
	if err := k.late(nil); err != nil {
		return err
	}
	begin()
	err = c.attempt(ctx, k, token, false, read)
	if !refusesToken(err) {
		return err
	}
	rejected := token
	rejected.Claims = claimsAsked(err)
	c.tokens.Reject(ctx, rejected)
	fresh, tokenErr := c.token(ctx, k)
	if tokenErr != nil {
		return fmt.Errorf("%w (after %w)", tokenErr, err)
	}
	if fresh.Access == token.Access {
		// No other token was to be had, so nothing is known about the grant.
		return &fault.Error{Kind: fault.Retry, Code: fault.Of(err).Code, Err: fmt.Errorf("token is not renewed yet: %w", err)}
	}
	if err := k.late(err); err != nil {
		return err
	}
	c.metrics.retries.WithLabelValues(c.name, "unauthorized").Inc()
	begin()
	return c.attempt(ctx, k, fresh, true, read)
}

// token asks for a token. Whatever goes wrong there, nothing was sent to Graph.
func (c *Client) token(ctx context.Context, k *call) (Token, error) {
	token, err := c.tokens.Token(ctx)
	if err == nil && c.authorization(token.Access) == nil {
		err = fault.New(fault.Retry, "the token source returned no usable token")
	}
	if err == nil {
		return token, nil
	}
	err = fmt.Errorf("%s %s: token: %w", k.method, k.template, err)
	if mark := fault.Of(err); mark.Kind == fault.Unknown || mark.Ambiguous {
		return Token{}, &fault.Error{Kind: max(mark.Kind, fault.Retry), After: mark.After, Code: "no_token", Hint: mark.Hint, Err: err}
	}
	return Token{}, err
}

// refusesToken reports whether err is Graph's answer 401, or 403 with a claims
// challenge: the request had no effect, and another token may do.
func refusesToken(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden && e.Claims != "")
}
