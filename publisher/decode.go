package publisher

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"outlook-connector/internal/fault"
)

// Limits of a command. Graph takes requests of up to 4 MB
// (https://learn.microsoft.com/graph/api/user-post-messages), so a longer
// command could not be sent; and nothing in its schema nests anywhere near
// this deep.
const (
	maxCommand = 4 << 20
	maxDepth   = 100
)

// memberNames are the members of a command, in the order in which they are told.
var memberNames = [...]string{"mailbox", "entity", "method", "path", "query", "headers", "payload", "payload_blob"}

// request is what a command asks for. The zero value asks for nothing.
type request struct {
	mailbox, entity, method string
	// path, query and headers map names to values; nil takes a default away.
	path, query, headers map[string]*string
	// payload is a JSON object, or nil.
	payload jsontext.Value
	// raw is a body that is no JSON object (a picture, a mail as MIME), or nil;
	// then payload is nil.
	raw []byte
	// blob names the object that the body lies in, until it is fetched.
	blob string
}

// decode reads a command. It is strict where a lenient reader would guess: a
// member that is there twice, text that is not UTF-8 and an unknown member are
// refused, because two readers of such a message may see different commands.
// A member that is null is the same as one that is not there.
//
// subject is what the sentences are about: "the message". A payload is not copied:
// it is a part of data.
func decode(subject string, data []byte) (request, error) {
	var r request
	if err := walk(subject, data, r.set); err != nil {
		return request{}, err
	}
	if r.blob != "" && (r.payload != nil || r.raw != nil) {
		return request{}, refuse("bad_message", "%s has both payload and payload_blob", subject).WithHint("leave one of them out")
	}
	return r, nil
}

// checkText makes sure that what follows may rely on a text's being one JSON object
// of bounded size and depth.
func checkText(subject string, data []byte) error {
	return walk(subject, data, func(string, []byte, jsontext.Value) error { return nil })
}

// visitor takes a member of a text, which is not copied.
type visitor func(subject string, name []byte, value jsontext.Value) error

// walk goes over a whole text once, which must be one JSON object of bounded size
// and depth, and visits its members. What is wrong with the text is told before
// what is wrong with a member.
func walk(subject string, data []byte, visit visitor) error {
	switch {
	case len(data) > maxCommand:
		return refuse("too_large", "%s has %d bytes; a command may have %d", subject, len(data), maxCommand).
			WithHint("Outlook takes requests of up to 4 MB; larger attachments need an upload session")
	case len(bytes.TrimSpace(data)) == 0:
		return refuse("bad_message", "%s is empty", subject).WithHint(`send a JSON object, such as {"payload": {…}}`)
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")), bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return refuse("bad_message", "%s begins with a byte order mark", subject).
			WithHint("send UTF-8 without a byte order mark")
	}
	dec := parsing(data)
	defer parsed(dec)
	var wrong error // with a member, or with the kind
	if kind := dec.PeekKind(); kind == '{' {
		var err error
		if wrong, err = members(subject, data, dec, visit); err != nil {
			return err
		}
	} else {
		// The kind is guessed from the first letter: "nonsense" begins like null. So
		// it counts only where there is such a value.
		if _, err := next(subject, data, dec); err != nil {
			return err
		}
		wrong = refuse("bad_message", "%s must be a JSON object, not %s", subject, kindName(kind)).
			WithHint(`send a JSON object, such as {"payload": {…}}`)
	}
	end := dec.InputOffset()
	if rest := bytes.TrimLeft(data[end:], " \t\r\n"); len(rest) > 0 {
		at := len(data) - len(rest)
		return refuse("bad_message", "%s goes on after its object, at %s", subject, position(data, int64(at))).
			WithHint("send one JSON object a message")
	}
	return wrong
}

// members reads the object that a text is. wrong is what is wrong with the first
// member of which visit says so, err what is wrong with the text.
func members(subject string, data []byte, dec *parser, visit visitor) (wrong, err error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, notJSON(subject, data, err)
	}
	for dec.PeekKind() != '}' {
		name, err := next(subject, data, dec)
		if err != nil {
			return nil, err
		}
		value, err := next(subject, data, dec)
		if err != nil {
			return nil, err
		}
		if wrong != nil {
			continue
		}
		var member []byte
		if member, wrong = unquoted(name); wrong == nil {
			wrong = visit(subject, member, value)
		}
	}
	_, err = dec.ReadToken()
	if err != nil {
		err = notJSON(subject, data, err)
	}
	return wrong, err
}

// next reads a name or a whole value, and returns it as it stands in the text.
func next(subject string, data []byte, dec *parser) (jsontext.Value, error) {
	start, outside := int(dec.InputOffset()), dec.StackDepth()
	for {
		if _, err := dec.ReadToken(); err != nil {
			return nil, notJSON(subject, data, err)
		}
		depth := dec.StackDepth()
		if depth > maxDepth {
			return nil, refuse("bad_message", "%s is nested more than %d deep at byte %d", subject, maxDepth, dec.InputOffset())
		}
		if depth == outside {
			end := int(dec.InputOffset())
			return data[skipTo(data, start, end):end:end], nil // to append to it is to copy it
		}
	}
}

