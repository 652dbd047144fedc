package publisher

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// FuzzDecode feeds the command decoder anything: it must refuse with a marked
// error and a sentence, or give a command that survives being written and read
// again.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"payload":{}}`, `{"payload":{"message":{"subject":"a"}},"mailbox":"me"}`,
		`{"path":{"id":"A"},"query":{"$top":10,"x":true,"y":null},"headers":{"Prefer":"a"}}`,
		`{"entity":"mail.message.sendMail","method":"POST","payload":null,"payload_blob":null}`,
		`{"a":1,"a":2}`, `{'a'}`, "\xef\xbb\xbf{}", `{"mailbox":"\ud83d"}`, `[[[[`, `{"payload":{"attachments":[{"blob":"x"}]}}`,
		`{"payload":{"a":` + strings.Repeat("[", 120), "{}{}", `{"payload":{"n":1e999}}`, `{"mailbox":"\u0000"}`,
		`{"payload":"/9j_"}`, `{"payload":"QQ=="}`, `{"payload_blob":"B/x"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode("the message", data)
		if err != nil {
			marked, ok := errors.AsType[*fault.Error](err)
			if !ok || marked.Kind != fault.Poison || marked.Code == "" || len(marked.Error()) > 1000 {
				t.Fatalf("error %v is not marked, or too long", err)
			}
			return
		}
		if !json.Valid(data) {
			t.Fatal("took what is not JSON")
		}
		value, err := r.value()
		if err != nil {
			t.Fatalf("value: %v", err)
		}
		text, err := encode(value)
		if err != nil {
			t.Fatalf("encode: %v", err)
		}
		again, err := decode("the message", text)
		if err != nil {
			t.Fatalf("decode again: %v", err)
		}
		twice, err := again.value()
		if err != nil {
			t.Fatalf("value again: %v", err)
		}
		if diff := cmp.Diff(value, twice); diff != "" {
			t.Fatalf("changed on the way:\n%s", diff)
		}
		merged, err := r.over(request{payload: []byte(`{"isRead":true}`)})
		if err != nil || json.Valid(merged.payload) == (r.raw != nil) {
			t.Fatalf("merge: %v: %s", err, merged.payload)
		}
	})
}

// FuzzMIME feeds the reader of mails anything: it counts, or refuses with a marked
// error and a sentence.
func FuzzMIME(f *testing.F) {
	for _, seed := range []string{
		"From: a@b.de\r\nTo: c@d.de, =?utf-8?q?=C3=A4?= <e@f.de>\r\n\r\nHello", "To: x:;\n\n", "\n\n", "To: a@b.de\n folded@c.de", "a", "To:\n\n", "From: <",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := mentionedInMIME(data)
		if err == nil {
			if m.recipients < 0 || m.recipients > len(data) || len(m.senders) > len(data) {
				t.Fatalf("%+v", m)
			}
			return
		}
		if marked, ok := errors.AsType[*fault.Error](err); !ok || marked.Kind != fault.Poison || marked.Hint == "" || len(marked.Error()) > 1000 {
			t.Fatalf("error %v is not marked, or too long", err)
		}
	})
}

// FuzzDecodeRecord feeds the ledger anything: a record that is taken has a
// state that the worker knows, and an outcome where it is terminal.
func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"state":"sending","hash":"h","source":"s","attempts":1}`))
	f.Add([]byte(`{"v":1,"state":"done","outcome":{"id":"x","outcome":"done"}}`))
	f.Add([]byte(`{"v":1,"state":"done"}`))
	f.Add([]byte(`{"v":2,"state":"claimed"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data)
		if err != nil {
			return
		}
		if r.State == stateNone || r.State.terminal() && r.Outcome == nil {
			t.Fatalf("took %+v", r)
		}
		text, err := encode(r)
		if err != nil {
			return // an outcome's body may hold what cannot be written
		}
		again, err := decodeRecord(text)
		if err != nil {
			t.Fatalf("own record is not readable: %v", err)
		}
		second, err := encode(again)
		if err != nil || !bytes.Equal(text, second) {
			t.Fatalf("changed on the way: %v\n%s\n%s", err, text, second)
		}
	})
}

func TestTheNearestWordIsSuggestedOnlyWhereItIsNear(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"paylod": "payload", "payloads": "payload", "PAYLOAD": "payload", "mailbx": "mailbox", "querry": "query",
		"header": "headers", "message": "", "x": "", "": "", "paths": "path", strings.Repeat("payload", 20): "",
	} {
		if got := nearest(typed, memberNames[:]); got != want {
			t.Errorf("nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}

func TestThePathMustLieInTheMailboxThatPolicySaw(t *testing.T) {
	t.Parallel()
	op := newOperation(t, "mail.message.sendMail")
	for _, tc := range []struct {
		mailbox, path string
		ok            bool
	}{
		{"me", "/me/sendMail", true},
		{"ann@contoso.com", "/users/ann@contoso.com/sendMail", true},
		{"ann@contoso.com", "/users/Ann%40contoso.com/sendMail", true},
		{"0a1b", "/groups/0A1B/events", true},
		{"me", "/users/ceo/sendMail", false},
		{"ann@contoso.com", "/me/sendMail", false},
		{"ann@contoso.com", "/users/ceo@contoso.com/sendMail", false},
		{"ann@contoso.com", "/places/ann@contoso.com/x", false},
		{"ann@contoso.com", "/users", false},
	} {
		if err := checkTarget(op, tc.mailbox, tc.path); (err == nil) != tc.ok {
			t.Errorf("%s in %s: %v", tc.path, tc.mailbox, err)
		}
	}
}

func newOperation(t *testing.T, id string) *catalog.Operation {
	t.Helper()
	op, err := catalog.Default().Lookup(id)
	if err != nil {
		t.Fatal(err)
	}
	return op
}
