package sandbox

// The handlers that most resources share: list, get, create, update, delete over
// entities in a place. A resource says what is particular about it in hooks; what
// is more particular than that has a handler of its own.

import (
	"cmp"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// resource describes the entities that a group of routes is about. Hooks run with
// the lock held; each may be nil.
type resource struct {
	kind  string // the type's name in types/*.txt
	param string // the parameter of the path that names one, such as contact-id
	// set is how links and @odata.context name the collection. Default: the
	// last plain segment of the path.
	set string
	// place finds where the entities lie, from the path. Default: the mailbox.
	place func(c *call) (uint64, error)
	// find finds the one that the path names. Default: by param, in the place.
	find func(c *call) (*entity, error)
	// scan lists them. Default: what lies in the place, in the order of coming.
	scan func(c *call) ([]*entity, error)
	// order sorts a list without $orderby.
	order func(a, b *entity) int

	show   map[string]show
	expand map[string]func(c *call, e *entity, options query) any

	// creating checks and completes an entity before it is stored, created acts
	// when it is; likewise for the others. What checks must not change anything.
	creating func(c *call, t *tx, e *entity, body map[string]any) error
	created  func(c *call, t *tx, e *entity, body map[string]any) error
	updating func(c *call, t *tx, old, fresh *entity, body map[string]any) error
	updated  func(c *call, t *tx, old, fresh *entity, body map[string]any) error
	// deleting may refuse; remove acts in the place of dropping it for good.
	deleting func(c *call, t *tx, e *entity) error
	remove   func(c *call, t *tx, e *entity) error

	// told says which of the place's entities a delta tells of; nil: all. Of the
	// removed it tells in any case.
	told func(c *call, e *entity) bool

	createStatus int  // default 201
	noEffect     bool // creations are not in the ledger
}

func (r *resource) typ() *edmType { return typeNamed(r.kind) }

// routes are the five usual ones on a template such as ~/contacts.
func (r *resource) routes(at string) []route {
	one := at + "/{" + r.param + "}"
	return []route{
		{method: "GET", path: at, handle: r.list},
		{method: "POST", path: at, handle: r.create},
		{method: "GET", path: one, handle: r.get},
		{method: "PATCH", path: one, handle: r.update},
		{method: "DELETE", path: one, handle: r.delete},
	}
}

func (r *resource) in(c *call) (uint64, error) {
	if r.place == nil {
		return 0, nil
	}
	return r.place(c)
}

func (r *resource) items(c *call) ([]*entity, error) {
	if r.scan != nil {
		return r.scan(c)
	}
	at, err := r.in(c)
	if err != nil {
		return nil, err
	}
	return c.box.in(at, r.kind), nil
}

func (r *resource) one(c *call) (*entity, error) {
	if r.find != nil {
		return r.find(c)
	}
	at, err := r.in(c)
	if err != nil {
		return nil, err
	}
	return c.entityIn(at, r.kind, c.params[r.param])
}

// context is the value of @odata.context without its beginning.
func (r *resource) context(c *call) string {
	if r.set != "" {
		return r.set
	}
	segs := strings.Split(strings.TrimSuffix(c.route.path, "/{"+r.param+"}"), "/")
	return segs[len(segs)-1]
}

func (r *resource) list(c *call) (*Answer, error) {
	v, err := c.entityView(r)
	if err != nil {
		return nil, err
	}
	var a *Answer
	c.read(func(*state) {
		var items []*entity
		if items, err = r.items(c); err == nil {
			a, err = c.entityPage(v, items)
		}
	})
	return a, err
}

// entityPage filters, sorts and cuts a list as the query says. It needs the lock.
func (c *call) entityPage(v *entityView, items []*entity) (*Answer, error) {
	fields := c.entityFields(v.res)
	if err := c.refuseSearch(v.res); err != nil {
		return nil, err
	}
	f, err := parseFilter(c.query.filter, fields)
	if err != nil {
		return nil, err
	}
	for _, o := range c.query.orderby {
		if get, _ := fields.property(strings.ToLower(o.property)); get == nil {
			return nil, errParseURI("Could not find a property named '%s' on type 'Microsoft.OutlookServices.%s'.", o.property, v.typ.outlook)
		}
	}
	if f.test != nil {
		items = slices.DeleteFunc(slices.Clone(items), func(e *entity) bool { return !f.test(e) })
	}
	switch by := compareBy(c.query.orderby, fields); {
	case len(c.query.orderby) > 0:
		items = slices.SortedStableFunc(slices.Values(items), func(a, b *entity) int { return cmp.Or(by(a, b), cmp.Compare(a.Key, b.Key)) })
	case v.res.order != nil:
		items = slices.SortedStableFunc(slices.Values(items), v.res.order)
	}
	total := len(items)
	from := min(c.query.skip, total)
	to := min(from+c.pageSize(), total)
	b := appendString([]byte(`{"@odata.context":`), c.metadata(v.res.context(c)))
	if c.query.count {
		b = strconv.AppendInt(append(b, `,"@odata.count":`...), int64(total), 10)
	}
	b = append(b, `,"value":[`...)
	for i, e := range items[from:to] {
		if i > 0 {
			b = append(b, ',')
		}
		b = v.append(b, c, e, "")
	}
	b = append(b, ']')
	if to < total {
		b = appendString(append(b, `,"@odata.nextLink":`...), c.nextLink(to))
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}

func (r *resource) get(c *call) (*Answer, error) {
	v, err := c.entityView(r)
	if err != nil {
		return nil, err
	}
	var a *Answer
	c.read(func(*state) {
		var e *entity
		if e, err = r.one(c); err == nil {
			a = c.oneEntity(http.StatusOK, v, e)
		}
	})
	return a, err
}

// oneEntity answers with an entity. It needs the lock.
func (c *call) oneEntity(status int, v *entityView, e *entity) *Answer {
	set := v.res.context(c)
	head := string(appendString([]byte(`"@odata.context":`), c.metadata(set+"/$entity"))) + ","
	a := c.jsonAnswer(status, v.append(nil, c, e, head))
	if v.typ.etag {
		a.Header.Set("ETag", etag(e.Seq))
	}
	if status == http.StatusCreated {
		a.Header.Set("Location", c.base+strings.TrimSuffix(c.path, "/")+"('"+c.idOf(e)+"')")
	}
	return a
}

func (r *resource) create(c *call) (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		e, err := r.make(c, t, body)
		if err != nil {
			return err
		}
		v, err := c.entityViewOf(r, nil, withMade(r.typ(), body, c.query.expand))
		if err != nil {
			return err
		}
		a = c.oneEntity(cmp.Or(r.createStatus, http.StatusCreated), v, c.box.entities[e.Key])
		return nil
	})
	return a, err
}

