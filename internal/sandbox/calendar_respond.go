package sandbox

// accept, decline, tentativelyAccept, cancel and forward. An attendee answers,
// the organizer cancels, anybody forwards. A declined event leaves the calendar.
// https://learn.microsoft.com/graph/api/event-accept
// https://learn.microsoft.com/graph/api/event-decline
// https://learn.microsoft.com/graph/api/event-tentativelyaccept
// https://learn.microsoft.com/graph/api/event-cancel
// https://learn.microsoft.com/graph/api/event-forward
//
// Left out: the notice to the organizer that somebody forwarded a meeting; who
// it was forwarded to is with the attendees at once.

import (
	"encoding/json"
	"net/http"
	"strings"
)

// answer is one way to answer an invitation.
type answer struct {
	action, response, message, subject, showAs, cancelled string
}

func answers() []answer {
	return []answer{
		{"accept", "accepted", "meetingAccepted", "Accepted: ", "", "ErrorCalendarIsCancelledForAccept"},
		{"decline", "declined", "meetingDeclined", "Declined: ", "free", "ErrorCalendarIsCancelledForDecline"},
		// Spelled so in the metadata.
		{"tentativelyAccept", "tentativelyAccepted", "meetingTenativelyAccepted", "Tentative: ", "tentative", "ErrorCalendarIsCancelledForTentative"},
	}
}

// readActionParameters reads parameters that may all be left out, with the body.
func (c *call) readActionParameters(action string, known ...string) (map[string]json.RawMessage, error) {
	if len(c.body) == 0 {
		return nil, nil
	}
	return c.readParameters(action, known...)
}

func readOptional[T any](params map[string]json.RawMessage, name, edm string, into *T) error {
	raw, ok := params[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	return readValue(raw, edm, into)
}

// proposal reads proposedNewTime.
func proposal(raw json.RawMessage) (map[string]any, error) {
	v, err := readTyped(raw, "timeSlot", false)
	slot, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil, err
	}
	start, ok1, err := readMoment(slot["start"])
	if err != nil {
		return nil, err
	}
	end, ok2, err := readMoment(slot["end"])
	if err != nil {
		return nil, err
	}
	if !ok1 || !ok2 || end.Before(start.Time) {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. The proposed time is not valid.")
	}
	return map[string]any{"start": utcMoment(start.Time), "end": utcMoment(end.Time)}, nil
}

