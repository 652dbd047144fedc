//go:build unix

package proof_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"outlook-connector/internal/sandbox"
)

// allPlans are what people do with mail, calendars, contacts and tasks: two
// thirds of it with mail.
func allPlans() []plan {
	list := mailPlans()
	for _, p := range []struct {
		plan  plan
		times int
	}{
		{meet, 3},
		{repeat, 2},
		{postpone, 4},
		{editSeries, 5},
		{cancel, 2},
		{befriend, 4},
		{editContact, 4},
		{lose, 2},
		{intend, 3},
		{progress, 4},
		{finish, 2},
	} {
		list = append(list, slices.Repeat([]plan{p.plan}, p.times)...)
	}
	return list
}

// The window of the calendar's subscription. People make events before, in and
// after it.
var windowFrom, windowTo = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)

// when is a moment around the window, as Graph writes it.
func when(at time.Time) map[string]string {
	return map[string]string{"dateTime": at.Format("2006-01-02T15:04:05"), "timeZone": "UTC"}
}

func someDay(d *rand.Rand) time.Time {
	return windowFrom.AddDate(0, 0, d.IntN(82)-10).Add(time.Duration(d.IntN(20)) * time.Hour)
}

// few says that a mailbox has enough of a type.
func (b *box) few(what string) bool { return len(b.items[what].ids) < 60 }

func meet(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.few("event") {
		return nil
	}
	at := someDay(d)
	return []sandbox.Act{b.act(http.MethodPost, "events", map[string]any{
		"subject": b.name("event"), "start": when(at), "end": when(at.Add(time.Hour)),
	})}
}

// repeat begins a series.
func repeat(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.items["series"].ids) >= 6 {
		return nil
	}
	at := someDay(d)
	return []sandbox.Act{b.act(http.MethodPost, "events", map[string]any{
		"subject": b.name("series"), "start": when(at), "end": when(at.Add(time.Hour)), "recurrence": pattern(at, d),
	})}
}

// pattern is how a series repeats itself.
func pattern(at time.Time, d *rand.Rand) map[string]any {
	return map[string]any{
		"pattern": map[string]any{"type": "daily", "interval": 1 + d.IntN(5)},
		"range": map[string]any{
			"type": "numbered", "startDate": at.Format(time.DateOnly), "numberOfOccurrences": 2 + d.IntN(6), "recurrenceTimeZone": "UTC",
		},
	}
}

// postpone changes an event: what it is called, or when it is.
func postpone(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.items["event"].one(d)
	if id == "" {
		return nil
	}
	change := map[string]any{"subject": b.name("changed")}
	if _, series := b.items["series"].at[id]; !series && d.IntN(2) == 0 {
		at := someDay(d)
		change["start"], change["end"] = when(at), when(at.Add(time.Hour))
	}
	return []sandbox.Act{b.act(http.MethodPatch, "events/"+esc(id), change)}
}

// editSeries changes one date of a series, cancels one, or makes another pattern.
func editSeries(l *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	id := b.items["series"].one(d)
	b.mu.Unlock()
	if id == "" {
		return nil
	}
	if d.IntN(4) == 0 {
		at := someDay(d)
		return []sandbox.Act{b.act(http.MethodPatch, "events/"+esc(id), map[string]any{
			"start": when(at), "end": when(at.Add(time.Hour)), "recurrence": pattern(at, d),
		})}
	}
	var list struct{ Value []struct{ ID string } }
	path := fmt.Sprintf("events/%s/instances?startDateTime=2026-11-01T00:00:00Z&endDateTime=2027-04-01T00:00:00Z&$top=50", esc(id))
	if err := l.look(l.graph.t.Context(), b.upn, path, &list); err != nil || len(list.Value) == 0 {
		return nil // it has just gone
	}
	date := list.Value[d.IntN(len(list.Value))].ID
	b.mu.Lock()
	defer b.mu.Unlock()
	if d.IntN(3) == 0 {
		return []sandbox.Act{b.act(http.MethodDelete, "events/"+esc(date), nil)}
	}
	return []sandbox.Act{b.act(http.MethodPatch, "events/"+esc(date), map[string]any{"subject": b.name("exception")})}
}

