package publisher

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"outlook-connector/internal/catalog"
)

// The sizes of attachments, in bytes: https://learn.microsoft.com/graph/outlook-large-attachments
const (
	// leastSession is from where on a file goes by upload session. What is
	// smaller, Graph refuses there.
	leastSession = 3_000_000
	// mostAttached bounds a file, and all of an item together: a message may have
	// 150 MB where the mailbox allows it.
	// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits#message-limits
	mostAttached = 150 << 20
	// mostTaskFile bounds the files of a task:
	// https://learn.microsoft.com/graph/api/taskfileattachment-createuploadsession
	mostTaskFile = 25 << 20
	// mostInline bounds a request with its attachments. Graph takes 4 MB, and the
	// marker of the command goes in as well.
	mostInline = 3_900_000
)

// attachment is one that does not go with the item's own request, but after it.
type attachment struct {
	Name, ContentType, ContentID string
	Inline                       bool
	// Size is that of the file; 0 where it is not known, of items and references.
	Size int64
	// Blob names the file in the object store, of which Sum is its SHA-256.
	Blob, Sum string
	// text is the file in base64 where it came in the command.
	text []byte
	// raw is the attachment as it stands in the command.
	raw jsontext.Value
	// session says that it goes by upload session; else it is added by one request.
	session bool
}

// attachPlace says where an operation has attachments, and how more of them come
// to the item that it makes.
type attachPlace struct {
	// within are the members that lead to the object with the attachments.
	within []string
	// self: the payload is an attachment, of an item that is there.
	self bool
	// kind is that of the item; nil: none can be added to it later.
	kind *attachKind
}

// attachKind are the operations that add attachments to a kind of item.
type attachKind struct {
	// create adds a small one, session begins the upload of a large one, list
	// tells what is there: ids of the catalogue.
	create, session, list string
	// param is the item's path parameter, within that of what holds it; "": none.
	param, within string
	// member is the parameter of the session's request.
	member string
	// most bounds one file.
	most int64
	// odata is the type of a file.
	odata string
}

const fileAttachment = "#microsoft.graph.fileAttachment"

var (
	ofMail = &attachKind{
		create: "mail.messageAttachment.create", session: "mail.messageAttachment.createUploadSession", list: "mail.messageAttachment.list",
		param: "message-id", member: "AttachmentItem", most: mostAttached, odata: fileAttachment,
	}
	ofEvent = &attachKind{
		create: "calendar.eventAttachment.create", session: "calendar.eventAttachment.createUploadSession", list: "calendar.eventAttachment.list",
		param: "event-id", member: "AttachmentItem", most: mostAttached, odata: fileAttachment,
	}
	ofTask = &attachKind{
		create: "todo.taskAttachment.create", session: "todo.taskAttachment.createUploadSession", list: "todo.taskAttachment.list",
		param: "todoTask-id", within: "todoTaskList-id", member: "attachmentInfo", most: mostTaskFile, odata: "#microsoft.graph.taskFileAttachment",
	}
)

// placeOf says where an operation has attachments; nil: nowhere.
func placeOf(op *catalog.Operation) *attachPlace {
	switch op.ID {
	case "mail.message.create", "mail.folder.createMessage":
		return &attachPlace{kind: ofMail}
	case "mail.message.sendMail", "mail.message.createReply", "mail.message.createReplyAll", "mail.message.createForward",
		"mail.message.reply", "mail.message.replyAll", "mail.message.forward":
		return &attachPlace{within: []string{"message"}, kind: ofMail}
	case "mail.messageAttachment.create", "calendar.eventMessageAttachment.create":
		return &attachPlace{self: true, kind: ofMail}
	case "calendar.event.create", "calendar.calendar.createEvent":
		return &attachPlace{kind: ofEvent}
	case "calendar.eventAttachment.create":
		return &attachPlace{self: true, kind: ofEvent}
	case "todo.taskAttachment.create":
		return &attachPlace{self: true, kind: ofTask}
	case "groups.event.create", "extensions.openExtension.createWithItem",
		"extensions.singleValueExtendedProperty.createWithItem", "extensions.multiValueExtendedProperty.createWithItem":
		return &attachPlace{}
	case "groups.post.reply", "groups.thread.reply", "groups.postAttachment.create":
		return &attachPlace{within: []string{"post"}}
	default:
		return nil
	}
}

