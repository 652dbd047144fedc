package sandbox

// How open extensions are checked, kept, found and shown, for the items that have
// them:
//
//   - readExtensions checks the member extensions of an item's body, putExtensions
//     stores them in the item that was made. A resource does both by itself
//     (resource.make).
//   - extensionIDs are what any() in a $filter looks at; $expand shows
//     shownExtensions.

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

const extensionPrefix = "Microsoft.OutlookServices.OpenTypeExtension."

// plainExtensionName takes the type from the front of an id.
func plainExtensionName(id string) string {
	for _, prefix := range []string{extensionPrefix, "microsoft.graph.openTypeExtension."} {
		if len(id) > len(prefix) && strings.EqualFold(id[:len(prefix)], prefix) {
			return id[len(prefix):]
		}
	}
	return id
}

// checkExtension checks the members of a body.
func checkExtension(body map[string]any) error {
	if kind, ok := body["@odata.type"]; ok {
		name, _ := kind.(string)
		name = strings.ToLower(strings.TrimPrefix(name, "#"))
		if name != "microsoft.graph.opentypeextension" && name != "microsoft.outlookservices.opentypeextension" {
			return errBody("A type named '%v' could not be resolved by the model, or is no extension.", kind)
		}
	}
	primitive := func(v any) bool {
		switch v.(type) {
		case map[string]any, []any:
			return false
		}
		return true
	}
	for name, v := range body {
		list, isList := v.([]any)
		if isList && slices.ContainsFunc(list, func(v any) bool { return !primitive(v) }) || !isList && !primitive(v) {
			return newError(http.StatusBadRequest, "ErrorInvalidRequest",
				"The property '%s' of an open extension must be a primitive value or a collection of primitive values.", name)
		}
	}
	return nil
}

// readExtension makes an extension of a body. It is stored by putExtension.
func readExtension(body map[string]any) (*entity, error) {
	if err := checkExtension(body); err != nil {
		return nil, err
	}
	t := typeNamed("openTypeExtension")
	e := newEntity(t)
	if _, err := e.write(t, body, true); err != nil {
		return nil, err
	}
	e.Props["extensionName"] = plainExtensionName(e.text("extensionName"))
	e.ID = extensionPrefix + e.text("extensionName")
	e.Hidden["@odata.type"] = "#microsoft.graph.openTypeExtension"
	return e, nil
}

// readExtensions makes those of an item's body: the member extensions. Nothing is
// stored yet.
func readExtensions(member any) ([]*entity, error) {
	list, _ := member.([]any)
	made := make([]*entity, 0, len(list))
	for _, item := range list {
		body, ok := item.(map[string]any)
		if !ok {
			return nil, errBody("Cannot convert a literal to the expected type 'microsoft.graph.extension'.")
		}
		e, err := readExtension(body)
		if err != nil {
			return nil, err
		}
		made = append(made, e)
	}
	return made, nil
}

// putExtension stores an extension in an item, or merges it into the one of its
// name, and returns its key. The item's change key is the caller's matter.
func (t *tx) putExtension(box *mailbox, item uint64, made *entity) uint64 {
	old := extensionOf(box, item, made.text("extensionName"))
	if old == nil {
		t.addEntity(box, item, made)
		return made.Key
	}
	fresh := old.clone()
	maps.Copy(fresh.Props, made.Props)
	t.saveEntity(box, fresh)
	return fresh.Key
}

// extensionIDs are an item's extensions as a filter sees them: each by its id and
// by its name.
func extensionIDs(box *mailbox, item uint64) []any {
	list := []any{}
	for _, e := range box.in(item, "openTypeExtension") {
		list = append(list, map[string]any{"id": e.ID}, map[string]any{"id": e.text("extensionName")})
	}
	return list
}

// extensionFilter reads $filter of $expand=extensions(…): it names ids.
func extensionFilter(options query) (filter[string], error) {
	return parseFilter(options.filter, filterFields[string]{
		typeName: "OpenTypeExtension",
		property: func(name string) (getter[string], bool) {
			if name != "id" && name != "extensionname" {
				return nil, false
			}
			return func(id string) any { return id }, false
		},
	})
}

// shownExtensions renders the extensions of an object for $expand, all or those
// that $filter of its options names; nil where there is none. It needs the lock.
func (c *call) shownExtensions(key uint64, options query) any {
	res := &resource{kind: "openTypeExtension", param: "extension-id", set: "extensions"}
	f, err := extensionFilter(options)
	if err != nil { // entityViewOf has refused it
		return nil
	}
	list := []any{}
	for _, e := range c.box.in(key, "openTypeExtension") {
		if f.test == nil || f.test(e.ID) || f.test(e.text("extensionName")) {
			list = append(list, c.object(res, e, options))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return list
}

// takeExtensions takes the extensions out of a message's body and reads them.
func takeExtensions(obj map[string]json.RawMessage) ([]*entity, error) {
	raw, ok := obj["extensions"]
	if !ok {
		return nil, nil
	}
	delete(obj, "extensions")
	var member []any
	if err := json.Unmarshal(raw, &member); err != nil {
		return nil, errBody("Cannot convert a literal to the expected type 'Collection(microsoft.graph.extension)'.")
	}
	return readExtensions(member)
}

// putExtensions stores those that came with a new item.
func (t *tx) putExtensions(box *mailbox, item uint64, made []*entity) {
	for _, e := range made {
		t.putExtension(box, item, e)
	}
}
