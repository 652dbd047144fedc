package audit

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// encodeCommand appends the row of a command, of which there are as many as there
// are commands, so that what encoding/json has to find out of each row was a third
// of its price. It is the same text to the byte.
func encodeCommand(to []byte, r *Row) ([]byte, error) {
	o := object{to: append(to, '{'), first: true}
	o.number("v", uint64(r.Version))
	o.text("chain", r.Chain)
	o.number("n", r.Number)
	o.text("prev", r.Prev)
	o.time("time", r.Time)
	o.text("kind", string(r.Kind))
	o.name("command")
	o.to, o.first = append(o.to, '{'), true
	c := r.Command
	o.text("id", c.ID)
	o.textIf("key", c.Key)
	o.text("subject", c.Subject)
	o.text("stream", c.Stream)
	o.number("sequence", c.Sequence)
	o.textIf("msg_id", c.MsgID)
	o.text("publisher", c.Publisher)
	o.textIf("entity", c.Entity)
	o.textIf("mailbox", c.Mailbox)
	o.text("decision", c.Decision)
	o.textIf("rule", c.Rule)
	o.text("outcome", c.Outcome)
	o.textIf("code", c.Code)
	if c.Status != 0 {
		o.integer("status", c.Status)
	}
	o.textIf("request_id", c.RequestID)
	o.textIf("client_request_id", c.ClientRequestID)
	o.integer("attempts", c.Attempts)
	o.time("received", c.Received)
	o.time("finished", c.Finished)
	o.text("payload_hash", c.PayloadHash)
	if c.Again {
		o.name("again")
		o.to = append(o.to, "true"...)
	}
	return append(o.to, "}}"...), o.err
}

// object appends the members of a JSON object.
type object struct {
	to    []byte
	first bool  // there is no member so far
	err   error // the first one
}

// name begins a member.
func (o *object) name(name string) {
	if !o.first {
		o.to = append(o.to, ',')
	}
	o.first = false
	o.to = append(append(append(o.to, '"'), name...), `":`...)
}

func (o *object) number(name string, n uint64) {
	o.name(name)
	o.to = strconv.AppendUint(o.to, n, 10)
}

func (o *object) integer(name string, n int) {
	o.name(name)
	o.to = strconv.AppendInt(o.to, int64(n), 10)
}

func (o *object) time(name string, t time.Time) {
	o.name(name)
	o.to = append(o.to, '"')
	var err error
	if o.to, err = t.AppendText(o.to); err != nil && o.err == nil {
		o.err = err
	}
	o.to = append(o.to, '"')
}

// textIf is text for a member that is left out where it is empty.
func (o *object) textIf(name, text string) {
	if text != "" {
		o.text(name, text)
	}
}

func (o *object) text(name, text string) {
	o.name(name)
	if isPlain(text) {
		o.to = append(append(append(o.to, '"'), text...), '"')
		return
	}
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil && o.err == nil {
		o.err = err // a string has none
	}
	o.to = append(o.to, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}

// isPlain reports whether a text stands in JSON as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
