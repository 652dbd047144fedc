package publisher_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

func TestAPublisherThatIsNotKnownHereIsLeftToOtherWorkersForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		worker := w.worker(t)
		m := message("send-news", aMail)
		for time.Since(m.Received) < 5*time.Minute {
			v := worker.Handle(t.Context(), m)
			if v.Ack || v.After <= 0 || v.After > 20*time.Second || len(w.records) != 0 {
				t.Fatalf("after %v: verdict %+v, %d records", time.Since(m.Received), v, len(w.records))
			}
			<-time.After(v.After)
		}
		if v := worker.Handle(t.Context(), m); !v.Ack || len(w.letters) != 1 || w.letters[0].Reason != "publisher_unknown" {
			t.Errorf("after 5 minutes: verdict %+v, letters %+v", v, w.letters)
		}
	})
}

func TestAPublisherThatIsKnownElsewhereIsServedThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		old, now := w.worker(t), w.worker(t, with(definition(t, "send-news", "mail.message.sendMail")))
		// Put off: its age counts from its time, and it is not asked for until then.
		start := time.Now().Add(20 * time.Minute)
		m := message("send-news", aMail, "Outlook-Not-Before", start.Format(time.RFC3339))
		if v := old.Handle(t.Context(), m); v.Ack || v.After != 20*time.Minute {
			t.Fatalf("verdict %+v, want it back at its time", v)
		}
		<-time.After(20*time.Minute + 4*time.Minute)
		if v := old.Handle(t.Context(), m); v.Ack {
			t.Fatal("given up before its 5 minutes")
		}
		// One who knows it tried it: the record says so to the other.
		w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
			if n == 1 {
				return publisher.Answer{Status: 429}, &fault.Error{Kind: fault.Retry, After: 10 * time.Minute, Err: errNoJournal}
			}
			return publisher.Answer{Status: 202}, nil
		}
		v := now.Handle(t.Context(), m)
		<-time.After(v.After)
		if v := old.Handle(t.Context(), m); v.Ack {
			t.Fatal("given up though another worker has it in hand")
		}
		if v := now.Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "done" {
			t.Errorf("verdict %+v, outcome %+v", v, w.outcome(t))
		}
	})
}

func TestWithoutATokenNothingIsBegun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		signedIn := false
		w.ready = func(client string) error {
			if client != "contoso" {
				t.Errorf("asked for client %q", client)
			}
			if !signedIn {
				return fault.New(fault.Reauth, "nobody is signed in").WithCode("signed_out").WithHint("auth login contoso")
			}
			return nil
		}
		saves := 0
		w.onSaved = func(_ string, data []byte) {
			saves++
			if !signedIn && stateOf(data) != "claimed" {
				t.Errorf("the ledger says %s", data)
			}
		}
		worker := w.worker(t)
		m := message("send-mail", aMail)
		for range 40 {
			v := worker.Handle(t.Context(), m)
			if v.Ack || v.After < 7*time.Second || v.After > 13*time.Second {
				t.Fatalf("verdict %+v, want about 10 s each time", v)
			}
			<-time.After(v.After)
		}
		if r := w.record(t); r["attempts"] != 0.0 || saves != 1 || len(w.calls) != 0 || w.taken != 0 {
			t.Errorf("record %v, saved %d times, %d requests, %d slots", r, saves, len(w.calls), w.taken)
		}
		signedIn = true
		if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Attempts != 1 {
			t.Errorf("verdict %+v, outcome %+v", v, w.outcome(t))
		}
	})
}

func TestACommandThatWasNeverBegunIsGivenUpWithTheReason(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.ready = func(string) error {
			return fault.New(fault.Reauth, "nobody is signed in").WithCode("signed_out").WithHint("auth login contoso")
		}
		def := definition(t, "send-mail", "mail.message.sendMail")
		def.GiveUpAfter = time.Minute
		deliverUntilAck(t, w.worker(t, with(def)), message("send-mail", aMail))
		o := w.outcome(t)
		if o.Outcome != "failed" || o.Attempts != 0 || !strings.Contains(o.Error.Message, "nobody is signed in") || o.Error.Hint != "auth login contoso" {
			t.Errorf("outcome %+v %+v", o, o.Error)
		}
	})
}

