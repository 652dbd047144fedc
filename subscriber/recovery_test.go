package subscriber_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
	"outlook-connector/subscriber"
)

// filled is a folder with so many mails that came before the registration.
func filled(mails, size int) *folder {
	f := &folder{
		ticks: &ticks{now: registeredAt.Add(-time.Hour)}, mails: map[string]letter{}, size: size, replays: rand.New(rand.NewPCG(1, 1)),
	}
	for i := range mails {
		f.put(fmt.Sprintf("m%04d", i))
	}
	return f
}

// settleDown polls until nothing is left to be done.
func (r *rig) settleDown(t *testing.T) {
	t.Helper()
	for range 50 {
		r.poll(t)
		if r.status(t).Result == "empty" {
			return
		}
	}
	t.Fatalf("the feed does not come to rest: %+v", r.status(t))
}

// TestALostTokenTellsTrueDifferencesOnly loses all tokens of a folder with some
// hundreds of mails, also in the middle of the full read that follows.
func TestALostTokenTellsTrueDifferencesOnly(t *testing.T) {
	t.Parallel()
	for name, all := range map[string]bool{"start all": true, "start now": false} {
		for _, again := range []int{0, 1, 4} {
			t.Run(fmt.Sprint(name, ", lost again after ", again, " pages"), func(t *testing.T) {
				t.Parallel()
				f := filled(600, 40)
				reads, budget := 0, 1<<30
				sub := inbox(t)
				sub.Start.All = all
				r := newRig(t, sub, func(o *subscriber.Options) {
					o.Source = asked(func(ctx context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error) {
						if reads++; reads == budget {
							f.tokens++
						}
						return f.Read(ctx, req, emit)
					})
				})
				r.settleDown(t)
				told := len(r.stream.told())
				if want := map[bool]int{true: 600}[all]; told != want {
					t.Fatalf("%d events of 600 mails, want %d", told, want)
				}
				// What happens while nobody looks.
				f.now = registeredAt.Add(time.Hour)
				f.put("m0003")
				f.put("m0590")
				f.remove("m0004")
				f.remove("m0599")
				f.put("m0004") // came back with another version
				f.remove("m0200")
				f.put("new")
				f.put("gone at once")
				f.remove("gone at once")
				f.tokens++
				reads = 0
				if again > 0 {
					budget = 1 + again
				}
				r.settleDown(t)
				got := r.stream.told()[told:]
				slices.Sort(got)
				same(t, "events", got, []string{
					"created new", "deleted m0200", "deleted m0599", "updated m0003", "updated m0004", "updated m0590",
				})
				same(t, "event ids that are there twice", len(r.stream.twice()), 0)
				same(t, "what is wrong with the index", r.stream.broken, nil)
				r.stream.onlyNamed(t, r.feed)
			})
		}
	}
}

// onlyNamed checks that the stream has the pieces that the cursor names and no
// others.
func (m *memStream) onlyNamed(t *testing.T, feed subscriber.Feed) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	names := named(m.cursors[feed])
	slices.Sort(names)
	same(t, "pieces", slices.Sorted(maps.Keys(m.pieces[feed])), names)
}

// troubled fails one call to the stream, before or after its effect.
type troubled struct {
	*memStream
	calls, at int
	after     bool
	hit       string
	names     []string
}

func (s *troubled) call(name string, effect func() error) error {
	s.calls++
	s.names = append(s.names, name)
	if s.calls != s.at {
		return effect()
	}
	s.hit = name
	if s.after {
		if err := effect(); err != nil {
			return err
		}
	}
	return errBroken
}

func (s *troubled) Cursor(ctx context.Context, feed subscriber.Feed) (value []byte, seq uint64, err error) {
	err = s.call("cursor", func() error { value, seq, err = s.memStream.Cursor(ctx, feed); return err })
	return value, seq, err
}

func (s *troubled) Commit(ctx context.Context, c subscriber.Commit) (seq uint64, err error) {
	err = s.call("commit", func() error { seq, err = s.memStream.Commit(ctx, c); return err })
	return seq, err
}

func (s *troubled) Segment(ctx context.Context, feed subscriber.Feed, id string) (data []byte, err error) {
	err = s.call("segment", func() error { data, err = s.memStream.Segment(ctx, feed, id); return err })
	return data, err
}

func (s *troubled) PutSegments(ctx context.Context, feed subscriber.Feed, segments []index.Segment) error {
	return s.call("put", func() error { return s.memStream.PutSegments(ctx, feed, segments) })
}

