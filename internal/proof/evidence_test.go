//go:build unix

package proof_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/sandbox"
)

// evidence is all that is known after a run: what went in by the books of the
// traffic, what is stored in NATS, and what the sandbox saw.
type evidence struct {
	mails    map[string]mail
	commands map[string]command
	// events are all that is on outlook.event.>.
	events []event
	// outcomes are those stored, by command; said are all that were announced.
	outcomes map[string]outcome
	said     map[string][]string
	// letters counts the dead letters of each command.
	letters map[string]int
	// sent counts the mails that Outlook took to be sent, by subject.
	sent map[string]int
	// received counts those that arrived at the friend's, by subject.
	received map[string]int
	// queued are the commands that are still in the queue.
	queued uint64
}

// event is a stored event.
type event struct {
	id, change, subject string
	at                  time.Time
}

// outcome is a stored outcome, as far as it is looked at.
type outcome struct {
	Outcome  string    `json:"outcome"`
	Finished time.Time `json:"finished_at"`
	Attempts int       `json:"attempts"`
	Error    *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Hint    string `json:"hint"`
	} `json:"error"`
}

// gather collects the evidence. A worker or server must be running.
func gather(t *testing.T, tr *traffic, w *witness) evidence {
	t.Helper()
	e := evidence{
		mails: maps.Clone(tr.mails), commands: tr.commands, outcomes: map[string]outcome{}, letters: map[string]int{},
		sent: map[string]int{}, received: map[string]int{}, said: map[string][]string{},
	}
	read := func(stream, filter string, f func(*jetstream.RawStreamMsg)) {
		if err := w.each(t.Context(), stream, filter, f); err != nil {
			t.Fatalf("read %s of %s: %v", filter, stream, err)
		}
	}
	read("OUTLOOK_EVENTS", "outlook.event.>", func(m *jetstream.RawStreamMsg) {
		e.events = append(e.events, readEvent(m))
	})
	read("OUTLOOK_RESULT", "outlook.result.>", func(m *jetstream.RawStreamMsg) {
		var o outcome
		if err := json.Unmarshal(m.Data, &o); err != nil {
			t.Errorf("outcome on %s: %v", m.Subject, err)
		}
		e.outcomes[strings.TrimPrefix(m.Subject, "outlook.result.")] = o
	})
	read("OUTLOOK_DLQ", "outlook.dlq.publish.>", func(m *jetstream.RawStreamMsg) {
		var letter struct{ ID, Error string }
		if err := json.Unmarshal(m.Data, &letter); err != nil || letter.Error == "" {
			t.Errorf("dead letter %d says nothing of its cause: %v", m.Sequence, err)
		}
		e.letters[letter.ID]++
	})
	read("OUTLOOK_DLQ", "outlook.dlq.event.>", func(m *jetstream.RawStreamMsg) {
		t.Errorf("dead letter of an event: %s", m.Data)
	})
	var err error
	if e.queued, err = w.count(t.Context(), "OUTLOOK_PUBLISH", "outlook.publish.>"); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	e.said = maps.Clone(w.said)
	w.mu.Unlock()
	for _, effect := range tr.graph.effects() {
		if effect.Kind == sandbox.EffectSent {
			e.sent[effect.Subject]++
		}
	}
	for _, subject := range tr.came() {
		e.received[subject]++
		if tr.loops {
			e.mails[subject] = mail{to: friend}
		}
	}
	return e
}

func readEvent(m *jetstream.RawStreamMsg) event {
	var body struct{ Subject string }
	_ = json.Unmarshal(m.Data, &body) // a body that cannot be read is an unknown mail, which is said
	return event{id: m.Header.Get("ce-id"), change: m.Header.Get("Outlook-Change"), subject: body.Subject, at: m.Time}
}

// figures are the counts of a run.
type figures struct {
	incoming, events, lost, repeated                int
	outgoing, done, uncertain, failed, missing      int
	effects, effectsOfUncertain, twice, deadLetters int
}