// withMade adds to $expand what a body makes along with the item, so that the
// answer shows it. Extended properties are not shown unasked.
func withMade(t *edmType, body map[string]any, expand string) string {
	for _, name := range sortedKeys(body) {
		f := t.field(name)
		if f == nil || !f.nav || strings.HasSuffix(name, "ValueExtendedProperties") || strings.Contains(expand, name) {
			continue
		}
		if expand != "" {
			expand += ","
		}
		expand += name
	}
	return expand
}

// make checks a body and stores what it describes, with its open extensions.
func (r *resource) make(c *call, t *tx, body map[string]any) (*entity, error) {
	at, err := r.in(c)
	if err != nil {
		return nil, err
	}
	e := newEntity(r.typ())
	if _, err := e.write(r.typ(), body, true); err != nil {
		return nil, err
	}
	if r.creating != nil {
		if err := r.creating(c, t, e, body); err != nil {
			return nil, err
		}
	}
	extensions, err := readExtensions(body["extensions"])
	if err != nil {
		return nil, err
	}
	t.addEntity(c.box, at, e)
	t.putExtensions(c.box, e.Key, extensions)
	if !r.noEffect {
		t.noteEntity(c, e)
	}
	if r.created != nil {
		if err := r.created(c, t, e, body); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (r *resource) update(c *call) (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		old, err := r.one(c)
		if err != nil {
			return err
		}
		if err := c.matchesEntity(old); err != nil {
			return err
		}
		fresh := old.clone()
		touched, err := fresh.write(r.typ(), body, false)
		if err != nil {
			return err
		}
		if r.updating != nil {
			if err := r.updating(c, t, old, fresh, body); err != nil {
				return err
			}
		}
		t.saveEntity(c.box, fresh, append(touched, changedProps(old, fresh)...)...)
		if r.updated != nil {
			if err := r.updated(c, t, old, fresh, body); err != nil {
				return err
			}
		}
		v, err := c.entityViewOf(r, nil, "")
		if err != nil {
			return err
		}
		a = c.oneEntity(http.StatusOK, v, c.box.entities[fresh.Key])
		return nil
	})
	return a, err
}

// changedProps names what a hook has set or taken away, too.
func changedProps(old, fresh *entity) []string {
	var names []string
	for name, v := range fresh.Props {
		if !reflect.DeepEqual(v, old.Props[name]) {
			names = append(names, name)
		}
	}
	for name := range old.Props {
		if _, there := fresh.Props[name]; !there {
			names = append(names, name)
		}
	}
	return names
}

// matchesEntity checks If-Match where the type has a change key.
func (c *call) matchesEntity(e *entity) error {
	if !typeNamed(e.Type).etag {
		return nil
	}
	return c.matches(e.Seq)
}

func (r *resource) delete(c *call) (*Answer, error) { return r.erase(c, false) }

// permanentDelete drops the entity for good.
func (r *resource) permanentDelete(c *call) (*Answer, error) { return r.erase(c, true) }

func (r *resource) erase(c *call, forGood bool) (*Answer, error) {
	err := c.update(func(t *tx) error {
		e, err := r.one(c)
		if err != nil {
			return err
		}
		if err := c.matchesEntity(e); err != nil {
			return err
		}
		if r.deleting != nil {
			if err := r.deleting(c, t, e); err != nil {
				return err
			}
		}
		if r.remove != nil && !forGood {
			return r.remove(c, t, e)
		}
		t.removeEntity(c.box, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}
