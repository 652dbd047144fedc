package publisher_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

func TestTheIDIsTheSendersOrThePlaceInTheStream(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 65)
	for name, tc := range map[string]struct{ given, id string }{
		"plain":           {"order-7_A", "order-7_A"},
		"longest":         {long[:64], long[:64]},
		"too long":        {long, "nPRcO_rldd63EsNsgqlTDixs6hkFTE0lRBFDM8lZkSE"},
		"other letters":   {"order 7", "Oj3Wa6sYvyNMoKkgGgMI9Pb3Uz_kkPwW6qbiPEbnyXU"},
		"subject letters": {"a.b.>", ""},
		"none":            {"", "OUTLOOK_PUBLISH-17"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			var headers []string
			if tc.given != "" {
				headers = []string{"Nats-Msg-Id", tc.given}
			}
			if v := w.worker(t).Handle(t.Context(), message("send-mail", aMail, headers...)); !v.Ack {
				t.Fatalf("verdict %+v", v)
			}
			o := w.outcome(t)
			if w.results[0].to != o.ID {
				t.Errorf("told on %q, id %q", w.results[0].to, o.ID)
			}
			for key := range w.records {
				if !strings.HasPrefix(key, "send-mail.") || strings.ContainsAny(key[len("send-mail."):], ".*> /") {
					t.Errorf("ledger key %q", key)
				}
			}
			if tc.id == "" || len(tc.id) == 43 {
				if len(o.ID) != 43 || strings.ContainsAny(o.ID, ".*> ") {
					t.Errorf("id %q is no base64url(SHA-256)", o.ID)
				}
				return
			}
			if o.ID != tc.id {
				t.Errorf("id %q, want %q", o.ID, tc.id)
			}
		})
	}
}

func TestAKeyNamesOneCommand(t *testing.T) {
	t.Parallel()
	w := newWorld()
	other := definition(t, "other", "mail.message.sendMail")
	worker := w.worker(t, with(definition(t, "send-mail", "mail.message.sendMail"), other))
	handle := func(m publisher.Message, sequence uint64) publisher.Outcome {
		t.Helper()
		m.Sequence = sequence
		if v := worker.Handle(t.Context(), m); !v.Ack {
			t.Fatalf("verdict %+v", v)
		}
		return w.outcome(t)
	}
	m := message("send-mail", aMail, "Nats-Msg-Id", "k")
	first := handle(m, 1)
	if again := handle(m, 2); again.Outcome != "done" || !again.FinishedAt.Equal(first.FinishedAt) {
		t.Errorf("same key and text: %+v, want the old outcome", again)
	}
	changed := handle(message("send-mail", `{"payload":{"message":{}}}`, "Nats-Msg-Id", "k"), 3)
	if changed.Outcome != "failed" || changed.Error.Code != "key_reused" {
		t.Errorf("same key, other text: %+v", changed)
	}
	if len(w.letters) != 1 || len(w.calls) != 1 {
		t.Errorf("%d dead letters, %d requests, want one each", len(w.letters), len(w.calls))
	}
	if again := handle(m, 4); again.Outcome != "done" {
		t.Errorf("the first command's record was touched: %+v", again)
	}
	if o := handle(message("other", `{"payload":{"message":{}}}`, "Nats-Msg-Id", "k"), 5); o.Outcome != "done" {
		t.Errorf("same key at another publisher: %+v", o)
	}
}

func TestASecondMessageWithTheKeyOfADeadCommandMakesNoSecondLetter(t *testing.T) {
	t.Parallel()
	w := newWorld()
	worker := w.worker(t)
	m := message("send-mail", `{"nonsense":1}`, "Nats-Msg-Id", "k")
	for range 3 {
		m.Sequence++
		if v := worker.Handle(t.Context(), m); !v.Ack {
			t.Fatalf("verdict %+v", v)
		}
	}
	if w.buried != 1 || len(w.results) != 3 {
		t.Errorf("%d letters and %d results, want 1 and 3", w.buried, len(w.results))
	}
}

