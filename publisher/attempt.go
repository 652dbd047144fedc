package publisher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"outlook-connector/internal/fault"
)

// attempt makes one request, with the record saying so before and after.
func (j *job) attempt(ctx context.Context, p plan) (Verdict, bool) {
	release, wait, ok := j.w.slots.Take(ctx, p.call.Client, p.mailbox)
	if !ok {
		j.log.DebugContext(ctx, "mailbox is busy", "wait", wait)
		if wait <= 0 {
			wait = j.w.spread(delayBusy)
		}
		now := j.w.now()
		return Again(max(min(wait, j.giveUpAt(p).Sub(now), maxDelay), 0)), true
	}
	var once sync.Once
	defer once.Do(release)
	// Asked before the ledger says that a request is under way: a crash while
	// nobody is signed in must not look like one in the middle of a request.
	if err := j.w.outlook.Ready(ctx, p.call.Client); err != nil {
		return j.notReady(ctx, p, err)
	}
	if j.overdue() {
		return Again(0), true
	}
	before := j.rec
	next := before
	next.State = stateSending
	next.Open = before.Open || before.State == stateSending
	next.Attempts++
	next.Try = newTry()
	next.Repeatable = mayRepeat(p.call.Method, p.delivery)
	next.Mailbox, next.Entity = p.mailbox, p.op.ID
	switch err := j.save(ctx, next, patienceBefore); {
	case errors.Is(err, ErrConflict):
		return Verdict{}, false
	case unstorable(err):
		problem := refuse("ledger_refused", "the ledger refuses the record of this command, so no request was made: %w", err).
			WithHint("%s", fault.HintOf(err))
		return j.finish(ctx, ending{state: j.unanswered(), plan: p, problem: problem})
	case err != nil:
		return j.journalTrouble(ctx, err), true
	}
	// The last look here before what cannot be taken back; [Outlook] takes one
	// more. A worker that was frozen since its message came has lost it to
	// somebody else by now.
	if j.overdue() || ctx.Err() != nil {
		return j.unsend(ctx, before)
	}
	p.call.RequestID, p.call.Deadline = j.rec.Try, j.m.Deadline
	answer, err := j.w.outlook.Do(ctx, p.call)
	once.Do(release)
	if answer.ClientRequestID == "" {
		answer.ClientRequestID = j.rec.Try
	}
	return j.judge(ctx, p, answer, err)
}

// notReady puts off a command for which no request can be begun, because there
// is no token. That costs no attempt, and does not wait longer each time: what
// is missing is mostly a person, and after the sign-in the queue should move.
func (j *job) notReady(ctx context.Context, p plan, err error) (Verdict, bool) {
	if fault.Stopped(ctx, err) {
		return Again(0), true
	}
	marked := fault.Of(err)
	if !passing(marked.Kind) {
		return j.finish(ctx, ending{state: j.unanswered(), plan: p, problem: marked})
	}
	// The reason is kept for the day on which the command is given up, but not
	// written down anew each time.
	if problem := problemOf(marked); j.rec.Cause == nil || j.rec.Cause.Code != problem.Code {
		next := j.rec
		if next.State == stateNone {
			next.State = stateClaimed
		}
		next.Mailbox, next.Entity = p.mailbox, p.op.ID
		next.Cause = &cause{Problem: problem}
		switch err := j.save(ctx, next, patienceBefore); {
		case errors.Is(err, ErrConflict):
			return Verdict{}, false
		case err != nil:
			j.journalTrouble(ctx, err)
		}
	}
	delay := max(marked.After, j.w.about(delayReauth))
	delay = max(min(delay, j.giveUpAt(p).Sub(j.w.now()), maxDelay), 0)
	j.log.WarnContext(ctx, "no token, command waits", "entity", p.op.ID, "mailbox", p.mailbox,
		"remedy", marked.Kind.String(), "code", marked.Code, "after", delay, "error", marked, "hint", fault.HintOf(err))
	return Again(delay), true
}

// overdue reports whether somebody else may have the message by now.
func (j *job) overdue() bool {
	return j.m.Deadline != nil && !j.w.now().Before(j.m.Deadline())
}

// unsend takes back a sending record for which no request was made.
func (j *job) unsend(ctx context.Context, before record) (Verdict, bool) {
	next := j.rec
	next.Attempts = before.Attempts
	if before.State != stateSending {
		next.State, next.Open = stateClaimed, before.Open
	}
	if err := j.settle(ctx, next); errors.Is(err, ErrConflict) {
		return Verdict{}, false
	}
	j.log.InfoContext(ctx, "request not begun: the delivery ran out of time")
	return Again(0), true
}

