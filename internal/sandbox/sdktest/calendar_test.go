package sdktest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func at(dateTime, zone string) *models.DateTimeTimeZone {
	d := models.NewDateTimeTimeZone()
	d.SetDateTime(&dateTime)
	d.SetTimeZone(&zone)
	return d
}

// meeting is an event of half an hour, from 9:00 UTC on a day of March 2027.
func meeting(subject string, day int, attendees ...string) *models.Event {
	e := models.NewEvent()
	e.SetSubject(&subject)
	e.SetBody(body("Agenda."))
	e.SetStart(at(fmt.Sprintf("2027-03-%02dT09:00:00", day), "UTC"))
	e.SetEnd(at(fmt.Sprintf("2027-03-%02dT09:30:00", day), "UTC"))
	list := make([]models.Attendeeable, 0, len(attendees))
	for _, a := range attendees {
		who := models.NewAttendee()
		who.SetEmailAddress(recipient(a).GetEmailAddress())
		who.SetTypeEscaped(new(models.REQUIRED_ATTENDEETYPE))
		list = append(list, who)
	}
	e.SetAttendees(list)
	return e
}

func place(name string) *models.Location {
	l := models.NewLocation()
	l.SetDisplayName(&name)
	return l
}

// events lists the calendar.
func (c *sdk) events(t *testing.T) []models.Eventable {
	t.Helper()
	page, err := c.me.Events().Get(t.Context(), &users.ItemEventsRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemEventsRequestBuilderGetQueryParameters{Top: new(int32(50))},
	})
	ok(t, err, "list events")
	return page.GetValue()
}

// view lists what happens in March 2027 from one day to before another.
func (c *sdk) view(t *testing.T, from, to int) []models.Eventable {
	t.Helper()
	page, err := c.me.CalendarView().Get(t.Context(), &users.ItemCalendarViewRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemCalendarViewRequestBuilderGetQueryParameters{
			StartDateTime: new(fmt.Sprintf("2027-03-%02dT00:00:00Z", from)), EndDateTime: new(fmt.Sprintf("2027-03-%02dT00:00:00Z", to)),
			Orderby: []string{"start/dateTime"}, Top: new(int32(50)),
		},
	})
	ok(t, err, "calendarView")
	return page.GetValue()
}

// starts reads the day and the time at which events start.
func starts(events []models.Eventable) string {
	list := make([]string, 0, len(events))
	for _, e := range events {
		day, err := time.Parse("2006-01-02T15:04:05.0000000", value(e.GetStart().GetDateTime()))
		if err != nil {
			return err.Error()
		}
		list = append(list, day.Format("02 15:04"))
	}
	return strings.Join(list, ", ")
}

func TestMeetingIsMadeChangedAndCancelled(t *testing.T) {
	t.Parallel()
	w := start(t)
	organizer, guest := w.as(ann), w.as(ben)
	in := meeting("Planning", 1, ben)
	in.SetLocation(place("Room 1"))
	in.SetTransactionId(new("5c0d8e0a-1f8c-4b0e-9f39-0d9f3f4b9a01"))
	e, err := organizer.me.Events().Post(t.Context(), in, nil)
	ok(t, err, "create an event")
	same(t, "organizer", value(e.GetOrganizer().GetEmailAddress().GetAddress()), ann)
	same(t, "is organizer", value(e.GetIsOrganizer()), true)
	same(t, "type", value(e.GetTypeEscaped()), models.SINGLEINSTANCE_EVENTTYPE)
	same(t, "start", value(e.GetStart().GetDateTime())+" "+value(e.GetStart().GetTimeZone()), "2027-03-01T09:00:00.0000000 UTC")
	if e.GetICalUId() == nil || e.GetChangeKey() == nil {
		t.Errorf("iCalUId %v, changeKey %v", e.GetICalUId(), e.GetChangeKey())
	}
	_, err = organizer.me.Events().Post(t.Context(), in, nil)
	refused(t, err, http.StatusConflict, "ErrorDuplicateTransactionId")

	invitation := guest.arrived(t, "inbox", "Planning")
	if _, is := invitation.(models.EventMessageRequestable); !is {
		t.Errorf("the invitation is a %T, not an eventMessageRequest", invitation)
	}
	same(t, "events of the guest", len(guest.events(t)), 1)
	theirs := guest.events(t)[0]
	same(t, "iCalUId", value(theirs.GetICalUId()), value(e.GetICalUId()))
	same(t, "guest is organizer", value(theirs.GetIsOrganizer()), false)

	yes := users.NewItemEventsItemAcceptPostRequestBody()
	yes.SetSendResponse(new(true))
	yes.SetComment(new("Gladly."))
	ok(t, guest.me.Events().ByEventId(value(theirs.GetId())).Accept().Post(t.Context(), yes, nil), "accept")
	organizer.arrived(t, "inbox", "Accepted: Planning")
	eventually(t, "the organizer knows the answer", func() bool {
		got, err := organizer.me.Events().ByEventId(value(e.GetId())).Get(t.Context(), nil)
		ok(t, err, "get the event")
		return value(got.GetAttendees()[0].GetStatus().GetResponse()) == models.ACCEPTED_RESPONSETYPE
	})
	theirs, err = guest.me.Events().ByEventId(value(theirs.GetId())).Get(t.Context(), nil)
	ok(t, err, "get the guest's event")
	same(t, "the guest's answer", value(theirs.GetResponseStatus().GetResponse()), models.ACCEPTED_RESPONSETYPE)

	change := models.NewEvent()
	change.SetLocation(place("Room 2"))
	changed, err := organizer.me.Events().ByEventId(value(e.GetId())).Patch(t.Context(), change, nil)
	ok(t, err, "patch")
	same(t, "location", value(changed.GetLocation().GetDisplayName()), "Room 2")
	same(t, "subject", value(changed.GetSubject()), "Planning")
	eventually(t, "the guest's event has the new location", func() bool {
		list := guest.events(t)
		return len(list) == 1 && value(list[0].GetLocation().GetDisplayName()) == "Room 2"
	})

	cancel := users.NewItemEventsItemCancelPostRequestBody()
	cancel.SetComment(new("Not needed."))
	ok(t, organizer.me.Events().ByEventId(value(e.GetId())).Cancel().Post(t.Context(), cancel, nil), "cancel")
	guest.arrived(t, "inbox", "Canceled: Planning")
	same(t, "events of the organizer", len(organizer.events(t)), 0)
}

