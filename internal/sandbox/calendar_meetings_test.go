package sandbox_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func attendees(addresses ...string) string {
	var list []string
	for _, a := range addresses {
		list = append(list, fmt.Sprintf(`{"type":"required","emailAddress":{"address":%q}}`, a))
	}
	return `"attendees":[` + strings.Join(list, ",") + `]`
}

// meet is a meeting of Ann's with the day's usual time.
func meet(subject string, more ...string) string {
	return event(subject, "2026-12-01T12:00:00", "2026-12-01T13:00:00", more...)
}

// sent are the recipients and subjects of the mails in the ledger.
func (w *world) sent() []string {
	var list []string
	for _, e := range w.Effects() {
		if e.Kind == sandbox.EffectSent {
			list = append(list, strings.Join(e.Recipients, "+")+": "+e.Subject)
		}
	}
	return list
}

// only is the one event of the list of somebody's calendar.
func (w *world) only() *reply {
	w.t.Helper()
	list := w.get("/me/events?$select=id").is(http.StatusOK).value()
	if len(list) != 1 {
		w.t.Fatalf("%d events, want 1: %v", len(list), list)
	}
	return w.get("/me/events/" + list[0]["id"].(string)).is(http.StatusOK)
}

// statusOf is what an attendee answered, as the organizer sees it.
func statusOf(r *reply, mail string) string {
	for _, v := range r.json["attendees"].([]any) {
		a := v.(map[string]any)
		if a["emailAddress"].(map[string]any)["address"] == mail {
			return fmt.Sprint(a["status"].(map[string]any)["response"])
		}
	}
	return "not there"
}

func TestAnInvitationReachesTheAttendeesInboxAndCalendar(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	made := w.do(http.MethodPost, "/me/events", meet("Kick-off", attendees(ben, "guest@fabrikam.example"), `"body":{"contentType":"text","content":"Bring cake"}`)).is(http.StatusCreated)
	sameLines(t, w.sent(), ben+"+guest@fabrikam.example: Kick-off")
	sameLines(t, w.in("sentitems"), "Kick-off")
	b := w.as(ben, allCalendar)
	sameLines(t, b.in("inbox"), "Kick-off")
	e := b.only()
	for name, want := range map[string]any{"subject": "Kick-off", "isOrganizer": false, "showAs": "tentative", "iCalUId": made.str("iCalUId"), "bodyPreview": "Bring cake"} {
		if e.json[name] != want {
			t.Errorf("%s is %v, want %v", name, e.json[name], want)
		}
	}
	if got := fmt.Sprint(e.json["responseStatus"].(map[string]any)["response"], e.json["organizer"].(map[string]any)["emailAddress"].(map[string]any)["address"]); got != "notResponded"+ann {
		t.Errorf("response and organizer: %s", got)
	}
	mail := b.get("/me/messages?$expand=microsoft.graph.eventMessage/event").is(http.StatusOK).value()[0]
	if mail["@odata.type"] != "#microsoft.graph.eventMessageRequest" || mail["meetingMessageType"] != "meetingRequest" || mail["meetingRequestType"] != "newMeetingRequest" {
		t.Errorf("the mail: %v", mail)
	}
	if inner, _ := mail["event"].(map[string]any); inner["id"] != e.str("id") || inner["start"].(map[string]any)["dateTime"] != "2026-12-01T12:00:00.0000000" {
		t.Errorf("the event of the mail: %v", mail["event"])
	}
	if got := w.as(cleo, allCalendar).get("/me/events").value(); len(got) != 0 {
		t.Errorf("somebody else has %v", got)
	}
}

