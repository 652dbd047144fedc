package publisher_test

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/xform"
	"outlook-connector/publisher"
)

// The bodies of these tests.
const (
	aJPEG = "\xff\xd8\xff\xe0 a picture"
	aMIME = "From: Ann <ann@contoso.com>\r\nTo: ben@contoso.com\r\nSubject: hi\r\n\r\nHello.\r\n"
)

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// store is the object store.
type store map[string]string

var errStore = errors.New("object store: no answer")

func (s store) Blob(_ context.Context, name string, most int) ([]byte, error) {
	data, ok := s[name]
	switch {
	case name == "B/silent":
		return nil, errStore
	case !ok:
		return nil, publisher.ErrNoBlob
	case len(data) > most:
		return nil, fault.New(fault.Poison, "the object has %d bytes", len(data)).WithCode("too_large").WithHint("make it smaller")
	}
	return []byte(data), nil
}

func withBlobs(s store) func(*publisher.Options) {
	return func(o *publisher.Options) { o.Blobs = s }
}

func TestABodyGoesOutAsItsOperationTakesIt(t *testing.T) {
	t.Parallel()
	stored := store{
		"B/photo": aJPEG, "B/mail": aMIME, "B/json": ` {"message":{"subject":"large"}}` + "\n", "B/png": "\x89PNG\r\n\x1a\n",
	}
	def := definition(t, "p", "*")
	def.Mailboxes = []string{"ann@contoso.com", "0a1b2c3d-0000-4000-8000-000000000001"}
	for name, tc := range map[string]struct {
		data              string
		body, contentType string
	}{
		"photo in payload": {
			`{"entity":"users.photo.update","payload":"` + base64Of(aJPEG) + `"}`, aJPEG, "image/jpeg",
		},
		"photo as base64 for URLs, in lines": {
			`{"entity":"users.photo.patch","payload":"_9j_\r\n4CBhIHBpY3R1cmU"}`, aJPEG, "image/jpeg",
		},
		"photo of a group": {
			`{"entity":"groups.photo.update","mailbox":"0a1b2c3d-0000-4000-8000-000000000001","payload_blob":"B/photo"}`, aJPEG, "image/jpeg",
		},
		"photo of a contact": {
			`{"entity":"contacts.contactPhoto.update","path":{"id":"C"},"payload_blob":"B/png"}`, "\x89PNG\r\n\x1a\n", "image/png",
		},
		"photo of a kind that is named": {
			`{"entity":"users.photo.update","headers":{"content-type":"image/WebP"},"payload":"UklGRg=="}`, "RIFF", "image/webp",
		},
		"mail as MIME": {
			`{"entity":"mail.message.sendMail","payload":"` + base64Of(aMIME) + `"}`, base64Of(aMIME), "text/plain",
		},
		"mail as MIME from the store, as the reference calls it": {
			`{"entity":"mail.message.create","headers":{"Content-Type":"text/plain; charset=utf-8"},"payload_blob":"B/mail"}`, base64Of(aMIME), "text/plain",
		},
		"reply as MIME": {
			`{"entity":"mail.message.reply","path":{"id":"A"},"payload_blob":"B/mail"}`, base64Of(aMIME), "text/plain",
		},
		"JSON from the store": {
			`{"entity":"mail.message.sendMail","payload_blob":"B/json"}`, `{"message":{"subject":"large"}}`, "",
		},
		"JSON with its type": {
			`{"entity":"mail.message.sendMail","headers":{"Content-Type":"application/json"},"payload":{}}`, `{}`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			if v := w.worker(t, with(def), withBlobs(stored)).Handle(t.Context(), message("p", tc.data)); !v.Ack || len(w.calls) != 1 {
				t.Fatalf("verdict %+v, outcome %+v", v, w.outcome(t).Error)
			}
			call := w.calls[0]
			if string(call.Body) != tc.body || call.ContentType != tc.contentType || call.Header["Content-Type"] != "" {
				t.Errorf("body %q of type %q, want %q of %q; header %v", call.Body, call.ContentType, tc.body, tc.contentType, call.Header)
			}
		})
	}
}

