package sandbox

// What happens to a mail after the 202: the time in Drafts, the report to a sender
// of what could not be delivered, conversations.
//
// A conversation goes on where a mail answers one that the mailbox has
// (In-Reply-To, References) and has the same topic; every other mail begins one.
// Left out: conversations by Exchange's conversation index, delivery and read
// receipts.

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// submission is a draft's wait for the transport.
type submission struct {
	Due  int64 `json:"due"` // Unix nanoseconds
	Save bool  `json:"save,omitempty"`
	// Requests are those that sent it: mostly one.
	Requests []string `json:"requests"`
}

// delivery completes the ledger's entry of a mail that waited.
type delivery struct {
	Request   string   `json:"request"`
	Item      string   `json:"item,omitempty"`
	Delivered []string `json:"delivered,omitempty"`
}

// transport runs what is due later.
type transport struct {
	mu     sync.Mutex
	closed bool
	wait   sync.WaitGroup
}

// later has fn called at a time, unless the sandbox is closed before.
func (p *transport) later(due time.Time, stop <-chan struct{}, fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.wait.Go(func() {
		t := time.NewTimer(time.Until(due))
		defer t.Stop()
		select {
		case <-t.C:
			fn()
		case <-stop:
		}
	})
}

// close waits for what runs; stop is closed already.
func (p *transport) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.wait.Wait()
}

// wait marks a draft as accepted and has it picked up later.
func (c *call) wait(t *tx, draft *message, save bool) {
	fresh := *draft
	due := time.Now().Add(c.opts.mail.submitDelay)
	fresh.Waiting = &submission{Due: due.UnixNano(), Save: save, Requests: []string{c.id}}
	if old := draft.Waiting; old != nil {
		fresh.Waiting.Due, fresh.Waiting.Requests = old.Due, append(slices.Clip(old.Requests), c.id)
	}
	t.saveMessage(c.box, &fresh)
	item := ""
	if save {
		item = makeID(idImmutable, c.box.ID, fresh.Key, 0)
	}
	e := c.sentEffect(&fresh, item)
	t.do(record{Effect: &e})
	if draft.Waiting == nil {
		c.pickUpLater(c.box, &fresh)
	}
}

func (s *Sandbox) pickUpLater(box *mailbox, m *message) {
	key := m.Key
	s.post.later(time.Unix(0, m.Waiting.Due), s.stop, func() {
		err := s.update(func(t *tx) error {
			if m := box.messages[key]; m != nil && m.Waiting != nil {
				t.pickUp(box, m, s.opts)
			}
			return nil
		})
		if err != nil {
			s.log.Warn("a mail that waited could not be sent", "error", err.Error())
		}
	})
}

// resumeWaiting has mails picked up that were waiting when the sandbox was closed.
func (s *Sandbox) resumeWaiting() {
	s.read(func(st *state) {
		for _, box := range st.boxes {
			for _, m := range box.messages {
				if m.Waiting != nil {
					s.pickUpLater(box, m)
				}
			}
		}
	})
}

// pickUp sends a draft that has waited.
func (t *tx) pickUp(box *mailbox, draft *message, o options) {
	waited := draft.Waiting
	var sent *message
	item := ""
	if waited.Save {
		sent = box.sent(t, draft, o.idChangesOnSend)
		item = makeID(idImmutable, box.ID, sent.Key, 0)
	} else {
		t.dropMessage(box, draft)
		gone := *draft
		gone.IsDraft, gone.Waiting, gone.Sent, gone.Received = false, nil, t.now, t.now
		sent = &gone
	}
	for _, request := range waited.Requests {
		t.do(record{Delivery: &delivery{Request: request, Item: item, Delivered: t.distribute(box, sent, o.mail.noReports)}})
	}
}

// delivered completes an entry of the ledger, if it is still there.
func (st *state) delivered(d *delivery) {
	for i, e := range slices.Backward(st.effects) {
		if e.Kind == EffectSent && e.RequestID == d.Request {
			e.Item, e.Delivered = d.Item, d.Delivered
			st.effects[i] = e
			return
		}
	}
}

// topic is a subject without what replies and forwards put before it.
func topic(subject string) string {
	for {
		subject = strings.TrimSpace(subject)
		head, rest, found := strings.Cut(subject, ":")
		if !found || !slices.Contains([]string{"re", "fw", "fwd"}, strings.ToLower(strings.TrimSpace(head))) {
			return strings.ToLower(subject)
		}
		subject = rest
	}
}

// thread puts a message that is about to come into a mailbox into the
// conversation that it goes on with.
func (t *tx) thread(box *mailbox, m *message) {
	if m.Conversation != "" || m.InReplyTo == "" && len(m.References) == 0 {
		return
	}
	about := topic(m.Subject)
	for _, old := range box.messages {
		if old.InternetID != "" && (old.InternetID == m.InReplyTo || slices.Contains(m.References, old.InternetID)) && topic(old.Subject) == about {
			m.Conversation = old.Conversation
			return
		}
	}
}

// report writes to the sender that a mail did not reach everybody.
func (t *tx) report(sender *mailbox, m *message, nobody []string) {
	postmaster := &recipient{address{"Microsoft Outlook", "postmaster@" + DefaultDomain}}
	text := "Delivery has failed to these recipients or groups:\r\n\r\n" + strings.Join(nobody, "\r\n") +
		"\r\n\r\nThe email address you entered couldn't be found. Please check the recipient's email address and try to resend the message.\r\n\r\n" +
		"Diagnostic information for administrators:\r\n\r\n#550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup ##"
	ndr := newMessage()
	ndr.IsDraft = false
	ndr.Subject = "Undeliverable: " + m.Subject
	ndr.Body = itemBody{"text", text}
	ndr.Preview = preview(ndr.Body)
	ndr.From, ndr.Sender = postmaster, postmaster
	ndr.Headers = []header{{autoHeader, "All"}} // nobody answers a report by machine
	ndr.To = []recipient{{address{sender.Name(), sender.UPN}}}
	ndr.InternetID = newInternetID()
	ndr.InReplyTo, ndr.References = m.InternetID, []string{m.InternetID}
	original := *m
	original.Bcc, original.Extended, original.Multi, original.Waiting = nil, nil, nil, nil
	ndr.attach(&attachment{Kind: itemKind, Name: m.Subject, ContentType: "message/rfc822", Modified: t.now, Size: len(m.Body.Content), Message: &original})
	t.deliver(sender, ndr)
}
