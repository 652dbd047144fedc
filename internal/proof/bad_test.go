//go:build unix

package proof_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestProofBadMessages publishes commands that can never be done, each between
// good ones: each must become a dead letter with a sentence that says what is
// wrong, and must hold nobody up.
func TestProofBadMessages(t *testing.T) {
	together(t)
	w := newWorld(t, setting{people: 2, extra: `
  - name: many
    client: contoso
    entities: ["mail.message.*"]
    mailboxes: [me]
    delivery: at_most_once
`})
	p := w.start("--roles", "tokens,http")
	w.signIn(w.up(p))
	p.stop()
	p = w.start()
	w.up(p)
	witness := w.openWitness()

	// Each sentence must name the cause (says) and the thing (names).
	bad := []struct{ id, publisher, data, says, names string }{
		{"no-json", "send-mail", `{"payload": {"message": }}`, "is not JSON", "line 1, column 25"},
		{"not-utf8", "send-mail", "{\"payload\": {\"message\": {\"subject\": \"\xff\"}}}", "is not JSON", "UTF-8"},
		{"empty", "send-mail", ``, "is empty", "message"},
		{"a-list", "send-mail", `[1, 2]`, "must be a JSON object", "an array"},
		{"member", "send-mail", `{"paylaod": {}}`, "unknown member", `"paylaod"`},
		{"member-twice", "send-mail", `{"payload": {}, "payload": {}}`, "twice", "/payload"},
		{"entity", "send-mail", `{"entity": "mail.message.delete", "path": {"message-id": "1"}}`, "send-mail may not do", "mail.message.delete"},
		{"entity-of-nobody", "many", `{"entity": "mail.message.explode"}`, "mail.message.explode", "no "},
		{"mailbox", "send-mail", `{"mailbox": "ben@contoso.example", "payload": {}}`, "send-mail may not use the mailbox", `"ben@contoso.example"`},
		{"mailbox-by-path", "many", `{"entity": "mail.message.delete", "path": {"message-id": "../../users/ben@contoso.example/messages/1"}}`, "path parameter message-id", "dot segment"},
		{"reads", "many", `{"entity": "mail.message.get", "path": {"message-id": "1"}}`, "only reads", "mail.message.get"},
		{"publisher", "No_body", `{"payload": {}}`, "No_body", "publisher"}, // a name that no configuration can have: others are left to other workers for minutes
	}
	good := func(id string) {
		if _, err := witness.publish(t.Context(), "outlook.publish.send-mail", id, sendMail("mail of "+id)); err != nil {
			t.Fatal(err)
		}
	}
	good("good-before")
	for _, b := range bad {
		if _, err := witness.publish(t.Context(), "outlook.publish."+b.publisher, b.id, []byte(b.data)); err != nil {
			t.Fatal(err)
		}
	}
	good("good-after")

	complete := waited(t.Context(), 30*time.Second, 100*time.Millisecond, func() bool {
		n, err := witness.count(t.Context(), "OUTLOOK_RESULT", "outlook.result.>")
		return err == nil && n == uint64(len(bad)+2)
	})
	e := gather(t, &traffic{graph: w.graph}, witness)
	outcomes := e.outcomes
	if !complete || e.queued > 0 {
		t.Errorf("the queue stands still: %d outcomes of %d, %d commands in the queue", len(outcomes), len(bad)+2, e.queued)
	}
	for _, id := range []string{"good-before", "good-after"} {
		if outcomes[id].Outcome != "done" || e.sent["mail of "+id] != 1 {
			t.Errorf("%s is %+v and was sent %d times, want done and once", id, outcomes[id], e.sent["mail of "+id])
		}
	}
	letters := listed(t, w)
	for _, b := range bad {
		o := outcomes[b.id]
		if o.Outcome != "failed" || o.Error == nil || o.Error.Code == "" || o.Attempts != 0 || e.letters[b.id] != 1 {
			t.Errorf("%s: outcome %+v with %d dead letters, want failed without an attempt and one letter", b.id, o, e.letters[b.id])
			continue
		}
		if text := o.Error.Message; !strings.Contains(text, b.says) || !strings.Contains(text+" "+o.Error.Hint, b.names) {
			t.Errorf("%s: %q (%q) does not say %q of %q", b.id, text, o.Error.Hint, b.says, b.names)
		}
		if !slices.Contains(letters, o.Error.Message) {
			t.Errorf("%s: dlq list does not show %q, but %q", b.id, o.Error.Message, letters)
		}
		t.Logf("%-16s %s: %s  Try: %s", b.id, o.Error.Code, o.Error.Message, o.Error.Hint)
	}
	if len(e.sent) != 2 {
		t.Errorf("sent: %v, want the two good ones", e.sent)
	}
	if text, _, code := call(t, w.dir, "dlq", "list"); code != 0 || !strings.Contains(text, `unknown member "paylaod"`) {
		t.Errorf("dlq list: exit code %d\n%s", code, text)
	}
	p.stop()
	report(t, p.stumbles())
}

// listed returns the sentences of the dead letters as dlq list shows them.
func listed(t *testing.T, w *world) (sentences []string) {
	t.Helper()
	stdout, stderr, code := call(t, w.dir, "dlq", "list", "--output", "json")
	var list []struct{ Error string }
	if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != 0 {
		t.Fatalf("dlq list: exit code %d, %v\n%s%s", code, err, stdout, stderr)
	}
	for _, letter := range list {
		sentences = append(sentences, letter.Error)
	}
	return sentences
}