func TestSeries(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	in := meeting("Weekly", 1) // a Monday
	pattern := models.NewRecurrencePattern()
	pattern.SetTypeEscaped(new(models.WEEKLY_RECURRENCEPATTERNTYPE))
	pattern.SetInterval(new(int32(1)))
	pattern.SetDaysOfWeek([]models.DayOfWeek{models.MONDAY_DAYOFWEEK, models.WEDNESDAY_DAYOFWEEK})
	span := models.NewRecurrenceRange()
	span.SetTypeEscaped(new(models.NUMBERED_RECURRENCERANGETYPE))
	span.SetStartDate(serialization.NewDateOnly(time.Date(2027, time.March, 1, 0, 0, 0, 0, time.UTC)))
	span.SetNumberOfOccurrences(new(int32(5)))
	recurrence := models.NewPatternedRecurrence()
	recurrence.SetPattern(pattern)
	recurrence.SetRangeEscaped(span)
	in.SetRecurrence(recurrence)
	master, err := c.me.Events().Post(t.Context(), in, nil)
	ok(t, err, "create a series")
	same(t, "type", value(master.GetTypeEscaped()), models.SERIESMASTER_EVENTTYPE)
	same(t, "occurrences", value(master.GetRecurrence().GetRangeEscaped().GetNumberOfOccurrences()), 5)

	instances := func() []models.Eventable {
		page, err := c.me.Events().ByEventId(value(master.GetId())).Instances().Get(t.Context(), &users.ItemEventsItemInstancesRequestBuilderGetRequestConfiguration{
			QueryParameters: &users.ItemEventsItemInstancesRequestBuilderGetQueryParameters{
				StartDateTime: new("2027-03-01T00:00:00Z"), EndDateTime: new("2027-04-01T00:00:00Z"), Top: new(int32(50)),
			},
		})
		ok(t, err, "instances")
		return page.GetValue()
	}
	same(t, "instances", starts(instances()), "01 09:00, 03 09:00, 08 09:00, 10 09:00, 15 09:00")
	second := c.view(t, 3, 10)
	same(t, "one week of the calendar", starts(second), "03 09:00, 08 09:00")
	for _, o := range second {
		same(t, "type", value(o.GetTypeEscaped()), models.OCCURRENCE_EVENTTYPE)
		same(t, "master", value(o.GetSeriesMasterId()), value(master.GetId()))
	}
	same(t, "events in the list", len(c.events(t)), 1)

	later := models.NewEvent()
	later.SetStart(at("2027-03-03T14:00:00", "UTC"))
	later.SetEnd(at("2027-03-03T14:30:00", "UTC"))
	moved, err := c.me.Events().ByEventId(value(second[0].GetId())).Patch(t.Context(), later, nil)
	ok(t, err, "move an occurrence")
	same(t, "type", value(moved.GetTypeEscaped()), models.EXCEPTION_EVENTTYPE)
	ok(t, c.me.Events().ByEventId(value(second[1].GetId())).Delete(t.Context(), nil), "delete an occurrence")
	same(t, "the calendar", starts(c.view(t, 1, 31)), "01 09:00, 03 14:00, 10 09:00, 15 09:00")
	same(t, "instances left", len(instances()), 4)

	ok(t, c.me.Events().ByEventId(value(master.GetId())).Delete(t.Context(), nil), "delete the series")
	same(t, "the calendar", len(c.view(t, 1, 31)), 0)
}

