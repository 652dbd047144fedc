package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

const allCalendar = "Calendars.ReadWrite Calendars.ReadWrite.Shared Mail.ReadWrite User.Read"

// calendarWorld is a sandbox seen by Ann with the rights to her calendar.
func calendarWorld(t *testing.T, opts ...sandbox.Option) *world {
	t.Helper()
	return start(t, opts...).as(ann, allCalendar)
}

// clock is a dateTimeTimeZone.
func clock(at, zone string) string { return fmt.Sprintf(`{"dateTime":%q,"timeZone":%q}`, at, zone) }

// event is a body of an event in UTC with more members behind.
func event(subject, from, to string, more ...string) string {
	return fmt.Sprintf(`{"subject":%q,"start":%s,"end":%s%s}`, subject, clock(from, "UTC"), clock(to, "UTC"), strings.Join(append([]string{""}, more...), ","))
}

// book creates an event and returns its id.
func (w *world) book(body string) string {
	w.t.Helper()
	return w.do(http.MethodPost, "/me/events", body).is(http.StatusCreated).str("id")
}

// view lists subjects and starts in a window of the default calendar.
func (w *world) view(from, to string) []string {
	w.t.Helper()
	var list []string
	for link := "/me/calendarView?$top=50&startDateTime=" + from + "&endDateTime=" + to; link != ""; {
		r := w.get(link).is(http.StatusOK)
		for _, e := range r.value() {
			start := e["start"].(map[string]any)["dateTime"].(string)
			list = append(list, fmt.Sprintf("%s %s", start[:16], e["subject"]))
		}
		link = r.str("@odata.nextLink")
	}
	return list
}

func sameLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestAnEventIsReadBackInTheZoneThatIsAskedFor(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	made := w.do(http.MethodPost, "/me/events", fmt.Sprintf(`{"subject":"Lunch","body":{"contentType":"html","content":"<p>At <b>noon</b></p>"},"start":%s,"end":%s,"location":{"displayName":"Café"}}`,
		clock("2026-12-01T12:00:00", "Pacific Standard Time"), clock("2026-12-01T13:00:00", "America/Los_Angeles"))).is(http.StatusCreated)
	id := made.str("id")
	if !strings.HasSuffix(made.header.Get("Location"), "/me/events('"+id+"')") || made.header.Get("ETag") == "" {
		t.Errorf("headers %v", made.header)
	}
	for zone, want := range map[string]string{"": "2026-12-01T20:00:00.0000000 UTC", "W. Europe Standard Time": "2026-12-01T21:00:00.0000000 W. Europe Standard Time", "Asia/Tokyo": "2026-12-02T05:00:00.0000000 Asia/Tokyo"} {
		as := w
		if zone != "" {
			as = w.with("Prefer", fmt.Sprintf(`outlook.timezone=%q`, zone))
		}
		r := as.get("/me/events/" + id).is(http.StatusOK)
		start := r.json["start"].(map[string]any)
		if got := fmt.Sprint(start["dateTime"], " ", start["timeZone"]); got != want {
			t.Errorf("Prefer %q: start %s, want %s", zone, got, want)
		}
		if applied := r.header.Get("Preference-Applied"); zone != "" && !strings.Contains(applied, zone) {
			t.Errorf("Preference-Applied %q", applied)
		}
	}
	r := w.with("Prefer", `outlook.body-content-type="text"`).get("/me/events/" + id).is(http.StatusOK)
	if body := r.json["body"].(map[string]any); body["contentType"] != "text" || strings.Contains(fmt.Sprint(body["content"]), "<") {
		t.Errorf("body as text: %v", body)
	}
	for name, want := range map[string]any{
		"type": "singleInstance", "isOrganizer": true, "originalStartTimeZone": "Pacific Standard Time", "originalEndTimeZone": "America/Los_Angeles",
		"showAs": "busy", "hasAttachments": false, "bodyPreview": "At noon", "seriesMasterId": nil, "isReminderOn": true,
	} {
		if r.json[name] != want {
			t.Errorf("%s is %v, want %v", name, r.json[name], want)
		}
	}
	w.with("Prefer", `outlook.timezone="Middle Earth"`).get("/me/events/"+id).is(http.StatusBadRequest, "TimeZoneNotSupportedException")
}

func TestEventsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	const day = `"start":{"dateTime":"2026-12-01T00:00:00","timeZone":"UTC"},`
	for _, row := range []struct{ name, body, code string }{
		{"end before start", event("x", "2026-12-01T12:00:00", "2026-12-01T11:59:59"), "ErrorPropertyValidationFailure"},
		{"no times", `{"subject":"x"}`, "ErrorPropertyValidationFailure"},
		{"no such zone", `{` + day + `"end":{"dateTime":"2026-12-01T01:00:00","timeZone":"Mars"}}`, "TimeZoneNotSupportedException"},
		{"no such time", `{` + day + `"end":{"dateTime":"tomorrow","timeZone":"UTC"}}`, "RequestBodyRead"},
		{"a whole day not at midnight", `{"isAllDay":true,` + day + `"end":{"dateTime":"2026-12-02T01:00:00","timeZone":"UTC"}}`, "ErrorPropertyValidationFailure"},
		{"a whole day of no length", `{"isAllDay":true,` + day + `"end":{"dateTime":"2026-12-01T00:00:00","timeZone":"UTC"}}`, "ErrorPropertyValidationFailure"},
		{"a whole day in two zones", `{"isAllDay":true,` + day + `"end":{"dateTime":"2026-12-02T00:00:00","timeZone":"Tokyo Standard Time"}}`, "ErrorPropertyValidationFailure"},
		{"an unknown property", event("x", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"colour":"red"`), "RequestBodyRead"},
		{"an unknown value", event("x", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"showAs":"asleep"`), "RequestBodyRead"},
		{"an attendee without an address", event("x", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"attendees":[{"type":"required"}]`), "ErrorInvalidRequest"},
		{"a pattern without an interval", event("x", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"recurrence":{"pattern":{"type":"daily"},"range":{"type":"noEnd","startDate":"2026-12-01"}}`), "ErrorPropertyValidationFailure"},
		{"a weekly pattern without days", event("x", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"recurrence":{"pattern":{"type":"weekly","interval":1},"range":{"type":"noEnd","startDate":"2026-12-01"}}`), "ErrorPropertyValidationFailure"},
		{"a series that begins on another day", event("x", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"noEnd","startDate":"2026-12-02"}}`), "ErrorPropertyValidationFailure"},
	} {
		if r := w.do(http.MethodPost, "/me/events", row.body); r.status != http.StatusBadRequest || r.code() != row.code {
			t.Errorf("%s: %d %s, want 400 %s: %s", row.name, r.status, r.code(), row.code, r.raw)
		}
	}
	if got := w.get("/me/events").value(); len(got) != 0 {
		t.Errorf("refused events were made: %v", got)
	}
	id := w.book(event("x", "2026-12-01T12:00:00", "2026-12-01T13:00:00"))
	w.do(http.MethodPatch, "/me/events/"+id, `{"end":`+clock("2026-12-01T11:00:00", "UTC")+`}`).is(http.StatusBadRequest, "ErrorPropertyValidationFailure")
	w.do(http.MethodPatch, "/me/events/"+id, `{"transactionId":"later"}`).is(http.StatusBadRequest)
}

func TestAWholeDayIsMidnightEverywhere(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(fmt.Sprintf(`{"subject":"Holiday","isAllDay":true,"start":%s,"end":%s}`, clock("2026-12-25T00:00:00", "Tokyo Standard Time"), clock("2026-12-26", "Asia/Tokyo")))
	for _, zone := range []string{"UTC", "Pacific Standard Time"} {
		r := w.with("Prefer", fmt.Sprintf(`outlook.timezone=%q`, zone)).get("/me/events/" + id)
		if start := r.json["start"].(map[string]any); start["dateTime"] != "2026-12-25T00:00:00.0000000" || start["timeZone"] != zone {
			t.Errorf("start %v in %s", start, zone)
		}
	}
}

