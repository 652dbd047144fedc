package sandbox

// MIME content in: base64 in a text/plain body of sendMail, POST /messages and the
// replies. Modelled: addresses, subject, Message-ID, Date, In-Reply-To,
// References, importance, x- headers; text and HTML bodies in any character set
// that browsers know; files, inline parts with their Content-ID, and mails as
// item attachments. Left out: signed and encrypted mail as such (their parts
// become attachments), calendars that would make a meeting request.
// https://learn.microsoft.com/graph/outlook-send-mime-message

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/textproto"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html/charset"
)

func readMIME(m *message, encoded []byte) error {
	raw, err := decodeBase64(encoded)
	if err != nil || len(raw) == 0 {
		return newError(http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
	}
	if err := m.parseMIME(raw, 0); err != nil {
		return newError(http.StatusBadRequest, "ErrorMimeContentInvalid", "MIME content is invalid.")
	}
	m.Sent = 0 // the time of sending counts, not the Date that the client wrote
	return nil
}

// parseMIME reads a whole mail into a message.
func (m *message) parseMIME(raw []byte, depth int) error {
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	words := &mime.WordDecoder{CharsetReader: charset.NewReaderLabel}
	if m.Subject, err = words.DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return err
	}
	addresses := mail.AddressParser{WordDecoder: words}
	for _, l := range []struct {
		name string
		list *[]recipient
	}{{"To", &m.To}, {"Cc", &m.Cc}, {"Bcc", &m.Bcc}, {"Reply-To", &m.ReplyTo}} {
		text := msg.Header.Get(l.name)
		if text == "" {
			continue
		}
		addrs, err := addresses.ParseList(text)
		if err != nil {
			return err
		}
		for _, a := range addrs {
			*l.list = append(*l.list, recipient{address{a.Name, a.Address}})
		}
	}
	for _, l := range []struct {
		name string
		who  **recipient
	}{{"From", &m.From}, {"Sender", &m.Sender}} {
		if list, err := addresses.ParseList(msg.Header.Get(l.name)); err == nil && len(list) > 0 {
			*l.who = &recipient{address{list[0].Name, list[0].Address}}
		}
	}
	if m.Sender == nil {
		m.Sender = m.From
	}
	m.InternetID = strings.TrimSpace(msg.Header.Get("Message-Id"))
	m.InReplyTo = strings.TrimSpace(msg.Header.Get("In-Reply-To"))
	m.References = strings.Fields(msg.Header.Get("References"))
	if at, err := msg.Header.Date(); err == nil {
		m.Sent = at.Unix()
	}
	if level := strings.ToLower(msg.Header.Get("Importance")); level == "low" || level == "high" {
		m.Importance = level
	}
	names := make([]string, 0, len(msg.Header))
	for name := range msg.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if strings.HasPrefix(name, "X-") {
			m.Headers = append(m.Headers, header{name, msg.Header[name][0]})
		}
	}
	if err := m.readPart(textproto.MIMEHeader(msg.Header), msg.Body, depth); err != nil {
		return err
	}
	m.Preview = preview(m.Body)
	return nil
}

// maxNesting is how deep parts and mails in mails are followed.
const maxNesting = 10

// readPart takes the best body and the attachments out of one part.
func (m *message) readPart(h textproto.MIMEHeader, body io.Reader, depth int) error {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") && depth < maxNesting {
		parts := multipart.NewReader(body, params["boundary"])
		for n := 0; ; n++ {
			p, err := parts.NextRawPart()
			if n > 0 && errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if err := m.readPart(p.Header, p, depth+1); err != nil {
				return err
			}
		}
	}
	switch strings.ToLower(h.Get("Content-Transfer-Encoding")) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	place, dispo, err := mime.ParseMediaType(h.Get("Content-Disposition"))
	attached := err == nil && (place == "attachment" || dispo["filename"] != "")
	switch {
	case !attached && kind == "text/html":
		m.Body = itemBody{"html", decodeText(content, params["charset"])}
	case !attached && kind == "text/plain":
		if m.Body.ContentType != "html" {
			m.Body = itemBody{"text", decodeText(content, params["charset"])}
		}
	default:
		m.attach(partAttachment(h, kind, place, firstOf(dispo["filename"], params["name"]), content, depth))
	}
	return nil
}

func partAttachment(h textproto.MIMEHeader, kind, place, name string, content []byte, depth int) *attachment {
	if decoded, err := (&mime.WordDecoder{CharsetReader: charset.NewReaderLabel}).DecodeHeader(name); err == nil {
		name = decoded
	}
	a := &attachment{
		Kind: fileKind, Name: name, ContentType: kind, Location: h.Get("Content-Location"), Modified: time.Now().Unix(), Size: len(content),
		ContentID: strings.Trim(h.Get("Content-Id"), "<> "), Inline: place == "inline",
	}
	inner := newMessage()
	if kind == "message/rfc822" && depth < maxNesting && inner.parseMIME(content, depth+1) == nil {
		inner.IsDraft = false
		a.Kind, a.Message, a.Inline = itemKind, inner, false
		a.Name = firstOf(name, inner.Subject)
		return a
	}
	a.Name = firstOf(name, "attachment")
	a.Content = newContent(content)
	return a
}

func firstOf(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// decodeText reads a text in some character set. One that nobody knows is read as
// it stands.
func decodeText(content []byte, label string) string {
	if label == "" || strings.EqualFold(label, "utf-8") || strings.EqualFold(label, "us-ascii") {
		return strings.ToValidUTF8(string(content), "�")
	}
	r, err := charset.NewReaderLabel(label, bytes.NewReader(content))
	if err != nil {
		return strings.ToValidUTF8(string(content), "�")
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return strings.ToValidUTF8(string(content), "�")
	}
	return string(text)
}

// contentTypeOf guesses a file's type from its name.
func contentTypeOf(name string) string {
	if kind, _, err := mime.ParseMediaType(mime.TypeByExtension(strings.ToLower(path.Ext(name)))); err == nil {
		return kind
	}
	return "application/octet-stream"
}
