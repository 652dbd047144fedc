package subscriber_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/subscriber"
)

// listed is the subscription as one of another entity.
func listed(t *testing.T, entity string) subscriber.Subscription {
	t.Helper()
	op, err := catalog.Default().Lookup(entity)
	if err != nil {
		t.Fatal(err)
	}
	sub := inbox(t)
	sub.Operation, sub.Path = op, nil
	return sub
}

func TestAListIsComparedWithWhatIsKnown(t *testing.T) {
	t.Parallel()
	sub := listed(t, "mail.message.list")
	r := newRig(t, sub)
	r.feed.Part = "-"
	r.script.pages = map[string]page{
		"":   {next: "p2", items: []string{mail("a", 1, "01:00:00"), mail("b", 1, "01:00:00")}},
		"p2": {items: []string{mail("c", 1, "01:00:00"), mail("new", 1, "11:00:00")}},
	}
	r.poll(t)
	same(t, "events of the first reading", r.stream.told(), []string{"created new"})
	commits := r.stream.commits
	for range 3 {
		r.poll(t)
	}
	if r.stream.commits != commits {
		t.Errorf("%d commits by three readings that showed nothing new", r.stream.commits-commits)
	}
	// A page of the middle is gone, the rest has moved up.
	r.script.set("", page{next: "p2", items: []string{mail("a", 2, "01:00:00"), mail("c", 1, "01:00:00"), mail("d", 1, "01:00:00")}})
	r.script.set("p2", page{items: []string{mail("c", 1, "01:00:00")}})
	r.poll(t)
	same(t, "events", r.stream.told()[1:3], []string{"updated a", "created d"})
	rest := r.stream.told()[3:]
	slices.Sort(rest)
	same(t, "deletions", rest, []string{"deleted b", "deleted new"})
	r.poll(t)
	same(t, "events", len(r.stream.told()), 5)
	if got := r.status(t); got.Result != "empty" || got.Phase != "changes" {
		t.Errorf("status = %+v", got)
	}
}

func TestAListThatIsCutOffTellsNothingTwiceAndDeletesNothing(t *testing.T) {
	t.Parallel()
	sub := listed(t, "mail.message.list")
	sub.Start.All = true
	r := newRig(t, sub)
	r.feed.Part = "-"
	r.script.pages = map[string]page{
		"":   {next: "p2", items: []string{mail("a", 1, "01:00:00")}},
		"p2": {items: []string{mail("b", 1, "01:00:00")}},
	}
	r.poll(t)
	r.script.set("", page{next: "p2", items: []string{mail("c", 1, "01:00:00")}})
	r.script.set("p2", page{err: fault.New(fault.Retry, "503")})
	r.poll(t)
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot a", "snapshot b", "created c"})
	r.script.set("p2", page{items: []string{mail("a", 1, "01:00:00")}})
	r.poll(t)
	same(t, "events", r.stream.told()[3:], []string{"deleted b"})
	same(t, "event ids that are there twice", len(r.stream.twice()), 0)
}

func TestOnePageOfAListDeletesNothing(t *testing.T) {
	t.Parallel()
	sub := listed(t, "mail.message.list")
	sub.Start.All, sub.OnePage = true, true
	r := newRig(t, sub)
	r.feed.Part = "-"
	r.script.pages[""] = page{next: "p2", items: []string{mail("a", 1, "01:00:00")}}
	r.poll(t)
	r.script.set("", page{next: "p2", items: []string{mail("b", 1, "01:00:00")}})
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot a", "created b"})
	same(t, "links", r.script.links(), []string{"", ""})
}

func TestALargeListIsSweptInSeveralCommits(t *testing.T) {
	t.Parallel()
	sub := listed(t, "mail.message.list")
	sub.Start.All = true
	r := newRig(t, sub)
	r.feed.Part = "-"
	var items []string
	for i := range 700 {
		items = append(items, mail(fmt.Sprintf("m%03d", i), 1, "01:00:00"))
	}
	r.script.pages[""] = page{items: items}
	r.poll(t)
	r.script.set("", page{items: items[:50]})
	commits := r.stream.commits
	r.poll(t)
	if got := len(r.stream.told()); got != 700+650 || r.stream.commits-commits < 4 {
		t.Errorf("%d events, %d commits", got, r.stream.commits-commits)
	}
	same(t, "what is wrong with the index", r.stream.broken, nil)
}

// object is [subscriber.Items] with one object.
type object struct {
	body string
	err  error
}

func (o *object) Object(context.Context, subscriber.Request, int64) ([]byte, subscriber.Page, error) {
	return []byte(o.body), subscriber.Page{Date: registeredAt.Add(time.Hour)}, o.err
}

func (*object) Batch(context.Context, string, string, []subscriber.Get) ([]subscriber.Got, error) {
	return nil, errors.New("nothing to look at")
}

func (*object) Open(context.Context, string, string, subscriber.Get) (io.ReadCloser, int64, error) {
	return nil, 0, errors.New("nothing to open")
}

