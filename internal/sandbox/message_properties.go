package sandbox

// The properties of a message: how each is shown, whether a client may write
// it, and when. One table serves $select, rendering and the check of bodies, so
// that a property cannot be writable and unknown at once.
// https://learn.microsoft.com/graph/api/resources/message
//
// Left out: mentions, unsubscribeData and what else is in the beta version only.

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
)

// property is one member of message.
type property struct {
	name string
	// show appends the value.
	show func(b []byte, v *view, m *message) []byte
	// write reads the value from a body; nil: the service sets it, and a body
	// that has it is accepted without effect, as Graph does.
	write func(m *message, raw json.RawMessage) error
	// draft: may be changed while the message is a draft only.
	draft bool
	// selected: shown only when $select names it.
	selected bool
	// content: not shown to a token with Mail.ReadBasic alone.
	content bool
}

// view is how one request wants to see messages.
type view struct {
	box        *mailbox
	immutable  bool
	properties []*property
	expand     []expansion
	chosen     []string // $select, as given
	prefer     preferences
	call       *call // for what lies in other places: extensions, events
}

// expansion is one member of $expand.
type expansion struct {
	name    string
	filter  string // of extended properties
	options query
	nested  *attachmentView
}

func (v *view) id(m *message) string {
	if v.immutable {
		return makeID(idImmutable, v.box.ID, m.Key, 0)
	}
	return makeID(idOrdinary, v.box.ID, m.Key, m.Gen)
}

// changeKey is another text after each write.
func changeKey(seq int64) string {
	b := []byte{0x09, 0, 0, 0, 0x16, 0, 0, 0, 0xd5, 0x1f, 0x2a, 0x6e}
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, uint64(seq)))
}

func etag(seq int64) string { return `W/"` + changeKey(seq) + `"` }

func appendTime(b []byte, unix int64) []byte {
	b = append(b, '"')
	b = time.Unix(unix, 0).UTC().AppendFormat(b, time.RFC3339)
	return append(b, '"')
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, "true"...)
	}
	return append(b, "false"...)
}

func appendList[T any](b []byte, list []T) []byte {
	if len(list) == 0 {
		return append(b, "[]"...)
	}
	return appendJSON(b, list)
}

