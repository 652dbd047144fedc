package sandbox

// Meetings: the mails between an organizer and the attendees, and what they do to
// the calendars that they reach. An invitation puts a tentative event into the
// attendee's calendar, with the identity that the organizer's has; an update
// changes it and, where the time is another, asks again; a cancellation marks it
// as cancelled and leaves it; an answer is written into the organizer's event.
// The mails are sent as any other mail is, so they are in Sent Items and in the
// ledger of effects.
// https://learn.microsoft.com/graph/api/resources/eventmessage
//
// Left out: rooms and other resources that answer by themselves, delegates,
// invitations from the outside world, the setting that new invitations are not
// put into the calendar.

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
)

// invitation is what a mail about a meeting carries besides what Graph shows.
type invitation struct {
	Kind string          `json:"kind"` // request, cancel or reply
	UID  string          `json:"uid"`
	Date recurrence.Date `json:"date"` // of one date of a series; 0: the whole meeting
	Meet *entity         `json:"meet,omitempty"`
	Part []*entity       `json:"part,omitempty"` // the exceptions of a series
	Who  string          `json:"who,omitempty"`  // the attendee of a reply
	Is   string          `json:"is,omitempty"`   // the response of a reply
	At   int64           `json:"at,omitempty"`
	Slot map[string]any  `json:"slot,omitempty"` // the time that a reply proposes
}

// Kinds of invitations.
const (
	meetRequest = "request"
	meetCancel  = "cancel"
	meetReply   = "reply"
)

// meetingDate is the date of a series that an event is; 0 for a whole meeting.
func meetingDate(e *entity) recurrence.Date {
	if e.Hidden["date"] == nil {
		return 0
	}
	return eventDate(e)
}

// utcMoment is a dateTimeTimeZone in UTC.
func utcMoment(t time.Time) map[string]any {
	return map[string]any{"dateTime": t.UTC().Format(wireTime), "timeZone": "UTC"}
}

// meetingMembers are the members that every mail about a meeting has.
func meetingMembers(kind string, e *entity) map[string]any {
	return map[string]any{
		"meetingMessageType": kind, "startDateTime": utcMoment(eventStart(e)), "endDateTime": utcMoment(eventEnd(e)),
		"location": e.Props["location"], "type": eventKind(e), "recurrence": e.Props["recurrence"],
		"isOutOfDate": false, "isAllDay": e.flag("isAllDay"), "isDelegated": false,
	}
}

// eventOfMail finds the event that a meeting mail of the path is about. It needs
// the lock.
func (c *call) eventOfMail() (*entity, error) {
	m, err := c.messageOf()
	if err != nil {
		return nil, err
	}
	e := c.box.entities[m.Event]
	if m.Event == 0 || e == nil || e.Type != "event" || !inCalendar(c.box, e) {
		return nil, errItemNotFound()
	}
	return e, nil
}

func recipientsOf(attendees []any) []recipient {
	var list []recipient
	for _, v := range attendees {
		name, mail := addressOf(v)
		list = append(list, recipient{address{name, mail}})
	}
	return list
}

// mayMail counts a mail about a meeting against what a mailbox may send in a
// minute, and refuses it beyond that.
func (c *call) mayMail(to []any) error {
	if !slices.ContainsFunc(to, func(v any) bool { return !sameAddress(c.box.UPN)(v) }) {
		return nil
	}
	return c.limits.message(c.box.ID, time.Now())
}

// mailMeeting sends a mail about a meeting and keeps a copy in Sent Items.
func (t *tx) mailMeeting(c *call, e *entity, m *message) {
	m.To = slices.DeleteFunc(m.To, func(r recipient) bool { return strings.EqualFold(r.EmailAddress.Address, c.box.UPN) })
	if len(m.To) == 0 {
		return
	}
	m.IsRead, m.Importance, m.Inference, m.Flag = true, "normal", "focused", followUp{FlagStatus: "notFlagged"}
	m.Preview = preview(m.Body)
	c.signAs(m)
	item := ""
	if sent := c.box.wellKnown["sentitems"]; sent != nil {
		copied := *m
		copied.Invite, copied.Event = nil, e.Key
		t.addMessage(c.box, sent.Key, &copied)
		item = makeID(idImmutable, c.box.ID, copied.Key, 0)
	}
	t.send(c, m, item)
}

