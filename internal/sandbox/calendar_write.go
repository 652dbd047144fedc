package sandbox

// What may be written into an event. Modelled: both ends of the time, the end
// not before the start, whole days at midnight and a day long at least, the
// demands on a recurrence, attendees whose answers only they can give, one place
// and many, an online meeting that stays one.
// https://learn.microsoft.com/graph/api/user-post-events
// https://learn.microsoft.com/graph/api/event-update
//
// An event has at most as many attendees as a mail has recipients (MaxRecipients).

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
	"outlook-connector/internal/sandbox/zones"
)

// settle completes an event whose properties have been written from a body. old
// is nil for a new one. It changes nothing but fresh.
func (c *call) settle(st *state, old, fresh *entity, body map[string]any) error {
	if err := settleTimes(old, fresh); err != nil {
		return err
	}
	if err := settleRecurrence(old, fresh, body); err != nil {
		return err
	}
	if most := c.opts.mail.maxRecipients; most > 0 && len(attendeesOf(fresh)) > most {
		return newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. An event may have %d attendees at most.", most)
	}
	if err := settlePeople(st, old, fresh); err != nil {
		return err
	}
	settlePlaces(fresh, body)
	if text, ok := fresh.Props["body"].(map[string]any); ok && text["contentType"] == nil {
		fresh.Props["body"] = map[string]any{"contentType": "text", "content": text["content"]}
	} else if !ok {
		fresh.Props["body"] = map[string]any{"contentType": "html", "content": ""}
	}
	if old != nil && old.flag("isOnlineMeeting") {
		fresh.Props["isOnlineMeeting"] = true // it cannot be taken back
	}
	if fresh.flag("isOnlineMeeting") && fresh.Props["onlineMeeting"] == nil {
		fresh.Props["onlineMeetingProvider"] = "teamsForBusiness"
		fresh.Props["onlineMeeting"] = map[string]any{
			"joinUrl": "https://teams.microsoft.com/l/meetup-join/19%3ameeting_" + strings.ReplaceAll(newGUID(), "-", "") + "%40thread.v2/0",
		}
	}
	for _, name := range []string{"subject", "importance", "sensitivity", "showAs"} {
		if fresh.Props[name] == nil {
			fresh.Props[name] = typeNamed("event").field(name).initial
		}
	}
	return nil
}

// settleTimes moves start and end from the properties to where they are kept.
func settleTimes(old, fresh *entity) error {
	allDay := fresh.flag("isAllDay")
	for _, name := range []string{"start", "end"} {
		m, given, err := readMoment(fresh.Props[name])
		if err != nil {
			return err
		}
		delete(fresh.Props, name)
		switch {
		case given && allDay:
			if m.Hour() != 0 || m.Minute() != 0 || m.Second() != 0 {
				return errProperty("The Event.%s property for an all-day event needs to be set to midnight.", strings.ToUpper(name[:1])+name[1:])
			}
			day := recurrence.DateOf(m.Time).At(0, time.UTC)
			fresh.Hidden[name], fresh.Hidden[name+"Zone"] = float64(day.Unix()), m.zone
		case given:
			fresh.Hidden[name], fresh.Hidden[name+"Zone"] = float64(m.Unix()), m.zone
		case old == nil:
			return errProperty("The %s of the event is missing.", name)
		case allDay != old.flag("isAllDay"):
			return errProperty("The %s of the event must be given with isAllDay.", name)
		}
	}
	length := eventEnd(fresh).Sub(eventStart(fresh))
	switch {
	case length < 0:
		return errProperty("The end of the event is before its start.")
	case allDay && zoneOf(fresh.hiddenText("startZone")) != zoneOf(fresh.hiddenText("endZone")):
		return errProperty("The start and end of an all-day event must be in the same time zone.")
	case allDay && length < 24*time.Hour:
		return errProperty("The duration of an event marked as All day must be at least 24 hours.")
	}
	return nil
}

// zoneOf is one text for all names of a zone.
func zoneOf(name string) string {
	z, ok := zones.Lookup(name)
	if !ok {
		return name
	}
	return z.Name()
}

// settleRecurrence checks a pattern, and moves its beginning along with the
// event's.
func settleRecurrence(old, fresh *entity, body map[string]any) error {
	given, named := body["recurrence"]
	if !isMaster(fresh) {
		return nil // none, or taken away: the master becomes a single event
	}
	if isPart(fresh) {
		return errProperty("A recurrence can be set on the series master only.")
	}
	rule, err := readRule(fresh.Props["recurrence"])
	if err != nil {
		return err
	}
	wire := rule.Wire()
	start := recurrence.DateOf(eventStart(fresh).In(seriesZone(fresh, rule)))
	switch {
	case named && given != nil:
		if err := rule.CheckStart(start); err != nil {
			return errProperty("Recurrence.%s", strings.TrimPrefix(err.Error(), "recurrence: "))
		}
	case old != nil:
		wire.Range.StartDate = start
		if _, err := recurrence.New(wire); err != nil {
			return errProperty("Recurrence.%s", strings.TrimPrefix(err.Error(), "recurrence: "))
		}
	}
	if wire.Range.RecurrenceTimeZone == "" {
		wire.Range.RecurrenceTimeZone = fresh.hiddenText("startZone")
	}
	var kept map[string]any
	if err := json.Unmarshal(appendJSON(nil, wire), &kept); err != nil {
		return err
	}
	fresh.Props["recurrence"] = kept
	return nil
}

