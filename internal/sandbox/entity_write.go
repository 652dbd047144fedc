package sandbox

// How bodies become entities: the check against the type, what may be written
// when, extended properties.

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// readMembers reads the body as an object of JSON values.
func (c *call) readMembers() (map[string]any, error) {
	raw, err := c.readObject()
	if err != nil {
		return nil, err
	}
	body := make(map[string]any, len(raw))
	for name, value := range raw {
		var v any
		if err := json.Unmarshal(value, &v); err != nil {
			return nil, newError(http.StatusBadRequest, "BadRequest",
				"Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
		}
		body[name] = v
	}
	return body, nil
}

// write puts the members of a body into an entity that nobody else has yet, and
// lists their names. creating also applies what is demanded of new ones.
func (e *entity) write(t *edmType, body map[string]any, creating bool) ([]string, error) {
	var touched []string
	for _, name := range sortedKeys(body) {
		f := t.field(name)
		switch {
		case strings.Contains(name, "@odata.") || name == "id":
			continue
		case f == nil && t.open:
			e.Props[name] = body[name]
			touched = append(touched, name)
			continue
		case f == nil:
			return nil, errUnknownProperty(name, t.outlook)
		}
		value, err := f.checkValue(body[name])
		if err != nil {
			return nil, err
		}
		switch {
		case f.readonly:
			continue
		case f.create && !creating:
			return nil, newError(http.StatusBadRequest, "ErrorInvalidPropertySet", "The property '%s' can be set only when the item is created.", name)
		}
		touched = append(touched, name)
		switch name {
		case "singleValueExtendedProperties":
			err = e.writeSingle(value)
		case "multiValueExtendedProperties":
			err = e.writeMulti(value)
		default:
			if !f.nav {
				e.Props[name] = value
			}
		}
		if err != nil {
			return nil, err
		}
	}
	if !creating {
		return touched, nil
	}
	for _, f := range t.fields {
		if f.required && (e.Props[f.name] == nil || e.Props[f.name] == "") {
			return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property '%s' is required.", f.name)
		}
	}
	return touched, nil
}

func badPropertyID(id string) error {
	if kind, rest, ok := strings.Cut(id, " "); !ok || kind == "" || rest == "" {
		return newError(http.StatusBadRequest, "ErrorInvalidArgument", "The property id '%s' is not a valid extended property id.", id)
	}
	return nil
}

// writeSingle merges by id:
// https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-post-singlevalueextendedproperties
func (e *entity) writeSingle(value any) error {
	list, _ := value.([]any)
	merged := slices.Clone(e.Single)
	for _, item := range list {
		obj, _ := item.(map[string]any)
		id, _ := obj["id"].(string)
		if err := badPropertyID(id); err != nil {
			return err
		}
		p := extendedProperty{ID: id, Value: appendJSON(nil, obj["value"])}
		if i := slices.IndexFunc(merged, func(o extendedProperty) bool { return strings.EqualFold(o.ID, id) }); i >= 0 {
			merged[i] = p
		} else {
			merged = append(merged, p)
		}
	}
	e.Single = merged
	return nil
}

// writeMulti merges by id as well; the values of one property are replaced.
func (e *entity) writeMulti(value any) error {
	list, _ := value.([]any)
	merged := slices.Clone(e.Multi)
	for _, item := range list {
		obj, _ := item.(map[string]any)
		id, _ := obj["id"].(string)
		if err := badPropertyID(id); err != nil {
			return err
		}
		p := multiProperty{ID: id, Value: []string{}}
		values, _ := obj["value"].([]any)
		for _, v := range values {
			text, _ := v.(string)
			p.Value = append(p.Value, text)
		}
		if i := slices.IndexFunc(merged, func(o multiProperty) bool { return strings.EqualFold(o.ID, id) }); i >= 0 {
			merged[i] = p
		} else {
			merged = append(merged, p)
		}
	}
	e.Multi = merged
	return nil
}
