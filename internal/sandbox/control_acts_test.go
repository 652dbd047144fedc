package sandbox_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"outlook-connector/internal/sandbox"
)

// acted is the answer of the control port.
func (w *world) acted(acts ...sandbox.Act) []sandbox.Acted {
	w.t.Helper()
	body, err := json.Marshal(map[string]any{"acts": acts})
	if err != nil {
		w.t.Fatal(err)
	}
	var answer struct{ Acts []sandbox.Acted }
	if err := json.Unmarshal(w.control(http.MethodPost, "act", string(body)).is(200).raw, &answer); err != nil {
		w.t.Fatal(err)
	}
	if len(answer.Acts) != len(acts) {
		w.t.Fatalf("%d acts have %d answers", len(acts), len(answer.Acts))
	}
	return answer.Acts
}

// act is one that must succeed, and its answer's body.
func (w *world) act(mailbox, method, path, body string) (done sandbox.Acted, object map[string]any) {
	w.t.Helper()
	done = w.acted(sandbox.Act{Mailbox: mailbox, Method: method, Path: path, Body: json.RawMessage(body)})[0]
	if done.Status >= 300 {
		w.t.Fatalf("%s %s: status %d: %s", method, path, done.Status, done.Body)
	}
	if len(done.Body) > 0 {
		if err := json.Unmarshal(done.Body, &object); err != nil {
			w.t.Fatal(err)
		}
	}
	return done, object
}

func TestActsAreDoneByNobodysApplication(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.RequestWindow(1, 1e12))
	w.KeepControl(sandbox.Match{}, sandbox.FailBefore(503, "ServiceUnavailable", ""))
	before, effects := len(w.Requests()), len(w.Effects())
	for range 5 {
		w.act(ann, http.MethodGet, "messages", "")
	}
	w.act(ann, http.MethodPost, "sendMail", sendMail("hello", ben))
	if list, err := w.Stored(ben, "inbox"); err != nil || len(list) != 1 {
		t.Errorf("ben has %d mails (%v)", len(list), err)
	}
	if n := len(w.Requests()); n != before {
		t.Errorf("the log has %d requests more", n-before)
	}
	if n := len(w.Effects()); n != effects+1 {
		t.Errorf("the ledger has %d effects more, want the one mail", n-effects)
	}
	answers := w.acted(
		sandbox.Act{Mailbox: ann, Method: "GET", Path: "messages/nonsense"},
		sandbox.Act{Mailbox: noPerson, Method: "GET", Path: "messages"},
		sandbox.Act{Mailbox: ann, Method: "GET", Path: "%zz"},
		sandbox.Act{Mailbox: ann, Method: "GET", Path: "mailFolders/inbox"},
	)
	var statuses []int
	for _, a := range answers {
		statuses = append(statuses, a.Status)
	}
	if !slices.Equal(statuses, []int{400, 404, 400, 200}) {
		t.Errorf("statuses %v", statuses)
	}
	w.control(http.MethodPost, "act", `{"acts": []}`).is(400)
}

func TestActsListTheirWritesInOrder(t *testing.T) {
	t.Parallel()
	w := start(t)
	check := func(what string, got sandbox.Acted, want ...sandbox.Write) {
		t.Helper()
		for i := range got.Writes {
			if i > 0 && got.Writes[i].Seq <= got.Writes[i-1].Seq {
				t.Errorf("%s: write %d has the number %d after %d", what, i, got.Writes[i].Seq, got.Writes[i-1].Seq)
			}
			got.Writes[i].Seq = 0
		}
		if !slices.Equal(got.Writes, want) {
			t.Errorf("%s: writes\n%+v, want\n%+v", what, got.Writes, want)
		}
	}
	id := func(o map[string]any) string { s, _ := o["id"].(string); return s }
	key := func(o map[string]any) string { s, _ := o["changeKey"].(string); return s }
	_, inbox := w.act(ann, "GET", "mailFolders/inbox", "")
	_, archive := w.act(ann, "GET", "mailFolders/archive", "")
	_, root := w.act(ann, "GET", "mailFolders/msgfolderroot", "")

	done, m := w.act(ann, "POST", "mailFolders/inbox/messages", mail("one"))
	check("create", done, sandbox.Write{Mailbox: ann, What: "message", ID: id(m), ChangeKey: key(m), In: id(inbox)})
	first := key(m)
	done, m = w.act(ann, "PATCH", "messages/"+url.PathEscape(id(m)), `{"isRead":true}`)
	if key(m) == first {
		t.Error("the change key is as it was")
	}
	check("update", done, sandbox.Write{Mailbox: ann, What: "message", ID: id(m), ChangeKey: key(m), In: id(inbox)})
	done, m = w.act(ann, "POST", "messages/"+id(m)+"/move", `{"destinationId":"archive"}`)
	check("move", done, sandbox.Write{Mailbox: ann, What: "message", ID: id(m), ChangeKey: key(m), In: id(archive), From: id(inbox)})
	done, _ = w.act(ann, "POST", "messages/"+id(m)+"/permanentDelete", "")
	check("delete", done, sandbox.Write{Mailbox: ann, What: "message", ID: id(m), In: id(archive), Gone: true})

	done, f := w.act(ann, "POST", "mailFolders", `{"displayName":"F"}`)
	check("folder", done, sandbox.Write{Mailbox: ann, What: "mailFolder", ID: id(f), In: id(root), Name: "F"})
	_, m = w.act(ann, "POST", "mailFolders/"+id(f)+"/messages", mail("two"))
	done, _ = w.act(ann, "POST", "mailFolders/"+id(f)+"/permanentDelete", "")
	check("folder and all", done,
		sandbox.Write{Mailbox: ann, What: "message", ID: id(m), In: id(f), Gone: true},
		sandbox.Write{Mailbox: ann, What: "mailFolder", ID: id(f), In: id(root), Name: "F", Gone: true})

	done, c := w.act(ann, "POST", "contacts", `{"givenName":"C"}`)
	check("contact", done, sandbox.Write{Mailbox: ann, What: "contact", ID: id(c), ChangeKey: key(c), In: c["parentFolderId"].(string)})
	done, _ = w.act(ann, "DELETE", "contacts/"+id(c), "")
	if len(done.Writes) != 1 || !done.Writes[0].Gone && done.Writes[0].From == "" {
		t.Errorf("delete of a contact: %+v", done.Writes)
	}

	// A mail that arrives is a write of its mailbox.
	done, _ = w.act(ann, "POST", "sendMail", sendMail("hello", ben))
	var whose []string
	for _, wr := range done.Writes {
		whose = append(whose, wr.Mailbox+" "+wr.What)
	}
	if !slices.Contains(whose, ann+" message") || !slices.Contains(whose, ben+" message") {
		t.Errorf("sendMail: writes of %v", whose)
	}
}
