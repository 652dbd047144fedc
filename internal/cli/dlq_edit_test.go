package cli

import (
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

// TestMergePatchDoesAsItsStandardSays has the examples of
// https://www.rfc-editor.org/rfc/rfc7396#appendix-A
func TestMergePatchDoesAsItsStandardSays(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
	} {
		target, err := decodeJSON([]byte(c[0]))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := decodeJSON([]byte(c[1]))
		if err != nil {
			t.Fatal(err)
		}
		if got := jsonText(mergePatch(target, patch)); got != c[2] {
			t.Errorf("%s with %s is %s, want %s", c[0], c[1], got, c[2])
		}
		if jsonText(target) != c[0] {
			t.Errorf("%s was changed to %s", c[0], jsonText(target))
		}
	}
}

func TestSetChangesWhatItNames(t *testing.T) {
	t.Parallel()
	const message = `{ "payload": {"n": 12345678901234567890, "s": "<a>", "o": {"x.y": 1}}, "path": {"message-id": "1"} }`
	a := &app{in: strings.NewReader(`{"payload": {"s": null}}`), err: io.Discard}
	for _, c := range []struct {
		set  []string
		want string
		says []string
	}{
		{nil, message, nil},
		{[]string{"payload.o={}"}, `{"path":{"message-id":"1"},"payload":{"n":12345678901234567890,"o":{"x.y":1},"s":"<a>"}}`, nil},
		{
			[]string{`payload.o.x\.y=[true]`, "path.message-id=22", "-"},
			`{"path":{"message-id":"22"},"payload":{"n":12345678901234567890,"o":{"x.y":[true]}}}`,
			[]string{`- path.message-id="1"`, `+ path.message-id="22"`, `- payload.o.x\.y=1`, `+ payload.o.x\.y=[true]`, `- payload.s="<a>"`},
		},
		{
			[]string{`{"payload": {"n": 1}}`, "payload.n=null", "mailbox=Ann = me"},
			`{"mailbox":"Ann = me","path":{"message-id":"1"},"payload":{"o":{"x.y":1},"s":"<a>"}}`,
			[]string{`+ mailbox="Ann = me"`, `- payload.n=12345678901234567890`},
		},
	} {
		e, err := a.readEdit(c.set, nil)
		if err != nil {
			t.Errorf("%q: %v", c.set, err)
			continue
		}
		r := publisher.Redrive{Data: []byte(message)}
		if err := e.apply(&r); err != nil || string(r.Data) != c.want {
			t.Errorf("%q gives %s, want %s: %v", c.set, r.Data, c.want, err)
		}
		if got := difference([]byte(message), r.Data); !slices.Equal(got, c.says) {
			t.Errorf("%q differs by %q, want %q", c.set, got, c.says)
		}
	}
	for _, bad := range []string{"", "payload..x=1", "no-such-file", "{", `["x"]`, `{"subject": 1}`, `{} {}`, "subject=1"} {
		_, err := a.readEdit([]string{bad}, nil)
		if _, usage := err.(*usageError); !usage { //nolint:errorlint // it is the outermost
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := a.readEdit([]string{"-", "@-"}, nil); err == nil {
		t.Error("two from one standard input")
	}
}

func TestHeadersOfARedriveChange(t *testing.T) {
	t.Parallel()
	a := &app{in: strings.NewReader("")}
	e, err := a.readEdit(nil, []string{"Outlook-Expires=", "Outlook-Delivery=at_most_once", "x-y=a=b"})
	if err != nil {
		t.Fatal(err)
	}
	r := publisher.Redrive{Header: map[string][]string{"outlook-expires": {"1"}, "kept": {"2"}}, Data: []byte("as it was")}
	if err := e.apply(&r); err != nil || len(r.Header) != 3 || r.Header["Outlook-Delivery"][0] != "at_most_once" || r.Header["x-y"][0] != "a=b" || string(r.Data) != "as it was" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"x", "=1", "a b=1", "a:=1", "nats-msg-id=1", "x=a\nb"} {
		if _, err := a.readEdit(nil, []string{bad}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestMomentsAreAgoOrDates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for text, want := range map[string]time.Time{
		"90m": now.Add(-90 * time.Minute), "7d": now.AddDate(0, 0, -7), "0s": now,
		"2026-01-31": time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local), "2026-01-31T09:00:00Z": time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC),
		"2026-01-31 09:30": time.Date(2026, 1, 31, 9, 30, 0, 0, time.Local),
	} {
		var m momentFlag
		if err := m.Set(text); err != nil || m.Sub(want).Abs() > time.Minute || m.String() == "" {
			t.Errorf("%s is %s, want %s: %v", text, m.Time, want, err)
		}
	}
	for _, text := range []string{"", "yesterday", "-1h", "d", "-1d", "31.1.2026"} {
		if err := new(momentFlag).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestAFilterThatNothingFitsIsRefused(t *testing.T) {
	t.Parallel()
	for _, f := range []letterFilter{
		{kind: "mail"},
		{kind: kindItem, publisher: "a"},
		{kind: kindCommand, subscription: "a"},
		{publisher: "a", subscription: "b"},
		{publisher: "A b"},
		{subscription: "a.>"},
		{outcome: "failed", subscription: "a"},
		{limit: -1},
		{mailbox: "a *"},
	} {
		if err := f.check(); err == nil {
			t.Errorf("%+v is taken", f)
		} else if fault.HintOf(err) != "" {
			t.Errorf("%+v: %v has a hint of its own", f, err)
		}
	}
	f := letterFilter{outcome: "uncertain", mailbox: "Ann@Contoso.com"}
	if err := f.check(); err != nil || f.kind != kindCommand || !f.fits(&deadLetter{Outcome: "uncertain", Mailbox: "ann@CONTOSO.com"}) {
		t.Errorf("%+v: %v", f, err)
	}
}
