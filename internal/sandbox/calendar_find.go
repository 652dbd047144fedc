package sandbox

// findMeetingTimes: times at which the organizer and enough of the attendees are
// free. Candidates begin on the half hours of the asked time (else of the next
// seven days), in the organizer's working hours where activityDomain says work,
// and are rated by how sure the attendees can come: free 100 %, unknown and
// tentative 49 %, busy 0 %.
// https://learn.microsoft.com/graph/api/user-findmeetingtimes
//
// Left out: places that are suggested or have to be free, the working hours of
// the attendees.

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
	"outlook-connector/internal/sandbox/zones"
)

// meetingQuest is what findMeetingTimes is asked.
type meetingQuest struct {
	attendees  []any
	slots      []window
	working    bool
	length     time.Duration
	most       int
	percentage float64
	optional   bool // the organizer need not come
	reasons    bool
}

type suggestion struct {
	window
	confidence float64
	organizer  string
	attendees  []any
}

func (c *call) findMeetingTimes() (*Answer, error) {
	q, err := c.readQuest()
	if err != nil {
		return nil, err
	}
	var found []suggestion
	organizerFree := false
	c.read(func(st *state) {
		works := workTime(c.box)
		for _, w := range q.slots {
			for at := halfHour(w.from); !at.Add(q.length).After(w.to); at = at.Add(30 * time.Minute) {
				if q.working && !works(window{at, at.Add(q.length)}) {
					continue
				}
				s, free := q.rate(st, c.box, window{at, at.Add(q.length)})
				organizerFree = organizerFree || free
				if free && s.confidence >= q.percentage {
					found = append(found, s)
				}
			}
		}
	})
	slices.SortStableFunc(found, func(a, b suggestion) int { return cmp.Compare(b.confidence, a.confidence) })
	list := []any{}
	for i, s := range found[:min(len(found), q.most)] {
		one := map[string]any{
			"confidence": s.confidence, "order": i + 1, "organizerAvailability": s.organizer, "attendeeAvailability": s.attendees,
			"locations": []any{}, "meetingTimeSlot": map[string]any{"start": c.shownTime(s.from, false), "end": c.shownTime(s.to, false)},
		}
		if q.reasons {
			one["suggestionReason"] = "Suggested because it is one of the nearest times when all attendees are available."
		}
		list = append(list, one)
	}
	empty := ""
	switch {
	case len(list) > 0:
	case !organizerFree:
		empty = "organizerUnavailable"
	default:
		empty = "attendeesUnavailable"
	}
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#microsoft.graph.meetingTimeSuggestionsResult")
	b = appendString(append(b, `,"emptySuggestionsReason":`...), empty)
	return c.jsonAnswer(http.StatusOK, append(appendList(append(b, `,"meetingTimeSuggestions":`...), list), '}')), nil
}

func halfHour(t time.Time) time.Time {
	if at := t.Truncate(30 * time.Minute); !at.Before(t) {
		return at
	}
	return t.Truncate(30 * time.Minute).Add(30 * time.Minute)
}

func (c *call) readQuest() (*meetingQuest, error) {
	params, err := c.readActionParameters("findMeetingTimes", "attendees", "locationConstraint", "timeConstraint", "meetingDuration",
		"maxCandidates", "isOrganizerOptional", "returnSuggestionReasons", "minimumAttendeePercentage")
	if err != nil {
		return nil, err
	}
	q := &meetingQuest{length: 30 * time.Minute, most: 20, percentage: 50}
	length := "PT30M"
	for _, e := range []error{
		readOptional(params, "meetingDuration", "Edm.Duration", &length),
		readOptional(params, "maxCandidates", "Edm.Int32", &q.most),
		readOptional(params, "minimumAttendeePercentage", "Edm.Double", &q.percentage),
		readOptional(params, "isOrganizerOptional", "Edm.Boolean", &q.optional),
		readOptional(params, "returnSuggestionReasons", "Edm.Boolean", &q.reasons),
	} {
		if e != nil {
			return nil, e
		}
	}
	if q.length, err = readMeetingLength(length); err != nil {
		return nil, err
	}
	attendees, err := readTyped(params["attendees"], "attendeeBase", true)
	if err != nil {
		return nil, err
	}
	q.attendees, _ = attendees.([]any)
	if _, err := readTyped(params["locationConstraint"], "locationConstraint", false); err != nil {
		return nil, err
	}
	q.most = max(q.most, 1)
	return q, q.readSlots(params["timeConstraint"])
}

