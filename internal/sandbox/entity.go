package sandbox

// Entities: everything but messages and mail folders, which have a form of their
// own for speed. An entity is a type (types.go), an owner mailbox, a place in it
// and its properties as JSON values. Entities are never changed in place: a write
// stores another copy.

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

type entity struct {
	Key  uint64 `json:"key"`
	Type string `json:"type"`
	// In is the key of what it lies in: a contact folder, a calendar, the item of
	// an attachment or extension; 0 is the mailbox itself.
	In   uint64 `json:"in,omitempty"`
	Gen  uint32 `json:"gen,omitempty"`  // moves so far
	Seq  int64  `json:"seq"`            // of the last write; also the change key
	Born int64  `json:"born"`           // of the write that put it into its place
	ID   string `json:"id,omitempty"`   // where it is not made from the key
	Mark string `json:"mark,omitempty"` // what the sandbox knows it by: "default", "wellknown:…"

	Created  int64 `json:"created"` // Unix seconds
	Modified int64 `json:"modified"`

	// Props are the stored properties by name, in the form that checkValue gives.
	Props map[string]any `json:"props,omitempty"`
	// Hidden is what the sandbox keeps for itself.
	Hidden map[string]any `json:"hidden,omitempty"`
	// Content is what $value answers: a photo, a file. It is never changed.
	Content []byte `json:"content,omitempty"`

	Single []extendedProperty `json:"single,omitempty"`
	Multi  []multiProperty    `json:"multi,omitempty"`

	// Touched says at which write a property last changed, since Born.
	Touched map[string]int64 `json:"touched,omitempty"`
}

// multiProperty is a multi-value extended property.
type multiProperty struct {
	ID    string   `json:"id"`
	Value []string `json:"value"`
}

// text returns a property that is a text, or "".
func (e *entity) text(name string) string {
	s, _ := e.Props[name].(string)
	return s
}

// flag returns a property that is a Boolean.
func (e *entity) flag(name string) bool {
	v, _ := e.Props[name].(bool)
	return v
}

// clone is a copy whose properties may be set. Values inside are shared and must
// be replaced, not changed.
func (e *entity) clone() *entity {
	c := *e
	c.Props, c.Hidden = maps.Clone(e.Props), maps.Clone(e.Hidden)
	if c.Props == nil {
		c.Props = map[string]any{}
	}
	if c.Hidden == nil {
		c.Hidden = map[string]any{}
	}
	return &c
}

// spot is a place where entities of one type lie.
type spot struct {
	in   uint64
	kind string
}

// collection is what lies in one place, in the order in which it came there.
type collection struct {
	items []*entity // ascending by Born
	log   []change  // ascending by seq, for delta
	dead  int
}

type entityStore struct {
	entities map[uint64]*entity
	spots    map[spot]*collection
	below    map[uint64][]string // the types that lie in an entity or folder
	names    map[string]uint64   // by type and id, where the id is not made from the key
	marks    map[string]uint64   // by type and mark
}

func newEntityStore() entityStore {
	return entityStore{
		entities: map[uint64]*entity{}, spots: map[spot]*collection{}, below: map[uint64][]string{},
		names: map[string]uint64{}, marks: map[string]uint64{},
	}
}

// in lists what lies in a place; the slice must not be changed.
func (s *entityStore) in(parent uint64, kind string) []*entity {
	if c := s.spots[spot{parent, kind}]; c != nil {
		return c.items
	}
	return nil
}

// all lists every entity of a type in the mailbox, oldest first.
func (s *entityStore) all(kind string) []*entity {
	var list []*entity
	for at, c := range s.spots {
		if at.kind == kind {
			list = append(list, c.items...)
		}
	}
	slices.SortFunc(list, func(a, b *entity) int { return cmp.Compare(a.Key, b.Key) })
	return list
}

// marked finds the entity of a type that the sandbox knows by a mark, or nil.
func (s *entityStore) marked(kind, mark string) *entity { return s.entities[s.marks[kind+" "+mark]] }

func (s *entityStore) collection(at spot) *collection {
	c := s.spots[at]
	if c == nil {
		c = &collection{}
		s.spots[at] = c
		if !slices.Contains(s.below[at.in], at.kind) {
			s.below[at.in] = append(s.below[at.in], at.kind)
		}
	}
	return c
}

func compareBorn(a, b *entity) int { return cmp.Compare(a.Born, b.Born) }

// putEntity stores an entity, new or changed, and keeps the change logs.
func (s *entityStore) putEntity(e *entity) {
	c := s.collection(spot{e.In, e.Type})
	old := s.entities[e.Key]
	s.entities[e.Key] = e
	if e.ID != "" && typeNamed(e.Type).ids != idsLocal {
		s.names[e.Type+" "+strings.ToLower(e.ID)] = e.Key
	}
	if e.Mark != "" {
		s.marks[e.Type+" "+e.Mark] = e.Key
	}
	if old != nil && old.In != e.In {
		s.collection(spot{old.In, old.Type}).take(old, e.Seq)
		old = nil
	}
	i, found := slices.BinarySearchFunc(c.items, e, compareBorn)
	switch {
	case found:
		c.items[i] = e
	default:
		c.items = slices.Insert(c.items, i, e)
	}
	if old != nil {
		c.dead++
	}
	c.log = append(c.log, change{Seq: e.Seq, Key: e.Key})
	c.tidy(s)
}

