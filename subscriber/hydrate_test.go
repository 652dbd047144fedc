package subscriber

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/fault"
)

func TestPartialItems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entity, query, raw string
		want               bool
	}{
		"read mark":             {"mail.message.delta", "", `{"id":"1","isRead":true,"parentFolderId":"F"}`, true},
		"whole":                 {"mail.message.delta", "", `{"id":"1","createdDateTime":"x","receivedDateTime":null}`, false},
		"selected":              {"mail.message.delta", "subject, isRead", `{"id":"1","subject":null,"isRead":true}`, false},
		"selected in any case":  {"mail.message.delta", "Subject", `{"id":"1","subject":"s"}`, false},
		"one selected missing":  {"mail.message.delta", "subject,isRead", `{"id":"1","isRead":true}`, true},
		"part of a member":      {"mail.message.delta", "body/content", `{"id":"1","body":{}}`, false},
		"of a derived type":     {"mail.message.delta", "microsoft.graph.eventMessage/startDateTime,subject", `{"id":"1","subject":""}`, false},
		"empty select":          {"mail.message.delta", " ", `{"id":"1","isRead":true}`, true},
		"slim occurrence":       {"calendar.event.delta", "", `{"id":"1","type":"occurrence","seriesMasterId":"M","start":{},"end":{}}`, true},
		"whole event":           {"calendar.event.delta", "", `{"id":"1","createdDateTime":"x"}`, false},
		"contact":               {"contacts.contact.delta", "", `{"id":"1"}`, true},
		"folder":                {"mail.folder.delta", "", `{"id":"1","displayName":"x"}`, false},
		"task":                  {"todo.task.delta", "", `{"id":"1"}`, true},
		"a list is never short": {"mail.message.list", "", `{"id":"1"}`, false},
		"unreadable":            {"mail.message.delta", "", `{"id":"1"`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := enricherOf(t, newFakeMailbox(t), nil, c.entity, func(s *Subscription, r *Request) {
				s.Hydrate = true
				if c.query != "" {
					r.Query = map[string]string{"$select": c.query}
				}
			})
			if got := e.needsHydration(&piece{item: item{raw: []byte(c.raw)}}); got != c.want {
				t.Errorf("partial %v, want %v", got, c.want)
			}
		})
	}
}

func TestEveryDeltaFunctionKnowsItsWholeItems(t *testing.T) {
	t.Parallel()
	for entity := range itemRoutes {
		if op := operation(t, entity); op.Delta && len(wholeMembers[op.Type]) == 0 {
			t.Errorf("%s: no member tells a whole %s", entity, op.Type)
		}
	}
}

func hydrating(s *Subscription, r *Request) {
	s.Hydrate = true
	r.Query = map[string]string{"$select": "subject,isRead", "$expand": "x", "$filter": "y", "startDateTime": "z"}
}

func TestRehydration(t *testing.T) {
	t.Parallel()
	box := newFakeMailbox(t)
	e := enricherOf(t, box, nil, "mail.message.delta", hydrating)
	whole := pieceOf(t, `{"id":"whole","@odata.etag":"W/\"w\"","subject":"a","isRead":true}`)
	again := pieceOf(t, `{"id":"again","@odata.etag":"W/\"old\"","isRead":true}`)
	left := pieceOf(t, `{"id":"left","@odata.etag":"W/\"l\"","isRead":true}`)
	denied := pieceOf(t, `{"id":"denied","@odata.etag":"W/\"d\"","isRead":false}`)
	other := pieceOf(t, `{"id":"other","@odata.etag":"W/\"o\"","isRead":false}`)
	box.answers["messages/again"] = found(`{"@odata.context":"c","@odata.etag":"W/\"new\"","id":"again", "subject":"half \ud83d",` +
		`"isRead":true,"lastModifiedDateTime":"2026-03-01T10:00:00Z"}`)
	box.answers["messages/denied"] = refused(403, "ErrorAccessDenied", fault.Poison)
	box.answers["messages/other"] = found(`{"id":"somebody else","subject":"s","isRead":true}`)
	enrichAll(t, e, whole, again, left, denied, other)

	if got := sorted(box.batches0()); !slices.Equal(got, []string{"messages/again", "messages/denied", "messages/left", "messages/other"}) {
		t.Errorf("read %v", got)
	}
	get := box.batches[0][0]
	if len(get.Query) != 2 || get.Query["$select"] != "subject,isRead" || get.Query["$expand"] != "x" || get.Headers["Prefer"] == "" {
		t.Errorf("read with %v and %v", get.Query, get.Headers)
	}
	if string(whole.raw) != `{"id":"whole","@odata.etag":"W/\"w\"","subject":"a","isRead":true}` {
		t.Errorf("a whole item became %s", whole.raw)
	}
	if want := `{"@odata.etag":"W/\"new\"","id":"again","subject":"half \ud83d","isRead":true,"lastModifiedDateTime":"2026-03-01T10:00:00Z"}`; string(again.raw) != want {
		t.Errorf("%s, want %s", again.raw, want)
	}
	if again.version != "new" || again.item.version != "new" || !again.modified.Equal(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("version %s of %v", again.version, again.modified)
	}
	if !left.dropped || whole.dropped || denied.dropped {
		t.Error("only what is gone is left to its tombstone")
	}
	if want := `,"@outlook.incomplete":[{"what":"item","code":"ErrorAccessDenied","status":403}]}`; !strings.HasSuffix(string(denied.raw), want) || denied.version != "d" {
		t.Errorf("%s with version %s", denied.raw, denied.version)
	}
	if !strings.Contains(string(other.raw), `"code":"bad_item"`) || other.version != "o" {
		t.Errorf("another item was taken: %s", other.raw)
	}
	box.idle()
}