func addressOf(v any) (name, mail string) {
	obj, _ := v.(map[string]any)
	who, _ := obj["emailAddress"].(map[string]any)
	name, _ = who["name"].(string)
	mail, _ = who["address"].(string)
	return name, mail
}

func sameAddress(mail string) func(any) bool {
	return func(v any) bool {
		_, other := addressOf(v)
		return strings.EqualFold(mail, other)
	}
}

func attendeesOf(e *entity) []any {
	list, _ := e.Props["attendees"].([]any)
	return list
}

// settlePeople gives attendees their names and the answers they have given: a
// client cannot answer for them.
func settlePeople(st *state, old, fresh *entity) error {
	list := make([]any, 0, len(attendeesOf(fresh)))
	for _, v := range attendeesOf(fresh) {
		obj, _ := v.(map[string]any)
		name, mail := addressOf(v)
		if mail == "" {
			return newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. An attendee needs an email address.")
		}
		if slices.ContainsFunc(list, sameAddress(mail)) {
			continue
		}
		if box := st.mailboxNamed(mail); name == "" && box != nil {
			name = box.Name()
		} else if name == "" {
			name = mail
		}
		a := maps.Clone(obj)
		a["emailAddress"] = map[string]any{"name": name, "address": mail}
		a["status"] = map[string]any{"response": "none", "time": noTime}
		delete(a, "proposedNewTime")
		if a["type"] == nil {
			a["type"] = "required"
		}
		if old != nil {
			before := attendeesOf(old)
			if i := slices.IndexFunc(before, sameAddress(mail)); i >= 0 {
				was := before[i].(map[string]any)
				a["status"] = was["status"]
				if was["proposedNewTime"] != nil {
					a["proposedNewTime"] = was["proposedNewTime"]
				}
			}
		}
		list = append(list, a)
	}
	fresh.Props["attendees"] = list
	return nil
}

// settlePlaces keeps location and locations in step: whichever was given.
func settlePlaces(e *entity, body map[string]any) {
	complete := func(v any) map[string]any {
		loc := emptyLocation()
		obj, _ := v.(map[string]any)
		maps.Copy(loc, obj)
		if id, _ := loc["uniqueId"].(string); id == "" {
			loc["uniqueId"], loc["uniqueIdType"] = loc["displayName"], "private"
		}
		return loc
	}
	many, _ := body["locations"].([]any)
	switch {
	case len(many) > 0:
		list := []any{}
		kept, _ := e.Props["locations"].([]any)
		for _, v := range kept {
			list = append(list, complete(v))
		}
		e.Props["locations"], e.Props["location"] = list, list[0]
	case body["location"] != nil:
		loc := complete(e.Props["location"])
		e.Props["location"], e.Props["locations"] = loc, []any{loc}
	default:
		if _, cleared := body["location"]; cleared {
			e.Props["location"], e.Props["locations"] = nil, []any{}
		}
	}
}

// createEvent stores an event and invites its attendees.
func (c *call) createEvent() (*Answer, error) {
	res := eventResource()
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		in, err := res.in(c)
		if err != nil {
			return err
		}
		e := newEntity(res.typ())
		if _, err := e.write(res.typ(), body, true); err != nil {
			return err
		}
		if err := c.settle(t.state, nil, e, body); err != nil {
			return err
		}
		if err := c.transactionIsNew(e.text("transactionId")); err != nil {
			return err
		}
		extensions, err := readExtensions(body["extensions"])
		if err != nil {
			return err
		}
		expand := c.query.expand
		if len(extensions) > 0 { // the answer shows what came with the event
			expand = withMade(res.typ(), map[string]any{"extensions": nil}, expand)
		}
		v, err := c.entityViewOf(res, nil, expand)
		if err != nil {
			return err
		}
		files, err := readAttachments(body["attachments"], t.now)
		if err != nil {
			return err
		}
		if err := c.mayMail(attendeesOf(e)); err != nil {
			return err
		}
		uid := newUID()
		e.Hidden["uid"], e.Hidden["organizer"], e.Mark = uid, true, eventMark(uid, 0)
		e.Props["organizer"] = map[string]any{"emailAddress": map[string]any{"name": c.box.Name(), "address": c.box.UPN}}
		e.Props["responseStatus"] = map[string]any{"response": "organizer", "time": noTime}
		t.addEntity(c.box, in, e)
		t.putExtensions(c.box, e.Key, extensions)
		for _, file := range files {
			t.addEventAttachment(c, e, file)
		}
		t.noteEntity(c, e)
		t.invite(c, e, attendeesOf(e), false)
		a = c.oneEntity(http.StatusCreated, v, e)
		return nil
	})
	return a, err
}

// transactionIsNew refuses a second event with one transactionId:
// https://learn.microsoft.com/graph/api/resources/event#properties
func (c *call) transactionIsNew(id string) error {
	if id == "" {
		return nil
	}
	for at, place := range c.box.spots {
		if at.kind != "event" {
			continue
		}
		for _, e := range place.items {
			if e.text("transactionId") == id && !isPart(e) && inCalendar(c.box, e) {
				return newError(http.StatusConflict, "ErrorDuplicateTransactionId",
					"Your request can't be completed. The TransactionId specified in the request has already been used to create a different event.")
			}
		}
	}
	return nil
}
