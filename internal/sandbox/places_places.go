package sandbox

// Places of the tenant: buildings, floors, sections, rooms, workspaces, desks and
// room lists. Modelled: lists by type (/places/microsoft.graph.room), the rooms and
// workspaces of a room list, get, create (@odata.type says which type), update,
// delete, descendants; an id or a mail address in the path; what lies below what.
// Check-ins are in the generic store.
// https://learn.microsoft.com/graph/api/resources/place
//
// Left out: rules about which property a kind of desk or workspace has, mailboxes
// behind rooms, the check of who may manage places.

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// placeKinds are the types, and which of them something may lie in.
// https://learn.microsoft.com/graph/api/place-post
var placeKinds = map[string][]string{
	"building":  nil,
	"roomList":  nil,
	"floor":     {"building"},
	"section":   {"floor"},
	"room":      {"building", "floor", "section"},
	"workspace": {"building", "floor", "section"},
	"desk":      {"floor", "section"},
}

func placeResource(kind string) *resource {
	return &resource{
		kind: kind, set: "places",
		show: map[string]show{"placeId": func(c *call, e *entity) any { return c.idOf(e) }},
		scan: func(c *call) ([]*entity, error) { return c.box.all(kind), nil },
		find: (*call).placeOf,
	}
}

func placeRoutes() []route {
	routes := []route{
		{method: "POST", path: "/places", handle: (*call).createPlace},
		{method: "GET", path: "/places/{place-id}", handle: (*call).getPlace},
		{method: "PATCH", path: "/places/{place-id}", handle: (*call).updatePlace},
		{method: "DELETE", path: "/places/{place-id}", handle: (*call).deletePlace},
		{method: "GET", path: "/places/{place-id}/descendants", handle: (*call).listDescendants},
		{method: "GET", path: "/places/{place-id}/microsoft.graph.roomList/rooms", handle: listed("room").listPlaces},
		{method: "GET", path: "/places/{place-id}/microsoft.graph.roomList/workspaces", handle: listed("workspace").listPlaces, as: "places.roomList.listRooms"},
	}
	for _, kind := range sortedPlaceKinds() {
		routes = append(routes,
			route{method: "GET", path: "/places/microsoft.graph." + kind, handle: placeResource(kind).listPlaces, as: "places.place.list"},
			route{method: "GET", path: "/places/{place-id}/graph." + kind, handle: (*call).getPlace, as: "places.place.get"},
		)
	}
	return routes
}

func sortedPlaceKinds() []string {
	kinds := make([]string, 0, len(placeKinds))
	for kind := range placeKinds {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// placeKind is the type that an @odata.type names, or "".
func placeKind(name string) string {
	kind := strings.TrimPrefix(strings.TrimPrefix(name, "#"), "microsoft.graph.")
	if _, ok := placeKinds[kind]; !ok {
		return ""
	}
	return kind
}

// listed are the places of a room list.
func listed(kind string) *resource {
	r := placeResource(kind)
	r.scan = func(c *call) ([]*entity, error) {
		list, err := c.placeOf()
		if err != nil {
			return nil, err
		}
		if list.Type != "roomList" {
			return nil, errItemNotFound()
		}
		all := c.box.all(kind)
		return slices.DeleteFunc(all, func(e *entity) bool { return e.Hidden["list"] != list.ID }), nil
	}
	return r
}

// listPlaces lists a page of 100, unless asked for another size.
// https://learn.microsoft.com/graph/api/place-list
func (r *resource) listPlaces(c *call) (*Answer, error) {
	if c.query.top == 0 && c.prefer.pageSize == 0 {
		c.query.top = 100
	}
	return r.list(c)
}

// placeOf finds the place of the path by its id or mail address, and of the type
// that a cast in the path demands.
func (c *call) placeOf() (*entity, error) {
	name := c.params["place-id"]
	cast := placeKind(c.route.path[strings.LastIndexByte(c.route.path, '.')+1:])
	for _, kind := range sortedPlaceKinds() {
		for _, e := range c.box.all(kind) {
			if strings.EqualFold(e.ID, name) || strings.EqualFold(e.text("emailAddress"), name) {
				if cast != "" && cast != kind {
					return nil, errItemNotFound()
				}
				return e, nil
			}
		}
	}
	return nil, errItemNotFound()
}

// onePlace answers with a place, which says of what type it is.
func (c *call) onePlace(status int, e *entity) (*Answer, error) {
	v, err := c.entityView(placeResource(e.Type))
	if err != nil {
		return nil, err
	}
	shown := *e
	shown.Hidden = map[string]any{"@odata.type": "#microsoft.graph." + e.Type}
	return c.oneEntity(status, v, &shown), nil
}

func (c *call) getPlace() (*Answer, error) {
	var a *Answer
	var err error
	c.read(func(*state) {
		var e *entity
		if e, err = c.placeOf(); err == nil {
			a, err = c.onePlace(http.StatusOK, e)
		}
	})
	return a, err
}

func (c *call) createPlace() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	name, _ := body["@odata.type"].(string)
	kind := placeKind(name)
	if kind == "" {
		return nil, errBody("A type named '%s' could not be resolved by the model. When a model is available, each type name must resolve to a valid type.", name)
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		r := placeResource(kind)
		r.creating = func(c *call, _ *tx, e *entity, _ map[string]any) error { return c.checkParent(e) }
		e, err := r.make(c, t, body)
		if err != nil {
			return err
		}
		a, err = c.onePlace(http.StatusCreated, c.box.entities[e.Key])
		return err
	})
	return a, err
}

