package worker_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
)

// TestWhatIsReadBesideAPageComesWhole runs the ways by which single things are
// read (a batch, a stream, the object store) through a whole worker.
func TestWhatIsReadBesideAPageComesWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(file) // never fails
	text := strings.NewReplacer("\n", "\r\n").Replace(`From: sender@fabrikam.example
To: ` + ben + `
Subject: With a file
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain

Hello.
--b
Content-Type: application/octet-stream; name="noise.bin"
Content-Disposition: attachment; filename="noise.bin"
Content-Transfer-Encoding: base64

` + base64.StdEncoding.EncodeToString(file) + `
--b--
`)
	if _, err := w.Deliver(sandbox.Mail{To: []string{ben}, MIME: text}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Deliver(sandbox.Mail{To: []string{ben}, Subject: "Small", Body: "Hello."}); err != nil {
		t.Fatal(err)
	}
	r := w.start(w.subscribing(`
  - {name: files, client: contoso, entity: mail.message.delta, folders: [inbox], start: all, attachments: blob}
  - {name: raw, client: contoso, entity: mail.message.delta, path: {mailFolder-id: inbox}, start: all, mime: true}
`)).ready()
	if _, err := sandbox.SignIn(t.Context(), w.http, r.HTTPURL()+"/oauth/start/contoso", ben); err != nil {
		t.Fatal(err)
	}
	byName := make(map[string][]jet.Event)
	for _, e := range r.events(4) {
		name := first(e.Header["Outlook-Subscription"])
		byName[name] = append(byName[name], e)
	}
	if len(byName["files"]) != 2 || len(byName["raw"]) != 2 {
		t.Fatalf("%d events with files, %d raw", len(byName["files"]), len(byName["raw"]))
	}
	sum := sha256.Sum256(file)
	found := false
	for _, e := range byName["files"] {
		var mail struct {
			Subject     string
			Attachments []struct {
				Name, Blob, SHA256 string
				Size               int
			}
		}
		if err := json.Unmarshal(e.Data, &mail); err != nil {
			t.Fatalf("%v\n%s", err, e.Data)
		}
		if mail.Subject != "With a file" {
			continue
		}
		found = true
		if len(mail.Attachments) != 1 || mail.Attachments[0].Size != len(file) || mail.Attachments[0].SHA256 != hex.EncodeToString(sum[:]) {
			t.Fatalf("attachments %+v\n%.500s", mail.Attachments, e.Data)
		}
		if got, err := r.Conn().GetBlob(t.Context(), mail.Attachments[0].Blob); err != nil || !bytes.Equal(got, file) {
			t.Errorf("stored: %d bytes, %v", len(got), err)
		}
	}
	if !found {
		t.Error("no event has the mail with a file")
	}
	for _, e := range byName["raw"] {
		data := e.Data
		if blob := first(e.Header[jet.BlobHeader]); blob != "" {
			var err error
			if data, err = r.Conn().GetBlob(t.Context(), blob); err != nil {
				t.Fatal(err)
			}
			whole := sha256.Sum256(data)
			if len(data) < len(file) || first(e.Header[jet.BlobSumHeader]) != hex.EncodeToString(whole[:]) {
				t.Errorf("raw message of %d bytes with the sum %s", len(data), first(e.Header[jet.BlobSumHeader]))
			}
		}
		if !bytes.Contains(data, []byte("Subject: ")) || first(e.Header["content-type"]) != "message/rfc822" {
			t.Errorf("raw message of type %v:\n%.300s", e.Header["content-type"], data)
		}
	}
	for _, c := range w.Requests() {
		if c.Status == http.StatusTooManyRequests || c.Offence {
			t.Errorf("throttled: %+v", c)
		}
	}
}

// TestAMovingWindowIsAskedForByItsDays: the path of the key window to the
// request.
func TestAMovingWindowIsAskedForByItsDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	day := time.Now().UTC().Truncate(24 * time.Hour)
	r := w.start(w.subscribing(`
  - {name: view, client: contoso, entity: calendar.event.delta, window: {back: 7d, ahead: 30d}, start: all}
  - {name: listed, client: contoso, entity: calendar.calendarView.list, window: {ahead: 1d}, start: all}
`)).ready()
	if _, err := sandbox.SignIn(t.Context(), w.http, r.HTTPURL()+"/oauth/start/contoso", ben); err != nil {
		t.Fatal(err)
	}
	r.primed()
	if !time.Now().UTC().Truncate(24 * time.Hour).Equal(day) {
		day = day.Add(24 * time.Hour) // the test ran over midnight
	}
	asked := func(from, upto time.Time) string {
		return "endDateTime=" + upto.Format("2006-01-02") + "T00%3A00%3A00Z&startDateTime=" + from.Format("2006-01-02") + "T00%3A00%3A00Z"
	}
	for route, want := range map[string]string{
		"/me/calendarView/delta":    asked(day.AddDate(0, 0, -7), day.AddDate(0, 0, 31)),
		"/me/calendar/calendarView": asked(day, day.AddDate(0, 0, 2)),
	} {
		calls := w.calls(http.MethodGet, route)
		if len(calls) == 0 || calls[0].Query != want {
			t.Errorf("%s: %+v, want the query %s", route, calls, want)
		}
	}
}

// TestADeltaFunctionCanBeReadAsAList: as its full reads give it.
func TestADeltaFunctionCanBeReadAsAList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.hand(ben)
	for _, name := range []string{"one", "two", "three"} {
		h.make("/me/todo/lists", `{"displayName":"`+name+`"}`)
	}
	want := len(h.ids("/me/todo/lists"))
	r := w.start(w.subscribing(`
  - {name: lists, client: contoso, entity: todo.taskList.delta, mode: list, start: all, every: 1s}
`)).ready()
	if _, err := sandbox.SignIn(t.Context(), w.http, r.HTTPURL()+"/oauth/start/contoso", ben); err != nil {
		t.Fatal(err)
	}
	r.events(want)
	const route = "/me/todo/lists/delta"
	before := len(w.calls(http.MethodGet, route))
	until(t, "two more reads", func() bool { return len(w.calls(http.MethodGet, route)) >= before+2 })
	h.make("/me/todo/lists", `{"displayName":"four"}`)
	events := r.events(want + 1)
	if change := first(events[want].Header["Outlook-Change"]); change != "created" || len(events) != want+1 {
		t.Errorf("%d events, the last one %s", len(events), change)
	}
	for _, c := range w.calls(http.MethodGet, route) {
		if strings.Contains(c.Query, "deltatoken") {
			t.Errorf("asked for changes: %s", c.Query)
		}
	}
}
