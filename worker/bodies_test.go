package worker_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/jet"
)

// picture is a small PNG.
func picture(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := png.Encode(&out, image.NewGray(image.Rect(0, 0, 64, 64))); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// store puts a body into the object store, as a sender with any client would.
func (r *running) store(name string, body []byte) {
	r.w.t.Helper()
	if _, _, _, err := r.Conn().PutBlobFrom(r.w.t.Context(), name, bytes.NewReader(body)); err != nil {
		r.w.t.Fatal(err)
	}
}

// read reads from the sandbox as ann, beside the connector.
func (w *world) read(path, scopes string) (status int, body []byte) {
	w.t.Helper()
	token, err := w.Token(ann, scopes)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.GraphURL()+path, http.NoBody)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, body
}

// TestBodiesThatAreNoJSONObjectGoAllTheWay goes from NATS to Graph with pictures,
// mails as MIME and what lies in the object store.
func TestBodiesThatAreNoJSONObjectGoAllTheWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{publishers: `
  - {name: photos, client: contoso, entity: users.photo.update}
  - name: mails
    client: contoso
    entities: ["mail.message.*"]
    limits: {from: [` + ann + `], recipients: 2}
`})
	c.Clients[0].Scopes = append(c.Clients[0].Scopes, "User.ReadWrite")
	r := w.start(c).signedIn()
	photo := picture(t)

	r.done(r.publish("photos", nil, `{"payload":"`+base64.StdEncoding.EncodeToString(photo)+`"}`))
	if status, got := w.read("/me/photo/$value", "User.Read"); status != http.StatusOK || !bytes.Equal(got, photo) {
		t.Errorf("the photo is %d with %d bytes, want %d", status, len(got), len(photo))
	}
	jpeg := []byte("\xff\xd8\xff\xe0 not much of a picture")
	r.store("photo-of-ann", jpeg)
	r.done(r.publish("photos", nil, `{"payload_blob":"OUTLOOK_BLOB/photo-of-ann"}`))
	if _, got := w.read("/me/photo/$value", "User.Read"); !bytes.Equal(got, jpeg) {
		t.Errorf("the photo has %d bytes, want %d", len(got), len(jpeg))
	}

	raw := func(subject, to string) []byte {
		return fmt.Appendf(nil, "From: Ann <%s>\r\nTo: %s\r\nSubject: %s\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n", ann, to, subject)
	}
	r.done(r.publish("mails", nil, `{"entity":"mail.message.sendMail","payload":"`+base64.StdEncoding.EncodeToString(raw("MIME in the message", ben))+`"}`))
	r.store("draft", raw("MIME in the store", ben))
	draft := r.done(r.publish("mails", nil, `{"entity":"mail.message.create","payload_blob":"OUTLOOK_BLOB/draft"}`))
	if draft.ItemID == "" || draft.Status != http.StatusCreated {
		t.Errorf("draft %+v", draft)
	}
	r.done(r.publish("mails", nil, `{"entity":"mail.message.send","path":{"id":"`+draft.ItemID+`"}}`))
	r.store("large", []byte(strings.TrimSuffix(strings.TrimPrefix(mail("JSON in the store"), `{"payload":`), "}")))
	// The body comes after its command.
	late := r.publish("mails", nil, `{"entity":"mail.message.sendMail","payload_blob":"OUTLOOK_BLOB/late"}`)
	r.done(r.publish("mails", nil, `{"entity":"mail.message.sendMail","payload_blob":"OUTLOOK_BLOB/large"}`))
	r.store("late", raw("MIME that came late", ben))
	r.done(late)
	want := []string{"MIME in the message", "MIME in the store", "JSON in the store", "MIME that came late"}
	if sent := w.sent(); !slices.Equal(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}

	r.store("huge", make([]byte, 5<<20))
	for body, code := range map[string]string{
		`{"entity":"mail.message.create","payload_blob":"OUTLOOK_BLOB/huge"}`:                                                                              "too_large",
		`{"entity":"mail.message.sendMail","payload":"` + base64.StdEncoding.EncodeToString(raw("to all", "a@b.example, c@d.example, e@f.example")) + `"}`: "too_many_recipients",
		`{"entity":"mail.message.create","payload":{"from":{"emailAddress":{"address":"` + ben + `"}}}}`:                                                   "from_not_allowed",
		`{"entity":"mail.message.create","payload_blob":"OTHER/draft"}`:                                                                                    "bad_blob",
	} {
		if o := r.outcome(r.publish("mails", nil, body)); o.Error == nil || o.Error.Code != code || o.Error.Hint == "" {
			t.Errorf("%s: %+v, want %s", body, o.Error, code)
		}
	}
}

// TestABatchOfAllowedPartsIsDoneAndIdsAreThoseOfTheEvents also shows that an
// outcome's id is good for the item after it was moved.
func TestABatchOfAllowedPartsIsDoneAndIdsAreThoseOfTheEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{publishers: `
  - {name: all, client: contoso, entities: ["batch.batch.send", "mail.message.*"]}
`})).signedIn().primed()
	draft := r.done(r.publish("all", nil, `{"entity":"mail.message.create","payload":{"subject":"one"}}`)).ItemID
	r.done(r.publish("all", nil, `{"entity":"mail.message.move","path":{"id":"`+draft+`"},"payload":{"destinationId":"inbox"}}`))
	event := r.events(1)[0]
	if id := first(event.Header["Outlook-Id"]); id != draft {
		t.Errorf("the event's id is %s, the outcome's %s", id, draft)
	}
	o := r.done(r.publish("all", jet.Header{"Nats-Msg-Id": {"batch-1"}}, `{"entity":"batch.batch.send","payload":{"requests":[
		{"id":"1","method":"PATCH","url":"/me/messages/`+draft+`","body":{"isRead":true}},
		{"id":"2","method":"POST","url":"/me/messages","body":{"subject":"two"}},
		{"id":"3","method":"DELETE","url":"/me/messages/AAMkAGnone"}]}}`))
	for _, want := range []string{`"status":201`, `"status":200`, `"status":400`, draft} {
		if !strings.Contains(string(o.Body), want) {
			t.Errorf("the outcome has no %s:\n%s", want, o.Body)
		}
	}
	if o := r.outcome(r.publish("all", nil, `{"entity":"batch.batch.send","payload":{"requests":[{"id":"1","method":"POST","url":"/me/sendMail","body":{}}]}}`)); o.Error == nil || o.Error.Code != "batch_part_sends" {
		t.Errorf("a batch that sends: %+v", o)
	}
}