func TestAnswersReachTheOrganizer(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ action, response, kind, subject, showAs string }{
		{"accept", "accepted", "meetingAccepted", "Accepted: Lunch", "oof"},
		{"tentativelyAccept", "tentativelyAccepted", "meetingTenativelyAccepted", "Tentative: Lunch", "tentative"},
		{"decline", "declined", "meetingDeclined", "Declined: Lunch", ""},
	} {
		t.Run(row.action, func(t *testing.T) {
			t.Parallel()
			w := calendarWorld(t)
			id := w.book(meet("Lunch", attendees(ben), `"showAs":"oof"`))
			b := w.as(ben, allCalendar)
			theirs := b.only().str("id")
			b.do(http.MethodPost, "/me/events/"+theirs+"/"+row.action, `{"comment":"Fine.","sendResponse":true}`).is(http.StatusAccepted)
			if got := statusOf(w.get("/me/events/"+id), ben); got != row.response {
				t.Errorf("the organizer sees %s", got)
			}
			mail := w.get("/me/mailFolders/inbox/messages").value()[0]
			if mail["@odata.type"] != "#microsoft.graph.eventMessageResponse" || mail["meetingMessageType"] != row.kind || mail["subject"] != row.subject || mail["bodyPreview"] != "Fine." {
				t.Errorf("the mail: %v", mail)
			}
			if row.showAs == "" {
				b.get("/me/events/" + theirs).is(http.StatusNotFound)
				return
			}
			if e := b.only(); e.str("showAs") != row.showAs || e.json["responseStatus"].(map[string]any)["response"] != row.response {
				t.Errorf("the attendee's event: %s", e.raw)
			}
		})
	}
}

func TestAnAnswerMayBeSilentAndMayProposeATime(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Lunch", attendees(ben, cleo)))
	b, c := w.as(ben, allCalendar), w.as(cleo, allCalendar)
	b.do(http.MethodPost, "/me/events/"+b.only().str("id")+"/accept", `{"sendResponse":false}`).is(http.StatusAccepted)
	if got := statusOf(w.get("/me/events/"+id), ben); got != "none" {
		t.Errorf("a silent answer was heard: %s", got)
	}
	sameLines(t, w.in("inbox"))
	slot := `"proposedNewTime":{"start":` + clock("2026-12-02T12:00:00", "UTC") + `,"end":` + clock("2026-12-02T13:00:00", "UTC") + `}`
	theirs := "/me/events/" + c.only().str("id")
	c.do(http.MethodPost, theirs+"/tentativelyAccept", `{"sendResponse":false,`+slot+`}`).is(http.StatusBadRequest, "ErrorInvalidRequest")
	c.do(http.MethodPost, theirs+"/tentativelyAccept", `{"sendResponse":true,`+slot+`}`).is(http.StatusAccepted)
	mine := w.get("/me/events/" + id)
	if statusOf(mine, cleo) != "tentativelyAccepted" || !strings.Contains(string(mine.raw), `"proposedNewTime":{"end":{"dateTime":"2026-12-02T13:00:00`) {
		t.Errorf("the organizer sees %s", mine.raw)
	}
	w.do(http.MethodPost, "/me/events/"+id+"/accept", `{}`).is(http.StatusBadRequest, "ErrorInvalidRequest")
	other := w.book(meet("No proposals", attendees(ben), `"allowNewTimeProposals":false`))
	_ = other
	for _, e := range b.get("/me/events").value() {
		if e["subject"] == "No proposals" {
			b.do(http.MethodPost, "/me/events/"+e["id"].(string)+"/decline", `{`+slot+`}`).is(http.StatusBadRequest, "ErrorInvalidRequest")
		}
	}
	b.do(http.MethodPost, theirs+"/accept", `{"colour":"red"}`).is(http.StatusBadRequest, "RequestBodyRead")
}