func TestDefaultsLieUnderAJSONBodyOfTheStoreAndUnderNoOther(t *testing.T) {
	t.Parallel()
	def := definition(t, "p", "mail.message.sendMail")
	def.Payload = []byte(`{"saveToSentItems":false}`)
	for name, want := range map[string]string{
		"B/json": `{"message":{},"saveToSentItems":false}`, "B/mail": base64Of(aMIME),
	} {
		w := newWorld()
		def.From = []string{"ann@contoso.com"}
		worker := w.worker(t, with(def), withBlobs(store{"B/json": `{"message":{}}`, "B/mail": aMIME}))
		worker.Handle(t.Context(), message("p", `{"payload_blob":"`+name+`"}`))
		if len(w.calls) != 1 || string(w.calls[0].Body) != want {
			t.Errorf("%s: calls %+v, outcome %+v", name, w.calls, w.outcome(t).Error)
		}
	}
}

func TestATransformSeesABodyThatIsNoJSONAsBase64(t *testing.T) {
	t.Parallel()
	program, err := xform.Compile(`.payload |= (@base64d | sub("hi"; "hello") | @base64)`)
	if err != nil {
		t.Fatal(err)
	}
	def := definition(t, "p", "mail.message.sendMail")
	def.RequestTransform, def.From = program, []string{"ANN@contoso.com"}
	w := newWorld()
	w.worker(t, with(def), withBlobs(store{"B/mail": aMIME})).Handle(t.Context(), message("p", `{"payload_blob":"B/mail"}`))
	if len(w.calls) != 1 || string(w.calls[0].Body) != base64Of(strings.Replace(aMIME, "hi", "hello", 1)) {
		t.Errorf("calls %+v, outcome %+v", w.calls, w.outcome(t).Error)
	}
}

func TestABodyThatIsNotStoredYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, stored := newWorld(), store{}
		worker := w.worker(t, withBlobs(stored))
		m := message("send-mail", `{"payload_blob":"B/json"}`)
		if v := worker.Handle(t.Context(), m); v.Ack || v.After <= 0 || v.After > 5*time.Second {
			t.Fatalf("first delivery: %+v", v)
		}
		stored["B/json"] = `{"message":{}}`
		if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "done" || w.outcome(t).Attempts != 1 {
			t.Errorf("second delivery: %+v, %+v", v, w.outcome(t))
		}
	})
}

func TestABodyThatNeverComesIsADeadLetter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		worker := w.worker(t, withBlobs(store{}))
		begun := time.Now()
		m := message("send-mail", `{"payload_blob":"B/json"}`)
		for range 100 {
			v := worker.Handle(t.Context(), m)
			if v.Ack {
				break
			}
			<-time.After(v.After)
		}
		o := w.outcome(t)
		if o.Error == nil || o.Error.Code != "blob_missing" || o.Attempts != 0 || len(w.letters) != 1 {
			t.Errorf("outcome %+v, %+v", o, o.Error)
		}
		if took := time.Since(begun); took < 30*time.Second || took > 3*time.Minute {
			t.Errorf("given up after %s", took)
		}
	})
}

func TestABodyIsNotLookedForBeforeItsCommandsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, stored := newWorld(), store{}
		worker := w.worker(t, withBlobs(stored))
		due := time.Now().Add(30 * time.Minute)
		m := message("send-mail", `{"payload_blob":"B/json"}`, "Outlook-Not-Before", due.Format(time.RFC3339))
		if v := worker.Handle(t.Context(), m); v.Ack || v.After != time.Until(due) {
			t.Fatalf("verdict %+v", v)
		}
		<-time.After(time.Until(due))
		stored["B/json"] = `{}`
		if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "done" {
			t.Errorf("verdict %+v", v)
		}
	})
}

func TestASilentObjectStoreHoldsACommandUntilItsTimeIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		worker := w.worker(t, withBlobs(store{}))
		m := message("send-mail", `{"payload_blob":"B/silent"}`)
		if v := worker.Handle(t.Context(), m); v.Ack || v.After <= 0 {
			t.Fatalf("verdict %+v", v)
		}
		<-time.After(publisher.DefaultGiveUpAfter)
		if v := worker.Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "failed" || len(w.calls) != 0 {
			t.Errorf("verdict %+v", v)
		}
	})
}

