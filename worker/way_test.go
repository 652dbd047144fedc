package worker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"outlook-connector/internal/sandbox"
	"outlook-connector/publisher"
	"outlook-connector/worker"
)

// TestACommandBecomesAMailAndAMailAnEvent is the whole way, in both directions.
func TestACommandBecomesAMailAndAMailAnEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{})
	r := w.start(c).signedIn().primed()

	// The sender is somebody with a plain NATS client.
	options, err := worker.ConnectOptions(c)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := nats.Connect(options.URL, nats.UserInfo(options.User, options.Password.Reveal()))
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	reply, err := sender.SubscribeSync(nats.NewInbox())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Second)
	receipt, err := sender.RequestMsg(&nats.Msg{
		Subject: "outlook.publish.send-mail", Data: []byte(mail("Hello from NATS")), Header: nats.Header{"Outlook-Reply-To": {reply.Subject}},
	}, patience)
	if err != nil {
		t.Fatal(err)
	}
	var stored struct {
		Stream string
		Seq    uint64
	}
	if err := json.Unmarshal(receipt.Data, &stored); err != nil || stored.Stream != "OUTLOOK_PUBLISH" {
		t.Fatalf("receipt %s: %v", receipt.Data, err)
	}
	id := fmt.Sprintf("%s-%d", stored.Stream, stored.Seq)
	got := r.outcome(id)
	effects := w.Effects()
	if len(effects) != 1 || effects[0].Subject != "Hello from NATS" || !slices.Equal(effects[0].Delivered, []string{ben}) || effects[0].Mailbox != ann {
		t.Fatalf("effects %+v", effects)
	}
	want := publisher.Outcome{
		ID: id, Publisher: "send-mail", Mailbox: "me", Entity: "mail.message.sendMail", Outcome: "done", Status: 202, Attempts: 1,
		RequestID: effects[0].RequestID, ClientRequestID: effects[0].ClientRequestID, ReceivedAt: got.ReceivedAt, FinishedAt: got.FinishedAt,
	}
	if diff := cmp.Diff(want, got); diff != "" || got.RequestID == "" || got.ClientRequestID == "" {
		t.Errorf("outcome (-want +got):\n%s", diff)
	}
	if got.ReceivedAt.Before(began) || got.FinishedAt.Before(got.ReceivedAt) || got.FinishedAt.After(time.Now()) {
		t.Errorf("received at %s, finished at %s", got.ReceivedAt, got.FinishedAt)
	}
	copied, err := reply.NextMsg(patience)
	var told publisher.Outcome
	if err != nil || json.Unmarshal(copied.Data, &told) != nil || cmp.Diff(got, told) != "" {
		t.Errorf("reply %v: %v", copied, err)
	}
	if n := r.held(); n != 0 {
		t.Errorf("%d commands are still in the queue", n)
	}

	w.deliver("From outside")
	event := r.events(1)[0]
	if event.Subject != "outlook.event.inbox.me" {
		t.Errorf("subject %s", event.Subject)
	}
	if !bytes.Contains(w.seen(), event.Data) {
		t.Errorf("the body is not what Graph gives, byte for byte:\n%s\n%s", event.Data, w.seen())
	}
	var body struct{ ID, Subject string }
	if err := json.Unmarshal(event.Data, &body); err != nil || body.Subject != "From outside" {
		t.Errorf("body %s: %v", event.Data, err)
	}
	at, err := time.Parse(time.RFC3339, first(event.Header["ce-time"]))
	if err != nil || time.Since(at) > time.Minute {
		t.Errorf("ce-time %q: %v", event.Header["ce-time"], err)
	}
	headers := map[string][]string{
		"Outlook-Subscription": {"inbox"}, "Outlook-Client": {"contoso"}, "Outlook-Mailbox": {"me"},
		"Outlook-Entity": {"mail.message.delta"}, "Outlook-Id": {body.ID}, "Outlook-Change": {"changed"},
		"ce-specversion": {"1.0"}, "ce-type": {"outlook.message.changed"}, "ce-subject": {body.ID},
		"content-type": {"application/json"}, "ce-datacontenttype": {"application/json"},
		"Nats-TTL": {"604800"}, // 168h, the default of ttl
		// These differ each time and are looked at below.
		"ce-id": event.Header["ce-id"], "ce-time": event.Header["ce-time"], "ce-source": event.Header["ce-source"],
	}
	if diff := cmp.Diff(headers, event.Header); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	if source := first(event.Header["ce-source"]); !strings.HasPrefix(source, "/outlook/contoso.example/me/") {
		t.Errorf("ce-source %q", source)
	}
	if len(first(event.Header["ce-id"])) < 16 {
		t.Errorf("ce-id %q", event.Header["ce-id"])
	}
	w.quietRounds(2)
	if n := r.stored(); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

