package sandbox

// Replies and forwards, sent at once or as drafts. Modelled: subject, recipients
// (Reply-To before From; to all without one's own address), quotation,
// In-Reply-To and References, the conversation, attachments that a forward keeps;
// comment or message.body, other properties of message, recipients in it added to
// those that follow from the original; MIME content in the place of all that.
// A message.body takes the place of the quotation as well.
// https://learn.microsoft.com/graph/api/message-reply
//
// Left out: the mark that a message was answered, languages other than English
// in the quotation.

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// answerKind is one of the three ways to answer.
type answerKind byte

const (
	toSender answerKind = iota
	toAll
	toOthers // a forward
)

func (c *call) reply() (*Answer, error)          { return c.sendAnswer("reply", toSender) }
func (c *call) replyAll() (*Answer, error)       { return c.sendAnswer("replyAll", toAll) }
func (c *call) forward() (*Answer, error)        { return c.sendAnswer("forward", toOthers) }
func (c *call) createReply() (*Answer, error)    { return c.draftAnswer("createReply", toSender) }
func (c *call) createReplyAll() (*Answer, error) { return c.draftAnswer("createReplyAll", toAll) }
func (c *call) createForward() (*Answer, error)  { return c.draftAnswer("createForward", toOthers) }

// answerParts are what a client says about its answer.
type answerParts struct {
	comment *string
	message map[string]json.RawMessage
	to      []recipient
	mime    bool
}

func (c *call) readAnswer(action string, kind answerKind) (answerParts, error) {
	var p answerParts
	if c.isMIME() {
		p.mime = true
		return p, nil
	}
	if len(strings.TrimSpace(string(c.body))) == 0 {
		return p, nil // all parameters are optional
	}
	known := []string{"comment", "message"}
	if kind == toOthers {
		known = append(known, "toRecipients")
	}
	params, err := c.readParameters(action, known...)
	if err != nil {
		return p, err
	}
	given := func(name string) bool { raw, ok := params[name]; return ok && string(raw) != "null" }
	if given("comment") {
		if err := readValue(params["comment"], "Edm.String", &p.comment); err != nil {
			return p, err
		}
	}
	if given("toRecipients") {
		if err := readValue(params["toRecipients"], "Collection(microsoft.graph.recipient)", &p.to); err != nil {
			return p, err
		}
	}
	if given("message") {
		if p.message, err = readMember(params["message"]); err != nil {
			return p, err
		}
	}
	if body, ok := p.message["body"]; ok && string(body) != "null" && p.comment != nil && *p.comment != "" {
		return p, newError(http.StatusBadRequest, "ErrorInvalidRequest", "Specify either the parameter 'comment' or the body of the parameter 'message', not both.")
	}
	if len(p.to) > 0 && p.message["toRecipients"] != nil {
		return p, newError(http.StatusBadRequest, "ErrorInvalidRequest", "Specify either the parameter 'toRecipients' or the toRecipients of the parameter 'message', not both.")
	}
	return p, nil
}

