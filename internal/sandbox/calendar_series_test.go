package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// every is a recurrence from a date on.
func every(pattern, ends, from string) string {
	return fmt.Sprintf(`"recurrence":{"pattern":{%s},"range":{%s,"startDate":%q}}`, pattern, ends, from)
}

const (
	daily   = `"type":"daily","interval":1`
	forEver = `"type":"noEnd"`
)

// dates are the instances of a series in a window, as ids by start.
func (w *world) dates(master, from, to string) map[string]string {
	w.t.Helper()
	ids := map[string]string{}
	for _, e := range w.get("/me/events/" + master + "/instances?$top=100&startDateTime=" + from + "&endDateTime=" + to).is(http.StatusOK).value() {
		ids[e["start"].(map[string]any)["dateTime"].(string)[:10]] = e["id"].(string)
	}
	return ids
}

func TestASeriesKeepsItsTimeOnTheClock(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	made := w.do(http.MethodPost, "/me/events", fmt.Sprintf(`{"subject":"Stand-up","start":%s,"end":%s,%s}`,
		clock("2026-10-23T09:00:00", "W. Europe Standard Time"), clock("2026-10-23T09:15:00", "W. Europe Standard Time"),
		every(`"type":"weekly","interval":1,"daysOfWeek":["friday","monday"]`, forEver, "2026-10-23"))).is(http.StatusCreated)
	if made.str("type") != "seriesMaster" {
		t.Errorf("type %s", made.str("type"))
	}
	zone := made.json["recurrence"].(map[string]any)["range"].(map[string]any)["recurrenceTimeZone"]
	if zone != "W. Europe Standard Time" {
		t.Errorf("recurrenceTimeZone %v", zone)
	}
	sameLines(t, w.view("2026-10-20", "2026-11-03"), "2026-10-23T07:00 Stand-up", "2026-10-26T08:00 Stand-up", "2026-10-30T08:00 Stand-up", "2026-11-02T08:00 Stand-up")
	sameLines(t, w.get("/me/events").subjects(), "Stand-up")
	sameLines(t, w.view("2126-10-20", "2126-10-26"), "2126-10-21T07:00 Stand-up", "2126-10-25T07:00 Stand-up")
}

func TestADateOfASeriesBecomesAnExceptionAndIsCancelled(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	master := w.book(event("Daily", "2026-12-01T08:00:00", "2026-12-01T09:00:00", every(daily, forEver, "2026-12-01"), `"body":{"contentType":"text","content":"agenda"}`))
	days := w.dates(master, "2026-12-01", "2026-12-06")
	if len(days) != 5 {
		t.Fatalf("%d dates: %v", len(days), days)
	}
	second := w.get("/me/events/" + days["2026-12-02"]).is(http.StatusOK)
	if second.str("type") != "occurrence" || second.str("seriesMasterId") != master || second.json["recurrence"] != nil || second.str("originalStart") != "2026-12-02T08:00:00Z" ||
		second.str("occurrenceId") != "OID."+master+".2026-12-02" || second.str("iCalUId") == w.get("/me/events/"+master).str("iCalUId") {
		t.Errorf("an occurrence: %s", second.raw)
	}

	changed := w.do(http.MethodPatch, "/me/events/"+days["2026-12-02"], `{"subject":"Special","start":`+clock("2026-12-02T10:00:00", "UTC")+`,"end":`+clock("2026-12-02T11:00:00", "UTC")+`}`).is(http.StatusOK)
	if changed.str("type") != "exception" || changed.str("id") != days["2026-12-02"] || changed.str("originalStart") != "2026-12-02T08:00:00Z" {
		t.Errorf("an exception: %s", changed.raw)
	}
	w.do(http.MethodDelete, "/me/events/"+days["2026-12-03"], "").is(http.StatusNoContent)
	w.get("/me/events/"+days["2026-12-03"]).is(http.StatusNotFound, "ErrorItemNotFound")
	want := []string{"2026-12-01T08:00 Daily", "2026-12-02T10:00 Special", "2026-12-04T08:00 Daily", "2026-12-05T08:00 Daily"}
	sameLines(t, w.view("2026-12-01", "2026-12-06"), want...)
	m := w.get("/me/events/" + master + "?$select=cancelledOccurrences,subject&$expand=exceptionOccurrences($select=subject)").is(http.StatusOK)
	if got := fmt.Sprint(m.json["cancelledOccurrences"]); got != "[OID."+master+".2026-12-03]" {
		t.Errorf("cancelledOccurrences %s", got)
	}
	if list, _ := m.json["exceptionOccurrences"].([]any); len(list) != 1 || list[0].(map[string]any)["subject"] != "Special" {
		t.Errorf("exceptionOccurrences %v", m.json["exceptionOccurrences"])
	}
	sameLines(t, w.get("/me/events").subjects(), "Daily")

	// What the exception has not of its own follows the master.
	w.do(http.MethodPatch, "/me/events/"+master, `{"subject":"Every day","categories":["Blue"]}`).is(http.StatusOK)
	e := w.get("/me/events/" + days["2026-12-02"]).is(http.StatusOK)
	if e.str("subject") != "Special" || fmt.Sprint(e.json["categories"]) != "[Blue]" {
		t.Errorf("the exception after a change of the master: %s", e.raw)
	}
	// A new time of the series drops the exceptions.
	w.do(http.MethodPatch, "/me/events/"+master, `{"start":`+clock("2026-12-01T07:00:00", "UTC")+`,"end":`+clock("2026-12-01T07:30:00", "UTC")+`}`).is(http.StatusOK)
	sameLines(t, w.view("2026-12-01", "2026-12-04"), "2026-12-01T07:00 Every day", "2026-12-02T07:00 Every day", "2026-12-03T07:00 Every day")
	w.do(http.MethodDelete, "/me/events/"+master, "").is(http.StatusNoContent)
	sameLines(t, w.view("2026-12-01", "2026-12-06"))
	w.get("/me/events/" + days["2026-12-01"]).is(http.StatusNotFound)
}

