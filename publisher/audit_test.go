package publisher_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

// clerk keeps the rows of an audit record.
type clerk struct {
	mu     sync.Mutex
	rows   []publisher.AuditRow // stored
	broken error                // why none can be stored
	closed error                // what Ready says
}

func (c *clerk) Ready() error { c.mu.Lock(); defer c.mu.Unlock(); return c.closed }

func (c *clerk) Add(row publisher.AuditRow) func(context.Context) error {
	return func(context.Context) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.broken != nil {
			return c.broken
		}
		c.rows = append(c.rows, row)
		return nil
	}
}

func (c *clerk) set(broken, closed error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken, c.closed = broken, closed
}

func audited(c *clerk) func(*publisher.Options) {
	return func(o *publisher.Options) { o.Audit = c }
}

var errFull = fault.New(fault.Retry, "the store is full")

func TestEachEndOfACommandHasItsRow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, data string
		answer     func(n int, call publisher.Call) (publisher.Answer, error)
		want       publisher.AuditRow
	}{
		{
			"done", `{"payload":{"message":{}}}`, nil,
			publisher.AuditRow{Entity: "mail.message.sendMail", Mailbox: "me", Decision: "allowed", Outcome: "done", Attempts: 1},
		},
		{
			"failed", `{"payload":{"message":{}}}`, func(int, publisher.Call) (publisher.Answer, error) {
				return publisher.Answer{Status: 400, RequestID: "req"}, fault.New(fault.Poison, "no").WithCode("ErrorInvalidRecipients")
			},
			publisher.AuditRow{
				Entity: "mail.message.sendMail", Mailbox: "me", Decision: "allowed", Outcome: "failed", Code: "ErrorInvalidRecipients",
				Status: 400, RequestID: "req", Attempts: 1,
			},
		},
		{
			"uncertain", `{"payload":{"message":{}}}`, func(int, publisher.Call) (publisher.Answer, error) {
				return publisher.Answer{}, noAnswer()
			},
			publisher.AuditRow{
				Entity: "mail.message.sendMail", Mailbox: "me", Decision: "allowed", Outcome: "uncertain", Code: "uncertain_effect", Attempts: 1,
			},
		},
		{
			"refused", `{"entity":"mail.message.delete"}`, nil,
			publisher.AuditRow{Decision: "refused", Rule: "entity_not_allowed", Outcome: "failed", Code: "entity_not_allowed"},
		},
		{
			"not readable", `{`, nil,
			publisher.AuditRow{Decision: "refused", Rule: "bad_message", Outcome: "failed", Code: "bad_message"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, c := newWorld(), &clerk{}
				w.answer = test.answer
				p := definition(t, "p", "mail.message.sendMail")
				p.Delivery = publisher.AtMostOnce
				worker := w.worker(t, with(p), audited(c))
				if v := worker.Handle(t.Context(), message("p", test.data, "Nats-Msg-Id", "order-7")); !v.Ack {
					t.Fatalf("verdict %+v", v)
				}
				if len(c.rows) != 1 {
					t.Fatalf("%d rows", len(c.rows))
				}
				got := c.rows[0]
				if len(got.PayloadHash) < 40 || got.Received.IsZero() || got.Finished.Before(got.Received) {
					t.Errorf("hash %q, received %v, finished %v", got.PayloadHash, got.Received, got.Finished)
				}
				if (got.Attempts > 0) != (got.ClientRequestID != "") {
					t.Errorf("%d attempts, client-request-id %q", got.Attempts, got.ClientRequestID)
				}
				m := message("p", test.data, "Nats-Msg-Id", "order-7")
				want := test.want
				want.ID, want.Key, want.MsgID, want.Publisher = "order-7", "p.order-7", "order-7", "p"
				want.Subject, want.Stream, want.Sequence = m.Subject, m.Stream, m.Sequence
				want.PayloadHash, want.Received, want.Finished, want.ClientRequestID = got.PayloadHash, got.Received, got.Finished, got.ClientRequestID
				if want.Outcome == "done" {
					want.Status, want.RequestID = got.Status, got.RequestID
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("row (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestACommandStaysUntilItsRowIsStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), &clerk{}
		worker := w.worker(t, with(definition(t, "p", "mail.message.sendMail")), audited(c))
		m := message("p", `{"payload":{"message":{}}}`, "Nats-Msg-Id", "order-7")
		c.set(errFull, nil)
		if v := worker.Handle(t.Context(), m); v.Ack || v.After <= 0 {
			t.Fatalf("verdict %+v on a command without a row", v)
		}
		if len(c.rows) != 0 || w.effects != 1 {
			t.Fatalf("%d rows, %d effects", len(c.rows), w.effects)
		}
		// Another process gets it: the ledger knows its end, so that nothing is sent
		// again and only the row is still missing.
		c.set(nil, nil)
		m.Fresh = false
		if v := w.worker(t, with(definition(t, "p", "mail.message.sendMail")), audited(c)).Handle(t.Context(), m); !v.Ack {
			t.Fatalf("verdict %+v", v)
		}
		if len(c.rows) != 1 || w.effects != 1 || !c.rows[0].Again || c.rows[0].Outcome != "done" {
			t.Errorf("rows %+v, %d effects", c.rows, w.effects)
		}
	})
}

func TestNothingIsSentWhileRowsCannotBeStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), &clerk{}
		worker := w.worker(t, with(definition(t, "p", "mail.message.sendMail")), audited(c))
		m := message("p", `{"payload":{"message":{}}}`)
		c.set(nil, errFull)
		for range 3 {
			if v := worker.Handle(t.Context(), m); v.Ack || v.After < time.Second {
				t.Fatalf("verdict %+v", v)
			}
		}
		if len(w.calls) != 0 || len(w.letters) != 0 {
			t.Fatalf("%d requests, %d dead letters", len(w.calls), len(w.letters))
		}
		c.set(nil, nil)
		if v := worker.Handle(t.Context(), m); !v.Ack || w.effects != 1 || len(c.rows) != 1 || c.rows[0].Again {
			t.Errorf("verdict %+v, %d effects, rows %+v", v, w.effects, c.rows)
		}
	})
}