// judge compares. Its problems are everything that must not be; none means that
// nothing was lost and nothing is there twice. unclear is how many commands may
// at most have ended without anybody knowing their effect.
func (e evidence) judge(unclear int) (f figures, problems []string) {
	f.judgeEvents(e, &problems)
	f.judgeCommands(e, &problems)
	if f.uncertain > unclear {
		problems = append(problems, fmt.Sprintf("%d commands are uncertain, but at most %d can have been under way", f.uncertain, unclear))
	}
	if e.queued > 0 {
		problems = append(problems, fmt.Sprintf("%d commands are still in the queue", e.queued))
	}
	return f, problems
}

func (f *figures) judgeEvents(e evidence, problems *[]string) {
	f.incoming, f.events = len(e.mails), len(e.events)
	ids, subjects := map[string]int{}, map[string]int{}
	for _, event := range e.events {
		if event.id == "" {
			*problems = append(*problems, fmt.Sprintf("an event of %q has no ce-id", event.subject))
		}
		ids[event.id]++
		subjects[event.subject]++
		if _, known := e.mails[event.subject]; !known {
			*problems = append(*problems, fmt.Sprintf("an event (%s) of %q, which nobody sent", event.change, event.subject))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if ids[id] > 1 {
			f.repeated++
			*problems = append(*problems, fmt.Sprintf("event id %s is there %d times", id, ids[id]))
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(e.mails)) {
		switch n := subjects[subject]; {
		case n == 0:
			f.lost++
			*problems = append(*problems, fmt.Sprintf("mail %q is lost: it has no event", subject))
		case n > 1:
			// Nothing changes a mail here, so a second event is a repetition,
			// whatever its id.
			f.repeated++
			*problems = append(*problems, fmt.Sprintf("mail %q has %d events", subject, n))
		}
	}
}

func (f *figures) judgeCommands(e evidence, problems *[]string) {
	say := func(format string, args ...any) { *problems = append(*problems, fmt.Sprintf(format, args...)) }
	f.outgoing = len(e.commands)
	bySubject := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(e.commands)) {
		subject := e.commands[id].subject
		bySubject[subject] = true
		sent, letters := e.sent[subject], e.letters[id]
		f.effects += sent
		f.deadLetters += letters
		if sent > 1 {
			f.twice++
			say("%s was sent %d times", id, sent)
		}
		if e.received[subject] != sent {
			say("%s was sent %d times and arrived %d times", id, sent, e.received[subject])
		}
		o, ok := e.outcomes[id]
		switch {
		case !ok:
			f.missing++
			say("%s has no outcome", id)
		case o.Outcome == "done":
			f.done++
			if sent == 0 {
				say("%s is done, but was not sent", id)
			}
			if letters != 0 {
				say("%s is done and has %d dead letters", id, letters)
			}
		case o.Outcome == "uncertain":
			f.uncertain++
			f.effectsOfUncertain += sent
			if letters != 1 {
				say("%s is uncertain and has %d dead letters", id, letters)
			}
		case o.Outcome == "failed":
			f.failed++
			say("%s failed: %+v", id, o.Error)
		default:
			say("%s has the outcome %q", id, o.Outcome)
		}
		if said := e.said[id]; len(said) > 1 {
			say("%s was announced as %s", id, strings.Join(said, ", then "))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.outcomes)) {
		if _, known := e.commands[id]; !known {
			say("an outcome of %s, which nobody published", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(e.letters)) {
		if _, known := e.commands[id]; !known {
			say("a dead letter of %s, which nobody published", id)
		}
	}
	for _, subject := range slices.Sorted(maps.Keys(e.sent)) {
		if !bySubject[subject] {
			say("%q was sent, which nobody asked for", subject)
		}
	}
}

// report fails the test with the problems, as many as one can read.
func report(t *testing.T, problems []string) {
	t.Helper()
	const most = 25
	for i, problem := range problems {
		if i == most {
			t.Errorf("and %d more", len(problems)-most)
			return
		}
		t.Error(problem)
	}
}