func (s *troubled) DropSegments(ctx context.Context, feed subscriber.Feed, ids []string) error {
	return s.call("drop", func() error { return s.memStream.DropSegments(ctx, feed, ids) })
}

func (s *troubled) Orphans(ctx context.Context, feed subscriber.Feed, keep []string, at uint64) (ids []string, err error) {
	err = s.call("orphans", func() error { ids, err = s.memStream.Orphans(ctx, feed, keep, at); return err })
	return ids, err
}

// TestACrashBetweenAnyTwoStepsLosesAndRepeatsNothing fails each single call to
// the stream, before and after its effect, in a life with a full read, merges of
// the index, a lost token and a sweep. Another worker goes on.
func TestACrashBetweenAnyTwoStepsLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	calm := &troubled{memStream: newMemStream()}
	lifeWithTrouble(t, calm)
	seen, hits, orphans := map[string]int{}, map[string]int{}, 0
	for i, name := range calm.names {
		// Of the frequent calls one in five fails, the others all do, each before
		// its effect or after it.
		if seen[name]++; (name == "commit" || name == "segment" || name == "cursor") && seen[name]%5 != 1 {
			continue
		}
		for _, after := range []bool{false, true} {
			s := &troubled{memStream: newMemStream(), at: i + 1, after: after}
			orphans += lifeWithTrouble(t, s)
			if hits[s.hit]++; t.Failed() {
				t.Fatalf("call %d, %s, after its effect: %t", s.at, s.hit, after)
			}
		}
	}
	for _, want := range []string{"cursor", "commit", "put", "drop", "orphans"} {
		if hits[want] == 0 {
			t.Errorf("no %s failed: %v", want, hits)
		}
	}
	if orphans == 0 {
		t.Error("no crash left a piece behind, so nothing shows that they are found")
	}
}

// lifeWithTrouble lets workers live through the trouble and returns how many
// pieces the crash had left behind.
func lifeWithTrouble(t *testing.T, s *troubled) (orphans int) {
	t.Helper()
	f := filled(440, 40)
	sub := everything(t)
	worker := func() *rig {
		r := newRig(t, sub, func(o *subscriber.Options) {
			o.Source, o.Stream, o.MaxMessages = f, s, 25
		})
		r.stream = s.memStream
		return r
	}
	live := func() {
		for r := worker(); ; r = worker() { // after each failure another one
			for range 100 {
				r.poll(t)
				if got := r.status(t); got.Result == "empty" || got.Error != "" && got.Kind != fault.Resync {
					break
				}
			}
			if r.status(t).Result == "empty" {
				return
			}
		}
	}
	live()
	f.now = registeredAt.Add(time.Hour)
	for i := range 440 {
		switch i % 5 {
		case 0:
			f.put(fmt.Sprintf("m%04d", i))
		case 1:
			f.remove(fmt.Sprintf("m%04d", i))
		}
	}
	f.tokens++
	live()
	orphans = len(s.pieces[subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part("inbox")}]) -
		len(named(s.cursors[subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part("inbox")}]))
	// Enough changes for one more merge, by a worker that has not looked yet.
	for i := range 440 {
		f.put(fmt.Sprintf("later%04d", i))
	}
	live()
	counts := map[string]int{}
	for _, told := range s.told() {
		kind, _, _ := strings.Cut(told, " ")
		counts[kind]++
	}
	same(t, "events", counts, map[string]int{"snapshot": 440, "updated": 88, "deleted": 88, "created": 440})
	same(t, "event ids that are there twice", len(s.twice()), 0)
	same(t, "what is wrong with the index", s.broken, nil)
	feed := subscriber.Feed{Subscription: "inbox", Mailbox: "me", Part: subscriber.Part("inbox")}
	if s.hit != "" && s.calls > s.at+30 { // a merge came after it
		s.onlyNamed(t, feed)
	}
	return orphans
}

// TestAPausedFeedIsLeftAlone and a resumed one goes on.
func TestAPausedFeedIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t, everything(t))
	r.script.pages[""] = page{delta: "d1", items: []string{mail("a", 1, "01:00:00")}}
	r.data = []byte(strings.Replace(string(r.data), "{", `{"paused":true,`, 1))
	if next := r.poll(t); next.After < 10*time.Second || next.Drop || len(r.script.asked) != 0 {
		t.Errorf("next = %+v, %d requests", next, len(r.script.asked))
	}
	r.data = registration(registeredAt)
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot a"})
}

func TestAFullReadThatIsAskedForHappensOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	r.script.pages = map[string]page{"": {delta: "d1", items: []string{mail("a", 1, "01:00:00"), mail("b", 1, "01:00:00")}}, "d1": {delta: "d1"}}
	r.poll(t)
	r.script.set("", page{delta: "d1", items: []string{mail("a", 2, "01:00:00"), mail("c", 1, "01:00:00")}})
	r.data = []byte(strings.Replace(string(r.data), "{", `{"resync":"one",`, 1))
	for range 3 {
		r.poll(t)
	}
	same(t, "links", r.script.links(), []string{"", "", "d1", "d1"})
	same(t, "events", r.stream.told(), []string{"updated a", "created c", "deleted b"})
	same(t, "event ids that are there twice", len(r.stream.twice()), 0)
}

func TestACursorOfTheFirstVersionIsTakenUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, inbox(t))
	// Version 1 wrote this after it had told the mail "told" in its version told-1.
	value := `{"v":1,"link":"old","phase":"changes","round":7,"done":"2026-03-01T12:00:00Z","request":"x","told":["` +
		subscriber.ToldV1("told", "told-1") + `"],"at":"2026-03-01T12:00:00Z"}`
	if _, err := r.stream.Commit(t.Context(), subscriber.Commit{Feed: r.feed, Cursor: []byte(value)}); err != nil {
		t.Fatal(err)
	}
	r.script.pages = map[string]page{
		"": {delta: "d1", items: []string{
			mail("old", 1, "09:00:00"), mail("told", 1, "12:00:01"), mail("missed", 1, "12:00:02"),
		}},
		"d1": {delta: "d2", items: []string{mail("told", 2, "12:00:01"), removed("old"), removed("never seen")}},
	}
	r.poll(t)
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"created missed", "updated told", "deleted old"})
}

func TestOnlyTheWantedKindsAreTold(t *testing.T) {
	t.Parallel()
	for kinds, want := range map[string][]string{
		"":                        {"created a", "updated a", "deleted a", "created a"},
		"created":                 {"created a", "created a"},
		"updated":                 {"updated a"},
		"deleted":                 {"deleted a"},
		"created,updated":         {"created a", "updated a", "created a"},
		"created,updated,deleted": {"created a", "updated a", "deleted a", "created a"},
	} {
		sub := inbox(t)
		if kinds != "" {
			sub.Changes = strings.Split(kinds, ",")
		}
		r := newRig(t, sub)
		r.script.pages = map[string]page{
			"":   {delta: "d1"},
			"d1": {delta: "d2", items: []string{mail("a", 1, "11:00:00"), mail("a", 2, "11:00:00"), removed("a"), mail("a", 3, "11:00:00")}},
		}
		r.poll(t)
		r.poll(t)
		same(t, "events with changes: "+kinds, r.stream.told(), want)
	}
}

func TestAFullStreamLetsTheFeedWait(t *testing.T) {
	t.Parallel()
	r := newRig(t, everything(t))
	r.script.pages = map[string]page{"": {delta: "d1", items: []string{mail("a", 1, "01:00:00")}}, "d1": {delta: "d1"}}
	r.stream.failing = fault.New(fault.Retry, "maximum bytes exceeded").WithCode("store_full").WithHint("give it more room")
	next := r.poll(t)
	got := r.status(t)
	if next.After < 20*time.Second || next.After > 40*time.Second || got.Code != "store_full" || got.Hint == "" || r.stream.commits != 0 {
		t.Errorf("next = %+v, status = %+v", next, got)
	}
	r.stream.failing = nil
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot a"})
	if got := r.status(t); got.Error != "" {
		t.Errorf("status = %+v", got)
	}
}

func TestAnItemThatWasNeverToldIsNotToldAsDeleted(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Transform = compile(t, `if .subject == "v2" then empty else . end`)
	r := newRig(t, sub)
	r.script.pages = map[string]page{
		"": {delta: "d1"},
		"d1": {delta: "d2", items: []string{
			mail("dropped", 2, "11:00:00"), mail("told", 1, "11:00:00"), mail("late", 2, "11:00:00"),
		}},
		"d2": {delta: "d3", items: []string{mail("told", 2, "11:00:00"), mail("late", 3, "11:00:00")}},
		"d3": {delta: "d4", items: []string{removed("dropped"), removed("told"), removed("late")}},
	}
	for range 4 {
		r.poll(t)
	}
	same(t, "events", r.stream.told(), []string{"created told", "updated late", "deleted told", "deleted late"})
}

