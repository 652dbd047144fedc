package publisher

import (
	"encoding/json"
	"fmt"
	"time"
)

// state is how far a command came.
type state string

// The states of a record. It moves down this list; sending and claimed take
// turns while attempts are refused.
const (
	// stateNone: there is no record.
	stateNone state = ""
	// stateClaimed: no request is under way.
	stateClaimed state = "claimed"
	// stateSending: a request was about to be made, and nothing is known of it.
	stateSending state = "sending"
	// The ends.
	stateDone      state = "done"
	stateFailed    state = "failed"
	stateUncertain state = "uncertain"
)

func (s state) terminal() bool {
	return s == stateDone || s == stateFailed || s == stateUncertain
}

// recordVersion is written into each record, so that a later program can tell
// its own records from these.
const recordVersion = 1

// record is what the ledger keeps of a command.
type record struct {
	Version int   `json:"v"`
	State   state `json:"state"`
	// Hash is of the message's text, Source of the place where it is stored.
	Hash   string `json:"hash"`
	Source string `json:"source"`
	// Attempts counts the requests that were begun.
	Attempts int `json:"attempts"`
	// Conflicts counts the 412 among them.
	Conflicts int `json:"conflicts,omitempty"`
	// Try is the client-request-id of the last attempt. It is random, and so
	// also tells a worker its own record from anybody else's.
	Try string `json:"try,omitempty"`
	// Doubt says what may be done with the attempt while nothing is known of it: as
	// it was when it was begun, since the configuration may have changed.
	Doubt doubt `json:"doubt,omitempty"`
	// Repeatable is what earlier versions wrote in the place of Doubt.
	Repeatable bool `json:"repeatable,omitempty"`
	// Step is the step of the recipe at which the command stands, Begun when a
	// request of it was made first. "" is the first step.
	Step  string    `json:"step,omitempty"`
	Begun time.Time `json:"begun,omitzero"`
	// Item is the id of what the steps before have made. Draft says that it is a
	// draft of this command's own, of which nobody knows.
	Item  string `json:"item,omitempty"`
	Draft bool   `json:"draft,omitempty"`
	// Refused counts the refusals that an earlier request may have caused.
	Refused int `json:"refused,omitempty"`
	// Looked counts the looks in a row that found nothing of the attempt's effect.
	Looked int `json:"looked,omitempty"`
	// Plain says that the recipe is the one for a client that may not do the other.
	Plain bool `json:"plain,omitempty"`
	// Mark is what the markers are made of where it is not the record's own key: the
	// command sends another one again.
	Mark string `json:"mark,omitempty"`
	// Upload is how far the large attachments are.
	Upload json.RawMessage `json:"upload,omitempty"`
	// Open says that an earlier attempt may have had its effect.
	Open bool `json:"open,omitempty"`
	// Mailbox and Entity are as at the last attempt.
	Mailbox string `json:"mailbox,omitempty"`
	Entity  string `json:"entity,omitempty"`
	// NotUntil is the time before which no attempt may be made (Retry-After). A
	// message can come back earlier, after a crash.
	NotUntil time.Time `json:"not_until,omitzero"`
	// Touched is when the record was written.
	Touched time.Time `json:"touched"`
	// Cause is why the last attempt failed.
	Cause *cause `json:"cause,omitempty"`
	// Outcome is there in a terminal state.
	Outcome *Outcome `json:"outcome,omitempty"`
	// Stack is of a panic.
	Stack string `json:"stack,omitempty"`
}

// inDoubt says what may be done with the request that the record says is under way.
func (r record) inDoubt() doubt {
	switch {
	case r.Doubt != "":
		return r.Doubt
	case r.Repeatable:
		return repeat
	default:
		return leave
	}
}

// open reports whether a request may have had its effect that is not known.
func (r record) open() bool { return r.State == stateSending || r.Open }

// cause is what is told of an attempt that failed.
type cause struct {
	Problem
	Status          int    `json:"status,omitempty"`
	RequestID       string `json:"request_id,omitempty"`
	ClientRequestID string `json:"client_request_id,omitempty"`
}

// maxName bounds a name or an id in a record that must be small.
const maxName = 1 << 10

// small returns the record without what may be long and what nobody needs to
// go on by it. What is shared with the original is left as it was.
func (r record) small() record {
	r.Stack = ""
	r.Mailbox, r.Entity = clipTo(r.Mailbox, maxMailbox), clipTo(r.Entity, maxName)
	if r.Outcome != nil {
		o := *r.Outcome
		o.BodyOmitted, o.Body = max(len(o.Body), o.BodyOmitted), nil
		o.Mailbox, o.Entity = clipTo(o.Mailbox, maxMailbox), clipTo(o.Entity, maxName)
		o.ItemID, o.InternetMessageID = clipTo(o.ItemID, maxName), clipTo(o.InternetMessageID, maxName)
		r.Outcome = &o
	}
	return r
}

// decodeRecord reads a record. A record that cannot be read stops its command:
// guessing at it could repeat an effect.
func decodeRecord(data []byte) (record, error) {
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("decode ledger record: %w", err)
	}
	switch r.State {
	case stateClaimed, stateSending:
	case stateDone, stateFailed, stateUncertain:
		if r.Outcome == nil {
			return record{}, fmt.Errorf("decode ledger record: state %s without an outcome", r.State)
		}
	default:
		return record{}, fmt.Errorf("decode ledger record: state %q", r.State)
	}
	if r.Version != recordVersion {
		return record{}, fmt.Errorf("decode ledger record: version %d, this program writes %d", r.Version, recordVersion)
	}
	return r, nil
}
