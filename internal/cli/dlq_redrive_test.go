package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/publisher"
)

const (
	onSendMail = "outlook.publish.send-mail"
	aMail      = `{"payload":{"message":{"subject":"a"}}}`
	aBody      = `{"message":{"subject":"a"}}`
)

// TestARedriveThatStopsAnywhereLosesNothingAndSendsNothingTwice fails each call
// of a redrive, before and after its effect, and tries again.
func TestARedriveThatStopsAnywhereLosesNothingAndSendsNothingTwice(t *testing.T) {
	t.Parallel()
	stops := 0
	for _, after := range []bool{false, true} {
		for _, works := range []bool{false, true} { // the worker takes what came through, before the second try
			for _, forgets := range []bool{false, true} { // the second try is more than ten minutes later
				for failAt := 1; ; failAt++ {
					w := newDLQWorld(t)
					w.refuse = true
					l := w.die(onSendMail, "order-7", aMail)
					w.refuse, w.failAt, w.after = false, failAt, after

					where := fmt.Sprintf("call %d, after %v, works %v, forgets %v", failAt, after, works, forgets)
					_, err := w.redriver().redrive(t.Context(), &l)
					if err == nil {
						if w.calls >= failAt {
							t.Fatalf("%s: a failed call went unnoticed", where)
						}
						break
					}
					stops++
					_, kept := w.letters[l.Sequence]
					if !kept && len(w.queue) != 2 {
						t.Fatalf("%s: the letter is gone and nothing was sent", where)
					}
					if works {
						w.work()
					}
					if forgets {
						w.forget()
					}
					if kept {
						done, err := w.redriver().redrive(t.Context(), &l)
						if err != nil || done.Key != "order-7/r1" {
							t.Fatalf("%s: the second try: %+v, %v", where, done, err)
						}
						if sent := len(w.queue); done.SentBefore != (done.Sequence == 0) || sent > 2 && !forgets {
							t.Errorf("%s: %d messages, %+v", where, sent, done)
						}
					}
					w.work()
					if w.effects[aBody] != 1 || len(w.letters) != 0 {
						t.Errorf("%s: %d effects, %d letters", where, w.effects[aBody], len(w.letters))
					}
				}
			}
		}
	}
	if stops < 2*2*2*3 {
		t.Errorf("only %d stops were tried", stops)
	}
}

// TestTwoPeopleWhoRedriveTheSameLetterSendItOnce lets the second one do all of it
// between any two calls of the first.
func TestTwoPeopleWhoRedriveTheSameLetterSendItOnce(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 3; at++ {
		for _, works := range []bool{false, true} {
			w := newDLQWorld(t)
			w.refuse = true
			l := w.die(onSendMail, "", aMail)
			w.refuse = false
			w.between = func(call int) {
				if call != at {
					return
				}
				w.between = nil
				if _, err := w.redriver().redrive(t.Context(), &l); err != nil {
					t.Errorf("the second one: %v", err)
				}
				if works {
					w.work()
				}
			}
			_, err := w.redriver().redrive(t.Context(), &l)
			if err != nil {
				t.Errorf("the first one, overtaken at call %d: %v", at, err)
			}
			w.work()
			if w.effects[aBody] != 1 || len(w.letters) != 0 {
				t.Errorf("overtaken at call %d: %d effects, %d letters", at, w.effects[aBody], len(w.letters))
			}
		}
	}
}

// TestAnotherTextAfterAStopIsRefused: the first try has gone out, so its changes
// hold, and the letter stays for the person to decide.
func TestAnotherTextAfterAStopIsRefused(t *testing.T) {
	t.Parallel()
	for _, works := range []bool{false, true} {
		w := newDLQWorld(t)
		w.refuse = true
		l := w.die(onSendMail, "order-7", aMail)
		w.refuse = false
		w.failAt, w.after = 2, true // published, and nobody heard
		if _, err := w.redriver().redrive(t.Context(), &l); err == nil {
			t.Fatal("the fault did not come")
		}
		if works {
			w.work()
		}
		r := w.redriver()
		r.edit = edit{patches: []any{map[string]any{"payload": map[string]any{"message": map[string]any{"subject": "b"}}}}}
		_, err := r.redrive(t.Context(), &l)
		if _, ok := errors.AsType[*leftError](err); !ok || !strings.Contains(err.Error(), "another text") || fault.HintOf(err) == "" {
			t.Errorf("%v: hint %q", err, fault.HintOf(err))
		}
		w.work()
		if len(w.letters) != 1 || w.effects[aBody] != 1 || len(w.effects) != 1 {
			t.Errorf("%d letters, effects %v", len(w.letters), w.effects)
		}
	}
}