// splitAttachments splits a payload: what goes with the operation's own request, and
// the attachments that come to the item after it. Small files of the object store
// are read into the payload; those from 3 MB on, and the largest of those with
// which the request would pass 4 MB, are taken out. slim is the payload itself
// where nothing changes, and nil where nothing is left: an attachment that is to
// be added to an item that is there, and goes by upload session.
//
// It has no effect anywhere. What Graph would refuse for its size is refused here.
func splitAttachments(ctx context.Context, files Files, op *catalog.Operation, payload []byte) (slim []byte, big []attachment, err error) {
	blobs := bytes.Contains(payload, []byte(`"blob"`))
	if len(payload) <= leastSession && !blobs {
		return payload, nil, nil // nearly every command
	}
	place := placeOf(op)
	if place == nil {
		return payload, nil, strayBlobs(payload, "payload")
	}
	s := &splitting{files: files, place: place, payload: payload}
	if err := s.find(); err != nil {
		return nil, nil, err
	}
	if s.end == 0 { // no attachments at all
		return payload, nil, strayBlobs(payload, "payload")
	}
	for _, part := range s.parts {
		if err := s.look(ctx, part); err != nil {
			return nil, nil, err
		}
	}
	if err := s.choose(op); err != nil {
		return nil, nil, err
	}
	return s.build(ctx)
}

// splitting is the work on one payload.
type splitting struct {
	files   Files
	place   *attachPlace
	payload []byte
	// start and end are where the list of attachments stands in the payload, or
	// the one attachment that it is.
	start, end int
	parts      []*attachPart
}

// attachPart is an attachment in a payload.
type attachPart struct {
	attachment
	at   string // where, for sentences
	file bool   // it is a file with its content
	out  bool   // it is taken out
}

// weight is how many bytes the attachment is in the request.
func (p *attachPart) weight() int64 {
	if p.Blob == "" {
		return int64(len(p.raw))
	}
	return int64(len(p.raw)) + int64(base64.StdEncoding.EncodedLen(int(p.Size))) + 64 // names of members
}

// find finds the attachments in the payload.
func (s *splitting) find() error {
	if s.place.self {
		s.end = len(s.payload)
		s.parts = []*attachPart{{attachment: attachment{raw: s.payload}, at: "payload"}}
		return nil
	}
	start, end, at := 0, len(s.payload), "payload"
	for _, name := range append(slices.Clone(s.place.within), "attachments") {
		from, to, err := memberOf(s.payload[start:end], name)
		if err != nil || to == 0 {
			return err
		}
		start, end, at = start+from, start+to, at+"."+name
	}
	list := jsontext.Value(s.payload[start:end])
	if list.Kind() != '[' {
		return nil // Graph says what is wrong with it
	}
	s.start, s.end = start, end
	dec := jsontext.NewDecoder(bytes.NewReader(list))
	if _, err := dec.ReadToken(); err != nil {
		return asFault(err)
	}
	for dec.PeekKind() != ']' {
		from := int(dec.InputOffset())
		if err := dec.SkipValue(); err != nil {
			return asFault(err)
		}
		to := int(dec.InputOffset())
		from = skipTo(list, from, to)
		s.parts = append(s.parts, &attachPart{attachment: attachment{raw: list[from:to]}, at: fmt.Sprintf("%s[%d]", at, len(s.parts))})
	}
	return nil
}

// memberOf finds the value of a member in the text of an object, without regard
// to the case of its name: Graph reads the parameters of actions so. to is 0
// where there is none.
func memberOf(text jsontext.Value, name string) (from, to int, err error) {
	if text.Kind() != '{' {
		return 0, 0, nil
	}
	err = membersAt(text, func(member string, start, end int) error {
		if strings.EqualFold(member, name) {
			from, to = start, end
		}
		return nil
	})
	return from, to, err
}

// membersAt calls f with the name and the place of each member's value.
func membersAt(text jsontext.Value, f func(name string, start, end int) error) error {
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	if _, err := dec.ReadToken(); err != nil {
		return asFault(err)
	}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return asFault(err)
		}
		name := token.String()
		start := int(dec.InputOffset())
		if err := dec.SkipValue(); err != nil {
			return asFault(err)
		}
		end := int(dec.InputOffset())
		if err := f(name, skipTo(text, start, end), end); err != nil {
			return err
		}
	}
	return nil
}

// skipTo returns where the value begins that ends at end: behind the comma or
// colon and the white space.
func skipTo(text []byte, start, end int) int {
	return end - len(bytes.TrimLeft(text[start:end], ",: \t\r\n"))
}

