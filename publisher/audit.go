package publisher

import (
	"context"
	"slices"
	"time"

	"outlook-connector/internal/fault"
)

// Audit keeps the record of who had what done. It must be safe for concurrent
// use.
type Audit interface {
	// Ready returns why rows cannot be stored at present, or nil.
	Ready() error
	// Add takes a row and returns at once. What it returns is called once, and
	// waits until the row is stored or ctx ends.
	Add(row AuditRow) (stored func(ctx context.Context) error)
}

// AuditRow is what the audit record says of a command. It has neither the
// command's body nor Outlook's answer, and no recipients.
type AuditRow struct {
	// ID is the outcome's, Key the ledger's.
	ID, Key string
	// Subject, Stream, Sequence and MsgID are of the message: all that NATS tells
	// of its sender.
	Subject, Stream string
	Sequence        uint64
	MsgID           string
	Publisher       string
	Entity, Mailbox string
	// Decision is "allowed", "refused", or "none" where it did not come to one; Rule
	// is what refused the command.
	Decision, Rule string
	// Outcome is done, failed or uncertain; Code is the problem's.
	Outcome, Code              string
	Status                     int
	RequestID, ClientRequestID string
	Attempts                   int
	Received, Finished         time.Time
	// PayloadHash is of the command as it came.
	PayloadHash string
	// Again says that the end was in the ledger when this delivery began: a
	// delivery before may have written the row already.
	Again bool
}

// The decisions.
const (
	decisionAllowed = "allowed"
	decisionRefused = "refused"
	decisionNone    = "none"
)

// undecided are the ends without a request that say nothing about whether the
// command was allowed.
func undecided(code string) bool {
	return slices.Contains([]string{"gave_up", "panic", "ledger_unreadable", "uncertain_effect"}, code)
}

// decisionOn says what was decided about a command: nothing is sent to Outlook
// unless it was allowed, so what had a request was.
func decisionOn(o *Outcome) (decided, rule string) {
	switch {
	case o.Error == nil || o.Attempts > 0:
		return decisionAllowed, ""
	case undecided(o.Error.Code):
		return decisionNone, ""
	default:
		return decisionRefused, o.Error.Code
	}
}

// audit adds the row of an outcome. What it returns waits until it is stored.
func (j *job) audit(o *Outcome) (stored func(ctx context.Context) error) {
	if j.w.audit == nil {
		return func(context.Context) error { return nil }
	}
	row := AuditRow{
		ID: j.who.id, Key: j.who.key,
		Subject: j.m.Subject, Stream: j.m.Stream, Sequence: j.m.Sequence, MsgID: first(j.m.Header, headerMsgID),
		Publisher: j.m.Publisher, Entity: o.Entity, Mailbox: o.Mailbox,
		Outcome: o.Outcome, Status: o.Status, RequestID: o.RequestID, ClientRequestID: o.ClientRequestID,
		Attempts: o.Attempts, Received: o.ReceivedAt, Finished: o.FinishedAt, PayloadHash: j.who.hash, Again: !j.ended,
	}
	row.Decision, row.Rule = decisionOn(o)
	if o.Error != nil {
		row.Code = o.Error.Code
	}
	return j.w.audit.Add(row)
}

// unrecorded gives a command back before its first request, or its next one,
// because nobody could be told afterwards who had it made.
func (j *job) unrecorded(ctx context.Context, err error) Verdict {
	j.log.WarnContext(ctx, "audit rows cannot be stored, command waits", "error", err, "hint", fault.HintOf(err))
	return Again(j.w.spread(delayJournal))
}

// auditReady returns why nothing may have an effect at present, or nil.
func (w *Worker) auditReady() error {
	if w.audit == nil {
		return nil
	}
	return w.audit.Ready()
}
