package publisher_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

func TestARedriveHasAKeyOfTheLettersOwn(t *testing.T) {
	t.Parallel()
	headers := func(pairs ...string) map[string][]string {
		h := map[string][]string{"Nats-Expected-Stream": {"x"}, "Outlook-Reply-To": {"_INBOX.a"}, "nats-rollup": {"sub"}}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = []string{pairs[i+1]}
		}
		return h
	}
	for name, c := range map[string]struct {
		letter publisher.DeadLetter
		key    string
	}{
		"a key of the sender's":       {publisher.DeadLetter{ID: "k", Headers: headers("Nats-Msg-Id", "k")}, "k/r1"},
		"no key":                      {publisher.DeadLetter{ID: "OUTLOOK_PUBLISH-7"}, "OUTLOOK_PUBLISH-7/r1"},
		"a redrive":                   {publisher.DeadLetter{ID: "hash", Headers: headers("Nats-Msg-Id", "k/r1", "Outlook-Redrive-Of", "k")}, "k/r2"},
		"the tenth":                   {publisher.DeadLetter{ID: "hash", Headers: headers("nats-msg-id", "k/r9", "outlook-redrive-of", "k")}, "k/r10"},
		"it only looks like one":      {publisher.DeadLetter{ID: "hash", Headers: headers("Nats-Msg-Id", "k/r1")}, "hash/r1"},
		"it says it is and is not":    {publisher.DeadLetter{ID: "hash", Headers: headers("Nats-Msg-Id", "k/rx", "Outlook-Redrive-Of", "k")}, "hash/r1"},
		"its id is another command's": {publisher.DeadLetter{ID: "k", Reason: "key_reused", Stream: "OUTLOOK_PUBLISH", Sequence: 9, Headers: headers("Nats-Msg-Id", "k")}, "OUTLOOK_PUBLISH-9/r1"},
	} {
		c.letter.Data = []byte(`{"payload":{}}`)
		r, err := c.letter.Redrive()
		if err != nil || r.Key() != c.key || string(r.Data) != `{"payload":{}}` || r.ResultID() != publisher.ResultID(c.key) || r.LedgerKey("p") != "p."+publisher.ResultID(c.key) {
			t.Errorf("%s: %s, want %s: %v", name, r.Key(), c.key, err)
		}
		sealed := r.Sealed()
		if sealed["Nats-Msg-Id"][0] != c.key || sealed["Outlook-Redrive-Of"][0] != r.Of {
			t.Errorf("%s: headers %v", name, sealed)
		}
		for header := range sealed {
			if strings.HasPrefix(strings.ToLower(header), "nats-") && header != "Nats-Msg-Id" {
				t.Errorf("%s: the header %s is sent again", name, header)
			}
		}
		if c.letter.Headers != nil && sealed["Outlook-Reply-To"] == nil {
			t.Errorf("%s: headers %v lack one of the sender's", name, sealed)
		}
	}
	if _, err := (publisher.DeadLetter{ID: "k", DataOmitted: 5}).Redrive(); fault.KindOf(err) != fault.Poison || fault.HintOf(err) == "" {
		t.Errorf("without its message: %v", err)
	}
	if r, err := (publisher.DeadLetter{ID: "k", DataBase64: []byte("not JSON")}).Redrive(); err != nil || string(r.Data) != "not JSON" {
		t.Errorf("%s: %v", r.Data, err)
	}
}

func TestOnlyTheLettersOwnUncertainRecordIsResolved(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	l := publisher.DeadLetter{
		ID: "k", Stream: "OUTLOOK_PUBLISH", Sequence: 7, ReceivedAt: at,
		Outcome: publisher.Outcome{ID: "k", Outcome: "uncertain", Status: 504, Error: &publisher.Problem{Code: "uncertain_effect"}},
	}
	resolved, err := l.ResolveAsDone("seen", at.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	record := func(state, source string) []byte {
		return []byte(`{"v":1,"state":"` + state + `","hash":"h","source":"` + source + `","touched":"2026-03-01T09:00:00Z","outcome":{"id":"k","outcome":"` + state + `"}}`)
	}
	const own = "OUTLOOK_PUBLISH-7-mm7irhc0" // with the time in base 36
	text, changed, err := l.ResolveRecord(record("uncertain", own), resolved)
	if err != nil || !changed {
		t.Fatalf("%s, %v, %v", text, changed, err)
	}
	read, err := publisher.ReadRecord(text)
	if err != nil || read.State != "done" || !read.Is(l) || !read.Received.Equal(at) {
		t.Errorf("%+v, %v", read, err)
	}
	if _, changed, err := l.ResolveRecord(text, resolved); err != nil || changed {
		t.Errorf("once more: %v, %v", changed, err)
	}
	if _, _, err := l.ResolveRecord(record("uncertain", "OUTLOOK_PUBLISH-8-mm7irhc0"), resolved); !errors.Is(err, publisher.ErrOtherRecord) {
		t.Errorf("another's: %v", err)
	}
	if _, _, err := l.ResolveRecord(record("failed", own), resolved); fault.KindOf(err) != fault.Poison {
		t.Errorf("failed: %v", err)
	}
	if _, _, err := l.ResolveRecord([]byte("{"), resolved); err == nil {
		t.Error("an unreadable record is resolved")
	}
	l.Outcome.Outcome = "failed"
	if _, err := l.ResolveAsDone("", at); fault.KindOf(err) != fault.Poison || fault.HintOf(err) == "" {
		t.Errorf("a failed command: %v", err)
	}
	var told map[string]any
	if body, err := resolved.Encode(); err != nil || json.Unmarshal(body, &told) != nil || told["resolved"] != true || told["outcome"] != "done" || told["note"] != "seen" || told["error"] != nil {
		t.Errorf("told %v: %v", told, err)
	}
}
