package publisher

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

// turn is a command's turn at its mailbox: the steps that are made within one
// slot.
type turn struct {
	*job
	p    *plan
	r    *recipe
	slot func() // gives the slot back; nil: it is
	// made is the draft that this turn has made and that no record names yet.
	made string
	// ahead says that the record in hand is further than the stored one.
	ahead bool
}

// take takes a slot of the mailbox for the command. Without ok the verdict says
// when to come back.
func (j *job) take(ctx context.Context, p *plan, r *recipe) (t *turn, v Verdict, ok bool) {
	release, wait, ok := j.w.slots.Take(ctx, p.call.Client, p.mailbox)
	if !ok {
		j.log.DebugContext(ctx, "mailbox is busy", "wait", wait)
		if wait <= 0 {
			wait = j.w.spread(delayBusy)
		}
		now := j.w.now()
		return nil, Again(max(min(wait, j.giveUpAt(p).Sub(now), maxDelay), 0)), false
	}
	return &turn{job: j, p: p, r: r, slot: release}, Verdict{}, true
}

// release gives the slot back, where that is not done.
func (t *turn) release() {
	if give := t.slot; give != nil {
		t.slot = nil
		give()
	}
}

// attempt goes on with the command, step by step, until it has ended or has to
// wait.
func (j *job) attempt(ctx context.Context, p *plan, r *recipe) (Verdict, bool) {
	t, v, ok := j.take(ctx, p, r)
	if !ok {
		return v, true
	}
	defer t.release()
	return t.steps(ctx)
}

// steps makes one request after the other.
func (t *turn) steps(ctx context.Context) (Verdict, bool) {
	defer t.keep(ctx)
	for {
		if v, ok, more := t.step(ctx); !more {
			return v, ok
		}
	}
}

// keep stores how far the command is, where no later step has done so.
func (t *turn) keep(ctx context.Context) {
	if !t.ahead {
		return
	}
	if err := t.settle(ctx, &t.rec); errors.Is(err, ErrConflict) {
		t.dropDraft(ctx)
	}
}

// step makes the next step, with the record saying so before and after.
func (t *turn) step(ctx context.Context) (v Verdict, ok, more bool) {
	at, known := t.r.at(t.rec.Step)
	if !known {
		at = 0 // it was another recipe, and nothing is in doubt
	}
	s := &t.r.steps[at]
	// Asked before the ledger says that a request is under way: a crash while
	// nobody is signed in must not look like one in the middle of a request.
	if err := t.w.outlook.Ready(ctx, t.p.call.Client); err != nil {
		v, ok = t.notReady(ctx, t.p, err)
		return v, ok, false
	}
	if t.overdue() {
		return Again(0), true, false
	}
	next := t.rec
	next.State = stateSending
	next.Open = t.rec.open()
	next.Attempts++
	next.Try = newTry()
	next.NotUntil = time.Time{} // what it was put off for is over; a look counts from here
	next.Doubt, next.Repeatable = s.doubt, s.doubt == repeat
	if next.Step != s.name || next.Begun.IsZero() {
		next.Step, next.Begun = s.name, t.w.now().UTC()
	}
	next.Mailbox, next.Entity = t.p.mailbox, t.p.op.ID
	call := t.p.call
	if s.call != nil {
		var err error
		if call, err = s.call(next); err != nil {
			v, ok = t.finish(ctx, ending{state: t.unanswered(), plan: t.p, recipe: t.r, problem: asFault(err)})
			return v, ok, false
		}
	}
	if t.unwritten() {
		t.rec, t.bare = next, true
		return t.send(ctx, at, call)
	}
	if s.work == nil { // a file goes for minutes, and is found again
		if !pass(ctx, t.def.gates.begun) {
			return Again(0), true, false
		}
		t.begun = true
		defer t.settled()
	}
	before := t.rec
	switch err := t.save(ctx, &next, &t.w.before); {
	case errors.Is(err, ErrConflict):
		t.dropDraft(ctx)
		return Verdict{}, false, false
	case unstorable(err):
		problem := refuse("ledger_refused", "the ledger refuses the record of this command, so no request was made: %w", err).
			WithHint("%s", fault.HintOf(err))
		v, ok = t.finish(ctx, ending{state: t.unanswered(), plan: t.p, recipe: t.r, problem: problem})
		return v, ok, false
	case err != nil:
		return t.journalTrouble(ctx, err), true, false
	}
	t.ahead, t.made = false, ""
	// The last look here before what cannot be taken back; [Outlook] takes one
	// more. A worker that was frozen since its message came has lost it to
	// somebody else by now.
	if t.overdue() || ctx.Err() != nil {
		v, ok = t.unsend(ctx, before)
		return v, ok, false
	}
	return t.send(ctx, at, call)
}

// send makes the request of a step, and records what it came to.
func (t *turn) send(ctx context.Context, at int, call Call) (v Verdict, ok, more bool) {
	answer, err := t.do(ctx, &t.r.steps[at], call)
	if last := at == len(t.r.steps)-1; last {
		t.release()
	}
	return t.judge(ctx, at, answer, err)
}

