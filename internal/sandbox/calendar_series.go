package sandbox

// Series of events. Only the master and the exceptions are stored; occurrences
// are made when they are looked at, with ids that hold the master and the date,
// so that an occurrence that becomes an exception keeps its id. An occurrence
// keeps its time on the clock of the series' zone.
// https://learn.microsoft.com/graph/api/resources/patternedrecurrence
//
// Left out: another id of an occurrence for Prefer: IdType="ImmutableId".
//
// What is hidden in an event: start and end (Unix seconds; a whole-day event's
// midnights as if in UTC), startZone and endZone (as they were given), uid,
// organizer (this copy is the organizer's). In a master: cancelled (date to the
// write that cancelled it) and past (patterns that it had before, for delta). In
// an exception: master, date, own (the properties that do not follow the master).

import (
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
	"outlook-connector/internal/sandbox/zones"
)

// idOccurrence is the id of one date of a series: its key is the master's, its
// generation the date.
const idOccurrence idKind = 0x51

func (e *entity) number(name string) int64 {
	n, _ := e.Hidden[name].(float64)
	return int64(n)
}

func (e *entity) hiddenText(name string) string {
	s, _ := e.Hidden[name].(string)
	return s
}

// eventStart and eventEnd are the moments of an event.
func eventStart(e *entity) time.Time { return time.Unix(e.number("start"), 0).UTC() }
func eventEnd(e *entity) time.Time   { return time.Unix(e.number("end"), 0).UTC() }

func isMaster(e *entity) bool { return e.Props["recurrence"] != nil }

// isPart says that the event is one date of a series that this mailbox has.
func isPart(e *entity) bool { return e.Hidden["master"] != nil }

// isVirtual says that the event is not stored.
func isVirtual(e *entity) bool { return e.Hidden["virtual"] == true }

func eventDate(e *entity) recurrence.Date { return recurrence.Date(e.number("date")) }

// eventMark is how an event is found by the meeting that it is; date 0 is the
// whole meeting.
func eventMark(uid string, date recurrence.Date) string {
	if date == 0 {
		return "uid:" + uid
	}
	return "uid:" + uid + ":" + date.String()
}

// eventByUID finds the event of a meeting in a mailbox, or nil.
func eventByUID(box *mailbox, uid string, date recurrence.Date) *entity {
	e := box.marked("event", eventMark(uid, date))
	if e == nil || !inCalendar(box, e) {
		return nil
	}
	return e
}

// inCalendar says that an event has not been deleted.
func inCalendar(box *mailbox, e *entity) bool {
	cal := box.entities[e.In]
	return cal != nil && cal.Type == "calendar"
}

// listedEvents are those of a calendar without the exceptions, as a list of
// events has them.
func listedEvents(box *mailbox, calendar uint64) []*entity {
	return slices.DeleteFunc(slices.Clone(box.in(calendar, "event")), isPart)
}

// series is a master, ready to be expanded.
type series struct {
	master *entity
	rule   *recurrence.Rule
	times  recurrence.Times
}

// readRule checks a recurrence as it is in an event.
func readRule(v any) (*recurrence.Rule, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var r recurrence.Recurrence
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, errProperty("The recurrence has a date that is none.")
	}
	if name := r.Range.RecurrenceTimeZone; name != "" {
		if _, ok := zones.Lookup(name); !ok {
			return nil, errZone(name)
		}
	}
	rule, err := recurrence.New(r)
	if e, ok := errors.AsType[*recurrence.Error](err); ok {
		return nil, errProperty("Recurrence.%s: %s.", e.Property, e.Reason)
	}
	return rule, err
}

// seriesZone is the zone on whose clock a series runs.
func seriesZone(e *entity, rule *recurrence.Rule) *time.Location {
	if e.flag("isAllDay") {
		return time.UTC
	}
	for _, name := range []string{rule.Wire().Range.RecurrenceTimeZone, e.hiddenText("startZone")} {
		if z, ok := zones.Lookup(name); ok {
			return z.Location
		}
	}
	return time.UTC
}

// seriesOf opens a stored master, whose recurrence has been checked.
func seriesOf(master *entity) *series {
	rule, err := readRule(master.Props["recurrence"])
	if err != nil {
		panic("sandbox: stored series: " + err.Error())
	}
	return &series{master, rule, recurrence.TimesOf(eventStart(master), eventEnd(master), seriesZone(master, rule))}
}

// cancelled says that a date of the series has been deleted, and at which write.
func (s *series) cancelled(d recurrence.Date) (int64, bool) {
	m, _ := s.master.Hidden["cancelled"].(map[string]any)
	seq, ok := m[d.String()].(float64)
	return int64(seq), ok
}

func occurrenceID(box *mailbox, master uint64, d recurrence.Date) string {
	return makeID(idOccurrence, box.ID, master, uint32(d))
}

// occurrence makes the event of a date.
func (s *series) occurrence(box *mailbox, d recurrence.Date) *entity {
	o := s.master.clone()
	o.Mark, o.ID = "", occurrenceID(box, s.master.Key, d)
	start, end := s.times.On(d)
	delete(o.Props, "recurrence")
	delete(o.Hidden, "cancelled")
	delete(o.Hidden, "past")
	o.Hidden["start"], o.Hidden["end"] = float64(start.Unix()), float64(end.Unix())
	o.Hidden["master"], o.Hidden["date"], o.Hidden["virtual"] = float64(s.master.Key), float64(d), true
	return o
}

