package worker_test

import (
	"encoding/json"
	"strings"
	"testing"

	"outlook-connector/internal/jet/embedded"
	"outlook-connector/internal/sandbox"
)

// TestADeadLetterTooLargeForNATSGoesWithoutItsItem: a feed that waited for room
// for the letter would stop at this mail for good.
func TestADeadLetterTooLargeForNATSGoesWithoutItsItem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t), func(o *embedded.Options) { o.MaxPayload = 1 << 20 })
	r := w.start(w.config(setting{
		nats: external(server.address), selected: "subject,receivedDateTime,body",
		transform: `if .subject == "large" then error("no") else {subject} end`,
	})).signedIn().primed()
	body := strings.Repeat("thirteen chr ", 100_000)
	if _, err := w.Deliver(sandbox.Mail{To: []string{ann}, Subject: "large", Body: body}); err != nil {
		t.Fatal(err)
	}
	w.deliver("after")
	once(t, "events", []string{"after"}, subjectsOf(r.events(1)))

	stored, err := r.Conn().DeadLetters().List(t.Context(), "", 0)
	if err != nil || len(stored) != 1 || stored[0].Subject != "outlook.dlq.event.inbox.me" {
		t.Fatalf("%d dead letters: %v", len(stored), err)
	}
	var letter struct {
		Reason, Hint string
		Headers      map[string]string
		Data         json.RawMessage
		DataBase64   []byte `json:"data_base64"`
		DataOmitted  int    `json:"data_omitted"`
	}
	if err := json.Unmarshal(stored[0].Data, &letter); err != nil {
		t.Fatalf("%v in %.500s", err, stored[0].Data)
	}
	if letter.DataOmitted <= len(body) || letter.Data != nil || letter.DataBase64 != nil {
		t.Errorf("data_omitted %d of a body of %d bytes, with %d bytes of data", letter.DataOmitted, len(body), len(letter.Data)+len(letter.DataBase64))
	}
	if letter.Reason != "transform" || letter.Hint == "" || letter.Headers["Outlook-Id"] == "" {
		t.Errorf("dead letter %s", stored[0].Data)
	}
	w.quietRounds(2)
	if n := r.stored(); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}