func cancel(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.items["event"].one(d)
	if id == "" {
		return nil
	}
	return []sandbox.Act{b.act(http.MethodDelete, "events/"+esc(id), nil)}
}

// befriend makes a contact, in the first folder, in Friends or in Others.
func befriend(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.few("contact") {
		return nil
	}
	path := "contacts"
	if n := d.IntN(4); n < len(b.circles) {
		path = "contactFolders/" + esc(b.circles[n]) + "/contacts"
	}
	return []sandbox.Act{b.act(http.MethodPost, path, map[string]any{"givenName": b.name("contact")})}
}

func editContact(_ *life, b *box, d *rand.Rand) (acts []sandbox.Act) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range 1 + d.IntN(3) {
		if id := b.items["contact"].one(d); id != "" {
			acts = append(acts, b.act(http.MethodPatch, "contacts/"+esc(id), map[string]any{"jobTitle": b.name("job")}))
		}
	}
	return acts
}

func lose(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.items["contact"].one(d)
	if id == "" {
		return nil
	}
	return []sandbox.Act{b.act(http.MethodDelete, "contacts/"+esc(id), nil)}
}

func intend(_ *life, b *box, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.few("todoTask") || len(b.lists) == 0 {
		return nil
	}
	return []sandbox.Act{b.act(http.MethodPost, "todo/lists/"+esc(b.lists[d.IntN(len(b.lists))])+"/tasks", map[string]any{"title": b.name("task")})}
}

func progress(_ *life, b *box, d *rand.Rand) []sandbox.Act { return b.task(http.MethodPatch, d) }

func finish(_ *life, b *box, d *rand.Rand) []sandbox.Act { return b.task(http.MethodDelete, d) }

func (b *box) task(method string, d *rand.Rand) []sandbox.Act {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.items["todoTask"].one(d)
	if id == "" {
		return nil
	}
	var change any
	if method == http.MethodPatch {
		change = map[string]any{"title": b.name("task")}
	}
	return []sandbox.Act{b.act(method, "todo/lists/"+esc(b.items["todoTask"].in[id])+"/tasks/"+esc(id), change)}
}

// furnish makes the folders of contacts, and learns where contacts lie.
func (b *box) furnish(c *crew, l *life) {
	c.t.Helper()
	for _, name := range []string{"Friends", "Others"} {
		b.circles = append(b.circles, c.done(l, []sandbox.Act{b.act(http.MethodPost, "contactFolders", map[string]any{"displayName": name})})...)
	}
	var contact struct{ ParentFolderID string }
	id := c.done(l, []sandbox.Act{b.act(http.MethodPost, "contacts", map[string]any{"givenName": "First"})})[0]
	if err := l.look(c.t.Context(), b.upn, "contacts/"+esc(id), &contact); err != nil {
		c.t.Fatal(err)
	}
	b.contacts = contact.ParentFolderID
}

// maybe is the version of what the events may have or not.
const maybe = -1

// calendar is what the window of a calendar shows: events and the dates and
// exceptions of series, each with the version that it must be known in (0: that
// of a date, which is its series'), and the series of which it shows any.
func (l *life) calendar(b *box) (map[string]int64, error) {
	ctx := l.graph.t.Context()
	type event struct{ ID, ChangeKey, Type, SeriesMasterID string }
	shown, masters := map[string]int64{}, map[string]bool{}
	window := fmt.Sprintf("calendarView?startDateTime=%s&endDateTime=%s", windowFrom.Format(time.RFC3339), windowTo.Format(time.RFC3339))
	err := l.all(ctx, b.upn, window, func(raw json.RawMessage) error {
		var e event
		err := json.Unmarshal(raw, &e)
		shown[e.ID] = version(e.ChangeKey)
		if e.Type == "occurrence" {
			shown[e.ID] = 0
		}
		if e.SeriesMasterID != "" {
			masters[e.SeriesMasterID] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return shown, l.all(ctx, b.upn, "events", func(raw json.RawMessage) error {
		var e event
		err := json.Unmarshal(raw, &e)
		switch {
		case masters[e.ID]:
			shown[e.ID] = version(e.ChangeKey)
		case e.Type == "seriesMaster":
			// Its last visible date was cancelled or moved, which is no change of its
			// own: Graph does not say that it has left the window.
			shown[e.ID] = maybe
		}
		return err
	})
}
