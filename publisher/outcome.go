package publisher

import (
	"encoding/json"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// maxOutcomeBody is how much of Outlook's answer goes into an outcome, which
// has to fit into a NATS message (1 MB by default).
const maxOutcomeBody = 256 << 10

// Problem says what went wrong, for people.
type Problem struct {
	// Code is a short stable word.
	Code string `json:"code,omitempty"`
	// Message is a sentence: what happened.
	Message string `json:"message"`
	// Hint is a sentence: what to do. It may be empty.
	Hint string `json:"hint,omitempty"`
}

// Outcome is what became of a command, as outlook.result.<id> tells it.
type Outcome struct {
	// ID is the sender's Nats-Msg-Id, else <stream>-<sequence>.
	ID        string `json:"id"`
	Publisher string `json:"publisher"`
	// Mailbox and Entity are empty where the message could not be read so far.
	Mailbox string `json:"mailbox,omitempty"`
	Entity  string `json:"entity,omitempty"`
	// Outcome is "done", "failed" or "uncertain".
	Outcome string `json:"outcome"`
	// Status is of the last answer; zero where none came.
	Status          int    `json:"status,omitempty"`
	RequestID       string `json:"request_id,omitempty"`
	ClientRequestID string `json:"client_request_id,omitempty"`
	// ItemID and InternetMessageID are of what was created or changed, where
	// the answer tells.
	ItemID            string `json:"item_id,omitempty"`
	InternetMessageID string `json:"internet_message_id,omitempty"`
	// AlreadyGone says that what was to be deleted or cancelled was not there.
	AlreadyGone bool `json:"already_gone,omitempty"`
	// Found says that the last answer was lost, and the effect seen in the mailbox.
	Found bool `json:"found,omitempty"`
	// Weaker is why the command was carried out with less than its publisher's
	// delivery promises; empty: it was not.
	Weaker string `json:"weaker,omitempty"`
	// Body is Outlook's answer. BodyOmitted is its length where it is too long
	// to be here.
	Body        json.RawMessage `json:"body,omitempty"`
	BodyOmitted int             `json:"body_omitted,omitempty"`
	// Error is nil where the command is done.
	Error *Problem `json:"error,omitempty"`
	// Attempts counts the requests that were begun.
	Attempts   int       `json:"attempts"`
	ReceivedAt time.Time `json:"received_at"`
	FinishedAt time.Time `json:"finished_at"`
}

// takeBody puts an answer's body and the ids in it into the outcome.
func (o *Outcome) takeBody(body []byte) {
	value := jsontext.Value(body)
	// Graph sends previews cut in the middle of a surrogate pair, which a strict
	// reader refuses.
	if len(body) == 0 || !value.IsValid(jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) {
		return
	}
	var ids struct {
		ID                any `json:"id"`
		InternetMessageID any `json:"internetMessageId"`
	}
	if json.Unmarshal(body, &ids) == nil {
		if id, ok := ids.ID.(string); ok {
			o.ItemID = id
		}
		if id, ok := ids.InternetMessageID.(string); ok {
			o.InternetMessageID = id
		}
	}
	if len(body) > maxOutcomeBody {
		o.BodyOmitted = len(body)
		return
	}
	o.Body = body
}

// DeadLetter is a command that failed or whose effect is uncertain, with all
// that is needed to judge it and to send it again.
type DeadLetter struct {
	// DedupeID is the same each time the same letter is stored, and different
	// for every other letter.
	DedupeID string `json:"-"`
	// ID is the command's, Key its ledger record's.
	ID  string `json:"id"`
	Key string `json:"key"`
	// Publisher is as in the subject, even where there is none of that name.
	Publisher string `json:"publisher"`
	// Subject, Stream and Sequence say where the message was.
	Subject  string `json:"subject"`
	Stream   string `json:"stream"`
	Sequence uint64 `json:"sequence"`
	// Reason is why it is dead: the code of the outcome's error.
	Reason string `json:"reason"`
	// Error and Hint are the sentences for people.
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	// Stack is of a panic.
	Stack string `json:"stack,omitempty"`
	// Attempts counts the requests that were begun.
	Attempts   int       `json:"attempts"`
	ReceivedAt time.Time `json:"received_at"`
	DiedAt     time.Time `json:"died_at"`
	// Outcome is what the sender was told.
	Outcome Outcome `json:"outcome"`
	// Headers are the message's.
	Headers map[string][]string `json:"headers,omitempty"`
	// Data is the message where it is JSON, DataBase64 its bytes where it is
	// not. DataOmitted is its length where it was too long for a dead letter;
	// such a letter cannot be sent again.
	Data        json.RawMessage `json:"data,omitempty"`
	DataBase64  []byte          `json:"data_base64,omitempty"`
	DataOmitted int             `json:"data_omitted,omitempty"`
}

// Encode writes the letter as it is stored. Unlike json.Marshal it leaves <, >
// and & as they are: an HTML body would grow by half.
func (l DeadLetter) Encode() ([]byte, error) { return encode(l) }

// letter makes the dead letter of an outcome. It is a function of what is
// stored and of the message alone, so that it is the same after a crash.
func letter(m Message, who identity, dedupe string, outcome Outcome, stack string) DeadLetter {
	l := DeadLetter{
		DedupeID:   dedupe,
		ID:         who.id,
		Key:        who.key,
		Publisher:  m.Publisher,
		Subject:    m.Subject,
		Stream:     m.Stream,
		Sequence:   m.Sequence,
		Stack:      stack,
		Attempts:   outcome.Attempts,
		ReceivedAt: outcome.ReceivedAt,
		DiedAt:     outcome.FinishedAt,
		Outcome:    outcome,
		Headers:    m.Header,
	}
	if outcome.Error != nil {
		l.Reason, l.Error, l.Hint = outcome.Error.Code, outcome.Error.Message, outcome.Error.Hint
	}
	if jsontext.Value(m.Data).IsValid() {
		l.Data = m.Data
	} else {
		l.DataBase64 = m.Data
	}
	return l
}
