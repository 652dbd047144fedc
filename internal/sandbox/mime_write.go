package sandbox

// MIME content out: $value of a message, and of item attachments. The mail is
// written anew from what the message has, as Exchange does, so it is not the text
// that came in: headers, an HTML body with its text beside it, inline parts,
// files, mails in mails; events and contacts as text/calendar and text/vcard with
// what a reader needs of them. Left out: Received lines, signatures, reference
// attachments (they have no content).
// https://learn.microsoft.com/graph/outlook-get-mime-message

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// writeMIME is the message as a mail. blind says whether Bcc is shown, as in the
// sender's own copy.
func (m *message) writeMIME(blind bool) []byte {
	var b bytes.Buffer
	for _, h := range m.mailHeaders(blind) {
		writeHeader(&b, h.Name, h.Value)
	}
	m.writeParts(&b)
	return b.Bytes()
}

// mailHeaders are the headers of the mail, without those of its body.
func (m *message) mailHeaders(blind bool) []header {
	var list []header
	add := func(name, value string) {
		if value != "" {
			list = append(list, header{name, value})
		}
	}
	who := func(name string, people ...recipient) {
		var texts []string
		for _, r := range people {
			a := mail.Address{Name: r.EmailAddress.Name, Address: r.EmailAddress.Address}
			texts = append(texts, a.String())
		}
		add(name, strings.Join(texts, ", "))
	}
	if m.From != nil {
		who("From", *m.From)
	}
	if m.Sender != nil && (m.From == nil || *m.Sender != *m.From) {
		who("Sender", *m.Sender)
	}
	who("To", m.To...)
	who("CC", m.Cc...)
	if blind {
		who("BCC", m.Bcc...)
	}
	who("Reply-To", m.ReplyTo...)
	list = append(list, header{"Subject", m.Subject})
	if m.Sent != 0 {
		add("Date", time.Unix(m.Sent, 0).UTC().Format(time.RFC1123Z))
	}
	add("Message-ID", m.InternetID)
	add("In-Reply-To", m.InReplyTo)
	add("References", strings.Join(m.References, " "))
	if m.Importance != "normal" {
		add("Importance", m.Importance)
	}
	list = append(list, m.Headers...)
	return append(list, header{"MIME-Version", "1.0"})
}

// writeHeader writes a header, encoded where it is not ASCII and folded where it
// is long.
func writeHeader(b *bytes.Buffer, name, value string) {
	value = strings.NewReplacer("\r", "", "\n", " ").Replace(value)
	if name == "Subject" || strings.HasPrefix(strings.ToLower(name), "x-") {
		value = mime.QEncoding.Encode("utf-8", value)
	}
	fmt.Fprintf(b, "%s:", name)
	at := len(name) + 1
	for word := range strings.SplitSeq(value, " ") {
		if at+1+len(word) > 76 && at > len(name)+1 {
			b.WriteString("\r\n")
			at = 0
		}
		b.WriteString(" " + word)
		at += 1 + len(word)
	}
	b.WriteString("\r\n")
}

// boundary is the same at each reading, and in no part: parts are encoded so that
// no line begins with two dashes and an underscore.
func (m *message) boundary(level int) string {
	return fmt.Sprintf("_%03d_%016x%08x_", level, m.Key, m.Created)
}

// writeParts writes the headers of the body, and the body.
func (m *message) writeParts(b *bytes.Buffer) {
	var inline, outer []*attachment
	for _, a := range m.Attachments {
		switch {
		case a.Kind == referenceKind:
		case a.Inline && a.Kind == fileKind && m.Body.ContentType == "html":
			inline = append(inline, a)
		default:
			outer = append(outer, a)
		}
	}
	m.wrap(b, "mixed", 1, outer, func(b *bytes.Buffer) {
		m.wrap(b, "related", 2, inline, func(b *bytes.Buffer) {
			if m.Body.ContentType != "html" {
				writeText(b, "text/plain", m.Body.Content)
				return
			}
			edge := m.boundary(3)
			fmt.Fprintf(b, "Content-Type: multipart/alternative;\r\n\tboundary=\"%s\"\r\n\r\n--%s\r\n", edge, edge)
			writeText(b, "text/plain", plainText(m.Body.Content))
			fmt.Fprintf(b, "\r\n--%s\r\n", edge)
			writeText(b, "text/html", m.Body.Content)
			fmt.Fprintf(b, "\r\n--%s--\r\n", edge)
		})
	})
}

// wrap writes a multipart with a first part and attachments, or the first part
// alone if there are none.
func (m *message) wrap(b *bytes.Buffer, kind string, level int, attached []*attachment, first func(*bytes.Buffer)) {
	if len(attached) == 0 {
		first(b)
		return
	}
	edge := m.boundary(level)
	fmt.Fprintf(b, "Content-Type: multipart/%s;\r\n\tboundary=\"%s\"\r\n\r\n--%s\r\n", kind, edge, edge)
	first(b)
	for _, a := range attached {
		fmt.Fprintf(b, "\r\n--%s\r\n", edge)
		a.writePart(b)
	}
	fmt.Fprintf(b, "\r\n--%s--\r\n", edge)
}