func TestARetiredFeedTakesBackWhatItTold(t *testing.T) {
	t.Parallel()
	f := filled(500, 100)
	r := newRig(t, everything(t), func(o *subscriber.Options) { o.Source = f })
	r.settleDown(t)
	began := r.data
	r.data = []byte(strings.Replace(string(r.data), "{", `{"retire":true,`, 1))
	var next subscriber.Next
	for range 10 {
		if next = r.poll(t); next.Drop {
			break
		}
	}
	if !next.Drop {
		t.Fatalf("the feed is not dropped: %+v", r.status(t))
	}
	deleted := 0
	for _, told := range r.stream.told() {
		if strings.HasPrefix(told, "deleted ") {
			deleted++
		}
	}
	same(t, "deletions", deleted, 500)
	r.stream.onlyNamed(t, r.feed)
	same(t, "pieces that are left", len(r.stream.pieces[r.feed]), 0)
	// It comes back, and so does what it told.
	r.data = began
	r.settleDown(t)
	same(t, "events", len(r.stream.told()), 1500)
	same(t, "event ids that are there twice", len(r.stream.twice()), 0)
}

// looked is [subscriber.Items] that finds items in folders.
type looked struct {
	object
	in map[string]string // id → folder
}

func (l *looked) Batch(_ context.Context, _, _ string, gets []subscriber.Get) ([]subscriber.Got, error) {
	got := make([]subscriber.Got, 0, len(gets))
	for _, get := range gets {
		id := get.Path[strings.LastIndex(get.Path, "/")+1:]
		if strings.HasPrefix(get.Path, "mailFolders/") { // a well-known name stands for an id
			got = append(got, subscriber.Got{Status: 200, Body: fmt.Appendf(nil, `{"id":"the %s"}`, id)})
			continue
		}
		switch folder := l.in[id]; folder {
		case "":
			missing := fault.New(fault.Poison, "404").WithCode("ErrorItemNotFound")
			got = append(got, subscriber.Got{Status: 404, Code: "ErrorItemNotFound", Err: missing})
		case "broken":
			got = append(got, subscriber.Got{Status: 503, Err: fault.New(fault.Retry, "503")})
		default:
			got = append(got, subscriber.Got{Status: 200, Body: fmt.Appendf(nil, `{"id":%q,"parentFolderId":%q}`, id, folder)})
		}
	}
	return got, nil
}

func TestDeletionsAreLookedAt(t *testing.T) {
	t.Parallel()
	items := &looked{in: map[string]string{"moved": "elsewhere", "unsure": "broken", "here": "the inbox", "swept": "elsewhere"}}
	r := newRig(t, everything(t), func(o *subscriber.Options) { o.Items = items })
	var mails, gone []string
	for _, id := range []string{"moved", "purged", "unsure", "here", "back", "swept", "still"} {
		mails = append(mails, mail(id, 1, "01:00:00"))
		if id != "swept" && id != "still" {
			gone = append(gone, removed(id))
		}
	}
	items.in["still"] = "the inbox"
	r.script.pages = map[string]page{
		"":   {delta: "d1", items: mails},
		"d1": {delta: "d2", items: append(gone, mail("back", 1, "01:00:00"))},
		"d2": {delta: "d3", items: []string{mail("here", 1, "01:00:00")}}, // a replay
		"d3": {err: fault.New(fault.Resync, "410")},
	}
	for range 4 {
		r.poll(t)
	}
	r.script.set("", page{delta: "e1", items: []string{mail("here", 1, "01:00:00"), mail("back", 1, "01:00:00")}})
	r.poll(t)
	var got []string
	for _, event := range r.stream.events[len(mails):] {
		line := event.Header["Outlook-Change"] + " " + event.Header["Outlook-Id"]
		for _, name := range []string{"Outlook-Verified", "Outlook-Reason"} {
			if value, there := event.Header[name]; there {
				line += " " + value
			}
		}
		got = append(got, line)
	}
	same(t, "events", got, []string{
		"deleted moved moved", "deleted purged", "deleted unsure false", "deleted back false", "created back",
		"deleted swept moved",
	})
	same(t, "body of a deletion that was missed", string(r.stream.events[len(r.stream.events)-1].Body), `{"@removed":{"reason":"deleted"},"id":"swept"}`)
}