// TestNothingIsSentAfterALookWhileRowsCannotBeStored: the look itself goes on.
func TestNothingIsSentAfterALookWhileRowsCannotBeStored(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), &clerk{}
		w.box = newMailbox()
		p := definition(t, "p", "mail.message.sendMail")
		p.Delivery = publisher.ExactlyOnce
		worker := w.worker(t, with(p), audited(c))
		sends := 0
		w.onSend(func(call publisher.Call) (publisher.Answer, error) {
			if sends++; sends == 1 {
				return publisher.Answer{Status: 504}, noAnswer()
			}
			return w.box.do(call)
		})
		m := message("p", aMail)
		v := worker.Handle(t.Context(), m)
		c.set(nil, errFull)
		for range 10 {
			if v.Ack {
				t.Fatal("ended without a row")
			}
			<-time.After(v.After)
			v = worker.Handle(t.Context(), m)
		}
		if sends != 1 || w.box.drafts() != 1 {
			t.Errorf("%d sends while rows cannot be stored, %d drafts", sends, w.box.drafts())
		}
		c.set(nil, nil)
		deliverUntilAck(t, worker, m)
		if o := w.outcome(t); o.Outcome != "done" || sends != 2 || w.box.sent != 1 {
			t.Errorf("outcome %+v, %d sends, %d mails", o, sends, w.box.sent)
		}
	})
}

