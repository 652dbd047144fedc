package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"outlook-connector/internal/fault"
)

// patienceTelling bounds the telling of one outcome.
const patienceTelling = 20 * time.Second

// maxProblem and maxStack bound what goes into an outcome and a dead letter.
const (
	maxProblem = 2 << 10
	maxStack   = 8 << 10
)

// ending is how a command ends.
type ending struct {
	state   state
	plan    *plan    // as far as it is known; nil: not at all
	recipe  *recipe  // nil: not known
	answer  Answer   // of the last attempt, where there was one now
	found   *finding // what was found in its place
	problem *fault.Error
	stack   string
}

// finish writes the end of the command into the ledger and then tells it, in
// this order: what is told first and recorded after could be told otherwise by
// the next worker. It returns false where somebody else moved the record.
//
// A command that is done and of which the ledger knows nothing so far has its result
// for a record. Out of time it has not: somebody else may have written of it.
func (j *job) finish(ctx context.Context, e ending) (Verdict, bool) {
	next := j.rec
	next.State, next.Upload = e.state, nil
	next.Stack = clipTo(e.stack, maxStack)
	next.Outcome = j.outcome(e)
	next.Mailbox, next.Entity = next.Outcome.Mailbox, next.Outcome.Entity
	var notBefore time.Time
	if e.plan != nil {
		notBefore = e.plan.notBefore
	}
	var untold error
	if j.bare && e.state == stateDone && !j.overdue() {
		v, err := j.tellDone(ctx, notBefore, &next)
		if err == nil {
			return v, true
		}
		untold = err
	}
	err := j.settle(ctx, &next)
	j.settled()
	switch {
	case errors.Is(err, ErrConflict):
		if isSuccess(e.answer.Status) {
			j.log.WarnContext(ctx, "answer came after somebody else had settled the command",
				"status", e.answer.Status, "request_id", e.answer.RequestID, "client_request_id", e.answer.ClientRequestID)
		}
		return Verdict{}, false
	case unstorable(err):
		// Nothing of it can be stored, so it is told without the ledger. A crash
		// in between leaves the record as it was, which decides what comes next.
		j.log.ErrorContext(ctx, "ledger refuses the end of a command, which is told without it",
			"remedy", fault.KindOf(err).String(), "error", err, "hint", fault.HintOf(err))
		j.sign(&next)
		j.rec = next
	case err != nil:
		return j.journalTrouble(ctx, err), true
	}
	j.count(ctx, notBefore, next.Outcome)
	j.ended = true
	if untold != nil {
		return j.untold(ctx, "result", untold), true
	}
	return j.tell(ctx), true
}

// tellDone ends a command that is done without a record: the stored result is what
// the next delivery finds (see toldAlready), where this one cannot be acknowledged.
// An error says that the result may not be there, and that the ledger has to know.
func (j *job) tellDone(ctx context.Context, notBefore time.Time, next *record) (Verdict, error) {
	ctx = j.w.telling.over(ctx)
	j.rec, j.ended = *next, true
	v, err := j.store(ctx, next.Outcome, j.audit(next.Outcome))
	if j.ended = err == nil; j.ended {
		j.count(ctx, notBefore, next.Outcome)
	}
	return v, err
}

// toldAlready looks whether the command has ended without a record, see tellDone. What
// may be missing then is told. It is asked of every message without a key of its
// sender's that comes back without a record, whatever its delivery: that may have been
// another when the command was carried out.
func (j *job) toldAlready(ctx context.Context) (v Verdict, told bool) {
	asking, cancel := context.WithTimeout(ctx, patienceBefore)
	defer cancel()
	body, err := j.w.outcomes.Told(asking, j.who.id)
	switch {
	case err != nil && fault.Stopped(ctx, err):
		return Again(0), true
	case err != nil:
		j.log.WarnContext(ctx, "result cannot be read, command waits",
			"remedy", fault.KindOf(err).String(), "error", err, "hint", fault.HintOf(err))
		return Again(j.w.spread(delayJournal)), true
	}
	var o Outcome
	if len(body) == 0 || json.Unmarshal(body, &o) != nil || !j.isOf(&o) {
		return Verdict{}, false
	}
	telling := j.w.telling.over(ctx)
	j.answer(telling, body)
	return j.recorded(telling, j.audit(&o)(telling)), true
}

