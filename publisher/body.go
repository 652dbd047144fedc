package publisher

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"outlook-connector/internal/catalog"
)

// maxBody is the longest body of a request:
// https://learn.microsoft.com/graph/outlook-large-attachments
const maxBody = 4 << 20

// The kinds of bodies besides a JSON object. A mail as MIME is sent as base64 and
// called plain text: https://learn.microsoft.com/graph/outlook-send-mime-message
const (
	typeJSON = "application/json"
	typeMIME = "text/plain"
)

const headerContentType = "Content-Type"

// takesMIME reports whether an operation takes a mail as MIME in place of JSON:
// https://learn.microsoft.com/graph/outlook-send-mime-message
func takesMIME(op *catalog.Operation) bool {
	return slices.Contains([]string{
		"mail.message.create", "mail.message.sendMail", "mail.message.reply", "mail.message.replyAll", "mail.message.forward",
		"mail.message.createReply", "mail.message.createReplyAll", "mail.message.createForward",
	}, op.ID)
}

// takesPicture reports whether an operation's body is the bytes of a picture:
// https://learn.microsoft.com/graph/api/profilephoto-update
func takesPicture(op *catalog.Operation) bool {
	return (op.Method == methodPut || op.Method == methodPatch) && strings.HasSuffix(op.Paths[0], "/photo/$value")
}

// body is what goes out: the bytes, what they are ("" is JSON), and what they say
// about senders and recipients.
type body struct {
	data        []byte
	contentType string
	mail        mention
}

// bodyOf makes the body of an operation from a request. named is the
// Content-Type that the message names, or "".
func bodyOf(op *catalog.Operation, r request, named string) (body, error) {
	kind, _, _ := strings.Cut(named, ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case op.Method == methodDelete && (len(r.payload) > 0 || r.raw != nil):
		return body{}, refuse("payload_not_allowed", "%s is a DELETE, which has no payload", op.ID).WithHint("leave payload out")
	case takesPicture(op):
		return picture(op, r, kind)
	case r.raw != nil && !takesMIME(op):
		return body{}, refuse("payload_not_json", "%s takes a JSON object as its payload, and nothing else", op.ID).
			WithHint(`write it as in the API reference: {"payload": {…}}`)
	case r.raw != nil:
		return mimeBody(r.raw, kind)
	case kind != "" && kind != typeJSON:
		return body{}, refuse("payload_not_json", "the request header Content-Type is %q, and the payload is a JSON object", clip(kind)).
			WithHint("leave the header out, or give the payload as base64 where %s takes it so", op.ID)
	}
	b := body{data: r.payload}
	var err error
	b.mail, err = mentionedIn(op, r.payload)
	return b, err
}

// picture is the body of an operation that sets a photo.
func picture(op *catalog.Operation, r request, kind string) (body, error) {
	switch {
	case r.raw == nil:
		return body{}, refuse("payload_not_picture", "the payload of %s is a picture", op.ID).
			WithHint(`give its bytes as base64, {"payload": "…"}, or put them into the object store: {"payload_blob": "OUTLOOK_BLOB/<name>"}`)
	case len(r.raw) > maxBody:
		return body{}, tooLarge("the picture", len(r.raw), maxBody)
	case kind == "":
		kind = pictureKind(r.raw)
	}
	if !strings.HasPrefix(kind, "image/") && kind != "application/octet-stream" {
		return body{}, refuse("payload_not_picture", "the payload of %s is no picture that is known by its first bytes", op.ID).
			WithHint(`use JPEG, PNG or GIF, or say what it is: {"headers": {"Content-Type": "image/…"}}`)
	}
	return body{data: r.raw, contentType: kind}, nil
}

// pictureKind knows the usual pictures by their first bytes.
func pictureKind(data []byte) string {
	for _, known := range [...]struct{ start, kind string }{
		{"\xff\xd8\xff", "image/jpeg"}, {"\x89PNG\r\n\x1a\n", "image/png"}, {"GIF8", "image/gif"},
	} {
		if bytes.HasPrefix(data, []byte(known.start)) {
			return known.kind
		}
	}
	return ""
}

// mimeBody is a mail as MIME.
func mimeBody(raw []byte, kind string) (body, error) {
	if kind != "" && kind != typeMIME {
		return body{}, refuse("payload_not_json", "the request header Content-Type is %q, and the payload is a mail as MIME", clip(kind)).
			WithHint("leave the header out, or write %s", typeMIME)
	}
	if most := maxBody / 4 * 3; len(raw) > most {
		return body{}, tooLarge("the mail as MIME", len(raw), most)
	}
	mail, err := mentionedInMIME(raw)
	if err != nil {
		return body{}, err
	}
	return body{data: base64.StdEncoding.AppendEncode(nil, raw), contentType: typeMIME, mail: mail}, nil
}

func tooLarge(what string, size, most int) error {
	return refuse("too_large", "%s has %d bytes; %d fit into a request", what, size, most).
		WithHint("Outlook takes requests of up to 4 MB; larger attachments need an upload session")
}

// decodeBase64 reads the usual alphabet and that of URLs, with line breaks and
// without padding.
func decodeBase64(encoded string) ([]byte, error) {
	encoded = strings.NewReplacer("\r", "", "\n", "", "-", "+", "_", "/").Replace(encoded)
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
}
