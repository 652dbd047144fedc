package sandbox

// Sending: sendMail as JSON and as MIME, and send of a draft. A mail goes at
// once into the inboxes of those recipients that are mailboxes of this sandbox,
// once each, and into the sender's Sent Items; other recipients are recorded in
// the ledger and nothing more. The answer is 202 with no body and no id.
// https://learn.microsoft.com/graph/api/user-sendmail
//
// Left out: the time that a mail spends in Drafts before it is picked up,
// reports of non-delivery, limits on recipients and messages per minute.

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (c *call) sendMail() (*Answer, error) {
	m, save := c.newDraft(), true
	kind, _, _ := strings.Cut(c.header.Get("Content-Type"), ";")
	if strings.EqualFold(strings.TrimSpace(kind), "text/plain") {
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
		m.IsDraft = false
		item := ""
		if save {
			copied := *m
			t.addMessage(c.box, c.box.wellKnown["sentitems"].Key, &copied)
			item = makeID(idImmutable, c.box.ID, copied.Key, 0)
		}
		t.send(c, m, item)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
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
		if err := c.sendable(draft); err != nil {
			return err
		}
		sent := *draft
		sent.IsDraft, sent.IsRead = false, true
		sent.Folder = c.box.wellKnown["sentitems"].Key
		sent.Sent, sent.Received = t.now, t.now
		if c.opts.idChangesOnSend {
			t.dropMessage(c.box, draft)
			t.addMessage(c.box, sent.Folder, &sent)
		} else {
			t.saveMessage(c.box, &sent)
		}
		t.send(c, &sent, makeID(idImmutable, c.box.ID, sent.Key, 0))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// sendable refuses a message without a recipient, with one that is no address,
// or in somebody else's name.
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
	for _, who := range []*recipient{m.From, m.Sender} {
		if who != nil && !strings.EqualFold(who.EmailAddress.Address, c.box.UPN) {
			return newError(http.StatusForbidden, "ErrorSendAsDenied",
				"The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account.")
		}
	}
	return nil
}

// send delivers a mail and notes that it was accepted.
func (t *tx) send(c *call, m *message, item string) {
	e := Effect{
		Kind: EffectSent, Time: time.Now().UTC(), RequestID: c.id, ClientRequestID: c.header.Get("client-request-id"),
		App: c.token.AppID, Mailbox: c.box.UPN, Item: item, What: "message", Subject: m.Subject, InternetMessageID: m.InternetID,
	}
	for _, r := range slices.Concat(m.To, m.Cc, m.Bcc) {
		name := strings.ToLower(r.EmailAddress.Address)
		if slices.Contains(e.Recipients, name) {
			continue
		}
		e.Recipients = append(e.Recipients, name)
		if box := t.mailboxNamed(name); box != nil {
			e.Delivered = append(e.Delivered, name)
			t.deliver(box, m)
		}
	}
	t.do(record{Effect: &e})
}

// deliver puts a copy of a mail into an inbox, as its recipient sees it.
func (t *tx) deliver(box *mailbox, m *message) *message {
	in := *m
	in.IsDraft, in.IsRead = false, false
	in.Bcc = nil         // nobody sees whom else it went to in secret
	in.Extended = nil    // not sent on the wire
	in.Categories = nil  // likewise
	in.Conversation = "" // each mailbox counts its own
	in.Received = t.now  // now,
	in.Touched = nil     // and new
	in.Flag = followUp{FlagStatus: "notFlagged"}
	t.addMessage(box, box.wellKnown["inbox"].Key, &in)
	return &in
}

func (st *state) mailboxNamed(name string) *mailbox { return st.byName[strings.ToLower(name)] }

// Mail is a mail that comes from the outside world.
type Mail struct {
	// To are the mailboxes that get it.
	To []string
	// From is the sender's address. Default: sender@fabrikam.example.
	From string
	// Subject and Body are plain text.
	Subject, Body string
	// HTML says that Body is HTML.
	HTML bool
}

// Deliver puts a mail into inboxes as the outside world does, without Graph. It
// returns the internetMessageId.
func (s *Sandbox) Deliver(mail Mail) (string, error) {
	if mail.From == "" {
		mail.From = "sender@fabrikam.example"
	}
	body := itemBody{ContentType: "text", Content: mail.Body}
	if mail.HTML {
		body.ContentType = "html"
	}
	name, domain, _ := strings.Cut(mail.From, "@")
	from := &recipient{address{name, mail.From}}
	m := &message{
		Subject: mail.Subject, Body: body, Preview: preview(body), From: from, Sender: from,
		Importance: "normal", Inference: "focused", Flag: followUp{FlagStatus: "notFlagged"},
		InternetID: "<" + newGUID() + "@" + domain + ">",
	}
	err := s.update(func(t *tx) error {
		var boxes []*mailbox
		for _, to := range mail.To {
			box := t.mailboxNamed(to)
			if box == nil {
				return newError(http.StatusNotFound, "ErrorInvalidUser", "The requested user '%s' is invalid.", to)
			}
			m.To = append(m.To, recipient{address{box.Name(), box.UPN}})
			if !slices.Contains(boxes, box) {
				boxes = append(boxes, box)
			}
		}
		for _, box := range boxes {
			t.deliver(box, m)
		}
		return nil
	})
	return m.InternetID, err
}