// messageProperties is the table, in the order in which they are shown.
var messageProperties = []property{
	{name: "createdDateTime", show: func(b []byte, _ *view, m *message) []byte { return appendTime(b, m.Created) }},
	{name: "lastModifiedDateTime", show: func(b []byte, _ *view, m *message) []byte { return appendTime(b, m.Modified) }},
	{name: "changeKey", show: func(b []byte, _ *view, m *message) []byte { return appendString(b, changeKey(m.Seq)) }},
	{
		name: "categories", show: func(b []byte, _ *view, m *message) []byte { return appendList(b, m.Categories) },
		write: func(m *message, raw json.RawMessage) error {
			return readValue(raw, "Collection(Edm.String)", &m.Categories)
		},
	},
	{name: "receivedDateTime", show: func(b []byte, _ *view, m *message) []byte { return appendTime(b, m.Received) }},
	{name: "sentDateTime", show: func(b []byte, _ *view, m *message) []byte { return appendTime(b, m.Sent) }},
	{name: "hasAttachments", show: func(b []byte, _ *view, m *message) []byte { return appendBool(b, m.hasAttachments()) }},
	{
		name: "internetMessageId", draft: true,
		show:  func(b []byte, _ *view, m *message) []byte { return appendString(b, m.InternetID) },
		write: func(m *message, raw json.RawMessage) error { return readValue(raw, "Edm.String", &m.InternetID) },
	},
	{
		name: "subject", draft: true,
		show:  func(b []byte, _ *view, m *message) []byte { return appendString(b, m.Subject) },
		write: func(m *message, raw json.RawMessage) error { return readValue(raw, "Edm.String", &m.Subject) },
	},
	{name: "bodyPreview", content: true, show: func(b []byte, _ *view, m *message) []byte { return appendString(b, m.Preview) }},
	{
		name: "importance", show: func(b []byte, _ *view, m *message) []byte { return appendString(b, m.Importance) },
		write: func(m *message, raw json.RawMessage) error {
			return readEnum(raw, "importance", &m.Importance, "low", "normal", "high")
		},
	},
	{name: "parentFolderId", show: func(b []byte, v *view, m *message) []byte {
		return appendString(b, makeID(idFolder, v.box.ID, m.Folder, 0))
	}},
	{name: "conversationId", show: func(b []byte, _ *view, m *message) []byte { return appendString(b, m.Conversation) }},
	{name: "conversationIndex", show: func(b []byte, _ *view, m *message) []byte {
		return appendString(b, base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64([]byte{1, 0xd9}, m.Key)))
	}},
	{
		name: "isDeliveryReceiptRequested", show: func(b []byte, _ *view, m *message) []byte { return appendBool(b, m.WantDelivery) },
		write: func(m *message, raw json.RawMessage) error { return readValue(raw, "Edm.Boolean", &m.WantDelivery) },
	},
	{
		name: "isReadReceiptRequested", show: func(b []byte, _ *view, m *message) []byte { return appendBool(b, m.WantRead) },
		write: func(m *message, raw json.RawMessage) error { return readValue(raw, "Edm.Boolean", &m.WantRead) },
	},
	{
		name: "isRead", show: func(b []byte, _ *view, m *message) []byte { return appendBool(b, m.IsRead) },
		write: func(m *message, raw json.RawMessage) error { return readValue(raw, "Edm.Boolean", &m.IsRead) },
	},
	{name: "isDraft", show: func(b []byte, _ *view, m *message) []byte { return appendBool(b, m.IsDraft) }},
	{name: "webLink", show: func(b []byte, v *view, m *message) []byte {
		return appendString(b, "https://outlook.office365.com/owa/?ItemID="+v.id(m)+"&exvsurl=1&viewmodel=ReadMessageItem")
	}},
	{
		name: "inferenceClassification", show: func(b []byte, _ *view, m *message) []byte { return appendString(b, m.Inference) },
		write: func(m *message, raw json.RawMessage) error {
			return readEnum(raw, "inferenceClassificationType", &m.Inference, "focused", "other")
		},
	},
	{
		name: "body", draft: true, content: true,
		show:  func(b []byte, v *view, m *message) []byte { return appendBody(b, v.body(m.Body)) },
		write: writeBody,
	},
	{
		name: "uniqueBody", selected: true, content: true,
		show: func(b []byte, v *view, m *message) []byte { return appendBody(b, v.body(uniqueBody(m.Body))) },
	},
	{
		name: "sender", draft: true, show: func(b []byte, _ *view, m *message) []byte { return appendJSON(b, m.Sender) },
		write: func(m *message, raw json.RawMessage) error {
			return readValue(raw, "microsoft.graph.recipient", &m.Sender)
		},
	},
	{
		name: "from", draft: true, show: func(b []byte, _ *view, m *message) []byte { return appendJSON(b, m.From) },
		write: func(m *message, raw json.RawMessage) error {
			return readValue(raw, "microsoft.graph.recipient", &m.From)
		},
	},
	recipientsProperty("toRecipients", func(m *message) *[]recipient { return &m.To }),
	recipientsProperty("ccRecipients", func(m *message) *[]recipient { return &m.Cc }),
	recipientsProperty("bccRecipients", func(m *message) *[]recipient { return &m.Bcc }),
	recipientsProperty("replyTo", func(m *message) *[]recipient { return &m.ReplyTo }),
	{
		name: "flag", show: func(b []byte, _ *view, m *message) []byte { return appendJSON(b, m.Flag) },
		write: func(m *message, raw json.RawMessage) error {
			if err := readValue(raw, "microsoft.graph.followupFlag", &m.Flag); err != nil {
				return err
			}
			if !slices.Contains([]string{"notFlagged", "complete", "flagged"}, m.Flag.FlagStatus) {
				return errBody("Requested value '%s' was not found.", m.Flag.FlagStatus)
			}
			return nil
		},
	},
	{
		name: "internetMessageHeaders", selected: true, content: true, draft: true,
		show:  func(b []byte, _ *view, m *message) []byte { return appendList(b, m.shownHeaders()) },
		write: writeHeaders,
	},
	// Navigation: written with the message, shown with $expand.
	{name: "singleValueExtendedProperties", write: writeExtended},
	{name: "multiValueExtendedProperties", write: writeMulti},
	{name: "attachments", draft: true}, // written by writeAttachments, which reads messages in turn
}

func recipientsProperty(name string, at func(*message) *[]recipient) property {
	return property{
		name: name, draft: true,
		show: func(b []byte, _ *view, m *message) []byte { return appendList(b, *at(m)) },
		write: func(m *message, raw json.RawMessage) error {
			return readValue(raw, "Collection(microsoft.graph.recipient)", at(m))
		},
	}
}

func propertyNamed(name string) *property {
	i := slices.IndexFunc(messageProperties, func(p property) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return &messageProperties[i]
}

// readValue reads a value of a known type; unknown members of complex types are
// refused like unknown properties.
//
// The value is read into a place of its own: decoding over a slice or pointer
// would write into the message that the copy was made from.
func readValue[T any](raw json.RawMessage, edm string, into *T) error {
	var v T
	var err error
	switch any(&v).(type) {
	case *string, *bool: // the most, and without members that could be unknown
		err = json.Unmarshal(raw, &v)
	default:
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		err = dec.Decode(&v)
	}
	if err != nil {
		if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
			return errBody("The property %s does not exist on type '%s'. Make sure to only use property names that are defined by the type or mark the type as open type.",
				strings.ReplaceAll(name, `"`, "'"), edm)
		}
		return errBody("Cannot convert the literal '%s' to the expected type '%s'.", shorten(string(raw), 40), edm)
	}
	*into = v
	return nil
}

