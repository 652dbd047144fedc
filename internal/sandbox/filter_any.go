package sandbox

// any() of $filter: over collections (attendees, toRecipients, categories, ...) and
// over single- and multi-value extended properties, where the lambda names the id.
// https://learn.microsoft.com/graph/filter-query-parameter#filter-using-lambda-operators

import (
	"encoding/json"
	"slices"
	"strings"
)

// any reads collection/any(x: …).
func (r *filterReader[T]) any(collection string) (condition[T], error) {
	if err := r.expect("("); err != nil {
		return nil, err
	}
	v := r.peek()
	r.pos++
	if err := r.expect(":"); err != nil {
		return nil, err
	}
	switch {
	case collection == "singlevalueextendedproperties" && r.fields.extended != nil:
		return r.anyExtended(v)
	case collection == "multivalueextendedproperties" && r.fields.multi != nil:
		return r.anyMulti(v)
	}
	var elements func(T) []any
	if r.fields.elements != nil {
		elements = r.fields.elements(collection)
	}
	if elements == nil {
		return nil, errFilter("any() over '%s' is not supported", collection)
	}
	inner := &filterReader[any]{toks: r.toks, pos: r.pos, fields: elementFields(v)}
	test, err := inner.or()
	if err != nil {
		return nil, err
	}
	r.pos = inner.pos
	r.properties = append(r.properties, collection)
	return func(m T) bool { return slices.ContainsFunc(elements(m), test) }, r.expect(")")
}

// elementFields are the paths below the variable of an any().
func elementFields(v string) filterFields[any] {
	return filterFields[any]{typeName: "element", property: func(name string) (getter[any], bool) {
		if strings.EqualFold(name, v) {
			return func(e any) any { return e }, false
		}
		path, ok := strings.CutPrefix(name, strings.ToLower(v)+"/")
		if !ok {
			return nil, false
		}
		return func(e any) any { return member(e, path) }, false
	}}
}

// member follows a lower-case path through objects.
func member(v any, path string) any {
	for name := range strings.SplitSeq(path, "/") {
		obj, _ := v.(map[string]any)
		v = nil
		for key, value := range obj {
			if strings.EqualFold(key, name) {
				v = value
				break
			}
		}
	}
	return v
}

// anyExtended reads ep/id eq '…' and ep/value eq '…', in either order.
func (r *filterReader[T]) anyExtended(v string) (condition[T], error) {
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
	return func(m T) bool {
		have := r.fields.extended(m)
		i := slices.IndexFunc(have, func(p extendedProperty) bool { return strings.EqualFold(p.ID, id) })
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
		var text string
		_ = json.Unmarshal(have[i].Value, &text) // not a text: never equal
		return holds(valueOp, text, value)
	}, r.expect(")")
}

// anyMulti reads any(ep: ep/id eq '…' and ep/value/any(v: v eq '…')) or without
// the value.
func (r *filterReader[T]) anyMulti(v string) (condition[T], error) {
	inner := &filterReader[any]{toks: r.toks, pos: r.pos, fields: filterFields[any]{
		typeName: "multiValueLegacyExtendedProperty",
		property: elementFields(v).property,
		elements: func(name string) func(any) []any {
			path, ok := strings.CutPrefix(name, strings.ToLower(v)+"/")
			if !ok {
				return nil
			}
			return func(e any) []any { list, _ := member(e, path).([]any); return list }
		},
	}}
	test, err := inner.or()
	if err != nil {
		return nil, err
	}
	r.pos = inner.pos
	r.properties = append(r.properties, "multivalueextendedproperties")
	return func(m T) bool {
		return slices.ContainsFunc(r.fields.multi(m), func(p multiProperty) bool {
			values := make([]any, len(p.Value))
			for i, value := range p.Value {
				values[i] = value
			}
			return test(map[string]any{"id": p.ID, "value": values})
		})
	}, r.expect(")")
}
