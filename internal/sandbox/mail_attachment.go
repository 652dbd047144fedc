package sandbox

// What an attachment is: a file, an item (message, event, contact) or a
// reference. Attachments are never changed; adding and removing gives the message
// another list. Their ids are made of the message's and a number, so that they
// live as long as the message's own: ordinary ones change with a move, immutable
// ones do not.
// https://learn.microsoft.com/graph/api/resources/attachment
//
// Left out: sourceUrl and the other properties of reference attachments, which
// v1.0 has not.

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	fileKind      = "fileAttachment"
	itemKind      = "itemAttachment"
	referenceKind = "referenceAttachment"
)

type attachment struct {
	Key         uint32   `json:"key"` // within its message
	Kind        string   `json:"kind"`
	Name        string   `json:"name"`
	ContentType string   `json:"content_type,omitempty"`
	ContentID   string   `json:"content_id,omitempty"`
	Location    string   `json:"location,omitempty"`
	Inline      bool     `json:"inline,omitempty"`
	Modified    int64    `json:"modified"`
	Size        int      `json:"size"`
	Content     *content `json:"content,omitempty"` // of a file
	// Message or Item is what an item attachment holds; Item is an event or a
	// contact, with its @odata.type.
	Message *message       `json:"message,omitempty"`
	Item    map[string]any `json:"item,omitempty"`
}

// attach adds an attachment to a message that nobody else has yet.
func (m *message) attach(a *attachment) {
	m.Attached++
	own := *a
	own.Key = m.Attached
	m.Attachments = append(slices.Clip(m.Attachments), &own)
}

// hasAttachments is false where all are inline: Outlook does not count those.
func (m *message) hasAttachments() bool {
	return slices.ContainsFunc(m.Attachments, func(a *attachment) bool { return !a.Inline })
}

// attachmentID is the message's id with a tail.
func attachmentID(message string, key uint32) string {
	b, _ := base64.URLEncoding.DecodeString(message) // made by makeID
	b = append(b, 0x01, 0x12, 0x00, 0x10, 0x00)
	b = binary.BigEndian.AppendUint32(b, key)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	return base64.URLEncoding.EncodeToString(b)
}

// attachmentNamed finds an attachment by its id, whichever of the message's ids it
// was made with.
func (c *call) attachmentNamed(m *message, name string) (*attachment, error) {
	b, err := base64.URLEncoding.DecodeString(name)
	const tail = 5 + 4 + 4
	if n := len(b); err != nil || n < tail || binary.BigEndian.Uint32(b[n-4:]) != crc32.ChecksumIEEE(b[:n-4]) {
		return nil, errIDMalformed()
	}
	id, ok := parseID(base64.URLEncoding.EncodeToString(b[:len(b)-tail]))
	if !ok {
		return nil, errIDMalformed()
	}
	key := binary.BigEndian.Uint32(b[len(b)-8:])
	i := slices.IndexFunc(m.Attachments, func(a *attachment) bool { return a.Key == key })
	if i < 0 || id.key != m.Key || id.mailbox != c.box.ID || id.kind == idOrdinary && id.gen != m.Gen {
		return nil, errItemNotFound()
	}
	return m.Attachments[i], nil
}

// readAttachment reads an attachment as a client writes it. When and where it is
// kept is up to the caller.
func readAttachment(raw json.RawMessage, now int64) (*attachment, error) {
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(raw, &obj); err != nil || obj == nil {
		return nil, errBody("An attachment cannot be read.")
	}
	var kind string
	_ = json.Unmarshal(obj["@odata.type"], &kind) // absent and of another type are the same
	a := &attachment{Modified: now}
	for _, known := range []string{fileKind, itemKind, referenceKind} {
		if strings.EqualFold(strings.TrimPrefix(kind, "#"), "microsoft.graph."+known) {
			a.Kind = known
		}
	}
	if a.Kind == "" {
		return nil, errBody("Cannot create an instance of the type '%s'. The @odata.type of an attachment must name one of its derived types.", shorten(kind, 60))
	}
	given := map[string]bool{}
	for name, value := range obj {
		if strings.Contains(name, "@odata.") {
			continue
		}
		given[name] = string(value) != "null"
		if err := a.set(name, value); err != nil {
			return nil, err
		}
	}
	switch {
	case !given["name"]:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'name' of the attachment is required.")
	case a.Kind == fileKind && !given["contentBytes"]:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "A file attachment needs name and contentBytes.")
	case a.Kind == itemKind && !given["item"]:
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "An item attachment needs name and item.")
	}
	if a.Kind == fileKind && a.ContentType == "" {
		a.ContentType = contentTypeOf(a.Name)
	}
	return a, nil
}

// set writes one member of a new attachment.
func (a *attachment) set(name string, value json.RawMessage) error {
	null := string(value) == "null"
	switch name {
	case "name":
		return readValue(value, "Edm.String", &a.Name)
	case "contentType":
		return readValue(value, "Edm.String", &a.ContentType)
	case "isInline":
		return readValue(value, "Edm.Boolean", &a.Inline)
	case "id", "size", "lastModifiedDateTime":
		return nil // the service's
	}
	switch {
	case a.Kind == fileKind && name == "contentId":
		return readValue(value, "Edm.String", &a.ContentID)
	case a.Kind == fileKind && name == "contentLocation":
		return readValue(value, "Edm.String", &a.Location)
	case a.Kind == fileKind && name == "contentBytes" && null:
		return nil
	case a.Kind == fileKind && name == "contentBytes":
		var text string
		if err := readValue(value, "Edm.Binary", &text); err != nil {
			return err
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return errBody("Cannot convert the value of 'contentBytes' to the expected type 'Edm.Binary'.")
		}
		a.Content, a.Size = newContent(b), len(b)
		return nil
	case a.Kind == itemKind && name == "item" && null:
		return nil
	case a.Kind == itemKind && name == "item":
		return a.setItem(value)
	}
	return errUnknownProperty(name, strings.ToUpper(a.Kind[:1])+a.Kind[1:])
}

