package publisher

import (
	"slices"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// maxConflicts is how often 412 is met with another attempt. Exchange answers
// it without any If-Match while it still works on a new item, for some seconds.
const maxConflicts = 5

// maxDoubtful is how often a refusal that an earlier request may have caused is met
// with a look and another attempt.
const maxDoubtful = 3

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
	// lookLater: find out once things have settled.
	lookLater
	// lookRefused: find out, because an earlier request may be why this one is refused.
	lookRefused
	// goPlain: the client may not do this, and there is another way.
	goPlain
)

// decide says what follows from the answer to one attempt at a step. rec is as it
// was when the attempt was begun; conflicts counts the 412 so far, this one
// included.
func decide(p *plan, r *recipe, s *step, rec record, conflicts int, answer Answer, err error) decision {
	if err == nil || isSuccess(answer.Status) {
		// A 2xx is final whatever comes with it. 202 with Retry-After has been
		// seen on sendMail, and repeating it sent the mail again:
		// https://github.com/microsoftgraph/msgraph-sdk-java/issues/1487
		return settleDone
	}
	marked := fault.Of(err)
	switch {
	case ambiguous(marked):
		return decideOpen(s, marked)
	case s.doubtful != nil && s.doubtful(rec, answer.Status, marked.Code):
		return echo(rec)
	case goneIsDone(p.op) && (missing(answer.Status, err) || !p.op.NeedsMailbox() && answer.Status == statusNotFound && marked.Code == codeNoResource):
		return settleDone
	case r.plain != nil && !rec.Open && r.steps[0].name == s.name && denied(answer.Status, marked):
		return goPlain
	case answer.Status == statusPreconditionFailed:
		if s.doubt == look && rec.Open {
			return echo(rec) // the first may have had its effect, and changed the etag
		}
		if p.call.Header["If-Match"] != "" || conflicts >= maxConflicts {
			return settleFailed
		}
		return tryAgain
	case passing(marked.Kind):
		return tryAgain
	case s.doubt == look && rec.Open:
		return echo(rec)
	default:
		return settleFailed
	}
}

// echo is what follows from a refusal that an earlier request may have caused.
func echo(rec record) decision {
	if rec.Refused >= maxDoubtful {
		return settleUncertain
	}
	return lookRefused
}

// goneIsDone reports whether an item that is not there is what the operation
// wanted: it is deleted, or the meeting is cancelled, which takes it away.
func goneIsDone(op *catalog.Operation) bool {
	return op.Class() == catalog.B1 || op.Class() == catalog.G2
}

// codeNoResource is what Graph says where something without a mailbox is not there.
const codeNoResource = "ResourceNotFound"

// denied reports whether a client may not do something at all. That it may not now
// (403 has quotas and claims as well) is something else.
func denied(status int, err *fault.Error) bool {
	return status == statusForbidden && err.Kind == fault.Poison &&
		slices.Contains([]string{"ErrorAccessDenied", "accessDenied", "Authorization_RequestDenied"}, err.Code)
}

// decideOpen says what follows from an answer that leaves the effect open.
func decideOpen(s *step, marked *fault.Error) decision {
	switch s.doubt {
	case repeat:
		// Where even the repetition would come to nothing (a redirect, a full
		// mailbox), the open effect stays open.
		if passing(marked.Kind) {
			return tryAgain
		}
	case look:
		return lookLater
	}
	return settleUncertain
}

// The methods that matter here. (net/http has names for them, and is not known
// here.)
const (
	methodGet    = "GET"
	methodPatch  = "PATCH"
	methodPut    = "PUT"
	methodDelete = "DELETE"
)

// The statuses that mean something else here than their remedy says.
const (
	statusForbidden          = 403
	statusNotFound           = 404
	statusConflict           = 409
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
