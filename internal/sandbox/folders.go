package sandbox

// Mail folders: list, get, create, rename, delete, at any depth. Each folder of a
// path must lie in the one before it. Ids never change. A deleted folder goes to
// Deleted Items with what is in it; from there it is removed with all of its
// messages. How folders are shown is in mail_folders_view.go, move and copy in
// mail_folders_move.go, search folders and delta in files of their own.
// https://learn.microsoft.com/graph/api/resources/mailfolder
//
// Left out: the size, folders of other item kinds, the online archive.

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// folderRoutes are those of folders besides mailRoutes.
func folderRoutes() []route {
	const one = "~/mailFolders/{mailFolder-id}"
	return []route{
		{method: "POST", path: one + "/move", handle: (*call).moveFolder},
		{method: "POST", path: one + "/copy", handle: (*call).copyFolder},
		{method: "POST", path: one + "/permanentDelete", handle: (*call).permanentDeleteFolder},
		{method: "GET", path: "~/mailFolders/delta", handle: (*call).foldersDelta},
		{method: "GET", path: one + "/childFolders/delta", handle: (*call).foldersDelta},
		{method: "GET", path: "~/messages/delta", handle: (*call).noMessagesDelta},
	}
}

// folderAt finds the folder that the path leads to; each must lie right below the
// one before. Without a folder in the path it is the root. It needs the lock.
func (c *call) folderAt() (*folder, error) {
	at := c.box.wellKnown["msgfolderroot"]
	for i, name := range c.chain {
		f, err := c.folderOf(name)
		if err != nil {
			return nil, err
		}
		if i > 0 && f.Parent != at.Key {
			return nil, errItemNotFound()
		}
		at = f
	}
	return at, nil
}

// listFolders lists one level: that below the folder in the path, or below the
// root.
func (c *call) listFolders() (*Answer, error) {
	v, err := c.folderView(false)
	if err != nil {
		return nil, err
	}
	f, err := parseFilter(c.query.filter, c.folderFields())
	if err != nil {
		return nil, err
	}
	if err := knownOrder(c.query.orderby, c.folderFields()); err != nil {
		return nil, err
	}
	size, what := c.pageSize(), "mailFolders"
	var a *Answer
	c.read(func(*state) {
		var parent *folder
		if parent, err = c.folderAt(); err != nil {
			return
		}
		if len(c.chain) > 0 {
			what = "mailFolders('" + c.folderID(parent.Key) + "')/childFolders"
		}
		list := slices.DeleteFunc(c.box.foldersBelow(parent.Key), func(o *folder) bool {
			return o.Hidden && !c.query.hidden || f.test != nil && !f.test(o)
		})
		by := compareBy(c.query.orderby, c.folderFields())
		slices.SortFunc(list, func(a, o *folder) int {
			return cmp.Or(by(a, o), cmp.Compare(strings.ToLower(a.Name), strings.ToLower(o.Name)), cmp.Compare(a.Key, o.Key))
		})
		b := appendString([]byte(`{"@odata.context":`), c.metadata(what))
		if c.query.count {
			b = strconv.AppendInt(append(b, `,"@odata.count":`...), int64(len(list)), 10)
		}
		from := min(c.query.skip, len(list))
		to := min(from+size, len(list))
		b = append(b, `,"value":[`...)
		for i, o := range list[from:to] {
			if i > 0 {
				b = append(b, ',')
			}
			b = c.appendFolder(b, v, o, "")
		}
		b = append(b, ']')
		if to < len(list) {
			b = appendString(append(b, `,"@odata.nextLink":`...), c.nextLink(to))
		}
		a = c.jsonAnswer(http.StatusOK, append(b, '}'))
	})
	return a, err
}

// oneFolder answers with a folder. It needs the lock.
func (c *call) oneFolder(status int, v *folderView, f *folder) *Answer {
	head := string(appendString([]byte(`"@odata.context":`), c.metadata("mailFolders/$entity"))) + ","
	a := c.jsonAnswer(status, c.appendFolder(nil, v, f, head))
	if status == http.StatusCreated {
		a.Header.Set("Location", c.base+"/v1.0/users('"+c.box.ID+"')/mailFolders('"+c.folderID(f.Key)+"')")
	}
	return a
}

func (c *call) getFolder() (*Answer, error) {
	v, err := c.folderView(true)
	if err != nil {
		return nil, err
	}
	var a *Answer
	c.read(func(*state) {
		var f *folder
		if f, err = c.folderAt(); err == nil {
			a = c.oneFolder(http.StatusOK, v, f)
		}
	})
	return a, err
}

