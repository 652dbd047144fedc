package publisher_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/publisher"
)

var mishaps = flag.Int("mishaps", 2, "how many mishaps the explorer combines")

// script is one trace of the explorer: which mishap to take at each site. It
// enumerates all traces with at most budget mishaps, depth first.
type script struct {
	path   []int
	widths []int
	at     int
	budget int
	spent  int
}

func (s *script) choose(_ site, among []mishap) mishap {
	if s.at == len(s.path) {
		s.path = append(s.path, 0)
		s.widths = append(s.widths, 0)
	}
	width := len(among)
	if s.spent == s.budget {
		width = 1
	}
	s.widths[s.at] = width
	pick := s.path[s.at]
	s.at++
	if pick > 0 {
		s.spent++
	}
	return among[pick]
}

// next moves to the next trace; false after the last.
func (s *script) next() bool {
	for i := s.at - 1; i >= 0; i-- {
		if s.path[i]+1 < s.widths[i] {
			s.path = append(s.path[:i], s.path[i]+1)
			s.widths = s.widths[:i+1]
			s.at, s.spent = 0, 0
			return true
		}
	}
	return false
}

// scenario is what the explorer drives.
type scenario struct {
	name     string
	entity   string
	data     string
	delivery publisher.Delivery
	// keyless: the message has no key of its sender's.
	keyless bool
}

var scenarios = []scenario{
	{"POST at most once", "mail.message.sendMail", aMail, publisher.AtMostOnce, false},
	{"POST at most once, without a key", "mail.message.sendMail", aMail, publisher.AtMostOnce, true},
	{"POST at least once", "mail.message.sendMail", aMail, publisher.AtLeastOnce, false},
	{"POST at least once, without a key", "mail.message.sendMail", aMail, publisher.AtLeastOnce, true},
	{"PATCH at most once", "mail.message.update", `{"path":{"id":"AAA"},"payload":{"isRead":true}}`, publisher.AtMostOnce, false},
	{"PATCH at least once", "mail.message.update", `{"path":{"id":"AAA"},"payload":{"isRead":true}}`, publisher.AtLeastOnce, false},
	{"DELETE at most once", "mail.message.delete", `{"path":{"id":"AAA"}}`, publisher.AtMostOnce, false},
	{"DELETE at least once", "mail.message.delete", `{"path":{"id":"AAA"}}`, publisher.AtLeastOnce, false},
	{"DELETE at least once, without a key", "mail.message.delete", `{"path":{"id":"AAA"}}`, publisher.AtLeastOnce, true},
}

// TestEveryTraceOfMishapsKeepsThePromises runs the real worker through every
// combination of up to two mishaps (go test -mishaps 3 for more) at its calls to the outside: an error or a
// crash, before or after the call had its effect, and the two answers of
// Outlook that ask for another try. After a crash a new process takes the same
// message. One of the mishaps may be a process that freezes for longer than the
// queue waits: another carries the message on, and then the first wakes up.
func TestEveryTraceOfMishapsKeepsThePromises(t *testing.T) {
	t.Parallel()
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				traces, uncertain, doubled := explore(t, sc, *mishaps)
				t.Logf("%d traces, %d uncertain, %d with the effect twice", traces, uncertain, doubled)
				post := sc.entity == "mail.message.sendMail"
				once := sc.delivery == publisher.AtMostOnce
				if traces < 300 {
					t.Errorf("only %d traces: the explorer sees too little", traces)
				}
				// The test must be able to see what it forbids.
				if post && once && uncertain == 0 {
					t.Error("no trace was uncertain")
				}
				if post && !once && doubled == 0 {
					t.Error("at_least_once never had its effect twice: the explorer cannot see duplicates")
				}
				if repeats := !post || !once; repeats && uncertain > 0 {
					t.Errorf("%d traces uncertain, want none", uncertain)
				}
				if single := !post || once; single && doubled > 0 {
					t.Errorf("%d traces with the effect twice, want none", doubled)
				}
			})
		})
	}
}

