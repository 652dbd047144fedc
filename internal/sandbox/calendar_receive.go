package sandbox

// How a calendar takes in the mails about meetings (calendar_meetings.go). It
// happens when the mail arrives in the inbox, whether or not anybody reads it.

import (
	"slices"

	"outlook-connector/internal/sandbox/recurrence"
)

// receiveMeeting does in a mailbox what a mail about a meeting asks for, and
// ties the mail to its event. The mail is not stored yet.
func (t *tx) receiveMeeting(box *mailbox, in *message) {
	inv := in.Invite
	in.Invite, in.Event = nil, 0
	if inv == nil || box.marked("calendar", "default") == nil {
		return
	}
	var e *entity
	switch inv.Kind {
	case meetRequest:
		e = t.receiveRequest(box, inv)
	case meetCancel:
		e = t.receiveCancel(box, inv)
	case meetReply:
		e = t.receiveReply(box, inv)
	}
	if e != nil {
		in.Event = e.Key
	}
}

// shared are the properties that an attendee's event has from the organizer's.
var shared = []string{
	"subject", "body", "importance", "sensitivity", "isAllDay", "location", "locations", "attendees", "organizer", "responseRequested",
	"allowNewTimeProposals", "hideAttendees", "isOnlineMeeting", "onlineMeeting", "onlineMeetingProvider", "recurrence",
}

// attendeeCopy is the organizer's event as an attendee has it. have is what the
// attendee had before, or nil.
func attendeeCopy(box *mailbox, meet, have *entity) *entity {
	e := newEntity(typeNamed("event"))
	if have != nil {
		e = have.clone()
	}
	for _, name := range shared {
		e.Props[name] = meet.Props[name]
	}
	if meet.flag("hideAttendees") {
		e.Props["attendees"] = slices.DeleteFunc(slices.Clone(attendeesOf(meet)), func(v any) bool { return !sameAddress(box.UPN)(v) })
	}
	for _, name := range []string{"start", "end", "startZone", "endZone", "uid"} {
		e.Hidden[name] = meet.Hidden[name]
	}
	e.Hidden["organizer"], e.Hidden["showAs"] = false, meet.Props["showAs"]
	e.Props["isCancelled"] = false
	if have == nil || !samePattern(have, e) {
		e.Props["responseStatus"] = map[string]any{"response": "notResponded", "time": noTime}
		e.Props["showAs"] = "tentative"
	}
	return e
}

func (t *tx) receiveRequest(box *mailbox, inv *invitation) *entity {
	have := eventByUID(box, inv.UID, inv.Date)
	if have != nil && have.Hidden["organizer"] == true {
		return have
	}
	if inv.Date != 0 {
		return t.receiveDate(box, inv, have)
	}
	e := attendeeCopy(box, inv.Meet, have)
	e.Mark = eventMark(inv.UID, 0)
	if have == nil {
		t.addEntity(box, box.marked("calendar", "default").Key, e)
	} else {
		t.storeEvent(box, have, e, shared)
	}
	if !isMaster(e) {
		return e
	}
	// The dates that the organizer has cancelled, and those that are different.
	s := seriesOf(box.entities[e.Key])
	gone, _ := inv.Meet.Hidden["cancelled"].(map[string]any)
	for _, day := range sortedKeys(gone) {
		if d, err := recurrence.ParseDate(day); err == nil {
			if part := s.on(box, d); part != nil {
				t.cancelDate(box, part)
				s = seriesOf(box.entities[e.Key])
			}
		}
	}
	for _, part := range inv.Part {
		t.receiveDate(box, &invitation{Kind: meetRequest, UID: inv.UID, Date: eventDate(part), Meet: part}, s.exception(box, eventDate(part)))
	}
	return box.entities[e.Key]
}

// receiveDate takes in one date of a series: of a series that the mailbox has,
// or alone.
func (t *tx) receiveDate(box *mailbox, inv *invitation, have *entity) *entity {
	master := eventByUID(box, inv.UID, 0)
	if have == nil && master != nil && isMaster(master) {
		have = seriesOf(master).occurrence(box, inv.Date)
	}
	e := attendeeCopy(box, inv.Meet, have)
	delete(e.Props, "recurrence")
	e.Hidden["date"] = float64(inv.Date)
	switch {
	case have == nil:
		delete(e.Hidden, "master")
		e.Mark = eventMark(inv.UID, inv.Date)
		t.addEntity(box, box.marked("calendar", "default").Key, e)
	case isPart(have):
		e = t.storeException(box, e, shared)
	default:
		t.saveEntity(box, e, shared...)
	}
	return e
}

// dateOrWhole finds what a cancellation or an answer is about.
func dateOrWhole(box *mailbox, inv *invitation) *entity {
	have := eventByUID(box, inv.UID, inv.Date)
	if have == nil && inv.Date != 0 {
		if master := eventByUID(box, inv.UID, 0); master != nil && isMaster(master) {
			return seriesOf(master).on(box, inv.Date)
		}
	}
	return have
}

func (t *tx) receiveCancel(box *mailbox, inv *invitation) *entity {
	have := dateOrWhole(box, inv)
	if have == nil || have.Hidden["organizer"] == true {
		return nil
	}
	e := have.clone()
	e.Props["isCancelled"], e.Props["showAs"], e.Props["isReminderOn"] = true, "free", false
	e.Props["subject"] = cancelledSubject(e.text("subject"))
	return t.storeEvent(box, have, e, []string{"isCancelled", "showAs", "isReminderOn", "subject"})
}

// receiveReply writes an attendee's answer into the organizer's event, and of a
// whole series into its exceptions.
func (t *tx) receiveReply(box *mailbox, inv *invitation) *entity {
	have := dateOrWhole(box, inv)
	if have == nil || have.Hidden["organizer"] != true {
		return nil
	}
	answered := func(old *entity) *entity {
		fresh := old.clone()
		list := slices.Clone(attendeesOf(old))
		i := slices.IndexFunc(list, sameAddress(inv.Who))
		if i < 0 { // it was forwarded to them
			list = append(list, map[string]any{"type": "required", "emailAddress": map[string]any{"name": inv.Who, "address": inv.Who}})
			i = len(list) - 1
		}
		a := cloneObject(list[i])
		a["status"] = map[string]any{"response": inv.Is, "time": clock(inv.At)}
		delete(a, "proposedNewTime")
		if inv.Slot != nil {
			a["proposedNewTime"] = inv.Slot
		}
		list[i] = a
		fresh.Props["attendees"] = list
		return fresh
	}
	if isMaster(have) {
		for _, part := range seriesOf(have).exceptions(box) {
			t.storeException(box, answered(part), []string{"attendees"})
		}
	}
	return t.storeEvent(box, have, answered(have), []string{"attendees"})
}
