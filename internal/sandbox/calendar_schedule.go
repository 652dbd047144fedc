package sandbox

// getSchedule: the free/busy times of people and groups from their calendars.
// Events of the default calendar count, those shown as free do not (they are
// listed all the same), cancelled ones neither. Private events are named as such
// and nothing more.
// https://learn.microsoft.com/graph/api/calendar-getschedule
//
// Left out: how much each calendar permission lets somebody see.

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
)

// busyTime is a time at which somebody is something, free included.
type busyTime struct {
	from, to time.Time
	showAs   string
}

// busyTimes are those of a mailbox in a window, by their start.
func busyTimes(box *mailbox, w window) []busyTime {
	cal := box.marked("calendar", "default")
	if cal == nil {
		return nil
	}
	var list []busyTime
	for _, e := range expandCalendar(box, cal.Key, w) {
		if !e.flag("isCancelled") {
			list = append(list, busyTime{eventStart(e), eventEnd(e), e.text("showAs")})
		}
	}
	return list
}

// busyDigits are how availabilityView writes what somebody is.
const busyDigits = "free tentative busy oof workingElsewhere"

func busyDigit(showAs string) byte {
	if i := slices.Index(strings.Fields(busyDigits), showAs); i >= 0 {
		return byte('0' + i)
	}
	return '0'
}

// busyRank orders them by how much they keep somebody from coming.
func busyRank(digit byte) int { return strings.IndexByte("04123", digit) }

// availability is one digit for each interval of the window.
func availability(box *mailbox, w window, step time.Duration) string {
	busy := busyTimes(box, w)
	var b []byte
	for at := w.from; at.Before(w.to); at = at.Add(step) {
		digit := byte('0')
		for _, t := range busy {
			if d := busyDigit(t.showAs); recurrence.Overlap(t.from, t.to, at, at.Add(step)) && busyRank(d) > busyRank(digit) {
				digit = d
			}
		}
		b = append(b, digit)
	}
	return string(b)
}

// maxSchedule is the longest window of getSchedule.
const maxSchedule = 62 * 24 * time.Hour

func (c *call) getSchedule() (*Answer, error) {
	params, err := c.readParameters("getSchedule", "schedules", "startTime", "endTime", "availabilityViewInterval")
	if err != nil {
		return nil, err
	}
	var names []string
	if err := readOptional(params, "schedules", "Collection(Edm.String)", &names); err != nil {
		return nil, err
	}
	minutes := 30
	if err := readOptional(params, "availabilityViewInterval", "Edm.Int32", &minutes); err != nil {
		return nil, err
	}
	from, ok1, err := readMomentParameter(params["startTime"])
	if err != nil {
		return nil, err
	}
	to, ok2, err := readMomentParameter(params["endTime"])
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0 || !ok1 || !ok2:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidParameter", "The parameters 'schedules', 'startTime' and 'endTime' are required.")
	case minutes < 5 || minutes > 1440:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidMergedFreeBusyInterval", "The specified merged free/busy interval is invalid. It must be between 5 and 1440 minutes.")
	case !from.Before(to.Time):
		return nil, newError(http.StatusBadRequest, "ErrorInvalidTimeInterval", "The start time must be before the end time.")
	case to.Sub(from.Time) > maxSchedule:
		return nil, newError(http.StatusBadRequest, "ErrorTimeIntervalTooBig", "The requested time duration specified for FreeBusyViewOptions.TimeWindow is not within the allowed limit of 62 days.")
	}
	w := window{from.UTC(), to.UTC()}
	list := []any{}
	c.read(func(st *state) {
		for _, name := range names {
			list = append(list, c.schedule(st, name, w, time.Duration(minutes)*time.Minute))
		}
	})
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#Collection(microsoft.graph.scheduleInformation)")
	return c.jsonAnswer(http.StatusOK, append(appendList(append(b, `,"value":`...), list), '}')), nil
}

// schedule is the answer for one mailbox. It needs the lock.
func (c *call) schedule(st *state, name string, w window, step time.Duration) map[string]any {
	box := st.byName[strings.ToLower(name)]
	if box == nil || box.kind == kindDirectory {
		return map[string]any{"scheduleId": name, "availabilityView": "", "error": map[string]any{
			"message":      "Unable to resolve e-mail address " + name + " to an Active Directory object.",
			"responseCode": "ErrorMailRecipientNotFound",
		}}
	}
	items := []any{}
	for _, e := range expandCalendar(box, box.marked("calendar", "default").Key, w) {
		private := e.text("sensitivity") == "private"
		item := map[string]any{
			"isPrivate": private, "status": e.text("showAs"), "isMeeting": len(attendeesOf(e)) > 0, "isRecurring": isPart(e),
			"isException": isPart(e) && !isVirtual(e), "isReminderSet": e.flag("isReminderOn"),
			"start": c.shownTime(eventStart(e), e.flag("isAllDay")), "end": c.shownTime(eventEnd(e), e.flag("isAllDay")),
		}
		if !private {
			place, _ := e.Props["location"].(map[string]any)
			item["subject"], item["location"] = e.text("subject"), place["displayName"]
		}
		items = append(items, item)
	}
	return map[string]any{
		"scheduleId": name, "availabilityView": availability(box, w, step), "scheduleItems": items,
		"workingHours": box.setting("workingHours"),
	}
}
