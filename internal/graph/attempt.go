package graph

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"outlook-connector/internal/fault"
)

// maxErrorBody bounds what is read of an error's body.
const maxErrorBody = 64 << 10

// attempt sends the request once. read gets a 2xx answer; its error comes back
// as it is, and the body it gets is guarded against a stall but not capped.
func (c *Client) attempt(ctx context.Context, k *call, token Token, repeat bool, read func(*answer) error) error {
	if !k.free {
		done, wait, why := c.limits.chargeAll(ctx, k.mailbox, int64(len(k.body)), max(k.parts, 1), max(k.width, 1))
		if wait > 0 {
			return &fault.Error{Kind: fault.Retry, After: wait, Code: why, Err: fmt.Errorf(
				"%s %s: not sent: %s leaves this mailbox alone for %v", k.method, k.template, why, wait.Round(time.Millisecond))}
		}
		defer done()
	}
	owner := ctx
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(nil)
	limit := cmp.Or(k.timeout, c.http.Timeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no complete answer within %v", limit))
	defer cancel()

	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, traceSent(&sent))
	id := k.id
	if id == "" || repeat {
		id = newGUID()
	}
	req, err := c.request(ctx, k, token, id)
	if err != nil {
		return fault.New(fault.Poison, "%s %s: request cannot be made", k.method, k.template).WithCode("request_refused")
	}
	entry := logEntry{call: k, clientRequestID: id, repeat: repeat, started: time.Now()}
	resp, used, err := c.transport.send(req)
	if err != nil {
		c.transport.done(used, false)
		mark := noAnswer(owner, k, err, sent.Load(), id)
		c.finish(owner, entry, mark)
		return mark
	}
	guarded := newSteady(resp.Body, c.http.ProgressTimeout, abort)
	a := &answer{status: resp.StatusCode, header: resp.Header, body: guarded, clientRequestID: id, secret: token}
	entry.status, entry.requestID = a.status, a.requestID()
	if a.status >= 200 && a.status < 300 {
		if k.parts == 0 { // the answer of a batch says nothing about its parts
			c.limits.calm(k.mailbox)
		}
		err = ownEnd(owner, ctx, read(a))
	} else {
		err = c.failure(k, a)
	}
	_ = resp.Body.Close() // everything that counts was read
	c.transport.done(used, a.status == http.StatusServiceUnavailable)
	entry.size = guarded.size
	c.finish(owner, entry, err)
	return err
}

// traceSent keeps whether bytes of this request may have left. It is counted
// from the moment the request gets its connection and not from the first
// write: a write goes on in the background for a moment after the context
// ended, and a send that is taken for not sent would be sent again. net/http
// asks for another connection only if the server has seen nothing of it.
func traceSent(sent *atomic.Bool) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:      func(string) { sent.Store(false) },
		GotConn:      func(httptrace.GotConnInfo) { sent.Store(true) },
		WroteHeaders: func() { sent.Store(true) },
	}
}

// noAnswer marks an attempt that ended without an answer.
func noAnswer(owner context.Context, k *call, err error, sent bool, id string) *fault.Error {
	if errors.Is(err, errPinned) {
		return fault.New(fault.Poison, "%s %s: %w", k.method, k.template, err).WithCode("host_refused")
	}
	mark := &fault.Error{Kind: fault.Retry, Ambiguous: sent && !k.safe(), Code: "not_sent"}
	what := "not sent"
	if sent {
		mark.Code, what = "no_answer", "no answer"
	}
	mark.Err = ownEnd(owner, nil, fmt.Errorf("%s %s: %s: %w (client-request-id %s)", k.method, k.template, what, err, id))
	if !sent {
		mark.Hint = connectHint(err)
	}
	return mark
}

// connectHint says what to look at when there is no connection.
func connectHint(err error) string {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "the server's certificate is not trusted: check the clock, base_url, and any proxy that opens TLS"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "the server's certificate is for another name: check base_url"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "the host name of base_url cannot be resolved: check it, the name server and the network"
	}
	return "no connection to the host of base_url: check the network, HTTPS_PROXY and the firewall"
}

// ownEnd makes sure that an error says how its context ended: the owner's, so
// that stopping is recognised as such, or our own limit of time.
func ownEnd(owner, own context.Context, err error) error {
	if err == nil {
		return nil
	}
	if end := owner.Err(); end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", err, end)
	}
	if own != nil && own.Err() != nil && owner.Err() == nil {
		if cause := context.Cause(own); !errors.Is(err, cause) {
			return fmt.Errorf("%w: %w", err, cause)
		}
	}
	return err
}

// failure reads the body of an error, parks the mailbox if it was throttled,
// and marks the error.
func (c *Client) failure(k *call, a *answer) error {
	body, _ := io.ReadAll(io.LimitReader(a.body, maxErrorBody)) // half a body tells half
	d := parseDetails(body)
	text := d.message
	if !d.graph {
		text = string(body)
	}
	mark := c.classify(k, a, d)
	mark.Err = &Error{
		Method: k.method, Template: k.template, Status: a.status,
		Code: d.best(), Message: snippet(text, a.secret.Access), ExistingID: d.existingID, Claims: claimsOf(a),
		RequestID: a.requestID(), ClientRequestID: a.clientRequestID, Date: a.date(),
	}
	switch a.status {
	case http.StatusTooManyRequests:
		if mark.Kind == fault.Retry && mark.After <= maxPark {
			mark.After = c.limits.throttled(k.mailbox, mark.After)
		}
	case http.StatusServiceUnavailable, 509: // 509: bandwidth limit, not in any RFC
		if mark.After > 0 {
			c.limits.park(k.mailbox, time.Now().Add(mark.After))
		}
	}
	return mark
}
