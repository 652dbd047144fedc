package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

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
	s := &Subscriber{feeds: make(map[Feed]*state)}
	sub := &Subscription{Every: time.Minute}
	for i := range 1000 {
		s.feeds[Feed{Subscription: fmt.Sprint(i)}] = nil
	}
	var waits []time.Duration
	for feed := range s.feeds {
		if wait := s.firstWait(sub, feed, time.Now().Add(time.Hour)); wait > 0 {
			t.Fatalf("%s waits %v", feed, wait)
		}
		waits = append(waits, s.firstWait(sub, feed, time.Now()))
	}
	slices.Sort(waits)
	if middle, last := waits[500], waits[999]; last > spreadAtMost || middle < time.Second || middle > 2*time.Second {
		t.Errorf("first polls after %v, half of them after %v", last, middle)
	}
	s.feeds = map[Feed]*state{{Subscription: "only"}: nil}
	if wait := s.firstWait(sub, Feed{Subscription: "only"}, time.Now()); wait > spreadEach {
		t.Errorf("the only feed waits %v", wait)
	}
}

func TestToldSurvivesTheCursor(t *testing.T) {
	t.Parallel()
	first := newTold(nil)
	for i := range 40 {
		first.add(fmt.Sprint(i), "v1")
	}
	first.remove("3", 7)
	first.remove("4", 7)
	first.add("4", "v1")
	second := newTold(first.keep(toldKept))
	if slices.Compare(first.order, second.order) != 0 || !maps.Equal(first.last, second.last) || !maps.Equal(first.gone, second.gone) {
		t.Errorf("kept %v, taken up %v", first.order, second.order)
	}
	if !second.has("5", "v1") || second.has("5", "v2") || second.has("3", "v1") || second.knows("3") || !second.knows("4") {
		t.Error("what was told is not known any more")
	}
	if second.remove("3", 7) != "" || second.reborn("4") != ".7.1" || !strings.HasSuffix(second.remove("4", 7), ".7.2") {
		t.Error("deletions are not told apart")
	}
}

func TestToldForgetsTheOldestAndHoldsAPage(t *testing.T) {
	t.Parallel()
	told := newTold(nil)
	told.remove("gone", 1)
	for i := range toldHeld + 1 {
		told.add(fmt.Sprint(i), "v1")
	}
	if told.has("0", "v1") || !told.has("1", "v1") || told.reborn("gone") != "" || len(told.set) != toldHeld || len(told.last) != toldHeld {
		t.Errorf("%d entries, %d items", len(told.set), len(told.last))
	}
	for i := range 5000 { // one page that is larger than asked for
		told.room(i + 1)
		told.add(fmt.Sprint("page", i), "v1")
	}
	if !told.has("page0", "v1") || len(told.keep(10_000)) > 5000+toldKept {
		t.Errorf("of a page of 5000 the first is forgotten, or %d are kept", len(told.keep(10_000)))
	}
}

// TestToldIsConsistent compares the three views of what was told.
func TestToldIsConsistent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		told := newTold(nil)
		told.limit = rapid.IntRange(1, 8).Draw(rt, "limit")
		for range rapid.IntRange(0, 40).Draw(rt, "steps") {
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "id")
			if rapid.Bool().Draw(rt, "remove") {
				told.remove(id, rapid.IntRange(1, 2).Draw(rt, "round"))
			} else {
				told.add(id, rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "version"))
			}
		}
		if len(told.order) > told.limit || len(told.order) != len(told.set) {
			rt.Fatalf("%d in order, %d in the set, limit %d", len(told.order), len(told.set), told.limit)
		}
		for item, version := range told.last {
			if _, there := told.set[item+version]; !there {
				rt.Fatalf("the newest of %s is not there: %v", item, told.order)
			}
		}
		again := newTold(told.order)
		if !maps.Equal(again.set, told.set) || !maps.Equal(again.gone, told.gone) {
			rt.Fatalf("%v became %v", told.order, again.order)
		}
	})
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
