package sandbox

// Times of events. A dateTimeTimeZone is a time on the clock of a zone, by its
// Windows or IANA name; answers are in UTC, or in the zone that Prefer:
// outlook.timezone names. A whole-day event has no zone: it begins at midnight
// wherever it is looked at.
// https://learn.microsoft.com/graph/api/resources/datetimetimezone
// https://learn.microsoft.com/graph/api/event-get#request-headers
//
// Left out: custom zones, fractions of a second, whole-day events that count by
// the zone of the calendar in views and free/busy (they count by UTC).

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/zones"
)

// wireTime is how Graph writes the clock part.
const wireTime = "2006-01-02T15:04:05.0000000"

func errZone(name string) error {
	return newError(http.StatusBadRequest, "TimeZoneNotSupportedException",
		"A valid TimeZone value must be specified. The following TimeZone value is not supported: '%s'.", name)
}

// errProperty is what Outlook says of an event that cannot be.
func errProperty(format string, args ...any) *graphError {
	return newError(http.StatusBadRequest, "ErrorPropertyValidationFailure", "At least one property failed validation. "+format, args...)
}

// moment is a point in time with the zone in which it was given.
type moment struct {
	time.Time
	zone string // as it was given
}

// readMoment reads a dateTimeTimeZone that has passed the check of types. It is
// false for null and for one that was not given.
func readMoment(v any) (moment, bool, error) {
	obj, ok := v.(map[string]any)
	if !ok {
		return moment{}, false, nil
	}
	text, _ := obj["dateTime"].(string)
	name, _ := obj["timeZone"].(string)
	if text == "" {
		return moment{}, false, errProperty("A dateTime is missing.")
	}
	z, ok := zones.Lookup(name)
	if !ok {
		return moment{}, false, errZone(name)
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, z.Location); err == nil {
			return moment{t.Truncate(time.Second), name}, true, nil
		}
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return moment{t.In(z.Location).Truncate(time.Second), name}, true, nil
	}
	return moment{}, false, errBody("Cannot convert the literal '%s' to the expected type 'Edm.DateTime'.", shorten(text, 40))
}

// displayZone is the zone that answers are written in.
func (c *call) displayZone() (*time.Location, string, error) {
	if c.prefer.timeZone == "" {
		return time.UTC, "UTC", nil
	}
	z, ok := zones.Lookup(c.prefer.timeZone)
	if !ok {
		return nil, "", errZone(c.prefer.timeZone)
	}
	return z.Location, c.prefer.timeZone, nil
}

// inZone runs a handler once the zone of the answer is known to be one.
func inZone(handle func(*call) (*Answer, error)) func(*call) (*Answer, error) {
	return func(c *call) (*Answer, error) {
		if _, _, err := c.displayZone(); err != nil {
			return nil, err
		}
		return handle(c)
	}
}

// shownTime is a dateTimeTimeZone for the answer.
func (c *call) shownTime(t time.Time, floating bool) map[string]any {
	loc, name, err := c.displayZone()
	if err != nil || floating {
		loc = time.UTC
	}
	return map[string]any{"dateTime": t.In(loc).Format(wireTime), "timeZone": name}
}

// window is the time that a view looks at: [from, to).
type window struct{ from, to time.Time }

// maxView is the longest view that Outlook answers.
const maxView = 1825 * 24 * time.Hour

// readWindow reads startDateTime and endDateTime of the query or of a function.
// They are read by their own offset, else in UTC, whatever Prefer says:
// https://learn.microsoft.com/graph/api/calendar-list-calendarview
func readWindow(start, end string) (window, error) {
	if start == "" || end == "" {
		return window{}, newError(http.StatusBadRequest, "ErrorInvalidParameter",
			"This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.")
	}
	from, err := readViewTime("StartDateTime", start)
	if err != nil {
		return window{}, err
	}
	to, err := readViewTime("EndDateTime", end)
	if err != nil {
		return window{}, err
	}
	switch {
	case to.Before(from):
		return window{}, newError(http.StatusBadRequest, "ErrorCalendarEndDateIsEarlierThanStartDate", "EndDate is earlier than StartDate")
	case to.Sub(from) > maxView:
		return window{}, newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. The range between the start and end dates is greater than the allowed range. Maximum number of days: 1825")
	}
	return window{from.UTC(), to.UTC()}, nil
}

func readViewTime(name, text string) (time.Time, error) {
	// A + that was not escaped arrives as a blank.
	text = strings.ReplaceAll(strings.TrimSpace(text), " ", "+")
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, newError(http.StatusBadRequest, "ErrorInvalidParameter", "The value '%s' of parameter '%s' is invalid.", shorten(text, 40), name)
}

// windowOf is the window of the request's query.
func (c *call) windowOf() (window, error) {
	return readWindow(c.query.named["startdatetime"], c.query.named["enddatetime"])
}

// readMomentParameter reads a dateTimeTimeZone among the parameters of an
// action.
func readMomentParameter(raw json.RawMessage) (moment, bool, error) {
	v, err := readTyped(raw, "dateTimeTimeZone", false)
	if err != nil {
		return moment{}, false, err
	}
	return readMoment(v)
}

// readTyped checks a parameter of an action against a type of the table.
func readTyped(raw json.RawMessage, kind string, list bool) (any, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil { // a number that no machine holds
		return nil, errBody("Cannot convert the literal '%s' to the expected type 'microsoft.graph.%s'.", shorten(string(raw), 40), kind)
	}
	return (&field{name: kind, kind: kind, list: list}).checkValue(v)
}
