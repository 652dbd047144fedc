package subscriber

import (
	"encoding/json"
	"testing"
	"time"

	"outlook-connector/internal/fault"
)

func TestOperatorsChangeOnlyWhatTheyMean(t *testing.T) {
	t.Parallel()
	data, err := registration{Registered: scheduleStart, Container: "folder", Path: map[string]string{"a": "b"}}.encode()
	if err != nil {
		t.Fatal(err)
	}
	// A newer version's member stays.
	data = append(data[:len(data)-1], `,"newer":{"x":[1]}}`...)
	paused, err := SetPaused(data, true)
	if err != nil {
		t.Fatal(err)
	}
	asked, err := AskResync(paused, "n1")
	if err != nil {
		t.Fatal(err)
	}
	want := FeedData{Registered: scheduleStart, Paused: true, Resync: "n1", Container: "folder"}
	if got, err := ReadFeedData(asked); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	resumed, err := SetPaused(asked, false)
	if err != nil {
		t.Fatal(err)
	}
	want.Paused = false
	if got, err := ReadFeedData(resumed); err != nil || got != want {
		t.Errorf("resumed: %+v, %v", got, err)
	}
	var members map[string]any
	if err := json.Unmarshal(resumed, &members); err != nil || members["newer"] == nil || members["path"] == nil || members["paused"] != nil || members["v"] != 1.0 {
		t.Errorf("resumed: %s, %v", resumed, err)
	}
	// What the worker reads is what the operator wrote.
	var r registration
	if err := json.Unmarshal(asked, &r); err != nil || !r.Paused || r.Resync != "n1" || r.Path["a"] != "b" {
		t.Errorf("the worker reads %+v, %v", r, err)
	}
	// No change is the same bytes, so that nothing is written.
	for _, c := range []struct {
		data   []byte
		paused bool
	}{{data, false}, {paused, true}} {
		if got, err := SetPaused(c.data, c.paused); err != nil || &got[0] != &c.data[0] {
			t.Errorf("paused %t anew: %s, %v", c.paused, got, err)
		}
	}
}

func TestDataThatAreNoRegistrationAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "no", "[]", "null", `"text"`} {
		if _, err := AskResync([]byte(data), "n"); fault.Of(err) == nil || fault.Of(err).Code != "bad_registration" {
			t.Errorf("%q: resync: %v", data, err)
		}
		if got, err := SetPaused([]byte(data), true); fault.Of(err) == nil || fault.HintOf(err) == "" {
			t.Errorf("%q: pause: %s, %v", data, got, err)
		}
	}
}

func TestTheStateOfACursorIsWhatWasStored(t *testing.T) {
	t.Parallel()
	if got, err := ReadCursorState(nil); err != nil || got != (CursorState{}) {
		t.Errorf("no cursor: %+v, %v", got, err)
	}
	if _, err := ReadCursorState([]byte("{")); fault.Of(err).Code != "bad_cursor" {
		t.Errorf("half a cursor: %v", err)
	}
	c := cursor{Phase: snapshot, Round: 3, Pages: 7, Done: scheduleStart.Add(-time.Minute)}
	value, err := c.encode(scheduleStart)
	if err != nil {
		t.Fatal(err)
	}
	want := CursorState{Phase: "snapshot", Round: 3, Pages: 7, Done: scheduleStart.Add(-time.Minute), At: scheduleStart}
	if got, err := ReadCursorState(value); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestFoldersHaveTheirPaths(t *testing.T) {
	t.Parallel()
	c := newDiscovery()
	for _, place := range []foundPlace{
		{ID: "1", Name: "Projects"},
		{ID: "2", Parent: "1", Name: "2026"},
		{ID: "3", Parent: "2", Name: "Invoices"},
		{ID: "4", Parent: "not told yet", Name: "Alone"},
		{ID: "5", Parent: "6", Name: "a"},
		{ID: "6", Parent: "5", Name: "b"},
	} {
		c.places[place.ID] = &place
	}
	value, err := c.encode(scheduleStart, "")
	if err != nil {
		t.Fatal(err)
	}
	paths, err := FolderPaths(value)
	if err != nil || len(paths) != 6 {
		t.Fatalf("%v, %v", paths, err)
	}
	for id, want := range map[string]string{"1": "Projects", "2": "Projects/2026", "3": "Projects/2026/Invoices", "4": "Alone"} {
		if got := paths[Part(id)]; got != want {
			t.Errorf("folder %s is at %q, want %q", id, got, want)
		}
	}
	if paths, err := FolderPaths(nil); err != nil || len(paths) != 0 {
		t.Errorf("before the first round: %v, %v", paths, err)
	}
	if _, err := FolderPaths([]byte(`{"v":99}`)); fault.Of(err).Code != "bad_cursor" {
		t.Errorf("a newer cursor: %v", err)
	}
}