func TestAnUpdateGoesToThoseItMattersTo(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Lunch", attendees(ben, cleo)))
	b, c := w.as(ben, allCalendar), w.as(cleo, allCalendar)
	b.do(http.MethodPost, "/me/events/"+b.only().str("id")+"/accept", "").is(http.StatusAccepted)
	before := len(w.sent())
	patch := func(body string) []string {
		w.do(http.MethodPatch, "/me/events/"+id, body).is(http.StatusOK)
		all := w.sent()
		news := all[before:]
		before = len(all)
		return news
	}
	sameLines(t, patch(`{"categories":["Red"],"reminderMinutesBeforeStart":5,"showAs":"free"}`))
	sameLines(t, patch(`{"location":{"displayName":"Roof"}}`), ben+"+"+cleo+": Lunch")
	if e := b.only(); e.json["location"].(map[string]any)["displayName"] != "Roof" || e.json["responseStatus"].(map[string]any)["response"] != "accepted" {
		t.Errorf("after the place changed: %s", e.raw)
	}
	sameLines(t, patch(`{"end":`+clock("2026-12-01T14:00:00", "UTC")+`}`), ben+"+"+cleo+": Lunch")
	if e := b.only(); e.json["responseStatus"].(map[string]any)["response"] != "notResponded" || e.str("showAs") != "tentative" {
		t.Errorf("after the time changed: %s", e.raw)
	}
	if got := statusOf(w.get("/me/events/"+id), ben); got != "none" {
		t.Errorf("the organizer keeps %s", got)
	}
	sameLines(t, patch(`{`+attendees(ben, "new@fabrikam.example")+`}`), cleo+": Canceled: Lunch", "new@fabrikam.example: Lunch")
	if e := c.only(); e.json["isCancelled"] != true || e.str("showAs") != "free" || e.str("subject") != "Canceled: Lunch" {
		t.Errorf("who was taken out has %s", e.raw)
	}
	kinds := []string{}
	for _, m := range c.get("/me/mailFolders/inbox/messages?$select=subject,meetingMessageType&$orderby=receivedDateTime").value() {
		kinds = append(kinds, fmt.Sprint(m["meetingMessageType"]))
	}
	slices.Sort(kinds)
	sameLines(t, kinds, "meetingCancelled", "meetingRequest", "meetingRequest", "meetingRequest")
}

func TestACancellationReachesEverybody(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Lunch", attendees(ben)))
	b := w.as(ben, allCalendar)
	theirs := b.only().str("id")
	b.do(http.MethodPost, "/me/events/"+theirs+"/cancel", `{"comment":"no"}`).is(http.StatusBadRequest, "ErrorInvalidRequest")
	w.do(http.MethodPost, "/me/events/"+id+"/cancel", `{"Comment":"Ill."}`).is(http.StatusAccepted)
	w.get("/me/events/" + id).is(http.StatusNotFound)
	mail := b.get("/me/mailFolders/inbox/messages?$filter=startswith(subject,'Canceled')").value()
	if len(mail) != 1 || mail[0]["meetingMessageType"] != "meetingCancelled" || mail[0]["bodyPreview"] != "Ill." || mail[0]["@odata.type"] != "#microsoft.graph.eventMessage" {
		t.Errorf("the mail: %v", mail)
	}
	b.do(http.MethodPost, "/me/events/"+theirs+"/accept", "").is(http.StatusBadRequest, "ErrorCalendarIsCancelledForAccept")
	b.do(http.MethodDelete, "/me/events/"+theirs, "").is(http.StatusNoContent)

	w.do(http.MethodDelete, "/me/events/"+w.book(meet("Tea", attendees(ben))), "").is(http.StatusNoContent)
	if e := b.only(); e.str("subject") != "Canceled: Tea" {
		t.Errorf("after the organizer's delete: %s", e.raw)
	}
	if n := len(w.sent()); n != 4 {
		t.Errorf("%d mails: %v", n, w.sent())
	}
}

func TestAnAttendeesDeleteTellsNobody(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Lunch", attendees(ben)))
	b := w.as(ben, allCalendar)
	b.do(http.MethodDelete, "/me/events/"+b.only().str("id"), "").is(http.StatusNoContent)
	sameLines(t, w.sent(), ben+": Lunch")
	// An update brings it back.
	w.do(http.MethodPatch, "/me/events/"+id, `{"subject":"Dinner"}`).is(http.StatusOK)
	if e := b.only(); e.str("subject") != "Dinner" {
		t.Errorf("after the update: %s", e.raw)
	}
}

