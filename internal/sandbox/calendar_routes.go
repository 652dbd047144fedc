package sandbox

// The places of the calendar area. An event is reached from the mailbox, from
// the default calendar and from a calendar with or without its group; a Microsoft
// 365 group has events and one calendar.

func calendarRoutes() []route {
	const (
		inCalendars = "~/calendars/{calendar-id}"
		inGroups    = "~/calendarGroups/{calendarGroup-id}/calendars/{calendar-id}"
		ofGroup     = "/groups/{group-id}"
	)
	cal, groups, permissions := calendarResource(), calendarGroupResource(), permissionResource()
	routes := []route{
		{method: "GET", path: "~/calendar", handle: cal.get},
		{method: "PATCH", path: "~/calendar", handle: cal.update},
		{method: "GET", path: ofGroup + "/calendar", handle: cal.get},
		{method: "PATCH", path: ofGroup + "/calendar", handle: cal.update},
	}
	routes = append(routes, cal.routes("~/calendars")...)
	routes = append(routes, cal.routes("~/calendarGroups/{calendarGroup-id}/calendars")...)
	routes = append(routes, groups.routes("~/calendarGroups")...)
	for _, at := range []string{"~/calendar", inCalendars, inGroups, ofGroup + "/calendar"} {
		routes = append(routes,
			route{method: "POST", path: at + "/permanentDelete", handle: (*call).permanentDeleteCalendar, as: "calendar.calendar.permanentDelete"})
	}
	for _, at := range []string{"~/calendar", inCalendars, inGroups, ofGroup + "/calendar"} {
		routes = append(routes,
			route{method: "POST", path: at + "/getSchedule", handle: inZone((*call).getSchedule), as: "calendar.calendar.getSchedule"})
	}
	for _, at := range []string{"~/calendar", inCalendars, "~/events/{event-id}/calendar", ofGroup + "/calendar"} {
		for _, r := range permissions.routes(at + "/calendarPermissions") {
			r.as = map[string]string{"GET": "get", "POST": "create", "PATCH": "update", "DELETE": "delete"}[r.method]
			r.as = "calendar.calendarPermission." + r.as
			routes = append(routes, r)
		}
	}
	for _, at := range []string{"~", "~/calendar", inCalendars, inGroups} {
		routes = append(routes, eventRoutes(at, "calendar.event.")...)
	}
	for _, at := range []string{ofGroup, ofGroup + "/calendar"} {
		routes = append(routes, eventRoutes(at, "groups.event.")...)
	}
	for _, at := range []string{"event", "event/calendar/calendarView/{event-id}", "event/calendar/events/{event-id}", "event/exceptionOccurrences/{event-id}", "event/instances/{event-id}"} {
		routes = append(routes, route{
			method: "POST", path: "~/messages/{message-id}/" + at + "/permanentDelete",
			handle: (*call).permanentDeleteEvent, as: "calendar.event.permanentDelete",
		})
	}
	return append(routes,
		route{method: "POST", path: "~/findMeetingTimes", handle: inZone((*call).findMeetingTimes)},
		route{method: "GET", path: "~/reminderView(StartDateTime={StartDateTime},EndDateTime={EndDateTime})", handle: inZone((*call).reminderView)},
	)
}

// eventRoutes are those of the events in one place. own is how operations on
// events there are called.
func eventRoutes(at, own string) []route {
	const event = "calendar.event."
	list, one, view := at+"/events", at+"/events/{event-id}", at+"/calendarView"
	routes := []route{
		{method: "GET", path: list, handle: inZone((*call).listEvents), as: own + "list"},
		{method: "POST", path: list, handle: inZone((*call).createEvent), as: own + "create"},
		{method: "GET", path: one, handle: inZone((*call).getEvent), as: own + "get"},
		{method: "PATCH", path: one, handle: inZone((*call).updateEvent), as: own + "update"},
		{method: "DELETE", path: one, handle: (*call).deleteEvent, as: own + "delete"},
		{method: "GET", path: one + "/instances", handle: inZone((*call).listInstances), as: event + "listInstances"},
		{method: "GET", path: view, handle: inZone((*call).calendarView), as: "calendar.calendarView.list"},
		{method: "GET", path: view + "/delta", handle: inZone((*call).calendarViewDelta), as: event + "delta"},
		{method: "GET", path: list + "/delta", handle: inZone((*call).eventsDelta), as: event + "delta"},
		{method: "GET", path: one + "/instances/delta", handle: inZone((*call).calendarViewDelta), as: event + "delta"},
	}
	for name, handle := range map[string]func(*call) (*Answer, error){
		"permanentDelete": (*call).permanentDeleteEvent,
		"snoozeReminder":  (*call).snoozeReminder, "dismissReminder": (*call).dismissReminder,
		"cancel": (*call).cancelEvent, "forward": (*call).forwardEvent,
	} {
		routes = append(routes, route{method: "POST", path: one + "/" + name, handle: handle, as: event + name})
	}
	for _, a := range answers() {
		routes = append(routes, route{method: "POST", path: one + "/" + a.action, handle: a.handle, as: event + a.action})
	}
	routes = append(routes, eventAttachmentRoutes(one)...)
	return append(routes,
		route{method: "POST", path: view + "/{event-id}/permanentDelete", handle: (*call).permanentDeleteEvent, as: event + "permanentDelete"},
	)
}
