package sandbox

// The ledger of effects: every mail that was accepted to be sent and every item
// that was created through Graph, with the request that did it. A test compares
// it with what the client believes. Mail that the outside world delivers is not
// in it.

import (
	"slices"
	"time"
)

// EffectKind says what happened.
type EffectKind string

// The kinds.
const (
	// EffectSent is a mail accepted to be sent.
	EffectSent EffectKind = "sent"
	// EffectCreated is an item created: a draft, a copy, a folder.
	EffectCreated EffectKind = "created"
)

// Effect is one entry of the ledger.
type Effect struct {
	Kind            EffectKind `json:"kind"`
	Time            time.Time  `json:"time"`
	RequestID       string     `json:"request_id"`
	ClientRequestID string     `json:"client_request_id,omitempty"`
	App             string     `json:"app"`
	Mailbox         string     `json:"mailbox"`
	// Item is the id of the created item, or of the copy in Sent Items as an
	// immutable id; empty where no copy was kept. What is message or
	// mailFolder.
	Item              string `json:"item,omitempty"`
	What              string `json:"what"`
	Subject           string `json:"subject,omitempty"`
	InternetMessageID string `json:"internet_message_id,omitempty"`
	// Recipients are all addresses of a sent mail, Delivered those that are
	// mailboxes of this sandbox.
	Recipients []string `json:"recipients,omitempty"`
	Delivered  []string `json:"delivered,omitempty"`
}

// note writes an effect.
func (t *tx) note(c *call, kind EffectKind, m *message, item, what string) {
	e := Effect{
		Kind: kind, Time: time.Now().UTC(), RequestID: c.id, ClientRequestID: c.header.Get("client-request-id"),
		App: c.token.AppID, Mailbox: c.box.UPN, Item: item, What: what,
	}
	if m != nil {
		e.Subject, e.InternetMessageID = m.Subject, m.InternetID
	}
	t.do(record{Effect: &e})
}

// Effects lists the ledger in its order.
func (s *Sandbox) Effects() []Effect {
	var list []Effect
	s.read(func(st *state) { list = slices.Clone(st.effects) })
	return list
}
