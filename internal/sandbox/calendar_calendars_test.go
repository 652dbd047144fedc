package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestEverybodyHasACalendarThatStays(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	cal := w.get("/me/calendar").is(http.StatusOK)
	for name, want := range map[string]any{"name": "Calendar", "isDefaultCalendar": true, "canEdit": true, "isRemovable": false, "color": "auto"} {
		if cal.json[name] != want {
			t.Errorf("%s is %v, want %v", name, cal.json[name], want)
		}
	}
	if owner := cal.json["owner"].(map[string]any); owner["address"] != ann {
		t.Errorf("owner %v", owner)
	}
	w.do(http.MethodDelete, "/me/calendars/"+cal.str("id"), "").is(http.StatusBadRequest, "ErrorDeleteDistinguishedFolder")
	w.do(http.MethodPatch, "/me/calendar", `{"color":"lightBlue"}`).is(http.StatusOK)
	if got := w.get("/me/calendars/" + cal.str("id")).str("color"); got != "lightBlue" {
		t.Errorf("color %s", got)
	}
	for _, group := range w.get("/me/calendarGroups").is(http.StatusOK).value() {
		if group["name"] == "My Calendars" {
			w.do(http.MethodDelete, "/me/calendarGroups/"+group["id"].(string), "").is(http.StatusBadRequest, "ErrorDeleteDistinguishedFolder")
			return
		}
	}
	t.Error("there is no group My Calendars")
}

func TestCalendarsAreMadeInGroups(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	group := w.do(http.MethodPost, "/me/calendarGroups", `{"name":"Team"}`).is(http.StatusCreated).str("id")
	at := "/me/calendarGroups/" + group + "/calendars"
	cal := w.do(http.MethodPost, at, `{"name":"Rota","color":"lightGreen"}`).is(http.StatusCreated).str("id")
	w.do(http.MethodPost, at, `{"name":"rota"}`).is(http.StatusConflict, "ErrorFolderExists")
	w.do(http.MethodPost, at, `{"color":"auto"}`).is(http.StatusBadRequest, "ErrorInvalidRequest")
	w.do(http.MethodPost, "/me/calendars", `{"name":"Rota"}`).is(http.StatusCreated) // another group
	names := func(path string) string {
		var list []string
		for _, c := range w.get(path).is(http.StatusOK).value() {
			list = append(list, c["name"].(string))
		}
		return strings.Join(list, " ")
	}
	if got := names(at) + " / " + names("/me/calendars"); got != "Rota / Calendar Rota Rota" {
		t.Errorf("calendars %s", got)
	}
	id := w.do(http.MethodPost, at+"/"+cal+"/events", meet("Shift")).is(http.StatusCreated).str("id")
	w.get(at + "/" + cal + "/events/" + id).is(http.StatusOK)
	w.get("/me/calendarGroups/"+w.defaultGroup()+"/calendars/"+cal).is(http.StatusNotFound, "ErrorItemNotFound")
	w.do(http.MethodDelete, "/me/calendarGroups/"+group, "").is(http.StatusBadRequest, "ErrorCannotDeleteObject")
	w.do(http.MethodPatch, "/me/calendars/"+cal, `{"name":"Shifts"}`).is(http.StatusOK)
	w.do(http.MethodDelete, at+"/"+cal, "").is(http.StatusNoContent)
	w.get("/me/events/" + id).is(http.StatusNotFound)
	w.do(http.MethodDelete, "/me/calendarGroups/"+group, "").is(http.StatusNoContent)
	w.get("/me/calendarGroups/" + group).is(http.StatusNotFound)
}

func (w *world) defaultGroup() string {
	w.t.Helper()
	for _, g := range w.get("/me/calendarGroups").value() {
		if g["name"] == "My Calendars" {
			return g["id"].(string)
		}
	}
	w.t.Fatal("no default group")
	return ""
}

func TestCalendarPermissionsAreKept(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	const at = "/users/" + ann + "/calendar/calendarPermissions"
	first := w.get(at).is(http.StatusOK).value()
	if len(first) != 1 || first[0]["isRemovable"] != false || first[0]["role"] != "freeBusyRead" {
		t.Errorf("permissions at the beginning: %v", first)
	}
	made := w.do(http.MethodPost, at, fmt.Sprintf(`{"emailAddress":{"address":%q},"role":"read","isInsideOrganization":true,"isRemovable":true}`, ben)).is(http.StatusOK)
	id := made.str("id")
	if made.json["isRemovable"] != true || made.json["emailAddress"].(map[string]any)["name"] == nil {
		t.Errorf("made: %s", made.raw)
	}
	if got := w.do(http.MethodPatch, at+"/"+id, `{"role":"write"}`).is(http.StatusOK).str("role"); got != "write" {
		t.Errorf("role %s", got)
	}
	w.do(http.MethodPatch, at+"/"+id, `{"role":"owner"}`).is(http.StatusBadRequest, "RequestBodyRead")
	w.do(http.MethodPost, at, `{"emailAddress":{"address":"x@fabrikam.example"},"role":"write"}`).is(http.StatusBadRequest, "ErrorInvalidRequest")
	w.do(http.MethodPost, at, `{"role":"read"}`).is(http.StatusBadRequest, "ErrorInvalidRequest")
	event := w.book(meet("x"))
	w.get("/me/events/" + event + "/calendar/calendarPermissions/" + id).is(http.StatusOK)
	w.do(http.MethodDelete, at+"/"+first[0]["id"].(string), "").is(http.StatusBadRequest, "ErrorInvalidRequest")
	w.do(http.MethodDelete, at+"/"+id, "").is(http.StatusNoContent)
	w.get(at+"/"+id).is(http.StatusNotFound, "ErrorItemNotFound")
}