func TestAStreamThatCountsFromOneAgainIsNotTakenForTheOldOne(t *testing.T) {
	t.Parallel()
	w := newWorld()
	worker := w.worker(t)
	m := message("send-mail", aMail)
	worker.Handle(t.Context(), m)
	m.Received = m.Received.Add(time.Hour)
	if worker.Handle(t.Context(), m); len(w.calls) != 2 {
		t.Errorf("%d requests for two commands", len(w.calls))
	}
}

func TestAnotherMessageWithTheKeyWaitsForTheFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
			if n == 1 {
				return publisher.Answer{Status: 429}, &fault.Error{Kind: fault.Retry, After: time.Minute, Err: errors.New("429")}
			}
			return publisher.Answer{Status: 202}, nil
		}
		one, two := message("send-mail", aMail, "Nats-Msg-Id", "k"), message("send-mail", aMail, "Nats-Msg-Id", "k")
		two.Sequence++
		worker := w.worker(t)
		worker.Handle(t.Context(), one)
		if v := w.worker(t).Handle(t.Context(), two); v.Ack || len(w.calls) != 1 {
			t.Errorf("the second did not wait: %+v, %d requests", v, len(w.calls))
		}
		// The first message is gone (its stream was purged): the second takes over.
		deliverUntilAck(t, w.worker(t), two)
		if took := time.Since(two.Received); len(w.calls) != 2 || took < 6*time.Minute {
			t.Errorf("%d requests, taken over after %s", len(w.calls), took)
		}
	})
}

// A frozen worker has lost its message to somebody else. Whatever it does when
// it wakes up, a POST is not made twice.
func TestAWorkerThatWasFrozenMakesNoLateRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		deadline := time.Now().Add(15 * time.Second)
		m := message("send-mail", aMail)
		m.Deadline = func() time.Time { return deadline }
		frozen := true
		w.onSaved = func(string, []byte) {
			if !frozen {
				return
			}
			frozen = false
			// It sleeps right after it has written that it is sending.
			<-time.After(20 * time.Second)
			fresh := m
			fresh.Deadline = nil
			if v := w.worker(t).Handle(t.Context(), fresh); !v.Ack {
				t.Errorf("second worker: %+v", v)
			}
		}
		v := w.worker(t).Handle(t.Context(), m)
		if len(w.calls) != 0 {
			t.Errorf("%d requests, want none: nobody could know", len(w.calls))
		}
		if o := w.outcome(t); !v.Ack || o.Outcome != "uncertain" || len(w.letters) != 1 {
			t.Errorf("verdict %+v, outcome %s, %d letters", v, o.Outcome, len(w.letters))
		}
	})
}

func TestAFrozenRequestThatIsAnsweredLateLeavesTheCommandUncertain(t *testing.T) {
	t.Parallel()
	var logged bytes.Buffer
	w := newWorld()
	m := message("send-mail", aMail)
	first := true
	w.onDo = func(publisher.Call) {
		if !first {
			return
		}
		first = false
		if v := w.worker(t).Handle(t.Context(), m); !v.Ack {
			t.Errorf("second worker: %+v", v)
		}
	}
	worker := w.worker(t, withLog(&logged))
	if v := worker.Handle(t.Context(), m); !v.Ack {
		t.Errorf("verdict %+v", v)
	}
	if o := w.outcome(t); o.Outcome != "uncertain" || len(w.calls) != 1 || w.effects != 1 {
		t.Errorf("outcome %s, %d requests", o.Outcome, len(w.calls))
	}
	if !strings.Contains(logged.String(), "answer came after somebody else had settled the command") {
		t.Errorf("the late answer is not in the log:\n%s", logged.String())
	}
}

func TestAMessageOutOfTimeIsNotBegun(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m := message("send-mail", aMail)
	m.Deadline = func() time.Time { return m.Received.Add(-time.Second) }
	if v := w.worker(t).Handle(t.Context(), m); v.Ack || len(w.calls) != 0 || len(w.records) != 0 || w.taken != 0 {
		t.Errorf("verdict %+v, %d requests, %d records", v, len(w.calls), len(w.records))
	}
}

