package sandbox

// Mail that comes from the outside world, past Graph: no ledger, no copy in
// anybody's Sent Items.

import (
	"net/http"
	"slices"
	"strings"
)

// Mail is a mail that comes from the outside world.
type Mail struct {
	// To are the mailboxes that get it.
	To []string
	// From is the sender's address. Default: sender@fabrikam.example, or what
	// MIME says.
	From string
	// Subject and Body are plain text.
	Subject, Body string
	// HTML says that Body is HTML.
	HTML bool
	// MIME is the whole mail as it is on the wire, with attachments and
	// headers. Subject, Body and HTML do not count then.
	MIME string
}

// Deliver puts a mail into inboxes as the outside world does, without Graph. It
// returns the internetMessageId.
func (s *Sandbox) Deliver(mail Mail) (string, error) {
	m, err := mail.message()
	if err != nil {
		return "", err
	}
	err = s.update(func(t *tx) error {
		var boxes []*mailbox
		for _, to := range mail.To {
			box := t.mailboxNamed(to)
			if box == nil {
				return newError(http.StatusNotFound, "ErrorInvalidUser", "The requested user '%s' is invalid.", to)
			}
			if mail.MIME == "" {
				m.To = append(m.To, recipient{address{box.Name(), box.UPN}})
			}
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

// message is the mail before it is in a mailbox.
func (mail Mail) message() (*message, error) {
	m := newMessage()
	m.IsDraft, m.IsRead = false, false
	if mail.MIME != "" {
		if err := m.parseMIME([]byte(mail.MIME), 0); err != nil {
			return nil, newError(http.StatusBadRequest, "ErrorMimeContentInvalid", "MIME content is invalid: %v", err)
		}
	} else {
		m.Subject, m.Body = mail.Subject, itemBody{ContentType: "text", Content: mail.Body}
		if mail.HTML {
			m.Body.ContentType = "html"
		}
		m.Preview = preview(m.Body)
	}
	if mail.From != "" || m.From == nil {
		who := firstOf(mail.From, "sender@fabrikam.example")
		name, _, _ := strings.Cut(who, "@")
		m.From = &recipient{address{name, who}}
		m.Sender = m.From
	}
	if m.InternetID == "" {
		_, domain, _ := strings.Cut(m.From.EmailAddress.Address, "@")
		m.InternetID = "<" + newGUID() + "@" + domain + ">"
	}
	return m, nil
}