func TestADateCannotBeMovedPastItsNeighbours(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	master := w.book(event("Weekly", "2026-12-01T08:00:00", "2026-12-01T09:00:00", every(`"type":"weekly","interval":1,"daysOfWeek":["tuesday"]`, forEver, "2026-12-01")))
	id := w.dates(master, "2026-12-01", "2026-12-20")["2026-12-08"]
	move := func(day string) *reply {
		return w.do(http.MethodPatch, "/me/events/"+id, `{"start":`+clock(day+"T08:00:00", "UTC")+`,"end":`+clock(day+"T09:00:00", "UTC")+`}`)
	}
	move("2026-12-15").is(http.StatusBadRequest, "ErrorOccurrenceCrossingBoundary")
	move("2026-11-30").is(http.StatusBadRequest, "ErrorOccurrenceCrossingBoundary")
	move("2026-12-14").is(http.StatusOK)
	move("2026-12-02").is(http.StatusOK)
	w.do(http.MethodPatch, "/me/events/"+id, `{`+every(daily, forEver, "2026-12-02")+`}`).is(http.StatusBadRequest, "ErrorPropertyValidationFailure")
	sameLines(t, w.view("2026-12-01", "2026-12-16"), "2026-12-01T08:00 Weekly", "2026-12-02T08:00 Weekly", "2026-12-15T08:00 Weekly")
}

func TestASeriesTakesAnotherPatternOrNone(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	master := w.book(event("Talk", "2026-12-01T08:00:00", "2026-12-01T09:00:00", every(daily, `"type":"numbered","numberOfOccurrences":3`, "2026-12-01")))
	w.do(http.MethodPatch, "/me/events/"+master, `{`+every(`"type":"absoluteMonthly","interval":1,"dayOfMonth":1`, `"type":"endDate","endDate":"2027-02-01"`, "2026-12-01")+`}`).is(http.StatusOK)
	sameLines(t, w.view("2026-12-01", "2027-12-01"), "2026-12-01T08:00 Talk", "2027-01-01T08:00 Talk", "2027-02-01T08:00 Talk")
	// The start moves the range along.
	moved := w.do(http.MethodPatch, "/me/events/"+master, `{"start":`+clock("2026-12-02T08:00:00", "UTC")+`,"end":`+clock("2026-12-02T09:00:00", "UTC")+`}`).is(http.StatusOK)
	if got := moved.json["recurrence"].(map[string]any)["range"].(map[string]any)["startDate"]; got != "2026-12-02" {
		t.Errorf("startDate %v", got)
	}
	single := w.do(http.MethodPatch, "/me/events/"+master, `{"recurrence":null}`).is(http.StatusOK)
	if single.str("type") != "singleInstance" {
		t.Errorf("type %s", single.str("type"))
	}
	sameLines(t, w.view("2026-12-01", "2027-12-01"), "2026-12-02T08:00 Talk")
	w.get("/me/events/"+master+"/instances?startDateTime=2026-12-01&endDateTime=2026-12-09").is(http.StatusBadRequest, "ErrorInvalidRequest")
	w.get("/me/events/"+master+"/instances").is(http.StatusBadRequest, "ErrorInvalidParameter")
}

func TestAWholeDaySeriesFloats(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	w.book(fmt.Sprintf(`{"subject":"Birthday","isAllDay":true,"start":%s,"end":%s,%s}`, clock("2024-02-29T00:00:00", "Tokyo Standard Time"), clock("2024-03-01T00:00:00", "Tokyo Standard Time"),
		every(`"type":"absoluteYearly","interval":1,"month":2,"dayOfMonth":29`, forEver, "2024-02-29")))
	sameLines(t, w.view("2025-01-01", "2028-12-31"), "2025-02-28T00:00 Birthday", "2026-02-28T00:00 Birthday", "2027-02-28T00:00 Birthday", "2028-02-29T00:00 Birthday")
}

