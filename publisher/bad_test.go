package publisher_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// badMessages are messages that can never succeed. What a sender is told about
// each is in testdata/bad_messages.golden.
var badMessages = []struct {
	name, publisher, data string
	headers               []string
}{
	{name: "empty", data: ""},
	{name: "blank", data: " \n "},
	{name: "no JSON", data: `hello`},
	{name: "no JSON that begins like null", data: `nonsense`},
	{name: "single quotes", data: `{'payload': {}}`},
	{name: "cut off", data: `{"payload": {"message": {`},
	{name: "wrong on the third line", data: "{\n  \"mailbox\": \"me\",\n  \"payload\" {}\n}"},
	{name: "trailing comma", data: `{"mailbox": "me",}`},
	{name: "byte order mark", data: "\xef\xbb\xbf{}"},
	{name: "UTF-16", data: "\xff\xfe{\x00}\x00"},
	{name: "no UTF-8", data: "{\"mailbox\": \"\xff\"}"},
	{name: "half a surrogate pair", data: `{"mailbox": "\ud83d"}`},
	{name: "array", data: `[{"payload": {}}]`},
	{name: "text", data: `"send"`},
	{name: "null", data: `null`},
	{name: "two objects", data: "{}\n{}"},
	{name: "a member twice", data: `{"payload": {}, "payload": {}}`},
	{name: "a member twice, deep", data: `{"payload": {"message": {"subject": "a", "subject": "b"}}}`},
	{name: "too deep", data: `{"payload":` + strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200) + "}"},
	{name: "too long", data: `{"payload": {"a": "` + strings.Repeat("x", 4<<20) + `"}}`},
	{name: "unknown member", data: `{"paylod": {}}`},
	{name: "member in capitals", data: `{"Payload": {}}`},
	{name: "body not in payload", data: `{"message": {"subject": "hi"}}`},
	{name: "mailbox is a number", data: `{"mailbox": 7}`},
	{name: "path is an array", data: `{"path": ["AAA"]}`},
	{name: "path holds an object", data: `{"path": {"message-id": {"id": "AAA"}}}`},
	{name: "payload is text", data: `{"payload": "Hello!"}`},
	{name: "payload is a number", data: `{"payload": 7}`},
	{name: "payload is base64 of no mail", data: `{"payload": "MIME"}`},
	{name: "payload is base64 where it may not be", publisher: "any", data: `{"entity": "places.place.create", "payload": "MIME"}`},
	{name: "no picture", publisher: "any", data: `{"entity": "users.photo.update", "mailbox": "ann@contoso.com", "payload": "MIME"}`},
	{name: "an object for a picture", publisher: "any", data: `{"entity": "users.photo.update", "mailbox": "ann@contoso.com", "payload": {}}`},
	{name: "content type of another body", data: `{"headers": {"Content-Type": "text/plain"}, "payload": {}}`},
	{name: "payload blob without a store", data: `{"payload_blob": "OUTLOOK_BLOB/x"}`},
	{name: "payload blob that names nothing", data: `{"payload_blob": "x"}`},
	{name: "payload and payload blob", data: `{"payload": {}, "payload_blob": "OUTLOOK_BLOB/x"}`},
	{name: "attachment by blob", data: `{"payload": {"message": {"attachments": [{"name": "a.pdf", "blob": "OUTLOOK_BLOB/x"}]}}}`},
	{name: "foreign mailbox", data: `{"mailbox": "ceo@contoso.com", "payload": {}}`},
	{name: "mailbox out of the path", data: `{"mailbox": "me/../users/ceo", "payload": {}}`},
	{name: "mailbox as path parameter", publisher: "any", data: `{"mailbox": "ann@contoso.com", "entity": "mail.message.update", "path": {"id": "A", "user-id": "ceo@contoso.com"}, "payload": {}}`},
	{name: "wrong kind of mailbox", publisher: "any", data: `{"mailbox": "a/b", "entity": "mail.message.sendMail", "payload": {}}`},
	{name: "no mailbox with any", publisher: "any", data: `{"entity": "mail.message.sendMail", "payload": {}}`},
	{name: "mailbox where there is none", publisher: "any", data: `{"mailbox": "ann@contoso.com", "entity": "places.place.create", "payload": {}}`},
	{name: "forbidden entity", data: `{"entity": "calendar.event.create", "payload": {}}`},
	{name: "unknown entity", data: `{"entity": "mail.message.sendMial", "payload": {}}`},
	{name: "no entity where there are several", publisher: "any", data: `{"mailbox": "ann@contoso.com", "payload": {}}`},
	{name: "reading", publisher: "any", data: `{"entity": "mail.message.get", "mailbox": "ann@contoso.com", "path": {"id": "A"}}`},
	{name: "batch", publisher: "any", data: `{"entity": "batch.batch.send", "payload": {"requests": []}}`},
	{name: "batch of a part that sends", publisher: "any", data: `{"entity": "batch.batch.send", "payload": {"requests": [{"id": "a", "method": "POST", "url": "/me/sendMail", "body": {}}]}}`},
	{name: "batch of a part that reads", publisher: "any", data: `{"entity": "batch.batch.send", "payload": {"requests": [{"id": "a", "method": "GET", "url": "/me/messages"}]}}`},
	{name: "change notifications", publisher: "any", data: `{"entity": "subscriptions.subscription.create", "payload": {"notificationUrl": "https://evil.example/x"}}`},
	{name: "somebody else as sender", data: `{"payload": {"message": {"from": {"emailAddress": {"address": "ceo@contoso.com"}}}}}`},
	{name: "too many recipients", data: `{"payload": {"message": {"toRecipients": [` + strings.Repeat("1,", 500) + `1]}}}`},
	{name: "wrong method", data: `{"method": "delete", "payload": {}}`},
	{name: "missing path parameter", publisher: "any", data: `{"entity": "mail.message.update", "mailbox": "ann@contoso.com", "payload": {}}`},
	{name: "path out of its template", publisher: "any", data: `{"entity": "mail.message.update", "mailbox": "ann@contoso.com", "path": {"id": "../../ceo"}, "payload": {}}`},
	{name: "empty id", publisher: "any", data: `{"entity": "mail.message.delete", "mailbox": "ann@contoso.com", "path": {"id": ""}}`},
	{name: "payload of DELETE", publisher: "any", data: `{"entity": "mail.message.delete", "mailbox": "ann@contoso.com", "path": {"id": "A"}, "payload": {}}`},
	{name: "forbidden request header", data: `{"headers": {"Authorization": "Bearer x"}, "payload": {}}`},
	{name: "idempotency key", data: `{"headers": {"Idempotency-Key": "x"}, "payload": {}}`},
	{name: "line break in a request header", data: `{"headers": {"Prefer": "x\r\nEvil: 1"}, "payload": {}}`},
	{name: "unknown publisher", publisher: "send-mial", data: aMail},
	{name: "reply anywhere", data: aMail, headers: []string{"Outlook-Reply-To", "outlook.publish.send-mail"}},
	{name: "reply to a wildcard", data: aMail, headers: []string{"Outlook-Reply-To", "_INBOX.*"}},
	{name: "looser delivery", data: aMail, headers: []string{"Outlook-Delivery", "at_least_once"}},
	{name: "unknown delivery", data: aMail, headers: []string{"Outlook-Delivery", "once"}},
	{name: "a header twice", data: aMail, headers: []string{"Outlook-Expires", "2026-01-01T00:00:00Z", "Outlook-Expires", "2027-01-01T00:00:00Z"}},
	{name: "no time", data: aMail, headers: []string{"Outlook-Not-Before", "tomorrow"}},
	{name: "too far off", data: aMail, headers: []string{"Outlook-Not-Before", "2999-01-01T00:00:00Z"}},
	{name: "expires before it begins", data: aMail, headers: []string{"Outlook-Not-Before", "2026-01-02T00:00:00Z", "Outlook-Expires", "2026-01-01T00:00:00Z"}},
	{name: "expired", data: aMail, headers: []string{"Outlook-Expires", "2020-01-01T00:00:00Z"}},
}

