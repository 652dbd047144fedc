package sandbox

// Folders of contacts. Everybody has the default folder, Contacts; all others are
// below it, to any depth. GET /contactFolders lists what is in the default folder
// and so leaves that one out; its id stands in parentFolderId of its contacts, and
// as a path knows it, "contacts" names it as well.
// https://learn.microsoft.com/graph/api/resources/contactfolder
//
// The delta of /contactFolders tells of the folders at every depth, that of a
// folder's childFolders (OpenAPI only) of its own children, though of removals
// anywhere. Left out: moving a folder, folders of other kinds such as Suggested
// Contacts, and Deleted Items: a deleted folder is gone with what is in it.

import (
	"net/http"
	"strings"
)

// defaultContacts is the folder that every mailbox has.
func defaultContacts(box *mailbox) *entity { return box.marked("contactFolder", "default") }

func furnishContacts(t *tx, box *mailbox) {
	if box.kind != kindPerson || defaultContacts(box) != nil {
		return
	}
	f := newEntity(typeNamed("contactFolder"))
	f.Props["displayName"], f.Mark = "Contacts", "default"
	t.addEntity(box, 0, f)
}

// A folder other than the default one lies in the default one's place, and says
// here which is above it: one change log then serves the delta of the whole tree.
const aboveFolder = "above"

func (e *entity) setAbove(key uint64) { e.Hidden[aboveFolder] = float64(key) }

// above is the key of the folder above; 0 for the default folder.
func (e *entity) above() uint64 {
	n, _ := e.Hidden[aboveFolder].(float64)
	return uint64(n)
}

// contactFolderOf finds the folder that the path names, the default one where it
// names none. Each folder of the path must lie in the one before. It needs the
// lock.
func (c *call) contactFolderOf() (*entity, error) {
	at := defaultContacts(c.box)
	for i, name := range c.chain {
		f, err := c.contactFolderNamed(name)
		if err != nil {
			return nil, err
		}
		if i > 0 && f.above() != at.Key {
			return nil, errItemNotFound()
		}
		at = f
	}
	return at, nil
}

func (c *call) contactFolderNamed(name string) (*entity, error) {
	if strings.EqualFold(name, "contacts") {
		return defaultContacts(c.box), nil
	}
	return c.entityNamed("contactFolder", name)
}

// contactFolderKey is where the contacts of the path's folder lie.
func (c *call) contactFolderKey() (uint64, error) {
	f, err := c.contactFolderOf()
	if err != nil {
		return 0, err
	}
	return f.Key, nil
}

// contactFoldersIn lists one level.
func contactFoldersIn(box *mailbox, above uint64) []*entity {
	var list []*entity
	for _, f := range box.in(defaultContacts(box).Key, "contactFolder") {
		if f.above() == above {
			list = append(list, f)
		}
	}
	return list
}

func contactFolderResource() *resource {
	return &resource{
		kind: "contactFolder", param: "contactFolder-id", set: "contactFolders",
		place: func(c *call) (uint64, error) {
			_, err := c.contactFolderOf() // the path must be right
			return defaultContacts(c.box).Key, err
		},
		find: (*call).contactFolderOf,
		scan: func(c *call) ([]*entity, error) {
			f, err := c.contactFolderOf()
			if err != nil {
				return nil, err
			}
			return contactFoldersIn(c.box, f.Key), nil
		},
		order: func(a, b *entity) int {
			return compareValues(a.text("displayName"), b.text("displayName"))
		},
		told: func(c *call, e *entity) bool {
			if len(c.chain) == 0 {
				return true
			}
			f, err := c.contactFolderOf()
			return err == nil && e.above() == f.Key
		},
		show: map[string]show{"parentFolderId": func(c *call, e *entity) any {
			if above := c.box.entities[e.above()]; above != nil {
				return c.idOf(above)
			}
			return makeID(idFolder, c.box.ID, c.box.wellKnown["msgfolderroot"].Key, 0)
		}},
		expand: map[string]func(*call, *entity, query) any{
			"contacts": func(c *call, e *entity, options query) any {
				return c.objects(contactResource(), c.box.in(e.Key, "contact"), options)
			},
			"childFolders": func(c *call, e *entity, options query) any {
				return c.objects(contactFolderResource(), contactFoldersIn(c.box, e.Key), options)
			},
		},
		creating: func(c *call, _ *tx, e *entity, _ map[string]any) error {
			f, err := c.contactFolderOf()
			if err != nil {
				return err
			}
			e.setAbove(f.Key)
			return c.freeContactFolder(e)
		},
		updating: func(c *call, _ *tx, old, fresh *entity, _ map[string]any) error {
			if old.Mark == "default" {
				return newError(http.StatusForbidden, "ErrorAccessDenied", "A distinguished folder cannot be renamed.")
			}
			return c.freeContactFolder(fresh)
		},
		deleting: func(c *call, t *tx, e *entity) error {
			if e.Mark == "default" {
				return newError(http.StatusForbidden, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted.")
			}
			dropContactFoldersBelow(t, c.box, e)
			return nil
		},
	}
}

// freeContactFolder refuses a second folder of one name in one place, and one
// without a name.
func (c *call) freeContactFolder(e *entity) error {
	name := e.text("displayName")
	if strings.TrimSpace(name) == "" {
		return newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'displayName' is required.")
	}
	for _, f := range contactFoldersIn(c.box, e.above()) {
		if f.Key != e.Key && strings.EqualFold(f.text("displayName"), name) {
			return newError(http.StatusConflict, "ErrorFolderExists",
				"A folder with the specified name already exists., Could not create folder '%s'.", name)
		}
	}
	return nil
}

func dropContactFoldersBelow(t *tx, box *mailbox, e *entity) {
	for _, f := range contactFoldersIn(box, e.Key) {
		dropContactFoldersBelow(t, box, f)
		t.removeEntity(box, f)
	}
}