func TestAScheduleTellsWhenPeopleAreBusy(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	b := w.as(ben, allCalendar)
	b.book(event("Dentist", "2026-12-01T09:00:00", "2026-12-01T10:00:00", `"sensitivity":"private","showAs":"oof"`))
	b.book(event("Walk", "2026-12-01T10:00:00", "2026-12-01T11:00:00", `"showAs":"free"`))
	b.book(event("Maybe", "2026-12-01T11:00:00", "2026-12-01T12:30:00", `"showAs":"tentative"`))
	b.book(event("Daily", "2026-12-01T12:00:00", "2026-12-01T12:30:00", every(daily, forEver, "2026-12-01")))
	ask := func(more string) string {
		return fmt.Sprintf(`{"schedules":[%q,"nobody@contoso.example"],"startTime":%s,"endTime":%s%s}`, ben, clock("2026-12-01T09:00:00", "UTC"), clock("2026-12-01T13:00:00", "UTC"), more)
	}
	r := w.do(http.MethodPost, "/me/calendar/getSchedule", ask("")).is(http.StatusOK)
	who := r.value()
	if who[0]["scheduleId"] != ben || who[0]["availabilityView"] != "33001120" {
		t.Errorf("schedule: %v", who[0])
	}
	if e, _ := who[1]["error"].(map[string]any); e["responseCode"] != "ErrorMailRecipientNotFound" {
		t.Errorf("nobody: %v", who[1])
	}
	var items []string
	for _, v := range who[0]["scheduleItems"].([]any) {
		it := v.(map[string]any)
		items = append(items, fmt.Sprint(it["status"], " ", it["subject"], " ", it["isPrivate"], " ", it["isRecurring"]))
	}
	sameLines(t, items, "oof <nil> true false", "free Walk false false", "tentative Maybe false false", "busy Daily false true")
	if r := w.do(http.MethodPost, "/me/calendar/getSchedule", ask(`,"availabilityViewInterval":60`)).is(http.StatusOK); r.value()[0]["availabilityView"] != "3012" {
		t.Errorf("by the hour: %v", r.value()[0]["availabilityView"])
	}
	w.do(http.MethodPost, "/me/calendar/getSchedule", ask(`,"availabilityViewInterval":4`)).is(http.StatusBadRequest, "ErrorInvalidMergedFreeBusyInterval")
	w.do(http.MethodPost, "/me/calendar/getSchedule", `{"schedules":[]}`).is(http.StatusBadRequest, "ErrorInvalidParameter")
	w.do(http.MethodPost, "/me/calendar/getSchedule", strings.Replace(ask(""), "2026-12-01T13", "2027-12-01T13", 1)).is(http.StatusBadRequest, "ErrorTimeIntervalTooBig")
}

func TestMeetingTimesAreFoundWhereEverybodyIsFree(t *testing.T) {
	t.Parallel()
	// Everybody's working hours are in this zone.
	const zone = "Pacific Standard Time"
	local := func(body string) string { return strings.ReplaceAll(body, `"UTC"`, `"`+zone+`"`) }
	w := calendarWorld(t).with("Prefer", `outlook.timezone="`+zone+`"`)
	w.book(local(event("Mine", "2026-12-01T08:00:00", "2026-12-01T10:00:00")))
	w.as(ben, allCalendar).book(local(event("Bens", "2026-12-01T10:00:00", "2026-12-01T15:30:00")))
	find := func(more string) (*reply, []string) {
		r := w.as(ann, "Calendars.Read.Shared").do(http.MethodPost, "/me/findMeetingTimes", fmt.Sprintf(
			`{%s,"meetingDuration":"PT1H","timeConstraint":{"activityDomain":"work","timeSlots":[{"start":%s,"end":%s}]}%s}`, attendees(ben),
			clock("2026-12-01T07:00:00", zone), clock("2026-12-01T20:00:00", zone), more)).is(http.StatusOK)
		var list []string
		for _, v := range r.json["meetingTimeSuggestions"].([]any) {
			s := v.(map[string]any)
			list = append(list, fmt.Sprint(s["meetingTimeSlot"].(map[string]any)["start"].(map[string]any)["dateTime"].(string)[11:16], " ", s["confidence"]))
		}
		return r, list
	}
	r, got := find(`,"minimumAttendeePercentage":100`)
	sameLines(t, got, "15:30 100", "16:00 100")
	if !strings.Contains(string(r.raw), `"attendeeAvailability":[{"attendee":{"emailAddress":{"address":"ben@contoso.example"},"type":"required"},"availability":"free"}]`) {
		t.Errorf("the answer: %s", r.raw)
	}
	_, got = find(`,"maxCandidates":3`)
	sameLines(t, got, "15:30 100", "16:00 100", "10:00 50")
	w.book(local(event("All afternoon", "2026-12-01T10:00:00", "2026-12-01T20:00:00")))
	r, got = find("")
	sameLines(t, got)
	if r.str("emptySuggestionsReason") != "organizerUnavailable" {
		t.Errorf("reason %s", r.str("emptySuggestionsReason"))
	}
	if _, got = find(`,"isOrganizerOptional":true,"minimumAttendeePercentage":100`); len(got) != 5 {
		t.Errorf("without the organizer: %v", got)
	}
	w.as(ann, "Calendars.Read.Shared").do(http.MethodPost, "/me/findMeetingTimes", `{"meetingDuration":"an hour"}`).is(http.StatusBadRequest, "RequestBodyRead")
	w.as(ann, "Calendars.Read.Shared").do(http.MethodPost, "/me/findMeetingTimes", `{}`).is(http.StatusOK)
}