// TestAnIndexThatSomebodyRemovedIsMadeAgain lets the feed go on as one that
// knows nothing but when it was last read.
func TestAnIndexThatSomebodyRemovedIsMadeAgain(t *testing.T) {
	t.Parallel()
	for code, hurt := range map[string]func(pieces map[string]piece){
		"index_missing": func(pieces map[string]piece) { clear(pieces) },
		"index_damaged": func(pieces map[string]piece) {
			for id, p := range pieces {
				pieces[id] = piece{data: bytes.Repeat([]byte("?"), len(p.data)), seq: p.seq}
			}
		},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			checkLostIndex(t, code, hurt)
		})
	}
}

func checkLostIndex(t *testing.T, code string, hurt func(pieces map[string]piece)) {
	t.Helper()
	f := filled(100, 100)
	f.now = f.now.Add(time.Minute)
	r := newRig(t, inbox(t), func(o *subscriber.Options) { o.Source = f })
	r.settleDown(t)
	hurt(r.stream.pieces[r.feed])
	// The old worker still has the pieces in memory.
	other := newRig(t, inbox(t), func(o *subscriber.Options) { o.Source, o.Stream = f, r.stream })
	f.now = registeredAt.Add(time.Hour)
	f.put("m0001")
	f.put("new")
	for range 3 {
		other.poll(t)
		if got := other.status(t); got.Code != code {
			t.Fatalf("status = %+v", got)
		}
	}
	other.settleDown(t)
	f.remove("m0002")
	other.settleDown(t)
	same(t, "events", r.stream.told(), []string{"updated m0001", "created new", "deleted m0002"})
}

// TestWhatLeftAWindowIsDeleted has events that exist and are not in the window
// any more, or not in what a filter lets through.
func TestWhatLeftAWindowIsDeleted(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]map[string]string{
		"window":                  {"startDateTime": "2026-03-01T00:00:00Z", "endDateTime": "2026-04-01T00:00:00Z"},
		"filter":                  {"$filter": "showAs eq 'busy'"},
		"filter without a dollar": {"filter": "showAs eq 'busy'"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op, err := catalog.Default().Lookup("calendar.event.delta")
			if err != nil {
				t.Fatal(err)
			}
			sub := everything(t)
			sub.Operation, sub.Path, sub.Query = op, nil, query
			r := newRig(t, sub, func(o *subscriber.Options) {
				o.Items = &looked{in: map[string]string{"e": "a calendar", "f": "a calendar"}}
			})
			r.feed.Part = subscriber.Part("")
			r.script.pages = map[string]page{
				"":   {delta: "d1", items: []string{mail("e", 1, "01:00:00"), mail("f", 1, "01:00:00")}},
				"d1": {delta: "d2", items: []string{removed("e")}},
				"d2": {err: fault.New(fault.Resync, "410")},
			}
			for range 3 {
				r.poll(t)
			}
			r.script.set("", page{delta: "d3"})
			r.poll(t)
			same(t, "events", r.stream.told(), []string{"snapshot e", "snapshot f", "deleted e", "deleted f"})
			for _, event := range r.stream.events[2:] {
				same(t, "reason of "+event.Header["Outlook-Id"], event.Header["Outlook-Reason"]+event.Header["Outlook-Verified"], "moved")
			}
		})
	}
}

// TestWhatWaitsIsNotForgotten has an item that left, by Graph's page, and was
// there again when somebody looked, so nothing was told. Then it is gone, of which
// Graph says nothing, because it had left; or its feed comes to its end.
func TestWhatWaitsIsNotForgotten(t *testing.T) {
	t.Parallel()
	for name, retire := range map[string]bool{"gone for good": false, "the feed retires": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			items := &looked{in: map[string]string{"m": "the inbox"}}
			r := newRig(t, everything(t), func(o *subscriber.Options) { o.Items = items })
			r.script.pages = map[string]page{
				"":   {delta: "d1", items: []string{mail("m", 1, "01:00:00")}},
				"d1": {delta: "d2", items: []string{removed("m")}},
				"d2": {delta: "d3"},
				"d3": {delta: "d3"},
			}
			for range 3 {
				r.poll(t)
			}
			same(t, "events while it is there", r.stream.told(), []string{"snapshot m"})
			if !retire {
				delete(items.in, "m")
			} else {
				r.data = bytes.Replace(r.data, []byte(`{`), []byte(`{"retire":true,`), 1)
			}
			r.poll(t)
			same(t, "events", r.stream.told(), []string{"snapshot m", "deleted m"})
			same(t, "verified", r.stream.events[1].Header["Outlook-Verified"], "")
		})
	}
}