func (a answer) handle(c *call) (*Answer, error) {
	known := []string{"comment", "sendResponse", "proposedNewTime"}
	if a.action == "accept" {
		known = known[:2]
	}
	params, err := c.readActionParameters(a.action, known...)
	if err != nil {
		return nil, err
	}
	comment, send := "", true
	if err := readOptional(params, "comment", "Edm.String", &comment); err != nil {
		return nil, err
	}
	if err := readOptional(params, "sendResponse", "Edm.Boolean", &send); err != nil {
		return nil, err
	}
	slot, err := proposal(params["proposedNewTime"])
	if err != nil {
		return nil, err
	}
	err = c.update(func(t *tx) error {
		old, err := c.eventOf()
		switch {
		case err != nil:
			return err
		case old.Hidden["organizer"] == true:
			return errOrganizer()
		case old.flag("isCancelled"):
			return newError(http.StatusBadRequest, a.cancelled, "The meeting has been cancelled.")
		case slot != nil && !send:
			return newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. A new time can't be proposed without sending a response.")
		case slot != nil && !old.flag("allowNewTimeProposals"):
			return newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. The meeting organizer doesn't allow new time proposals.")
		}
		if send {
			if err := c.mayMail([]any{old.Props["organizer"]}); err != nil {
				return err
			}
		}
		t.respond(c, a, old)
		if send {
			t.mailAnswer(c, a, old, comment, slot)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// respond writes the answer into the attendee's own calendar.
func (t *tx) respond(c *call, a answer, old *entity) {
	if a.action == "decline" {
		t.takeEvent(c.box, old, false)
		return
	}
	answered := func(e *entity) *entity {
		fresh := e.clone()
		status := map[string]any{"response": a.response, "time": clock(t.now)}
		fresh.Props["responseStatus"] = status
		if fresh.Props["showAs"] = a.showAs; a.showAs == "" {
			fresh.Props["showAs"] = e.Hidden["showAs"]
		}
		list := []any{}
		for _, v := range attendeesOf(e) {
			if sameAddress(c.box.UPN)(v) {
				one := cloneObject(v)
				one["status"] = status
				v = one
			}
			list = append(list, v)
		}
		fresh.Props["attendees"] = list
		return fresh
	}
	touched := []string{"responseStatus", "showAs", "attendees"}
	if isMaster(old) {
		for _, part := range seriesOf(old).exceptions(c.box) {
			t.storeException(c.box, answered(part), touched)
		}
	}
	t.storeEvent(c.box, old, answered(old), touched)
}

// mailAnswer tells the organizer.
func (t *tx) mailAnswer(c *call, a answer, e *entity, comment string, slot map[string]any) {
	name, mail := addressOf(e.Props["organizer"])
	show := meetingMembers(a.message, e)
	show["responseType"], show["proposedNewTime"] = a.response, slot
	subject := a.subject + e.text("subject")
	if slot != nil {
		subject = "New Time Proposed: " + e.text("subject")
	} else {
		show["proposedNewTime"] = nil
	}
	t.mailMeeting(c, e, &message{
		Subject: subject, Body: itemBody{ContentType: "text", Content: comment}, To: []recipient{{address{name, mail}}},
		Kind: "#microsoft.graph.eventMessageResponse", Meeting: show,
		Invite: &invitation{Kind: meetReply, UID: e.hiddenText("uid"), Date: meetingDate(e), Who: c.box.UPN, Is: a.response, At: t.now, Slot: slot},
	})
}

// cancelEvent sends a cancellation and takes the event away.
func (c *call) cancelEvent() (*Answer, error) {
	params, err := c.readActionParameters("cancel", "comment")
	if err != nil {
		return nil, err
	}
	comment := ""
	if err := readOptional(params, "comment", "Edm.String", &comment); err != nil {
		return nil, err
	}
	err = c.update(func(t *tx) error {
		e, err := c.eventOf()
		if err != nil {
			return err
		}
		if e.Hidden["organizer"] != true {
			return newError(http.StatusBadRequest, "ErrorInvalidRequest", "Your request can't be completed. You need to be an organizer to cancel a meeting.")
		}
		if err := c.mayMail(attendeesOf(e)); err != nil {
			return err
		}
		t.tellOfCancel(c, e, attendeesOf(e), comment)
		t.takeEvent(c.box, e, false)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// forwardEvent sends the invitation on to others.
func (c *call) forwardEvent() (*Answer, error) {
	params, err := c.readParameters("forward", "toRecipients", "comment")
	if err != nil {
		return nil, err
	}
	comment := ""
	if err := readOptional(params, "comment", "Edm.String", &comment); err != nil {
		return nil, err
	}
	var to []recipient
	if err := readOptional(params, "toRecipients", "Collection(microsoft.graph.recipient)", &to); err != nil {
		return nil, err
	}
	if err := c.sendable(&message{To: to}); err != nil {
		return nil, err
	}
	err = c.update(func(t *tx) error {
		e, err := c.eventOf()
		if err != nil {
			return err
		}
		body := bodyOf(e)
		if comment != "" {
			body = itemBody{ContentType: "text", Content: strings.TrimSpace(comment + "\r\n\r\n" + plainText(body.Content))}
		}
		show := meetingMembers("meetingRequest", e)
		show["meetingRequestType"] = "newMeetingRequest"
		inv := &invitation{Kind: meetRequest, UID: e.hiddenText("uid"), Date: meetingDate(e), Meet: stripped(e)}
		t.mailMeeting(c, e, &message{
			Subject: "FW: " + e.text("subject"), Body: body, To: to,
			Kind: "#microsoft.graph.eventMessageRequest", Meeting: show, Invite: inv,
		})
		t.addForwarded(e, to)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// addForwarded puts those to whom a meeting went on among the attendees, in the
// organizer's calendar.
func (t *tx) addForwarded(e *entity, to []recipient) {
	_, mail := addressOf(e.Props["organizer"])
	box := t.byName[strings.ToLower(mail)]
	if box == nil {
		return
	}
	old := dateOrWhole(box, &invitation{UID: e.hiddenText("uid"), Date: meetingDate(e)})
	if old == nil {
		return
	}
	fresh := old.clone()
	list := append([]any(nil), attendeesOf(old)...)
	for _, r := range to {
		list = append(list, map[string]any{
			"type": "optional", "emailAddress": map[string]any{"name": r.EmailAddress.Name, "address": r.EmailAddress.Address},
		})
	}
	fresh.Props["attendees"] = list
	if settlePeople(t.state, old, fresh) == nil {
		t.storeEvent(box, old, fresh, []string{"attendees"})
	}
}
