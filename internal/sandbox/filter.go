package sandbox

// $filter, over messages (message_filter.go) and entities (entity_filter.go).
// Modelled: and, or, not, parentheses; eq ne gt ge lt le in; startswith, endswith,
// contains; any (filter_any.go). Left out: arithmetic, date functions, has, all.
// What is left out is refused, as a filter that is ignored would answer wrong.
// https://learn.microsoft.com/graph/filter-query-parameter

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is a compiled filter.
type condition[T any] func(T) bool

// filter is a compiled $filter with the properties it names, in order. The zero
// value lets everything pass and has no test.
type filter[T any] struct {
	test       condition[T]
	properties []string
}

// getter reads a property: a text, a bool, a float64, a time.Time or nil.
type getter[T any] func(T) any

// filterFields are what a filter may name.
type filterFields[T any] struct {
	typeName string // in error texts
	// property finds the getter of a path such as from/emailAddress/address, by
	// lower-case name; nil where there is none. isTime says that it is compared
	// with dates.
	property func(name string) (get getter[T], isTime bool)
	// elements finds a collection for any(); nil where there is none.
	elements func(name string) func(T) []any
	// extended and multi are the extended properties; nil where there are none.
	extended func(T) []extendedProperty
	multi    func(T) []multiProperty
}

type filterReader[T any] struct {
	fields     filterFields[T]
	toks       []string
	pos        int
	properties []string
}

func parseFilter[T any](text string, fields filterFields[T]) (filter[T], error) {
	if text == "" {
		return filter[T]{}, nil
	}
	toks, err := filterTokens(text)
	if err != nil {
		return filter[T]{}, err
	}
	r := &filterReader[T]{fields: fields, toks: toks}
	test, err := r.or()
	if err != nil {
		return filter[T]{}, err
	}
	if r.pos != len(r.toks) {
		return filter[T]{}, errFilter("unexpected '%s'", r.toks[r.pos])
	}
	return filter[T]{test, r.properties}, nil
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

func (r *filterReader[T]) peek() string {
	if r.pos < len(r.toks) {
		return r.toks[r.pos]
	}
	return ""
}

func (r *filterReader[T]) accept(tok string) bool {
	if strings.EqualFold(r.peek(), tok) {
		r.pos++
		return true
	}
	return false
}

func (r *filterReader[T]) expect(tok string) error {
	if !r.accept(tok) {
		return errFilter("'%s' expected, not '%s'", tok, r.peek())
	}
	return nil
}

func (r *filterReader[T]) or() (condition[T], error) {
	left, err := r.and()
	for err == nil && r.accept("or") {
		var right condition[T]
		if right, err = r.and(); err == nil {
			l := left
			left = func(m T) bool { return l(m) || right(m) }
		}
	}
	return left, err
}

func (r *filterReader[T]) and() (condition[T], error) {
	left, err := r.not()
	for err == nil && r.accept("and") {
		var right condition[T]
		if right, err = r.not(); err == nil {
			l := left
			left = func(m T) bool { return l(m) && right(m) }
		}
	}
	return left, err
}

func (r *filterReader[T]) not() (condition[T], error) {
	switch {
	case r.accept("not"):
		inner, err := r.not()
		return func(m T) bool { return !inner(m) }, err
	case r.accept("("):
		inner, err := r.or()
		if err == nil {
			err = r.expect(")")
		}
		return inner, err
	case slices.Contains([]string{"startswith", "endswith", "contains"}, strings.ToLower(r.peek())):
		return r.function()
	}
	return r.comparison()
}

func (r *filterReader[T]) function() (condition[T], error) {
	name := strings.ToLower(r.peek())
	r.pos++
	if err := r.expect("("); err != nil {
		return nil, err
	}
	get, _, err := r.property(r.peek())
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
	return func(m T) bool {
		have, _ := get(m).(string)
		switch have = strings.ToLower(have); name {
		case "startswith":
			return strings.HasPrefix(have, want)
		case "endswith":
			return strings.HasSuffix(have, want)
		}
		return strings.Contains(have, want)
	}, r.expect(")")
}

func (r *filterReader[T]) comparison() (condition[T], error) {
	name := r.peek()
	r.pos++
	if collection, ok := strings.CutSuffix(strings.ToLower(name), "/any"); ok {
		return r.any(collection)
	}
	get, isTime, err := r.property(name)
	if err != nil {
		return nil, err
	}
	if r.accept("in") {
		return r.oneOf(get)
	}
	op, want, err := r.operand()
	if err != nil {
		return nil, err
	}
	if _, ok := want.(time.Time); isTime && !ok && want != nil {
		return nil, errFilter("'%s' is compared with something that is not a date", name)
	}
	return func(m T) bool { return holds(op, get(m), want) }, nil
}

// oneOf reads the list of in ('a','b').
func (r *filterReader[T]) oneOf(get getter[T]) (condition[T], error) {
	if err := r.expect("("); err != nil {
		return nil, err
	}
	var list []any
	for {
		want, err := readLiteral(r.peek())
		if err != nil {
			return nil, err
		}
		r.pos++
		list = append(list, want)
		if !r.accept(",") {
			break
		}
	}
	return func(m T) bool {
		have := get(m)
		return slices.ContainsFunc(list, func(want any) bool { return holds("eq", have, want) })
	}, r.expect(")")
}

// operand reads an operator and a literal.
func (r *filterReader[T]) operand() (op string, value any, err error) {
	op = strings.ToLower(r.peek())
	if !slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, op) {
		return "", nil, errFilter("an operator expected, not '%s'", op)
	}
	r.pos++
	value, err = readLiteral(r.peek())
	r.pos++
	return op, value, err
}

