package catalog_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
)

// everyClass are the classes in the order of their constants.
var everyClass = []catalog.Class{
	catalog.A, catalog.B1, catalog.B2, catalog.C1, catalog.C2, catalog.C3, catalog.D1, catalog.D2, catalog.D3, catalog.E1,
	catalog.E2, catalog.F1, catalog.F2, catalog.G1, catalog.G2, catalog.G3, catalog.G4, catalog.H, catalog.I, catalog.J,
}

// usual are the classes that need no reason, by method.
var usual = map[string][]catalog.Class{
	"GET":    {catalog.A},
	"DELETE": {catalog.B1},
	"PATCH":  {catalog.B2},
	"PUT":    {catalog.B2},
	"POST": {
		catalog.C1, catalog.C2, catalog.D1, catalog.D2, catalog.E1, catalog.E2, catalog.F1, catalog.F2,
		catalog.G1, catalog.G2, catalog.G3, catalog.H, catalog.I,
	},
}

// TestEveryOperationHasAClass reads classes.txt more strictly than the program
// does: a line that is wrong would be a request that is repeated, or never is.
func TestEveryOperationHasAClass(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("classes.txt")
	if err != nil {
		t.Fatal(err)
	}
	listed, last := make(map[string]catalog.Class), ""
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") && last == "" {
			continue // the head
		}
		fact, why, reasoned := strings.Cut(strings.TrimSuffix(line, "\n"), "  # ")
		id, class, ok := strings.Cut(fact, " ")
		op, err := catalog.Default().Lookup(id)
		switch {
		case !ok || reasoned && strings.TrimSpace(why) != why || reasoned && why == "":
			t.Errorf("%q is no line of the form \"id class  # why\"", line)
		case err != nil || op.ID != id:
			t.Errorf("%s is no operation", id)
		case !slices.Contains(everyClass, catalog.Class(class)):
			t.Errorf("%s: there is no class %q", id, class)
		case id <= last:
			t.Errorf("%s comes after %s", id, last)
		case !reasoned && !slices.Contains(usual[op.Method], catalog.Class(class)):
			t.Errorf("%s is a %s of class %s, and nothing says why", id, op.Method, class)
		}
		listed[id], last = catalog.Class(class), id
	}
	used := make(map[catalog.Class]int)
	for _, op := range catalog.Default().Operations() {
		class, ok := listed[op.ID]
		if !ok {
			t.Errorf("%s has no class", op.ID)
		}
		if op.Class() != class {
			t.Errorf("%s is of class %s to the program, in the file of %s", op.ID, op.Class(), class)
		}
		if op.Reads() != (class == catalog.A) {
			t.Errorf("%s reads: %v, its class is %s", op.ID, op.Reads(), class)
		}
		used[class]++
	}
	for _, class := range everyClass {
		if (used[class] == 0) != (class == catalog.D3) { // decided when it is known what the client may do
			t.Errorf("%d operations are of class %s", used[class], class)
		}
	}
	if got := catalog.GroupMembers().Class(); got != catalog.A {
		t.Errorf("an operation that reads and is in no list is of class %s", got)
	}
}

// TestWhatReachesOtherPeopleIsNeverRepeatedBlindly names what a second request
// would show to somebody else; none of it may be in a class that repeats without
// a look.
func TestWhatReachesOtherPeopleIsNeverRepeatedBlindly(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{
		"mail.message.send", "mail.message.sendMail", "mail.message.reply", "mail.message.replyAll", "mail.message.forward",
		"calendar.event.accept", "calendar.event.decline", "calendar.event.tentativelyAccept", "calendar.event.cancel",
		"calendar.event.forward", "calendar.event.create", "calendar.event.update", "calendar.calendar.createEvent",
		"calendar.calendarPermission.create", "groups.event.create", "groups.event.update", "groups.conversation.create*",
		"groups.thread.create", "groups.thread.reply", "groups.post.*", "groups.postAttachment.create", "extensions.*Item", "batch.*",
	} {
		found := false
		for _, op := range catalog.Default().Select(pattern) {
			if op.Reads() {
				continue
			}
			found = true
			if slices.Contains([]catalog.Class{catalog.B1, catalog.B2, catalog.C1, catalog.E1, catalog.E2, catalog.F1}, op.Class()) {
				t.Errorf("%s is of class %s", op.ID, op.Class())
			}
		}
		if !found {
			t.Errorf("%s is no operation that writes", pattern)
		}
	}
}