// exception is the stored event of a date, or nil.
func (s *series) exception(box *mailbox, d recurrence.Date) *entity {
	e := eventByUID(box, s.master.hiddenText("uid"), d)
	if e == nil || e.number("master") != int64(s.master.Key) {
		return nil
	}
	return e
}

// exceptions are the stored dates of the series.
func (s *series) exceptions(box *mailbox) []*entity {
	var list []*entity
	for _, e := range box.in(s.master.In, "event") {
		if e.number("master") == int64(s.master.Key) {
			list = append(list, e)
		}
	}
	return list
}

// on is the event of a date, stored or not; nil where there is none.
func (s *series) on(box *mailbox, d recurrence.Date) *entity {
	if e := s.exception(box, d); e != nil {
		return e
	}
	if _, gone := s.cancelled(d); gone || !s.rule.Has(d) {
		return nil
	}
	return s.occurrence(box, d)
}

// plain are the dates in a window that are neither cancelled nor stored.
func (s *series) plain(box *mailbox, w window) iter.Seq[recurrence.Date] {
	return func(yield func(recurrence.Date) bool) {
		for d := range s.rule.Between(s.times, w.from, w.to) {
			if _, gone := s.cancelled(d); gone || s.exception(box, d) != nil {
				continue
			}
			if !yield(d) {
				return
			}
		}
	}
}

func overlaps(e *entity, w window) bool {
	return recurrence.Overlap(eventStart(e), eventEnd(e), w.from, w.to)
}

// instances are the dates of one series in a window, by their start.
func (s *series) instances(box *mailbox, w window) []*entity {
	var list []*entity
	for d := range s.plain(box, w) {
		list = append(list, s.occurrence(box, d))
	}
	for _, e := range s.exceptions(box) {
		if overlaps(e, w) {
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, compareStart)
	return list
}

func compareStart(a, b *entity) int { return int(a.number("start") - b.number("start")) }

// expandCalendar is what a calendar shows in a window: single events,
// occurrences and exceptions, by their start.
func expandCalendar(box *mailbox, calendar uint64, w window) []*entity {
	var list []*entity
	for _, e := range box.in(calendar, "event") {
		switch {
		case isMaster(e):
			s := seriesOf(e)
			for d := range s.plain(box, w) {
				list = append(list, s.occurrence(box, d))
			}
		case overlaps(e, w):
			list = append(list, e)
		}
	}
	slices.SortStableFunc(list, compareStart)
	return list
}

// eventNamed finds an event by its id: a stored one, or a date of a series. It
// needs the lock.
func (c *call) eventNamed(name string) (*entity, error) {
	id, ok := parseID(name)
	if !ok || id.kind != idOccurrence {
		e, err := c.entityNamed("event", name)
		if err == nil && !inCalendar(c.box, e) {
			return nil, errItemNotFound()
		}
		return e, err
	}
	master := c.box.entities[id.key]
	if master == nil || id.mailbox != c.box.ID || master.Type != "event" || !isMaster(master) || !inCalendar(c.box, master) {
		return nil, errItemNotFound()
	}
	if e := seriesOf(master).on(c.box, recurrence.Date(id.gen)); e != nil {
		return e, nil
	}
	return nil, errItemNotFound()
}

// eventOf finds the event that the path names. It needs the lock.
func (c *call) eventOf() (*entity, error) {
	if _, ok := c.params["message-id"]; ok {
		e, err := c.eventOfMail()
		if _, inner := c.params["event-id"]; err != nil || !inner {
			return e, err
		}
	}
	e, err := c.eventNamed(c.params["event-id"])
	if err != nil {
		return nil, err
	}
	_, named := c.params["calendar-id"]
	if named || strings.Contains(c.route.path, "}/calendar/events/") && !strings.Contains(c.route.path, "message-id") {
		cal, err := c.calendarOf()
		if err != nil {
			return nil, err
		}
		if cal.Key != e.In {
			return nil, errItemNotFound()
		}
	}
	return e, nil
}

// masterOf is the series that a part belongs to.
func masterOf(box *mailbox, part *entity) *entity { return box.entities[uint64(part.number("master"))] }

// newUID makes the identity of a meeting, in the form of a global object id:
// the same in the mailbox of everybody who has it.
func newUID() string {
	return "040000008200E00074C5B7101A82E008" + "00000000" + "0000000000000000" + "0000000000000000" + "10000000" +
		strings.ToUpper(strings.ReplaceAll(newGUID(), "-", ""))
}

// iCalUID is the identity of an event; each date of a series has its own, with
// the date in it.
func iCalUID(e *entity) string {
	uid := e.hiddenText("uid")
	if e.Hidden["date"] == nil || len(uid) < 40 {
		return uid
	}
	y, m, d := eventDate(e).Split()
	hex := strconv.FormatInt(int64(y)<<16|int64(m)<<8|int64(d), 16)
	return uid[:32] + strings.ToUpper(strings.Repeat("0", 8-len(hex))+hex) + uid[40:]
}

// formerly is a series with a pattern that it had before.
func formerly(e *entity, was map[string]any) *series {
	old := e.clone()
	old.Props["recurrence"], old.Props["isAllDay"] = was["recurrence"], was["isAllDay"]
	for _, name := range []string{"start", "end", "startZone", "cancelled"} {
		old.Hidden[name] = was[name]
	}
	return seriesOf(old)
}
