package sandbox

// Changing and deleting events. A change of one date of a series makes it an
// exception; a change of the series' pattern or time drops the exceptions; other
// changes of the series go on to the exceptions, as far as these have nothing of
// their own there. A deleted event leaves its calendar for Deleted Items, where
// Graph shows no events; deleting a date cancels it. Attendees hear of what the
// organizer does.
// https://learn.microsoft.com/graph/api/event-update
// https://learn.microsoft.com/graph/api/event-delete
//
// Left out: events that are moved to another calendar.

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"outlook-connector/internal/sandbox/recurrence"
)

func (c *call) updateEvent() (*Answer, error) {
	res := eventResource()
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		old, err := c.eventOf()
		if err != nil {
			return err
		}
		if err := c.matches(old.Seq); err != nil {
			return err
		}
		fresh := old.clone()
		touched, err := fresh.write(res.typ(), body, false)
		if err != nil {
			return err
		}
		if err := c.settle(t.state, old, fresh, body); err != nil {
			return err
		}
		if isPart(fresh) {
			if err := c.staysBetween(fresh); err != nil {
				return err
			}
		}
		v, err := c.entityViewOf(res, nil, "")
		if err != nil {
			return err
		}
		if fresh.Hidden["organizer"] == true {
			resetAnswers(old, fresh)
			if changedForOthers(old, fresh) || !reflect.DeepEqual(attendeesOf(old), attendeesOf(fresh)) {
				if err := c.mayMail(attendeesOf(fresh)); err != nil {
					return err
				}
			}
		}
		fresh = t.storeEvent(c.box, old, fresh, touched)
		if fresh.Hidden["organizer"] == true {
			t.tellOfUpdate(c, old, fresh)
		}
		a = c.oneEntity(http.StatusOK, v, c.box.entities[fresh.Key])
		return nil
	})
	return a, err
}

// storeEvent saves a changed event as what it is: a part, a master or neither.
func (t *tx) storeEvent(box *mailbox, old, fresh *entity, touched []string) *entity {
	switch {
	case isPart(old):
		return t.storeException(box, fresh, touched)
	case isMaster(old):
		t.storeMaster(box, old, fresh, touched)
	default:
		t.saveEntity(box, fresh, touched...)
	}
	return fresh
}

// storeException saves a date of a series that has become, or is, different from
// the others.
func (t *tx) storeException(box *mailbox, fresh *entity, touched []string) *entity {
	own, _ := fresh.Hidden["own"].([]any)
	own = slices.Clone(own)
	for _, name := range touched {
		if !slices.Contains(own, any(name)) {
			own = append(own, name)
		}
	}
	fresh.Hidden["own"] = own
	if !isVirtual(fresh) {
		t.saveEntity(box, fresh, touched...)
		return fresh
	}
	delete(fresh.Hidden, "virtual")
	fresh.Mark, fresh.Touched = eventMark(fresh.hiddenText("uid"), eventDate(fresh)), nil
	t.addEntity(box, fresh.In, fresh)
	t.inheritAttachments(box, fresh)
	return fresh
}

// pastPatterns bounds how many earlier patterns of a series delta remembers.
const pastPatterns = 20

func (t *tx) storeMaster(box *mailbox, old, fresh *entity, touched []string) {
	s := seriesOf(old)
	if samePattern(old, fresh) {
		t.saveEntity(box, fresh, touched...)
		for _, e := range s.exceptions(box) {
			t.followMaster(box, fresh, e, touched)
		}
		return
	}
	for _, e := range s.exceptions(box) {
		t.removeEntity(box, e)
	}
	past, _ := old.Hidden["past"].([]any)
	past = append(slices.Clone(past), map[string]any{
		"seq": float64(t.seq + 1), "recurrence": old.Props["recurrence"], "isAllDay": old.flag("isAllDay"),
		"start": old.Hidden["start"], "end": old.Hidden["end"], "startZone": old.Hidden["startZone"], "cancelled": old.Hidden["cancelled"],
	})
	if len(past) > pastPatterns {
		past = past[1:]
	}
	fresh.Hidden["past"] = past
	delete(fresh.Hidden, "cancelled")
	// The change of the exceptions took numbers; the master's must be as noted.
	past[len(past)-1].(map[string]any)["seq"] = float64(t.seq + 1)
	t.saveEntity(box, fresh, touched...)
}