// answerTo makes the message that answers another. It needs the lock.
func (c *call) answerTo(original *message, kind answerKind, p answerParts) (*message, error) {
	m := newMessage()
	if p.mime {
		if err := readMIME(m, c.body); err != nil {
			return nil, err
		}
	}
	computed := c.answerRecipients(original, kind)
	extra := p.to
	if !p.mime {
		m.Subject = answerSubject(original.Subject, kind)
		m.Body = quote(original, firstOf(deref(p.comment)))
		m.Preview = preview(m.Body)
		if _, err := writeMessage(m, p.message, true); err != nil {
			return nil, err
		}
		m.To = addRecipients(computed[0], m.To, extra)
		m.Cc = addRecipients(computed[1], m.Cc)
	} else if len(m.To)+len(m.Cc)+len(m.Bcc) == 0 {
		m.To, m.Cc = computed[0], computed[1]
	}
	m.InReplyTo = original.InternetID
	m.References = append(slices.Clip(original.References), original.InternetID)
	if kind != toOthers || topic(m.Subject) == topic(original.Subject) {
		m.Conversation = original.Conversation
	}
	given := m.Attachments
	m.Attachments, m.Attached = nil, 0
	for _, a := range original.Attachments {
		if !p.mime && (kind == toOthers || a.Inline) { // a reply keeps the pictures of the quotation
			m.attach(a)
		}
	}
	for _, a := range given {
		m.attach(a)
	}
	return m, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// answerSubject puts RE: or FW: before a subject, once.
func answerSubject(subject string, kind answerKind) string {
	prefix := "RE: "
	if kind == toOthers {
		prefix = "FW: "
	}
	if len(subject) >= 3 && strings.EqualFold(subject[:3], prefix[:3]) {
		return subject
	}
	return prefix + subject
}

// answerRecipients are To and Cc as they follow from the original.
func (c *call) answerRecipients(original *message, kind answerKind) [2][]recipient {
	if kind == toOthers {
		return [2][]recipient{}
	}
	to := original.ReplyTo
	if len(to) == 0 && original.From != nil {
		to = []recipient{*original.From}
	}
	if kind == toSender {
		return [2][]recipient{addRecipients(to)}
	}
	others := func(list []recipient) []recipient {
		return slices.DeleteFunc(slices.Clone(list), func(r recipient) bool { return sameMail(r.EmailAddress.Address, c.box.UPN) })
	}
	all := addRecipients(others(to), others(original.To))
	if len(all) == 0 {
		all = addRecipients(to)
	}
	cc := slices.DeleteFunc(others(original.Cc), func(r recipient) bool {
		return slices.ContainsFunc(all, func(o recipient) bool { return sameMail(o.EmailAddress.Address, r.EmailAddress.Address) })
	})
	return [2][]recipient{all, cc}
}

// addRecipients joins lists, each address once.
func addRecipients(lists ...[]recipient) []recipient {
	var all []recipient
	for _, r := range slices.Concat(lists...) {
		if !slices.ContainsFunc(all, func(o recipient) bool { return sameMail(o.EmailAddress.Address, r.EmailAddress.Address) }) {
			all = append(all, r)
		}
	}
	return all
}

// quote is the body of an answer: what the client says, and the original below.
func quote(original *message, comment string) itemBody {
	people := func(list []recipient) string {
		var names []string
		for _, r := range list {
			names = append(names, r.EmailAddress.Name+" <"+r.EmailAddress.Address+">")
		}
		return strings.TrimSpace(strings.Join(names, "; "))
	}
	var from []recipient
	if original.From != nil {
		from = []recipient{*original.From}
	}
	lines := [][2]string{
		{"From", people(from)},
		{"Sent", time.Unix(original.Sent, 0).UTC().Format("Monday, January 2, 2006 3:04:05 PM")},
		{"To", people(original.To)},
		{"Cc", people(original.Cc)},
		{"Subject", original.Subject},
	}
	lines = slices.DeleteFunc(lines, func(l [2]string) bool { return l[0] == "Cc" && l[1] == "" })
	var b strings.Builder
	if original.Body.ContentType == "text" {
		b.WriteString(comment + "\r\n" + textQuoteMark + "\r\n")
		for _, l := range lines {
			b.WriteString(l[0] + ": " + l[1] + "\r\n")
		}
		b.WriteString("\r\n" + original.Body.Content)
		return itemBody{"text", b.String()}
	}
	b.WriteString("<html><head>\r\n<meta http-equiv=\"Content-Type\" content=\"text/html; charset=utf-8\"></head><body>\r\n")
	b.WriteString(strings.ReplaceAll(html.EscapeString(comment), "\n", "<br>") + "\r\n" + htmlQuoteMark)
	b.WriteString("<div id=\"divRplyFwdMsg\" dir=\"ltr\"><font face=\"Calibri, sans-serif\" color=\"#000000\" style=\"font-size:11pt\">")
	for i, l := range lines {
		if i > 0 {
			b.WriteString("<br>")
		}
		b.WriteString("<b>" + l[0] + ":</b> " + html.EscapeString(l[1]))
	}
	b.WriteString("</font><div>&nbsp;</div></div>\r\n" + pageInside(original.Body.Content) + "</body></html>")
	return itemBody{"html", b.String()}
}

// pageInside is what stands between body and /body of a page.
func pageInside(page string) string {
	lower := strings.ToLower(page)
	if i := strings.Index(lower, "<body"); i >= 0 {
		if j := strings.IndexByte(lower[i:], '>'); j >= 0 {
			page, lower = page[i+j+1:], lower[i+j+1:]
		}
	}
	if i := strings.LastIndex(lower, "</body"); i >= 0 {
		page = page[:i]
	}
	return page
}

// sendAnswer is reply, replyAll and forward.
func (c *call) sendAnswer(action string, kind answerKind) (*Answer, error) {
	p, err := c.readAnswer(action, kind)
	if err != nil {
		return nil, err
	}
	err = c.update(func(t *tx) error {
		original, err := c.messageOf()
		if err != nil {
			return err
		}
		m, err := c.answerTo(original, kind, p)
		if err != nil {
			return err
		}
		if err := c.sendable(m); err != nil {
			return err
		}
		c.signAs(m)
		c.submit(t, m, true)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// draftAnswer is createReply, createReplyAll and createForward.
func (c *call) draftAnswer(action string, kind answerKind) (*Answer, error) {
	v, err := c.viewOf(nil, "")
	if err != nil {
		return nil, err
	}
	p, err := c.readAnswer(action, kind)
	if err != nil {
		return nil, err
	}
	var m *message
	err = c.update(func(t *tx) error {
		original, err := c.messageOf()
		if err != nil {
			return err
		}
		if m, err = c.answerTo(original, kind, p); err != nil {
			return err
		}
		c.signAs(m)
		t.addMessage(c.box, c.box.wellKnown["drafts"].Key, m)
		t.note(c, EffectCreated, m, v.id(m), "message")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.oneMessage(http.StatusCreated, v, m), nil
}
