package sandbox

// Mail folders: list, get, create, rename, delete, child folders, well-known
// names. Ids never change. A deleted folder goes to Deleted Items with what is
// in it; from there it is removed with all of its messages.
// https://learn.microsoft.com/graph/api/resources/mailfolder
//
// Left out: move and copy of folders, search folders, rules, mailFolders/delta,
// the folders' $filter and $expand.

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// appendFolder writes a folder. It needs the lock, for the counts.
func (c *call) appendFolder(b []byte, f *folder, head string) []byte {
	children := 0
	for _, o := range c.box.folders {
		if o.Parent == f.Key {
			children++
		}
	}
	members := []struct {
		name  string
		value []byte
	}{
		{"displayName", appendString(nil, f.Name)},
		{"parentFolderId", appendString(nil, makeID(idFolder, c.box.ID, cmp.Or(f.Parent, f.Key), 0))},
		{"childFolderCount", strconv.AppendInt(nil, int64(children), 10)},
		{"unreadItemCount", strconv.AppendInt(nil, int64(f.unread), 10)},
		{"totalItemCount", strconv.AppendInt(nil, int64(len(f.messages)), 10)},
		{"isHidden", appendBool(nil, f.Hidden)},
	}
	b = append(append(b, '{'), head...)
	b = appendString(append(b, `"id":`...), makeID(idFolder, c.box.ID, f.Key, 0))
	for _, m := range members {
		if c.selected(m.name) {
			b = append(append(append(append(b, `,"`...), m.name...), `":`...), m.value...)
		}
	}
	return append(b, '}')
}

func (c *call) selected(name string) bool {
	return len(c.query.selects) == 0 ||
		slices.ContainsFunc(c.query.selects, func(s string) bool { return strings.EqualFold(s, name) })
}

// checkFolderSelect refuses what a folder has not.
func (c *call) checkFolderSelect() error {
	const known = " id displayname parentfolderid childfoldercount unreaditemcount totalitemcount ishidden "
	for _, s := range c.query.selects {
		if !strings.Contains(known, " "+strings.ToLower(s)+" ") {
			return errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.MailFolder'.", s)
		}
	}
	if c.query.filter != "" || c.query.expand != "" || len(c.query.orderby) > 0 {
		return errNotModelled("$filter, $expand and $orderby of mail folders")
	}
	return nil
}

// listFolders lists one level: that below the folder in the path, or below the
// root.
func (c *call) listFolders() (*Answer, error) {
	if err := c.checkFolderSelect(); err != nil {
		return nil, err
	}
	size := c.pageSize()
	b := appendString([]byte(`{"@odata.context":`), c.metadata("mailFolders"))
	var err error
	c.read(func(*state) {
		parent := c.box.wellKnown["msgfolderroot"]
		if name, ok := c.params["mailFolder-id"]; ok {
			if parent, err = c.folderOf(name); err != nil {
				return
			}
		}
		var list []*folder
		for _, f := range c.box.folders {
			if f.Parent == parent.Key && (!f.Hidden || c.query.hidden) {
				list = append(list, f)
			}
		}
		slices.SortFunc(list, func(a, b *folder) int {
			return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Key, b.Key))
		})
		if c.query.count {
			b = strconv.AppendInt(append(b, `,"@odata.count":`...), int64(len(list)), 10)
		}
		from := min(c.query.skip, len(list))
		to := min(from+size, len(list))
		b = append(b, `,"value":[`...)
		for i, f := range list[from:to] {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.appendFolder(b, f, "")
		}
		b = append(b, ']')
		if to < len(list) {
			b = appendString(append(b, `,"@odata.nextLink":`...), c.nextLink(to))
		}
	})
	if err != nil {
		return nil, err
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}

func (c *call) oneFolder(status int, f *folder) *Answer {
	head := string(appendString([]byte(`"@odata.context":`), c.metadata("mailFolders/$entity"))) + ","
	return c.jsonAnswer(status, c.appendFolder(nil, f, head))
}

func (c *call) getFolder() (*Answer, error) {
	if err := c.checkFolderSelect(); err != nil {
		return nil, err
	}
	var a *Answer
	var err error
	c.read(func(*state) {
		var f *folder
		if f, err = c.folderOf(c.params["mailFolder-id"]); err == nil {
			a = c.oneFolder(http.StatusOK, f)
		}
	})
	return a, err
}

