package subscriber

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"outlook-connector/internal/fault"
)

func TestNothingIsMadeWhereNothingIsWanted(t *testing.T) {
	t.Parallel()
	for mode, want := range map[Attachments]bool{"": false, AttachmentsNone: false, AttachmentsList: true} {
		sub := Subscription{Operation: operation(t, "mail.message.delta"), Attachments: mode}
		if got := newEnricher(&sub, &Request{}, nil, nil, 0) != nil; got != want {
			t.Errorf("attachments %q: an enricher %v", mode, got)
		}
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw  string
		drop []string
		add  []member
		want string // "": an error
	}{
		{`{}`, nil, nil, `{}`},
		{`{}`, nil, []member{{"a", []byte("1")}}, `{"a":1}`},
		{` { "a" : 1.50 , "b" : {"c": [ 1 ]} } `, nil, nil, `{"a":1.50,"b":{"c": [ 1 ]}}`},
		{`{"a":1,"b":2,"c":3}`, []string{"a"}, []member{{"b", []byte("4")}}, `{"c":3,"b":4}`},
		{`{"a":"\ud83d","a":"x"}`, nil, nil, `{"a":"\ud83d","a":"x"}`},
		{`{"a\"\n":1}`, nil, nil, `{"a\"\n":1}`},
		{`{"a":1`, nil, nil, ``},
		{`{"a"`, nil, nil, ``},
		{`[1]`, nil, nil, ``},
		{``, nil, nil, ``},
	} {
		got, err := splice([]byte(c.raw), c.drop, c.add...)
		if (err != nil) != (c.want == "") || err == nil && string(got) != c.want {
			t.Errorf("%s: %s, %v, want %s", c.raw, got, err, c.want)
		}
	}
}

func TestManyItemsGoInFewBatches(t *testing.T) {
	t.Parallel()
	box := newFakeMailbox(t)
	var pieces []*piece
	for i := range 100 {
		id := fmt.Sprintf("m%02d", i)
		raw := fmt.Sprintf(`{"id":%q,"subject":"s","isRead":true}`, id)
		if i%2 == 0 { // every other one is partial
			raw = fmt.Sprintf(`{"id":%q,"isRead":true}`, id)
		}
		box.answers["messages/"+id] = found(fmt.Sprintf(`{"id":%q,"subject":"read","isRead":true}`, id))
		pieces = append(pieces, pieceOf(t, raw))
	}
	enrichAll(t, enricherOf(t, box, nil, "mail.message.delta", hydrating), pieces...)
	if len(box.batches) != 3 {
		t.Errorf("%d batches for 50 items", len(box.batches))
	}
	for i, p := range pieces {
		if strings.Contains(string(p.raw), "read\"") != (i%2 == 0) {
			t.Errorf("item %d is %s", i, p.raw)
		}
	}
	box.idle()
}

func TestEnrichmentStopsWhereACommitIsFull(t *testing.T) {
	t.Parallel()
	box, blobs := newFakeMailbox(t), newFakeBlobs()
	var left []*piece
	for i := range 10 {
		id := fmt.Sprint(i)
		left = append(left, pieceOf(t, fmt.Sprintf(`{"id":%q,"isRead":true}`, id)))
		box.answers["messages/"+id] = found(fmt.Sprintf(`{"id":%q,"subject":"s","isRead":true}`, id))
		box.answers["messages/"+id+"/attachments"] = found(`{"value":[{"id":"a","size":600000}]}`)
		box.bodies["messages/"+id+"/attachments/a/$value"] = make([]byte, 600_000)
	}
	all, calls := left, 0
	e := enricherOf(t, box, blobs, "mail.message.delta", func(s *Subscription, r *Request) {
		hydrating(s, r)
		s.Attachments = AttachmentsInline
	})
	for ; len(left) > 0; calls++ {
		n, err := e.run(t.Context(), left)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for _, p := range left[:n] {
			size += len(p.raw)
		}
		if n == 0 || size > e.grown+(inlineMost*4/3)+4096 {
			t.Fatalf("%d items with %d bytes in one step", n, size)
		}
		for _, p := range left[n:] {
			if len(p.raw) > 4096 {
				t.Error("content is held that nobody can store yet")
			}
		}
		left = left[n:]
	}
	asked := box.asked()
	if calls < 3 || len(asked) != 30 || len(sorted(asked)) != 30 {
		t.Errorf("%d steps, %d requests, %d different ones, want 30", calls, len(asked), len(sorted(asked)))
	}
	if n, err := e.run(t.Context(), all); n != len(all) || err != nil || len(box.asked()) > 0 {
		t.Errorf("what is done is done again: %d, %v", n, err)
	}
	for i, p := range all {
		if entries := entriesIn(t, p.raw); len(entries) != 1 || entries[0]["contentBytes"] == nil {
			t.Errorf("item %d has no attachment", i)
		}
	}
	box.idle()
}

