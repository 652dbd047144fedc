package sandbox

// $filter on messages. Modelled: and, or, not, parentheses; eq ne gt ge lt le;
// startswith, contains; categories/any and singleValueExtendedProperties/any.
// Left out: arithmetic, date functions, in, has, endswith, collections of
// recipients. What is left out is refused, as a filter that is ignored would
// answer wrong.
// https://learn.microsoft.com/graph/filter-query-parameter

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// condition is a compiled filter.
type condition func(m *message) bool

// filter is a compiled $filter with the properties it names, in order.
type filter struct {
	test       condition
	properties []string
}

type filterReader struct {
	toks       []string
	pos        int
	properties []string
}

func parseFilter(text string) (filter, error) {
	toks, err := filterTokens(text)
	if err != nil {
		return filter{}, err
	}
	r := &filterReader{toks: toks}
	test, err := r.or()
	if err != nil {
		return filter{}, err
	}
	if r.pos != len(r.toks) {
		return filter{}, errFilter("unexpected '%s'", r.toks[r.pos])
	}
	return filter{test, r.properties}, nil
}

func errFilter(format string, args ...any) *graphError {
	return errParseURI("Invalid filter clause: "+format+".", args...)
}

// filterTokens cuts the text into words, literals, parentheses and commas. A
// quoted literal keeps its first quote as a mark.
func filterTokens(text string) ([]string, error) {
	var toks []string
	for i := 0; i < len(text); {
		switch ch := text[i]; {
		case ch == ' ':
			i++
		case strings.IndexByte("(),:", ch) >= 0 && (ch != ':' || !insideTime(text, i)):
			toks = append(toks, string(ch))
			i++
		case ch == '\'':
			var b strings.Builder
			b.WriteByte('\'')
			for i++; ; i++ {
				if i >= len(text) {
					return nil, errFilter("a literal without its closing quote")
				}
				if text[i] == '\'' {
					if i+1 >= len(text) || text[i+1] != '\'' {
						break
					}
					i++
				}
				b.WriteByte(text[i])
			}
			toks = append(toks, b.String())
			i++
		default:
			start := i
			for i < len(text) && (strings.IndexByte(" (),':", text[i]) < 0 || text[i] == ':' && insideTime(text, i)) {
				i++
			}
			toks = append(toks, text[start:i])
		}
	}
	return toks, nil
}

// insideTime tells the colon of 10:20:30 from that of any(a:a eq 1).
func insideTime(text string, i int) bool {
	digit := func(j int) bool { return j >= 0 && j < len(text) && text[j] >= '0' && text[j] <= '9' }
	return digit(i-1) && digit(i+1)
}

func (r *filterReader) peek() string {
	if r.pos < len(r.toks) {
		return r.toks[r.pos]
	}
	return ""
}

func (r *filterReader) accept(tok string) bool {
	if strings.EqualFold(r.peek(), tok) {
		r.pos++
		return true
	}
	return false
}

func (r *filterReader) expect(tok string) error {
	if !r.accept(tok) {
		return errFilter("'%s' expected, not '%s'", tok, r.peek())
	}
	return nil
}

func (r *filterReader) or() (condition, error) {
	left, err := r.and()
	for err == nil && r.accept("or") {
		var right condition
		if right, err = r.and(); err == nil {
			l := left
			left = func(m *message) bool { return l(m) || right(m) }
		}
	}
	return left, err
}

func (r *filterReader) and() (condition, error) {
	left, err := r.not()
	for err == nil && r.accept("and") {
		var right condition
		if right, err = r.not(); err == nil {
			l := left
			left = func(m *message) bool { return l(m) && right(m) }
		}
	}
	return left, err
}

func (r *filterReader) not() (condition, error) {
	switch {
	case r.accept("not"):
		inner, err := r.not()
		return func(m *message) bool { return !inner(m) }, err
	case r.accept("("):
		inner, err := r.or()
		if err == nil {
			err = r.expect(")")
		}
		return inner, err
	case strings.EqualFold(r.peek(), "startswith") || strings.EqualFold(r.peek(), "contains"):
		return r.function()
	}
	return r.comparison()
}