// readFolder reads the body of a create or update.
func (c *call) readFolder() (name string, hidden bool, err error) {
	obj, err := c.readObject()
	if err != nil {
		return "", false, err
	}
	for member, raw := range obj {
		switch {
		case member == "displayName":
			err = readValue(raw, "Edm.String", &name)
		case member == "isHidden":
			err = readValue(raw, "Edm.Boolean", &hidden)
		case strings.Contains(member, "@odata."):
		default:
			err = errBody("The property '%s' does not exist on type 'Microsoft.OutlookServices.MailFolder'. Make sure to only use property names that are defined by the type or mark the type as open type.", member)
		}
		if err != nil {
			return "", false, err
		}
	}
	if strings.TrimSpace(name) == "" {
		return "", false, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'displayName' is required.")
	}
	return name, hidden, nil
}

// free refuses a second folder of one name in one place.
func (c *call) free(parent uint64, name string, except uint64) error {
	for _, f := range c.box.folders {
		if f.Parent == parent && f.Key != except && strings.EqualFold(f.Name, name) {
			return newError(http.StatusConflict, "ErrorFolderExists",
				"A folder with the specified name already exists., Could not create folder '%s'.", name)
		}
	}
	return nil
}

func (c *call) createFolder() (*Answer, error) {
	name, hidden, err := c.readFolder()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		parent := c.box.wellKnown["msgfolderroot"]
		if at, ok := c.params["mailFolder-id"]; ok {
			var err error
			if parent, err = c.folderOf(at); err != nil {
				return err
			}
		}
		if err := c.free(parent.Key, name, 0); err != nil {
			return err
		}
		r := folderRecord{Key: t.newKey(), Parent: parent.Key, Name: name, Hidden: hidden, Seq: t.nextSeq()}
		t.do(record{Box: c.box.ID, Folder: &r})
		t.note(c, EffectCreated, nil, makeID(idFolder, c.box.ID, r.Key, 0), "mailFolder")
		a = c.oneFolder(http.StatusCreated, c.box.folders[r.Key])
		return nil
	})
	return a, err
}

func (c *call) updateFolder() (*Answer, error) {
	name, _, err := c.readFolder()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		f, err := c.folderOf(c.params["mailFolder-id"])
		if err != nil {
			return err
		}
		if f.WellKnown != "" {
			return newError(http.StatusForbidden, "ErrorAccessDenied", "A distinguished folder cannot be renamed.")
		}
		if err := c.free(f.Parent, name, f.Key); err != nil {
			return err
		}
		r := f.folderRecord
		r.Name, r.Seq = name, t.nextSeq()
		t.do(record{Box: c.box.ID, Folder: &r})
		a = c.oneFolder(http.StatusOK, f)
		return nil
	})
	return a, err
}

func (c *call) deleteFolder() (*Answer, error) {
	err := c.update(func(t *tx) error {
		f, err := c.folderOf(c.params["mailFolder-id"])
		if err != nil {
			return err
		}
		if f.WellKnown != "" {
			return newError(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
		}
		bin := c.box.wellKnown["deleteditems"]
		if !c.inside(f.Key, bin) {
			r := f.folderRecord
			r.Parent, r.Seq = bin.Key, t.nextSeq()
			t.do(record{Box: c.box.ID, Folder: &r})
			return nil
		}
		c.dropFolder(t, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

// dropFolder removes a folder, what is in it and the folders below.
func (c *call) dropFolder(t *tx, f *folder) {
	var below []*folder
	for _, o := range c.box.folders {
		if o.Parent == f.Key {
			below = append(below, o)
		}
	}
	for _, o := range below {
		c.dropFolder(t, o)
	}
	for _, m := range slices.Clone(f.byTime) {
		t.dropMessage(c.box, m)
	}
	t.do(record{Box: c.box.ID, NoFolder: f.Key})
}

// getUser answers /me and /users/{id}: what a client needs to know of an
// account. https://learn.microsoft.com/graph/api/user-get
func (c *call) getUser() (*Answer, error) {
	p := c.box.Person
	members := []struct {
		name  string
		value any
	}{
		{"businessPhones", []string{}},
		{"displayName", p.Name()},
		{"givenName", p.Given},
		{"jobTitle", nil},
		{"mail", p.UPN},
		{"mobilePhone", nil},
		{"officeLocation", nil},
		{"preferredLanguage", "en-US"},
		{"surname", p.Surname},
		{"userPrincipalName", p.UPN},
	}
	for _, s := range c.query.selects {
		if !strings.EqualFold(s, "id") && !slices.ContainsFunc(members, func(m struct {
			name  string
			value any
		},
		) bool {
			return strings.EqualFold(s, m.name)
		}) {
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.DirectoryServices.User'.", s)
		}
	}
	b := appendString([]byte(`{"@odata.context":`), c.base+"/v1.0/$metadata#users/$entity")
	b = appendString(append(b, `,"id":`...), p.ID)
	for _, m := range members {
		if c.selected(m.name) {
			v, err := json.Marshal(m.value)
			if err != nil {
				return nil, err
			}
			b = append(append(append(append(b, `,"`...), m.name...), `":`...), v...)
		}
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}
