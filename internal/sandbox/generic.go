package sandbox

// The generic store: every documented template that no hand has modelled. Where a
// thing lies and what is done with it is read off the template, what it is made of
// is in types/*.txt, and the status of the answer is the documented one.
//
//	…/recurrences         GET lists, POST creates
//	…/recurrences/{id}    GET, PATCH, PUT (all properties anew), DELETE
//	…/workHours           a thing that is always there: GET, PATCH
//	…/{id}/$value         GET of the bytes it was created with
//	anything else         an action: the body is read, nothing is done
//
// Things lie in the last one that the template names before them, else in the
// mailbox, the group or the directory; all that it names must be there.
//
// Left out: what an action would do, rules between properties, $expand.

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// generic is one documented template.
type generic struct {
	resource
	op     *operation
	within []string // the parameters that lead to the place, outermost first
}

// genericHandler answers an operation on one of its templates.
func genericHandler(op *operation, path string) func(*call) (*Answer, error) {
	if typeTable()[op.Type] == nil && op.Type != "" {
		return func(*call) (*Answer, error) { return nil, errNotModelled(op.ID) }
	}
	g := newGeneric(op, path)
	last := path[strings.LastIndexByte(path, '/')+1:]
	verb := op.ID[strings.LastIndexByte(op.ID, '.')+1:]
	switch {
	case op.Type == "", op.Method == http.MethodPost && !strings.HasPrefix(verb, "create"):
		return g.action
	case op.Method == http.MethodPost:
		g.createStatus = op.status(http.StatusCreated)
		return g.create
	case op.Method == http.MethodGet && op.Collection:
		return g.list
	case last == "$value":
		return g.value
	case op.Method == http.MethodGet:
		return g.get
	case op.Method == http.MethodDelete:
		return g.delete
	case strings.HasPrefix(last, "{"):
		return g.write
	}
	return g.writeOnly
}

// status is the documented status, or what is usual.
func (o *operation) status(usual int) int {
	if len(o.Success) > 0 {
		return o.Success[0]
	}
	return usual
}

func newGeneric(op *operation, path string) *generic {
	g := &generic{op: op}
	g.kind = op.Type
	for seg := range strings.SplitSeq(strings.TrimSuffix(path, "/$value"), "/") {
		if name, ok := strings.CutPrefix(seg, "{"); ok {
			g.within = append(g.within, strings.TrimRight(name, "0123456789}"))
		}
	}
	g.within = slices.DeleteFunc(g.within, func(p string) bool { return p == "user-id" || p == "group-id" })
	if strings.HasSuffix(strings.TrimSuffix(path, "/$value"), "}") && len(g.within) > 0 && op.Type != "" {
		g.param = g.within[len(g.within)-1]
		g.within = g.within[:len(g.within)-1]
		g.set = setOf(path)
	}
	g.place = g.container
	if g.param == "" && !op.Collection {
		g.find = g.only
	}
	key, named := keyProperties[g.kind]
	if named {
		g.creating = func(c *call, _ *tx, e *entity, _ map[string]any) error {
			e.ID = e.text(key)
			if at, err := g.container(c); err != nil || c.entityHeld(at, e) == nil {
				return err
			}
			return newError(http.StatusConflict, "ErrorItemSave", "There is one with this %s already.", key)
		}
		if g.param != "" {
			g.find = g.keyed
		}
	}
	return g
}

// keyProperties are the types whose id a client chooses.
var keyProperties = map[string]string{"checkInClaim": "calendarEventId"}

// entityHeld is the one of the type in a place with the id of another, or nil.
func (c *call) entityHeld(at uint64, e *entity) *entity {
	for _, held := range c.box.in(at, e.Type) {
		if held.ID == e.ID {
			return held
		}
	}
	return nil
}

// keyed finds one by the id that a client has chosen, whatever it looks like.
func (g *generic) keyed(c *call) (*entity, error) {
	at, err := g.container(c)
	if err != nil {
		return nil, err
	}
	if e := c.entityHeld(at, &entity{Type: g.kind, ID: c.params[g.param]}); e != nil {
		return e, nil
	}
	return nil, errItemNotFound()
}