func TestAClientThatWillNeverBeReadyFailsItsCommand(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.ready = func(string) error { return fault.New(fault.Poison, "no such client").WithCode("client_unknown") }
	if v := w.worker(t).Handle(t.Context(), message("send-mail", aMail)); !v.Ack || w.outcome(t).Error.Code != "client_unknown" {
		t.Errorf("verdict %+v, outcome %+v", v, w.outcome(t))
	}
}

func TestATokenThatGoesBeforeTheRequestUsesUpNoAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
			if n <= 12 {
				return publisher.Answer{}, fault.New(fault.Reauth, "signed out")
			}
			return publisher.Answer{Status: 202}, nil
		}
		worker := w.worker(t)
		m := message("send-mail", aMail)
		for range 12 {
			v := worker.Handle(t.Context(), m)
			if r := w.record(t); v.Ack || v.After > 13*time.Second || r["state"] != "claimed" || r["attempts"] != 0.0 {
				t.Fatalf("verdict %+v, record %v", v, r)
			}
			<-time.After(v.After)
		}
		if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "done" || w.outcome(t).Attempts != 1 {
			t.Errorf("verdict %+v, outcome %+v", v, w.outcome(t))
		}
	})
}

func TestTheRequestKnowsTheDeadlineAndOneThatMissedItIsNotCounted(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.answer = func(n int, call publisher.Call) (publisher.Answer, error) {
		if n > 1 {
			return publisher.Answer{Status: 202}, nil
		}
		if call.Deadline == nil || call.Deadline().IsZero() {
			t.Error("the request has no deadline")
		}
		return publisher.Answer{}, fault.New(fault.Retry, "not sent").WithCode("deadline_passed")
	}
	worker := w.worker(t)
	m := message("send-mail", aMail)
	m.Deadline = func() time.Time { return m.Received.Add(time.Hour) }
	v := worker.Handle(t.Context(), m)
	if r := w.record(t); v.Ack || v.After != 0 || r["state"] != "claimed" || r["attempts"] != 0.0 {
		t.Fatalf("verdict %+v, record %v", v, r)
	}
	if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Attempts != 1 {
		t.Errorf("verdict %+v, outcome %+v", v, w.outcome(t))
	}
}

func TestAMailboxLongerThanAnyIsRefused(t *testing.T) {
	t.Parallel()
	def := definition(t, "any", "mail.message.sendMail")
	def.Mailboxes = []string{"*"}
	for length, code := range map[int]string{320: "", 321: "mailbox_refused", 3 << 20: "mailbox_refused"} {
		w := newWorld()
		mailbox := strings.Repeat("a", length-len("@contoso.com")) + "@contoso.com"
		m := message("any", `{"mailbox":"`+mailbox+`","payload":{}}`)
		if v := w.worker(t, with(def)).Handle(t.Context(), m); !v.Ack {
			t.Fatalf("%d: verdict %+v", length, v)
		}
		o := w.outcome(t)
		if code == "" {
			if o.Outcome != "done" || o.Mailbox != mailbox {
				t.Errorf("%d bytes: outcome %s %+v", length, o.Outcome, o.Error)
			}
			continue
		}
		for _, e := range w.records {
			if len(e.data) > 4<<10 {
				t.Errorf("%d bytes: the record has %d", length, len(e.data))
			}
		}
		if o.Error == nil || o.Error.Code != code || o.Error.Hint == "" || !strings.Contains(o.Error.Message, "bytes") || o.Mailbox != "" {
			t.Errorf("%d bytes: outcome %+v %+v", length, o, o.Error)
		}
	}
}

