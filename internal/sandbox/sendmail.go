package sandbox

// Sending: sendMail as JSON and as MIME, and send of a draft. A mail goes into the
// inboxes of those recipients that are mailboxes of this sandbox, once each, and
// into the sender's Sent Items; other recipients are recorded in the ledger and
// nothing more, but for those of the sandbox's own domain that are nobody's: of
// them the sender gets a report. The answer is 202 with no body and no id. With
// SubmitDelay the mail waits in Drafts first (mail_transport.go).
// https://learn.microsoft.com/graph/api/user-sendmail
//
// Left out: recipients per day, policies that refuse a mail after the 202, bounds on
// the size of a whole message, mail to the address of a group (it is in the ledger
// and begins no conversation).

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (c *call) sendMail() (*Answer, error) {
	m, save := newMessage(), true
	if c.isMIME() {
		if err := readMIME(m, c.body); err != nil {
			return nil, err
		}
	} else {
		params, err := c.readParameters("sendMail", "message", "saveToSentItems")
		if err != nil {
			return nil, err
		}
		if raw, ok := params["saveToSentItems"]; ok {
			if err := readValue(raw, "Edm.Boolean", &save); err != nil {
				return nil, err
			}
		}
		obj, err := readMember(params["message"])
		if err != nil {
			return nil, err
		}
		if _, err := writeMessage(m, obj, true); err != nil {
			return nil, err
		}
	}
	if err := c.sendable(m); err != nil {
		return nil, err
	}
	c.signAs(m)
	err := c.update(func(t *tx) error {
		c.submit(t, m, save)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// isMIME says that the body is a whole mail, as MIME in base64.
// https://learn.microsoft.com/graph/outlook-send-mime-message
func (c *call) isMIME() bool {
	kind, _, _ := strings.Cut(c.header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "text/plain")
}

// readMember reads the message of the parameters.
func readMember(raw json.RawMessage) (map[string]json.RawMessage, error) {
	var obj map[string]json.RawMessage
	if len(raw) == 0 || string(raw) == "null" {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The parameter 'message' is required.")
	}
	if err := json.Unmarshal(raw, &obj); err != nil {
		return nil, errBody("Cannot convert the literal '%s' to the expected type 'microsoft.graph.message'.", shorten(string(raw), 40))
	}
	return obj, nil
}

// accepted is 202: https://learn.microsoft.com/graph/outlook-things-to-know-about-send-mail
func (c *call) accepted() *Answer {
	return &Answer{Status: http.StatusAccepted, Header: http.Header{"Cache-Control": {"private"}}}
}

// sendDraft sends a draft: it moves to Sent Items, so its ordinary id changes.
func (c *call) sendDraft() (*Answer, error) {
	if len(c.body) > 0 && c.body[0] != '{' {
		return nil, newError(http.StatusBadRequest, "BadRequest", "The send action takes no body.")
	}
	err := c.update(func(t *tx) error {
		draft, err := c.messageOf()
		if err != nil {
			return err
		}
		if !draft.IsDraft {
			return newError(http.StatusBadRequest, "ErrorInvalidRequest", "The message is not a draft and cannot be sent.")
		}
		if err := c.matches(draft.Seq); err != nil {
			return err
		}
		if draft.Waiting != nil && !c.opts.mail.doubleSubmit {
			return nil
		}
		if err := c.sendable(draft); err != nil {
			return err
		}
		if c.opts.mail.submitDelay > 0 {
			c.wait(t, draft, true)
			return nil
		}
		sent := c.box.sent(t, draft, c.opts.idChangesOnSend)
		t.send(c, sent, makeID(idImmutable, c.box.ID, sent.Key, 0))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// sent moves a draft to Sent Items.
func (b *mailbox) sent(t *tx, draft *message, newID bool) *message {
	sent := *draft
	sent.IsDraft, sent.IsRead, sent.Waiting = false, true, nil
	sent.Folder = b.wellKnown["sentitems"].Key
	sent.Sent, sent.Received = t.now, t.now
	if newID {
		t.dropMessage(b, draft)
		t.addMessage(b, sent.Folder, &sent)
	} else {
		t.saveMessage(b, &sent)
	}
	return &sent
}

// submit sends a message that is in no folder yet.
func (c *call) submit(t *tx, m *message, save bool) {
	t.thread(c.box, m)
	if c.opts.mail.submitDelay > 0 {
		t.addMessage(c.box, c.box.wellKnown["drafts"].Key, m)
		c.wait(t, m, save)
		return
	}
	m.IsDraft = false
	item := ""
	if save {
		copied := *m
		t.addMessage(c.box, c.box.wellKnown["sentitems"].Key, &copied)
		item = makeID(idImmutable, c.box.ID, copied.Key, 0)
		m.Conversation = copied.Conversation
	}
	t.send(c, m, item)
}

// sendable refuses a message without a recipient, with one that is no address,
// in somebody else's name, or beyond the mails of a minute; it counts those.
func (c *call) sendable(m *message) error {
	all := slices.Concat(m.To, m.Cc, m.Bcc)
	if len(all) == 0 {
		return newError(http.StatusBadRequest, "ErrorInvalidRecipients",
			"At least one recipient isn't valid., A message can't be sent because it contains no recipients.")
	}
	for _, r := range all {
		local, domain, ok := strings.Cut(r.EmailAddress.Address, "@")
		if !ok || local == "" || domain == "" || strings.ContainsAny(r.EmailAddress.Address, " \t\r\n<>,;") {
			return newError(http.StatusBadRequest, "ErrorInvalidRecipients",
				"At least one recipient is not valid., Recipient '%s' is not resolved. All recipients must be resolved before a message can be submitted.",
				r.EmailAddress.Address)
		}
	}
	if most := c.opts.mail.maxRecipients; most > 0 && len(all) > most {
		return newError(http.StatusBadRequest, "ErrorInvalidRecipients",
			"At least one recipient is not valid., The message has %d recipients, more than the limit of %d.", len(all), most)
	}
	for _, who := range []*recipient{m.From, m.Sender} {
		if who != nil && !strings.EqualFold(who.EmailAddress.Address, c.box.UPN) {
			return newError(http.StatusForbidden, "ErrorSendAsDenied",
				"The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account.")
		}
	}
	return c.limits.message(c.box.ID, time.Now())
}

// send delivers a mail and notes that it was accepted.
func (t *tx) send(c *call, m *message, item string) {
	e := c.sentEffect(m, item)
	e.Delivered = t.distribute(c.box, m, c.opts.mail.noReports)
	t.do(record{Effect: &e})
}

// sentEffect is the ledger's entry of a mail that was accepted.
func (c *call) sentEffect(m *message, item string) Effect {
	return Effect{
		Kind: EffectSent, Time: time.Now().UTC(), RequestID: c.id, ClientRequestID: c.header.Get("client-request-id"),
		App: c.token.AppID, Mailbox: c.box.UPN, Item: item, What: "message", Subject: m.Subject, InternetMessageID: m.InternetID,
		Recipients: m.addresses(),
	}
}

// addresses are those that a mail goes to, each once, in lower case.
func (m *message) addresses() []string {
	var list []string
	for _, rs := range [][]recipient{m.To, m.Cc, m.Bcc} {
		for _, r := range rs {
			if name := strings.ToLower(r.EmailAddress.Address); !slices.Contains(list, name) {
				list = append(list, name)
			}
		}
	}
	return list
}

// distribute brings a mail to those recipients that are in this sandbox, and lists
// them.
func (t *tx) distribute(sender *mailbox, m *message, noReports bool) (delivered []string) {
	var nobody []string
	for _, name := range m.addresses() {
		box := t.mailboxNamed(name)
		switch {
		case box != nil:
			delivered = append(delivered, name)
			t.deliver(box, m)
		case strings.HasSuffix(name, "@"+DefaultDomain) && t.groupNamed(name) == nil:
			nobody = append(nobody, name)
		}
	}
	if len(nobody) > 0 && !noReports && sender.kind == kindPerson {
		t.report(sender, m, nobody)
	}
	return delivered
}

// deliver puts a copy of a mail into an inbox, as its recipient sees it.
func (t *tx) deliver(box *mailbox, m *message) *message {
	in := *m
	in.IsDraft, in.IsRead = false, false
	in.Arrived, in.Waiting = true, nil
	in.Bcc = nil                     // nobody sees whom else it went to in secret
	in.Extended, in.Multi = nil, nil // not sent on the wire
	in.Categories = nil              // likewise
	in.Conversation = ""             // each mailbox counts its own
	in.Received = t.now              // now,
	in.Touched = nil                 // and new
	in.Flag = followUp{FlagStatus: "notFlagged"}
	t.receiveMeeting(box, &in)
	t.thread(box, &in)
	t.receive(box, &in)
	return &in
}

// mailboxNamed finds a person's mailbox by address or object id.
func (st *state) mailboxNamed(name string) *mailbox {
	if b := st.byName[strings.ToLower(name)]; b != nil && b.kind == kindPerson {
		return b
	}
	return nil
}

// groupNamed finds a group by address or object id.
func (st *state) groupNamed(name string) *mailbox {
	if b := st.byName[strings.ToLower(name)]; b != nil && b.kind == kindGroup {
		return b
	}
	return nil
}
