package worker_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
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

	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
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
		"Outlook-Entity": {"mail.message.delta"}, "Outlook-Id": {body.ID}, "Outlook-Change": {"created"},
		"ce-specversion": {"1.0"}, "ce-type": {"outlook.message.created"}, "ce-subject": {body.ID},
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
    delivery: at_most_once
    settle: 1s
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
	if first(update.Header["Outlook-Change"]) != "updated" || first(update.Header["Outlook-Id"]) != id {
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
	if h := deletion.Header; first(h["Outlook-Change"]) != "deleted" || first(h["Outlook-Reason"]) != "moved" || h["Outlook-Verified"] != nil ||
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
	if subjectsOf(last)[0] != "a new one" || first(last[0].Header["Outlook-Change"]) != "created" {
		t.Errorf("the first after the snapshot: %q %v", subjectsOf(last), last[0].Header)
	}
}

// TestAnItemTooLargeForAMessageLiesInTheObjectStore has one over the server's
// max_payload between two that are not.
func TestAnItemTooLargeForAMessageLiesInTheObjectStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := w.startNATS(freeAddress(t), func(o *embedded.Options) { o.MaxPayload = 64 << 10 })
	r := w.start(w.config(setting{nats: external(server.address), selected: "subject,receivedDateTime,body"})).signedIn().primed()
	large := strings.Repeat("large ", 20_000)
	for _, mail := range []sandbox.Mail{{Subject: "before"}, {Subject: "large", Body: large}, {Subject: "after"}} {
		mail.To = []string{ann}
		if _, err := w.Deliver(mail); err != nil {
			t.Fatal(err)
		}
	}
	var subjects []string
	for _, e := range r.events(3) {
		name := first(e.Header["Outlook-Blob"])
		if name == "" {
			subjects = append(subjects, subjectsOf([]jet.Event{e})...)
			continue
		}
		if want := fmt.Sprintf(`{"id":%q}`, first(e.Header["Outlook-Id"])); string(e.Data) != want {
			t.Errorf("body %s, want %s", e.Data, want)
		}
		body, err := r.Conn().GetBlob(t.Context(), name)
		var item struct {
			Subject string
			Body    struct{ Content string }
		}
		if err != nil || json.Unmarshal(body, &item) != nil || item.Body.Content != large {
			t.Errorf("object %s: %v %.200s", name, err, body)
		}
		if sum := sha256.Sum256(body); first(e.Header["Outlook-Blob-Sha256"]) != hex.EncodeToString(sum[:]) {
			t.Errorf("sum %v", e.Header["Outlook-Blob-Sha256"])
		}
		subjects = append(subjects, item.Subject)
	}
	once(t, "events", []string{"after", "before", "large"}, subjects)
	if letters := r.dead(); len(letters) != 0 {
		t.Errorf("dead letters %+v", letters)
	}
}