// notJSON says what is wrong with a text, and where.
func notJSON(subject string, data []byte, err error) error {
	at, place := int64(len(data)), ""
	cause := err
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		at, cause = syntax.ByteOffset, syntax.Err
		if syntax.JSONPointer != "" {
			place = ", in " + clip(string(syntax.JSONPointer))
		}
	}
	text := cause.Error()
	code, hint := "bad_message", ""
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		text = "it ends too early"
	case errors.Is(err, jsontext.ErrDuplicateName):
		return refuse(code, "%s has a member twice, at %s%s", subject, position(data, at), place).
			WithHint("leave one of them out")
	case strings.Contains(text, "UTF-8"):
		hint = "send UTF-8 text"
	case at < int64(len(data)) && data[at] == '\'':
		hint = `JSON text stands in double quotes: "…"`
	case at < int64(len(data)) && data[at] == ',':
		hint = "JSON takes no comma after the last member"
	}
	return refuse(code, "%s is not JSON: %s, at %s%s", subject, text, position(data, at), place).WithHint("%s", hint)
}

// position tells an offset as people count: by line and column, from one.
func position(data []byte, at int64) string {
	before := data[:min(max(at, 0), int64(len(data)))]
	line := 1 + bytes.Count(before, []byte("\n"))
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
	return formatPosition(line, column)
}

// set takes one member of a command.
func (r *request) set(subject string, member []byte, value jsontext.Value) error {
	var err error
	switch string(member) {
	case "mailbox":
		r.mailbox, err = text(subject, "mailbox", value)
	case "entity":
		r.entity, err = text(subject, "entity", value)
	case "method":
		r.method, err = text(subject, "method", value)
	case "path":
		r.path, err = texts(subject, "path", value)
	case "query":
		r.query, err = texts(subject, "query", value)
	case "headers":
		r.headers, err = texts(subject, "headers", value)
	case "payload":
		err = r.setPayload(subject, value)
	case "payload_blob":
		if r.blob, err = text(subject, "payload_blob", value); err == nil && r.blob != "" && !plainBlob(r.blob) {
			err = refuse("bad_blob", "payload_blob of %s is %q, which names no object", subject, clip(r.blob)).
				WithHint("name it as in OUTLOOK_BLOB/photo-of-ann")
		}
	default:
		return unknownMember(subject, string(member))
	}
	return err
}

// setPayload takes a body: a JSON object, or the base64 of one that is something
// else, as Graph itself writes such bodies inside of JSON
// (https://learn.microsoft.com/graph/json-batching#request-format).
func (r *request) setPayload(subject string, value jsontext.Value) error {
	switch value.Kind() {
	case 'n':
		return nil
	case '{':
		r.payload = value
		return nil
	case '"':
		encoded, err := text(subject, "payload", value)
		if err != nil {
			return err
		}
		if r.raw, err = decodeBase64(encoded); err != nil || len(r.raw) == 0 {
			return refuse("bad_message", "payload of %s is text, and not the base64 of anything", subject).
				WithHint("a picture or a mail as MIME goes into payload as base64, every other body as a JSON object")
		}
		return nil
	default:
		return refuse("bad_message", "payload of %s must be a JSON object or text in base64, not %s", subject, kindName(value.Kind()))
	}
}

func unknownMember(subject, member string) error {
	err := refuse("unknown_member", "%s has an unknown member %q", subject, clip(member))
	if near := nearest(member, memberNames[:]); near != "" {
		return err.WithHint("did you mean %q?", near)
	}
	return err.WithHint(`what the API reference calls the request body goes into payload: {"payload": {%q: …}}; the members are %s`,
		clip(member), list(memberNames[:]))
}

// text reads a member that is text.
func text(subject, member string, value jsontext.Value) (string, error) {
	switch value.Kind() {
	case 'n':
		return "", nil
	case '"':
		plain, err := unquoted(value)
		return string(plain), err
	default:
		return "", refuse("bad_message", "%s of %s must be text, not %s", member, subject, kindName(value.Kind()))
	}
}

// texts reads an object of texts. Numbers and booleans are taken as they are
// written, because {"$top": 10} is what everybody types.
func texts(subject, member string, value jsontext.Value) (map[string]*string, error) {
	var found map[string]*string
	if value.Kind() == 'n' {
		return found, nil
	}
	if value.Kind() != '{' {
		return nil, refuse("bad_message", "%s of %s must be a JSON object, not %s", member, subject, kindName(value.Kind()))
	}
	found = make(map[string]*string)
	dec := reparsing(value)
	defer parsed(dec)
	err := dec.eachMember(func(plain []byte) error {
		name := string(plain)
		entry, err := dec.ReadValue()
		if err != nil {
			return err
		}
		switch entry.Kind() {
		case 'n':
			found[name] = nil
		case '"':
			s, err := text(subject, name, entry)
			if err != nil {
				return err
			}
			found[name] = &s
		case '0', 't', 'f':
			found[name] = new(string(entry))
		default:
			return refuse("bad_message", "%s.%s of %s must be text, a number or a boolean, not %s",
				member, clip(name), subject, kindName(entry.Kind()))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func kindName(kind jsontext.Kind) string {
	switch kind {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "text"
	case '0':
		return "a number"
	case '[':
		return "an array"
	case '{':
		return "an object"
	default:
		return "something else"
	}
}

// asFault keeps a marked error and marks any other as a command's own fault.
func asFault(err error) *fault.Error {
	if marked, ok := errors.AsType[*fault.Error](err); ok {
		return marked
	}
	return &fault.Error{Kind: fault.Poison, Code: "bad_message", Err: err}
}
