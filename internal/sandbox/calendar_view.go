package sandbox

// Views: calendarView and instances (a window of time, series expanded, by
// start), reminderView, and what can be done to a reminder. The window is
// required, read by its own offset or in UTC, and 1,825 days at most.
// https://learn.microsoft.com/graph/api/calendar-list-calendarview
// https://learn.microsoft.com/graph/api/event-list-instances
// https://learn.microsoft.com/graph/api/user-reminderview
//
// Left out: reminders of series masters that snooze for one date only: the date
// becomes an exception.

import (
	"net/http"
	"slices"
	"time"
)

// viewResource is the resource for lists that are in order already.
func viewResource() *resource {
	r := eventResource()
	r.order = compareStart
	return r
}

func (c *call) calendarView() (*Answer, error) {
	w, err := c.windowOf()
	if err != nil {
		return nil, err
	}
	v, err := c.eventView(viewResource())
	if err != nil {
		return nil, err
	}
	v.res.set = "calendarView"
	var a *Answer
	c.read(func(*state) {
		var cal *entity
		if cal, err = c.calendarOf(); err == nil {
			a, err = c.entityPage(v, expandCalendar(c.box, cal.Key, w))
		}
	})
	return a, err
}

func (c *call) listInstances() (*Answer, error) {
	w, err := c.windowOf()
	if err != nil {
		return nil, err
	}
	v, err := c.eventView(viewResource())
	if err != nil {
		return nil, err
	}
	v.res.set = "events('" + c.params["event-id"] + "')/instances"
	var a *Answer
	c.read(func(*state) {
		var e *entity
		if e, err = c.eventOf(); err != nil {
			return
		}
		if !isMaster(e) {
			err = newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. The event is not a recurring event.")
			return
		}
		a, err = c.entityPage(v, seriesOf(e).instances(c.box, w))
	})
	return a, err
}

// reminderTime is when an event's reminder goes off; false when it has none.
func reminderTime(e *entity) (time.Time, bool) {
	if !e.flag("isReminderOn") || e.flag("isCancelled") || e.Hidden["dismissed"] == true {
		return time.Time{}, false
	}
	if e.Hidden["snoozed"] != nil {
		return time.Unix(e.number("snoozed"), 0).UTC(), true
	}
	minutes, _ := e.Props["reminderMinutesBeforeStart"].(float64)
	return eventStart(e).Add(-time.Duration(minutes) * time.Minute), true
}

// reminderView lists the events of a window that have a reminder.
func (c *call) reminderView() (*Answer, error) {
	w, err := readWindow(c.params["startdatetime"], c.params["enddatetime"])
	if err != nil {
		return nil, err
	}
	type reminder struct {
		EventID      string         `json:"eventId"`
		Start        map[string]any `json:"eventStartTime"`
		End          map[string]any `json:"eventEndTime"`
		ChangeKey    string         `json:"changeKey"`
		Subject      string         `json:"eventSubject"`
		Location     any            `json:"eventLocation"`
		WebLink      any            `json:"eventWebLink"`
		ReminderFire map[string]any `json:"reminderFireTime"`
	}
	list := []reminder{}
	shows := eventShows()
	c.read(func(*state) {
		for _, cal := range c.box.all("calendar") {
			for _, e := range expandCalendar(c.box, cal.Key, w) {
				at, ok := reminderTime(e)
				if !ok {
					continue
				}
				allDay := e.flag("isAllDay")
				list = append(list, reminder{
					EventID: c.idOf(e), Start: c.shownTime(eventStart(e), allDay), End: c.shownTime(eventEnd(e), allDay),
					ChangeKey: changeKey(e.Seq), Subject: e.text("subject"), Location: shows["location"](c, e),
					WebLink: shows["webLink"](c, e), ReminderFire: c.shownTime(at, false),
				})
			}
		}
	})
	slices.SortStableFunc(list, func(a, b reminder) int {
		x, _ := a.Start["dateTime"].(string)
		y, _ := b.Start["dateTime"].(string)
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#Collection(microsoft.graph.reminder)")
	return c.jsonAnswer(http.StatusOK, append(appendList(append(b, `,"value":`...), list), '}')), nil
}

func (c *call) snoozeReminder() (*Answer, error) {
	params, err := c.readParameters("snoozeReminder", "newReminderTime")
	if err != nil {
		return nil, err
	}
	at, given, err := readMomentParameter(params["newReminderTime"])
	if err != nil {
		return nil, err
	}
	if !given {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The parameter 'newReminderTime' is required.")
	}
	return c.changeReminder(func(e *entity) {
		e.Hidden["snoozed"] = float64(at.Unix())
		delete(e.Hidden, "dismissed")
	})
}

func (c *call) dismissReminder() (*Answer, error) {
	return c.changeReminder(func(e *entity) { e.Hidden["dismissed"] = true })
}

func (c *call) changeReminder(change func(e *entity)) (*Answer, error) {
	err := c.update(func(t *tx) error {
		old, err := c.eventOf()
		if err != nil {
			return err
		}
		if !old.flag("isReminderOn") {
			return newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. The event has no reminder.")
		}
		fresh := old.clone()
		change(fresh)
		t.storeEvent(c.box, old, fresh, nil)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{"Cache-Control": {"private"}}}, nil
}