func TestATransactionIdIsGoodForOneEvent(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	body := event("Once", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"transactionId":"order-7"`)
	if r := w.do(http.MethodPost, "/me/events", body).is(http.StatusCreated); r.str("transactionId") != "order-7" {
		t.Errorf("transactionId %v", r.json["transactionId"])
	}
	w.do(http.MethodPost, "/me/calendar/events", body).is(http.StatusConflict, "ErrorDuplicateTransactionId")
	w.do(http.MethodPost, "/me/events", event("Other", "2026-12-01T12:00:00", "2026-12-01T13:00:00", `"transactionId":"order-8"`)).is(http.StatusCreated)
	if n := len(w.get("/me/events").value()); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
	w.do(http.MethodPost, "/users/"+ben+"/events", body).is(http.StatusCreated) // another mailbox
}

func TestAnEventLivesInItsCalendar(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	cal := w.do(http.MethodPost, "/me/calendars", `{"name":"Garden"}`).is(http.StatusCreated).str("id")
	id := w.do(http.MethodPost, "/me/calendars/"+cal+"/events", event("Dig", "2026-12-01T12:00:00", "2026-12-01T13:00:00")).is(http.StatusCreated).str("id")
	home := w.book(event("Cook", "2026-12-01T12:00:00", "2026-12-01T13:00:00"))
	sameLines(t, w.get("/me/events").subjects(), "Cook")
	sameLines(t, w.get("/me/calendars/"+cal+"/events").subjects(), "Dig")
	sameLines(t, w.get("/me/calendar/events").subjects(), "Cook")
	w.get("/me/events/" + id).is(http.StatusOK)
	w.get("/me/calendars/" + cal + "/events/" + id).is(http.StatusOK)
	w.get("/me/calendar/events/"+id).is(http.StatusNotFound, "ErrorItemNotFound")
	w.get("/me/calendars/"+cal+"/events/"+home).is(http.StatusNotFound, "ErrorItemNotFound")
	if got := w.get("/me/calendars/" + cal + "/calendarView?startDateTime=2026-12-01&endDateTime=2026-12-02").subjects(); len(got) != 1 {
		t.Errorf("view of the other calendar: %v", got)
	}
	if name := w.get("/me/events/" + id + "?$expand=calendar").json["calendar"].(map[string]any)["name"]; name != "Garden" {
		t.Errorf("expanded calendar %v", name)
	}
	w.get("/me/events/nonsense").is(http.StatusBadRequest, "ErrorInvalidIdMalformed")
}

func TestAChangedEventHasAnotherETagAndAnOldOneIsRefused(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	first := w.do(http.MethodPost, "/me/events", event("Plan", "2026-12-01T12:00:00", "2026-12-01T13:00:00")).is(http.StatusCreated)
	id, old := first.str("id"), first.str("@odata.etag")
	next := w.with("If-Match", old).do(http.MethodPatch, "/me/events/"+id, `{"subject":"Plan B","categories":["Red"]}`).is(http.StatusOK)
	if next.str("@odata.etag") == old || next.str("subject") != "Plan B" {
		t.Errorf("after the change: %s", next.raw)
	}
	w.with("If-Match", old).do(http.MethodPatch, "/me/events/"+id, `{"subject":"Plan C"}`).is(http.StatusPreconditionFailed, "ErrorIrresolvableConflict")
	w.with("If-Match", old).do(http.MethodDelete, "/me/events/"+id, "").is(http.StatusPreconditionFailed)
	moved := w.do(http.MethodPatch, "/me/events/"+id, `{"start":`+clock("2026-12-01T10:00:00", "UTC")+`}`).is(http.StatusOK)
	if got := moved.json["end"].(map[string]any)["dateTime"]; got != "2026-12-01T13:00:00.0000000" {
		t.Errorf("the end moved along: %v", got)
	}
	w.do(http.MethodDelete, "/me/events/"+id, "").is(http.StatusNoContent)
	w.get("/me/events/"+id).is(http.StatusNotFound, "ErrorItemNotFound")
	immutable := w.with("Prefer", `IdType="ImmutableId"`)
	other := immutable.book(event("Gone", "2026-12-01T12:00:00", "2026-12-01T13:00:00"))
	w.do(http.MethodPost, "/me/events/"+other+"/permanentDelete", "").is(http.StatusNoContent)
	immutable.get("/me/events/" + other).is(http.StatusNotFound)
}

func TestAFilterFindsEventsByTheirStart(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	for day := range 4 {
		w.book(event(fmt.Sprintf("Day %d", day+1), fmt.Sprintf("2026-12-%02dT09:00:00", day+1), fmt.Sprintf("2026-12-%02dT10:00:00", day+1), fmt.Sprintf(`"categories":["c%d"]`, day%2)))
	}
	sameLines(t, w.get("/me/events?$filter=start/dateTime%20ge%20'2026-12-02'%20and%20end/dateTime%20lt%20'2026-12-04'&$orderby=start/dateTime%20desc&$select=subject").subjects(), "Day 3", "Day 2")
	sameLines(t, w.get("/me/events?$filter=categories/any(c:c%20eq%20'c1')&$orderby=subject").subjects(), "Day 2", "Day 4")
	page := w.get("/me/events?$top=3&$count=true&$orderby=start/dateTime").is(http.StatusOK)
	sameLines(t, append(page.subjects(), w.get(page.str("@odata.nextLink")).subjects()...), "Day 1", "Day 2", "Day 3", "Day 4")
	if page.json["@odata.count"] != float64(4) {
		t.Errorf("count %v", page.json["@odata.count"])
	}
	w.get("/me/events?$filter=colour%20eq%20'red'").is(http.StatusBadRequest, "RequestBroker--ParseUri")
}

func TestAViewNeedsItsWindow(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	w.book(event("Early", "2026-12-01T08:00:00", "2026-12-01T09:00:00"))
	w.book(event("Late", "2026-12-01T22:00:00", "2026-12-02T02:00:00"))
	sameLines(t, w.view("2026-12-01T09:00:00Z", "2026-12-01T22:00:00Z"))
	sameLines(t, w.view("2026-12-02T01:00:00", "2026-12-03"), "2026-12-01T22:00 Late")
	sameLines(t, w.view("2026-12-01T00:30:00-08:00", "2026-12-01T01:30:00-08:00"), "2026-12-01T08:00 Early")
	sameLines(t, w.with("Prefer", `outlook.timezone="Tokyo Standard Time"`).view("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"), "2026-12-01T17:00 Early", "2026-12-02T07:00 Late")
	w.get("/me/calendarView").is(http.StatusBadRequest, "ErrorInvalidParameter")
	w.get("/me/calendarView?startDateTime=2026-12-01").is(http.StatusBadRequest, "ErrorInvalidParameter")
	w.get("/me/calendarView?startDateTime=2026-12-01&endDateTime=soon").is(http.StatusBadRequest, "ErrorInvalidParameter")
	w.get("/me/calendarView?startDateTime=2026-12-02&endDateTime=2026-12-01").is(http.StatusBadRequest, "ErrorCalendarEndDateIsEarlierThanStartDate")
	w.get("/me/calendarView?startDateTime=2026-12-01&endDateTime=2036-12-01").is(http.StatusBadRequest, "ErrorInvalidRequest")
}

func TestReadBasicShowsNoBody(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(event("Secret", "2026-12-01T08:00:00", "2026-12-01T09:00:00", `"body":{"contentType":"text","content":"tell nobody"}`))
	basic := w.as(ann, "Calendars.ReadBasic")
	if r := basic.get("/me/events/" + id).is(http.StatusOK); strings.Contains(string(r.raw), "nobody") || r.str("subject") != "Secret" {
		t.Errorf("with ReadBasic: %s", r.raw)
	}
	basic.do(http.MethodPatch, "/me/events/"+id, `{"subject":"x"}`).is(http.StatusForbidden, "ErrorAccessDenied")
	w.as(ann, "Mail.Read").get("/me/events").is(http.StatusForbidden, "ErrorAccessDenied")
}

func TestRemindersGoOffAreSnoozedAndDismissed(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(event("Call", "2026-12-01T08:00:00", "2026-12-01T09:00:00", `"reminderMinutesBeforeStart":30`))
	w.book(event("Quiet", "2026-12-01T08:00:00", "2026-12-01T09:00:00", `"isReminderOn":false`))
	const view = "/me/reminderView(startDateTime='2026-12-01T00:00:00Z',endDateTime='2026-12-02T00:00:00Z')"
	fires := func() string {
		list := w.get(view).is(http.StatusOK).value()
		if len(list) == 0 {
			return ""
		}
		return fmt.Sprint(len(list), list[0]["eventSubject"], list[0]["reminderFireTime"].(map[string]any)["dateTime"])
	}
	if got := fires(); got != "1Call2026-12-01T07:30:00.0000000" {
		t.Errorf("reminders %s", got)
	}
	w.do(http.MethodPost, "/me/events/"+id+"/snoozeReminder", `{"newReminderTime":`+clock("2026-12-01T07:45:00", "UTC")+`}`).is(http.StatusOK)
	if got := fires(); got != "1Call2026-12-01T07:45:00.0000000" {
		t.Errorf("after the snooze %s", got)
	}
	w.do(http.MethodPost, "/me/events/"+id+"/snoozeReminder", `{}`).is(http.StatusBadRequest)
	w.do(http.MethodPost, "/me/events/"+id+"/dismissReminder", "").is(http.StatusOK)
	if got := fires(); got != "" {
		t.Errorf("after the dismissal %s", got)
	}
	w.get("/me/reminderView(startDateTime='2026-12-01T00:00:00Z')").is(http.StatusBadRequest)
}

func TestEventsSurviveTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := calendarWorld(t, sandbox.StoreDir(dir))
	master := first.book(event("Daily", "2026-12-01T08:00:00", "2026-12-01T09:00:00", `"recurrence":{"pattern":{"type":"daily","interval":1},"range":{"type":"numbered","startDate":"2026-12-01","numberOfOccurrences":4}}`))
	day := first.get("/me/events/" + master + "/instances?startDateTime=2026-12-01&endDateTime=2026-12-05").value()
	first.do(http.MethodDelete, "/me/events/"+day[1]["id"].(string), "").is(http.StatusNoContent)
	first.do(http.MethodPatch, "/me/events/"+day[2]["id"].(string), `{"subject":"Special"}`).is(http.StatusOK)
	want := first.view("2026-12-01", "2026-12-31")
	sameLines(t, want, "2026-12-01T08:00 Daily", "2026-12-03T08:00 Special", "2026-12-04T08:00 Daily")
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := calendarWorld(t, sandbox.StoreDir(dir))
	sameLines(t, second.view("2026-12-01", "2026-12-31"), want...)
	if got := second.get("/me/calendars").value(); len(got) != 1 {
		t.Errorf("after the restart there are %d calendars", len(got))
	}
}

func TestAnEventHasTwoIds(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	immutable := w.with("Prefer", `IdType="ImmutableId"`)
	id := w.book(event("Daily", "2026-12-01T08:00:00", "2026-12-01T09:00:00", every(daily, forEver, "2026-12-01")))
	other := immutable.get("/me/events/" + id).is(http.StatusOK).str("id")
	if other == id || w.get("/me/events/"+other).is(http.StatusOK).str("id") != id {
		t.Errorf("ids %s and %s", id, other)
	}
	for as, want := range map[*world]string{w: id, immutable: other} {
		if got := as.get("/me/calendarView?startDateTime=2026-12-01&endDateTime=2026-12-02").value()[0]["seriesMasterId"]; got != want {
			t.Errorf("seriesMasterId %v, want %s", got, want)
		}
	}
	w.get("/me/events/"+strings.ToLower(id)).is(http.StatusBadRequest, "ErrorInvalidIdMalformed")
	w.as(ben, allCalendar).get("/me/events/"+id).is(http.StatusNotFound, "ErrorItemNotFound")
}

func TestAnEventHasAtMostSoManyAttendees(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t, sandbox.MaxRecipients(2))
	attendees := func(names ...string) string {
		list := make([]string, 0, len(names))
		for _, name := range names {
			list = append(list, fmt.Sprintf(`{"emailAddress":{"address":"%s@contoso.example"}}`, name))
		}
		return `"attendees":[` + strings.Join(list, ",") + `]`
	}
	id := w.book(event("Small", "2026-12-01T09:00:00", "2026-12-01T10:00:00", attendees("ben", "cleo")))
	w.do(http.MethodPatch, "/me/events/"+id, `{`+attendees("ben", "cleo", "dan")+`}`).is(400, "ErrorInvalidRequest")
	w.do(http.MethodPost, "/me/events", event("Large", "2026-12-01T09:00:00", "2026-12-01T10:00:00", attendees("ben", "cleo", "dan"))).is(400, "ErrorInvalidRequest")
}
