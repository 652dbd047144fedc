package sandbox

// Work hours and locations: what the generic store cannot know. occurrencesView
// lists the occurrences of a window, single ones and those that recurrences give;
// setCurrentLocation writes one for now. The rest (the setting, recurrences,
// occurrences) is in the generic store. No page documents the status codes: 200,
// 201 and 204 are what such operations answer elsewhere.
// https://learn.microsoft.com/graph/api/resources/workhoursandlocationssetting
//
// Left out: single occurrences that hide those of a recurrence, sharing with
// others, time off that comes from the calendar.

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
	"outlook-connector/internal/sandbox/zones"
)

func workHoursRoutes() []route {
	const at = "~/settings/workHoursAndLocations"
	return []route{
		{method: "GET", path: at + "/occurrencesView(startDateTime={startDateTime},endDateTime={endDateTime})", handle: (*call).workOccurrencesView},
		{method: "POST", path: at + "/occurrences/setCurrentLocation", handle: (*call).setCurrentLocation},
	}
}

// wallTime reads a dateTimeTimeZone.
func wallTime(v any) (time.Time, *time.Location, bool) {
	obj, _ := v.(map[string]any)
	text, _ := obj["dateTime"].(string)
	name, _ := obj["timeZone"].(string)
	loc := time.UTC
	if name != "" {
		zone, ok := zones.Lookup(name)
		if !ok {
			return time.Time{}, nil, false
		}
		loc = zone.Location
	}
	at, err := time.ParseInLocation("2006-01-02T15:04:05", strings.TrimSuffix(text, "Z"), loc)
	return at, loc, err == nil
}

// utcTime writes a dateTimeTimeZone.
func utcTime(at time.Time) map[string]any {
	return map[string]any{"dateTime": at.UTC().Format("2006-01-02T15:04:05.0000000"), "timeZone": "UTC"}
}

// workWindow reads the arguments of occurrencesView.
func (c *call) workWindow() (from, to time.Time, err error) {
	for i, name := range []string{"startDateTime", "endDateTime"} {
		text := c.params[strings.ToLower(name)]
		at, e := time.Parse(time.RFC3339, text)
		if e != nil {
			at, e = time.Parse("2006-01-02T15:04:05", text)
		}
		if e != nil {
			return from, to, newError(http.StatusBadRequest, "ErrorInvalidParameter", "The value '%s' of %s is no date and time.", text, name)
		}
		if i == 0 {
			from = at
		} else {
			to = at
		}
	}
	switch {
	case !from.Before(to):
		err = newError(http.StatusBadRequest, "ErrorInvalidParameter", "endDateTime must be after startDateTime.")
	case to.Sub(from) > maxView: // of our own: no page has a bound
		err = newError(http.StatusBadRequest, "ErrorInvalidParameter", "The range between startDateTime and endDateTime is greater than 1825 days.")
	}
	return from, to, err
}

func (c *call) workOccurrencesView() (*Answer, error) {
	from, to, err := c.workWindow()
	if err != nil {
		return nil, err
	}
	r := &resource{kind: "workPlanOccurrence", set: "settings/workHoursAndLocations/occurrences"}
	v, err := c.entityView(r)
	if err != nil {
		return nil, err
	}
	var a *Answer
	c.read(func(*state) {
		var items []*entity
		for _, e := range c.box.in(0, r.kind) {
			start, _, ok := wallTime(e.Props["start"])
			end, _, ok2 := wallTime(e.Props["end"])
			if ok && ok2 && recurrence.Overlap(start, end, from, to) {
				items = append(items, e)
			}
		}
		for _, e := range c.box.in(0, "workPlanRecurrence") {
			items = append(items, e.workOccurrences(from, to)...)
		}
		slices.SortStableFunc(items, func(a, b *entity) int {
			x, _, _ := wallTime(a.Props["start"])
			y, _, _ := wallTime(b.Props["start"])
			return x.Compare(y)
		})
		a, err = c.entityPage(v, items)
	})
	return a, err
}

// workOccurrences are the occurrences of a recurrence in a window. One that
// cannot be read has none.
func (e *entity) workOccurrences(from, to time.Time) []*entity {
	var wire recurrence.Recurrence
	if json.Unmarshal(appendJSON(nil, e.Props["recurrence"]), &wire) != nil {
		return nil
	}
	rule, err := recurrence.New(wire)
	start, zone, ok := wallTime(e.Props["start"])
	end, _, ok2 := wallTime(e.Props["end"])
	if err != nil || !ok || !ok2 {
		return nil
	}
	var list []*entity
	times := recurrence.TimesOf(start, end, zone)
	for day := range rule.Between(times, from, to) {
		start, end := times.On(day)
		o := newEntity(typeNamed("workPlanOccurrence"))
		o.ID = seededGUID(e.Key, e.ID+day.String())
		o.Props["start"], o.Props["end"] = utcTime(start), utcTime(end)
		o.Props["workLocationType"], o.Props["placeId"], o.Props["recurrenceId"] = e.Props["workLocationType"], e.Props["placeId"], e.ID
		list = append(list, o)
	}
	return list
}

// setCurrentLocation says where somebody works now: for the rest of the day.
// https://learn.microsoft.com/graph/api/workplanoccurrence-setcurrentlocation
func (c *call) setCurrentLocation() (*Answer, error) {
	params, err := c.readParameters("setCurrentLocation", "updateScope", "workLocationType", "placeId")
	if err != nil {
		return nil, err
	}
	body := map[string]any{}
	for _, name := range []string{"workLocationType", "placeId"} {
		if raw, ok := params[name]; ok {
			var value any
			if err := json.Unmarshal(raw, &value); err != nil {
				return nil, errBody("The parameter '%s' cannot be read.", name)
			}
			body[name] = value
		}
	}
	var scope any
	_ = json.Unmarshal(params["updateScope"], &scope) // absent: nil
	if _, err := (&field{name: "updateScope", kind: "workLocationUpdateScope"}).checkValue(scope); err != nil {
		return nil, err
	}
	err = c.update(func(t *tx) error {
		now := time.Unix(t.now, 0).UTC()
		body["start"], body["end"] = utcTime(now), utcTime(now.Truncate(24*time.Hour).Add(24*time.Hour))
		e := newEntity(typeNamed("workPlanOccurrence"))
		if _, err := e.write(typeNamed("workPlanOccurrence"), body, true); err != nil {
			return err
		}
		for _, old := range c.box.in(0, "workPlanOccurrence") {
			start, _, _ := wallTime(old.Props["start"])
			end, _, _ := wallTime(old.Props["end"])
			if recurrence.Overlap(start, end, now, now.Add(time.Second)) {
				fresh := old.clone()
				fresh.Props["workLocationType"], fresh.Props["placeId"] = e.Props["workLocationType"], e.Props["placeId"]
				t.saveEntity(c.box, fresh, "workLocationType", "placeId")
				return nil
			}
		}
		t.addEntity(c.box, 0, e)
		t.noteEntity(c, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}