func TestASeriesIsInvitedToWithItsExceptions(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Daily", every(daily, `"type":"numbered","numberOfOccurrences":4`, "2026-12-01"), attendees(ben)))
	b := w.as(ben, allCalendar)
	days := w.dates(id, "2026-12-01", "2026-12-10")
	w.do(http.MethodPatch, "/me/events/"+days["2026-12-02"], `{"subject":"Special"}`).is(http.StatusOK)
	w.do(http.MethodPost, "/me/events/"+days["2026-12-03"]+"/cancel", `{}`).is(http.StatusAccepted)
	sameLines(t, b.view("2026-12-01", "2026-12-10"), "2026-12-01T12:00 Daily", "2026-12-02T12:00 Special", "2026-12-03T12:00 Canceled: Daily", "2026-12-04T12:00 Daily")
	sameLines(t, w.view("2026-12-01", "2026-12-10"), "2026-12-01T12:00 Daily", "2026-12-02T12:00 Special", "2026-12-04T12:00 Daily")

	// Who comes later gets all of it at once.
	w.do(http.MethodPatch, "/me/events/"+id, `{`+attendees(ben, cleo)+`}`).is(http.StatusOK)
	sameLines(t, w.as(cleo, allCalendar).view("2026-12-01", "2026-12-10"), "2026-12-01T12:00 Daily", "2026-12-02T12:00 Special", "2026-12-04T12:00 Daily")

	// An answer to one date is an answer to one date.
	theirs := b.only().str("id")
	b.do(http.MethodPost, "/me/events/"+b.dates(theirs, "2026-12-01", "2026-12-10")["2026-12-04"]+"/decline", "").is(http.StatusAccepted)
	if got := statusOf(w.get("/me/events/"+days["2026-12-04"]), ben) + statusOf(w.get("/me/events/"+id), ben); got != "declinednone" {
		t.Errorf("the organizer sees %s", got)
	}
	b.do(http.MethodPost, "/me/events/"+theirs+"/accept", "").is(http.StatusAccepted)
	if got := statusOf(w.get("/me/events/"+days["2026-12-02"]), ben) + statusOf(w.get("/me/events/"+id), ben); got != "acceptedaccepted" {
		t.Errorf("after the whole series was accepted: %s", got)
	}
	sameLines(t, b.view("2026-12-04", "2026-12-10"))
}

func TestAForwardedMeetingReachesOthers(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Lunch", attendees(ben)))
	b, c := w.as(ben, allCalendar), w.as(cleo, allCalendar)
	theirs := "/me/events/" + b.only().str("id")
	b.do(http.MethodPost, theirs+"/forward", `{"comment":"Come along"}`).is(http.StatusBadRequest, "ErrorInvalidRecipients")
	b.do(http.MethodPost, theirs+"/forward", fmt.Sprintf(`{"ToRecipients":[{"emailAddress":{"address":%q}}],"Comment":"Come along"}`, cleo)).is(http.StatusAccepted)
	if e := c.only(); e.str("subject") != "Lunch" || e.json["organizer"].(map[string]any)["emailAddress"].(map[string]any)["address"] != ann {
		t.Errorf("who got it has %s", e.raw)
	}
	sameLines(t, c.in("inbox"), "FW: Lunch")
	c.do(http.MethodPost, "/me/events/"+c.only().str("id")+"/accept", "").is(http.StatusAccepted)
	if got := statusOf(w.get("/me/events/"+id), cleo); got != "accepted" {
		t.Errorf("the organizer sees %s", got)
	}
	// To the organizer it is no invitation.
	b.do(http.MethodPost, theirs+"/forward", fmt.Sprintf(`{"toRecipients":[{"emailAddress":{"address":%q}}]}`, ann)).is(http.StatusAccepted)
	if e := w.only(); e.json["isOrganizer"] != true || e.str("showAs") != "busy" {
		t.Errorf("the organizer's own event: %s", e.raw)
	}
}

func TestHiddenAttendeesAreNotShownToEachOther(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	w.book(meet("Review", attendees(ben, cleo), `"hideAttendees":true`))
	if list := w.as(ben, allCalendar).only().json["attendees"].([]any); len(list) != 1 {
		t.Errorf("attendees %v", list)
	}
}

