package publisher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"sync"
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
	before = new([]string)
	w.onDo = func(publisher.Call) {
		state := "none"
		for _, e := range w.records {
			state = stateOf(e.data)
		}
		*before = append(*before, state)
	}
	return w, w.worker(t, with(sending(t, publisher.AtLeastOnce))), before
}

// sending is a publisher of mails.
func sending(t *testing.T, delivery publisher.Delivery) publisher.Publisher {
	t.Helper()
	def := definition(t, "send-mail", "mail.message.sendMail")
	def.Delivery = delivery
	return def
}

func TestOnlyWhatItDecidesIsWrittenDownBeforeARequest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		fresh   bool
		headers []string
		want    string
		records int // in the end
	}{
		{"a new command of at_least_once is made again whatever the ledger says", true, nil, "none", 0},
		{"another command may have the sender's key", true, []string{"Nats-Msg-Id", "k1"}, "sending", 1},
		{"one that came back may have ended its worker", false, nil, "sending", 1},
		{"a message may ask for more than its publisher", true, []string{"Outlook-Delivery", "at_most_once"}, "sending", 1},
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
			if len(w.records) != c.records || len(w.results) != 1 {
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
		m.Fresh = false
		deliverUntilAck(t, worker, m)
		if o := w.outcome(t); o.Outcome != "done" || o.Attempts != 2 {
			t.Errorf("outcome %+v", o)
		}
	})
}

// theFirst hands a worker a new command of at_least_once without a key, and is what
// there is afterwards. At one seam the delivery meets with a mishap.
func theFirst(t *testing.T, at site, meets mishap) (w *world, worker *publisher.Worker, m publisher.Message) {
	t.Helper()
	w, worker, _ = atLeastOnce(t)
	w.choose = func(s site, _ []mishap) mishap {
		if s == at {
			return meets
		}
		return fine
	}
	m = message("send-mail", aMail, "Outlook-Reply-To", "_INBOX.x.y")
	m.Fresh = true
	deliver(t.Context(), worker, m)
	w.choose, m.Fresh = func(site, []mishap) mishap { return fine }, false
	return w, worker, m
}

// TestTheResultOfACommandWithoutAKeyIsItsRecord: its message comes back though it has
// ended, because its process died before the acknowledgment.
func TestTheResultOfACommandWithoutAKeyIsItsRecord(t *testing.T) {
	t.Parallel()
	t.Run("it came back", func(t *testing.T) {
		t.Parallel()
		w, _, m := theFirst(t, siteReply, crashBefore)
		if len(w.records) != 0 || len(w.results) != 1 || len(w.replies) != 0 {
			t.Fatalf("%d records, %d results, %d replies", len(w.records), len(w.results), len(w.replies))
		}
		c := &clerk{}
		if v := w.worker(t, with(sending(t, publisher.AtLeastOnce)), audited(c)).Handle(t.Context(), m); !v.Ack {
			t.Fatalf("verdict %+v", v)
		}
		if len(w.calls) != 1 || len(w.records) != 0 || len(w.results) != 1 || len(w.replies) != 1 {
			t.Errorf("%d requests, %d records, %d results, %d replies", len(w.calls), len(w.records), len(w.results), len(w.replies))
		}
		if len(c.rows) != 1 || !c.rows[0].Again || c.rows[0].Outcome != "done" || c.rows[0].Attempts != 1 {
			t.Errorf("rows %+v", c.rows)
		}
	})
	t.Run("its publisher is not there any more, or asks for more", func(t *testing.T) {
		t.Parallel()
		for _, delivery := range []publisher.Delivery{"", publisher.AtMostOnce, publisher.ExactlyOnce} {
			w, _, m := theFirst(t, siteReply, crashBefore)
			def := definition(t, "other", "mail.message.sendMail")
			if delivery != "" {
				def = sending(t, delivery)
			}
			if v := w.worker(t, with(def)).Handle(t.Context(), m); !v.Ack || len(w.calls) != 1 || len(w.letters) != 0 {
				t.Errorf("%q: verdict %+v, %d requests, %d dead letters", delivery, v, len(w.calls), len(w.letters))
			}
		}
	})
	t.Run("the result cannot be read", func(t *testing.T) {
		t.Parallel()
		w, _, m := theFirst(t, siteReply, crashBefore)
		w.choose = func(s site, _ []mishap) mishap {
			if s == siteTold {
				return errorBefore
			}
			return fine
		}
		if v := w.worker(t, with(sending(t, publisher.AtLeastOnce))).Handle(t.Context(), m); v.Ack || v.After <= 0 || len(w.calls) != 1 {
			t.Errorf("verdict %+v, %d requests", v, len(w.calls))
		}
	})
	for name, change := range map[string]func(w *world, m *publisher.Message){
		"of an older stream": func(_ *world, m *publisher.Message) { m.Received = m.Received.Add(time.Nanosecond) },
		"of another publisher": func(w *world, _ *publisher.Message) {
			w.results[0].body = bytes.Replace(w.results[0].body, []byte(`"send-mail"`), []byte(`"others"`), 1)
		},
		"of a failure, of which the ledger would know": func(w *world, _ *publisher.Message) {
			w.results[0].body = bytes.Replace(w.results[0].body, []byte(`"done"`), []byte(`"failed"`), 1)
		},
		"that is none":    func(w *world, _ *publisher.Message) { w.results[0].body = []byte(`"x"`) },
		"that is too old": func(w *world, _ *publisher.Message) { w.results = nil },
	} {
		t.Run("a result "+name, func(t *testing.T) {
			t.Parallel()
			w, _, m := theFirst(t, siteReply, crashBefore)
			change(w, &m)
			if v := w.worker(t, with(sending(t, publisher.AtLeastOnce))).Handle(t.Context(), m); !v.Ack || len(w.calls) != 2 || len(w.records) != 1 {
				t.Errorf("verdict %+v, %d requests, %d records", v, len(w.calls), len(w.records))
			}
		})
	}
}

