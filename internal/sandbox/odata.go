package sandbox

// Query options, Prefer and paging, as Outlook supports them. Modelled: $select,
// $top, $skip, $count, $orderby, $filter (filter.go), $search (as text, for the
// resource to read), $expand with options in parentheses; Prefer IdType,
// odata.maxpagesize, outlook.timezone, outlook.body-content-type,
// outlook.allow-unsafe-html and return=minimal. Left out: $levels, $format.
// https://learn.microsoft.com/graph/query-parameters

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query is a parsed query string. Options that a route does not use are left
// alone, as Graph leaves them.
type query struct {
	raw       string
	selects   []string
	top       int // 0: not given
	skip      int
	count     bool
	orderby   []order
	filter    string
	expand    string
	search    string
	ref       string // $id: what a reference is to
	delta     string // $deltatoken
	skiptoken string
	changes   string            // changeType
	hidden    bool              // includeHiddenFolders
	named     map[string]string // options without a $, by lower-case name
}

type order struct {
	property string
	desc     bool
}

// maxTop is what messages allow: https://learn.microsoft.com/graph/api/user-list-messages
const maxTop = 1000

func parseQuery(raw string) (query, error) {
	q := query{raw: raw}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return q, errParseURI("The query string cannot be read.")
	}
	for name, vs := range values {
		key, value := strings.ToLower(name), vs[0]
		if len(vs) > 1 && strings.HasPrefix(key, "$") {
			return q, errParseURI("Query option '%s' was specified more than once, but it must be specified at most once.", name)
		}
		switch key {
		case "$select":
			for p := range strings.SplitSeq(value, ",") {
				if p = strings.TrimSpace(p); p != "" {
					q.selects = append(q.selects, p)
				}
			}
		case "$top":
			if q.top, err = strconv.Atoi(value); err != nil || q.top < 1 {
				return q, errParseURI("Invalid value '%s' for $top query option found.", value)
			}
			q.top = min(q.top, maxTop)
		case "$skip":
			if q.skip, err = strconv.Atoi(value); err != nil || q.skip < 0 {
				return q, errParseURI("Invalid value '%s' for $skip query option found.", value)
			}
		case "$count":
			if q.count, err = strconv.ParseBool(strings.ToLower(value)); err != nil {
				return q, errParseURI("Invalid value '%s' for $count query option found.", value)
			}
		case "$orderby":
			if q.orderby, err = parseOrder(value); err != nil {
				return q, err
			}
		case "$filter":
			q.filter = value
		case "$expand":
			q.expand = value
		case "$deltatoken":
			q.delta = value
		case "$skiptoken":
			q.skiptoken = value
		case "changetype":
			q.changes = value
		case "includehiddenfolders":
			q.hidden = strings.EqualFold(value, "true")
		case "$search":
			q.search = value
		case "$id":
			q.ref = value
		case "$format":
			if !strings.EqualFold(value, "json") && !strings.HasPrefix(strings.ToLower(value), "application/json") {
				return q, errParseURI("The value '%s' of $format is not supported.", value)
			}
		default:
			if strings.HasPrefix(key, "$") {
				return q, errParseURI("The query parameter '%s' is not supported.", name)
			}
		}
		if !strings.HasPrefix(key, "$") {
			if q.named == nil {
				q.named = map[string]string{}
			}
			q.named[key] = value
		}
	}
	return q, nil
}

func parseOrder(value string) ([]order, error) {
	var list []order
	for part := range strings.SplitSeq(value, ",") {
		f := strings.Fields(part)
		switch {
		case len(f) == 1 || len(f) == 2 && strings.EqualFold(f[1], "asc"):
			list = append(list, order{property: f[0]})
		case len(f) == 2 && strings.EqualFold(f[1], "desc"):
			list = append(list, order{f[0], true})
		default:
			return nil, errParseURI("Syntax error in $orderby: '%s'.", value)
		}
	}
	return list, nil
}

// preferences are what the Prefer headers ask for.
type preferences struct {
	immutable bool
	pageSize  int    // 0: not given
	timeZone  string // as given; "": UTC
	bodyType  string // text or html; "": as stored
	unsafe    bool   // HTML as it came
	minimal   bool   // return=minimal
}

// parsePrefer reads all Prefer headers; one header may join several.
// https://learn.microsoft.com/graph/outlook-immutable-id
func parsePrefer(h http.Header) preferences {
	var p preferences
	for _, line := range h.Values("Prefer") {
		for item := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "idtype":
				p.immutable = value == "ImmutableId"
			case "odata.maxpagesize":
				if n, err := strconv.Atoi(value); err == nil && n > 0 {
					p.pageSize = min(n, maxTop)
				}
			case "outlook.timezone":
				p.timeZone = value
			case "outlook.body-content-type":
				if value = strings.ToLower(value); value == "text" || value == "html" {
					p.bodyType = value
				}
			case "outlook.allow-unsafe-html":
				p.unsafe = true
			case "return":
				p.minimal = strings.EqualFold(value, "minimal")
			}
		}
	}
	return p
}

