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
	own, w := newWatch(ctx, cmp.Or(k.timeout, c.http.Timeout), c.http.HeaderTimeout)
	defer w.end()
	id := k.id
	if id == "" || repeat {
		id = newGUID()
	}
	req := c.request(own, k, token, id)
	entry := logEntry{call: k, clientRequestID: id, repeat: repeat, started: w.began}
	resp, used, err := c.transport.send(req)
	if err != nil {
		c.transport.done(used, false)
		mark := noAnswer(ctx, own, k, err, w.sent.Load(), id)
		c.finish(ctx, entry, mark)
		return mark
	}
	w.answer()
	a := &answer{status: resp.StatusCode, header: resp.Header, body: resp.Body, clientRequestID: id, secret: token}
	var guarded *steady // nil where there is nothing that could trickle
	if resp.Body != http.NoBody {
		guarded = newSteady(resp.Body, c.http.ProgressTimeout, w.abort)
		a.body = guarded
	}
	entry.status, entry.requestID = a.status, a.requestID()
	if a.status >= 200 && a.status < 300 {
		if k.parts == 0 { // the answer of a batch says nothing about its parts
			c.limits.calm(k.mailbox)
		}
		err = ownEnd(ctx, own, read(a))
	} else {
		err = c.failure(k, a)
	}
	_ = resp.Body.Close() // everything that counts was read
	c.transport.done(used, a.status == http.StatusServiceUnavailable)
	if guarded != nil {
		entry.size = guarded.size
	}
	c.finish(ctx, entry, err)
	return err
}

// noAnswer marks an attempt that ended without an answer.
func noAnswer(owner, own context.Context, k *call, err error, sent bool, id string) *fault.Error {
	if errors.Is(err, errPinned) {
		return fault.New(fault.Poison, "%s %s: %w", k.method, k.template, err).WithCode("host_refused")
	}
	mark := &fault.Error{Kind: fault.Retry, Ambiguous: sent && !k.safe(), Code: "not_sent"}
	what := "not sent"
	if sent {
		mark.Code, what = "no_answer", "no answer"
	}
	mark.Err = ownEnd(owner, own, fmt.Errorf("%s %s: %s: %w (client-request-id %s)", k.method, k.template, what, err, id))
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
	if own.Err() != nil && owner.Err() == nil {
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