// deltaRound follows a round to its end; it returns what each page told and the
// deltaLink.
func (w *world) round(link string) (told []string, next string) {
	w.t.Helper()
	for {
		r := w.get(link).is(http.StatusOK)
		for _, e := range r.value() {
			line := fmt.Sprint(e["type"], " ")
			if e["@removed"] != nil {
				line = "removed "
			}
			if start, ok := e["start"].(map[string]any); ok {
				line += start["dateTime"].(string)[:16]
			}
			if subject, ok := e["subject"].(string); ok {
				line += " " + subject
			}
			told = append(told, strings.TrimSpace(line))
		}
		if link = r.str("@odata.nextLink"); link == "" {
			return told, r.str("@odata.deltaLink")
		}
	}
}

func TestADeltaOverAViewTellsOfOccurrencesAndOfWhatLeft(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	master := w.book(event("Daily", "2026-12-01T08:00:00", "2026-12-01T09:00:00", every(daily, forEver, "2026-12-01")))
	single := w.book(event("Once", "2026-12-02T12:00:00", "2026-12-02T13:00:00"))
	w.book(event("Later", "2026-12-20T12:00:00", "2026-12-20T13:00:00"))
	const view = "/me/calendarView/delta?startDateTime=2026-12-01&endDateTime=2026-12-04"
	paged := w.with("Prefer", "odata.maxpagesize=2")
	told, link := paged.round(view)
	sameLines(t, told, "seriesMaster 2026-12-01T08:00 Daily", "occurrence 2026-12-01T08:00", "occurrence 2026-12-02T08:00", "occurrence 2026-12-03T08:00", "singleInstance 2026-12-02T12:00 Once")
	told, link = w.round(link)
	sameLines(t, told)

	days := w.dates(master, "2026-12-01", "2026-12-10")
	w.do(http.MethodDelete, "/me/events/"+days["2026-12-02"], "").is(http.StatusNoContent)
	told, link = w.round(link)
	sameLines(t, told, "removed", "seriesMaster 2026-12-01T08:00 Daily")
	w.do(http.MethodPatch, "/me/events/"+days["2026-12-03"], `{"subject":"Other"}`).is(http.StatusOK)
	told, link = w.round(link)
	sameLines(t, told, "exception 2026-12-03T08:00 Other")
	w.do(http.MethodPatch, "/me/events/"+single, `{"start":`+clock("2026-12-12T12:00:00", "UTC")+`,"end":`+clock("2026-12-12T13:00:00", "UTC")+`}`).is(http.StatusOK)
	told, link = w.round(link)
	sameLines(t, told, "removed")
	w.do(http.MethodPatch, "/me/events/"+single, `{"subject":"Far away"}`).is(http.StatusOK)
	told, link = w.round(link)
	sameLines(t, told, "removed")

	// Another pattern: the dates that it does not have go.
	w.do(http.MethodPatch, "/me/events/"+master, `{`+every(`"type":"daily","interval":2`, forEver, "2026-12-01")+`}`).is(http.StatusOK)
	told, link = w.round(link)
	sameLines(t, told, "removed", "seriesMaster 2026-12-01T08:00 Daily", "occurrence 2026-12-01T08:00", "occurrence 2026-12-03T08:00")
	w.do(http.MethodDelete, "/me/events/"+master, "").is(http.StatusNoContent)
	told, _ = w.round(link)
	sameLines(t, told, "removed", "removed", "removed")
}

func TestADeltaOverEventsIsSpelledThreeWaysAndTakesNoOptions(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	w.book(event("Daily", "2026-12-01T08:00:00", "2026-12-01T09:00:00", every(daily, forEver, "2026-12-01")))
	for _, spelling := range []string{"delta", "delta()", "microsoft.graph.delta", "microsoft.graph.delta()"} {
		told, _ := w.round("/me/events/" + spelling)
		sameLines(t, told, "seriesMaster 2026-12-01T08:00 Daily")
		told, _ = w.round("/me/calendar/calendarView/" + spelling + "?startDateTime=2026-12-01&endDateTime=2026-12-02")
		sameLines(t, told, "seriesMaster 2026-12-01T08:00 Daily", "occurrence 2026-12-01T08:00")
	}
	for _, option := range []string{"$select=subject", "$expand=calendar", "$filter=subject%20eq%20'x'", "$orderby=subject", "$search=x"} {
		w.get("/me/calendarView/delta?startDateTime=2026-12-01&endDateTime=2026-12-02&"+option).is(http.StatusBadRequest, "ErrorInvalidUrlQuery")
		w.get("/me/events/delta?"+option).is(http.StatusBadRequest, "ErrorInvalidUrlQuery")
	}
	w.get("/me/calendarView/delta").is(http.StatusBadRequest, "ErrorInvalidParameter")
	_, link := w.round("/me/calendarView/delta?startDateTime=2026-12-01&endDateTime=2026-12-02")
	w.ExpireDelta(ann)
	w.get(link).is(http.StatusGone, "SyncStateNotFound")
	zoned := w.with("Prefer", `outlook.timezone="Tokyo Standard Time"`)
	told, _ := zoned.round("/me/calendarView/delta?startDateTime=2026-12-01&endDateTime=2026-12-02")
	sameLines(t, told, "seriesMaster 2026-12-01T17:00 Daily", "occurrence 2026-12-01T17:00")
}
