package subscriber_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/xform"
	"outlook-connector/subscriber"
)

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestStartNowIsQuietExceptForWhatArrivedMeanwhile(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages = map[string]page{
		"": {next: "n1", items: []string{
			mail("old", 1, "09:59:59"),
			mail("same-second", 1, "10:00:00"), // registered at 10:00:00.7
			`{"id":"no-date","@odata.etag":"1"}`,
			removed("never-told"),
			`{"id":"touched","@odata.etag":"2","receivedDateTime":"2026-01-01T00:00:00Z","lastModifiedDateTime":"2026-03-01T10:00:01Z"}`,
			`{"id":"seeded","@odata.etag":"1","receivedDateTime":"2026-01-01T00:00:00Z","lastModifiedDateTime":"2026-03-01T10:00:00Z"}`,
		}},
		"n1": {delta: "d1", items: []string{mail("new", 1, "10:00:05"), removed("same-second")}},
		"d1": {delta: "d2", items: []string{mail("old", 2, "09:59:59"), removed("no-date")}},
	}
	if next := r.poll(t); next.After < 27*time.Second || next.After > 33*time.Second {
		t.Errorf("next poll in %v, want 30 s ± 10 %%", next.After)
	}
	same(t, "events of the first read", r.stream.told(),
		[]string{"created same-second", "updated touched", "created new", "deleted same-second"})
	r.poll(t)
	same(t, "events after the next round", r.stream.told()[4:], []string{"updated old", "deleted no-date"})
	same(t, "links", r.script.links(), []string{"", "n1", "d1"})
}

func TestStartAllTellsEveryItemAsSnapshot(t *testing.T) {
	t.Parallel()
	r := newRig(t, everything(t))
	r.script.pages = map[string]page{
		"":   {next: "n1", items: []string{mail("a", 1, "01:00:00"), `{"id":"b"}`}},
		"n1": {delta: "d1", items: []string{removed("a"), mail("c", 1, "11:00:00")}},
		"d1": {delta: "d2", items: []string{mail("c", 2, "11:00:00")}},
	}
	r.poll(t)
	r.poll(t)
	same(t, "events", r.stream.told(),
		[]string{"snapshot a", "snapshot b", "deleted a", "snapshot c", "updated c"})
}

func TestStartAtADateTellsWhatArrivedFromThenOn(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Start.From = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	r := newRig(t, sub)
	r.script.pages = map[string]page{
		"": {
			next: "n1", date: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
			items: []string{mail("before", 1, "07:59:59"), mail("at", 1, "08:00:00"), `{"id":"no-date"}`},
		},
		"n1": {delta: "d1", items: []string{
			`{"id":"before","@odata.etag":"2","receivedDateTime":"2026-03-01T07:59:59Z","lastModifiedDateTime":"2026-03-01T12:00:01Z"}`,
			`{"id":"before-too","@odata.etag":"2","receivedDateTime":"2026-03-01T07:59:59Z","lastModifiedDateTime":"2026-03-01T11:59:59Z"}`,
		}},
		"d1": {delta: "d2", items: []string{mail("before", 3, "07:59:59")}},
	}
	r.poll(t)
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot at", "updated before", "updated before"})
}

func TestARoundGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	r := newRig(t, everything(t))
	broken := fault.New(fault.Retry, "503")
	r.script.pages = map[string]page{
		"":   {next: "n1", items: []string{mail("a", 1, "01:00:00")}},
		"n1": {items: []string{mail("b", 1, "01:00:00")}, next: "n2", err: broken},
		"n2": {delta: "d1", items: []string{mail("c", 1, "01:00:00")}},
	}
	r.poll(t)
	same(t, "events before the failure", r.stream.told(), []string{"snapshot a"})
	if got := r.status(t); got.Kind != fault.Retry || got.Failures != 1 || got.Lag < 0 || got.Result != "retry" {
		t.Errorf("status after a failure: %+v", got)
	}
	r.script.set("n1", page{next: "n2", items: []string{mail("b", 1, "01:00:00")}})
	other := r.restarted(t, everything(t))
	other.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot a", "snapshot b", "snapshot c"})
	same(t, "links", r.script.links(), []string{"", "n1", "n1", "n2"})
	if held := r.slots.held + other.slots.held; held != 0 {
		t.Errorf("%d slots were not released", held)
	}
}

func TestEmptyRoundsWriteNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages = map[string]page{
		"":   {delta: "d1"},
		"d1": {next: "e1"},
		"e1": {delta: "d2"},
	}
	r.poll(t)
	commits := r.stream.commits
	for range 3 {
		r.poll(t)
	}
	if r.stream.commits != commits {
		t.Errorf("%d commits by three empty rounds", r.stream.commits-commits)
	}
	same(t, "links", r.script.links(), []string{"", "d1", "e1", "d1", "e1", "d1", "e1"})
	if got := r.status(t); got.Result != "empty" || got.Phase != "changes" {
		t.Errorf("status = %+v", got)
	}
}

func TestManyEmptyPagesAreGotThrough(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages[""] = page{delta: "0"}
	const pages = 1000
	for i := range pages {
		r.script.pages[fmt.Sprint(i)] = page{next: fmt.Sprint(i + 1)}
	}
	r.script.pages[fmt.Sprint(pages)] = page{delta: "end", items: []string{mail("a", 1, "11:00:00")}}
	polls := 0
	for ; len(r.stream.told()) == 0 && polls < 20; polls++ {
		if next := r.poll(t); polls > 0 && len(r.stream.told()) == 0 && next.After != 0 {
			t.Fatalf("poll %d: a round that goes on waits %v: %+v", polls, next.After, r.status(t))
		}
	}
	same(t, "events", r.stream.told(), []string{"created a"})
	if len(r.script.links()) != pages+2 {
		t.Error("pages were read twice")
	}
	if polls > 8 || r.stream.commits > pages/5 {
		t.Errorf("%d polls, %d commits for %d empty pages", polls, r.stream.commits, pages)
	}
}

func TestAFailureAmongEmptyPagesCostsAFewOfThem(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages[""] = page{delta: "0"}
	for i := range 25 {
		r.script.pages[fmt.Sprint(i)] = page{next: fmt.Sprint(i + 1)}
	}
	r.script.pages["25"] = page{err: fault.New(fault.Retry, "503")}
	r.poll(t)
	r.poll(t)
	r.script.links()
	r.script.set("25", page{delta: "end"})
	r.poll(t)
	same(t, "links after the failure", r.script.links(), []string{"20", "21", "22", "23", "24", "25"})
}

func TestEndlessRoundsStopAndRepeatNoEvent(t *testing.T) {
	t.Parallel()
	page100 := make([]string, 100)
	for i := range page100 {
		page100[i] = mail(fmt.Sprintf("m%d", i), 1, "11:00:00")
	}
	one := func(id string) []string { return []string{mail(id, 1, "11:00:00")} }
	newLinks := map[string]page{"": {delta: "l0"}}
	for i := range 100 {
		newLinks[fmt.Sprintf("l%d", i)] = page{next: fmt.Sprintf("l%d", i+1), items: page100}
	}
	for name, test := range map[string]struct {
		pages  map[string]page
		events int
	}{
		"the same link":                 {map[string]page{"": {delta: "x"}, "x": {next: "x", items: one("a")}}, 0},
		"the link of the page before":   {map[string]page{"": {delta: "x"}, "x": {next: "y", items: one("a")}, "y": {next: "y", items: one("b")}}, 1},
		"a circle of three":             {map[string]page{"": {delta: "x"}, "x": {next: "a", items: one("1")}, "a": {next: "b", items: one("2")}, "b": {next: "c", items: one("3")}, "c": {next: "a", items: one("4")}}, 3},
		"an empty circle":               {map[string]page{"": {delta: "x"}, "x": {next: "a"}, "a": {next: "b"}, "b": {next: "a"}}, 0},
		"new links with the same items": {newLinks, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, inbox(t))
			r.script.pages = test.pages
			r.poll(t)
			r.poll(t)
			stands := r.stream.cursor(t, r.feed)["link"]
			for range 3 {
				r.poll(t)
				if got := r.status(t); got.Code != "page_loop" || got.Hint == "" {
					t.Fatalf("status = %+v", got)
				}
			}
			same(t, "link of the cursor", r.stream.cursor(t, r.feed)["link"], stands)
			if got := len(r.stream.told()); got != test.events {
				t.Errorf("%d events, want %d", got, test.events)
			}
			same(t, "event ids that are there twice", len(r.stream.twice()), 0)
		})
	}
}

func TestPagesWithBothOrNoLinksAreRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []page{{}, {next: "n", delta: "d"}} {
		r := newRig(t, everything(t))
		bad.items = []string{mail("a", 1, "01:00:00")}
		r.script.pages[""] = bad
		r.poll(t)
		if got := r.status(t); got.Code != "bad_page" {
			t.Errorf("status = %+v", got)
		}
		if len(r.stream.told()) != 0 || r.stream.commits != 0 {
			t.Error("a page without a way on was stored")
		}
	}
}

func TestReplaysAreToldOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages = map[string]page{
		"":   {delta: "d1", items: []string{mail("b", 1, "09:00:00")}},
		"d1": {next: "n1", items: []string{mail("a", 1, "11:00:00"), mail("a", 1, "11:00:00"), mail("a", 2, "11:00:00"), mail("a", 1, "11:00:00")}},
		"n1": {delta: "d2", items: []string{mail("a", 2, "11:00:00"), removed("b"), removed("b")}},
		"d2": {delta: "d3", items: []string{mail("a", 1, "11:00:00"), mail("a", 2, "11:00:00"), mail("a", 3, "11:00:00"), removed("b")}},
	}
	for range 3 {
		r.poll(t)
	}
	same(t, "events", r.stream.told(), []string{"created a", "updated a", "deleted b", "updated a"})
	same(t, "event ids that are there twice", len(r.stream.twice()), 0)
}

func TestAnItemThatComesBackUnchangedIsToldAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	a, toggled := mail("a", 1, "11:00:00"), `{"id":"t","isRead":true}`
	r.script.pages = map[string]page{
		"":   {delta: "d1"},
		"d1": {delta: "d2", items: []string{a, toggled}},
		"d2": {delta: "d3", items: []string{removed("a"), a, removed("a"), a, `{"id":"t","isRead":false}`}},
		"d3": {delta: "d4", items: []string{removed("a"), toggled}},
		"d4": {delta: "d5", items: []string{a}},
	}
	for range 5 {
		r.poll(t)
	}
	same(t, "events", r.stream.told(), []string{
		"created a", "created t",
		"deleted a", "created a", "deleted a", "created a", "updated t",
		"deleted a", "updated t",
		"created a",
	})
	same(t, "event ids that are there twice", len(r.stream.twice()), 0)
}

func TestALostTokenTellsWhatIsNew(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	gone := page{err: fault.New(fault.Resync, "410 syncStateNotFound")}
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r.script.pages = map[string]page{
		"":   {delta: "d1", items: []string{mail("old", 1, "09:00:00")}},
		"d1": {delta: "d2", date: began, items: []string{mail("told", 1, "12:00:00")}},
		"d2": gone,
	}
	r.poll(t)
	r.poll(t)
	if next := r.poll(t); next.After > 2*time.Second {
		t.Errorf("the full read begins in %v", next.After)
	}
	if got := r.stream.cursor(t, r.feed); got["phase"] != "resync" || got["link"] != nil || got["round"] != 4.0 {
		t.Errorf("cursor after a lost token: %v", got)
	}
	r.script.set("", page{next: "n1", items: []string{
		mail("old", 1, "09:00:00"), mail("told", 1, "12:00:00"), mail("missed", 1, "12:00:00"),
		`{"id":"touched","@odata.etag":"7","receivedDateTime":"2026-01-01T00:00:00Z","lastModifiedDateTime":"2026-03-01T12:00:01Z"}`,
	}})
	r.script.set("n1", gone) // lost once more, in the middle
	r.poll(t)
	r.poll(t)
	r.script.set("n1", page{delta: "d9", items: []string{mail("late", 1, "12:30:00")}})
	r.script.set("d9", page{delta: "d10", items: []string{mail("old", 2, "09:00:00")}})
	r.poll(t)
	r.poll(t)
	same(t, "events", r.stream.told(), []string{
		"created told", "created missed", "created touched", "created late", "updated old",
	})
	if got := r.status(t); got.Kind != 0 || got.Failures != 0 || got.Error != "" {
		t.Errorf("status after recovery: %+v", got)
	}
}