// dropEntity removes an entity for good. What lies in it must be gone already.
func (s *entityStore) dropEntity(key uint64, seq int64) {
	e := s.entities[key]
	if e == nil {
		return
	}
	delete(s.entities, key)
	delete(s.names, e.Type+" "+strings.ToLower(e.ID))
	delete(s.marks, e.Type+" "+e.Mark)
	s.collection(spot{e.In, e.Type}).take(e, seq)
}

func (c *collection) take(e *entity, seq int64) {
	if i, found := slices.BinarySearchFunc(c.items, e, compareBorn); found {
		c.items = slices.Delete(c.items, i, i+1)
	}
	c.dead++
	c.log = append(c.log, change{Seq: seq, Key: e.Key, Gone: true, Gen: e.Gen, Born: e.Born, ID: e.ID})
}

// tidy drops replaced entries once they are the greater part.
func (c *collection) tidy(s *entityStore) {
	if c.dead < 1024 || c.dead < len(c.log)/2 {
		return
	}
	c.log = slices.DeleteFunc(c.log, func(ch change) bool { return !ch.Gone && !s.current(ch) })
	c.dead = 0
}

func (s *entityStore) current(c change) bool {
	e := s.entities[c.Key]
	return e != nil && e.Seq == c.Seq
}

// newEntity makes an entity with the initial values of its type. It is stored by
// addEntity.
func newEntity(t *edmType) *entity {
	e := &entity{Type: t.name, Props: map[string]any{}, Hidden: map[string]any{}}
	for _, f := range t.fields {
		if f.has {
			e.Props[f.name] = f.initial
		}
	}
	return e
}

// addEntity stores a new entity in a place.
func (t *tx) addEntity(box *mailbox, in uint64, e *entity) {
	e.Key, e.In, e.Gen = t.newKey(), in, 0
	e.Seq = t.nextSeq()
	e.Born = e.Seq
	if e.Created == 0 {
		e.Created = t.now
	}
	e.Modified = t.now
	if typeNamed(e.Type).ids == idsGUID && e.ID == "" {
		e.ID = newGUID()
	}
	t.do(record{Box: box.ID, Entity: e})
}

// saveEntity stores a changed copy in place of the entity with its key. touched
// are the properties that a partial delta tells of. An In other than before is a
// move.
func (t *tx) saveEntity(box *mailbox, e *entity, touched ...string) {
	old := box.entities[e.Key]
	e.Seq, e.Modified = t.nextSeq(), t.now
	if old.In != e.In {
		e.Born, e.Touched = e.Seq, nil
		e.Gen++
	} else if len(touched) > 0 {
		seen := make(map[string]int64, len(old.Touched)+len(touched))
		maps.Copy(seen, old.Touched)
		for _, name := range touched {
			seen[name] = e.Seq
		}
		e.Touched = seen
	}
	t.do(record{Box: box.ID, Entity: e})
}

// removeEntity drops an entity and all that lies in it.
func (t *tx) removeEntity(box *mailbox, e *entity) {
	t.removeBelow(box, e.Key)
	t.do(record{Box: box.ID, NoEntity: &dropRecord{Key: e.Key, Seq: t.nextSeq()}})
}

// removeBelow drops all entities that lie in an object, such as the extensions
// of a message.
func (t *tx) removeBelow(box *mailbox, key uint64) {
	for _, kind := range slices.Clone(box.below[key]) {
		for _, child := range slices.Clone(box.in(key, kind)) {
			t.removeEntity(box, child)
		}
	}
}

// idOf is how the request sees an entity's id.
func (c *call) idOf(e *entity) string { return entityID(c.box, e, c.prefer.immutable) }

func entityID(box *mailbox, e *entity, immutable bool) string {
	switch {
	case e.ID != "":
		return e.ID
	case typeNamed(e.Type).ids != idsItem:
		return makeID(idFolder, box.ID, e.Key, 0)
	case immutable:
		return makeID(idImmutable, box.ID, e.Key, 0)
	}
	return makeID(idOrdinary, box.ID, e.Key, e.Gen)
}

// entityNamed finds an entity of a type by its id, anywhere in the mailbox. It
// needs the lock.
func (c *call) entityNamed(kind, name string) (*entity, error) {
	style := typeNamed(kind).ids
	id, ok := parseID(name)
	if !ok {
		if e := c.box.entities[c.box.names[kind+" "+strings.ToLower(name)]]; e != nil {
			return e, nil
		}
		if style == idsGUID {
			return nil, errItemNotFound()
		}
		return nil, errIDMalformed()
	}
	e := c.box.entities[id.key]
	if e == nil || e.Type != kind || id.mailbox != c.box.ID || e.ID != "" {
		return nil, errItemNotFound()
	}
	switch id.kind {
	case idOrdinary:
		if id.gen != e.Gen {
			return nil, errItemNotFound()
		}
	case idFolder:
		if style == idsItem {
			return nil, errIDMalformed()
		}
	}
	return e, nil
}

// entityIn is entityNamed for one that must lie in a place.
func (c *call) entityIn(parent uint64, kind, name string) (*entity, error) {
	e, err := c.entityNamed(kind, name)
	if err == nil && e.In != parent {
		return nil, errItemNotFound()
	}
	return e, err
}

// clock writes a Unix time as Graph does.
func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
