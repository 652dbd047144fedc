package publisher

import (
	"context"
	"strings"
	"time"

	"outlook-connector/internal/catalog"
)

// onLane holds a request to the mailbox of its subject: who may publish there
// may write to no other one, and the order that the subject promises is that of
// one mailbox.
func onLane(m *Message, r *request) error {
	if m.Mailbox == "" {
		return nil
	}
	named := strings.TrimSpace(r.mailbox)
	if named != "" && !strings.EqualFold(named, m.Mailbox) {
		return refuse("mailbox_differs", "the subject is that of the mailbox %q, and the command names %q", clip(m.Mailbox), clip(named)).
			WithHint("leave mailbox out, or publish to the subject of that mailbox")
	}
	r.mailbox = m.Mailbox
	return nil
}

// Glance is what can be told of a command without doing anything about it.
type Glance struct {
	// Client and Mailbox say whose slot it needs. The mailbox is "-" for an
	// operation without one.
	Client, Mailbox string
	// NotBefore is when it may begin; zero is now.
	NotBefore time.Time
	// GiveUp is when it will have been tried for long enough.
	GiveUp time.Time
	// Straight says that it probably needs nothing but the slot for its request: it is
	// not written down before, nor made together with others.
	Straight bool
}

// Glance tells where a command will have to wait, so that the caller can have it
// wait there instead of in [Worker.Handle], which counts it as in hand. It says
// ok false for one that Handle answers without Outlook, or whose mailbox only
// the publisher's transform knows where that cannot be run. It decides nothing:
// Handle looks at everything again, but for the text of m, which is read only once.
func (w *Worker) Glance(ctx context.Context, m *Message) (g Glance, ok bool) {
	def := w.publishers[m.Publisher]
	if def == nil {
		return g, false
	}
	t, err := readTerms(m, def)
	if err != nil {
		return g, false
	}
	g = Glance{Client: def.Client, NotBefore: t.notBefore, GiveUp: later(m.Received, t.notBefore).Add(def.GiveUpAfter)}
	if !t.expires.IsZero() && t.expires.Before(g.GiveUp) {
		g.GiveUp = t.expires
	}
	if def.RequestTransform != nil {
		p, err := w.plan(ctx, m, def)
		if err != nil || p.op == nil {
			return g, false
		}
		g.Mailbox, g.Straight = p.mailbox, straight(m, def, t, p.op)
		return g, p.mailbox != ""
	}
	r, err := m.read()
	if err != nil || onLane(m, &r) != nil {
		return g, false
	}
	op, err := w.entity(def, r.entity)
	if err != nil || op == nil {
		return g, false
	}
	g.Mailbox, err = def.mailbox(op, r.mailbox)
	g.Straight = straight(m, def, t, op)
	return g, err == nil && g.Mailbox != ""
}

// straight is [Glance.Straight], see unwritten and [Call.Batch].
func straight(m *Message, def *definition, t terms, op *catalog.Operation) bool {
	return t.delivery == AtLeastOnce && m.Fresh && first(m.Header, headerMsgID) == "" && (!def.Batch || !op.Batches())
}

// Begun returns how many commands of each publisher may be between what they wait
// for and the end of their last request, by the publisher's name. More would only
// wait for one another, with slots of their mailboxes that others need.
func (w *Worker) Begun() map[string]int {
	out := make(map[string]int, len(w.publishers))
	for name, def := range w.publishers {
		out[name] = cap(def.gates.begun)
	}
	return out
}

// InHand returns how many commands of each publisher the worker has in hand at a
// time, by the publisher's name: those with a request at Graph, and those of which
// the ledger, the outcome or the acknowledgment is being written meanwhile.
func (w *Worker) InHand() map[string]int {
	out := make(map[string]int, len(w.publishers))
	for name, def := range w.publishers {
		out[name] = InHand(def.InFlight)
	}
	return out
}