// applied names what was honoured, for Preference-Applied.
func (p preferences) applied() string {
	var list []string
	if p.immutable {
		list = append(list, `IdType="ImmutableId"`)
	}
	if p.pageSize > 0 {
		list = append(list, "odata.maxpagesize="+strconv.Itoa(p.pageSize))
	}
	if p.timeZone != "" {
		list = append(list, `outlook.timezone="`+p.timeZone+`"`)
	}
	if p.bodyType != "" {
		list = append(list, `outlook.body-content-type="`+p.bodyType+`"`)
	}
	if p.unsafe {
		list = append(list, "outlook.allow-unsafe-html")
	}
	return strings.Join(list, ",")
}

// expansionOf is one member of $expand with its options.
type expansionOf struct {
	name    string
	options query
}

// parseExpansions reads $expand=a,b($select=x;$filter=y).
func parseExpansions(text string) ([]expansionOf, error) {
	if text == "" {
		return nil, nil
	}
	var list []expansionOf
	for _, item := range splitOutside(text) {
		name, args, nested := strings.Cut(strings.TrimSpace(item), "(")
		e := expansionOf{name: strings.TrimSpace(name)}
		if nested {
			args, closed := strings.CutSuffix(args, ")")
			if !closed {
				return nil, errParseURI("Syntax error in $expand: '%s'.", text)
			}
			values := url.Values{}
			for option := range strings.SplitSeq(args, ";") {
				key, value, _ := strings.Cut(option, "=")
				values.Add(strings.TrimSpace(key), value)
			}
			var err error
			if e.options, err = parseQuery(values.Encode()); err != nil {
				return nil, err
			}
		}
		list = append(list, e)
	}
	return list, nil
}

// pageSize is how many items a page may hold.
func (c *call) pageSize() int {
	switch {
	case c.query.top > 0 && c.prefer.pageSize > 0:
		return min(c.query.top, c.prefer.pageSize)
	case c.query.top > 0:
		return c.query.top
	case c.prefer.pageSize > 0:
		return c.prefer.pageSize
	}
	return c.opts.listPage
}

// nextLink is the asked-for address with another $skip. Preferences are not in
// it: https://learn.microsoft.com/graph/paging
func (c *call) nextLink(skip int) string {
	var parts []string
	for part := range strings.SplitSeq(c.query.raw, "&") {
		name, _, _ := strings.Cut(part, "=")
		if name, err := url.QueryUnescape(name); part != "" && (err != nil || !strings.EqualFold(name, "$skip")) {
			parts = append(parts, part)
		}
	}
	parts = append(parts, "$skip="+strconv.Itoa(skip))
	return c.base + c.path + "?" + strings.Join(parts, "&")
}

// jsonAnswer is an answer with a body. The body is written by hand in most
// places: a page of a thousand messages is built without a tree in between.
func (c *call) jsonAnswer(status int, body []byte) *Answer {
	h := http.Header{
		"Content-Type":  {"application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8"},
		"Cache-Control": {"private"},
	}
	if applied := c.prefer.applied(); applied != "" {
		h.Set("Preference-Applied", applied)
	}
	return &Answer{Status: status, Header: h, Body: body}
}

// metadata is the value of @odata.context.
func (c *call) metadata(what string) string {
	root := c.base + "/v1.0/$metadata#"
	switch c.box.kind {
	case kindPerson:
		root += "users('" + c.box.ID + "')/"
	case kindGroup:
		root += "groups('" + c.box.ID + "')/"
	case kindDirectory: // belongs to nobody
	}
	return root + what
}

// appendString appends a JSON string, without escaping HTML.
func appendString(b []byte, s string) []byte {
	plain := true
	for i := range len(s) {
		if ch := s[i]; ch < 0x20 || ch == '"' || ch == '\\' || ch >= 0x80 {
			plain = false
			break
		}
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	return appendJSON(b, s)
}

// appendJSON appends any value of this package's own types, which cannot fail.
func appendJSON(b []byte, v any) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return append(b, "null"...)
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}

// readObject reads the body as a JSON object and leaves its members unread.
func (c *call) readObject() (map[string]json.RawMessage, error) {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil, newError(http.StatusBadRequest, "BadRequest", "Empty Payload. JSON content expected.")
	}
	kind, _, _ := strings.Cut(c.header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(kind), "application/json") {
		return nil, newError(http.StatusUnsupportedMediaType, "RequestBodyRead",
			"A supported MIME type could not be found that matches the content type of the request: '%s'.", kind)
	}
	var obj map[string]json.RawMessage
	if err := json.Unmarshal(c.body, &obj); err != nil || obj == nil {
		return nil, newError(http.StatusBadRequest, "BadRequest",
			"Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
	}
	return obj, nil
}

// readParameters reads the parameters of an action, which Graph matches without
// regard to case.
func (c *call) readParameters(action string, known ...string) (map[string]json.RawMessage, error) {
	obj, err := c.readObject()
	if err != nil {
		return nil, err
	}
	params := map[string]json.RawMessage{}
	for name, value := range obj {
		i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) })
		if i < 0 {
			return nil, errBody("The parameter '%s' in the request payload is not a valid parameter for the operation '%s'.", name, action)
		}
		params[known[i]] = value
	}
	return params, nil
}