func TestARowHasNeitherBodyNorRecipient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, c := newWorld(), &clerk{}
		w.answer = func(int, publisher.Call) (publisher.Answer, error) {
			return publisher.Answer{Status: 400, Body: []byte(`{"error":"canary-answer"}`)}, errors.Join(fault.New(fault.Poison, "canary-error"))
		}
		worker := w.worker(t, with(definition(t, "p", "mail.message.sendMail")), audited(c))
		worker.Handle(t.Context(), message("p", `{"payload":{"message":{"subject":"canary-body","toRecipients":[{"emailAddress":{"address":"canary@x.y"}}]}}}`, "X-Other", "canary-header"))
		if len(c.rows) != 1 {
			t.Fatalf("%d rows", len(c.rows))
		}
		if text := cmp.Diff(publisher.AuditRow{}, c.rows[0]); strings.Contains(text, "canary") {
			t.Errorf("a row tells too much:\n%s", text)
		}
	})
}

// steps notes in which order an end is told.
type steps struct {
	*world

	rows clerk
	seen []string
	fail error // what becomes of results
}

func (s *steps) note(what string) { s.seen = append(s.seen, what) }

func (s *steps) Begin(ctx context.Context, id string, body []byte) func() error {
	s.note("begin result")
	err := s.fail
	if err == nil {
		err = s.world.Begin(ctx, id, body)()
	}
	return func() error { s.note("result"); return err }
}

func (s *steps) Reply(context.Context, string, []byte) error { s.note("reply"); return nil }

// noting is an audit record of steps.
type noting struct{ *steps }

func (n noting) Ready() error { return n.rows.Ready() }

func (n noting) Add(row publisher.AuditRow) func(context.Context) error {
	n.note("begin row")
	stored := n.rows.Add(row)
	return func(ctx context.Context) error { n.note("row"); return stored(ctx) }
}

func TestRowAndResultAreStoredTogether(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		delivery publisher.Delivery
		header   []string
		want     string
	}{
		// The row is nearly always the later one, and the only one that is waited for.
		"its result is its record": {publisher.AtLeastOnce, nil, "begin row, begin result, row, result"},
		"in the ledger":            {publisher.AtMostOnce, nil, "begin row, begin result, row, result"},
		// Who waits for the outcome does not wait for the row.
		"with a reply": {publisher.AtLeastOnce, []string{"Outlook-Reply-To", "_INBOX.a"}, "begin row, begin result, result, reply, row"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &steps{world: newWorld()}
			worker := s.worker(t, with(sending(t, tc.delivery)), func(o *publisher.Options) { o.Outcomes, o.Audit = s, noting{s} })
			m := message("send-mail", aMail, tc.header...)
			m.Fresh = true
			if v := worker.Handle(t.Context(), m); !v.Ack || len(s.rows.rows) != 1 || s.rows.rows[0].Again {
				t.Errorf("verdict %+v, rows %+v", v, s.rows.rows)
			}
			if got := strings.Join(s.seen, ", "); got != tc.want {
				t.Errorf("told by: %s\n   want: %s", got, tc.want)
			}
		})
	}
}

// TestARowWithoutAResultIsNotTheLast: the ledger has the end then, and the next delivery
// tells it.
func TestARowWithoutAResultIsNotTheLast(t *testing.T) {
	t.Parallel()
	s := &steps{world: newWorld(), fail: errFull}
	worker := s.worker(t, with(sending(t, publisher.AtLeastOnce)), func(o *publisher.Options) { o.Outcomes, o.Audit = s, noting{s} })
	m := message("send-mail", aMail)
	m.Fresh = true
	if v := worker.Handle(t.Context(), m); v.Ack || len(s.rows.rows) != 1 || s.record(t)["state"] != "done" {
		t.Errorf("verdict %+v, rows %+v, record %v", v, s.rows.rows, s.record(t))
	}
	s.fail, m.Fresh = nil, false
	if v := worker.Handle(t.Context(), m); !v.Ack || len(s.calls) != 1 || len(s.rows.rows) != 2 || s.rows.rows[0].Again || !s.rows.rows[1].Again {
		t.Errorf("verdict %+v, %d requests, rows %+v", v, len(s.calls), s.rows.rows)
	}
}