func TestASingleObjectIsToldWhenItChanges(t *testing.T) {
	t.Parallel()
	sub := listed(t, "mail.message.get")
	sub.Path = map[string]string{"message-id": "AAMk1"}
	sub.Start.All = true
	o := &object{body: mail("AAMk1", 1, "01:00:00")}
	r := newRig(t, sub, func(opts *subscriber.Options) { opts.Items = o })
	r.feed.Part = subscriber.Part("AAMk1")
	missing := fault.New(fault.Poison, "404").WithCode("ErrorItemNotFound")
	for _, step := range []object{
		{},
		{body: mail("AAMk1", 2, "01:00:00")},
		{},
		{err: fault.New(fault.Retry, "503")},
		{err: missing},
		{err: missing},
		{body: mail("AAMk1", 2, "01:00:00")},
	} {
		r.poll(t)
		if step != (object{}) {
			*o = step
		}
	}
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"snapshot AAMk1", "updated AAMk1", "deleted AAMk1", "created AAMk1"})
	if _, there := r.stream.events[2].Header["Outlook-Verified"]; there {
		t.Error("a 404 is no verified deletion")
	}
	same(t, "event ids that are there twice", len(r.stream.twice()), 0)
}

func TestAnAnswerWithoutAnIDIsComparedByItsBytes(t *testing.T) {
	t.Parallel()
	sub := listed(t, "mail.message.get")
	sub.Path = map[string]string{"message-id": "AAMk1"}
	sub.Mode = subscriber.ModeSingle
	o := &object{body: `{"value":[1]}`}
	r := newRig(t, sub, func(opts *subscriber.Options) { opts.Items = o })
	r.feed.Part = subscriber.Part("AAMk1")
	for _, body := range []string{`{"value":[1]}`, `{"value":[2]}`, `{"value":[1]}`, `{"value":[1]}`} {
		r.poll(t)
		o.body = body
	}
	r.poll(t)
	same(t, "events", r.stream.told(), []string{"updated -", "updated -"})
	same(t, "event ids that are there twice", len(r.stream.twice()), 0)
}

// TestACalendarsWindowMovesOn and only true differences are told, none for what
// lies behind the window.
func TestACalendarsWindowMovesOn(t *testing.T) {
	t.Parallel()
	event := func(id, end string) string {
		return fmt.Sprintf(`{"@odata.etag":"1","id":%q,"end":{"dateTime":"%sT10:00:00.0000000","timeZone":"UTC"}}`, id, end)
	}
	sub := listed(t, "calendar.event.delta")
	sub.Window = subscriber.Window{Back: 24 * time.Hour, Ahead: 7 * 24 * time.Hour}
	sub.Start.All = true
	synctest.Test(t, func(t *testing.T) { // it is 2000-01-01 there
		r := newRig(t, sub)
		r.feed.Part = "-"
		r.data = registration(time.Now().Add(-time.Hour))
		r.script.pages = map[string]page{
			"":   {delta: "d1", items: []string{event("past", "1999-12-31"), event("soon", "2000-01-03"), event("later", "2000-01-05")}},
			"d1": {delta: "d1"},
		}
		r.poll(t)
		r.poll(t)
		query := r.script.asked[0].Query
		same(t, "window", query["startDateTime"]+" "+query["endDateTime"], "1999-12-31T00:00:00Z 2000-01-09T00:00:00Z")
		same(t, "links", r.script.links(), []string{"", "d1"})
		<-time.After(25 * time.Hour)
		r.script.set("", page{delta: "d2", items: []string{event("soon", "2000-01-03"), event("next", "2000-01-09")}})
		r.script.set("d2", page{delta: "d2"})
		r.poll(t)
		r.poll(t)
		same(t, "window", r.script.asked[0].Query["startDateTime"], "2000-01-01T00:00:00Z")
		same(t, "links", r.script.links(), []string{"", "d2"})
		same(t, "events", r.stream.told(), []string{"snapshot past", "snapshot soon", "snapshot later", "created next", "deleted later"})
	})
}

func TestModesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*subscriber.Subscription){
		"is not a delta function": func(s *subscriber.Subscription) {
			s.Operation, s.Mode = listed(t, "mail.message.get").Operation, subscriber.ModeDelta
		},
		"does not only read": func(s *subscriber.Subscription) { s.Operation = listed(t, "mail.message.sendMail").Operation },
		"no mode":            func(s *subscriber.Subscription) { s.Mode = "other" },
		"changes cannot be":  func(s *subscriber.Subscription) { s.Changes = []string{"moved"} },
		"the window is from": func(s *subscriber.Subscription) { s.Window.Back = -1 },
	} {
		sub := inbox(t)
		change(&sub)
		_, err := subscriber.New(subscriber.Options{
			Subscriptions: []subscriber.Subscription{sub},
			Source:        &script{}, Stream: newMemStream(), Queue: newHandQueue(), DeadLetters: &letters{}, Slots: &freeSlots{},
		})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
