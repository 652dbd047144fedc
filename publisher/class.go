package publisher

import (
	"slices"

	"outlook-connector/internal/fault"
)

// This file is the one place that knows what an answer means for an operation:
// a row of a table for each kind of operation, made of its method so far. The
// finer classes (draft and send, events by transactionId, moves, copies) become
// further rows here, with their look-ups; nothing else asks for a method.

// class is what may be done with a kind of operation.
type class struct {
	// repeatable says that a second request after one of unknown effect leaves
	// things as one would have left them.
	repeatable bool
	// goneIsDone says that 404 on such a repeat means that the first had its
	// effect.
	goneIsDone bool
}

// The methods that operations are done by. (net/http has names for them, and
// is not known here.)
const (
	methodGet    = "GET"
	methodPatch  = "PATCH"
	methodPut    = "PUT"
	methodDelete = "DELETE"
)

// classOf returns the class of an operation by its method. PATCH and PUT set
// properties to given values and DELETE names its item by id, so each may be
// repeated; POST creates, sends or acts, and Graph knows no key by which it
// would see a repetition.
func classOf(method string) class {
	switch method {
	case methodPatch, methodPut:
		return class{repeatable: true}
	case methodDelete:
		return class{repeatable: true, goneIsDone: true}
	default:
		return class{}
	}
}

// mayRepeat reports whether a request may be made again while nobody knows
// whether the last one had its effect.
func mayRepeat(method string, delivery Delivery) bool {
	return classOf(method).repeatable || delivery == AtLeastOnce
}

// maxConflicts is how often 412 is met with another attempt. Exchange answers
// it without any If-Match while it still works on a new item, for some seconds.
const maxConflicts = 5

// decision is what follows from an answer.
type decision int

const (
	// settleDone: the effect is there.
	settleDone decision = iota
	// settleFailed: it is not, and never will be.
	settleFailed
	// settleUncertain: nobody knows, and the request must not be repeated.
	settleUncertain
	// tryAgain: later, with another attempt.
	tryAgain
)

// decide says what follows from the answer to one attempt. open tells whether
// an earlier attempt of this command may have had its effect; conflicts counts
// the 412 so far, this one included.
func decide(p plan, open bool, conflicts int, answer Answer, err error) decision {
	if err == nil || isSuccess(answer.Status) {
		// A 2xx is final whatever comes with it. 202 with Retry-After has been
		// seen on sendMail, and repeating it sent the mail again:
		// https://github.com/microsoftgraph/msgraph-sdk-java/issues/1487
		return settleDone
	}
	marked := fault.Of(err)
	kind := classOf(p.call.Method)
	switch {
	case ambiguous(marked):
		// Where even the repetition would come to nothing (a redirect, a full
		// mailbox), the open effect stays open.
		if mayRepeat(p.call.Method, p.delivery) && passing(marked.Kind) {
			return tryAgain
		}
		return settleUncertain
	case answer.Status == statusNotFound && kind.goneIsDone && open:
		return settleDone
	case answer.Status == statusPreconditionFailed:
		if p.call.Header["If-Match"] != "" || conflicts >= maxConflicts {
			return settleFailed
		}
		return tryAgain
	case passing(marked.Kind):
		return tryAgain
	default:
		return settleFailed
	}
}

// The statuses that mean something else here than their remedy says.
const (
	statusNotFound           = 404
	statusPreconditionFailed = 412
)

func isSuccess(status int) bool { return status >= 200 && status <= 299 }

// ambiguous reports whether a failed attempt may have had its effect. What
// nobody marked may have.
func ambiguous(err *fault.Error) bool { return err.Ambiguous || err.Kind == fault.Unknown }

// passing reports whether time or a person may mend an error. Fatal is the
// process's own trouble, not the command's: another process may do it.
func passing(kind fault.Kind) bool {
	return slices.Contains([]fault.Kind{fault.Retry, fault.Reauth, fault.Unknown, fault.Fatal}, kind)
}