func TestALostTokenAtTheBeginningIsNotAskedInALoop(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages[""] = page{err: fault.New(fault.Resync, "410")}
	var last time.Duration
	for range 12 {
		last = max(last, r.poll(t).After)
	}
	if last < 5*time.Second || r.stream.commits != 0 {
		t.Errorf("waits grew to %v only, %d commits", last, r.stream.commits)
	}
}

func TestAChangedRequestBeginsANewRound(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages = map[string]page{
		"":   {delta: "d1", date: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
		"d1": {delta: "d2"},
	}
	r.poll(t)
	r.script.set("", page{delta: "e1", items: []string{mail("old", 1, "11:00:00"), mail("new", 1, "12:00:01")}})
	changed := inbox(t)
	changed.Query = map[string]string{"$select": "subject,receivedDateTime"}
	for range 2 {
		r.script.set("e1", page{delta: "e2"})
		r = r.restarted(t, changed)
		r.poll(t)
	}
	same(t, "links", r.script.links(), []string{"", "", "e1"})
	// Graph shows what it did not show to the earlier request, too.
	same(t, "events", r.stream.told(), []string{"created old", "created new"})
}

func TestALargePageGoesInSeveralCommits(t *testing.T) {
	t.Parallel()
	sub := everything(t)
	var items []string
	for i := range 25 {
		items = append(items, mail(fmt.Sprintf("m%02d", i), 1, "11:00:00"))
	}
	small := func(o *subscriber.Options) { o.MaxMessages = 10 }
	r := newRig(t, sub, small)
	r.stream.limit = 10
	// The page is cut off after the second commit: the stream fails the third.
	broken := errors.New("no answer")
	r.script.pages[""] = page{delta: "d1", items: items}
	stream := &failingStream{memStream: r.stream, left: 2, err: broken}
	s := newRig(t, sub, small, func(o *subscriber.Options) { o.Stream, o.Source = stream, r.script })
	s.poll(t)
	if got := len(r.stream.told()); got != 18 {
		t.Fatalf("%d events after two commits, want 18", got)
	}
	// Read again the page has another order and one more item, and one is gone.
	slices.Reverse(items)
	r.script.set("", page{delta: "d1", items: append(items[:24:24], mail("more", 1, "11:00:00"))})
	r.poll(t)
	told := r.stream.told()
	if len(told) != 27 || len(r.stream.twice()) != 0 {
		t.Errorf("%d events, twice: %v", len(told), r.stream.twice())
	}
	// There is no link to read the same first page again by, so what was told of
	// it and is gone is found by the sweep.
	same(t, "the last event", told[len(told)-1], "deleted m00")
	same(t, "link", r.stream.cursor(t, r.feed)["link"], any("d1"))
}

func TestABatchStaysBelowItsBytes(t *testing.T) {
	t.Parallel()
	sub := everything(t)
	var items []string
	for i := range 10 {
		items = append(items, fmt.Sprintf(`{"id":"m%d","@odata.etag":"1","body":%q}`, i, strings.Repeat("x", 30_000)))
	}
	r := newRig(t, sub, func(o *subscriber.Options) { o.MaxBytes = 100_000 })
	r.script.pages[""] = page{delta: "d1", items: items}
	r.poll(t)
	if len(r.stream.told()) != 10 || r.stream.commits < 4 {
		t.Errorf("%d events in %d commits", len(r.stream.told()), r.stream.commits)
	}
}

func TestAFencedWorkerDropsWhatItRead(t *testing.T) {
	t.Parallel()
	r := newRig(t, everything(t))
	r.script.pages = map[string]page{
		"":   {delta: "d1", items: []string{mail("a", 1, "01:00:00")}},
		"d1": {delta: "d2"},
	}
	zombie := newRig(t, everything(t), func(o *subscriber.Options) {
		o.Stream = r.stream
		o.Source = asked(func(ctx context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error) {
			if req.Link == "" {
				r.poll(t) // while the zombie is frozen in its request
			}
			return r.script.Read(ctx, req, emit)
		})
	})
	if next := zombie.poll(t); next.After == 0 || next.After > 2*time.Second {
		t.Errorf("a fenced feed comes back in %v", next.After)
	}
	same(t, "events", r.stream.told(), []string{"snapshot a"})
	if got := zombie.status(t); got.Result != "fenced" || got.Failures != 0 {
		t.Errorf("status = %+v", got)
	}
}

func TestTransformsChangeDropAndBury(t *testing.T) {
	t.Parallel()
	sub := everything(t)
	sub.Transform = compile(t, `if .subject == "drop" then empty elif .subject == "bad" then error("no such thing") else {id, n} end`)
	r := newRig(t, sub)
	bad := `{"id":"b","@odata.etag":"1","subject":"bad"}`
	r.script.pages = map[string]page{
		"": {delta: "d1", items: []string{
			`{"id":"d","@odata.etag":"1","subject":"drop"}`, bad,
			`{"id":"k","@odata.etag":"1","subject":"<keep>","n":12345678901234567890.10}`,
		}},
		"d1": {delta: "d2", items: []string{removed("k")}},
	}
	// The letter is durable before the cursor moves: nothing is stored without it.
	r.dead.err = errors.New("stream is full")
	r.poll(t)
	if r.stream.commits != 0 {
		t.Fatal("the cursor moved although the dead letter could not be written")
	}
	r.dead.err = nil
	// A crash between letter and commit writes the same letter again.
	r.stream.failing = errors.New("connection lost")
	r.poll(t)
	r.stream.failing = nil
	r.poll(t)
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot k", "deleted k"})
	same(t, "body", string(r.stream.events[0].Body), `{"id":"k","n":12345678901234567890.10}`)
	same(t, "body of a deletion", string(r.stream.events[1].Body), removed("k"))
	if r.dead.puts != 2 || len(r.dead.byID) != 1 {
		t.Fatalf("%d letters under %d ids, want one twice", r.dead.puts, len(r.dead.byID))
	}
	for letter := range maps.Values(r.dead.byID) {
		if string(letter.Body) != bad || letter.Code != "transform" || letter.Hint == "" ||
			!strings.Contains(letter.Reason, "no such thing") || letter.Header["Outlook-Id"] != "b" || letter.Feed != r.feed {
			t.Errorf("letter = %+v", letter)
		}
	}
}

func TestItemsThatAreNoneBecomeDeadLetters(t *testing.T) {
	t.Parallel()
	r := newRig(t, everything(t), func(o *subscriber.Options) { o.MaxBody = 200 })
	large := fmt.Sprintf(`{"id":"large","body":%q}`, strings.Repeat("x", 200))
	r.script.pages[""] = page{delta: "d1", items: []string{
		`42`, `{"subject":"no id"}`, large, `{"id":"good"}`, fmt.Sprintf(`{"id":%q}`, strings.Repeat("i", 2000)),
	}}
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot good"})
	var got []string
	for letter := range maps.Values(r.dead.byID) {
		got = append(got, letter.Code+" "+string(letter.Body[:min(20, len(letter.Body))]))
	}
	slices.Sort(got)
	same(t, "letters", got, []string{`bad_item 42`, `bad_item {"id":""}`, `bad_item {"subject":"no id"}`, `too_large {"id":"large"}`})
}

func compile(t *testing.T, src string) *xform.Program {
	t.Helper()
	program, err := xform.Compile(src)
	if err != nil {
		t.Fatal(err)
	}
	return program
}