// seen returns what Graph gives of ann's inbox, asked as the worker asks.
func (w *world) seen() []byte {
	w.t.Helper()
	token, err := w.Token(ann, "Mail.Read")
	if err != nil {
		w.t.Fatal(err)
	}
	target := w.GraphURL() + "/me/mailFolders/inbox/messages/delta?$select=subject,from,receivedDateTime"
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, target, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Prefer", `IdType="ImmutableId"`)
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s %v %s", resp.Status, err, body)
	}
	return body
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// write is a publisher of several entities.
const write = `
  - name: write
    client: contoso
    entities: ["mail.message.*"]
`

// TestPATCHAndDELETEHaveTheirEffect also shows the life of a mail as events.
func TestPATCHAndDELETEHaveTheirEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{publishers: write})).signedIn().primed()
	w.deliver("Read me and throw me away")
	id := first(r.events(1)[0].Header["Outlook-Id"])

	changed := r.done(r.publish("write", nil, fmt.Sprintf(`{"entity": "mail.message.update", "path": {"message-id": %q}, "payload": {"isRead": true}}`, id)))
	if changed.Status != 200 || changed.ItemID == "" || !bytes.Contains(changed.Body, []byte(`"isRead":true`)) {
		t.Errorf("outcome of PATCH: %+v\n%s", changed, changed.Body)
	}
	if box := w.folder("inbox"); len(box) != 1 || !box[0].IsRead {
		t.Errorf("inbox after PATCH: %+v", box)
	}
	update := r.events(2)[1]
	if first(update.Header["Outlook-Change"]) != "changed" || first(update.Header["Outlook-Id"]) != id {
		t.Errorf("event of the update: %v", update.Header)
	}

	// By its title, and with the reference's name of the parameter.
	gone := r.done(r.publish("write", nil, fmt.Sprintf(`{"entity": "Mail - Delete message", "path": {"id": %q}}`, id)))
	if gone.Status != 204 {
		t.Errorf("outcome of DELETE: %+v", gone)
	}
	if in, out := w.folder("inbox"), w.folder("deleteditems"); len(in) != 0 || len(out) != 1 {
		t.Errorf("inbox %+v, deleted items %+v", in, out)
	}
	deletion := r.events(3)[2]
	if h := deletion.Header; first(h["Outlook-Change"]) != "deleted" || first(h["Outlook-Verified"]) != "false" ||
		first(h["Outlook-Id"]) != id || first(h["ce-type"]) != "outlook.message.deleted" {
		t.Errorf("event of the deletion: %v", h)
	}
	if !bytes.Contains(deletion.Data, []byte(`"@removed"`)) {
		t.Errorf("body of the deletion: %s", deletion.Data)
	}
}

func (w *world) folder(name string) []sandbox.Stored {
	w.t.Helper()
	list, err := w.Stored(ann, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

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
		{publisher: "nobody", body: mail("to nobody"), code: "publisher_unknown", says: "nobody"},
		{publisher: "write", body: `{"entity": "mail.message.delete", "path": {"message-id": "../../users"}}`, code: "path_refused", says: "message-id"},
		// Graph itself refuses these.
		{publisher: "send-mail", body: `{"payload": {"message": {"subject": "nobody gets it"}}}`, code: "ErrorInvalidRecipients", says: "recipient", attempts: 1},
		{publisher: "write", body: `{"entity": "mail.message.delete", "path": {"message-id": "AAMkAGnone"}}`, code: "ErrorInvalidIdMalformed", says: "400", attempts: 1},
	}
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
	until(t, "an empty queue", func() bool { return r.held() == 0 })
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

// TestStartAllTellsWhatIsThere is a first full read over several pages.
func TestStartAllTellsWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 60 {
		want = append(want, fmt.Sprintf("mail %02d", i))
	}
	w.deliver(want...)
	r := w.start(w.config(setting{start: "all"})).signedIn()
	events := r.events(len(want))
	for _, e := range events {
		if first(e.Header["Outlook-Change"]) != "snapshot" {
			t.Errorf("change %v", e.Header["Outlook-Change"])
		}
	}
	got := subjectsOf(events)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("subjects (-want +got):\n%s", diff)
	}
	w.deliver("a new one")
	last := r.events(len(want) + 1)[len(want):]
	if subjectsOf(last)[0] != "a new one" || first(last[0].Header["Outlook-Change"]) != "changed" {
		t.Errorf("the first after the snapshot: %q %v", subjectsOf(last), last[0].Header)
	}
}