// checkParent refuses a place that does not lie where its type may.
func (c *call) checkParent(e *entity) error {
	id := e.text("parentId")
	if id == "" {
		return nil
	}
	for _, kind := range placeKinds[e.Type] {
		if c.box.entities[c.box.names[kind+" "+strings.ToLower(id)]] != nil {
			return nil
		}
	}
	return newError(http.StatusBadRequest, "InvalidRequest", "The parentId '%s' is no place in which a %s may lie.", id, e.Type)
}

func (c *call) updatePlace() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		old, err := c.placeOf()
		if err != nil {
			return err
		}
		if name, ok := body["@odata.type"].(string); ok && placeKind(name) != old.Type {
			return errBody("The type '%s' of the payload is not that of the place.", name)
		}
		fresh := old.clone()
		touched, err := fresh.write(typeNamed(old.Type), body, false)
		if err != nil {
			return err
		}
		if err := c.checkParent(fresh); err != nil {
			return err
		}
		t.saveEntity(c.box, fresh, touched...)
		a, err = c.onePlace(http.StatusOK, c.box.entities[fresh.Key])
		return err
	})
	return a, err
}

func (c *call) deletePlace() (*Answer, error) {
	err := c.update(func(t *tx) error {
		e, err := c.placeOf()
		if err != nil {
			return err
		}
		if below := c.placesBelow(e); len(below) > 0 {
			return newError(http.StatusBadRequest, "InvalidRequest", "The place has %d places in it and cannot be deleted.", len(below))
		}
		t.removeEntity(c.box, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

// placesBelow are those in a place, at any depth, nearest first.
func (c *call) placesBelow(e *entity) []*entity {
	var list []*entity
	for _, kind := range sortedPlaceKinds() {
		for _, o := range c.box.all(kind) {
			if strings.EqualFold(o.text("parentId"), e.ID) {
				list = append(list, o)
			}
		}
	}
	for _, o := range slices.Clone(list) {
		list = append(list, c.placesBelow(o)...)
	}
	return list
}

// listDescendants lists what is below a place, of all types.
func (c *call) listDescendants() (*Answer, error) {
	var b []byte
	var err error
	c.read(func(*state) {
		var e *entity
		if e, err = c.placeOf(); err != nil {
			return
		}
		values := []any{}
		for _, o := range c.placesBelow(e) {
			shown := *o
			shown.Hidden = map[string]any{"@odata.type": "#microsoft.graph." + o.Type}
			values = append(values, c.object(placeResource(o.Type), &shown, query{}))
		}
		b = appendJSON(nil, map[string]any{"@odata.context": c.base + "/v1.0/$metadata#Collection(microsoft.graph.place)", "value": values})
	})
	if err != nil {
		return nil, err
	}
	return c.jsonAnswer(http.StatusOK, b), nil
}

// furnishPlaces gives the tenant a building with a floor, two rooms, a workspace
// and a list of the rooms.
func furnishPlaces(t *tx, box *mailbox) {
	if box.kind != kindDirectory || box.marked("building", "first") != nil {
		return
	}
	add := func(kind, name string, props map[string]any) *entity {
		e := newEntity(typeNamed(kind))
		e.ID = seededGUID(t.Seed, "place "+name)
		e.Props["displayName"] = name
		maps.Copy(e.Props, props)
		if kind == "building" {
			e.Mark = "first"
		}
		t.addEntity(box, 0, e)
		return e
	}
	house := add("building", "Building 1", map[string]any{"address": map[string]any{
		"street": "1 Harbour Road", "city": "Porto Largo", "state": "", "postalCode": "1000", "countryOrRegion": "Contoso",
	}})
	floor := add("floor", "Building 1, ground floor", map[string]any{"parentId": house.ID, "sortOrder": float64(0)})
	list := add("roomList", "Building 1 rooms", map[string]any{"emailAddress": "bldg1@" + DefaultDomain})
	for i, name := range []string{"Anchor", "Beacon"} {
		room := add("room", name, map[string]any{
			"emailAddress": strings.ToLower(name) + "@" + DefaultDomain, "building": "Building 1", "floorNumber": float64(0),
			"floorLabel": "G", "capacity": float64(4 * (i + 1)), "parentId": floor.ID, "nickname": name,
		}).clone()
		room.Hidden["list"] = list.ID
		t.saveEntity(box, room)
	}
	add("workspace", "Quiet corner", map[string]any{
		"emailAddress": "quiet@" + DefaultDomain, "building": "Building 1", "capacity": float64(6), "parentId": floor.ID, "nickname": "Quiet",
	})
}
