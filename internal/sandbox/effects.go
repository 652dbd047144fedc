package sandbox

// The ledger of effects: every mail that was accepted to be sent and every item
// that was created through Graph, with the request that did it. A test compares
// it with what the client believes. Mail that the outside world delivers is not
// in it. With Keep only the newest entries are there, and Stats says how many are
// not.

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

// noteEntity writes the creation of an entity.
func (t *tx) noteEntity(c *call, e *entity) {
	t.note(c, EffectCreated, nil, c.idOf(e), e.Type)
}

// Effects lists the ledger in its order.
func (s *Sandbox) Effects() []Effect {
	var list []Effect
	s.read(func(st *state) { list = slices.Clone(st.ledger()) })
	return list
}

// addEffect forgets in lumps, so that a bounded ledger costs no more than one
// without a bound.
func (st *state) addEffect(e Effect) {
	st.effects = append(st.effects, e)
	if n := st.keepEffects; n > 0 && len(st.effects) >= 2*n {
		st.effectsGone += int64(len(st.effects) - n)
		st.effects = append(make([]Effect, 0, 2*n), st.effects[len(st.effects)-n:]...)
	}
}

// ledger is what is remembered of the effects; the slice must not be changed.
func (st *state) ledger() []Effect {
	if n := st.keepEffects; n > 0 && len(st.effects) > n {
		return st.effects[len(st.effects)-n:]
	}
	return st.effects
}

// forgottenEffects counts those that the ledger no longer has.
func (st *state) forgottenEffects() int64 {
	return st.effectsGone + int64(len(st.effects)-len(st.ledger()))
}
