package worker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

const (
	routePiece   = "/outlook-upload"
	routeSession = "/me/messages/{message-id}/attachments/createUploadSession"
)

// noise returns bytes that are different everywhere.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return data
}

// get reads what somebody has in the mailbox.
func (w *world) get(upn, path string) []byte {
	w.t.Helper()
	token, err := w.Token(upn, "Mail.ReadWrite")
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.GraphURL()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d, %v: %.300s", path, resp.StatusCode, err, body)
	}
	return body
}

// listed is a page of items.
type listed struct {
	Value []struct{ ID, Name, Subject string }
}

func (w *world) list(upn, path string) (page listed) {
	w.t.Helper()
	if err := json.Unmarshal(w.get(upn, path), &page); err != nil {
		w.t.Fatal(err)
	}
	return page
}

// wantFile fails the test unless a mail has this one file.
func (w *world) wantFile(upn, mail, name string, want []byte) {
	w.t.Helper()
	got := w.list(upn, "/me/messages/"+mail+"/attachments?$select=id,name")
	if len(got.Value) != 1 || got.Value[0].Name != name {
		w.t.Fatalf("attachments %+v", got.Value)
	}
	if file := w.get(upn, "/me/messages/"+mail+"/attachments/"+got.Value[0].ID+"/$value"); !bytes.Equal(file, want) {
		w.t.Errorf("%d bytes of %d came", len(file), len(want))
	}
}

// bigMail is a command that sends a file to ben.
func bigMail(subject, blob string) string {
	return fmt.Sprintf(`{"payload":{"message":{"subject":%q,"body":{"content":"It works."},"toRecipients":[{"emailAddress":{"address":%q}}],
		"attachments":[{"name":"file.bin","blob":%q}]}}}`, subject, ben, blob)
}

// TestALargeFileIsSent sends files from the object store with each delivery, with
// answers that are lost on the way.
func TestALargeFileIsSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{publishers: `
  - name: once
    client: contoso
    entity: mail.message.sendMail
    delivery: exactly_once
  - name: drafts
    client: contoso
    entities: [mail.message.create, mail.messageAttachment.create]`})).signedIn()
	content := noise(9_000_000)
	blob, _, _, err := r.Conn().PutBlobFrom(t.Context(), "file", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	w.ControlAim(sandbox.Match{Method: http.MethodPut, Route: routePiece}, sandbox.Aim{Skip: 1}, sandbox.ResetAfterEffect())
	w.ControlAim(sandbox.Match{Method: http.MethodPut, Route: routePiece}, sandbox.Aim{Skip: 4}, sandbox.FailAfterEffect(504, "UnknownError"))
	for _, name := range []string{"send-mail", "once"} {
		if o := r.done(r.publish(name, nil, bigMail(name, blob))); o.Status != http.StatusAccepted {
			t.Errorf("outcome %+v", o)
		}
	}
	once(t, "mails", []string{"send-mail", "once"}, w.sent())
	if n := len(w.calls(http.MethodPost, routeSend)); n != 0 {
		t.Errorf("%d mails were sent without a draft", n)
	}
	inbox := w.list(ben, "/me/mailFolders/inbox/messages?$select=id,subject")
	if len(inbox.Value) != 2 {
		t.Fatalf("ben has %+v", inbox.Value)
	}
	for _, mail := range inbox.Value {
		w.wantFile(ben, mail.ID, "file.bin", content)
	}

	// A draft with a file, and a file for a draft.
	made := r.done(r.publish("drafts", nil, fmt.Sprintf(`{"entity":"mail.message.create","payload":{"subject":"draft","attachments":[{"name":"file.bin","blob":%q}]}}`, blob)))
	w.wantFile(ann, made.ItemID, "file.bin", content)
	empty := r.done(r.publish("drafts", nil, `{"entity":"mail.message.create","payload":{"subject":"empty"}}`))
	added := r.done(r.publish("drafts", nil, fmt.Sprintf(`{"entity":"mail.messageAttachment.create","path":{"message-id":%q},"payload":{"name":"file.bin","blob":%q}}`, empty.ItemID, blob)))
	if w.wantFile(ann, empty.ItemID, "file.bin", content); added.Status != http.StatusCreated {
		t.Errorf("outcome %+v", added)
	}

	// What Graph would refuse is refused before anything is asked of it.
	large, _, _, err := r.Conn().PutBlobFrom(t.Context(), "large", io.LimitReader(rand.NewChaCha8([32]byte{}), 76<<20))
	if err != nil {
		t.Fatal(err)
	}
	before := len(w.Requests())
	o := r.outcome(r.publish("send-mail", nil, fmt.Sprintf(`{"payload":{"message":{"attachments":[{"name":"a","blob":%q},{"name":"b","blob":%q}]}}}`, large, large)))
	if o.Outcome != "failed" || o.Error.Code != "attachment_too_large" || !strings.Contains(o.Error.Message, "159383552 bytes") {
		t.Errorf("outcome %+v: %+v", o, o.Error)
	}
	for _, c := range w.Requests()[before:] {
		if c.Method == http.MethodPost && strings.HasPrefix(c.Route, "/me/messages") {
			t.Errorf("request %+v", c)
		}
	}
	if n := len(w.calls(http.MethodPost, routeSession)); n != 4 {
		t.Errorf("%d upload sessions for 4 files", n)
	}
}

// TestAnUploadSurvivesItsWorker stops the worker within an upload; the next one
// goes on where it was.
func TestAnUploadSurvivesItsWorker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.config(setting{})
	r := w.start(c).signedIn()
	content := noise(9_000_000)
	blob, _, _, err := r.Conn().PutBlobFrom(t.Context(), "file", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	w.KeepControl(sandbox.Match{Method: http.MethodPut, Route: routePiece}, func(q *sandbox.Request) bool {
		if strings.HasPrefix(q.Header.Get("Content-Range"), "bytes 0-") {
			return false
		}
		q.Fail(http.StatusInternalServerError, "ErrorInternalServerError", "")
		return true
	})
	id := r.publish("send-mail", nil, bigMail("moved", blob))
	until(t, "the second piece to fail", func() bool { return len(w.calls(http.MethodPut, routePiece)) >= 2 })
	r.stop()
	w.ClearControls()
	r = w.start(c).ready()
	r.done(id)
	once(t, "mails", []string{"moved"}, w.sent())
	inbox := w.list(ben, "/me/mailFolders/inbox/messages?$select=id,subject")
	if len(inbox.Value) != 1 {
		t.Fatalf("ben has %+v", inbox.Value)
	}
	w.wantFile(ben, inbox.Value[0].ID, "file.bin", content)
	if n := len(w.calls(http.MethodPost, routeSession)); n != 1 {
		t.Errorf("%d upload sessions", n)
	}
}
