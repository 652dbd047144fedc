package publisher

import (
	"maps"
	"reflect"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/xform"
)

// TestTheTextOfAMessageIsReadOnce also checks that a plan leaves what was read, and the
// publisher's defaults, as they were: the next plan needs them.
func TestTheTextOfAMessageIsReadOnce(t *testing.T) {
	t.Parallel()
	update := newOperation(t, "mail.message.update")
	w, err := New(Options{
		Publishers: []Publisher{{
			Name: "update-mail", Client: "acme", Entities: []*catalog.Operation{update}, Mailboxes: []string{"me"}, ImmutableIDs: true,
			Path: map[string]string{"message-id": "AAA"}, Query: map[string]string{"$select": "id"}, Headers: map[string]string{"If-Match": `W/"1"`},
		}},
		Outlook: quiet{}, Journal: quiet{}, Outcomes: quiet{}, Slots: quiet{},
	})
	if err != nil {
		t.Fatal(err)
	}
	def := w.publishers["update-mail"]
	for _, data := range []string{
		`{"payload":{"isRead":true}}`,
		`{"payload":{"isRead":true},"path":{"id":"BBB"},"query":{"$select":null},"headers":{"content-type":"application/json","Prefer":"a"}}`,
	} {
		m := Message{Publisher: "update-mail", Stream: "S", Sequence: 1, Data: []byte(data), Received: time.Now()}
		fresh := m
		want, err := w.plan(t.Context(), &fresh, def)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := w.Glance(t.Context(), &m); !ok {
			t.Fatal("no glance")
		}
		headers := maps.Clone(m.said.request.headers)
		m.Data = []byte("something else")
		for range 2 {
			got, err := w.plan(t.Context(), &m, def)
			if err != nil {
				t.Fatalf("the message was read again: %v", err)
			}
			if !got.call.Target.Fits(update, want.call.Params) {
				t.Errorf("another target the next time: %v", got.call.Target)
			}
			want.call.Target, got.call.Target = nil, nil
			if !reflect.DeepEqual(want.call, got.call) {
				t.Fatalf("another request the next time: %+v, want %+v", got.call, want.call)
			}
		}
		if !maps.Equal(m.said.request.headers, headers) {
			t.Errorf("the headers that were read were changed: %v", m.said.request.headers)
		}
	}
	if !maps.Equal(onlyImmutableIDs, map[string]string{"Prefer": immutableIDs}) || len(def.base.headers) != 1 || len(def.base.path) != 1 || len(def.base.query) != 1 {
		t.Errorf("what all commands share was changed: %v, %+v", onlyImmutableIDs, def.base)
	}
}

// TestAWaitingMessageHoldsNoCopyOfItsPayload: many wait, and each may be long.
func TestAWaitingMessageHoldsNoCopyOfItsPayload(t *testing.T) {
	t.Parallel()
	m := Message{Data: []byte(`{"payload":"RnJvbTogYQ=="}`)}
	for range 2 {
		if r, err := m.read(); err != nil || string(r.raw) != "From: a" {
			t.Fatalf("read %q, %v", r.raw, err)
		}
	}
	if m.said != nil {
		t.Errorf("%q is held beside the message", m.said.request.raw)
	}
}

// TestWhatIsAddedToAPayloadIsNotWrittenIntoTheMessage: the message goes into the dead
// letter as it came.
func TestWhatIsAddedToAPayloadIsNotWrittenIntoTheMessage(t *testing.T) {
	t.Parallel()
	const text = `{"payload": {"isRead":true} ,"mailbox":"me"}`
	data := []byte(text)
	r, err := decode("the message", data)
	if err != nil {
		t.Fatal(err)
	}
	if _ = append(r.payload, "more"...); string(data) != text {
		t.Errorf("the message is now %s", data)
	}
}

// TestTheTextIsReadOnceForATransformToo: it is the one that Glance has to plan with.
func TestTheTextIsReadOnceForATransformToo(t *testing.T) {
	t.Parallel()
	program, err := xform.Compile(".")
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{
		Publishers: []Publisher{{
			Name: "p", Client: "acme", Entities: []*catalog.Operation{newOperation(t, "mail.message.sendMail")}, Mailboxes: []string{"me"},
			RequestTransform: program,
		}},
		Outlook: quiet{}, Journal: quiet{}, Outcomes: quiet{}, Slots: quiet{},
	})
	if err != nil {
		t.Fatal(err)
	}
	m := Message{Publisher: "p", Data: []byte(`{"payload":{}}`)}
	if _, ok := w.Glance(t.Context(), &m); !ok || m.said == nil {
		t.Errorf("glance %t, what the message says: %v", ok, m.said)
	}
}

func TestAPayloadIsNotCopied(t *testing.T) {
	t.Parallel()
	data := []byte(`{"payload": {"isRead":true}}`)
	r, err := decode("the message", data)
	if err != nil {
		t.Fatal(err)
	}
	if merged, err := r.over(request{}); err != nil || &merged.payload[0] != &data[len(`{"payload": `)] {
		t.Errorf("payload %q is not that of the message (%v)", merged.payload, err)
	}
}

func TestTheContentTypeIsTakenOutOfACopy(t *testing.T) {
	t.Parallel()
	kind, prefer := "image/webp", "a"
	headers := map[string]*string{"CONTENT-TYPE": &kind, "Prefer": &prefer}
	if named, others := takeContentType(headers); named != kind || len(others) != 1 || others["Prefer"] != &prefer || len(headers) != 2 {
		t.Errorf("%q, %v, of %v", named, others, headers)
	}
}
