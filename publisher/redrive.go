package publisher

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"outlook-connector/internal/fault"
)

// headerRedriveOf names the command that a message sends again.
const headerRedriveOf = "Outlook-Redrive-Of"

// headerRedriveUncertain is the ledger's key of the uncertain command that a message
// sends again as it was: its effect is looked for first.
const headerRedriveUncertain = "Outlook-Redrive-Uncertain"

// Redrive is a dead command as it is sent again.
type Redrive struct {
	// Of is the id of the command that died first, N counts its redrives from 1.
	Of string
	N  int
	// Header and Data are the message's. Header has neither the key, see [Redrive.Sealed],
	// nor what belonged to the first message alone.
	Header map[string][]string
	Data   []byte

	uncertain string // the ledger's key of the first message where it ended so
	text      []byte // of the first message
}

// Redrive returns the message of a dead letter as it can be sent again. It is
// a function of the letter: however often it is asked, and by whomever, the
// same letter goes out under the same key, and so at most once.
func (l DeadLetter) Redrive() (Redrive, error) {
	if l.DataOmitted > 0 {
		return Redrive{}, refuse("no_message", "the dead letter was kept without its message, which had %d bytes", l.DataOmitted).
			WithHint("publish the message again from where it came from, then: outlook-connector dlq discard ID")
	}
	r := Redrive{Of: l.ID, N: 1, Header: map[string][]string{}, Data: l.Data}
	if len(l.Data) == 0 {
		r.Data = l.DataBase64
	}
	if r.text = r.Data; l.Outcome.Outcome == string(stateUncertain) {
		r.uncertain = l.Key
	}
	if l.Reason == "key_reused" {
		// The id is another command's, whose redrives have the keys that it gives.
		r.Of = l.Stream + "-" + strconv.FormatUint(l.Sequence, 10)
	}
	if of := first(l.Headers, headerRedriveOf); of != "" && l.Reason != "key_reused" {
		if rest, ok := strings.CutPrefix(first(l.Headers, headerMsgID), of+"/r"); ok {
			if n, err := strconv.Atoi(rest); err == nil && n > 0 {
				r.Of, r.N = of, n+1
			}
		}
	}
	for name, list := range l.Headers {
		if (len(name) < 5 || !strings.EqualFold(name[:5], "Nats-")) && !strings.EqualFold(name, headerRedriveUncertain) {
			r.Header[name] = list
		}
	}
	return r, nil
}

// Key is the idempotency key under which it goes out.
func (r Redrive) Key() string { return r.Of + "/r" + strconv.Itoa(r.N) }

// ResultID is the id under which its outcome is told.
func (r Redrive) ResultID() string { return ResultID(r.Key()) }

// LedgerKey is the key of its ledger record.
func (r Redrive) LedgerKey(publisher string) string { return publisher + "." + r.ResultID() }

// Sealed returns the headers with the key and the link to the first command. Where
// that is uncertain and nothing of its text was changed, its effect is looked for.
func (r Redrive) Sealed() map[string][]string {
	header := maps.Clone(r.Header)
	header[headerMsgID], header[headerRedriveOf] = []string{r.Key()}, []string{r.Of}
	if r.uncertain != "" && bytes.Equal(r.Data, r.text) {
		header[headerRedriveUncertain] = []string{r.uncertain}
	}
	return header
}

// Expired returns the time at which the message expires where that is over: it
// would be refused again.
func (r Redrive) Expired(now time.Time) (time.Time, bool) {
	at, err := readTime(r.Header, headerExpires)
	return at, err == nil && !at.IsZero() && !now.Before(at)
}

// Recorded is what the ledger tells of a command, for those who only look.
type Recorded struct {
	// State is claimed, sending, done, failed or uncertain.
	State string
	// Received is when the stream stored the message; zero where the record does
	// not tell.
	Received time.Time
	// Step is the request at which a command of several stands, Item what those
	// before have made, Looked how often in a row the effect was not found.
	Step, Item string
	Looked     int

	hash, source string
}