var durationPattern = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?$`)

// readMeetingLength reads an ISO 8601 duration of days and less.
func readMeetingLength(text string) (time.Duration, error) {
	m := durationPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, errBody("Cannot convert the literal '%s' to the expected type 'Edm.Duration'.", shorten(text, 40))
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.Atoi(m[i+1]) // digits or nothing
		d += time.Duration(n) * unit
	}
	if d <= 0 || d > 7*24*time.Hour {
		return 0, newError(http.StatusBadRequest, "ErrorInvalidParameter", "The meetingDuration '%s' is not valid.", text)
	}
	return d, nil
}

func (q *meetingQuest) readSlots(raw json.RawMessage) error {
	v, err := readTyped(raw, "timeConstraint", false)
	if err != nil {
		return err
	}
	constraint, _ := v.(map[string]any)
	domain, _ := constraint["activityDomain"].(string)
	q.working = domain == "" || domain == "work" || domain == "unknown"
	slots, _ := constraint["timeSlots"].([]any)
	for _, s := range slots {
		obj, _ := s.(map[string]any)
		from, ok1, err := readMoment(obj["start"])
		if err != nil {
			return err
		}
		to, ok2, err := readMoment(obj["end"])
		if err != nil {
			return err
		}
		if !ok1 || !ok2 || !from.Before(to.Time) || to.Sub(from.Time) > maxSchedule {
			return newError(http.StatusBadRequest, "ErrorInvalidTimeInterval", "A time slot of the timeConstraint is not valid.")
		}
		q.slots = append(q.slots, window{from.UTC(), to.UTC()})
	}
	if len(q.slots) == 0 {
		now := time.Now().UTC()
		q.slots = []window{{now, now.Add(7 * 24 * time.Hour)}}
	}
	return nil
}

// workTime says of a time whether it is in the working hours of a mailbox: on one
// of its days, and not before or after its times, by the clock of its zone.
func workTime(box *mailbox) func(w window) bool {
	hours, _ := box.setting("workingHours").(map[string]any)
	name, _ := member(hours, "timezone/name").(string)
	first, _ := hours["startTime"].(string)
	last, _ := hours["endTime"].(string)
	days, _ := hours["daysOfWeek"].([]any)
	z, known := zones.Lookup(name)
	if !known || len(first) < 5 || len(last) < 5 {
		return func(window) bool { return true }
	}
	return func(w window) bool {
		from, to := w.from.In(z.Location), w.to.In(z.Location)
		return slices.Contains(days, any(strings.ToLower(from.Weekday().String()))) && recurrence.DateOf(from) == recurrence.DateOf(to) &&
			from.Format("15:04") >= first[:5] && to.Format("15:04") <= last[:5]
	}
}

// rate says how good a time is; false when it cannot be at all.
func (q *meetingQuest) rate(st *state, organizer *mailbox, w window) (suggestion, bool) {
	s := suggestion{window: w, organizer: busyAs(organizer, w), attendees: []any{}}
	if s.organizer != "free" && s.organizer != "workingElsewhere" && !q.optional {
		return s, false
	}
	total := 100.0 // the organizer's own
	if q.optional {
		total = 0
	}
	counted := total / 100
	for _, v := range q.attendees {
		_, mail := addressOf(v)
		is := "unknown"
		if box := st.byName[strings.ToLower(mail)]; box != nil && box.kind != kindDirectory {
			is = busyAs(box, w)
		}
		s.attendees = append(s.attendees, map[string]any{"availability": is, "attendee": v})
		obj, _ := v.(map[string]any)
		if obj["type"] == "optional" {
			continue
		}
		counted++
		switch is {
		case "free", "workingElsewhere":
			total += 100
		case "tentative", "unknown":
			total += 49
		}
	}
	s.confidence = 100
	if counted > 0 {
		s.confidence = total / counted
	}
	return s, true
}

// busyAs is what a mailbox is in a time, in one word.
func busyAs(box *mailbox, w window) string {
	digit := availability(box, w, w.to.Sub(w.from))
	return strings.Fields(busyDigits)[digit[0]-'0']
}