func (r *filterReader) function() (condition, error) {
	begins := strings.EqualFold(r.peek(), "startswith")
	r.pos++
	if err := r.expect("("); err != nil {
		return nil, err
	}
	get, err := r.property(r.peek())
	if err != nil {
		return nil, err
	}
	r.pos++
	if err := r.expect(","); err != nil {
		return nil, err
	}
	want, ok := strings.CutPrefix(r.peek(), "'")
	if !ok {
		return nil, errFilter("a text in quotes expected")
	}
	r.pos++
	want = strings.ToLower(want)
	return func(m *message) bool {
		have, _ := get(m).(string)
		if have = strings.ToLower(have); begins {
			return strings.HasPrefix(have, want)
		}
		return strings.Contains(have, want)
	}, r.expect(")")
}

func (r *filterReader) comparison() (condition, error) {
	name := r.peek()
	r.pos++
	if collection, ok := strings.CutSuffix(strings.ToLower(name), "/any"); ok {
		return r.any(collection)
	}
	get, err := r.property(name)
	if err != nil {
		return nil, err
	}
	op, want, err := r.operand()
	if err != nil {
		return nil, err
	}
	if t, isTime := get(&message{}).(time.Time); isTime {
		_ = t
		if _, ok := want.(time.Time); !ok {
			return nil, errFilter("'%s' is compared with something that is not a date", name)
		}
	}
	return func(m *message) bool { return holds(op, get(m), want) }, nil
}

// operand reads an operator and a literal.
func (r *filterReader) operand() (op string, value any, err error) {
	op = strings.ToLower(r.peek())
	if !slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, op) {
		return "", nil, errFilter("an operator expected, not '%s'", op)
	}
	r.pos++
	lit := r.peek()
	r.pos++
	if text, ok := strings.CutPrefix(lit, "'"); ok {
		return op, text, nil
	}
	switch strings.ToLower(lit) {
	case "true":
		return op, true, nil
	case "false":
		return op, false, nil
	case "null":
		return op, nil, nil
	}
	if t, err := time.Parse(time.RFC3339, lit); err == nil {
		return op, t, nil
	}
	if t, err := time.Parse("2006-01-02", lit); err == nil {
		return op, t, nil
	}
	return "", nil, errFilter("'%s' is no literal that the sandbox knows", lit)
}

// holds compares. Texts compare without regard to case, as in Exchange.
func holds(op string, have, want any) bool {
	c := 0
	switch w := want.(type) {
	case time.Time:
		h, ok := have.(time.Time)
		if !ok {
			return false
		}
		c = h.Compare(w)
	case string:
		h, ok := have.(string)
		if !ok {
			return false
		}
		c = cmp.Compare(strings.ToLower(h), strings.ToLower(w))
	default:
		if have != want {
			c = 1
		}
		if op != "eq" && op != "ne" {
			return false
		}
	}
	switch op {
	case "eq":
		return c == 0
	case "ne":
		return c != 0
	case "gt":
		return c > 0
	case "ge":
		return c >= 0
	case "lt":
		return c < 0
	}
	return c <= 0
}

// any reads collection/any(x: …).
func (r *filterReader) any(collection string) (condition, error) {
	if err := r.expect("("); err != nil {
		return nil, err
	}
	v := r.peek()
	r.pos++
	if err := r.expect(":"); err != nil {
		return nil, err
	}
	switch collection {
	case "categories":
		if err := r.expect(v); err != nil {
			return nil, err
		}
		op, want, err := r.operand()
		if err != nil {
			return nil, err
		}
		r.properties = append(r.properties, collection)
		return func(m *message) bool {
			return slices.ContainsFunc(m.Categories, func(have string) bool { return holds(op, have, want) })
		}, r.expect(")")
	case "singlevalueextendedproperties":
		return r.anyExtended(v)
	}
	return nil, errFilter("any() over '%s' is not supported", collection)
}