// ReadRecord reads a ledger record.
func ReadRecord(data []byte) (Recorded, error) {
	rec, err := decodeRecord(data)
	if err != nil {
		return Recorded{}, err
	}
	r := Recorded{State: string(rec.State), hash: rec.Hash, source: rec.Source}
	var way struct {
		Step, Item string
		Looked     int
	}
	if json.Unmarshal(data, &way) == nil {
		r.Step, r.Item, r.Looked = way.Step, way.Item, way.Looked
	}
	if i := strings.LastIndexByte(rec.Source, '-'); i >= 0 {
		if ms, err := strconv.ParseInt(rec.Source[i+1:], 36, 64); err == nil {
			r.Received = time.UnixMilli(ms).UTC()
		}
	}
	return r, nil
}

// Of reports whether the record is of a message with this text.
func (r Recorded) Of(data []byte) bool {
	sum := sha256.Sum256(data)
	return r.hash == base64.RawURLEncoding.EncodeToString(sum[:])
}

// Is reports whether the record is of the message in a dead letter.
func (r Recorded) Is(l DeadLetter) bool { return r.source == l.source() }

// source is what the ledger record of the letter's message has as its source.
func (l DeadLetter) source() string {
	return l.Stream + "-" + strconv.FormatUint(l.Sequence, 10) + "-" + strconv.FormatInt(l.ReceivedAt.UnixMilli(), 36)
}

// ErrOtherRecord says that a ledger record is not that of a dead letter.
var ErrOtherRecord = errors.New("the ledger record is of another command")

// Resolved is the outcome of a command of which a person said how it ended.
type Resolved struct {
	Outcome

	// Resolved is true.
	Resolved bool `json:"resolved"`
	// Note is what the person wrote.
	Note string `json:"note,omitempty"`
}

// ResolveAsDone returns the outcome of an uncertain command of which a person
// has found that it is done.
func (l DeadLetter) ResolveAsDone(note string, at time.Time) (Resolved, error) {
	if l.Outcome.Outcome != string(stateUncertain) {
		return Resolved{}, refuse("not_uncertain", "the command %s did not end as uncertain but as %s: it had no effect", l.ID, l.Outcome.Outcome).
			WithHint("outlook-connector dlq redrive ID sends it again, outlook-connector dlq discard ID removes it")
	}
	body, err := encode(struct {
		Resolved   string    `json:"resolved"`
		Note       string    `json:"note,omitempty"`
		ResolvedAt time.Time `json:"resolved_at"`
	}{"by a person", note, at.UTC()})
	if err != nil {
		return Resolved{}, fmt.Errorf("encode note: %w", err)
	}
	r := Resolved{Outcome: l.Outcome, Resolved: true, Note: note}
	r.Outcome.Outcome, r.Error, r.FinishedAt = string(stateDone), nil, at.UTC()
	r.Body, r.BodyOmitted = body, 0
	return r, nil
}

// Encode writes the outcome as it is told.
func (r Resolved) Encode() ([]byte, error) { return encode(r) }

// ResolveRecord returns an uncertain command's ledger record as done: whoever
// sends the command again under its key is told so, and it is not carried out.
// changed is false where the record is done already. A record that is not this
// letter's is [ErrOtherRecord].
func (l DeadLetter) ResolveRecord(data []byte, r Resolved) (text []byte, changed bool, err error) {
	rec, err := decodeRecord(data)
	if err != nil {
		return nil, false, err
	}
	switch {
	case rec.Source != l.source():
		return nil, false, ErrOtherRecord
	case rec.State == stateDone:
		return data, false, nil
	case rec.State != stateUncertain:
		return nil, false, refuse("not_uncertain", "the ledger says of the command %s: %s", l.ID, rec.State)
	}
	rec.State, rec.Outcome, rec.Touched = stateDone, &r.Outcome, r.FinishedAt
	if text, err = encode(rec); err != nil {
		return nil, false, fault.New(fault.Poison, "encode ledger record: %w", err)
	}
	return text, !bytes.Equal(text, data), nil
}

// ReadLetter reads a stored dead letter.
func ReadLetter(data []byte) (DeadLetter, error) {
	var l DeadLetter
	if err := json.Unmarshal(data, &l); err != nil {
		return DeadLetter{}, fmt.Errorf("decode dead letter: %w", err)
	}
	return l, nil
}