func TestAMeetingMailLeadsToItsEventForGood(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	w.book(meet("Lunch", attendees(ben)))
	b := w.as(ben, allCalendar)
	message := b.get("/me/messages").value()[0]["id"].(string)
	b.do(http.MethodPost, "/users/"+ben+"/messages/"+message+"/event/permanentDelete", "").is(http.StatusNoContent)
	if got := b.get("/me/events").value(); len(got) != 0 {
		t.Errorf("after permanentDelete: %v", got)
	}
	b.do(http.MethodPost, "/users/"+ben+"/messages/"+message+"/event/permanentDelete", "").is(http.StatusNotFound)
	b.do(http.MethodPatch, "/me/messages/"+message, `{"isRead":true}`).is(http.StatusOK)
	b.do(http.MethodDelete, "/me/messages/"+message, "").is(http.StatusNoContent)
}

func TestMeetingMailsSurviveTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := calendarWorld(t, sandbox.StoreDir(dir))
	id := first.book(meet("Daily", every(daily, forEver, "2026-12-01"), attendees(ben)))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := calendarWorld(t, sandbox.StoreDir(dir))
	b := second.as(ben, allCalendar)
	b.do(http.MethodPost, "/me/events/"+b.only().str("id")+"/accept", "").is(http.StatusAccepted)
	if got := statusOf(second.get("/me/events/"+id), ben); got != "accepted" {
		t.Errorf("the organizer sees %s", got)
	}
}

func TestASharedCalendarNeedsTheSharedPermission(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	w.as(ann, "Calendars.ReadWrite").get("/users/"+ben+"/events").is(http.StatusForbidden, "ErrorAccessDenied")
	w.do(http.MethodPost, "/users/"+ben+"/events", meet("For Ben", attendees(cleo))).is(http.StatusCreated)
	if e := w.as(cleo, allCalendar).only(); e.json["organizer"].(map[string]any)["emailAddress"].(map[string]any)["address"] != ben {
		t.Errorf("organizer %s", e.raw)
	}
}

func TestAGroupHasACalendar(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, "Group.ReadWrite.All Calendars.ReadWrite")
	const at = "/groups/sales@contoso.example"
	cal := w.get(at + "/calendar").is(http.StatusOK)
	if cal.json["isDefaultCalendar"] != true {
		t.Errorf("calendar %s", cal.raw)
	}
	id := w.do(http.MethodPost, at+"/events", meet("All hands", attendees(ben))).is(http.StatusCreated).str("id")
	w.get(at + "/calendar/events/" + id).is(http.StatusOK)
	w.do(http.MethodPatch, at+"/events/"+id, `{"subject":"All hands and feet"}`).is(http.StatusOK)
	if got := w.get(at + "/calendarView?startDateTime=2026-12-01&endDateTime=2026-12-02").subjects(); len(got) != 1 || got[0] != "All hands and feet" {
		t.Errorf("the group's view: %v", got)
	}
	b := w.as(ben, allCalendar)
	if e := b.only(); e.str("subject") != "All hands and feet" {
		t.Errorf("the invited member has %s", e.raw)
	}
	w.do(http.MethodDelete, at+"/events/"+id, "").is(http.StatusNoContent)
	w.get(at + "/events/" + id).is(http.StatusNotFound)
	if e := b.only(); e.json["isCancelled"] != true {
		t.Errorf("after the delete: %s", e.raw)
	}
}

func TestMeetingMailsCountAsMails(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t, sandbox.MessagesPerMinute(2))
	id := w.book(meet("One", attendees(ben)))
	w.do(http.MethodPatch, "/me/events/"+id, `{"subject":"Two"}`).is(http.StatusOK)
	w.do(http.MethodPatch, "/me/events/"+id, `{"subject":"Three"}`).is(http.StatusTooManyRequests, "ErrorExceededMessageLimit")
	w.do(http.MethodPost, "/me/events", meet("Four", attendees(ben))).is(http.StatusTooManyRequests)
	w.do(http.MethodPost, "/me/events/"+id+"/cancel", `{}`).is(http.StatusTooManyRequests)
	w.book(meet("Alone"))
	if got := w.get("/me/events/" + id).str("subject"); got != "Two" {
		t.Errorf("a refused change was made: %s", got)
	}
}
