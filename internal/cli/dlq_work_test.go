package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
)

// TestNATSThatFailsHalfWayIsToldWithWhatWasDone: five letters, and NATS goes at
// the third.
func TestNATSThatFailsHalfWayIsToldWithWhatWasDone(t *testing.T) {
	t.Parallel()
	for _, output := range []string{"text", "json"} {
		w := newDLQWorld(t)
		w.refuse = true
		var found letterChoice
		for i := range 5 {
			found.named = append(found.named, w.die(onSendMail, "", fmt.Sprintf(`{"payload":{"message":{"subject":"%d"}}}`, i)))
		}
		w.refuse = false
		w.failAt = 3*2 + 2 // ledger, queue and letter of two, then the queue
		var out, errOut bytes.Buffer
		a := &app{out: &out, err: &errOut, output: output}
		redrive := func(found letterChoice) error {
			return a.workThrough(t.Context(), box{}, found, work{done: "sent again", again: "run it again", one: func(ctx context.Context, l *deadLetter) (worked, error) {
				done, err := w.redriver().redrive(ctx, l)
				return worked{value: done, line: "redriven " + done.Key}, err
			}})
		}
		err := redrive(found)
		if err == nil || !strings.HasPrefix(err.Error(), "2 of 5 dead letters sent again, then: ") || fault.HintOf(err) != "run it again" {
			t.Errorf("%v, hint %q", err, fault.HintOf(err))
		}
		if output == "json" {
			var done []redriven
			if err := json.Unmarshal(out.Bytes(), &done); err != nil || len(done) != 2 || done[1].Letter != 2 {
				t.Errorf("%s: %v", &out, err)
			}
		} else if got := out.String(); got != "redriven OUTLOOK_PUBLISH-1/r1\nredriven OUTLOOK_PUBLISH-2/r1\n" {
			t.Errorf("printed %q", got)
		}
		if len(w.letters) != 3 {
			t.Errorf("%d letters are left", len(w.letters))
		}
		var rest letterChoice
		for sequence := range w.letters {
			rest.named = append(rest.named, w.letter(sequence))
		}
		if err := redrive(rest); err != nil {
			t.Error(err)
		}
		w.work()
		if len(w.letters) != 0 || len(w.effects) != 5 {
			t.Errorf("%d letters, effects %v", len(w.letters), w.effects)
		}
	}
}

// TestALetterGoesOnlyOnceItIsPrinted: what was to be kept in a file is in it, or
// stays.
func TestALetterGoesOnlyOnceItIsPrinted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		room, gone, printed int
		failAt              int
	}{
		{room: 1 << 20, gone: 3, printed: 3},
		{room: 1 << 20, gone: 1, printed: 2, failAt: 2},
		{room: 10},
	} {
		w := newDLQWorld(t)
		w.refuse = true
		var found letterChoice
		for range 3 {
			found.named = append(found.named, w.die(onSendMail, "", aMail))
		}
		w.failAt = c.failAt
		out := &disk{room: c.room}
		a := &app{out: out, err: &bytes.Buffer{}, output: "json"}
		err := a.workThrough(t.Context(), box{}, found, work{
			done: "discarded",
			one:  func(_ context.Context, l *deadLetter) (worked, error) { return worked{value: l}, nil },
			last: func(ctx context.Context, l *deadLetter) error { return dlqLetters{w}.Delete(ctx, l.Sequence) },
		})
		if (err == nil) != (c.gone == 3) || len(w.letters) != 3-c.gone {
			t.Errorf("room for %d bytes, call %d fails: %v, %d letters left", c.room, c.failAt, err, len(w.letters))
		}
		if c.printed > 0 {
			var letters []deadLetter
			if err := json.Unmarshal(out.written.Bytes(), &letters); err != nil || len(letters) != c.printed {
				t.Errorf("printed %s: %v", out.written.Bytes(), err)
			}
		}
	}
}

// disk has room for some bytes.
type disk struct {
	written bytes.Buffer
	room    int
}

func (d *disk) Write(p []byte) (int, error) {
	if d.written.Len()+len(p) > d.room {
		return 0, fmt.Errorf("no space left")
	}
	return d.written.Write(p)
}

func TestHowLettersAreShown(t *testing.T) {
	t.Parallel()
	w := newDLQWorld(t)
	w.lose = true
	l := w.die(onSendMail, "order-7", `{"payload":{"message":{"subject":"Quarter \u001b[31mreport"}}}`)
	l.Letter = []byte(strings.Replace(string(l.Letter), `"outcome":{`, `"evidence":{"draft":"AAMk"},"outcome":{"looked":2,`, 1))
	l.Ledger = &recordShown{State: "uncertain", Step: "send", Looked: 2}
	var out bytes.Buffer
	a := &app{out: &out, output: "text"}
	if err := a.showLetter(&l); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"outcome            uncertain\n", "message            order-7\n", "last answer        504\n", `evidence           {"draft":"AAMk"}`, "looked             2\n",
		"look-ups           2 looks that did not find the effect\n", "step               send\n", "ledger             send-mail.order-7: uncertain\n",
		`Look first into Sent Items and Drafts of me for a mail with the subject "Quarter �[31mreport", at about `,
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, &out)
		}
	}
	if strings.ContainsRune(out.String(), '\x1b') {
		t.Error("a stranger's text steers the terminal")
	}

	l.command.DataOmitted, l.command.Data = 99, nil
	out.Reset()
	if err := a.showLetter(&l); err != nil || !strings.Contains(out.String(), "(not kept: it has 99 bytes") || strings.Contains(out.String(), "redrive") {
		t.Errorf("without its message: %s, %v", &out, err)
	}
}
