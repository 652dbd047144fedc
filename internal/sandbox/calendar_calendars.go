package sandbox

// Calendars and calendar groups. Everybody has the groups My Calendars and Other
// Calendars and in the first the default calendar; a Microsoft 365 group has one
// calendar. Defaults cannot be deleted; a group of calendars only when it is
// empty; two calendars of one group cannot have one name.
// https://learn.microsoft.com/graph/api/resources/calendar
// https://learn.microsoft.com/graph/api/resources/calendargroup
//
// Left out: calendars that somebody else has shared, hex colours, calendars that
// follow an address in the internet. Deleting a calendar cancels no meetings.
// permanentDelete of a default calendar empties it.

import (
	"net/http"
	"strings"
)

// myCalendars is the class of the default group in every mailbox.
const myCalendars = "0006f0b7-0000-0000-c000-000000000046"

func furnishCalendars(t *tx, box *mailbox) {
	if box.kind == kindDirectory || box.marked("calendar", "default") != nil {
		return
	}
	var in uint64
	if box.kind == kindPerson {
		for _, name := range []string{"Other Calendars", "My Calendars"} {
			g := newEntity(typeNamed("calendarGroup"))
			g.Props["name"], g.Props["classId"] = name, "0006f0b8-0000-0000-c000-000000000046"
			if name == "My Calendars" {
				g.Props["classId"], g.Mark = myCalendars, "default"
			}
			t.addEntity(box, 0, g)
			in = g.Key
		}
	}
	cal := newEntity(typeNamed("calendar"))
	cal.Props["name"], cal.Mark = "Calendar", "default"
	t.addEntity(box, in, cal)
	furnishPermissions(t, box, cal)
}

func calendarGroupResource() *resource {
	return &resource{
		kind: "calendarGroup", param: "calendarGroup-id", set: "calendarGroups",
		creating: func(_ *call, _ *tx, e *entity, _ map[string]any) error {
			e.Props["classId"] = newGUID()
			return nil
		},
		deleting: func(c *call, _ *tx, e *entity) error {
			switch {
			case e.Mark == "default":
				return errDefaultCalendar()
			case len(c.box.in(e.Key, "calendar")) > 0:
				return newError(http.StatusBadRequest, "ErrorCannotDeleteObject", "The object can't be deleted. The calendar group is not empty.")
			}
			return nil
		},
		expand: map[string]func(*call, *entity, query) any{"calendars": func(c *call, e *entity, options query) any {
			return c.objects(calendarResource(), c.box.in(e.Key, "calendar"), options)
		}},
	}
}

func errDefaultCalendar() error {
	return newError(http.StatusBadRequest, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
}

func calendarResource() *resource {
	always := func(v bool) show { return func(*call, *entity) any { return v } }
	isDefault := func(_ *call, e *entity) any { return e.Mark == "default" }
	return &resource{
		kind: "calendar", param: "calendar-id", set: "calendars",
		place: (*call).calendarGroupKey,
		find:  (*call).calendarOf,
		scan: func(c *call) ([]*entity, error) {
			if _, ok := c.params["calendarGroup-id"]; !ok {
				return c.box.all("calendar"), nil
			}
			in, err := c.calendarGroupKey()
			return c.box.in(in, "calendar"), err
		},
		show: map[string]show{
			"isDefaultCalendar": isDefault, "isTallyingResponses": isDefault,
			"canShare": always(true), "canViewPrivateItems": always(true), "canEdit": always(true),
			"isRemovable": func(_ *call, e *entity) any { return e.Mark != "default" },
			"owner": func(c *call, _ *entity) any {
				return map[string]any{"name": c.box.Name(), "address": c.box.UPN}
			},
		},
		expand: map[string]func(*call, *entity, query) any{
			"events": func(c *call, e *entity, options query) any {
				return c.objects(eventResource(), listedEvents(c.box, e.Key), options)
			},
			"calendarPermissions": func(c *call, e *entity, options query) any {
				return c.objects(permissionResource(), c.box.in(e.Key, "calendarPermission"), options)
			},
		},
		creating: func(c *call, _ *tx, e *entity, _ map[string]any) error { return c.calendarNameIsFree(nil, e) },
		created: func(c *call, t *tx, e *entity, _ map[string]any) error {
			furnishPermissions(t, c.box, e)
			return nil
		},
		updating: func(c *call, _ *tx, old, fresh *entity, _ map[string]any) error {
			if fresh.text("name") == "" {
				return newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'name' is required.")
			}
			return c.calendarNameIsFree(old, fresh)
		},
		deleting: func(_ *call, _ *tx, e *entity) error {
			if e.Mark == "default" {
				return errDefaultCalendar()
			}
			return nil
		},
	}
}

// calendarNameIsFree looks for another calendar of the name in the same group.
func (c *call) calendarNameIsFree(old, e *entity) error {
	var in uint64
	if old != nil {
		in = old.In
	} else {
		key, err := c.calendarGroupKey()
		if err != nil {
			return err
		}
		in = key
	}
	for _, other := range c.box.in(in, "calendar") {
		if (old == nil || other.Key != old.Key) && strings.EqualFold(other.text("name"), e.text("name")) {
			return newError(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists., Could not create folder '%s'.", e.text("name"))
		}
	}
	return nil
}

// calendarGroupKey is where the calendars of the path lie: the group that it
// names, else the default one. A Microsoft 365 group has none.
func (c *call) calendarGroupKey() (uint64, error) {
	if name, ok := c.params["calendarGroup-id"]; ok {
		g, err := c.entityNamed("calendarGroup", name)
		if err != nil {
			return 0, err
		}
		return g.Key, nil
	}
	if g := c.box.marked("calendarGroup", "default"); g != nil {
		return g.Key, nil
	}
	return 0, nil
}

// calendarOf finds the calendar that the path names, else the default one. It
// needs the lock.
func (c *call) calendarOf() (*entity, error) {
	name, ok := c.params["calendar-id"]
	if !ok {
		if cal := c.box.marked("calendar", "default"); cal != nil {
			return cal, nil
		}
		return nil, errItemNotFound()
	}
	cal, err := c.entityNamed("calendar", name)
	if err != nil {
		return nil, err
	}
	if _, ok := c.params["calendarGroup-id"]; ok {
		in, err := c.calendarGroupKey()
		if err != nil {
			return nil, err
		}
		if cal.In != in {
			return nil, errItemNotFound()
		}
	}
	return cal, nil
}

// permanentDeleteCalendar drops a calendar for good; a default one is emptied.
func (c *call) permanentDeleteCalendar() (*Answer, error) {
	err := c.update(func(t *tx) error {
		cal, err := c.calendarOf()
		if err != nil {
			return err
		}
		if cal.Mark != "default" {
			t.removeEntity(c.box, cal)
			return nil
		}
		for _, e := range append([]*entity(nil), c.box.in(cal.Key, "event")...) {
			t.removeEntity(c.box, e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}