// isOf reports whether an outcome says of this very message that it is done. An id
// that was not given can be that of another message: the stream was made again and
// counts from one, or a sender has given it.
func (j *job) isOf(o *Outcome) bool {
	return o.Outcome == string(stateDone) && o.ID == j.who.id && o.Publisher == j.m.Publisher && o.ReceivedAt.Equal(j.m.Received)
}

// outcome is what the sender is told.
func (j *job) outcome(e ending) *Outcome {
	o := &Outcome{
		ID: j.who.id, Publisher: j.m.Publisher,
		Mailbox: j.rec.Mailbox, Entity: j.rec.Entity,
		Outcome: string(e.state),
		Status:  e.answer.Status, RequestID: e.answer.RequestID, ClientRequestID: e.answer.ClientRequestID,
		Attempts: j.rec.Attempts, ReceivedAt: j.m.Received.UTC(), FinishedAt: j.w.now().UTC(),
	}
	if e.plan != nil {
		o.Mailbox = orElse(e.plan.mailbox, o.Mailbox)
		if e.plan.op != nil {
			o.Entity = e.plan.op.ID
		}
	}
	if e.recipe != nil {
		o.Weaker = e.recipe.weaker
	}
	if j.rec.Item != "" && e.state != stateFailed { // what can be looked at
		o.ItemID = j.rec.Item
		if e.recipe != nil {
			o.InternetMessageID = e.recipe.messageID
		}
	}
	if e.state == stateDone {
		o.takeBody(e.answer.Body)
		o.AlreadyGone = e.answer.Status == statusNotFound && !j.rec.Open
		if e.found != nil {
			o.Found = true
			o.takeBody(e.found.body)
			o.ItemID = orElse(e.found.item, o.ItemID)
		}
		if e.recipe != nil {
			o.InternetMessageID = orElse(o.InternetMessageID, e.recipe.messageID)
		}
		return o
	}
	if o.ClientRequestID == "" && j.rec.Attempts > 0 {
		// Without an answer of its own it ends by the last attempt's.
		o.ClientRequestID = j.rec.Try
		if last := j.rec.Cause; last != nil && last.ClientRequestID == j.rec.Try {
			o.Status, o.RequestID = last.Status, last.RequestID
		}
	}
	problem := problemOf(e.problem)
	if e.state == stateUncertain && problem.Code != "uncertain_effect" {
		problem.Message += "; an earlier request may have had its effect all the same"
		problem.Hint = orElse(problem.Hint, "look in the mailbox before you send it again")
	}
	o.Error = &problem
	if len(e.answer.Body) > 0 {
		o.takeBody(e.answer.Body)
	}
	return o
}

// problemOf turns an error into sentences.
func problemOf(err *fault.Error) Problem {
	return Problem{Code: orElse(err.Code, err.Kind.String()), Message: clipTo(err.Error(), maxProblem), Hint: clipTo(fault.HintOf(err), maxProblem)}
}