// batches0 returns the paths of all batches and keeps them.
func (f *fakeMailbox) batches0() (paths []string) {
	for _, gets := range f.batches {
		for _, get := range gets {
			paths = append(paths, get.Path)
		}
	}
	return paths
}

func TestWhatMayWorkLaterEndsThePoll(t *testing.T) {
	t.Parallel()
	box := newFakeMailbox(t)
	e := enricherOf(t, box, nil, "mail.message.delta", hydrating)
	pieces := []*piece{pieceOf(t, `{"id":"a"}`), pieceOf(t, `{"id":"b"}`)}
	box.answers["messages/a"] = found(`{"id":"a","subject":"","isRead":true}`)
	box.answers["messages/b"] = refused(503, "ErrorServerBusy", fault.Retry)
	if n, err := e.run(t.Context(), pieces); n != 1 || fault.Of(err).Code != "ErrorServerBusy" {
		t.Errorf("%d done, %v", n, err)
	}
	if !strings.Contains(string(pieces[0].raw), "subject") {
		t.Errorf("the first is %s", pieces[0].raw)
	}
	pieces = pieces[1:]
	box.free = 0
	var busy *busyError
	if _, err := e.run(t.Context(), pieces); !errors.As(err, &busy) || busy.after != time.Second || fault.KindOf(err) != fault.Retry {
		t.Errorf("no slot: %v", err)
	}
	box.free = 4
	box.fail = func(path string) error {
		if path == "$batch" {
			return fault.New(fault.Reauth, "401")
		}
		return nil
	}
	if _, err := e.run(t.Context(), pieces); fault.KindOf(err) != fault.Reauth {
		t.Errorf("signed out: %v", err)
	}
	box.fail = nil
	box.answers["messages/b"] = found(`{"id":"b","subject":"","isRead":true}`)
	box.asked()
	if n, err := e.run(t.Context(), pieces); n != 1 || err != nil {
		t.Errorf("%d done, %v", n, err)
	}
	if got := box.asked(); !slices.Equal(got, []string{"messages/b"}) {
		t.Errorf("read again: %v", got)
	}
	box.idle()
}

func TestAnswersThatAreTooLargeAreReadAlone(t *testing.T) {
	t.Parallel()
	box := newFakeMailbox(t)
	box.largest = 1000
	e := enricherOf(t, box, nil, "mail.message.delta", hydrating)
	var pieces []*piece
	for i := range 45 {
		id := fmt.Sprint(i)
		pieces = append(pieces, pieceOf(t, fmt.Sprintf(`{"id":%q}`, id)))
		size := 100
		if i == 7 {
			size = 5000
		}
		box.answers["messages/"+id] = found(fmt.Sprintf(`{"id":%q,"subject":%q,"isRead":true}`, id, strings.Repeat("x", size)))
	}
	enrichAll(t, e, pieces...)
	for i, p := range pieces {
		if len(p.raw) < 100 || len(p.notes) > 0 || i == 7 && len(p.raw) < 5000 {
			t.Errorf("item %d has %d bytes, notes %v", i, len(p.raw), p.notes)
		}
	}
	if len(box.opened) != 1 || box.opened[0].Path != "messages/7" || box.opened[0].Query["$select"] == "" {
		t.Errorf("read alone: %v", box.opened)
	}
	box.idle()
}

