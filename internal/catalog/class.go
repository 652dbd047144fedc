package catalog

import (
	_ "embed"
	"strings"
	"sync"
)

// Class says what may be done with an operation when nobody knows whether a
// request of it had its effect: the answer was lost, or was one that leaves it
// open, or the process ended in between. Graph knows no key by which it would see
// a repetition (https://learn.microsoft.com/graph/best-practices-concept), but
// for events, so the way out differs: to repeat, to look first, or to leave it to
// a person.
type Class string

// The classes. Which operation has which is in classes.txt; where its templates
// lead to different things it has the strictest one of them.
const (
	// A reads: repeat.
	A Class = "A"

	// B1 deletes what its id names: repeat; 404 says that it is gone. Look before,
	// where the item may have its id in Deleted Items still (immutable ids): the
	// second would delete it for good.
	B1 Class = "B1"
	// B2 sets properties to given values, or a thing to a given state: repeat. Of
	// a PATCH with a JSON body the item can be read before and compared, so that
	// a change that somebody made meanwhile is not undone for nothing; a photo or
	// an action has nothing to compare. With If-Match of the caller's the second
	// is refused with 412 where the first had its effect.
	B2 Class = "B2"

	// C1 creates something that a marker finds again, a single-value extended
	// property of its own: search the collection for it, and create where it is
	// not. Nobody outside sees it, so that two of it can be made one.
	// https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-get
	C1 Class = "C1"
	// C2 creates an event: repeat with the same transactionId, of which Graph
	// makes only one.
	// https://learn.microsoft.com/graph/api/resources/event#properties
	C2 Class = "C2"
	// C3 creates something that no marker of ours can find: never repeat. Some of
	// it has a name of its own, of which Graph refuses a second; then a repetition
	// would do no harm, and tell nothing either: the first may be somebody else's.
	C3 Class = "C3"

	// D1 sends one mail, a new one or a draft: make the draft first, with a marker
	// and an internetMessageId of our own, then send it, and look for it before
	// anything is repeated. A sent draft is never sent again.
	// https://learn.microsoft.com/graph/api/message-send
	D1 Class = "D1"
	// D2 answers a mail or forwards it: make the draft of the answer first, mark
	// it with a PATCH, and go on as in D1. A draft that was made and not marked
	// stays behind, and does no harm.
	// https://learn.microsoft.com/graph/api/message-createreply
	D2 Class = "D2"
	// D3 sends a mail without a draft: never repeat. No operation is D3 by itself;
	// D1 and D2 become it for a client that may send, and not read and write.
	D3 Class = "D3"

	// E1 moves: read where the item is, and repeat where that is not the target.
	// It may have another id there.
	E1 Class = "E1"
	// E2 copies: search the target for the copy, by internetMessageId and time,
	// and repeat where there is none.
	E2 Class = "E2"

	// F1 adds an attachment: list them, and repeat where none has the name and the
	// size.
	F1 Class = "F1"
	// F2 opens an upload session, which has no effect before its last byte: open
	// another, or ask the session what it still expects.
	// https://learn.microsoft.com/graph/outlook-large-attachments
	F2 Class = "F2"

	// G1 answers an invitation: read the event's responseStatus, and repeat where
	// it is not the one wanted. A repetition in vain is a second mail.
	G1 Class = "G1"
	// G2 cancels an event: read it; done where it is gone or isCancelled, else
	// repeat.
	G2 Class = "G2"
	// G3 sends mail or posts with no draft before it: never repeat.
	G3 Class = "G3"
	// G4 changes an event, of which its attendees are told: read and compare, and
	// repeat only where it differs.
	G4 Class = "G4"

	// H makes a subscription to change notifications: list those of the resource,
	// adopt one of ours, delete the others, create where there is none.
	H Class = "H"
	// I is a batch: each part has its own class; where the whole is unknown, each
	// part is.
	I Class = "I"
	// J is everything else: never repeat.
	J Class = "J"
)

//go:embed classes.txt
var embeddedClasses string

// classes are the classes by operation. A line that cannot be read is as if it
// was not there; the test of this file lets none pass.
var classes = sync.OnceValue(func() map[string]Class {
	all := make(map[string]Class)
	for line := range strings.Lines(embeddedClasses) {
		fact, _, _ := strings.Cut(line, "#")
		if id, class, ok := strings.Cut(strings.TrimSpace(fact), " "); ok {
			all[id] = Class(class)
		}
	}
	return all
})

// Class returns the operation's class. What is in no list is [A] where it reads,
// and [J] where it writes.
func (op *Operation) Class() Class {
	switch class, listed := classes()[op.ID]; {
	case listed:
		return class
	case op.Reads():
		return A
	default:
		return J
	}
}
