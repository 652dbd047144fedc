package sandbox

// Events: how they are shown, listed and found. Modelled: lists of single events
// and masters in every documented place, $select, $filter, $orderby, $expand of
// calendar, instances, exceptionOccurrences, attachments, extensions and extended
// properties, the time zone and the body type of Prefer.
// https://learn.microsoft.com/graph/api/resources/event
//
// Left out: $search, and that Outlook turns every body into HTML.

import (
	"slices"
	"time"
)

// noTime is how Graph writes a time that has not been.
const noTime = "0001-01-01T00:00:00Z"

func eventResource() *resource {
	return &resource{
		kind: "event", param: "event-id", set: "events",
		place: func(c *call) (uint64, error) {
			cal, err := c.calendarOf()
			if err != nil {
				return 0, err
			}
			return cal.Key, nil
		},
		find: (*call).eventOf,
		scan: func(c *call) ([]*entity, error) {
			cal, err := c.calendarOf()
			if err != nil {
				return nil, err
			}
			list := listedEvents(c.box, cal.Key)
			slices.Reverse(list) // the newest first
			return list, nil
		},
		show:   eventShows(),
		expand: eventExpansions(),
	}
}

func eventShows() map[string]show {
	text := func(name string) show { return func(_ *call, e *entity) any { return e.hiddenText(name) } }
	return map[string]show{
		"start": func(c *call, e *entity) any { return c.shownTime(eventStart(e), e.flag("isAllDay")) },
		"end":   func(c *call, e *entity) any { return c.shownTime(eventEnd(e), e.flag("isAllDay")) },

		"originalStartTimeZone": text("startZone"),
		"originalEndTimeZone":   text("endZone"),
		"uid":                   text("uid"),
		"iCalUId":               func(_ *call, e *entity) any { return iCalUID(e) },
		"type":                  func(_ *call, e *entity) any { return eventKind(e) },
		"isOrganizer":           func(_ *call, e *entity) any { return e.Hidden["organizer"] == true },
		"isCancelled":           func(_ *call, e *entity) any { return e.flag("isCancelled") },
		"isDraft":               func(*call, *entity) any { return false },
		"onlineMeetingUrl":      func(*call, *entity) any { return nil },
		"hasAttachments":        func(c *call, e *entity) any { return carrier(c.box, e).hasAttachments() },
		"body":                  func(c *call, e *entity) any { return c.prefer.body(bodyOf(e)) },
		"bodyPreview":           func(_ *call, e *entity) any { return preview(bodyOf(e)) },
		"seriesMasterId": func(c *call, e *entity) any {
			if master := masterOf(c.box, e); isPart(e) && master != nil {
				return c.idOf(master)
			}
			return nil
		},
		"occurrenceId": func(c *call, e *entity) any {
			if master := masterOf(c.box, e); isPart(e) && master != nil {
				return "OID." + c.idOf(master) + "." + eventDate(e).String()
			}
			return nil
		},
		"cancelledOccurrences": func(c *call, e *entity) any {
			list := []any{}
			m, _ := e.Hidden["cancelled"].(map[string]any)
			for _, d := range sortedKeys(m) {
				list = append(list, "OID."+c.idOf(e)+"."+d)
			}
			return list
		},
		"originalStart": func(c *call, e *entity) any {
			master := masterOf(c.box, e)
			if !isPart(e) || master == nil || !isMaster(master) {
				return nil
			}
			start, _ := seriesOf(master).times.On(eventDate(e))
			return start.UTC().Format(time.RFC3339)
		},
		"webLink": func(c *call, e *entity) any {
			return "https://outlook.office365.com/owa/?itemid=" + c.idOf(e) + "&exvsurl=1&path=/calendar/item"
		},
		"location": func(_ *call, e *entity) any {
			if loc, ok := e.Props["location"].(map[string]any); ok {
				return loc
			}
			return emptyLocation()
		},
	}
}

func eventExpansions() map[string]func(*call, *entity, query) any {
	return map[string]func(*call, *entity, query) any{
		"calendar": func(c *call, e *entity, options query) any {
			return c.object(calendarResource(), c.box.entities[e.In], options)
		},
		"instances": func(c *call, e *entity, options query) any {
			w, err := c.windowOf()
			if err != nil || !isMaster(e) {
				return []any{}
			}
			return c.objects(eventResource(), seriesOf(e).instances(c.box, w), options)
		},
		"exceptionOccurrences": func(c *call, e *entity, options query) any {
			if !isMaster(e) {
				return []any{}
			}
			return c.objects(eventResource(), seriesOf(e).exceptions(c.box), options)
		},
		"attachments": func(c *call, e *entity, options query) any { return c.shownEventAttachments(e, options) },
	}
}

func eventKind(e *entity) string {
	switch {
	case isVirtual(e):
		return "occurrence"
	case isPart(e):
		return "exception"
	case isMaster(e):
		return "seriesMaster"
	}
	return "singleInstance"
}

func emptyLocation() map[string]any {
	return map[string]any{"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": map[string]any{}, "coordinates": map[string]any{}}
}

func bodyOf(e *entity) itemBody {
	obj, _ := e.Props["body"].(map[string]any)
	kind, _ := obj["contentType"].(string)
	content, _ := obj["content"].(string)
	return itemBody{ContentType: kind, Content: content}
}

// eventView is the view of the request, without what Calendars.ReadBasic hides.
// https://learn.microsoft.com/graph/permissions-reference#calendarsreadbasic
func (c *call) eventView(res *resource) (*entityView, error) {
	v, err := c.entityView(res)
	if err != nil || !c.basicCalendar() {
		return v, err
	}
	v.fields = slices.DeleteFunc(v.fields, func(f *field) bool { return f.name == "body" || f.name == "bodyPreview" })
	v.expand = slices.DeleteFunc(v.expand, func(x expansionOf) bool { return x.name == "attachments" || x.name == "extensions" })
	return v, nil
}

// basicCalendar says that the token has Calendars.ReadBasic and no more.
func (c *call) basicCalendar() bool {
	for _, name := range []string{"Calendars.Read", "Calendars.ReadWrite", "Group.Read.All", "Group.ReadWrite.All"} {
		if c.token.has(name) || c.token.has(name+".Shared") {
			return false
		}
	}
	return true
}

func (c *call) listEvents() (*Answer, error) {
	res := eventResource()
	v, err := c.eventView(res)
	if err != nil {
		return nil, err
	}
	var a *Answer
	c.read(func(*state) {
		var items []*entity
		if items, err = res.scan(c); err == nil {
			a, err = c.entityPage(v, items)
		}
	})
	return a, err
}

func (c *call) getEvent() (*Answer, error) {
	v, err := c.eventView(eventResource())
	if err != nil {
		return nil, err
	}
	var a *Answer
	c.read(func(*state) {
		var e *entity
		if e, err = c.eventOf(); err == nil {
			a = c.oneEntity(200, v, e)
		}
	})
	return a, err
}
