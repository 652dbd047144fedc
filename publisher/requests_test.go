package publisher_test

import (
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

// atLeastOnce is a worker with one publisher of that delivery, and the states that
// the ledger has of its command when each request is made.
func atLeastOnce(t *testing.T) (w *world, worker *publisher.Worker, before *[]string) {
	t.Helper()
	w = newWorld()
	def := definition(t, "send-mail", "mail.message.sendMail")
	def.Delivery = publisher.AtLeastOnce
	before = new([]string)
	w.onDo = func(publisher.Call) {
		state := "none"
		for _, e := range w.records {
			state = stateOf(e.data)
		}
		*before = append(*before, state)
	}
	return w, w.worker(t, with(def)), before
}

func TestOnlyWhatItDecidesIsWrittenDownBeforeARequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		fresh   bool
		headers []string
		want    string
	}{
		{"a new command of at_least_once is made again whatever the ledger says", true, nil, "none"},
		{"another command may have the sender's key", true, []string{"Nats-Msg-Id", "k1"}, "sending"},
		{"one that came back may have ended its worker", false, nil, "sending"},
		{"a message may ask for more than its publisher", true, []string{"Outlook-Delivery", "at_most_once"}, "sending"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, worker, before := atLeastOnce(t)
			m := message("send-mail", aMail, c.headers...)
			m.Fresh = c.fresh
			if v := worker.Handle(t.Context(), m); !v.Ack {
				t.Fatalf("verdict %+v", v)
			}
			if len(*before) != 1 || (*before)[0] != c.want {
				t.Errorf("before the request the ledger says %q, want %s", *before, c.want)
			}
			for _, e := range w.records {
				if stateOf(e.data) != "done" {
					t.Errorf("in the end it says %s", e.data)
				}
			}
			if len(w.records) != 1 || len(w.results) != 1 {
				t.Errorf("%d records, %d outcomes", len(w.records), len(w.results))
			}
		})
	}
}

func TestAnAttemptThatWasNotWrittenDownCountsOnceItIsPutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker, _ := atLeastOnce(t)
		w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
			if n == 1 {
				return publisher.Answer{Status: 429}, &fault.Error{Kind: fault.Retry, After: time.Minute, Err: errors.New("429")}
			}
			return publisher.Answer{Status: 202}, nil
		}
		m := message("send-mail", aMail)
		m.Fresh = true
		if v := worker.Handle(t.Context(), m); v.Ack || v.After < time.Minute {
			t.Fatalf("verdict %+v", v)
		}
		var kept struct {
			State    string
			Attempts int
			NotUntil time.Time `json:"not_until"`
		}
		for _, e := range w.records {
			if err := json.Unmarshal(e.data, &kept); err != nil {
				t.Fatal(err)
			}
		}
		if kept.State != "claimed" || kept.Attempts != 1 || time.Until(kept.NotUntil) < time.Minute {
			t.Errorf("kept %+v", kept)
		}
		deliverUntilAck(t, worker, m)
		if o := w.outcome(t); o.Outcome != "done" || o.Attempts != 2 {
			t.Errorf("outcome %+v", o)
		}
	})
}

// TestAnEndThatCouldNotBeStoredIsNotForgotten: the message comes back to the process
// that knows of it, and the ledger has nothing of an attempt that was not written down.
func TestAnEndThatCouldNotBeStoredIsNotForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker, _ := atLeastOnce(t)
		down := true
		w.choose = func(at site, _ []mishap) mishap {
			if down && at == siteSave {
				return errorBefore
			}
			return fine
		}
		m := message("send-mail", aMail)
		m.Fresh = true
		if v := worker.Handle(t.Context(), m); v.Ack {
			t.Fatal("acknowledged without a record")
		}
		other := m
		other.Sequence++
		if v := worker.Handle(t.Context(), other); v.Ack || len(w.calls) != 1 {
			t.Errorf("%d requests though the ledger takes nothing", len(w.calls))
		}
		down, m.Fresh = false, false
		deliverUntilAck(t, worker, m)
		if o := w.outcome(t); o.Outcome != "done" || w.effects != 1 || len(w.calls) != 1 {
			t.Errorf("outcome %+v, %d effects of %d requests", o, w.effects, len(w.calls))
		}
	})
}