// TestABadMessageIsADeadLetterWithASentence also checks that nothing is sent,
// that the queue goes on, and that the letter holds the message.
func TestABadMessageIsADeadLetterWithASentence(t *testing.T) {
	t.Parallel()
	w := newWorld()
	anything := definition(t, "any", "*")
	anything.Mailboxes = []string{"*"}
	worker := w.worker(t, with(definition(t, "send-mail", "mail.message.sendMail"), anything))
	var got strings.Builder
	for i, bad := range badMessages {
		name := bad.publisher
		if name == "" {
			name = "send-mail"
		}
		m := message(name, bad.data, bad.headers...)
		m.Sequence = uint64(i + 1)
		m.Received = m.Received.Add(-10 * time.Minute) // nobody else will know the publisher
		if v := worker.Handle(t.Context(), m); !v.Ack {
			t.Fatalf("%s: verdict %+v, want an ack", bad.name, v)
		}
		o := w.outcome(t)
		if o.Outcome != "failed" || o.Error == nil || o.Attempts != 0 || o.ID != fmt.Sprintf("OUTLOOK_PUBLISH-%d", i+1) {
			t.Fatalf("%s: outcome %+v", bad.name, o)
		}
		if len(w.letters) != i+1 {
			t.Fatalf("%s: %d dead letters, want %d", bad.name, len(w.letters), i+1)
		}
		letter := w.letters[i]
		if letter.Reason != o.Error.Code || letter.Error != o.Error.Message {
			t.Errorf("%s: dead letter says %q, outcome %q", bad.name, letter.Error, o.Error.Message)
		}
		if kept := string(letter.Data) + string(letter.DataBase64); kept != bad.data {
			t.Errorf("%s: dead letter holds %q", bad.name, kept)
		}
		if ofCatalog := strings.HasPrefix(o.Error.Code, "path_") || o.Error.Code == "mailbox_refused" || o.Error.Code == "entity_unknown"; ofCatalog {
			fmt.Fprintf(&got, "%s\n  %s: (the catalogue's sentence)\n", bad.name, o.Error.Code)
			continue
		}
		fmt.Fprintf(&got, "%s\n  %s: %s\n", bad.name, o.Error.Code, o.Error.Message)
		if o.Error.Hint != "" {
			fmt.Fprintf(&got, "  Try: %s\n", o.Error.Hint)
		}
	}
	if len(w.calls) != 0 {
		t.Errorf("%d requests were made", len(w.calls))
	}
	golden(t, "bad_messages.golden", got.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got); go test -update rewrites it:\n%s", path, diff)
	}
}