// judge records what one attempt came to.
func (j *job) judge(ctx context.Context, p plan, answer Answer, err error) (Verdict, bool) {
	conflicts := j.rec.Conflicts
	if answer.Status == statusPreconditionFailed {
		conflicts++
	}
	switch decide(p, j.rec.Open, conflicts, answer, err) {
	case settleDone:
		return j.finish(ctx, ending{state: stateDone, plan: p, answer: answer})
	case settleUncertain:
		marked := fault.Of(err)
		problem := refuse("uncertain_effect", "no final answer from Outlook: %w", marked).
			WithHint("look in the mailbox before you send it again")
		return j.finish(ctx, ending{state: stateUncertain, plan: p, answer: answer, problem: problem})
	case settleFailed:
		to := stateFailed
		if j.rec.Open {
			to = stateUncertain
		}
		return j.finish(ctx, ending{state: to, plan: p, answer: answer, problem: refused(p, answer, err)})
	case tryAgain:
		return j.giveBack(ctx, p, conflicts, answer, err)
	default:
		panic("publisher: no such decision")
	}
}

// refused is the problem of a request that Outlook will not take.
func refused(p plan, answer Answer, err error) *fault.Error {
	marked := fault.Of(err)
	if answer.Status == statusPreconditionFailed && p.call.Header["If-Match"] != "" {
		return refuse("conflict", "the item is not as If-Match expects it: %w", marked).
			WithHint("read the item again and send the command with its new etag")
	}
	return marked
}

// giveBack records an attempt that failed for now and puts the command off.
func (j *job) giveBack(ctx context.Context, p plan, conflicts int, answer Answer, err error) (Verdict, bool) {
	marked := fault.Of(err)
	now := j.w.now()
	next := j.rec
	next.State = stateClaimed
	next.Open = j.rec.Open || ambiguous(marked)
	next.Conflicts = conflicts
	next.Cause = &cause{
		Problem: problemOf(marked), Status: answer.Status,
		RequestID: answer.RequestID, ClientRequestID: answer.ClientRequestID,
	}
	delay := max(marked.After, j.w.backoff(next.Attempts))
	unsent := answer.Status == 0 && !ambiguous(marked)
	switch {
	case fault.Stopped(ctx, err) && !ambiguous(marked):
		// The worker is stopping and nothing was sent: no attempt was made.
		next.Attempts, next.Cause, delay = j.rec.Attempts-1, j.rec.Cause, 0
	case marked.Code == codeDeadlinePassed && !ambiguous(marked):
		// Somebody else may have the message: it is theirs to go on at once.
		next.Cause, delay = j.rec.Cause, 0
		if unsent {
			next.Attempts--
		}
	case marked.Kind == fault.Reauth && unsent:
		// The token went between the question and the request.
		next.Attempts--
		delay = max(marked.After, j.w.about(delayReauth))
	case marked.Kind == fault.Reauth:
		delay = max(delay, delayReauth)
	}
	delay = max(min(delay, j.giveUpAt(p).Sub(now)), 0)
	next.NotUntil = now.Add(delay).UTC()
	switch err := j.settle(ctx, next); {
	case errors.Is(err, ErrConflict):
		return Verdict{}, false
	case err != nil:
		j.journalTrouble(ctx, err)
	}
	j.log.WarnContext(ctx, "command will be tried again", "entity", p.op.ID, "mailbox", p.mailbox,
		"remedy", marked.Kind.String(), "code", marked.Code, "status", answer.Status, "request_id", answer.RequestID,
		"attempts", next.Attempts, "after", delay, "error", marked, "hint", fault.HintOf(err))
	return Again(min(delay, maxDelay)), true
}

// backoff is the delay after the n-th attempt: doubled each time, with full
// jitter (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
func (w *Worker) backoff(n int) time.Duration {
	most := delayMost
	if n < 10 {
		most = min(delayFirst<<max(n-1, 0), delayMost)
	}
	return max(w.jitter(most), delayLeast)
}

// about is a random delay around the one wanted, so that commands that wait
// for the same thing do not come back together.
func (w *Worker) about(wanted time.Duration) time.Duration {
	return wanted - wanted/4 + w.jitter(wanted/2)
}

// newTry returns a random UUID (version 4).
func newTry() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