// unwritten reports whether the ledger need not say that the request is under way:
// nothing would be decided by that. A command of [AtLeastOnce] without a key of its
// sender's is made again by whoever gets its message again and finds neither a result
// of it nor a record, one of which is there before the message is acknowledged or put
// off (see tellDone). One that came back without either may have taken its worker with
// it, and is written down; and so is every one while the ledger takes nothing.
func (t *turn) unwritten() bool {
	return t.p.delivery == AtLeastOnce && t.m.Fresh && !t.who.given && t.rev == 0 && t.rec.State == stateNone &&
		len(t.r.steps) == 1 && t.r.steps[0].doubt == repeat && t.r.steps[0].work == nil && !t.w.inTrouble()
}

// settled opens the gate for another command, because what came of this one's request
// is written down, or remembered: nobody has to look for it.
func (j *job) settled() {
	if j.begun {
		j.begun = false
		<-j.def.gates.begun
	}
}

// do makes the request of a step.
func (t *turn) do(ctx context.Context, s *step, call Call) (Answer, error) {
	var answer Answer
	var err error
	if s.work != nil {
		answer, err = s.work(ctx, t)
	} else {
		call.RequestID, call.Deadline = t.rec.Try, t.m.Deadline
		answer, err = t.w.outlook.Do(ctx, call)
	}
	if answer.ClientRequestID == "" {
		answer.ClientRequestID = t.rec.Try
	}
	return answer, err
}

// advance goes on to the next step. item is what it is about; "" leaves it.
func (t *turn) advance(at int, item string) {
	next := t.rec
	next.State, next.Open, next.Step, next.Begun = stateClaimed, false, t.r.steps[at+1].name, time.Time{}
	next.Looked, next.Refused, next.Conflicts, next.NotUntil, next.Cause, next.Upload = 0, 0, 0, time.Time{}, nil, nil
	if item != "" {
		next.Item, next.Draft = item, t.r.owned
		if t.r.owned {
			t.made = item
		}
	}
	t.rec, t.ahead = next, true
}

// dropDraft deletes a draft that this turn has made, where somebody else goes on
// with another. What cannot be deleted stays behind in Drafts, unsent.
func (t *turn) dropDraft(ctx context.Context) {
	if t.made == "" {
		return
	}
	made := t.made
	t.made, t.ahead = "", false
	if err := t.load(context.WithoutCancel(ctx)); err != nil || t.rec.Item == made {
		return
	}
	t.discard(ctx, made)
}

// discard deletes a draft, with a slot like any request.
func (t *turn) discard(ctx context.Context, id string) {
	err := t.takeAgain(ctx)
	if err == nil {
		defer t.release()
		err = t.delete(ctx, id)
	}
	if err != nil {
		t.log.WarnContext(ctx, "a draft that is not needed stays in Drafts", "item", id, "error", err)
	}
}

// takeAgain takes a slot where the turn has given its own back, and waits for it: on
// the way out only as long as [Slots] do.
func (t *turn) takeAgain(ctx context.Context) error {
	for until := t.w.now().Add(patienceTelling); t.slot == nil; {
		release, wait, ok := t.w.slots.Take(context.WithoutCancel(ctx), t.p.call.Client, t.p.mailbox)
		if ok {
			t.slot = release
			break
		}
		if wait <= 0 {
			wait = t.w.spread(delayBusy)
		}
		if t.w.now().Add(wait).After(until) {
			return errors.New("the mailbox is busy")
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return err
		}
	}
	return nil
}

// delete deletes a draft.
func (t *turn) delete(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patienceBefore)
	defer cancel()
	call, err := t.w.request(t.p, opDelete, map[string]string{paramMessage: id}, nil, nil)
	if err == nil {
		call.RequestID = newTry()
		_, err = t.w.outlook.Do(ctx, call)
	}
	return err
}

