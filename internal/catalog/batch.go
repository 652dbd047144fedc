package catalog

import (
	"slices"
	"strings"
)

// The methods of which a batch is made: this room knows no HTTP beyond such words.
const (
	changing = "PATCH"
	deleting = "DELETE"
)

// guestsAreTold are the operations of a repeatable class of which others get a
// mail: whose meeting is deleted, is told.
// https://learn.microsoft.com/graph/api/event-delete
var guestsAreTold = []string{"calendar.event.delete", "groups.event.delete"} //nolint:gochecknoglobals // a constant

// Batches reports whether a request of this operation may be made as a part of a
// batch with those of other commands. A batch whose answer is lost leaves the
// effect of each part open, so that is only what leaves things the second time as
// it did the first: PATCH and DELETE of the classes [B1] and [B2], with a JSON
// body or none. Nothing of it sends mail.
// https://learn.microsoft.com/graph/json-batching
func (op *Operation) Batches() bool {
	if op.Method != changing && op.Method != deleting || slices.Contains(guestsAreTold, op.ID) {
		return false
	}
	switch op.Class() {
	case B1:
		return true
	case B2:
		return !op.takesBytes()
	default:
		return false
	}
}

// takesBytes reports whether the body is a picture's.
func (op *Operation) takesBytes() bool {
	return slices.ContainsFunc(op.Paths, func(path string) bool {
		return strings.HasSuffix(path, "/$value") || strings.HasSuffix(path, "/photo")
	})
}
