package sandbox

// How mail folders are shown and filtered: $select, $expand (childFolders,
// messageRules, messages, extended properties), $filter and $orderby.
// https://learn.microsoft.com/graph/api/resources/mailfolder

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// folderView is how one request wants to see folders.
type folderView struct {
	selects []string
	expand  []expansionOf
}

// wholeFolder shows everything, as the answers to writes do.
func (c *call) wholeFolder() *folderView { return &folderView{} }

func (c *call) folderID(key uint64) string { return makeID(idFolder, c.box.ID, key, 0) }

// folderView checks $select and $expand of the request. one: a single folder is
// asked for, which may be a search folder with properties of its own.
func (c *call) folderView(one bool) (*folderView, error) {
	return c.folderViewOf(c.query.selects, c.query.expand, one)
}

func (c *call) folderViewOf(selects []string, expand string, one bool) (*folderView, error) {
	v := &folderView{selects: selects}
	plain, search := typeNamed("mailFolder"), typeNamed("mailSearchFolder")
	for _, name := range selects {
		if name != "*" && !strings.EqualFold(name, "id") && plain.fieldFold(name) == nil && (!one || search.fieldFold(name) == nil) {
			return nil, errNoFolderProperty(name)
		}
	}
	var err error
	if v.expand, err = parseExpansions(expand); err != nil {
		return nil, err
	}
	for i, e := range v.expand {
		f := plain.fieldFold(e.name)
		if f == nil || !f.nav {
			return nil, errNoFolderProperty(e.name)
		}
		v.expand[i].name = f.name
		if strings.HasSuffix(f.name, "ValueExtendedProperties") && e.options.filter == "" {
			return nil, newError(http.StatusBadRequest, "ErrorInvalidArgument", "$expand of %s needs a $filter by id.", f.name)
		}
		switch f.name {
		case "childFolders":
			_, err = c.folderViewOf(e.options.selects, e.options.expand, false)
		case "messages":
			_, err = c.viewOf(e.options.selects, e.options.expand)
		case "messageRules":
			_, err = c.entityViewOf(messageRules(), e.options.selects, e.options.expand)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

func errNoFolderProperty(name string) *graphError {
	return errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.MailFolder'.", name)
}

func (v *folderView) wants(name string) bool {
	return len(v.selects) == 0 || slices.ContainsFunc(v.selects, func(s string) bool { return s == "*" || strings.EqualFold(s, name) })
}

// selected says whether $select of the request lets a property through.
func (c *call) selected(name string) bool {
	return (&folderView{selects: c.query.selects}).wants(name)
}

// folderMember is a property of a folder as it is shown.
type folderMember struct {
	name  string
	value []byte
}

// folderMembers computes the properties of a folder. It needs the lock.
func (c *call) folderMembers(f *folder) []folderMember {
	total, unread := c.folderCounts(f)
	number := func(n int) []byte { return strconv.AppendInt(nil, int64(n), 10) }
	parent := f.Parent
	if parent == 0 { // of the root, which lies in nothing that clients see
		parent = f.Key
	}
	list := []folderMember{
		{"displayName", appendString(nil, f.Name)},
		{"parentFolderId", appendString(nil, c.folderID(parent))},
		{"childFolderCount", number(c.childCount(f))},
		{"unreadItemCount", number(unread)},
		{"totalItemCount", number(total)},
		{"isHidden", appendBool(nil, f.Hidden)},
	}
	if f.Search != nil {
		ids := []string{}
		for _, key := range f.Search.Sources {
			ids = append(ids, c.folderID(key))
		}
		list = append(list,
			folderMember{"isSupported", appendBool(nil, true)},
			folderMember{"includeNestedFolders", appendBool(nil, f.Search.Nested)},
			folderMember{"sourceFolderIds", appendJSON(nil, ids)},
			folderMember{"filterQuery", appendString(nil, f.Search.Filter)},
		)
	}
	return list
}

func (c *call) childCount(f *folder) int {
	n := 0
	for _, o := range c.box.folders {
		if o.Parent == f.Key && o != f {
			n++
		}
	}
	return n
}

func (c *call) folderCounts(f *folder) (total, unread int) {
	if f.Search == nil {
		return len(f.messages), f.unread
	}
	list := c.box.found(f)
	for _, m := range list {
		if !m.IsRead {
			unread++
		}
	}
	return len(list), unread
}

// appendFolder writes a folder. head is what goes first, such as @odata.context
// with its comma. It needs the lock.
func (c *call) appendFolder(b []byte, v *folderView, f *folder, head string) []byte {
	b = append(append(b, '{'), head...)
	if f.Search != nil {
		b = append(b, `"@odata.type":"#microsoft.graph.mailSearchFolder",`...)
	}
	b = appendString(append(b, `"id":`...), c.folderID(f.Key))
	for _, m := range c.folderMembers(f) {
		if v.wants(m.name) {
			b = append(append(append(append(b, `,"`...), m.name...), `":`...), m.value...)
		}
	}
	for _, x := range v.expand {
		if value := c.expandedFolder(f, x); value != nil {
			b = append(append(append(append(b, `,"`...), x.name...), `":`...), appendJSON(nil, value)...)
		}
	}
	return append(b, '}')
}

// expandedFolder is the value of a member of $expand; nil: it is left out.
func (c *call) expandedFolder(f *folder, x expansionOf) any {
	list := []any{}
	switch x.name {
	case "singleValueExtendedProperties":
		return matchingExtended(f.Single, x.options.filter, func(p extendedProperty) string { return p.ID })
	case "multiValueExtendedProperties":
		return matchingExtended(f.Multi, x.options.filter, func(p multiProperty) string { return p.ID })
	case "childFolders":
		v, err := c.folderViewOf(x.options.selects, x.options.expand, false)
		if err != nil { // it was checked with the request
			return nil
		}
		for _, sub := range c.box.foldersBelow(f.Key) {
			if !sub.Hidden || c.query.hidden {
				list = append(list, json.RawMessage(c.appendFolder(nil, v, sub, "")))
			}
		}
	case "messageRules":
		for _, e := range c.box.in(f.Key, "messageRule") {
			list = append(list, c.object(messageRules(), e, x.options))
		}
	case "messages":
		v, err := c.viewOf(x.options.selects, x.options.expand)
		if err != nil {
			return nil
		}
		size := x.options.top
		if size == 0 {
			size = c.opts.listPage
		}
		for _, m := range slices.Backward(c.box.messagesIn(f)) {
			if len(list) == size {
				break
			}
			list = append(list, json.RawMessage(v.append(nil, m, "")))
		}
	}
	return list
}

// folderFields are what $filter and $orderby may name. The getters need the lock.
func (c *call) folderFields() filterFields[*folder] {
	return filterFields[*folder]{
		typeName: "MailFolder",
		property: func(name string) (getter[*folder], bool) {
			number := func(get func(*folder) int) getter[*folder] {
				return func(f *folder) any { return float64(get(f)) }
			}
			switch name {
			case "id":
				return func(f *folder) any { return c.folderID(f.Key) }, false
			case "displayname":
				return func(f *folder) any { return f.Name }, false
			case "parentfolderid":
				return func(f *folder) any { return c.folderID(f.Parent) }, false
			case "ishidden":
				return func(f *folder) any { return f.Hidden }, false
			case "childfoldercount":
				return number(c.childCount), false
			case "totalitemcount":
				return number(func(f *folder) int { total, _ := c.folderCounts(f); return total }), false
			case "unreaditemcount":
				return number(func(f *folder) int { _, unread := c.folderCounts(f); return unread }), false
			}
			return nil, false
		},
		extended: func(f *folder) []extendedProperty { return f.Single },
		multi:    func(f *folder) []multiProperty { return f.Multi },
	}
}

// knownOrder refuses $orderby by what is no property.
func knownOrder[T any](orders []order, fields filterFields[T]) error {
	for _, o := range orders {
		if get, _ := fields.property(strings.ToLower(o.property)); get == nil {
			return errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.%s'.", o.property, fields.typeName)
		}
	}
	return nil
}