func TestRedrivesOfRedrivesCountOn(t *testing.T) {
	t.Parallel()
	w := newDLQWorld(t)
	w.refuse = true
	l := w.die(onSendMail, "order 7", aMail) // an id that does not fit a subject
	for n := 1; n <= 3; n++ {
		done, err := w.redriver().redrive(t.Context(), &l)
		if want := fmt.Sprintf("%s/r%d", publisher.ResultID("order 7"), n); err != nil || done.Key != want || done.SentBefore {
			t.Fatalf("%+v, %v, want %s", done, err, want)
		}
		w.work()
		l = w.letter(w.last)
		if header := l.command.Headers; header["Outlook-Redrive-Of"][0] != publisher.ResultID("order 7") || header["Outlook-Delivery"][0] != "at_most_once" {
			t.Errorf("headers %v", header)
		}
		if result := w.results[done.ResultID]; !strings.Contains(result, `"failed"`) {
			t.Errorf("the result at %s is %s", done.ResultID, result)
		}
	}
	if len(w.letters) != 1 {
		t.Errorf("%d letters", len(w.letters))
	}
}

// TestAKeyOfAnotherCommandIsPassedOver: two publishers, or a stream that was made
// anew, can have commands of one id.
func TestAKeyOfAnotherCommandIsPassedOver(t *testing.T) {
	t.Parallel()
	w := newDLQWorld(t)
	w.refuse = true
	mine := w.die(onSendMail, "same", aMail)
	w.forget()
	theirs := w.die("outlook.publish.other", "same", `{"payload":{"message":{"subject":"b"}}}`)
	w.refuse = false
	first, err := w.redriver().redrive(t.Context(), &mine)
	if err != nil || first.Key != "same/r1" {
		t.Fatalf("%+v, %v", first, err)
	}
	second, err := w.redriver().redrive(t.Context(), &theirs)
	if err != nil || second.Key != "same/r2" || second.SentBefore {
		t.Fatalf("the queue knows the key of another publisher's: %+v, %v", second, err)
	}
	w.work()
	if w.effects[aBody] != 1 || w.effects[`{"message":{"subject":"b"}}`] != 1 {
		t.Errorf("effects %v", w.effects)
	}

	// And where that one has ended, nobody can tell whose the key is: the letter
	// stays until the queue has forgotten it.
	w = newDLQWorld(t)
	w.refuse = true
	mine = w.die(onSendMail, "same", aMail)
	w.forget()
	theirs = w.die("outlook.publish.other", "same", aMail)
	w.refuse = false
	if _, err := w.redriver().redrive(t.Context(), &mine); err != nil {
		t.Fatal(err)
	}
	w.work()
	if _, err := w.redriver().redrive(t.Context(), &theirs); err == nil || len(w.letters) != 1 {
		t.Errorf("%v, %d letters", err, len(w.letters))
	}
	w.forget()
	if _, err := w.redriver().redrive(t.Context(), &theirs); err != nil {
		t.Error(err)
	}
	w.work()
	if w.effects[aBody] != 2 || len(w.letters) != 0 {
		t.Errorf("effects %v, %d letters", w.effects, len(w.letters))
	}

	// An old record of the same key is older than the letter's own message.
	w = newDLQWorld(t)
	w.publish(onSendMail, jet.Header{"Nats-Msg-Id": {"OUTLOOK_PUBLISH-2/r1"}}, aMail)
	w.work()
	w.forget()
	w.refuse = true
	l := w.die(onSendMail, "", aMail)
	w.refuse = false
	done, err := w.redriver().redrive(t.Context(), &l)
	if err != nil || done.Key != "OUTLOOK_PUBLISH-2/r2" {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestAReusedKeyGetsOneOfItsOwn: its id is another command's.
func TestAReusedKeyGetsOneOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newDLQWorld(t)
	w.publish(onSendMail, jet.Header{"Nats-Msg-Id": {"k"}}, `{"payload":{"message":{"subject":"first"}}}`)
	w.work()
	w.forget()
	l := w.die(onSendMail, "k", aMail)
	if l.Reason != "key_reused" {
		t.Fatalf("reason %s", l.Reason)
	}
	done, err := w.redriver().redrive(t.Context(), &l)
	if err != nil || done.Key != "OUTLOOK_PUBLISH-2/r1" {
		t.Fatalf("%+v, %v", done, err)
	}
	w.work()
	if w.effects[aBody] != 1 || len(w.letters) != 0 {
		t.Errorf("effects %v, %d letters", w.effects, len(w.letters))
	}
}

func TestWhatCannotBeSentAgainIsLeftWithAReason(t *testing.T) {
	t.Parallel()
	w := newDLQWorld(t)
	w.lose = true
	uncertain := w.die(onSendMail, "", aMail)
	w.lose, w.refuse = false, true
	failed := w.die(onSendMail, "", aMail)
	change := func(f func(l *deadLetter)) deadLetter {
		l := failed
		l.command.Headers = map[string][]string{}
		f(&l)
		return l
	}
	for name, c := range map[string]struct {
		letter deadLetter
		says   string
	}{
		"uncertain": {uncertain, "sent again it would have it twice"},
		"omitted":   {change(func(l *deadLetter) { l.command.Data, l.command.DataOmitted = nil, 3_000_000 }), "kept without its message, which had 3000000 bytes"},
		"expired":   {change(func(l *deadLetter) { l.command.Headers["outlook-expires"] = []string{"2026-01-01T00:00:00Z"} }), "expired at 2026-01-01T00:00:00Z"},
		"unknown":   {change(func(l *deadLetter) { l.command.Subject = "outlook.publish.gone" }), `no publisher named "gone"`},
		"nowhere":   {change(func(l *deadLetter) { l.command.Subject = "outlook.publish.NO" }), "no publisher listens"},
		"unread":    {change(func(l *deadLetter) { l.bad = errors.New("what is that") }), "what is that"},
		"item":      {change(func(l *deadLetter) { l.Kind = kindItem }), "only commands can be sent again"},
	} {
		calls := w.calls
		_, err := w.redriver().redrive(t.Context(), &c.letter)
		if _, ok := errors.AsType[*leftError](err); !ok || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" || w.calls != calls {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
	r := w.redriver()
	r.mayTwice = true
	if _, err := r.redrive(t.Context(), &uncertain); err != nil {
		t.Error(err)
	}
	if first := w.queue[len(w.queue)-1].Header["Outlook-Redrive-Uncertain"]; len(first) != 1 || first[0] != uncertain.command.Key {
		t.Errorf("the command is not told to look for %s first: %v", uncertain.command.Key, first)
	}
	expired := change(func(l *deadLetter) { l.command.Headers["outlook-expires"] = []string{"2026-01-01T00:00:00Z"} })
	r.edit.headers = [][2]string{{"Outlook-Expires", ""}}
	if p, err := r.prepare(&expired); err != nil || len(p.Header) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// TestAResolveThatStopsAnywhereCanBeDoneAgain fails each call of a resolve.
func TestAResolveThatStopsAnywhereCanBeDoneAgain(t *testing.T) {
	t.Parallel()
	stops := 0
	for _, after := range []bool{false, true} {
		for failAt := 1; ; failAt++ {
			w := newDLQWorld(t)
			w.lose = true
			l := w.die(onSendMail, "order-7", aMail)
			w.lose, w.failAt, w.after = false, failAt, after
			r := &resolver{letters: dlqLetters{w}, ledger: dlqLedger{w}, results: dlqLedger{w}}
			_, err := r.resolve(t.Context(), &l, "seen it", w.clock)
			if err == nil {
				break
			}
			stops++
			if _, kept := w.letters[l.Sequence]; kept {
				if _, err := r.resolve(t.Context(), &l, "seen it", w.clock); err != nil {
					t.Fatalf("call %d: %v", failAt, err)
				}
			}
			checkResolved(t, w)
		}
	}
	if stops != 8 {
		t.Errorf("%d stops, want 8: load, save, result and letter, before and after", stops)
	}
}

func checkResolved(t *testing.T, w *dlqWorld) {
	t.Helper()
	var told publisher.Resolved
	if err := json.Unmarshal([]byte(w.results["order-7"]), &told); err != nil || told.Outcome.Outcome != "done" || !told.Resolved || told.Note != "seen it" ||
		told.Error != nil || told.Status != 504 || !strings.Contains(string(told.Body), "by a person") {
		t.Errorf("the result is %s: %v", w.results["order-7"], err)
	}
	if len(w.letters) != 0 {
		t.Errorf("%d letters", len(w.letters))
	}
	// Whoever sends the same again is told so; nothing goes out.
	w.forget()
	w.publish(onSendMail, jet.Header{"Nats-Msg-Id": {"order-7"}}, aMail)
	w.work()
	if w.effects[aBody] != 1 || len(w.letters) != 0 || !strings.Contains(w.results["order-7"], `"outcome":"done"`) || !strings.Contains(w.results["order-7"], "by a person") {
		t.Errorf("afterwards: effects %v, %d letters, result %s", w.effects, len(w.letters), w.results["order-7"])
	}
}

func TestAResolveGivesWayToAWorker(t *testing.T) {
	t.Parallel()
	w := newDLQWorld(t)
	w.lose = true
	l := w.die(onSendMail, "order-7", aMail)
	w.between = func(call int) {
		if call == 2 { // the record is loaded and not yet saved
			record := w.records["send-mail.order-7"]
			w.records["send-mail.order-7"] = jetRecord{record.data, record.rev + 1}
		}
	}
	r := &resolver{letters: dlqLetters{w}, ledger: dlqLedger{w}, results: dlqLedger{w}}
	if _, err := r.resolve(t.Context(), &l, "seen it", w.clock); err != nil {
		t.Fatal(err)
	}
	checkResolved(t, w)
}