func clipTo(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// row are the metrics of the command's publisher.
func (j *job) row() *row { return j.w.metrics.rows[j.label] }

// count counts and logs an end, once: where it was written into the ledger.
func (j *job) count(ctx context.Context, notBefore time.Time, o *Outcome) {
	j.row().ended(o.Outcome).Inc()
	took := max(o.FinishedAt.Sub(later(j.m.Received, notBefore)), 0)
	j.row().duration.Observe(took.Seconds())
	if state(o.Outcome) == stateDone && !j.log.Enabled(ctx, slog.LevelInfo) {
		return
	}
	attrs := []slog.Attr{
		slog.String("entity", o.Entity), slog.String("mailbox", o.Mailbox), slog.Int("status", o.Status),
		slog.Int("attempts", o.Attempts), slog.String("request_id", o.RequestID),
		slog.String("client_request_id", o.ClientRequestID), slog.Duration("took", took),
	}
	if o.Error != nil {
		attrs = append(attrs, slog.String("code", o.Error.Code), slog.String("error", o.Error.Message), slog.String("hint", o.Error.Hint))
	}
	switch state(o.Outcome) {
	case stateDone:
		j.log.LogAttrs(ctx, slog.LevelInfo, "command done", attrs...)
	case stateFailed:
		j.log.LogAttrs(ctx, slog.LevelWarn, "command failed", attrs...)
	default:
		j.log.LogAttrs(ctx, slog.LevelError, "command uncertain", attrs...)
	}
}

// tell tells the outcome that the ledger has. After a crash it is told again,
// in the same words. A second message with the same key is told the old
// outcome and makes no dead letter of its own.
func (j *job) tell(ctx context.Context) Verdict {
	a := announcement{outcome: j.rec.Outcome, stack: j.rec.Stack, dedupe: j.who.key}
	a.dead = j.rec.State != stateDone && j.rec.Source == j.who.source
	return j.announce(ctx, a)
}

// reused ends a message whose key belongs to a command with another text. The
// ledger keeps the first command's record.
func (j *job) reused(ctx context.Context) Verdict {
	problem := refuse("key_reused", "the id %q was used before for a command with another text", j.who.id).
		WithHint("give each command a %s of its own", headerMsgID)
	return j.apart(ctx, stateFailed, problem)
}

// unreadable waits for a program that can read the record, and gives up like
// any other command.
func (j *job) unreadable(ctx context.Context, err error) Verdict {
	patience := DefaultGiveUpAfter
	if j.def != nil {
		patience = j.def.GiveUpAfter
	}
	if j.w.now().Before(j.m.Received.Add(patience)) {
		j.log.ErrorContext(ctx, "ledger record is not readable, command waits", "error", err,
			"hint", "a newer outlook-connector may have written it: update this one")
		return Again(j.w.spread(delayMost))
	}
	problem := refuse("ledger_unreadable", "gave up after %s: %w", patience, err).
		WithHint("look in the mailbox before you send it again")
	return j.apart(ctx, stateUncertain, problem)
}

// apart ends a message beside the ledger, whose record is not its own.
func (j *job) apart(ctx context.Context, to state, problem *fault.Error) Verdict {
	j.rec, j.ended = record{}, true
	o := j.outcome(ending{state: to, problem: problem})
	v := j.announce(ctx, announcement{outcome: o, dedupe: j.who.key + "." + j.who.source, dead: true})
	if v.Ack {
		j.count(ctx, time.Time{}, o)
	}
	return v
}

// announcement is what is told of an end.
type announcement struct {
	outcome *Outcome
	stack   string
	dead    bool   // with a dead letter
	dedupe  string // of the dead letter
}

// announce tells an outcome: dead letter, result, reply, and the message may
// go. The dead letter is first, because once the result is out nobody may look
// for more.
func (j *job) announce(ctx context.Context, a announcement) Verdict {
	ctx = j.w.telling.over(ctx)
	row := j.audit(a.outcome) // beside what is stored here, and waited for at the end
	if a.dead {
		if err := j.bury(ctx, letter(j.m, j.who, a.dedupe, *a.outcome, a.stack)); err != nil {
			return j.untold(ctx, "dead letter", err)
		}
	}
	v, err := j.store(ctx, a.outcome, row)
	if err != nil {
		return j.untold(ctx, "result", err)
	}
	return v
}

// store stores an outcome as the result, sends a copy to whom the message names, and
// waits for the audit row. Then the message may go. An error says that the result may
// not be there.
func (j *job) store(ctx context.Context, o *Outcome, row func(context.Context) error) (Verdict, error) {
	body, stored := j.begin(ctx, o)
	var unrecorded error
	waits := j.reply != "" // somebody does, for the result alone
	if !waits {
		// Of the two it is nearly always the later one. Then the other needs no wait.
		unrecorded = row(ctx)
	}
	err := stored()
	if err != nil && fault.KindOf(err) == fault.Poison {
		short := *o
		short.BodyOmitted, short.Body = max(len(o.Body), o.BodyOmitted), nil
		body, stored = j.begin(ctx, &short)
		err = stored()
	}
	if err != nil {
		return Verdict{}, err
	}
	j.answer(ctx, body)
	if waits {
		unrecorded = row(ctx)
	}
	return j.recorded(ctx, unrecorded), nil
}

// begin begins to store an outcome, and returns its text.
func (j *job) begin(ctx context.Context, o *Outcome) (body []byte, stored func() error) {
	body, err := o.encode()
	if err != nil {
		return nil, func() error { return err }
	}
	return body, j.w.outcomes.Begin(ctx, j.who.id, body)
}

// answer sends the copy of a stored result to whom the message names. It is a copy, of
// which core NATS promises no delivery, and must not hold the command back.
func (j *job) answer(ctx context.Context, body []byte) {
	if j.reply == "" {
		return
	}
	if err := j.w.outcomes.Reply(ctx, j.reply, body); err != nil {
		j.log.WarnContext(ctx, "reply not sent", "error", err)
	}
}

// recorded lets a message go whose outcome is told, once its audit row is stored.
func (j *job) recorded(ctx context.Context, err error) Verdict {
	if err != nil {
		return j.untold(ctx, "audit row", err)
	}
	return Ack()
}

// bury stores a dead letter, if need be without the message in it, and at the
// very last without its headers: a letter that no stream takes would keep its
// message in the queue for ever.
func (j *job) bury(ctx context.Context, l DeadLetter) error {
	err := j.w.outcomes.Dead(ctx, j.shelf, l)
	if err == nil || fault.KindOf(err) != fault.Poison {
		return err
	}
	j.log.ErrorContext(ctx, "dead letter stored without its message, which is too long", "bytes", len(j.m.Data), "error", err)
	l.Data, l.DataBase64, l.DataOmitted = nil, nil, len(j.m.Data)
	l.Outcome.BodyOmitted, l.Outcome.Body = max(len(l.Outcome.Body), l.Outcome.BodyOmitted), nil
	err = j.w.outcomes.Dead(ctx, j.shelf, l)
	if err == nil || fault.KindOf(err) != fault.Poison {
		return err
	}
	j.log.ErrorContext(ctx, "dead letter stored without its headers, which are too long", "error", err)
	l.Headers, l.Stack = nil, ""
	return j.w.outcomes.Dead(ctx, j.shelf, l)
}

// untold gives a message back whose end could not be told. The ledger has it,
// so that the next delivery only tells.
func (j *job) untold(ctx context.Context, what string, err error) Verdict {
	j.log.WarnContext(ctx, "outcome could not be told, command waits", "what", what, "remedy", fault.KindOf(err).String(), "error", err)
	return Again(j.w.spread(delayTelling))
}

// panicked ends a command over which the program stumbled: a panic is that
// message's failure, not the process's.
func (j *job) panicked(ctx context.Context, p any) Verdict {
	stack := string(debug.Stack())
	j.row().panics.Inc()
	j.log.ErrorContext(ctx, "panic while handling a command", "panic", fmt.Sprint(p), "stack", stack)
	if j.rec.State.terminal() {
		if j.bare { // its result may not be there either, and to come back it needs a record
			if err := j.settle(ctx, &j.rec); err != nil {
				return j.journalTrouble(ctx, err)
			}
		}
		return Again(j.w.spread(delayPanic))
	}
	problem := refuse("panic", "the connector stumbled over this command: %v", p).
		WithHint("this is a mistake in the connector; please report it with the stack in the dead letter")
	if v, ok := j.finish(ctx, ending{state: j.unanswered(), problem: problem, stack: stack}); ok {
		return v
	}
	return Again(j.w.spread(delayHeld))
}
