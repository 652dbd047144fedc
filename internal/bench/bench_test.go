package bench

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestItemsAreMessagesOfTheSizeThatWasAskedFor(t *testing.T) {
	t.Parallel()
	for asked, want := range map[int]int{1: 1 << 10, 1 << 10: 1 << 10, 4 << 10: 4 << 10, 30_000: 30_000} {
		all := newItems(asked)
		one, two := all.appendTo([]byte("before"), 1), all.appendTo(nil, 0xabcdef0123456789)
		one = one[len("before"):]
		if len(one) != want || len(two) != want {
			t.Errorf("asked for %d bytes: got %d and %d", asked, len(one), len(two))
		}
		var first, second map[string]any
		if err := json.Unmarshal(one, &first); err != nil {
			t.Fatalf("%d bytes: %v: %s", asked, err, one)
		}
		if err := json.Unmarshal(two, &second); err != nil {
			t.Fatalf("%d bytes: %v: %s", asked, err, two)
		}
		for _, member := range []string{"id", "changeKey", "@odata.etag"} {
			if first[member] == second[member] {
				t.Errorf("two messages have the %s %v", member, first[member])
			}
		}
		if id, _ := second["id"].(string); !strings.HasSuffix(id, "abcdef0123456789") {
			t.Errorf("the id is %s", id)
		}
	}
}

// page is what a sink answers.
type page struct {
	Value []struct{ ID string }
	Next  string `json:"@odata.nextLink"`
	Delta string `json:"@odata.deltaLink"`
}

func get(t *testing.T, url string) (p page) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(body, &p)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return p
}

// newSinkServer serves a sink.
func newSinkServer(t *testing.T, spec SinkSpec) (*sink, string) {
	t.Helper()
	var s *sink
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.handler().ServeHTTP(w, r) }))
	s = newSink(spec, server.URL)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	})
	return s, server.URL + sinkBase + "/users/%s/mailFolders/inbox/messages/delta"
}

func TestEachFeedGetsItsPagesAndItsEnd(t *testing.T) {
	t.Parallel()
	s, address := newSinkServer(t, SinkSpec{Feeds: 2, Pages: 3, Items: 2, Size: 1 << 10})
	s.start()
	s.start() // twice is allowed
	ids := make(map[string]bool)
	for _, mailbox := range []string{"ann", "bob"} {
		link, pages := strings.Replace(address, "%s", mailbox, 1), 0
		for ; link != ""; pages++ {
			p := get(t, link)
			for _, item := range p.Value {
				if ids[item.ID] {
					t.Errorf("%s comes twice", item.ID)
				}
				ids[item.ID] = true
			}
			if pages == 1 {
				if again := get(t, link); len(again.Value) != 2 || again.Value[0] != p.Value[0] {
					t.Errorf("a page that is read again has other items")
				}
			}
			if link = p.Next; p.Delta != "" {
				after := get(t, p.Delta)
				if len(after.Value) != 0 || after.Delta == "" {
					t.Errorf("after its end the feed goes on: %+v", after)
				}
			}
		}
		if pages != 3 {
			t.Errorf("%s has %d pages", mailbox, pages)
		}
	}
	state := s.state()
	if len(ids) != 12 || state.Pages != 6 || state.Ended != 2 || state.P50 <= 0 || state.P99 < state.P50 {
		t.Errorf("%d items, %+v", len(ids), state)
	}
}

func TestTheFirstPagesWaitForTheBeginning(t *testing.T) {
	t.Parallel()
	s, address := newSinkServer(t, SinkSpec{Feeds: 1, Items: 1, Size: 1 << 10, For: time.Nanosecond})
	got := make(chan page)
	go func() { got <- get(t, strings.Replace(address, "%s", "ann", 1)) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for s.state().Waiting != 1 {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatal("nobody waits")
		}
	}
	if state := s.state(); state.Pages != 0 {
		t.Errorf("a page was given before the beginning: %+v", state)
	}
	s.start()
	if p := <-got; p.Delta == "" || len(p.Value) != 1 {
		t.Errorf("after the time there is a page more: %+v", p)
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var all []time.Duration
	for i := 100; i > 0; i-- {
		all = append(all, time.Duration(i))
	}
	if p50, p99 := quantiles(all); p50 != 51 || p99 != 100 {
		t.Errorf("of 1 to 100: %d and %d", p50, p99)
	}
	if p50, p99 := quantiles(nil); p50 != 0 || p99 != 0 {
		t.Errorf("of nothing: %d and %d", p50, p99)
	}
}

func TestRatiosAreOverTheRoundsOfOneKind(t *testing.T) {
	t.Parallel()
	runs := []IngestRun{
		{Ratio: 0.3, RawKind: rawAsync},
		{Ratio: 7, RawKind: rawOneByOne, SyncAlways: true},
		{Ratio: 0.1, RawKind: rawAsync},
		{Ratio: 0.4, RawKind: rawAsync},
		{Ratio: 9, RawKind: rawOneByOne, SyncAlways: true},
	}
	if got, want := ratioOf(runs, false), (Ratio{Against: "async", Median: 0.3, Least: 0.1, Most: 0.4, Target: 0.3}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got, want := ratioOf(runs, true), (Ratio{SyncAlways: true, Against: "one by one", Median: 8, Least: 7, Most: 9, Target: 6}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestTheSystemTellsWhatAProcessUses(t *testing.T) {
	t.Parallel()
	if (usageOf(os.Getpid()) == usage{}) != (usageOf(os.Getpid()).RSS == 0) {
		t.Error("memory and time are told, or neither")
	}
	if got := usageOf(-1); got != (usage{}) {
		t.Errorf("a process that there is none of uses %+v", got)
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		return // only Linux tells
	}
	ballast := make([]byte, 64<<20)
	for i := 0; i < len(ballast); i += 4096 {
		ballast[i] = 1
	}
	got := usageOf(os.Getpid())
	if got.RSS < 64<<20 && ballast[0] == 1 || got.Peak < got.RSS {
		t.Errorf("with 64 MiB more it uses %+v", got)
	}
}

func TestAPartThatFailsTellsItsLog(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "read what to do: EOF", "{\n": "read what to do: unexpected end", "{}\n": "nothing to do"} {
		err := Part(t.Context(), strings.NewReader(text), io.Discard, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("told %q: %v, want %s", text, err, want)
		}
	}
	// This test binary takes no such argument, and says so.
	_, err := spawn(t.Context(), "sink", []string{"-no-such-flag"}, Spec{Sink: &SinkSpec{}})
	if err == nil || !strings.Contains(err.Error(), "the sink ended: ") || !strings.Contains(err.Error(), "no-such-flag") {
		t.Errorf("got %v", err)
	}
}

func TestTheEndOfALogIsKept(t *testing.T) {
	t.Parallel()
	log := new(tail)
	for range 3 {
		if _, err := log.Write([]byte(strings.Repeat("x", tailSize/2) + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = log.Write([]byte("the end\n"))
	if got := log.String(); len(got) > tailSize || !strings.HasSuffix(got, "\nthe end") {
		t.Errorf("%d bytes are kept, the last of them %q", len(got), got[len(got)-10:])
	}
}
