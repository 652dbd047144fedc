package sandbox

// What $filter and $orderby may name on entities: every property that has a
// value of its own, and paths into complex ones (start/dateTime).

import (
	"strings"
	"time"
)

// entityFields are the filterable properties of a resource as a request sees it.
// The getters need the lock where the resource computes properties.
func (c *call) entityFields(res *resource) filterFields[*entity] {
	t := res.typ()
	v := &entityView{res: res, typ: t}
	fields := filterFields[*entity]{
		typeName: t.outlook,
		property: func(name string) (getter[*entity], bool) {
			if name == "id" {
				return func(e *entity) any { return c.idOf(e) }, false
			}
			head, rest, nested := strings.Cut(name, "/")
			f := t.fieldFold(head)
			if f == nil || f.list || f.nav {
				return nil, false
			}
			last := f
			if nested {
				if last = memberField(f, rest); last == nil {
					return nil, false
				}
			}
			isTime := last.kind == "DateTimeOffset"
			return func(e *entity) any {
				value := v.value(c, e, f)
				if nested {
					value = member(value, rest)
				}
				if text, ok := value.(string); ok && isTime {
					if at, err := time.Parse(time.RFC3339, text); err == nil {
						return at
					}
				}
				return value
			}, isTime
		},
		elements: func(name string) func(*entity) []any {
			f := t.fieldFold(name)
			if f != nil && f.name == "extensions" {
				return func(e *entity) []any { return extensionIDs(c.box, e.Key) }
			}
			if f == nil || !f.list || f.nav {
				return nil
			}
			return func(e *entity) []any { list, _ := v.value(c, e, f).([]any); return list }
		},
	}
	if t.field("singleValueExtendedProperties") != nil {
		fields.extended = func(e *entity) []extendedProperty { return e.Single }
	}
	if t.field("multiValueExtendedProperties") != nil {
		fields.multi = func(e *entity) []multiProperty { return e.Multi }
	}
	return fields
}

// memberField follows a lower-case path through complex types.
func memberField(f *field, path string) *field {
	for name := range strings.SplitSeq(path, "/") {
		t := typeTable()[f.kind]
		if t == nil || f.list {
			return nil
		}
		if f = t.fieldFold(name); f == nil {
			return nil
		}
	}
	if t := typeTable()[f.kind]; f.list || t != nil && t.values == nil {
		return nil // no value of its own
	}
	return f
}