func TestTimesAreShownInTheZoneThatIsPreferred(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	in := meeting("Call", 1)
	in.SetStart(at("2027-03-01T09:00:00", "Pacific Standard Time"))
	in.SetEnd(at("2027-03-01T09:30:00", "Pacific Standard Time"))
	e, err := c.me.Events().Post(t.Context(), in, nil)
	ok(t, err, "create an event")
	got, err := c.me.Events().ByEventId(value(e.GetId())).Get(t.Context(), nil)
	ok(t, err, "get")
	same(t, "in UTC", value(got.GetStart().GetDateTime()), "2027-03-01T17:00:00.0000000")
	same(t, "the zone it was made in", value(got.GetOriginalStartTimeZone()), "Pacific Standard Time")
	got, err = c.me.Events().ByEventId(value(e.GetId())).Get(t.Context(), &users.ItemEventsEventItemRequestBuilderGetRequestConfiguration{
		Headers: header("Prefer", `outlook.timezone="W. Europe Standard Time"`),
	})
	ok(t, err, "get with a zone")
	same(t, "in another zone", value(got.GetStart().GetDateTime()), "2027-03-01T18:00:00.0000000")
	same(t, "that zone", value(got.GetStart().GetTimeZone()), "W. Europe Standard Time")
}

func TestCalendars(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	own, err := c.me.Calendar().Get(t.Context(), nil)
	ok(t, err, "the default calendar")
	same(t, "default", value(own.GetIsDefaultCalendar()), true)
	in := models.NewCalendar()
	in.SetName(new("Travel"))
	travel, err := c.me.Calendars().Post(t.Context(), in, nil)
	ok(t, err, "create a calendar")
	_, err = c.me.Calendars().ByCalendarId(value(travel.GetId())).Events().Post(t.Context(), meeting("Flight", 2), nil)
	ok(t, err, "create an event in it")
	page, err := c.me.Calendars().ByCalendarId(value(travel.GetId())).Events().Get(t.Context(), nil)
	ok(t, err, "list its events")
	sameList(t, "events", names(page.GetValue(), models.Eventable.GetSubject), "Flight")
	same(t, "events of the default calendar", len(c.events(t)), 0)
	ok(t, c.me.Calendars().ByCalendarId(value(travel.GetId())).Delete(t.Context(), nil), "delete the calendar")
	_, err = c.me.Calendars().ByCalendarId(value(travel.GetId())).Get(t.Context(), nil)
	refused(t, err, http.StatusNotFound, "ErrorItemNotFound")
}

func TestCalendarViewDelta(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	first, err := c.me.Events().Post(t.Context(), meeting("First", 1), nil)
	ok(t, err, "create an event")
	builder := c.me.CalendarView().Delta()
	cfg := &users.ItemCalendarViewDeltaRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemCalendarViewDeltaRequestBuilderGetQueryParameters{StartDateTime: new("2027-03-01T00:00:00Z"), EndDateTime: new("2027-04-01T00:00:00Z")},
	}
	follow := func() (items []models.Eventable) {
		for range 20 {
			page, err := builder.GetAsDeltaGetResponse(t.Context(), cfg)
			ok(t, err, "delta")
			cfg = nil // the window lives in the link
			items = append(items, page.GetValue()...)
			if page.GetOdataDeltaLink() != nil {
				builder = builder.WithUrl(value(page.GetOdataDeltaLink()))
				return items
			}
			builder = builder.WithUrl(value(page.GetOdataNextLink()))
		}
		t.Fatal("the round does not end")
		return nil
	}
	sameList(t, "first round", names(follow(), models.Eventable.GetSubject), "First")
	same(t, "a round without a change", len(follow()), 0)
	_, err = c.me.Events().Post(t.Context(), meeting("Second", 2), nil)
	ok(t, err, "create another event")
	ok(t, c.me.Events().ByEventId(value(first.GetId())).Delete(t.Context(), nil), "delete the first")
	seen := map[string]bool{}
	for _, e := range follow() {
		_, removed := e.GetAdditionalData()["@removed"]
		seen[value(e.GetSubject())] = removed
		if removed {
			same(t, "the removed event", value(e.GetId()), value(first.GetId()))
		}
	}
	same(t, "items of the third round", len(seen), 2)
	if removed, known := seen["Second"]; !known || removed {
		t.Errorf("the new event is not in the round: %v", seen)
	}
}

func TestFreeBusy(t *testing.T) {
	t.Parallel()
	w := start(t)
	_, err := w.as(ben).me.Events().Post(t.Context(), meeting("Dentist", 1), nil)
	ok(t, err, "create an event")
	in := users.NewItemCalendarGetSchedulePostRequestBody()
	in.SetSchedules([]string{ben, cleo})
	in.SetStartTime(at("2027-03-01T08:00:00", "UTC"))
	in.SetEndTime(at("2027-03-01T11:00:00", "UTC"))
	in.SetAvailabilityViewInterval(new(int32(30)))
	page, err := w.as(ann).me.Calendar().GetSchedule().PostAsGetSchedulePostResponse(t.Context(), in, nil)
	ok(t, err, "getSchedule")
	views := map[string]string{}
	for _, s := range page.GetValue() {
		views[value(s.GetScheduleId())] = value(s.GetAvailabilityView())
	}
	same(t, "ben's time", views[ben], "002000")
	same(t, "cleo's time", views[cleo], "000000")
}
