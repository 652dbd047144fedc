package sandbox

// How messages are shown: $select, $expand, and the object with its etag.

import (
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// view checks $select and $expand of the request.
func (c *call) view() (*view, error) {
	return c.viewOf(c.query.selects, c.query.expand)
}

func (c *call) viewOf(selects []string, expand string) (*view, error) {
	v := &view{box: c.box, immutable: c.prefer.immutable, chosen: selects, prefer: c.prefer, call: c}
	basic := c.basic()
	for _, name := range selects {
		known := slices.ContainsFunc(messageProperties, func(p property) bool { return strings.EqualFold(p.name, name) })
		if _, cast := cutTypeCast(name); !known {
			known = slices.ContainsFunc(eventMessageMembers, func(m string) bool { return strings.EqualFold(m, cast) })
		}
		if !known && !strings.EqualFold(name, "id") {
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.Message'.", name)
		}
	}
	for i := range messageProperties {
		p := &messageProperties[i]
		switch {
		case p.show == nil, p.content && basic:
		case len(selects) == 0 && !p.selected,
			slices.ContainsFunc(selects, func(s string) bool { return strings.EqualFold(s, p.name) }):
			v.properties = append(v.properties, p)
		}
	}
	return v, v.parseExpand(expand)
}

// parseExpand reads attachments, extensions, singleValueExtendedProperties and
// multiValueExtendedProperties($filter=id eq '…' or id eq '…'), and the event of a
// meeting's mail.
func (v *view) parseExpand(text string) error {
	list, err := parseExpansions(text)
	if err != nil {
		return err
	}
	for _, x := range list {
		e := expansion{name: x.name, options: x.options}
		switch strings.ToLower(x.name) {
		case "attachments":
			if v.call.basic() {
				return errAccessDenied()
			}
			e.name = "attachments"
			if e.nested, err = newAttachmentView(v, x.options); err != nil {
				return err
			}
		case "singlevalueextendedproperties", "multivalueextendedproperties":
			e.name = "singleValueExtendedProperties"
			if strings.HasPrefix(strings.ToLower(x.name), "multi") {
				e.name = "multiValueExtendedProperties"
			}
			if e.filter = x.options.filter; e.filter == "" {
				return newError(400, "ErrorInvalidArgument", "$expand of %s needs a $filter by id.", e.name)
			}
			if err := checkIDFilter(e.filter); err != nil {
				return err
			}
		case "extensions":
			e.name = "extensions"
			if _, err := extensionFilter(x.options); err != nil {
				return err
			}
		case "microsoft.graph.eventmessage/event":
			e.name = "event"
		default:
			return errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.Message'.", x.name)
		}
		v.expand = append(v.expand, e)
	}
	return nil
}

// checkIDFilter refuses what is not id eq '…' or id eq '…'.
func checkIDFilter(text string) error {
	toks, err := filterTokens(text)
	if err != nil {
		return err
	}
	for i := 0; i < len(toks); i += 4 {
		if i+2 >= len(toks) || !strings.EqualFold(toks[i], "id") || !strings.EqualFold(toks[i+1], "eq") || !strings.HasPrefix(toks[i+2], "'") {
			return errFilter("only id eq '…' is allowed here")
		}
	}
	return nil
}

// splitOutside cuts at commas that are outside parentheses and quotes.
func splitOutside(text string) []string {
	var list []string
	depth, quoted, start := 0, false, 0
	for i := range len(text) {
		switch ch := text[i]; {
		case ch == '\'':
			quoted = !quoted
		case quoted:
		case ch == '(':
			depth++
		case ch == ')':
			depth--
		case ch == ',' && depth == 0:
			list = append(list, text[start:i])
			start = i + 1
		}
	}
	return append(list, text[start:])
}

// append writes the message as an object. head is what goes first, such as
// @odata.context with its comma. It must be called without the lock.
func (v *view) append(b []byte, m *message, head string) []byte {
	if m.Kind != "" {
		head = strings.Replace(head, `"@odata.type":"#microsoft.graph.message",`, "", 1)
	}
	b = append(append(b, '{'), head...)
	if m.Kind != "" {
		b = append(appendString(append(b, `"@odata.type":`...), m.Kind), ',')
	}
	b = append(appendString(append(b, `"@odata.etag":`...), etag(m.Seq)), ',')
	b = appendString(append(b, `"id":`...), v.id(m))
	for _, p := range v.properties {
		b = append(append(append(b, `,"`...), p.name...), `":`...)
		b = p.show(b, v, m)
	}
	for _, name := range sortedKeys(m.Meeting) {
		if len(v.chosen) == 0 || slices.ContainsFunc(v.chosen, func(s string) bool { _, s = cutTypeCast(s); return strings.EqualFold(s, name) }) {
			b = appendJSON(append(appendString(append(b, ','), name), ':'), m.Meeting[name])
		}
	}
	for _, e := range v.expand {
		var value any
		switch e.name {
		case "attachments":
			b = append(b, `,"attachments":[`...)
			for i, a := range m.Attachments {
				if i > 0 {
					b = append(b, ',')
				}
				b = e.nested.append(b, m, a, "")
			}
			b = append(b, ']')
		case "singleValueExtendedProperties":
			value = matchingExtended(m.Extended, e.filter, func(p extendedProperty) string { return p.ID })
		case "multiValueExtendedProperties":
			value = matchingExtended(m.Multi, e.filter, func(p multiProperty) string { return p.ID })
		case "extensions":
			v.call.read(func(*state) { value = v.call.shownExtensions(m.Key, e.options) })
		case "event":
			v.call.read(func(*state) { value = v.call.shownEvent(m, e.options) })
		}
		if value != nil { // Graph leaves the member out when nothing matches
			b = appendJSON(append(append(append(b, `,"`...), e.name...), `":`...), value)
		}
	}
	return append(b, '}')
}

// eventMessageMembers are what $select may name of mails about meetings.
// https://learn.microsoft.com/graph/api/resources/eventmessagerequest
var eventMessageMembers = []string{
	"meetingMessageType", "startDateTime", "endDateTime", "location", "type", "recurrence", "isOutOfDate", "isAllDay", "isDelegated",
	"responseType", "proposedNewTime", "previousLocation", "previousStartDateTime", "previousEndDateTime", "meetingRequestType",
	"allowNewTimeProposals", "responseRequested",
}

// shownEvent is the event of a mail about a meeting, for $expand. It needs the
// lock.
func (c *call) shownEvent(m *message, options query) any {
	e := c.box.entities[m.Event]
	if m.Event == 0 || e == nil {
		return nil
	}
	return c.object(eventResource(), e, options)
}

// preview is the first 255 characters of the body as text.
func preview(body itemBody) string {
	text := body.Content
	if body.ContentType == "html" {
		text = textOf(text)
	}
	text = strings.Join(strings.Fields(text), " ")
	if r := []rune(text); len(r) > 255 {
		return string(r[:255])
	}
	return text
}

// textOf is HTML without its tags, scripts and styles.
func textOf(source string) string {
	var b strings.Builder
	z := html.NewTokenizer(strings.NewReader(source))
	hidden := false
	for {
		switch z.Next() {
		case html.ErrorToken:
			return b.String()
		case html.TextToken:
			if !hidden {
				b.Write(z.Text())
				b.WriteByte(' ')
			}
		case html.StartTagToken:
			name, _ := z.TagName()
			hidden = string(name) == "script" || string(name) == "style"
		case html.EndTagToken:
			hidden = false
		}
	}
}

// basic says that the token may not see bodies: it has Mail.ReadBasic and no
// more. https://learn.microsoft.com/graph/permissions-reference#mailreadbasic
func (c *call) basic() bool {
	suffix := ""
	if c.token.OID != c.box.ID && !c.token.appOnly() {
		suffix = ".Shared"
	}
	return !c.token.has("Mail.Read"+suffix) && !c.token.has("Mail.ReadWrite"+suffix)
}
