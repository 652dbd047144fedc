package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/xform"
)

func TestAnotherRequestHasAnotherID(t *testing.T) {
	t.Parallel()
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		t.Fatal(err)
	}
	base := Subscription{Name: "a", Client: "c", Operation: op, Query: map[string]string{"$select": "id", "$top": "1"}}
	id := requestID(&base, "ann")
	for name, change := range map[string]func(*Subscription){
		"query":     func(s *Subscription) { s.Query = map[string]string{"$select": "id,subject", "$top": "1"} },
		"path":      func(s *Subscription) { s.Path = map[string]string{"mailFolder-id": "x"} },
		"transform": func(s *Subscription) { s.RequestSource = "." },
	} {
		other := base
		change(&other)
		if requestID(&other, "ann") == id {
			t.Errorf("a changed %s does not begin a new round", name)
		}
	}
	other := base
	other.Client, other.Headers, other.Every = "renamed", map[string]string{"a": "b"}, time.Hour
	if requestID(&other, "ann") != id {
		t.Error("what does not live in the token begins a new round")
	}
	if requestID(&other, "me") == requestID(&base, "me") {
		t.Error("me of another client goes on with the first one's token")
	}
}

func TestAFirstPollIsNotPutOffByAClockThatIsAhead(t *testing.T) {
	t.Parallel()
	s := &Subscriber{roster: newRoster(nil, nil)}
	sub := &Subscription{Every: time.Minute}
	for i := range 1000 {
		s.roster.named[Feed{Subscription: fmt.Sprint(i)}] = nil
	}
	var waits []time.Duration
	for feed := range s.roster.named {
		if wait := s.firstWait(sub, feed, time.Now().Add(time.Hour)); wait > 0 {
			t.Fatalf("%s waits %v", feed, wait)
		}
		waits = append(waits, s.firstWait(sub, feed, time.Now()))
	}
	slices.Sort(waits)
	if middle, last := waits[500], waits[999]; last > spreadAtMost || middle < time.Second || middle > 2*time.Second {
		t.Errorf("first polls after %v, half of them after %v", last, middle)
	}
	s.roster.named = map[Feed]*state{{Subscription: "only"}: nil}
	if wait := s.firstWait(sub, Feed{Subscription: "only"}, time.Now()); wait > spreadEach {
		t.Errorf("the only feed waits %v", wait)
	}
}

func TestATransformThatIsInterruptedBuriesNothing(t *testing.T) {
	t.Parallel()
	program, err := xform.Compile(`last(range(1e9))`)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &walk{Subscriber: &Subscriber{}, sub: &Subscription{Transform: program}}
	_, err = w.body(ctx, &change{item: item{raw: []byte(`{"id":"a"}`)}, kind: Changed})
	if bad, ok := errors.AsType[*itemError](err); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("a stopping worker: %+v, %v", bad, err)
	}
}

func TestPeekStopsEarly(t *testing.T) {
	t.Parallel()
	// Nothing behind the deciding members is looked at, so a broken rest is not
	// seen: that is the Source's part.
	head := `{"@odata.etag":"W/\"k\"","id":"a","receivedDateTime":"2026-03-01T10:00:00Z","lastModifiedDateTime":"2026-03-01T10:00:01Z",`
	it, err := new(peeker).peek([]byte(head + `"body":{{{`))
	if err != nil || it.id != "a" || it.version != "k" || it.removed || it.received.IsZero() || it.modified.IsZero() {
		t.Errorf("%+v, %v", it, err)
	}
	if _, err := new(peeker).peek([]byte(`{"id":"a","body":{{{`)); err == nil {
		t.Error("a broken item without versions was taken")
	}
}

// FuzzPeek holds the peek against a full decoding: it must not panic, and what
// it says of a sound item must be what the item says.
func FuzzPeek(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a"}`, `{"id":"a","@removed":{"reason":"deleted"}}`, `{"id":"a","@removed":null}`, `[1]`, `{}`, `{"id":7}`, `{"id":"cut \ud83d"}`,
		`{"@odata.etag":"W/\"x\"","id":"a","changeKey":"x","receivedDateTime":"2026-03-01T10:00:00Z"}`, `{"id":"a","receivedDateTime":"no"}`,
		"{\"id\":\"\xff\"}", `{"id":"a","id":"b"}`, `{"a":{"id":"x"},"id":"b"}`, `nul`, ``,
	} {
		f.Add([]byte(seed))
	}
	p := new(peeker) // one for all, as within a poll: nothing may stay behind
	f.Fuzz(func(t *testing.T, raw []byte) {
		it, err := p.peek(raw)
		if err == nil && (it.id == "" || len(it.id) > maxID) {
			t.Fatalf("id %q", it.id)
		}
		other, otherErr := new(peeker).peek(raw)
		if (err == nil) != (otherErr == nil) || it.id != other.id || it.version != other.version || it.removed != other.removed {
			t.Fatalf("a used peeker says %+v, a fresh one %+v", it, other)
		}
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil || strings.Count(string(raw), `"id"`) != 1 || err != nil {
			return
		}
		var id string
		if json.Unmarshal(members["id"], &id) == nil && id != it.id {
			t.Fatalf("id is %q, peeked %q", id, it.id)
		}
		if escaped := escapeHeader(it.id); strings.ContainsFunc(escaped, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Fatalf("header %q", escaped)
		}
	})
}

func BenchmarkPeek(b *testing.B) {
	raw := []byte(`{"@odata.etag":"W/\"CQAAABYAAAC4ofQHEIqCSbQPot83AFcbAAAnjjuZ\"","id":"` + strings.Repeat("A", 150) +
		`","createdDateTime":"2026-03-01T10:00:00Z","lastModifiedDateTime":"2026-03-01T10:00:01Z","changeKey":"CQAAABYAAAC4ofQHEIqCSbQPot83AFcbAAAnjjuZ",` +
		`"categories":[],"receivedDateTime":"2026-03-01T10:00:00Z","subject":"s","body":{"content":"` + strings.Repeat("x", 4000) + `"}}`)
	p := new(peeker)
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := p.peek(raw); err != nil {
			b.Fatal(err)
		}
	}
}