// notReady puts off a command for which no request can be begun, because there
// is no token. That costs no attempt, and does not wait longer each time: what
// is missing is mostly a person, and after the sign-in the queue should move.
func (j *job) notReady(ctx context.Context, p *plan, err error) (Verdict, bool) {
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
		switch err := j.save(ctx, &next, &j.w.before); {
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
	if err := j.settle(ctx, &next); errors.Is(err, ErrConflict) {
		return Verdict{}, false
	}
	j.log.InfoContext(ctx, "request not begun: the delivery ran out of time")
	return Again(0), true
}

// judge records what one attempt came to. more says that the next step follows.
func (t *turn) judge(ctx context.Context, at int, answer Answer, err error) (v Verdict, ok, more bool) {
	if errors.Is(err, ErrConflict) { // of a step that writes the record itself
		return Verdict{}, false, false
	}
	s := &t.r.steps[at]
	conflicts := t.rec.Conflicts
	if answer.Status == statusPreconditionFailed {
		conflicts++
	}
	what := decide(t.p, t.r, s, t.rec, conflicts, answer, err)
	if what == settleDone && at < len(t.r.steps)-1 {
		item := ""
		if s.item != nil {
			item = s.item(answer.Body)
		}
		if s.item == nil || item != "" {
			t.advance(at, item)
			return Verdict{}, true, true
		}
		// It is made, and nobody says what it is called.
		err = fault.New(fault.Retry, "the answer of Outlook names nothing").WithCode("blind_answer")
		switch s.doubt {
		case look:
			what = lookLater
		case repeat:
			what = tryAgain
		default:
			what = settleUncertain
		}
	}
	switch what {
	case settleDone:
		v, ok = t.finish(ctx, ending{state: stateDone, plan: t.p, recipe: t.r, answer: answer})
	case settleUncertain:
		marked := fault.Of(err)
		problem := refuse("uncertain_effect", "no final answer from Outlook: %w", marked).
			WithHint("look in the mailbox before you send it again")
		v, ok = t.finish(ctx, ending{state: stateUncertain, plan: t.p, recipe: t.r, answer: answer, problem: problem})
	case settleFailed:
		to := stateFailed
		if t.rec.Open {
			to = stateUncertain
		}
		if v, ok = t.finish(ctx, ending{state: to, plan: t.p, recipe: t.r, answer: answer, problem: refused(t.p, answer, err)}); ok && to == stateFailed && t.r.owned && t.rec.Item != "" {
			t.discard(ctx, t.rec.Item)
		}
	case goPlain:
		t.w.goPlain(t.p)
		next := t.rec
		next.State, next.Step, next.Begun, next.Plain = stateClaimed, "", time.Time{}, true
		t.log.WarnContext(ctx, "no draft can be made, the mail is sent without", "mailbox", t.p.mailbox, "client", t.p.call.Client,
			"error", err, "hint", "grant Mail.ReadWrite for exactly_once")
		t.r, t.rec, t.ahead = t.r.plain, next, true
		return Verdict{}, true, true
	default:
		v, ok = t.giveBack(ctx, what, conflicts, answer, err)
	}
	return v, ok, false
}

// refused is the problem of a request that Outlook will not take.
func refused(p *plan, answer Answer, err error) *fault.Error {
	marked := fault.Of(err)
	if answer.Status == statusPreconditionFailed && p.call.Header["If-Match"] != "" {
		return refuse("conflict", "the item is not as If-Match expects it: %w", marked).
			WithHint("read the item again and send the command with its new etag")
	}
	return marked
}

// giveBack records an attempt that failed for now and puts the command off.
func (t *turn) giveBack(ctx context.Context, what decision, conflicts int, answer Answer, err error) (Verdict, bool) {
	marked := fault.Of(err)
	now := t.w.now()
	next := t.rec
	next.State = stateClaimed
	next.Open = t.rec.Open || ambiguous(marked)
	next.Conflicts = conflicts
	next.Cause = &cause{
		Problem: problemOf(marked), Status: answer.Status,
		RequestID: answer.RequestID, ClientRequestID: answer.ClientRequestID,
	}
	delay := max(marked.After, t.w.backoff(next.Attempts))
	unsent := answer.Status == 0 && !ambiguous(marked)
	switch {
	case what == lookRefused || what == lookLater:
		next.State, next.Open, next.Doubt = stateSending, t.rec.Open, look
		if what == lookRefused {
			next.Refused++
		}
		// Outlook may still be at work on a request that it answered with 504.
		delay = max(marked.After, t.def.Settle)
	case fault.Stopped(ctx, err) && !ambiguous(marked):
		// The worker is stopping and nothing was sent: no attempt was made.
		next.Attempts, next.Cause, delay = t.rec.Attempts-1, t.rec.Cause, 0
	case marked.Code == codeDeadlinePassed && !ambiguous(marked):
		// Somebody else may have the message: it is theirs to go on at once.
		next.Cause, delay = t.rec.Cause, 0
		if unsent {
			next.Attempts--
		}
	case marked.Kind == fault.Reauth && unsent:
		// The token went between the question and the request.
		next.Attempts--
		delay = max(marked.After, t.w.about(delayReauth))
	case marked.Kind == fault.Reauth:
		delay = max(delay, delayReauth)
	}
	delay = max(min(delay, t.giveUpAt(t.p).Sub(now)), 0)
	next.NotUntil = now.Add(delay).UTC()
	switch err := t.settle(ctx, &next); {
	case errors.Is(err, ErrConflict):
		return Verdict{}, false
	case err != nil:
		t.journalTrouble(ctx, err)
	}
	t.log.WarnContext(ctx, "command will be tried again", "entity", t.p.op.ID, "mailbox", t.p.mailbox, "step", next.Step,
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
	text := make([]byte, 0, 36)
	for i, from := range [...]int{0, 4, 6, 8, 10} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, b[from:[...]int{4, 6, 8, 10, 16}[i]])
	}
	return string(text)
}