// free refuses a second folder of one name in one place.
func (c *call) free(parent uint64, name string, except uint64) error {
	if c.taken(parent, name, except) {
		return newError(http.StatusConflict, "ErrorFolderExists",
			"A folder with the specified name already exists., Could not create folder '%s'.", name)
	}
	return nil
}

func (c *call) taken(parent uint64, name string, except uint64) bool {
	for _, f := range c.box.folders {
		if f.Parent == parent && f.Key != except && strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

func (c *call) createFolder() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	typ := typeNamed("mailFolder")
	if isSearchFolderType(body) {
		typ = typeNamed("mailSearchFolder")
	}
	e := newEntity(typ)
	if _, err := e.write(typ, body, true); err != nil {
		return nil, err
	}
	r := folderRecord{Name: e.text("displayName"), Hidden: e.flag("isHidden"), Single: e.Single, Multi: e.Multi}
	if strings.TrimSpace(r.Name) == "" {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'displayName' is required.")
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		parent, err := c.folderAt()
		if err != nil {
			return err
		}
		if err := refuseSearchFolder(parent); err != nil {
			return err
		}
		if err := c.free(parent.Key, r.Name, 0); err != nil {
			return err
		}
		if typ.name == "mailSearchFolder" {
			if r.Search, err = c.readSearch(e, searchSpec{}); err != nil {
				return err
			}
		}
		f := t.makeFolder(c.box, parent.Key, r)
		t.note(c, EffectCreated, nil, c.folderID(f.Key), "mailFolder")
		a = c.oneFolder(http.StatusCreated, c.wholeFolder(), f)
		return nil
	})
	return a, err
}

// makeFolder stores a new folder.
func (t *tx) makeFolder(box *mailbox, parent uint64, r folderRecord) *folder {
	r.Key, r.Parent, r.Seq = t.newKey(), parent, t.nextSeq()
	r.Born, r.Placed = r.Seq, r.Seq
	t.do(record{Box: box.ID, Folder: &r})
	return box.folders[r.Key]
}

func (c *call) updateFolder() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		f, err := c.folderAt()
		if err != nil {
			return err
		}
		typ := typeNamed("mailFolder")
		if f.Search != nil {
			typ = typeNamed("mailSearchFolder")
		}
		e := &entity{Type: typ.name, Props: map[string]any{}, Single: f.Single, Multi: f.Multi}
		if _, err := e.write(typ, body, false); err != nil {
			return err
		}
		r := f.folderRecord
		r.Single, r.Multi = e.Single, e.Multi
		if name, given := e.Props["displayName"].(string); given && name != f.Name {
			if strings.TrimSpace(name) == "" {
				return newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'displayName' is required.")
			}
			if f.WellKnown != "" {
				return newError(http.StatusForbidden, "ErrorAccessDenied", "A distinguished folder cannot be renamed.")
			}
			if err := c.free(f.Parent, name, f.Key); err != nil {
				return err
			}
			r.Name = name
		}
		if f.Search != nil {
			if r.Search, err = c.readSearch(e, *f.Search); err != nil {
				return err
			}
		}
		r.Seq = t.nextSeq()
		t.do(record{Box: c.box.ID, Folder: &r})
		a = c.oneFolder(http.StatusOK, c.wholeFolder(), f)
		return nil
	})
	return a, err
}

func (c *call) deleteFolder() (*Answer, error) { return c.eraseFolder(false) }

func (c *call) permanentDeleteFolder() (*Answer, error) { return c.eraseFolder(true) }

func (c *call) eraseFolder(forGood bool) (*Answer, error) {
	err := c.update(func(t *tx) error {
		f, err := c.folderAt()
		if err != nil {
			return err
		}
		if f.WellKnown != "" {
			return newError(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
		}
		bin := c.box.wellKnown["deleteditems"]
		// A search folder holds nothing that could be missed.
		if forGood || f.Search != nil || c.inside(f.Key, bin) {
			t.dropFolder(c.box, f)
			return nil
		}
		r := f.folderRecord
		for n := 1; c.taken(bin.Key, r.Name, f.Key); n++ { // Exchange counts up as well
			r.Name = f.Name + strconv.Itoa(n)
		}
		t.placeFolder(c.box, r, bin.Key)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}