// TestWhateverFailsTheOutcomeIsTheSame enriches random items while requests and
// the store fail at random. Each failure ends a poll; the next one goes on, in
// the same process or from nothing. In the end every item is as if nothing had
// happened.
func TestWhateverFailsTheOutcomeIsTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		box, blobs := newFakeMailbox(t), newFakeBlobs()
		n := rapid.IntRange(1, 45).Draw(t, "items")
		raws := make([]string, n)
		for i := range raws {
			raws[i] = randomItem(t, box, fmt.Sprint(i))
		}
		mode := rapid.SampledFrom([]Attachments{AttachmentsNone, AttachmentsList, AttachmentsInline, AttachmentsBlob}).Draw(t, "mode")
		mime := rapid.Bool().Draw(t, "mime")
		fresh := func() (*enricher, []*piece) {
			pieces := make([]*piece, n)
			for i, raw := range raws {
				pieces[i] = pieceOf(t, raw)
			}
			return enricherOf(t, box, blobs, "calendar.event.delta", func(s *Subscription, _ *Request) {
				s.Hydrate, s.Attachments, s.MIME = true, mode, mime
			}), pieces
		}
		e, want := fresh()
		if done, err := e.run(t.Context(), want); done != n || err != nil {
			t.Fatalf("%d of %d, %v", done, n, err)
		}
		names := sorted(keysOf(blobs.names))

		e, got := fresh()
		left, failing := got, rapid.IntRange(1, 30).Draw(t, "failures")
		fail := func(string) error {
			if failing == 0 || rapid.IntRange(0, 3).Draw(t, "fails") > 0 {
				return nil
			}
			failing--
			return fault.New(fault.Retry, "again later")
		}
		box.fail, blobs.fail = fail, fail
		for len(left) > 0 {
			box.free = rapid.IntRange(0, 5).Draw(t, "slots")
			done, err := e.run(t.Context(), left)
			var busy *busyError
			switch {
			case err == nil && done == 0:
				t.Fatal("nothing is done, and nothing failed")
			case errors.As(err, &busy) && box.free > 0:
				t.Fatal("busy with free slots")
			case err != nil && fault.KindOf(err) != fault.Retry:
				t.Fatalf("a passing failure became %v", err)
			case err != nil && rapid.Bool().Draw(t, "another worker"):
				e, got = fresh()
				left, done = got, 0
			}
			left = left[done:]
			if box.idle(); failing == 0 {
				box.fail, blobs.fail = nil, nil
			}
			failing = max(failing-1, 0)
		}
		for i := range want {
			if string(got[i].raw) != string(want[i].raw) || got[i].version != want[i].version || got[i].dropped != want[i].dropped {
				t.Fatalf("item %d: %s (%s, %v), want %s (%s, %v)", i, got[i].raw, got[i].version, got[i].dropped,
					want[i].raw, want[i].version, want[i].dropped)
			}
			if !json.Valid(got[i].raw) {
				t.Fatalf("item %d is no JSON: %s", i, got[i].raw)
			}
		}
		if again := sorted(keysOf(blobs.names)); !slices.Equal(names, again) {
			t.Fatalf("stored as %v and again as %v", names, again)
		}
	})
}

// randomItem returns an event of a page and prepares what the mailbox says of it.
func randomItem(t *rapid.T, box *fakeMailbox, id string) string {
	forGood := []Got{gone(), refused(403, "ErrorAccessDenied", fault.Poison), refused(405, "ErrorInvalidRequest", fault.Poison)}
	whole := fmt.Sprintf(`{"id":%q,"@odata.etag":"W/\"%s\"","createdDateTime":"x","hasAttachments":%v}`, id, id, rapid.Bool().Draw(t, "attached"))
	path := "events/" + id
	box.answers[path] = found(whole)
	if rapid.IntRange(0, 3).Draw(t, "refused") == 0 {
		box.answers[path] = rapid.SampledFrom(forGood).Draw(t, "how")
	}
	box.answers[path+"/attachments"] = found(`{"value":[{"id":"a","size":3},{"id":"b","size":2000000},{"id":"r","@odata.type":"` + referenceKind + `"}]}`)
	for _, at := range []string{"/attachments", "/attachments/a/$value", "/attachments/b/$value", "/attachments/r"} {
		switch rapid.IntRange(0, 4).Draw(t, "part") {
		case 0:
			box.answers[path+at] = rapid.SampledFrom(forGood).Draw(t, "how")
		default:
			if at != "/attachments" {
				box.answers[path+at] = found(fmt.Sprintf(`{"id":"r","sourceUrl":%q}`, at))
			}
		}
	}
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		return whole
	case 1:
		return fmt.Sprintf(`{"id":%q,"subject":"partial"}`, id)
	default:
		return fmt.Sprintf(`{"id":%q,"type":"occurrence","seriesMasterId":"0","start":{}}`, id)
	}
}