// look reads one attachment: what it is, and how large.
func (s *splitting) look(ctx context.Context, p *attachPart) error {
	if p.raw.Kind() != '{' {
		return nil
	}
	blob, content := false, false
	kind := ""
	err := membersAt(p.raw, func(name string, start, end int) error {
		value := p.raw[start:end]
		take := func(into *string) error {
			if value.Kind() != '"' {
				return nil
			}
			plain, err := jsontext.AppendUnquote(nil, value)
			*into = string(plain)
			return err
		}
		switch name {
		case "@odata.type":
			return take(&kind)
		case "name":
			return take(&p.Name)
		case "contentType":
			return take(&p.ContentType)
		case "contentId":
			return take(&p.ContentID)
		case "isInline":
			p.Inline = value.Kind() == 't'
		case "contentBytes":
			content = value.Kind() == '"'
			if !content {
				return nil
			}
			if p.text = value[1 : len(value)-1]; bytes.IndexByte(p.text, '\\') >= 0 {
				plain, err := jsontext.AppendUnquote(nil, value)
				p.text = plain
				return err
			}
		case "blob":
			blob = value.Kind() != 'n'
			return take(&p.Blob)
		}
		return nil
	})
	switch {
	case err != nil:
		return asFault(err)
	case !blob:
		p.measure(content, kind)
		return strayBlobs(p.raw, p.at)
	case p.Blob == "":
		return refuse("bad_blob", "%s.blob must be text", p.at).WithHint(`name the object as "OUTLOOK_BLOB/<name>"`)
	case content:
		return refuse("bad_blob", "%s has contentBytes as well as blob", p.at).WithHint("leave one of them out")
	case kind != "" && kind != s.place.odataType():
		return refuse("bad_blob", "%s has a blob and is a %s", p.at, clip(kind)).WithHint("an object of the object store can only be a file: %s", s.place.odataType())
	case p.Name == "":
		return refuse("bad_blob", "%s has a blob and no name", p.at).WithHint("give the attachment a name")
	case s.files == nil:
		return refuse("not_supported", "%s: attachments from the object store are not supported here", p.at).WithHint("give the attachment as contentBytes")
	}
	found, err := s.files.Stat(ctx, p.Blob)
	if err != nil {
		return fmt.Errorf("%s: %w", p.at, err)
	}
	p.file, p.Size, p.Sum = true, found.Size, found.Sum
	return nil
}

// measure finds out how large a file is that came in the command.
func (p *attachPart) measure(content bool, kind string) {
	if !content || kind != "" && kind != fileAttachment && !strings.EqualFold(kind, ofTask.odata) {
		p.text = nil
		return
	}
	n, err := io.Copy(io.Discard, base64.NewDecoder(base64.StdEncoding, bytes.NewReader(p.text)))
	if err != nil { // Graph says what is wrong with it
		p.text = nil
		return
	}
	p.file, p.Size = true, n
}

func (p *attachPlace) odataType() string {
	if p.kind != nil {
		return p.kind.odata
	}
	return fileAttachment
}

// choose says which attachments are taken out, and refuses what is too large.
func (s *splitting) choose(op *catalog.Operation) error {
	var sum int64
	weight := int64(len(s.payload))
	for _, p := range s.parts {
		most := int64(mostAttached)
		if s.place.kind != nil {
			most = s.place.kind.most
		}
		if p.Size > most {
			return overSize("%s has %d bytes; Graph takes files of up to %d", p.at, p.Size, most)
		}
		sum += p.Size
		weight += p.weight() - int64(len(p.raw))
	}
	if sum > mostAttached {
		return overSize("the attachments have %d bytes together; a message may have %d", sum, int64(mostAttached))
	}
	if s.place.kind == nil {
		if weight > mostInline {
			return overSize("the request would have %d bytes with its attachments, and %s takes %d", weight, op.ID, mostInline)
		}
		return nil
	}
	take := func(p *attachPart) {
		p.out = true
		p.session = p.file && p.Size >= leastSession && p.Name != ""
		weight -= p.weight()
	}
	for _, p := range s.parts {
		if p.file && p.Size >= leastSession && p.Name != "" {
			take(p)
		}
	}
	if s.place.self { // it is alone, with nothing that could be taken out
		if weight > maxCommand {
			return overSize("the request would have %d bytes, and Graph takes 4 MB", weight)
		}
		return nil
	}
	for weight > mostInline {
		var largest *attachPart
		for _, p := range s.parts {
			if !p.out && (largest == nil || p.weight() > largest.weight()) {
				largest = p
			}
		}
		if largest == nil {
			return overSize("the request would have %d bytes without its attachments, and Graph takes 4 MB", weight)
		}
		if take(largest); !largest.session && largest.weight() > maxCommand {
			return overSize("%s would have %d bytes in its own request, and Graph takes 4 MB", largest.at, largest.weight())
		}
	}
	return nil
}

func overSize(format string, args ...any) error {
	return refuse("attachment_too_large", format, args...).
		WithHint("send a link to the file instead, or several messages")
}

// build writes the payload that is left, and lists what was taken out in the
// order in which it stood.
func (s *splitting) build(ctx context.Context) (slim []byte, big []attachment, err error) {
	same := true
	for _, p := range s.parts {
		same = same && !p.out && p.Blob == ""
		if p.out {
			big = append(big, p.attachment)
		}
	}
	switch {
	case same:
		return s.payload, nil, nil
	case s.place.self && len(big) > 0:
		return nil, big, nil
	}
	var out bytes.Buffer
	out.Write(s.payload[:s.start])
	if !s.place.self {
		out.WriteByte('[')
	}
	first := true
	for _, p := range s.parts {
		if p.out {
			continue
		}
		if !first {
			out.WriteByte(',')
		}
		first = false
		if err := writeAttachment(ctx, &out, s.files, &p.attachment, s.place.odataType()); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", p.at, err)
		}
	}
	if !s.place.self {
		out.WriteByte(']')
	}
	out.Write(s.payload[s.end:])
	return out.Bytes(), big, nil
}
