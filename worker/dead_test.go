package worker_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"outlook-connector/publisher"
)

// TestBadCommandsAreDeadLettersAndTheQueueGoesOn goes through the real queue;
// what each is told is the publisher's own test.
func TestBadCommandsAreDeadLettersAndTheQueueGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{publishers: write})).signedIn()
	bad := []struct {
		publisher, body string
		code, says      string // of the dead letter
		attempts        int
	}{
		{publisher: "send-mail", body: `hello`, code: "bad_message", says: "JSON"},
		{publisher: "send-mail", body: `{"paylod": {}}`, code: "unknown_member", says: `"paylod"`},
		{publisher: "send-mail", body: `{"entity": "calendar.event.create", "payload": {}}`, code: "entity_not_allowed", says: "calendar.event.create"},
		{publisher: "send-mail", body: `{"mailbox": "ceo@contoso.example", "payload": {}}`, code: "mailbox_not_allowed", says: "ceo@contoso.example"},
		{publisher: "write", body: `{"entity": "mail.message.delete", "path": {"message-id": "../../users"}}`, code: "path_refused", says: "message-id"},
		// Graph itself refuses these.
		{publisher: "send-mail", body: `{"payload": {"message": {"subject": "nobody gets it"}}}`, code: "ErrorInvalidRecipients", says: "recipient", attempts: 1},
		{publisher: "write", body: `{"entity": "mail.message.delete", "path": {"message-id": "AAMkAGnone"}}`, code: "ErrorInvalidIdMalformed", says: "400", attempts: 1},
	}
	// It may be another worker's, with a newer configuration, and is left to it for
	// some minutes.
	r.publish("elsewhere", nil, mail("to another worker"))
	ids := make([]string, len(bad))
	for i, b := range bad {
		ids[i] = r.publish(b.publisher, nil, b.body)
	}
	r.done(r.publish("send-mail", nil, mail("after the bad ones")))
	for i, b := range bad {
		got := r.outcome(ids[i])
		if got.Outcome != "failed" || got.Error == nil || got.Publisher != b.publisher || got.Attempts != b.attempts {
			t.Errorf("%s: outcome %+v", b.body, got)
			continue
		}
		if got.Error.Code != b.code || !strings.Contains(got.Error.Message, b.says) {
			t.Errorf("%s: the error is %+v, want the code %q and something of %s", b.body, got.Error, b.code, b.says)
		}
		letters := slices.DeleteFunc(r.dead(), func(l publisher.DeadLetter) bool { return l.ID != ids[i] })
		if len(letters) != 1 || !same(string(letters[0].Data)+string(letters[0].DataBase64), b.body) ||
			letters[0].Reason != got.Error.Code || letters[0].Subject != "outlook.publish."+b.publisher {
			t.Errorf("%s: dead letters %+v", b.body, letters)
		}
	}
	if n := len(r.dead()); n != len(bad) {
		t.Errorf("%d dead letters, want %d", n, len(bad))
	}
	if sent := w.sent(); !slices.Equal(sent, []string{"after the bad ones"}) {
		t.Errorf("sent %q", sent)
	}
	until(t, "a queue with nothing but the command for another worker", func() bool { return r.held() == 1 })
	if counts := r.status().DeadLetters; counts["publish"] != uint64(len(bad)) || counts["event"] != 0 {
		t.Errorf("status counts %v dead letters", counts)
	}
}

// same compares two messages, of which JSON may have lost its spaces.
func same(a, b string) bool {
	compact := func(text string) string {
		var buf bytes.Buffer
		if json.Compact(&buf, []byte(text)) != nil {
			return text
		}
		return buf.String()
	}
	return compact(a) == compact(b)
}

// TestAnItemThatCannotBeTransformedIsADeadLetter shows the other kind of dead
// letter; the feed goes on.
func TestAnItemThatCannotBeTransformedIsADeadLetter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{
		transform: `if .subject == "poison" then error("no") elif .subject == "drop" then empty else {subject, told: true} end`,
	})).signedIn().primed()
	w.deliver("poison", "drop", "good")
	event := r.events(1)[0]
	if string(event.Data) != `{"subject":"good","told":true}` {
		t.Errorf("event %s", event.Data)
	}
	letters, err := r.Conn().DeadLetters().List(t.Context(), "", 0)
	if err != nil || len(letters) != 1 || letters[0].Subject != "outlook.dlq.event.inbox.me" {
		t.Fatalf("dead letters %+v: %v", letters, err)
	}
	var letter struct {
		Subscription, Mailbox, Reason, Error, Hint string
		Data                                       struct{ Subject string }
	}
	if err := json.Unmarshal(letters[0].Data, &letter); err != nil || letter.Data.Subject != "poison" ||
		letter.Reason != "transform" || letter.Subscription != "inbox" || letter.Hint == "" {
		t.Errorf("dead letter %s: %v", letters[0].Data, err)
	}
	if counts := r.status().DeadLetters; counts["event"] != 1 {
		t.Errorf("status counts %v dead letters", counts)
	}
	w.quietRounds(2)
	if n := r.stored(); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}