// TestAnEndWhoseResultCannotBeStoredIsInTheLedger: else nobody would know of it.
func TestAnEndWhoseResultCannotBeStoredIsInTheLedger(t *testing.T) {
	t.Parallel()
	for _, meets := range []mishap{errorBefore, errorAfter} {
		synctest.Test(t, func(t *testing.T) {
			w, worker, m := theFirst(t, siteResult, meets)
			if r := w.record(t); r["state"] != "done" || len(w.replies) != 0 {
				t.Fatalf("record %v, %d replies", r, len(w.replies))
			}
			deliverUntilAck(t, worker, m)
			if o := w.outcome(t); o.Outcome != "done" || len(w.calls) != 1 || len(w.replies) != 1 {
				t.Errorf("outcome %+v, %d requests, %d replies", o, len(w.calls), len(w.replies))
			}
		})
	}
}

// TestWhatIsOnlyToldHoldsUpNoRequest: in_flight bounds the requests, and the few more
// that are begun are those of which the ledger does not know yet what came of them.
func TestWhatIsOnlyToldHoldsUpNoRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		def := sending(t, publisher.AtMostOnce)
		def.InFlight = 1
		s := &silent{world: w, held: make(chan struct{})}
		worker := w.worker(t, with(def), func(o *publisher.Options) { o.Outcomes = s })
		var all sync.WaitGroup
		for n := range 4 {
			all.Go(func() {
				m := message("send-mail", aMail)
				m.Sequence += uint64(n)
				if v := worker.Handle(t.Context(), m); !v.Ack {
					t.Errorf("verdict %+v", v)
				}
			})
		}
		synctest.Wait()
		if len(w.calls) != 4 {
			t.Errorf("%d requests while ends are told, want 4", len(w.calls))
		}
		close(s.held)
		all.Wait()
	})
}

// silent is a world where results are not stored before held is closed.
type silent struct {
	*world
	held chan struct{}
}

func (s *silent) Begin(ctx context.Context, id string, body []byte) func() error {
	return func() error {
		<-s.held
		return s.world.Begin(ctx, id, body)()
	}
}

// TestAnEndOutOfTimeIsLeftToTheLedger: somebody else may have the command by then, and
// have ended it otherwise.
func TestAnEndOutOfTimeIsLeftToTheLedger(t *testing.T) {
	t.Parallel()
	w, worker, _ := atLeastOnce(t)
	m := message("send-mail", aMail)
	now := time.Now()
	deadline := now.Add(time.Hour)
	m.Fresh, m.Deadline = true, func() time.Time { return deadline }
	w.onDo = func(publisher.Call) {
		if deadline.Before(now) {
			return
		}
		deadline = now.Add(-time.Second)
		other := m
		other.Fresh, other.Deadline = false, nil
		w.answer = func(int, publisher.Call) (publisher.Answer, error) {
			return publisher.Answer{Status: 400}, fault.New(fault.Poison, "no").WithCode("ErrorInvalidRequest")
		}
		if v := w.worker(t, with(sending(t, publisher.AtLeastOnce))).Handle(t.Context(), other); !v.Ack {
			t.Errorf("second worker: %+v", v)
		}
		w.answer = func(int, publisher.Call) (publisher.Answer, error) { return publisher.Answer{Status: 202}, nil }
	}
	worker.Handle(t.Context(), m)
	for _, r := range w.results {
		if !bytes.Contains(r.body, []byte(`"outcome":"failed"`)) {
			t.Errorf("told %s, but a dead letter says that it failed", r.body)
		}
	}
	if len(w.calls) != 2 || len(w.results) == 0 || len(w.letters) != 1 {
		t.Errorf("%d requests, %d results, %d dead letters", len(w.calls), len(w.results), len(w.letters))
	}
}

// TestAnEndThatCouldNotBeStoredIsNotForgotten: the message comes back to the process
// that knows of it, and the ledger has nothing of an attempt that was not written down.
func TestAnEndThatCouldNotBeStoredIsNotForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker, _ := atLeastOnce(t)
		down := true
		w.choose = func(at site, _ []mishap) mishap {
			if down && (at == siteSave || at == siteResult) {
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

// TestAWorkerThatStopsWhileItWritesLeavesNothingOpen: the record that says that a request
// is under way is taken back, since none was made.
func TestAWorkerThatStopsWhileItWritesLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		ctx, stop := context.WithCancel(t.Context())
		slow := &slowJournal{world: w, begun: stop}
		worker := w.worker(t, with(sending(t, publisher.AtMostOnce)), func(o *publisher.Options) { o.Journal = slow })
		m := message("send-mail", aMail)
		if v := worker.Handle(ctx, m); v.Ack || len(w.calls) != 0 || w.record(t)["state"] != "claimed" {
			t.Errorf("verdict %+v, %d requests, record %v", v, len(w.calls), w.record(t))
		}
		slow.begun = func() {}
		deliverUntilAck(t, worker, m)
		if o := w.outcome(t); o.Outcome != "done" || len(w.calls) != 1 {
			t.Errorf("outcome %+v, %d requests", o, len(w.calls))
		}
	})
}

// slowJournal stores what it is given in a second. Who gives up before does not hear of it.
type slowJournal struct {
	*world
	begun func()
}

func (s *slowJournal) Save(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	s.begun()
	stored, err := s.world.Save(context.WithoutCancel(ctx), key, data, revision)
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(time.Second):
		return stored, err
	}
}