// anyExtended reads ep/id eq '…' and ep/value eq '…', in either order.
func (r *filterReader) anyExtended(v string) (condition, error) {
	var id, value, valueOp string
	for {
		member := strings.ToLower(r.peek())
		r.pos++
		op, want, err := r.operand()
		if err != nil {
			return nil, err
		}
		text, ok := want.(string)
		if !ok && want != nil {
			return nil, errFilter("a text expected in any()")
		}
		switch member {
		case strings.ToLower(v) + "/id":
			id = text
			if op != "eq" {
				return nil, errFilter("the id of an extended property is compared with eq only")
			}
		case strings.ToLower(v) + "/value":
			value, valueOp = text, op
			if want == nil {
				valueOp += " null"
			}
		default:
			return nil, errFilter("'%s' is not a member of singleValueLegacyExtendedProperty", member)
		}
		if !r.accept("and") {
			break
		}
	}
	if id == "" {
		return nil, errFilter("any() over extended properties needs the id")
	}
	r.properties = append(r.properties, "singlevalueextendedproperties")
	return func(m *message) bool {
		i := slices.IndexFunc(m.Extended, func(p extendedProperty) bool { return strings.EqualFold(p.ID, id) })
		switch {
		case valueOp == "ne null":
			return i >= 0
		case valueOp == "eq null":
			return i < 0
		case i < 0:
			return false
		case valueOp == "":
			return true
		}
		var have string
		_ = json.Unmarshal(m.Extended[i].Value, &have) // not a text: never equal
		return holds(valueOp, have, value)
	}, r.expect(")")
}

// property resolves a name to a getter and notes it.
func (r *filterReader) property(name string) (func(*message) any, error) {
	key := strings.ToLower(name)
	get := sortable(key)
	if get == nil {
		return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.Message'.", name)
	}
	r.properties = append(r.properties, key)
	return get, nil
}

// sortable returns the getter of a property that $filter and $orderby know, by
// lower-case name, or nil.
func sortable(name string) func(*message) any {
	at := func(get func(*message) int64) func(*message) any {
		return func(m *message) any { return time.Unix(get(m), 0) }
	}
	who := func(get func(*message) *recipient, name bool) func(*message) any {
		return func(m *message) any {
			r := get(m)
			switch {
			case r == nil:
				return ""
			case name:
				return r.EmailAddress.Name
			}
			return r.EmailAddress.Address
		}
	}
	from := func(m *message) *recipient { return m.From }
	sender := func(m *message) *recipient { return m.Sender }
	switch name {
	case "receiveddatetime":
		return at(func(m *message) int64 { return m.Received })
	case "sentdatetime":
		return at(func(m *message) int64 { return m.Sent })
	case "createddatetime":
		return at(func(m *message) int64 { return m.Created })
	case "lastmodifieddatetime":
		return at(func(m *message) int64 { return m.Modified })
	case "subject":
		return func(m *message) any { return m.Subject }
	case "internetmessageid":
		return func(m *message) any { return m.InternetID }
	case "conversationid":
		return func(m *message) any { return m.Conversation }
	case "importance":
		return func(m *message) any { return m.Importance }
	case "inferenceclassification":
		return func(m *message) any { return m.Inference }
	case "isread":
		return func(m *message) any { return m.IsRead }
	case "isdraft":
		return func(m *message) any { return m.IsDraft }
	case "hasattachments":
		return func(m *message) any { return len(m.Attachments) > 0 }
	case "flag/flagstatus":
		return func(m *message) any { return m.Flag.FlagStatus }
	case "from/emailaddress/address":
		return who(from, false)
	case "from/emailaddress/name":
		return who(from, true)
	case "sender/emailaddress/address":
		return who(sender, false)
	case "sender/emailaddress/name":
		return who(sender, true)
	}
	return nil
}

// compareValues orders two values of one property.
func compareValues(a, b any) int {
	switch x := a.(type) {
	case time.Time:
		return x.Compare(b.(time.Time))
	case string:
		return cmp.Compare(strings.ToLower(x), strings.ToLower(b.(string)))
	case bool:
		switch y := b.(bool); {
		case x == y:
			return 0
		case !x:
			return -1
		}
		return 1
	}
	return 0
}

// checkOrder holds the rule that $orderby with $filter must be led by the
// filter's first properties.
// https://learn.microsoft.com/graph/api/user-list-messages
func checkOrder(orders []order, f filter) error {
	for i, o := range orders {
		if sortable(strings.ToLower(o.property)) == nil {
			return errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.Message'.", o.property)
		}
		if f.test != nil && (i >= len(f.properties) || f.properties[i] != strings.ToLower(o.property)) {
			return newError(400, "InefficientFilter", "The restriction or sort order is too complex for this operation.")
		}
	}
	return nil
}