func TestARecordThatTheLedgerNeverTakesIsStoredWithoutItsLongParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuses = func(data []byte) bool { return len(data) > 2000 }
		w.answer = func(int, publisher.Call) (publisher.Answer, error) {
			return publisher.Answer{Status: 201, Body: []byte(`{"id":"AAA","x":"` + strings.Repeat("x", 5000) + `"}`)}, nil
		}
		start := time.Now()
		v := w.worker(t).Handle(t.Context(), message("send-mail", aMail))
		if !v.Ack || time.Since(start) > time.Second {
			t.Fatalf("verdict %+v after %v", v, time.Since(start))
		}
		o := w.outcome(t)
		if o.Outcome != "done" || o.ItemID != "AAA" || o.Body != nil || o.BodyOmitted < 5000 || w.record(t)["state"] != "done" {
			t.Errorf("outcome %+v, record %v", o, w.record(t))
		}
	})
}

func TestACommandWhoseRecordIsRefusedForGoodEndsWithoutTheLedger(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		state, data   string // whose record is refused; the message
		outcome, code string
		requests      int
	}{
		"bad message":        {"failed", `nonsense`, "failed", "bad_message", 0},
		"before the request": {"", aMail, "failed", "ledger_refused", 0},
		"after the request":  {"done", aMail, "done", "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				var log strings.Builder
				w.refuses = func(data []byte) bool { return tc.state == "" || stateOf(data) == tc.state }
				start := time.Now()
				worker := w.worker(t, withLog(&log))
				v := worker.Handle(t.Context(), message("send-mail", tc.data))
				if !v.Ack || time.Since(start) > time.Second || len(w.calls) != tc.requests {
					t.Fatalf("verdict %+v after %v, %d requests", v, time.Since(start), len(w.calls))
				}
				o := w.outcome(t)
				if o.Outcome != tc.outcome || (o.Error == nil) != (tc.code == "") || o.Error != nil && o.Error.Code != tc.code {
					t.Errorf("outcome %+v %+v", o, o.Error)
				}
				if tc.code != "" && (len(w.letters) != 1 || w.letters[0].Reason != tc.code) {
					t.Errorf("dead letters %+v", w.letters)
				}
				if !strings.Contains(log.String(), "remedy=poison") || strings.Contains(log.String(), "remedy=retry") {
					t.Errorf("the log does not say what the error is:\n%s", log.String())
				}
			})
		})
	}
}

// What became of the request is known to this process only: where it could
// not be told at once either, the next delivery must tell it.
func TestAnEndThatTheLedgerRefusesIsToldByTheNextDeliveryToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.refuses = func(data []byte) bool { return stateOf(data) == "done" }
		down := true
		w.choose = func(s site, _ []mishap) mishap {
			if s == siteResult && down {
				return errorBefore
			}
			return fine
		}
		worker := w.worker(t)
		m := message("send-mail", aMail)
		if v := worker.Handle(t.Context(), m); v.Ack || v.After <= 0 {
			t.Fatalf("verdict %+v", v)
		}
		down = false
		if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "done" || len(w.calls) != 1 || len(w.letters) != 0 {
			t.Errorf("verdict %+v, outcome %+v, %d requests", v, w.outcome(t), len(w.calls))
		}
	})
}

func TestADeadLetterIsStoredWithoutHeadersThatAreTooLong(t *testing.T) {
	t.Parallel()
	w := newWorld()
	worker := w.worker(t, func(o *publisher.Options) { o.Outcomes = shortHeaders{w} })
	if v := worker.Handle(t.Context(), message("send-mail", "no", "X-Long", strings.Repeat("x", 2000))); !v.Ack || len(w.letters) != 1 {
		t.Errorf("verdict %+v, %d letters", v, len(w.letters))
	}
}

// shortHeaders are outcomes that take no letter with headers.
type shortHeaders struct{ *world }

func (s shortHeaders) Dead(ctx context.Context, name string, l publisher.DeadLetter) error {
	if len(l.Headers) > 0 {
		return fault.New(fault.Poison, "too large")
	}
	return s.world.Dead(ctx, name, l)
}
