package sandbox

// mailFolder: move and copy, each with everything below. A moved folder keeps its
// id, and so do its messages; a copy has new ones throughout.
// https://learn.microsoft.com/graph/api/mailfolder-move
// https://learn.microsoft.com/graph/api/mailfolder-copy

import (
	"net/http"
	"slices"
)

// placeFolder puts a folder below another; r is its record as it shall be.
func (t *tx) placeFolder(box *mailbox, r folderRecord, parent uint64) {
	r.Parent, r.Seq = parent, t.nextSeq()
	r.Placed = r.Seq
	t.do(record{Box: box.ID, Folder: &r})
}

// dropFolder removes a folder, what is in it and the folders below.
func (t *tx) dropFolder(box *mailbox, f *folder) {
	for _, sub := range box.foldersBelow(f.Key) {
		t.dropFolder(box, sub)
	}
	for _, m := range slices.Clone(f.byTime) {
		t.dropMessage(box, m)
	}
	t.do(record{Box: box.ID, NoFolder: f.Key, Seq: t.nextSeq()})
}

// destination reads the parameter of move and copy.
func (c *call) destination(action string) (string, error) {
	params, err := c.readParameters(action, "destinationId")
	if err != nil {
		return "", err
	}
	var id string
	if raw, ok := params["destinationId"]; !ok || readValue(raw, "Edm.String", &id) != nil || id == "" {
		return "", newError(http.StatusBadRequest, "ErrorInvalidRequest", "The parameter 'destinationId' is required.")
	}
	return id, nil
}

// carry finds the folder of the path and where it shall go.
func (c *call) carry(dest string) (f, to *folder, err error) {
	if f, err = c.folderAt(); err != nil {
		return nil, nil, err
	}
	if to, err = c.folderOf(dest); err != nil {
		return nil, nil, err
	}
	if err := refuseSearchFolder(to); err != nil {
		return nil, nil, err
	}
	if c.inside(to.Key, f) {
		return nil, nil, newError(http.StatusBadRequest, "ErrorMoveCopyFailed", "A folder cannot be put into itself or below itself.")
	}
	return f, to, c.free(to.Key, f.Name, f.Key)
}

func (c *call) moveFolder() (*Answer, error) {
	dest, err := c.destination("move")
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		f, to, err := c.carry(dest)
		if err != nil {
			return err
		}
		if f.WellKnown != "" {
			return newError(http.StatusForbidden, "ErrorMoveDistinguishedFolder", "Distinguished folders cannot be moved.")
		}
		if f.Parent != to.Key {
			t.placeFolder(c.box, f.folderRecord, to.Key)
		}
		a = c.oneFolder(http.StatusOK, c.wholeFolder(), f)
		return nil
	})
	return a, err
}

func (c *call) copyFolder() (*Answer, error) {
	dest, err := c.destination("copy")
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		f, to, err := c.carry(dest)
		if err != nil {
			return err
		}
		if f.Parent == to.Key { // its own name is there already
			return c.free(to.Key, f.Name, 0)
		}
		fresh := t.copyTree(c, f, to)
		a = c.oneFolder(http.StatusOK, c.wholeFolder(), fresh)
		return nil
	})
	return a, err
}

func (t *tx) copyTree(c *call, f, to *folder) *folder {
	fresh := t.makeFolder(c.box, to.Key, folderRecord{Name: f.Name, Hidden: f.Hidden, Search: f.Search, Single: f.Single, Multi: f.Multi})
	t.note(c, EffectCreated, nil, c.folderID(fresh.Key), "mailFolder")
	for _, m := range slices.Clone(f.byTime) {
		twin := t.duplicate(c.box, m, fresh.Key)
		t.note(c, EffectCreated, twin, makeID(idImmutable, c.box.ID, twin.Key, 0), "message")
	}
	for _, sub := range c.box.foldersBelow(f.Key) {
		t.copyTree(c, sub, fresh)
	}
	return fresh
}

// duplicate copies a message with what lies in it, such as attachments and
// extensions, into a folder.
func (t *tx) duplicate(box *mailbox, m *message, folder uint64) *message {
	twin := *m
	twin.Touched, twin.Waiting = nil, nil
	t.addMessage(box, folder, &twin)
	t.duplicateBelow(box, m.Key, twin.Key)
	return &twin
}

func (t *tx) duplicateBelow(box *mailbox, from, to uint64) {
	for _, kind := range slices.Clone(box.below[from]) {
		for _, e := range slices.Clone(box.in(from, kind)) {
			fresh := e.clone()
			fresh.Touched, fresh.Created, fresh.ID, fresh.Mark = nil, 0, "", ""
			t.addEntity(box, to, fresh)
			t.duplicateBelow(box, e.Key, fresh.Key)
		}
	}
}