func explore(t *testing.T, sc scenario, budget int) (traces, uncertain, doubled int) {
	t.Helper()
	def := definition(t, "p", sc.entity)
	def.Delivery = sc.delivery
	s := &script{budget: budget}
	for {
		traces++
		w := newWorld()
		if sc.entity == "mail.message.delete" && sc.delivery == publisher.AtMostOnce {
			w.box = newMailbox()
		}
		w.choose = s.choose
		m := message("p", sc.data, "Outlook-Reply-To", "_INBOX.x.y")
		if !sc.keyless {
			m.Header["Nats-Msg-Id"] = []string{"k"}
		}
		err := drive(t, w, def, m)
		w.landing.Wait()
		if err != nil {
			t.Fatalf("trace %d: %v\n%q", traces, err, w.trail)
		}
		end := w.outcome(t)
		if err := promises(w, sc, end); err != nil {
			t.Fatalf("trace %d: %v\n%q", traces, err, w.trail)
		}
		if end.Outcome == "uncertain" {
			uncertain++
		}
		if w.effects > 1 || w.box != nil && w.box.effects > 1 && !frozeWithRequest(w) {
			doubled++
		}
		if !s.next() {
			return traces, uncertain, doubled
		}
	}
}

// even takes chance out of the waits: a trace must go the same way each time.
func even(o *publisher.Options) {
	o.Jitter = func(most time.Duration) time.Duration { return most / 2 }
}

// drive delivers the message until it is acknowledged; a process that died is
// followed by a new one.
func drive(t *testing.T, w *world, def publisher.Publisher, m publisher.Message) error {
	t.Helper()
	worker := w.worker(t, with(def), even)
	calls, acked := -1, false
	var other error
	w.freeze = func() {
		<-time.After(20 * time.Second)
		other = drive(t, w, def, m)
		w.freeze, acked = nil, true
	}
	if w.asleep {
		w.freeze = nil
	}
	for n := range 20 {
		// With a key even a wrong hint must cost nothing: only without one does the
		// process that takes over know that it is the second.
		m.Fresh = n == 0 && (!w.asleep || len(m.Header["Nats-Msg-Id"]) > 0) || w.newEachTime
		deadline := time.Now().Add(15 * time.Second)
		m.Deadline = func() time.Time { return deadline }
		if w.openEnd && calls < 0 {
			calls = len(w.calls)
		}
		v, alive := deliver(t.Context(), worker, m)
		if !alive {
			worker = w.worker(t, with(def), even)
			v = publisher.Again(15 * time.Second) // AckWait
		}
		if other != nil {
			return other
		}
		if v.Ack || acked {
			if def.Delivery == publisher.AtMostOnce && def.Entities[0].Method == methodPost && calls >= 0 && len(w.calls) > calls {
				return fmt.Errorf("%d requests after one of unknown effect", len(w.calls)-calls)
			}
			return nil
		}
		<-time.After(v.After)
	}
	return errors.New("not acknowledged after 20 deliveries")
}

// toldOnce checks that everybody was told the same end.
func toldOnce(w *world, end publisher.Outcome) error {
	for _, r := range w.results {
		var other publisher.Outcome
		if err := json.Unmarshal(r.body, &other); err != nil {
			return err
		}
		if other.Outcome != end.Outcome {
			return fmt.Errorf("told %s and %s", other.Outcome, end.Outcome)
		}
	}
	for _, e := range w.records {
		if got := stateOf(e.data); got != end.Outcome {
			return fmt.Errorf("the ledger says %s, the result %s", got, end.Outcome)
		}
	}
	if wantLetters := map[bool]int{true: 0, false: 1}[end.Outcome == "done"]; len(w.letters) != wantLetters {
		return fmt.Errorf("%d dead letters for %s", len(w.letters), end.Outcome)
	}
	if w.taken != 0 && !slices.ContainsFunc(w.trail, func(s string) bool { return strings.HasPrefix(s, "do: crash") || strings.HasPrefix(s, "save: crash") }) {
		return fmt.Errorf("%d slots not given back", w.taken)
	}
	return nil
}

// promises checks what must hold at the end of every trace.
func promises(w *world, sc scenario, end publisher.Outcome) error {
	post := sc.entity == "mail.message.sendMail"
	once := sc.delivery == publisher.AtMostOnce
	if err := toldOnce(w, end); err != nil {
		return err
	}
	switch {
	case sc.keyless && w.callsAfter > 0 && !frozeWithRequest(w):
		return fmt.Errorf("%d requests after a result was stored", w.callsAfter)
	case end.Outcome == "failed":
		return errors.New("failed, though Outlook would have taken it")
	case end.Outcome == "done" && w.effects == 0 && (w.box == nil || w.box.effects == 0):
		return errors.New("done without an effect")
	case post && once && w.effects > 1:
		return fmt.Errorf("%d effects", w.effects)
	case post && once && w.openEnd != (end.Outcome == "uncertain"):
		return fmt.Errorf("outcome %s, but a request of unknown effect was left: %v", end.Outcome, w.openEnd)
	case (!post || !once) && end.Outcome != "done":
		return fmt.Errorf("outcome %s of an operation that may be repeated", end.Outcome)
	}
	return nil
}