func TestABadObjectIsRefused(t *testing.T) {
	t.Parallel()
	stored := store{
		"B/empty": "", "B/cut": `{"message":`, "B/twice": `{"a":1,"a":2}`, "B/text": "Hello, Ben!",
		"B/large": strings.Repeat("x", 5<<20), "B/long": "To: b@c.de\n\n" + strings.Repeat("x", 7<<19),
	}
	got := map[string]string{}
	for name := range stored {
		w := newWorld()
		worker := w.worker(t, withBlobs(stored))
		if v := worker.Handle(t.Context(), message("send-mail", `{"payload_blob":"`+name+`"}`)); !v.Ack || len(w.calls) > 0 {
			t.Fatalf("%s: %+v", name, v)
		}
		problem := w.outcome(t).Error
		if problem == nil || problem.Hint == "" && name != "B/cut" {
			t.Fatalf("%s: %+v", name, problem)
		}
		got[name] = problem.Code
	}
	want := map[string]string{
		"B/empty": "bad_blob", "B/cut": "bad_message", "B/twice": "bad_message", "B/text": "bad_mime", "B/large": "too_large", "B/long": "too_large",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-want +got):\n%s", diff)
	}
}

func TestRequestsAskForImmutableIDsUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		on           bool
		prefer, want string
	}{
		"on":                         {true, ``, `IdType="ImmutableId"`},
		"on, with another wish":      {true, `outlook.timezone="UTC"`, `outlook.timezone="UTC", IdType="ImmutableId"`},
		"on, with a wish about them": {true, `idtype="RestId"`, `idtype="RestId"`},
		"off":                        {false, `return=minimal`, `return=minimal`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			def := definition(t, "p", "mail.message.update")
			def.ImmutableIDs = tc.on
			if tc.prefer != "" {
				def.Headers = map[string]string{"prefer": tc.prefer}
			}
			w := newWorld()
			w.worker(t, with(def)).Handle(t.Context(), message("p", `{"path":{"id":"A"},"payload":{}}`))
			if got := w.calls[0].Header["Prefer"]; got != tc.want {
				t.Errorf("Prefer: %s, want %s", got, tc.want)
			}
		})
	}
}

// TestGroupsAndThingsWithoutAMailboxAreWrittenToo shows the ways of naming whom a
// command is about.
func TestGroupsAndThingsWithoutAMailboxAreWrittenToo(t *testing.T) {
	t.Parallel()
	const group = "0a1b2c3d-0000-4000-8000-000000000001"
	def := definition(t, "p", "*")
	def.Mailboxes = []string{group, "me"}
	for name, tc := range map[string]struct{ data, method, path, mailbox string }{
		"a thread of the group": {
			`{"entity":"groups.thread.create","payload":{"topic":"x"}}`, "POST", "/groups/" + group + "/threads", group,
		},
		"an event of the group, by its own operation": {
			`{"entity":"groups.event.create","payload":{"subject":"x"}}`, "POST", "/groups/" + group + "/events", group,
		},
		"an event of the group, by its template": {
			`{"entity":"calendar.event.update","path":{"event-id":"E","template":"/groups/{group-id}/events/{event-id}"},"payload":{}}`,
			"PATCH", "/groups/" + group + "/events/E", group,
		},
		"a sender, by a reference": {
			`{"entity":"groups.acceptedSender.create","payload":{"@odata.id":"https://graph.microsoft.com/v1.0/users/x"}}`,
			"POST", "/groups/" + group + "/acceptedSenders/$ref", group,
		},
		"a place":        {`{"entity":"places.place.update","path":{"id":"P"},"payload":{}}`, "PATCH", "/places/P", "-"},
		"a subscription": {`{"entity":"subscriptions.subscription.delete","path":{"id":"S"}}`, "DELETE", "/subscriptions/S", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			w.worker(t, with(def)).Handle(t.Context(), message("p", tc.data))
			if o := w.outcome(t); o.Outcome != "done" {
				t.Fatalf("outcome %+v", o.Error)
			}
			if c := w.calls[0]; c.Method != tc.method || strings.ReplaceAll(c.Path, "%24", "$") != tc.path || c.Mailbox != tc.mailbox {
				t.Errorf("%s %s of %s", c.Method, c.Path, c.Mailbox)
			}
		})
	}
}
