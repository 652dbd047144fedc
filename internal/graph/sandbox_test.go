package graph_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
)

// people are the tokens of one person of the sandbox, a new one each time.
type people struct {
	t       *testing.T
	box     *sandbox.Sandbox
	upn     string
	current string
}

func (p *people) Token(context.Context) (graph.Token, error) {
	if p.current == "" {
		var err error
		if p.current, err = p.box.Token(p.upn, "Mail.ReadWrite Mail.Send Calendars.ReadWrite"); err != nil {
			return graph.Token{}, err
		}
	}
	return graph.Token{Access: seal.Secret(p.current)}, nil
}

func (p *people) Reject(context.Context, graph.Token) { p.current = "" }

// TestAgainstTheSandbox plays what matters against a server that was written
// from the facts of Graph and not from this client.
func TestAgainstTheSandbox(t *testing.T) {
	t.Parallel()
	box, err := sandbox.New(sandbox.Mailboxes(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	person := box.People()[0]
	me := &people{t: t, box: box, upn: person.UPN}
	w := connect(t, box.GraphURL(), func(o *graph.Options) { o.Tokens = me })
	t.Cleanup(w.Close)

	mail := sendMail(t)
	mail.Body = []byte(`{"message":{"subject":"round trip","toRecipients":[{"emailAddress":{"address":"` + person.UPN + `"}}]}}`)
	sent := func() (n int) {
		for _, effect := range box.Effects() {
			if effect.Kind == sandbox.EffectSent {
				n++
			}
		}
		return n
	}
	if resp, err := w.Do(t.Context(), mail); err != nil || resp.Status != 202 || resp.RequestID == "" || sent() != 1 {
		t.Fatalf("send: %+v, %v, %d sent", resp, err, sent())
	}

	// A whole round, pages of two, to its delta link.
	for n := range 5 {
		if _, err := box.Deliver(sandbox.Mail{To: []string{person.UPN}, Subject: strings.Repeat("x", n+1)}); err != nil {
			t.Fatal(err)
		}
	}
	feed := delta(t)
	feed.Headers = map[string]string{"Prefer": `IdType="ImmutableId", odata.maxpagesize=2`}
	pages, items := 0, 0
	for cursor := ""; ; {
		feed.Link = cursor
		page, _, err := read(t, w, feed)
		if err != nil {
			t.Fatal(err)
		}
		pages, items = pages+1, items+page.Items
		if cursor = page.Next; cursor == "" {
			feed.Link = page.Delta
			break
		}
	}
	if pages < 2 || items < 5 || feed.Link == "" {
		t.Errorf("%d pages with %d items, delta link %q", pages, items, feed.Link)
	}

	// An expired token is replaced without anybody noticing.
	box.ExpireAccessTokens()
	if page, got, err := read(t, w, feed); err != nil || page.Delta == "" {
		t.Errorf("after the token expired: %+v, %q, %v", page, got, err)
	}

	// The effect happened and the answer says otherwise: once, and ambiguous.
	for n, control := range []sandbox.ControlFunc{
		sandbox.FailAfterEffect(504, "UnknownError"), sandbox.ResetAfterEffect(),
	} {
		box.Control(sandbox.Match{Route: "/me/sendMail"}, control)
		_, err = w.Do(t.Context(), mail)
		wantFault(t, err, fault.Retry, true)
		if sent() != n+2 {
			t.Errorf("%d mails sent, want %d", sent(), n+2)
		}
	}
	box.Control(sandbox.Match{Route: "/me/sendMail"}, sandbox.FailBefore(403, "ErrorAccessDenied", ""))
	_, err = w.Do(t.Context(), mail)
	wantFault(t, err, fault.Poison, false)

	// A lost cursor, and a mailbox that the token does not open.
	box.ExpireDelta(person.UPN)
	_, _, err = read(t, w, feed)
	wantFault(t, err, fault.Resync, false)
	other := readMail(t)
	other.Mailbox = box.People()[1].UPN
	_, err = w.Do(t.Context(), other)
	answer, ok := errors.AsType[*graph.Error](err)
	if wantFault(t, err, fault.Poison, false); !ok || answer.Code == "" || answer.RequestID == "" {
		t.Errorf("another mailbox: %v", err)
	}
}