// setOf is the plain segment before the last parameter.
func setOf(path string) string {
	segs := strings.Split(path, "/")
	for i, seg := range slices.Backward(segs) {
		if i+1 < len(segs) && strings.HasPrefix(segs[i+1], "{") {
			return seg
		}
	}
	return ""
}

// container finds what the path names before the place, and its key.
func (g *generic) container(c *call) (uint64, error) {
	at := uint64(0)
	for _, param := range g.within {
		e, err := c.entityAt(at, param)
		if err != nil {
			return 0, err
		}
		at = e.Key
	}
	return at, nil
}

// entityAt finds the entity that a parameter such as place-id names, in a place.
func (c *call) entityAt(at uint64, param string) (*entity, error) {
	kind, _, _ := strings.Cut(param, "-")
	if kind == "place" {
		return c.placeOf()
	}
	return c.entityIn(at, kind, c.params[param])
}

// only finds the one thing of its type in the place. One that nobody has written
// to is as it is at first.
func (g *generic) only(c *call) (*entity, error) {
	at, err := g.container(c)
	if err != nil {
		return nil, err
	}
	if list := c.box.in(at, g.kind); len(list) > 0 {
		return list[0], nil
	}
	e := newEntity(g.typ())
	e.In, e.ID = at, c.box.ID
	return e, nil
}

// writeOnly changes the one thing of its type in a place.
func (g *generic) writeOnly(c *call) (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		old, err := g.only(c)
		if err != nil {
			return err
		}
		fresh := old.clone()
		touched, err := fresh.write(g.typ(), body, false)
		if err != nil {
			return err
		}
		if old.Key == 0 {
			t.addEntity(c.box, old.In, fresh)
		} else {
			t.saveEntity(c.box, fresh, touched...)
		}
		a, err = g.answer(c, fresh)
		return err
	})
	return a, err
}

// write is PATCH, which changes what the body names, and PUT, which sets the rest
// to what it is at first.
func (g *generic) write(c *call) (*Answer, error) {
	if g.op.Method == http.MethodPatch {
		return g.update(c)
	}
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		old, err := g.one(c)
		if err != nil {
			return err
		}
		fresh := old.clone()
		fresh.Props = newEntity(g.typ()).Props
		touched, err := fresh.write(g.typ(), body, true)
		if err != nil {
			return err
		}
		t.saveEntity(c.box, fresh, touched...)
		a, err = g.answer(c, fresh)
		return err
	})
	return a, err
}

// answer shows an entity after a write, where the status leaves room for it.
func (g *generic) answer(c *call, e *entity) (*Answer, error) {
	status := g.op.status(http.StatusOK)
	if status == http.StatusNoContent {
		return &Answer{Status: status}, nil
	}
	v, err := c.entityViewOf(&g.resource, nil, "")
	if err != nil {
		return nil, err
	}
	return c.oneEntity(status, v, c.box.entities[e.Key]), nil
}

// value answers the bytes of a thing.
func (g *generic) value(c *call) (*Answer, error) {
	var content []byte
	var err error
	c.read(func(*state) {
		var e *entity
		if e, err = g.one(c); err == nil {
			content = e.Content
		}
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"application/octet-stream"}}, Body: content}, nil
}

// action answers an action without a model: what it is about must be there, and a
// body must be an object.
func (g *generic) action(c *call) (*Answer, error) {
	if len(c.body) > 0 {
		if _, err := c.readObject(); err != nil {
			return nil, err
		}
	}
	var err error
	c.read(func(*state) { _, err = g.container(c) })
	if err != nil {
		return nil, err
	}
	status := g.op.status(http.StatusNoContent)
	if status == http.StatusNoContent || status == http.StatusAccepted {
		return &Answer{Status: status}, nil
	}
	return c.jsonAnswer(status, []byte(cmp.Or(emptyAnswer(g.op.Collection), "{}"))), nil
}

func emptyAnswer(collection bool) string {
	if collection {
		return `{"value":[]}`
	}
	return ""
}
