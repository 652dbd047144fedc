package sandbox

// How entities are shown: $select, $expand, the etag, properties that the sandbox
// computes. Rendering needs the lock, because computed properties look around.

import (
	"encoding/json"
	"slices"
	"strings"
)

// show computes a property of an entity.
type show func(c *call, e *entity) any

// entityView is how one request wants to see entities of a type.
type entityView struct {
	res    *resource
	typ    *edmType
	fields []*field
	expand []expansionOf
}

// entityView checks $select and $expand of the request.
func (c *call) entityView(res *resource) (*entityView, error) {
	return c.entityViewOf(res, c.query.selects, c.query.expand)
}

func (c *call) entityViewOf(res *resource, selects []string, expand string) (*entityView, error) {
	v := &entityView{res: res, typ: res.typ()}
	for _, name := range selects {
		if name != "*" && !strings.EqualFold(name, "id") && v.typ.fieldFold(name) == nil && !v.typ.open {
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.%s'.", name, v.typ.outlook)
		}
	}
	for _, f := range v.typ.fields {
		chosen := slices.ContainsFunc(selects, func(s string) bool { return strings.EqualFold(s, f.name) })
		all := len(selects) == 0 || slices.Contains(selects, "*")
		if !f.nav && (chosen || all && !f.selected) {
			v.fields = append(v.fields, f)
		}
	}
	var err error
	if v.expand, err = parseExpansions(expand); err != nil {
		return nil, err
	}
	for i, e := range v.expand {
		f := v.typ.fieldFold(e.name)
		if f == nil || !f.nav {
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.%s'.", e.name, v.typ.outlook)
		}
		v.expand[i].name = f.name
		if f.name == "extensions" {
			if _, err := extensionFilter(e.options); err != nil {
				return nil, err
			}
		}
		if strings.HasSuffix(f.name, "ValueExtendedProperties") && e.options.filter == "" {
			return nil, newError(400, "ErrorInvalidArgument", "$expand of %s needs a $filter by id.", f.name)
		}
	}
	return v, nil
}

// append writes an entity as an object. head is what goes first, such as
// @odata.context with its comma. It needs the lock.
func (v *entityView) append(b []byte, c *call, e *entity, head string) []byte {
	return v.appendFields(b, c, e, head, v.fields)
}

func (v *entityView) appendFields(b []byte, c *call, e *entity, head string, fields []*field) []byte {
	b = append(append(b, '{'), head...)
	if kind, ok := e.Hidden["@odata.type"].(string); ok {
		b = append(appendString(append(b, `"@odata.type":`...), kind), ',')
	}
	if v.typ.etag {
		b = append(appendString(append(b, `"@odata.etag":`...), etag(e.Seq)), ',')
	}
	b = appendString(append(b, `"id":`...), c.idOf(e))
	for _, f := range fields {
		if f.name == "id" {
			continue
		}
		value := v.value(c, e, f)
		if f.absent && value == nil {
			continue
		}
		b = append(append(append(b, `,"`...), f.name...), `":`...)
		b = appendJSON(b, value)
	}
	if v.typ.open {
		for _, name := range sortedKeys(e.Props) {
			if v.typ.field(name) == nil {
				b = append(appendString(append(b, ','), name), ':')
				b = appendJSON(b, e.Props[name])
			}
		}
	}
	for _, x := range v.expand {
		value := v.expanded(c, e, x)
		if value == nil { // Graph leaves the member out when nothing matches
			continue
		}
		b = append(append(append(b, `,"`...), x.name...), `":`...)
		b = appendJSON(b, value)
	}
	return append(b, '}')
}

// value is a property as the client sees it.
func (v *entityView) value(c *call, e *entity, f *field) any {
	if fn := v.res.show[f.name]; fn != nil {
		return fn(c, e)
	}
	switch f.name {
	case "createdDateTime":
		return clock(e.Created)
	case "lastModifiedDateTime":
		return clock(e.Modified)
	case "changeKey":
		return changeKey(e.Seq)
	}
	value, ok := e.Props[f.name]
	if (!ok || value == nil) && f.list {
		return []any{}
	}
	return value
}

func (v *entityView) expanded(c *call, e *entity, x expansionOf) any {
	switch x.name {
	case "singleValueExtendedProperties":
		return matchingExtended(e.Single, x.options.filter, func(p extendedProperty) string { return p.ID })
	case "multiValueExtendedProperties":
		return matchingExtended(e.Multi, x.options.filter, func(p multiProperty) string { return p.ID })
	case "extensions":
		return c.shownExtensions(e.Key, x.options)
	}
	if fn := v.res.expand[x.name]; fn != nil {
		return fn(c, e, x.options)
	}
	return nil
}

// matchingExtended are the extended properties that a filter by id names; nil
// where there is none.
func matchingExtended[T any](list []T, filter string, id func(T) string) any {
	var found []T
	toks, err := filterTokens(filter)
	if err != nil {
		return nil
	}
	for i := 0; i+2 < len(toks); i += 4 {
		want, _ := strings.CutPrefix(toks[i+2], "'")
		for _, p := range list {
			if strings.EqualFold(id(p), want) {
				found = append(found, p)
			}
		}
	}
	if found == nil {
		return nil
	}
	return found
}

// object renders an entity as a value for use inside another.
func (c *call) object(res *resource, e *entity, options query) any {
	v, err := c.entityViewOf(res, options.selects, options.expand)
	if err != nil {
		return nil
	}
	return json.RawMessage(v.append(nil, c, e, ""))
}

// objects renders a list of entities for use inside another, as $filter, $orderby,
// $skip and $top of the options say.
func (c *call) objects(res *resource, items []*entity, options query) any {
	fields := c.entityFields(res)
	f, err := parseFilter(options.filter, fields)
	if err != nil {
		return nil
	}
	list := []any{}
	items = slices.Clone(items)
	if len(options.orderby) > 0 && checkOrder(options.orderby, filter[*entity]{}, fields) == nil {
		slices.SortStableFunc(items, compareBy(options.orderby, fields))
	}
	for _, e := range items {
		if f.test == nil || f.test(e) {
			list = append(list, c.object(res, e, options))
		}
	}
	list = list[min(options.skip, len(list)):]
	if options.top > 0 {
		list = list[:min(options.top, len(list))]
	}
	return list
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
