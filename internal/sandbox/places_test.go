package sandbox_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

const placeScopes = "Place.ReadWrite.All Calendars.ReadWrite MailboxSettings.ReadWrite"

func TestPlacesAreListedByTheirType(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	rooms := w.get("/places/microsoft.graph.room?$filter=capacity%20ge%208&$select=displayName,capacity").is(http.StatusOK).value()
	if len(rooms) != 1 || rooms[0]["displayName"] != "Beacon" || rooms[0]["bookingType"] != nil {
		t.Errorf("the rooms are %v", rooms)
	}
	list := w.get("/places/microsoft.graph.roomlist").is(http.StatusOK).value()[0]
	mail, _ := list["emailAddress"].(string)
	if n := len(w.get("/places/" + mail + "/microsoft.graph.roomlist/rooms").is(http.StatusOK).value()); n != 2 {
		t.Errorf("the list has %d rooms", n)
	}
	room := w.get("/places/anchor@contoso.example").is(http.StatusOK)
	if room.str("@odata.type") != "#microsoft.graph.room" || room.str("placeId") != room.str("id") {
		t.Errorf("the room is %s", room.raw)
	}
	w.get("/places/"+room.str("id")+"/microsoft.graph.roomList/rooms").is(http.StatusNotFound, "ErrorItemNotFound")
	w.get("/places/anchor@contoso.example/graph.room").is(http.StatusOK)
	w.get("/places/anchor@contoso.example/graph.workspace").is(http.StatusNotFound, "ErrorItemNotFound")
	w.get("/places/nowhere").is(http.StatusNotFound, "ErrorItemNotFound")
}

func TestPlacesLieInOneAnother(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	house := w.do(http.MethodPost, "/places", `{"@odata.type":"microsoft.graph.building","displayName":"Building 9"}`).is(http.StatusCreated).str("id")
	floor := w.do(http.MethodPost, "/places", `{"@odata.type":"#microsoft.graph.floor","displayName":"First","parentId":"`+house+`"}`).is(http.StatusCreated).str("id")
	room := w.do(http.MethodPost, "/places", `{"@odata.type":"microsoft.graph.room","displayName":"Cove","parentId":"`+floor+`","capacity":3}`).is(http.StatusCreated)
	if room.str("@odata.type") != "#microsoft.graph.room" {
		t.Errorf("the room is %s", room.raw)
	}
	var below []string
	for _, e := range w.get("/places/" + house + "/descendants").is(http.StatusOK).value() {
		below = append(below, fmt.Sprint(e["@odata.type"], " ", e["displayName"]))
	}
	if want := []string{"#microsoft.graph.floor First", "#microsoft.graph.room Cove"}; !slices.Equal(below, want) {
		t.Errorf("below are %q, want %q", below, want)
	}
	w.do(http.MethodDelete, "/places/"+house, "").is(http.StatusBadRequest, "InvalidRequest")
	w.do(http.MethodPatch, "/places/"+floor, `{"parentId":"`+room.str("id")+`"}`).is(http.StatusBadRequest, "InvalidRequest")
	w.do(http.MethodPost, "/places", `{"displayName":"Nothing"}`).is(http.StatusBadRequest, "RequestBodyRead")
	w.do(http.MethodPost, "/places", `{"@odata.type":"microsoft.graph.building","displayName":"B","capacity":3}`).is(http.StatusBadRequest, "RequestBodyRead")
	w.do(http.MethodPatch, "/places/"+house, `{"@odata.type":"microsoft.graph.room","label":"x"}`).is(http.StatusBadRequest, "RequestBodyRead")
	if got := w.do(http.MethodPatch, "/places/"+house, `{"label":"B9"}`).is(http.StatusOK); got.str("label") != "B9" || got.str("displayName") != "Building 9" {
		t.Errorf("the building is %s", got.raw)
	}
}

func TestACheckInIsKeptByTheIDOfItsEvent(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	at := "/places/anchor@contoso.example/checkIns"
	event := w.do(http.MethodPost, "/me/events", `{"subject":"Here"}`).str("id")
	if event == "" {
		event = "AAMkADI="
	}
	w.do(http.MethodPost, at, `{"calendarEventId":"`+event+`"}`).is(http.StatusCreated)
	w.do(http.MethodPost, at, `{"calendarEventId":"`+event+`"}`).is(http.StatusConflict)
	if got := w.get(at + "/" + event).is(http.StatusOK); got.str("calendarEventId") != event || got.str("checkInMethod") != "manual" {
		t.Errorf("the check-in is %s", got.raw)
	}
	w.get("/places/beacon@contoso.example/checkIns/"+event).is(http.StatusNotFound, "ErrorItemNotFound")
	if n := len(w.get(at).is(http.StatusOK).value()); n != 1 {
		t.Errorf("there are %d check-ins", n)
	}
}

const workHours = "/me/settings/workHoursAndLocations"

func TestWorkHoursOfAWindowComeFromRecurrencesAndOccurrences(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	w.do(http.MethodPost, workHours+"/recurrences", `{"start":{"dateTime":"2030-05-06T09:00:00","timeZone":"W. Europe Standard Time"},
		"end":{"dateTime":"2030-05-06T17:00:00","timeZone":"W. Europe Standard Time"},"workLocationType":"office",
		"recurrence":{"pattern":{"type":"weekly","interval":1,"daysOfWeek":["monday","tuesday"]},"range":{"type":"noEnd","startDate":"2030-05-06"}}}`).is(http.StatusCreated)
	w.do(http.MethodPost, workHours+"/occurrences", `{"start":{"dateTime":"2030-05-08T09:00:00","timeZone":"UTC"},
		"end":{"dateTime":"2030-05-08T12:00:00","timeZone":"UTC"},"workLocationType":"remote"}`).is(http.StatusCreated)
	var got []string
	for _, e := range w.get(workHours + "/occurrencesView(startDateTime='2030-05-06T00:00:00Z',endDateTime='2030-05-13T00:00:00Z')").is(http.StatusOK).value() {
		start, _ := e["start"].(map[string]any)
		got = append(got, fmt.Sprint(start["dateTime"], " ", e["workLocationType"]))
	}
	want := []string{"2030-05-06T07:00:00.0000000 office", "2030-05-07T07:00:00.0000000 office", "2030-05-08T09:00:00 remote"}
	if !slices.Equal(got, want) {
		t.Errorf("the week has %q, want %q", got, want)
	}
	w.get(workHours+"/occurrencesView(startDateTime='2030-05-06T00:00:00Z',endDateTime='2030-05-01T00:00:00Z')").is(http.StatusBadRequest, "ErrorInvalidParameter")
}

func TestTheCurrentLocationIsThatOfNow(t *testing.T) {
	t.Parallel()
	w := start(t).as(ann, placeScopes)
	for _, where := range []string{"office", "remote"} {
		w.do(http.MethodPost, workHours+"/occurrences/setCurrentLocation", `{"updateScope":"currentDay","workLocationType":"`+where+`"}`).is(http.StatusNoContent)
	}
	list := w.get(workHours + "/occurrences").is(http.StatusOK).value()
	if len(list) != 1 || list[0]["workLocationType"] != "remote" {
		t.Errorf("the occurrences are %v", list)
	}
	w.do(http.MethodPost, workHours+"/occurrences/setCurrentLocation", `{"workLocationType":"moon"}`).is(http.StatusBadRequest, "RequestBodyRead")
	w.do(http.MethodPost, workHours+"/occurrences/setCurrentLocation", `{"updateScope":"currentYear","workLocationType":"office"}`).is(http.StatusBadRequest, "RequestBodyRead")
}
