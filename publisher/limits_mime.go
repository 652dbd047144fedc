package publisher

import (
	"bytes"
	"io"
	"mime"
	"net/mail"
	"strings"
)

// maxMIMEHeader bounds the header section of a mail. A thousand recipients with
// their names fit.
const maxMIMEHeader = 256 << 10

// mentionedInMIME reads the header section of a mail, and nothing behind it. It
// is strict where readers differ, because Exchange might find there what was not
// seen here.
func mentionedInMIME(raw []byte) (mention, error) {
	bad := func(format string, args ...any) (mention, error) {
		return mention{}, refuse("bad_mime", "the payload is no mail as MIME: "+format, args...).
			WithHint("give the whole mail (RFC 5322), as base64 in payload or as it is in the object store")
	}
	text := bytes.ReplaceAll(raw[:min(len(raw), maxMIMEHeader)], []byte("\r\n"), []byte("\n"))
	head, _, ended := bytes.Cut(text, []byte("\n\n"))
	switch {
	case !ended && len(raw) > maxMIMEHeader:
		return bad("its header section has no end within %d bytes", maxMIMEHeader)
	case bytes.ContainsAny(head, "\r\x00"):
		return bad("its header section has control characters")
	}
	parsed, err := mail.ReadMessage(io.MultiReader(bytes.NewReader(bytes.TrimRight(head, "\n")), strings.NewReader("\n\n")))
	if err != nil || len(parsed.Header) == 0 { // whose text would be that of the mail
		return bad("it does not begin with a header section")
	}
	// Names of people do not matter here, so that any character set is taken as it
	// comes.
	parser := mail.AddressParser{WordDecoder: &mime.WordDecoder{
		CharsetReader: func(_ string, in io.Reader) (io.Reader, error) { return in, nil },
	}}
	var m mention
	for name, lines := range parsed.Header {
		name = strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "resent-")
		switch name {
		case "to", "cc", "bcc", "from", "sender":
		default:
			continue
		}
		for _, line := range lines {
			if strings.TrimSpace(line) == "" {
				continue
			}
			list, err := parser.ParseList(line)
			switch {
			case err != nil:
				return bad("its header %s holds no addresses: %w", name, err)
			case name == "from" || name == "sender":
				for _, sender := range list {
					m.senders = append(m.senders, sender.Address)
				}
			default:
				m.recipients += len(list)
			}
		}
	}
	return m, nil
}
