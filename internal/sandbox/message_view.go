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
	v := &view{box: c.box, immutable: c.prefer.immutable, chosen: selects}
	basic := c.basic()
	for _, name := range selects {
		known := slices.IndexFunc(messageProperties, func(p property) bool { return strings.EqualFold(p.name, name) })
		if known < 0 && !strings.EqualFold(name, "id") {
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
	var err error
	v.expand, err = parseExpand(expand)
	return v, err
}

// parseExpand reads attachments and singleValueExtendedProperties($filter=id eq
// '…' or id eq '…').
func parseExpand(text string) ([]expansion, error) {
	if text == "" {
		return nil, nil
	}
	var list []expansion
	for _, item := range splitOutside(text) {
		name, args, _ := strings.Cut(strings.TrimSpace(item), "(")
		switch strings.ToLower(name) {
		case "attachments":
			list = append(list, expansion{name: "attachments"})
		case "singlevalueextendedproperties":
			clause, ok := strings.CutPrefix(strings.ToLower(args), "$filter=")
			if !ok || !strings.HasSuffix(clause, ")") {
				return nil, newError(400, "ErrorInvalidArgument", "$expand of singleValueExtendedProperties needs a $filter by id.")
			}
			toks, err := filterTokens(strings.TrimSuffix(args[len("$filter="):], ")"))
			if err != nil {
				return nil, err
			}
			e := expansion{name: "singleValueExtendedProperties"}
			for i := 0; i+2 < len(toks); i += 4 {
				id, quoted := strings.CutPrefix(toks[i+2], "'")
				if !strings.EqualFold(toks[i], "id") || !strings.EqualFold(toks[i+1], "eq") || !quoted {
					return nil, errFilter("only id eq '…' is allowed here")
				}
				e.ids = append(e.ids, id)
			}
			list = append(list, e)
		case "extensions", "multivalueextendedproperties":
			return nil, errNotModelled("$expand=" + name)
		default:
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.Message'.", name)
		}
	}
	return list, nil
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
// @odata.context with its comma.
func (v *view) append(b []byte, m *message, head string) []byte {
	b = append(append(b, '{'), head...)
	b = append(appendString(append(b, `"@odata.etag":`...), etag(m.Seq)), ',')
	b = appendString(append(b, `"id":`...), v.id(m))
	for _, p := range v.properties {
		b = append(append(append(b, `,"`...), p.name...), `":`...)
		b = p.show(b, v, m)
	}
	for _, e := range v.expand {
		if e.name == "attachments" {
			b = appendList(append(b, `,"attachments":`...), m.Attachments)
			continue
		}
		found := slices.DeleteFunc(slices.Clone(m.Extended), func(p extendedProperty) bool {
			return !slices.ContainsFunc(e.ids, func(id string) bool { return strings.EqualFold(id, p.ID) })
		})
		if len(found) > 0 { // Graph leaves the member out when nothing matches
			b = appendList(append(b, `,"singleValueExtendedProperties":`...), found)
		}
	}
	return append(b, '}')
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