func readEnum(raw json.RawMessage, edm string, into *string, allowed ...string) error {
	var s string
	if err := readValue(raw, "microsoft.graph."+edm, &s); err != nil {
		return err
	}
	i := slices.IndexFunc(allowed, func(a string) bool { return strings.EqualFold(a, s) })
	if i < 0 {
		return errBody("Cannot convert the literal '%s' to the expected type 'microsoft.graph.%s'.", shorten(s, 40), edm)
	}
	*into = allowed[i]
	return nil
}

func writeBody(m *message, raw json.RawMessage) error {
	var body itemBody
	if err := readValue(raw, "microsoft.graph.itemBody", &body); err != nil {
		return err
	}
	switch strings.ToLower(body.ContentType) {
	case "":
		body.ContentType = "text"
	case "text", "html":
		body.ContentType = strings.ToLower(body.ContentType)
	default:
		return errBody("Cannot convert the literal '%s' to the expected type 'microsoft.graph.bodyType'.", shorten(body.ContentType, 40))
	}
	m.Body, m.Preview = body, preview(body)
	return nil
}

// writeHeaders holds the rule that a client may set headers whose names begin
// with x- only, and at creation only.
func writeHeaders(m *message, raw json.RawMessage) error {
	var list []header
	if err := readValue(raw, "Collection(microsoft.graph.internetMessageHeader)", &list); err != nil {
		return err
	}
	if m.Key != 0 {
		return newError(400, "ErrorInvalidPropertySet", "The property 'internetMessageHeaders' can be set only when the message is created.")
	}
	for _, h := range list {
		if !strings.HasPrefix(strings.ToLower(h.Name), "x-") {
			return newError(400, "InvalidInternetMessageHeader",
				"The internet message header name '%s' should start with 'x-' or 'X-'.", h.Name)
		}
	}
	m.Headers = list
	return nil
}

// writeExtended merges by id: https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-post-singlevalueextendedproperties
func writeExtended(m *message, raw json.RawMessage) error {
	var list []extendedProperty
	if err := readValue(raw, "Collection(microsoft.graph.singleValueLegacyExtendedProperty)", &list); err != nil {
		return err
	}
	merged := slices.Clone(m.Extended)
	for _, p := range list {
		if err := badPropertyID(p.ID); err != nil {
			return err
		}
		if len(p.Value) > 0 && p.Value[0] != '"' && string(p.Value) != "null" {
			return errBody("Cannot convert the literal '%s' to the expected type 'Edm.String'.", shorten(string(p.Value), 40))
		}
		i := slices.IndexFunc(merged, func(o extendedProperty) bool { return strings.EqualFold(o.ID, p.ID) })
		if i < 0 {
			merged = append(merged, p)
		} else {
			merged[i] = p
		}
	}
	m.Extended = merged
	return nil
}

// readFlags takes the flags that a new message has been given as an extended
// property (PidTagMessageFlags): without mfUnsent it is no draft. This is the only
// way to put a mail that looks received into a folder; no page of Graph's tells of
// it.
func (m *message) readFlags() {
	const unsent = 0x8
	for _, p := range m.Extended {
		kind, tag, _ := strings.Cut(p.ID, " ")
		if !strings.EqualFold(kind, "Integer") || !strings.EqualFold(tag, "0x0E07") && !strings.EqualFold(tag, "0xE07") {
			continue
		}
		var text string
		if json.Unmarshal(p.Value, &text) != nil {
			continue
		}
		if flags, err := strconv.Atoi(text); err == nil {
			m.IsDraft, m.IsRead = flags&unsent != 0, flags&1 != 0
		}
	}
}

// writeMulti merges by id as well; the values of one property are replaced.
func writeMulti(m *message, raw json.RawMessage) error {
	var list []multiProperty
	if err := readValue(raw, "Collection(microsoft.graph.multiValueLegacyExtendedProperty)", &list); err != nil {
		return err
	}
	merged := slices.Clone(m.Multi)
	for _, p := range list {
		if err := badPropertyID(p.ID); err != nil {
			return err
		}
		i := slices.IndexFunc(merged, func(o multiProperty) bool { return strings.EqualFold(o.ID, p.ID) })
		if i < 0 {
			merged = append(merged, p)
		} else {
			merged[i] = p
		}
	}
	m.Multi = merged
	return nil
}

// writeAttachments takes attachments inside the message, in the place of those
// that it has.
func writeAttachments(m *message, raw json.RawMessage) error {
	var list []json.RawMessage
	if err := readValue(raw, "Collection(microsoft.graph.attachment)", &list); err != nil {
		return err
	}
	m.Attachments = nil
	for _, item := range list {
		a, err := readAttachment(item, time.Now().Unix())
		if err != nil {
			return err
		}
		m.attach(a)
	}
	return nil
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
