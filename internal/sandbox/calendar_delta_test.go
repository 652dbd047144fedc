package sandbox_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"outlook-connector/internal/sandbox"
)

// A client that believes what delta tells, and nothing else, must know what the
// view shows, after any changes to single events and series. Items out of the
// window may be told as removed; masters are told and are not in the view.
func TestWhatAViewsDeltaTellsAddsUpToTheView(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		opts := []sandbox.Option{}
		if seed%2 == 1 {
			opts = append(opts, sandbox.DeltaReplays(0.3, seed), sandbox.DeltaEmptyPages(3))
		}
		w := calendarWorld(t, opts...).with("Prefer", fmt.Sprintf("odata.maxpagesize=%d", 1+seed))
		rng := rand.New(rand.NewPCG(seed, 1))
		known := map[string]string{}
		link := "/me/calendarView/delta?startDateTime=2026-12-05&endDateTime=2026-12-20"
		var events []string
		for step := range 40 {
			w.change(rng, step, &events)
			if rng.IntN(3) > 0 {
				continue
			}
			link = w.follow(link, known)
			want := map[string]string{}
			for next := "/me/calendarView?$top=500&startDateTime=2026-12-05&endDateTime=2026-12-20"; next != ""; {
				r := w.get(next).is(http.StatusOK)
				for _, e := range r.value() {
					want[e["id"].(string)] = fmt.Sprint(e["type"], " ", e["start"].(map[string]any)["dateTime"])
				}
				next = r.str("@odata.nextLink")
			}
			if !maps.Equal(known, want) {
				t.Fatalf("seed %d, step %d\ndelta %v\nview  %v", seed, step, slices.Sorted(maps.Values(known)), slices.Sorted(maps.Values(want)))
			}
		}
	}
}

// follow reads a round into what is known and returns the deltaLink.
func (w *world) follow(link string, known map[string]string) string {
	w.t.Helper()
	for {
		r := w.get(link).is(http.StatusOK)
		for _, e := range r.value() {
			id := e["id"].(string)
			if e["@removed"] != nil || e["type"] == "seriesMaster" {
				delete(known, id)
				continue
			}
			known[id] = fmt.Sprint(e["type"], " ", e["start"].(map[string]any)["dateTime"])
		}
		if link = r.str("@odata.nextLink"); link == "" {
			return r.str("@odata.deltaLink")
		}
	}
}

// change does one thing to the calendar.
func (w *world) change(rng *rand.Rand, step int, events *[]string) {
	w.t.Helper()
	day := fmt.Sprintf("2026-12-%02d", 1+rng.IntN(28))
	at := func(hour int) string { return clock(fmt.Sprintf("%sT%02d:00:00", day, hour), "UTC") }
	patterns := []string{daily, `"type":"daily","interval":3`, `"type":"weekly","interval":1,"daysOfWeek":["monday","thursday"]`}
	pattern := func() string { return every(patterns[rng.IntN(len(patterns))], forEver, day) }
	one := ""
	if len(*events) > 0 {
		one = (*events)[rng.IntN(len(*events))]
	}
	dates := func() []string {
		r := w.get("/me/events/" + one + "/instances?$top=50&startDateTime=2026-12-01&endDateTime=2026-12-28")
		if r.status != http.StatusOK {
			return nil
		}
		var ids []string
		for _, e := range r.value() {
			ids = append(ids, e["id"].(string))
		}
		return ids
	}
	switch what := rng.IntN(9); {
	case one == "" || what == 0:
		*events = append(*events, w.book(fmt.Sprintf(`{"subject":"s%d","start":%s,"end":%s}`, step, at(9), at(10))))
	case what == 1 && len(*events) < 6:
		*events = append(*events, w.book(fmt.Sprintf(`{"subject":"m%d","start":%s,"end":%s,%s}`, step, at(9), at(10), pattern())))
	case what == 2:
		w.do(http.MethodPatch, "/me/events/"+one, fmt.Sprintf(`{"start":%s,"end":%s}`, at(11), at(12))).is(http.StatusOK)
	case what == 3:
		w.do(http.MethodPatch, "/me/events/"+one, fmt.Sprintf(`{"subject":"again %d"}`, step)).is(http.StatusOK)
	case what == 4:
		w.do(http.MethodDelete, "/me/events/"+one, "").is(http.StatusNoContent)
		*events = slices.DeleteFunc(*events, func(id string) bool { return id == one })
	case what == 5:
		w.do(http.MethodPatch, "/me/events/"+one, fmt.Sprintf(`{"start":%s,"end":%s,%s}`, at(14), at(15), pattern())).is(http.StatusOK)
	case what == 6:
		w.do(http.MethodPatch, "/me/events/"+one, `{"recurrence":null}`).is(http.StatusOK)
	default:
		ids := dates()
		if len(ids) == 0 {
			return
		}
		id := ids[rng.IntN(len(ids))]
		if what == 7 {
			w.do(http.MethodDelete, "/me/events/"+id, "").is(http.StatusNoContent)
			return
		}
		e := w.get("/me/events/" + id).is(http.StatusOK)
		start := e.json["start"].(map[string]any)["dateTime"].(string)[:10]
		w.do(http.MethodPatch, "/me/events/"+id, fmt.Sprintf(`{"start":%s,"end":%s}`, clock(start+"T20:00:00", "UTC"), clock(start+"T21:00:00", "UTC"))).is(http.StatusOK)
	}
}