// readLiteral reads a text, a Boolean, null, a number or a date.
func readLiteral(lit string) (any, error) {
	if text, ok := strings.CutPrefix(lit, "'"); ok {
		return text, nil
	}
	switch strings.ToLower(lit) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	}
	if n, err := strconv.ParseFloat(lit, 64); err == nil {
		return n, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02"} {
		if t, err := time.Parse(layout, lit); err == nil {
			return t, nil
		}
	}
	if guidPattern.MatchString(lit) {
		return lit, nil
	}
	return nil, errFilter("'%s' is no literal that the sandbox knows", lit)
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
	case float64:
		h, ok := have.(float64)
		if !ok {
			return false
		}
		c = cmp.Compare(h, w)
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

// property resolves a name to a getter and notes it.
func (r *filterReader[T]) property(name string) (getter[T], bool, error) {
	key := strings.ToLower(name)
	get, isTime := r.fields.property(key)
	if get == nil {
		return nil, false, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.%s'.", name, r.fields.typeName)
	}
	r.properties = append(r.properties, key)
	return get, isTime, nil
}

// compareValues orders two values of one property; what has none goes first.
func compareValues(a, b any) int {
	switch x := a.(type) {
	case time.Time:
		if y, ok := b.(time.Time); ok {
			return x.Compare(y)
		}
	case string:
		if y, ok := b.(string); ok {
			return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
		}
	case float64:
		if y, ok := b.(float64); ok {
			return cmp.Compare(x, y)
		}
	case bool:
		if y, ok := b.(bool); ok {
			switch {
			case x == y:
				return 0
			case !x:
				return -1
			}
			return 1
		}
	}
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	}
	return 1
}

// checkOrder holds the rule that $orderby with $filter must be led by the
// filter's first properties.
// https://learn.microsoft.com/graph/api/user-list-messages
func checkOrder[T any](orders []order, f filter[T], fields filterFields[T]) error {
	for i, o := range orders {
		if get, _ := fields.property(strings.ToLower(o.property)); get == nil {
			return errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.%s'.", o.property, fields.typeName)
		}
		if f.test != nil && (i >= len(f.properties) || f.properties[i] != strings.ToLower(o.property)) {
			return newError(400, "InefficientFilter", "The restriction or sort order is too complex for this operation.")
		}
	}
	return nil
}

// compareBy orders two items by $orderby.
func compareBy[T any](orders []order, fields filterFields[T]) func(a, b T) int {
	gets := make([]getter[T], len(orders))
	for i, o := range orders {
		gets[i], _ = fields.property(strings.ToLower(o.property))
	}
	return func(a, b T) int {
		for i, o := range orders {
			n := compareValues(gets[i](a), gets[i](b))
			if o.desc {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	}
}