// stripped is an event as it is sent: without what is the sender's own.
func stripped(e *entity) *entity {
	s := e.clone()
	s.Single, s.Multi, s.Touched = nil, nil, nil
	return s
}

// invite sends a request to some attendees. again says that it is an update.
func (t *tx) invite(c *call, e *entity, to []any, again bool) {
	if len(to) == 0 {
		return
	}
	inv := &invitation{Kind: meetRequest, UID: e.hiddenText("uid"), Date: meetingDate(e), Meet: stripped(e)}
	if isMaster(e) {
		for _, part := range seriesOf(e).exceptions(c.box) {
			inv.Part = append(inv.Part, stripped(part))
		}
	}
	show := meetingMembers("meetingRequest", e)
	show["meetingRequestType"] = "newMeetingRequest"
	if again {
		show["meetingRequestType"] = "fullUpdate"
	}
	show["responseRequested"], show["allowNewTimeProposals"] = e.flag("responseRequested"), e.flag("allowNewTimeProposals")
	show["previousLocation"], show["previousStartDateTime"], show["previousEndDateTime"] = nil, nil, nil
	t.mailMeeting(c, e, &message{
		Subject: e.text("subject"), Body: bodyOf(e), To: recipientsOf(to),
		Kind: "#microsoft.graph.eventMessageRequest", Meeting: show, Invite: inv,
	})
}

// tellOfUpdate sends what a change of the organizer's event asks for: an update
// to everybody when it matters to them, a first invitation to who came, a
// cancellation to who left.
func (t *tx) tellOfUpdate(c *call, old, fresh *entity) {
	before, now := attendeesOf(old), attendeesOf(fresh)
	var came, stayed, left []any
	for _, v := range now {
		if _, mail := addressOf(v); slices.ContainsFunc(before, sameAddress(mail)) {
			stayed = append(stayed, v)
		} else {
			came = append(came, v)
		}
	}
	for _, v := range before {
		if _, mail := addressOf(v); !slices.ContainsFunc(now, sameAddress(mail)) {
			left = append(left, v)
		}
	}
	t.tellOfCancel(c, fresh, left, "")
	if changedForOthers(old, fresh) {
		t.invite(c, fresh, stayed, true)
	}
	t.invite(c, fresh, came, false)
}

// resetAnswers forgets what attendees answered to another time.
func resetAnswers(old, fresh *entity) {
	if samePattern(old, fresh) {
		return
	}
	list := []any{}
	for _, v := range attendeesOf(fresh) {
		a := cloneObject(v)
		a["status"] = map[string]any{"response": "none", "time": noTime}
		delete(a, "proposedNewTime")
		list = append(list, a)
	}
	fresh.Props["attendees"] = list
}

func cloneObject(v any) map[string]any {
	obj, _ := v.(map[string]any)
	out := make(map[string]any, len(obj)+1)
	maps.Copy(out, obj)
	return out
}

// tellOfCancel sends a cancellation.
func (t *tx) tellOfCancel(c *call, e *entity, to []any, comment string) {
	if len(to) == 0 {
		return
	}
	body := bodyOf(e)
	if comment != "" {
		body = itemBody{ContentType: "text", Content: comment}
	}
	t.mailMeeting(c, e, &message{
		Subject: cancelledSubject(e.text("subject")), Body: body, To: recipientsOf(to),
		Kind: "#microsoft.graph.eventMessage", Meeting: meetingMembers("meetingCancelled", e),
		Invite: &invitation{Kind: meetCancel, UID: e.hiddenText("uid"), Date: meetingDate(e)},
	})
}

func cancelledSubject(subject string) string {
	return "Canceled: " + strings.TrimPrefix(subject, "Canceled: ")
}

func errOrganizer() error {
	return newError(http.StatusBadRequest, "ErrorInvalidRequest",
		"Your request can't be completed. You can't respond to this meeting because you're the meeting organizer.")
}