func samePattern(a, b *entity) bool {
	return reflect.DeepEqual(a.Props["recurrence"], b.Props["recurrence"]) &&
		a.number("start") == b.number("start") && a.number("end") == b.number("end") && a.flag("isAllDay") == b.flag("isAllDay")
}

// followMaster gives an exception what changed in its series.
func (t *tx) followMaster(box *mailbox, master, e *entity, touched []string) {
	own, _ := e.Hidden["own"].([]any)
	fresh := e.clone()
	var follows []string
	for _, name := range touched {
		if f := typeNamed("event").field(name); f == nil || f.nav || slices.Contains(own, any(name)) ||
			slices.Contains([]string{"start", "end", "isAllDay", "recurrence"}, name) {
			continue
		}
		fresh.Props[name] = master.Props[name]
		if name == "location" || name == "locations" {
			fresh.Props["location"], fresh.Props["locations"] = master.Props["location"], master.Props["locations"]
		}
		follows = append(follows, name)
	}
	if len(follows) > 0 {
		t.saveEntity(box, fresh, follows...)
	}
}

// staysBetween holds the rule that a date of a series cannot be moved past, or
// onto the day of, the one before or after it.
func (c *call) staysBetween(e *entity) error {
	master := masterOf(c.box, e)
	if master == nil || !isMaster(master) {
		return nil
	}
	s := seriesOf(master)
	zone := seriesZone(master, s.rule)
	at := recurrence.DateOf(eventStart(e).In(zone))
	date := eventDate(e)
	if at == date {
		return nil
	}
	for d := range s.rule.Dates(min(at, date), max(at, date)) {
		if d != date {
			return newError(http.StatusBadRequest, "ErrorOccurrenceCrossingBoundary", "Modified occurrence is crossing or overlapping adjacent occurrence.")
		}
	}
	return nil
}

func (c *call) deleteEvent() (*Answer, error)          { return c.eraseEvent(false) }
func (c *call) permanentDeleteEvent() (*Answer, error) { return c.eraseEvent(true) }

func (c *call) eraseEvent(forGood bool) (*Answer, error) {
	err := c.update(func(t *tx) error {
		e, err := c.eventOf()
		if err != nil {
			return err
		}
		if err := c.matches(e.Seq); err != nil {
			return err
		}
		if e.Hidden["organizer"] == true && !e.flag("isCancelled") {
			if err := c.mayMail(attendeesOf(e)); err != nil {
				return err
			}
			t.tellOfCancel(c, e, attendeesOf(e), "")
		}
		t.takeEvent(c.box, e, forGood)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

// takeEvent takes an event out of its calendar.
func (t *tx) takeEvent(box *mailbox, e *entity, forGood bool) {
	if isPart(e) {
		t.cancelDate(box, e)
		return
	}
	if isMaster(e) {
		for _, part := range seriesOf(e).exceptions(box) {
			t.removeEntity(box, part)
		}
	}
	bin := box.wellKnown["deleteditems"]
	if forGood || bin == nil {
		t.removeEntity(box, e)
		return
	}
	gone := e.clone()
	gone.In, gone.Mark = bin.Key, ""
	t.saveEntity(box, gone)
}

// cancelDate takes one date out of a series.
func (t *tx) cancelDate(box *mailbox, part *entity) {
	if !isVirtual(part) {
		t.removeEntity(box, part)
	}
	master := masterOf(box, part)
	if master == nil || !isMaster(master) {
		return
	}
	fresh := master.clone()
	was, _ := master.Hidden["cancelled"].(map[string]any)
	now := map[string]any{eventDate(part).String(): float64(t.seq + 1)}
	maps.Copy(now, was)
	fresh.Hidden["cancelled"] = now
	t.saveEntity(box, fresh, "cancelledOccurrences")
}

// significant are the properties whose change attendees are told of.
var significant = strings.Fields("subject body isAllDay location locations recurrence importance sensitivity isOnlineMeeting onlineMeeting responseRequested allowNewTimeProposals hideAttendees")

// changedForOthers says that attendees have to be told of a change.
func changedForOthers(old, fresh *entity) bool {
	if old.number("start") != fresh.number("start") || old.number("end") != fresh.number("end") {
		return true
	}
	return slices.ContainsFunc(significant, func(name string) bool { return !reflect.DeepEqual(old.Props[name], fresh.Props[name]) })
}