func TestOccurrencesAreRead(t *testing.T) {
	t.Parallel()
	slim := func(id string) string {
		return fmt.Sprintf(`{"@odata.type":"#microsoft.graph.event","id":%q,"type":"occurrence","seriesMasterId":"M","start":{"d":%q},"end":{}}`, id, id)
	}
	box := newFakeMailbox(t)
	e := enricherOf(t, box, nil, "calendar.event.delta", func(s *Subscription, _ *Request) { s.Hydrate = true })
	box.answers["events/own"] = found(`{"id":"own","@odata.etag":"W/\"7\"","createdDateTime":"x","subject":"own"}`)
	box.answers["events/no1"] = refused(400, "ErrorInvalidRequest", fault.Poison)
	box.answers["events/no2"] = refused(403, "ErrorAccessDenied", fault.Poison)
	box.answers["events/M"] = found(`{"@odata.context":"c","@odata.etag":"W/\"m1\"","id":"M","type":"seriesMaster","createdDateTime":"y",` +
		`"subject":"series","start":{"d":"first"},"recurrence":{"pattern":{}}}`)
	own, no1, no2, away := pieceOf(t, slim("own")), pieceOf(t, slim("no1")), pieceOf(t, slim("no2")), pieceOf(t, slim("away"))
	enrichAll(t, e, own, no1, no2, away)

	if !strings.Contains(string(own.raw), `"subject":"own"`) || own.version != "7" {
		t.Errorf("%s, version %s", own.raw, own.version)
	}
	want := `{"@odata.type":"#microsoft.graph.event","id":"no1","type":"occurrence","seriesMasterId":"M","start":{"d":"no1"},"end":{},` +
		`"createdDateTime":"y","subject":"series","@outlook.incomplete":[{"what":"item","code":"from_series","status":400}]}`
	if string(no1.raw) != want {
		t.Errorf("%s\nwant %s", no1.raw, want)
	}
	if no1.item.version != no1.version || no1.version == no2.version || no1.version == "bytes" {
		t.Errorf("versions %s and %s", no1.version, no2.version)
	}
	if !away.dropped {
		t.Error("a date that is gone is told")
	}
	masters := 0
	for _, path := range box.batches0() {
		if path == "events/M" {
			masters++
		}
	}
	if masters != 1 {
		t.Errorf("the series was read %d times", masters)
	}

	// Another state of the series is another version of its dates.
	box.answers["events/M"] = found(`{"@odata.etag":"W/\"m2\"","id":"M","subject":"series"}`)
	later := pieceOf(t, slim("no1"))
	e = enricherOf(t, box, nil, "calendar.event.delta", func(s *Subscription, _ *Request) { s.Hydrate = true })
	enrichAll(t, e, later)
	if later.version == no1.version {
		t.Error("the series changed and its dates did not")
	}

	// Without the series they stay as they came; while it cannot be read, the poll ends.
	delete(box.answers, "events/M")
	box.asked()
	alone := pieceOf(t, slim("no1"))
	e = enricherOf(t, box, nil, "calendar.event.delta", func(s *Subscription, _ *Request) { s.Hydrate = true })
	enrichAll(t, e, alone, pieceOf(t, slim("no2")))
	if got := box.asked(); len(got) != 3 {
		t.Errorf("a series that is refused is asked for again: %v", got)
	}
	if strings.Contains(string(alone.raw), "subject") || !strings.Contains(string(alone.raw), `"code":"ErrorInvalidRequest"`) || alone.version != "bytes" {
		t.Errorf("%s, version %s", alone.raw, alone.version)
	}
	box.answers["events/M"] = refused(503, "", fault.Retry)
	e = enricherOf(t, box, nil, "calendar.event.delta", func(s *Subscription, _ *Request) { s.Hydrate = true })
	if n, err := e.run(t.Context(), []*piece{pieceOf(t, slim("no1"))}); n != 0 || fault.KindOf(err) != fault.Retry {
		t.Errorf("%d done, %v", n, err)
	}
	box.idle()
}
