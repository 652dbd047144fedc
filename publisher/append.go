package publisher

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Outcomes and records are written for each command, and so by hand: in the same
// bytes as by encode, which looks through a value by reflection. A member that is
// missing here is seen by a test.

// appender writes the members of a JSON object.
type appender struct {
	text []byte
	err  error // the first one
}

// name begins a member.
func (m *appender) name(name string) {
	if m.text[len(m.text)-1] != '{' {
		m.text = append(m.text, ',')
	}
	m.text = append(m.text, '"')
	m.text = append(m.text, name...)
	m.text = append(m.text, '"', ':')
}

// string writes a member that may be empty.
func (m *appender) string(name, value string) {
	m.name(name)
	for i := range len(value) {
		if c := value[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, err := encode(value)
			m.text = append(m.text, text...)
			m.fail(name, err)
			return
		}
	}
	m.text = append(m.text, '"')
	m.text = append(m.text, value...)
	m.text = append(m.text, '"')
}

// some writes a member that is left out where it is empty.
func (m *appender) some(name, value string) {
	if value != "" {
		m.string(name, value)
	}
}

// int writes a member that may be zero.
func (m *appender) int(name string, value int) {
	m.name(name)
	m.text = strconv.AppendInt(m.text, int64(value), 10)
}

// number writes a member that is left out where it is zero.
func (m *appender) number(name string, value int) {
	if value != 0 {
		m.int(name, value)
	}
}

// mark writes a member that is left out where it is false.
func (m *appender) mark(name string, value bool) {
	if value {
		m.name(name)
		m.text = append(m.text, "true"...)
	}
}

// time writes a member that may be the zero time.
func (m *appender) time(name string, value time.Time) {
	m.name(name)
	m.text = append(m.text, '"')
	var err error
	m.text, err = value.AppendText(m.text)
	m.fail(name, err)
	m.text = append(m.text, '"')
}

// moment writes a member that is left out where it is the zero time.
func (m *appender) moment(name string, value time.Time) {
	if !value.IsZero() {
		m.time(name, value)
	}
}

// raw writes a member that is JSON already, and is left out where it is empty.
func (m *appender) raw(name string, value json.RawMessage) {
	if len(value) == 0 {
		return
	}
	m.name(name)
	out := bytes.NewBuffer(m.text)
	m.fail(name, json.Compact(out, value))
	m.text = out.Bytes()
}

// begin and end enclose the members of an object that is a member itself.
func (m *appender) begin(name string) {
	m.name(name)
	m.text = append(m.text, '{')
}

func (m *appender) end() { m.text = append(m.text, '}') }

func (m *appender) fail(name string, err error) {
	if err != nil && m.err == nil {
		m.err = fmt.Errorf("%s: %w", name, err)
	}
}

// encode is the text of an outcome.
func (o *Outcome) encode() ([]byte, error) {
	m := appender{text: make([]byte, 0, 512+len(o.Body))}
	m.text = append(m.text, '{')
	o.members(&m)
	m.end()
	if m.err != nil {
		return nil, fmt.Errorf("encode outcome: %w", m.err)
	}
	return m.text, nil
}

func (o *Outcome) members(m *appender) {
	m.string("id", o.ID)
	m.string("publisher", o.Publisher)
	m.some("mailbox", o.Mailbox)
	m.some("entity", o.Entity)
	m.string("outcome", o.Outcome)
	m.number("status", o.Status)
	m.some("request_id", o.RequestID)
	m.some("client_request_id", o.ClientRequestID)
	m.some("item_id", o.ItemID)
	m.some("internet_message_id", o.InternetMessageID)
	m.mark("already_gone", o.AlreadyGone)
	m.mark("found", o.Found)
	m.some("weaker", o.Weaker)
	m.raw("body", o.Body)
	m.number("body_omitted", o.BodyOmitted)
	if o.Error != nil {
		m.begin("error")
		o.Error.members(m)
		m.end()
	}
	m.int("attempts", o.Attempts)
	m.time("received_at", o.ReceivedAt)
	m.time("finished_at", o.FinishedAt)
}

func (p *Problem) members(m *appender) {
	m.some("code", p.Code)
	m.string("message", p.Message)
	m.some("hint", p.Hint)
}

// encode is the text of a record.
func (r *record) encode() ([]byte, error) {
	size := 640 + len(r.Upload)
	if r.Outcome != nil {
		size += 640 + len(r.Outcome.Body)
	}
	m := appender{text: make([]byte, 0, size)}
	m.text = append(m.text, '{')
	m.int("v", r.Version)
	m.string("state", string(r.State))
	m.string("hash", r.Hash)
	m.string("source", r.Source)
	m.int("attempts", r.Attempts)
	m.number("conflicts", r.Conflicts)
	m.some("try", r.Try)
	m.some("doubt", string(r.Doubt))
	m.mark("repeatable", r.Repeatable)
	m.some("step", r.Step)
	m.moment("begun", r.Begun)
	m.some("item", r.Item)
	m.mark("draft", r.Draft)
	m.number("refused", r.Refused)
	m.number("looked", r.Looked)
	m.mark("plain", r.Plain)
	m.some("mark", r.Mark)
	m.raw("upload", r.Upload)
	m.mark("open", r.Open)
	m.some("mailbox", r.Mailbox)
	m.some("entity", r.Entity)
	m.moment("not_until", r.NotUntil)
	m.time("touched", r.Touched)
	if r.Cause != nil {
		m.begin("cause")
		r.Cause.members(&m)
		m.number("status", r.Cause.Status)
		m.some("request_id", r.Cause.RequestID)
		m.some("client_request_id", r.Cause.ClientRequestID)
		m.end()
	}
	if r.Outcome != nil {
		m.begin("outcome")
		r.Outcome.members(&m)
		m.end()
	}
	m.some("stack", r.Stack)
	m.end()
	if m.err != nil {
		return nil, fmt.Errorf("encode ledger record: %w", m.err)
	}
	return m.text, nil
}