func writeText(b *bytes.Buffer, kind, text string) {
	fmt.Fprintf(b, "Content-Type: %s; charset=\"utf-8\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", kind)
	w := quotedprintable.NewWriter(b)
	_, _ = w.Write([]byte(text)) // into memory
	_ = w.Close()
}

// writePart writes an attachment as a part.
func (a *attachment) writePart(b *bytes.Buffer) {
	kind := firstOf(a.ContentType, "application/octet-stream")
	place := "attachment"
	if a.Inline {
		place = "inline"
	}
	content := a.raw()
	if a.Message != nil {
		// A mail in a mail is not encoded.
		fmt.Fprintf(b, "Content-Type: message/rfc822\r\nContent-Disposition: attachment%s\r\n\r\n", parameter("filename", a.Name))
		b.Write(content)
		return
	}
	if a.Item != nil {
		kind = a.itemType()
	}
	fmt.Fprintf(b, "Content-Type: %s%s\r\n", kind, parameter("name", a.Name))
	fmt.Fprintf(b, "Content-Disposition: %s%s\r\n", place, parameter("filename", a.Name))
	if a.ContentID != "" {
		fmt.Fprintf(b, "Content-ID: <%s>\r\n", a.ContentID)
	}
	if a.Location != "" {
		writeHeader(b, "Content-Location", a.Location)
	}
	b.WriteString("Content-Transfer-Encoding: base64\r\n\r\n")
	encoded := base64.StdEncoding.EncodeToString(content)
	for line := range slices.Chunk([]byte(encoded), 76) {
		b.Write(line)
		b.WriteString("\r\n")
	}
}

// parameter is one of a header, with its name encoded where it must be.
func parameter(name, value string) string {
	if value == "" {
		return ""
	}
	text := mime.FormatMediaType("x/x", map[string]string{name: value})
	return strings.TrimPrefix(text, "x/x")
}

// raw is what $value answers.
func (a *attachment) raw() []byte {
	switch {
	case a.Message != nil:
		return a.Message.writeMIME(false)
	case a.Item != nil:
		return a.itemText()
	case a.Content != nil:
		return a.Content.bytes
	}
	return nil
}

func (a *attachment) isEvent() bool { return a.Item["@odata.type"] == "#microsoft.graph.event" }

// itemType is the media type of an item that is no message.
func (a *attachment) itemType() string {
	if a.isEvent() {
		return "text/calendar"
	}
	return "text/vcard"
}

// itemText is an event as iCalendar or a contact as vCard.
func (a *attachment) itemText() []byte {
	var b bytes.Buffer
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ":" + strings.NewReplacer("\\", "\\\\", "\r", "", "\n", "\\n", ",", "\\,", ";", "\\;").Replace(value) + "\r\n")
		}
	}
	text := func(name string) string { s, _ := a.Item[name].(string); return s }
	if a.isEvent() {
		b.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Sandbox//Outlook//EN\r\nBEGIN:VEVENT\r\n")
		line("SUMMARY", text("subject"))
		for _, edge := range [][2]string{{"DTSTART", "start"}, {"DTEND", "end"}} {
			at, _ := a.Item[edge[1]].(map[string]any)
			when, _ := at["dateTime"].(string)
			if parsed, err := time.Parse("2006-01-02T15:04:05", strings.SplitN(when, ".", 2)[0]); err == nil {
				line(edge[0], parsed.Format("20060102T150405"))
			}
		}
		b.WriteString("END:VEVENT\r\nEND:VCALENDAR\r\n")
		return b.Bytes()
	}
	b.WriteString("BEGIN:VCARD\r\nVERSION:3.0\r\n")
	line("N", text("surname"))
	line("FN", firstOf(text("displayName"), strings.TrimSpace(text("givenName")+" "+text("surname"))))
	addresses, _ := a.Item["emailAddresses"].([]any)
	for _, e := range addresses {
		obj, _ := e.(map[string]any)
		mailbox, _ := obj["address"].(string)
		line("EMAIL", mailbox)
	}
	b.WriteString("END:VCARD\r\n")
	return b.Bytes()
}

// shownHeaders is internetMessageHeaders: of a draft what the client gave, of mail
// that came in all headers, and nothing of what this mailbox sent, where only the
// MIME content has them
// (https://github.com/OfficeDev/office-js/issues/5413).
func (m *message) shownHeaders() []header {
	switch {
	case m.Arrived:
		return m.mailHeaders(false)
	case m.IsDraft:
		return m.Headers
	}
	return nil
}