func TestADeliveryThatRunsOutOfTimeUsesUpNoAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld()
	m := message("send-mail", aMail)
	late := false
	m.Deadline = func() time.Time {
		if late {
			return time.Time{}
		}
		return time.Now().Add(time.Hour)
	}
	w.onSaved = func(string, []byte) { late = true }
	worker := w.worker(t)
	if v := worker.Handle(t.Context(), m); v.Ack || v.After != 0 {
		t.Fatalf("verdict %+v", v)
	}
	if r := w.record(t); r["state"] != "claimed" || r["attempts"] != 0.0 {
		t.Errorf("record %v", r)
	}
	m.Deadline = nil
	if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "done" || len(w.calls) != 1 {
		t.Errorf("verdict %+v, outcome %+v", v, w.outcome(t))
	}
}

// The configuration may change while a command is on its way: what was begun
// under the old one is not forgotten.
func TestACommandBegunUnderAnotherConfigurationIsNotCalledFailed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		entity, data string
		before       publisher.Delivery
		after        func(*publisher.Publisher)
		code         string
	}{
		"POST":                         {"mail.message.sendMail", aMail, "", func(p *publisher.Publisher) { p.Mailboxes = []string{"ann@contoso.com"} }, "uncertain_effect"},
		"POST, now loosened":           {"mail.message.sendMail", aMail, "", func(p *publisher.Publisher) { p.Delivery = publisher.AtLeastOnce }, "uncertain_effect"},
		"POST, now tightened":          {"mail.message.sendMail", aMail, publisher.AtLeastOnce, func(p *publisher.Publisher) { p.Delivery = publisher.AtMostOnce }, "uncertain_effect"},
		"PATCH, mailbox now elsewhere": {"mail.message.update", `{"mailbox":"me","path":{"id":"A"},"payload":{}}`, "", func(p *publisher.Publisher) { p.Mailboxes = []string{"ann@contoso.com"} }, "mailbox_not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.choose = func(s site, _ []mishap) mishap {
				if s == siteDo {
					return crashAfter
				}
				return fine
			}
			def := definition(t, "p", tc.entity)
			def.Delivery = tc.before
			m := message("p", tc.data)
			if _, alive := deliver(t.Context(), w.worker(t, with(def)), m); alive {
				t.Fatal("no crash")
			}
			tc.after(&def)
			if v, _ := deliver(t.Context(), w.worker(t, with(def)), m); !v.Ack {
				t.Fatalf("verdict %+v", v)
			}
			o := w.outcome(t)
			if o.Outcome != "uncertain" || o.Error.Code != tc.code || o.Mailbox == "" || o.Entity != tc.entity {
				t.Errorf("outcome %+v %+v", o, o.Error)
			}
			if o.ClientRequestID == "" || o.ClientRequestID != w.calls[0].RequestID || o.Attempts != 1 {
				t.Errorf("no trace of the attempt: %+v", o)
			}
		})
	}
}

func TestARecordThatCannotBeReadStopsItsCommand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		m := message("send-mail", aMail, "Nats-Msg-Id", "k")
		newer, err := json.Marshal(map[string]any{"v": 9, "state": "claimed"})
		if err != nil {
			t.Fatal(err)
		}
		w.records["send-mail.k"] = entry{data: newer, revision: 3}
		deliverUntilAck(t, w.worker(t), m)
		o := w.outcome(t)
		if o.Outcome != "uncertain" || o.Error.Code != "ledger_unreadable" || len(w.calls) != 0 || time.Since(m.Received) < 24*time.Hour {
			t.Errorf("outcome %+v %+v, %d requests", o, o.Error, len(w.calls))
		}
		if !bytes.Equal(w.records["send-mail.k"].data, newer) {
			t.Error("the record was touched")
		}
	})
}
