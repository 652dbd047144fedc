package catalog

import (
	"slices"
	"strings"
)

// readingActions are the operations that are no GET and all the same change
// nothing, with the reason why they are none.
var readingActions = map[string]string{
	"calendar.calendar.getSchedule":      "the schedules and the time asked for are too long for a query string",
	"calendar.user.findMeetingTimes":     "attendees, constraints and durations are an object",
	"mail.mailTips.get":                  "it takes a list of addresses",
	"settings.user.translateExchangeIds": "it takes up to 1,000 ids",
}

// withoutIDs are the collections whose items have no member "id", so that
// nobody can say of two answers which of their items are the same.
var withoutIDs = []string{
	"calendar.calendar.getSchedule",
	"calendar.user.reminderView",
	"mail.mailTips.get",
	"settings.outlookUser.supportedLanguages",
	"settings.outlookUser.supportedTimeZones",
	"settings.user.translateExchangeIds",
}

// reading is the method of most operations that read.
const reading = "GET"

// The ways to read an operation, see [Operation.Modes].
const (
	ModeDelta  = "delta"  // a delta function: only what changed
	ModeList   = "list"   // all items of a collection, each by its id
	ModeSingle = "single" // one object, or an answer as a whole
)

// Reads reports whether the operation changes nothing: every GET, and the few
// POSTs that only carry what is asked for in their body.
func (op *Operation) Reads() bool {
	_, action := readingActions[op.ID]
	return op.Method == reading || action
}

// Modes returns how the operation can be read over and over, the usual way
// first: [ModeDelta] for a delta function, which can be read as a list as well,
// [ModeList] for a collection, else [ModeSingle]. A collection whose items have
// no id can only be compared as a whole. It is nil for an operation that writes.
func (op *Operation) Modes() []string {
	switch {
	case !op.Reads():
		return nil
	case op.Delta:
		return []string{ModeDelta, ModeList}
	case op.Collection && !slices.Contains(withoutIDs, op.ID):
		return []string{ModeList}
	default:
		return []string{ModeSingle}
	}
}

// Raw reports whether the answer is not JSON but the bytes themselves: a file,
// a picture, a message as MIME.
func (op *Operation) Raw() bool {
	return op.Method == reading && slices.ContainsFunc(op.Paths, func(path string) bool { return strings.HasSuffix(path, "/$value") })
}

// Folder returns the path parameter that names the folder whose messages or
// contacts the operation reads: "mailFolder-id" or "contactFolder-id". It is ""
// for the others, and where it takes more than that to name the folder.
func (op *Operation) Folder() string {
	if !op.Collection || !op.Reads() {
		return ""
	}
	for _, kind := range []struct{ item, param string }{
		{"microsoft.graph.message", "mailFolder-id"}, {"microsoft.graph.contact", "contactFolder-id"},
	} {
		if op.Type == kind.item && slices.Equal(op.PathParams, []string{kind.param}) {
			return kind.param
		}
	}
	return ""
}

// Windowed reports whether the operation reads a stretch of time that its query
// parameters startDateTime and endDateTime name: a calendar view.
func (op *Operation) Windowed() bool {
	return op.Reads() && slices.Contains(op.RequiredQuery, "startDateTime") && slices.Contains(op.RequiredQuery, "endDateTime")
}
