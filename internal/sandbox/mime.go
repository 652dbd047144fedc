package sandbox

// MIME content of sendMail and of POST /messages: base64 in a text/plain body.
// Modelled: addresses, subject, Message-ID, x- headers, one text or HTML part
// found by its type, file attachments. Left out: signed and encrypted mail,
// other character sets than UTF-8, inline images apart from attachments.
// https://learn.microsoft.com/graph/outlook-send-mime-message

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/http"
	"net/mail"
	"net/textproto"
	"strings"
)

func readMIME(m *message, encoded []byte) error {
	raw, err := decodeBase64(encoded)
	if err != nil || len(raw) == 0 {
		return newError(http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
	}
	invalid := newError(http.StatusBadRequest, "ErrorMimeContentInvalid", "MIME content is invalid.")
	msg, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return invalid
	}
	words := new(mime.WordDecoder)
	if m.Subject, err = words.DecodeHeader(msg.Header.Get("Subject")); err != nil {
		return invalid
	}
	m.InternetID = strings.TrimSpace(msg.Header.Get("Message-Id"))
	for _, l := range []struct {
		name string
		list *[]recipient
	}{{"To", &m.To}, {"Cc", &m.Cc}, {"Bcc", &m.Bcc}, {"Reply-To", &m.ReplyTo}} {
		if msg.Header.Get(l.name) == "" {
			continue
		}
		addrs, err := msg.Header.AddressList(l.name)
		if err != nil {
			return invalid
		}
		for _, a := range addrs {
			*l.list = append(*l.list, recipient{address{a.Name, a.Address}})
		}
	}
	if from, err := msg.Header.AddressList("From"); err == nil && len(from) > 0 {
		m.From = &recipient{address{from[0].Name, from[0].Address}}
	}
	for name, values := range msg.Header {
		if strings.HasPrefix(name, "X-") {
			m.Headers = append(m.Headers, header{name, values[0]})
		}
	}
	if err := readPart(m, textproto.MIMEHeader(msg.Header), msg.Body, 0); err != nil {
		return invalid
	}
	m.Preview = preview(m.Body)
	return nil
}

// readPart takes the best body and the attachments out of one part.
func readPart(m *message, h textproto.MIMEHeader, body io.Reader, depth int) error {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") && depth < 10 {
		parts := multipart.NewReader(body, params["boundary"])
		for {
			p, err := parts.NextRawPart()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := readPart(m, p.Header, p, depth+1); err != nil {
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
	attached := err == nil && place == "attachment"
	switch {
	case !attached && kind == "text/html":
		m.Body = itemBody{"html", string(content)}
	case !attached && kind == "text/plain":
		if m.Body.ContentType != "html" {
			m.Body = itemBody{"text", string(content)}
		}
	default:
		a, err := json.Marshal(map[string]string{
			"@odata.type": "#microsoft.graph.fileAttachment", "name": dispo["filename"],
			"contentType": kind, "contentBytes": base64.StdEncoding.EncodeToString(content),
		})
		if err != nil {
			return err
		}
		m.Attachments = append(m.Attachments, a)
	}
	return nil
}