// setItem reads the item of an item attachment.
func (a *attachment) setItem(raw json.RawMessage) error {
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(raw, &obj); err != nil {
		return errBody("Cannot convert the literal '%s' to the expected type 'microsoft.graph.outlookItem'.", shorten(string(raw), 40))
	}
	var kind string
	_ = json.Unmarshal(obj["@odata.type"], &kind)
	kind = strings.TrimPrefix(strings.ToLower(strings.TrimPrefix(kind, "#")), "microsoft.graph.")
	a.Size = len(raw)
	switch kind {
	case "message":
		m := newMessage()
		if _, err := writeMessage(m, obj, true); err != nil {
			return err
		}
		m.IsDraft = false
		a.Message = m
		return nil
	case "event", "contact":
		var body map[string]any
		if err := json.Unmarshal(raw, &body); err != nil {
			return errBody("An attachment's item cannot be read.")
		}
		typ := typeNamed(kind)
		e := newEntity(typ)
		if _, err := e.write(typ, body, true); err != nil {
			return err
		}
		e.Props["@odata.type"] = "#microsoft.graph." + kind
		a.Item = e.Props
		return nil
	}
	return errBody("Cannot create an instance of the type '%s'. The item of an attachment is a message, an event or a contact.", shorten(kind, 60))
}

// attachmentMembers are the properties that $select may name.
var attachmentMembers = []string{
	"lastModifiedDateTime", "name", "contentType", "size", "isInline", "contentId", "contentLocation", "contentBytes",
}

// attachmentView is how one request wants to see attachments.
type attachmentView struct {
	v      *view
	chosen []string // $select; empty: all
	item   bool     // $expand=microsoft.graph.itemattachment/item
}

func newAttachmentView(v *view, q query) (*attachmentView, error) {
	at := &attachmentView{v: v, chosen: q.selects}
	for _, name := range q.selects {
		_, name = cutTypeCast(name)
		if !strings.EqualFold(name, "id") && name != "*" &&
			!slices.ContainsFunc(attachmentMembers, func(m string) bool { return strings.EqualFold(m, name) }) {
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.Attachment'.", name)
		}
	}
	list, err := parseExpansions(q.expand)
	for _, e := range list {
		if cast, name := cutTypeCast(e.name); strings.EqualFold(cast, "microsoft.graph.itemattachment") && strings.EqualFold(name, "item") {
			at.item = true
			continue
		}
		return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.Attachment'.", e.name)
	}
	return at, err
}

// cutTypeCast takes the type from microsoft.graph.fileAttachment/contentId.
func cutTypeCast(name string) (cast, rest string) {
	if i := strings.LastIndex(name, "/"); i >= 0 {
		return name[:i], name[i+1:]
	}
	return "", name
}

func (at *attachmentView) shows(name string) bool {
	return len(at.chosen) == 0 || slices.ContainsFunc(at.chosen, func(s string) bool {
		_, s = cutTypeCast(s)
		return s == "*" || strings.EqualFold(s, name)
	})
}

// append writes an attachment as an object.
func (at *attachmentView) append(b []byte, m *message, a *attachment, head string) []byte {
	id := attachmentID(at.v.id(m), a.Key)
	b = append(append(b, '{'), head...)
	b = append(append(append(b, `"@odata.type":"#microsoft.graph.`...), a.Kind...), `",`...)
	if a.Kind == fileKind {
		b = append(appendString(append(b, `"@odata.mediaContentType":`...), a.ContentType), ',')
	}
	b = appendString(append(b, `"id":`...), id)
	text := func(b []byte, s string) []byte {
		if s == "" {
			return append(b, "null"...)
		}
		return appendString(b, s)
	}
	for _, name := range attachmentMembers {
		if !at.shows(name) || a.Kind != fileKind && strings.HasPrefix(name, "content") && name != "contentType" {
			continue
		}
		b = append(append(append(b, `,"`...), name...), `":`...)
		switch name {
		case "lastModifiedDateTime":
			b = appendTime(b, a.Modified)
		case "name":
			b = appendString(b, a.Name)
		case "contentType":
			b = text(b, a.ContentType)
		case "size":
			b = strconv.AppendInt(b, int64(a.Size), 10)
		case "isInline":
			b = appendBool(b, a.Inline)
		case "contentId":
			b = text(b, a.ContentID)
		case "contentLocation":
			b = text(b, a.Location)
		case "contentBytes":
			b = append(b, '"')
			b = base64.StdEncoding.AppendEncode(b, a.Content.bytes)
			b = append(b, '"')
		}
	}
	if at.item && a.Kind == itemKind {
		b = at.appendItem(append(b, `,"item":`...), a, id)
	}
	return append(b, '}')
}

// appendItem writes what an item attachment holds.
func (at *attachmentView) appendItem(b []byte, a *attachment, id string) []byte {
	if a.Message == nil {
		return appendJSON(b, a.Item)
	}
	b = append(b, `{"@odata.type":"#microsoft.graph.message"`...)
	b = appendString(append(b, `,"id":`...), id)
	for i := range messageProperties {
		p := &messageProperties[i]
		if p.show == nil || p.selected || p.name == "parentFolderId" || p.name == "changeKey" || p.name == "webLink" {
			continue
		}
		b = append(append(append(b, `,"`...), p.name...), `":`...)
		b = p.show(b, at.v, a.Message)
	}
	return append(b, '}')
}
