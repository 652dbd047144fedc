package sandbox

// Whom a group takes mail from and whom not: acceptedSenders and rejectedSenders,
// lists of references to people and groups. Adding takes a body with @odata.id,
// removing an address in $id; nobody is twice in a list or in both.
// https://learn.microsoft.com/graph/api/group-post-acceptedsenders
//
// Left out: that posts of others are refused.

import (
	"net/http"
	"net/url"
	"strings"
)

func senderRoutes() []route {
	var routes []route
	for _, s := range []senderList{{"acceptedSender", "rejectedSender"}, {"rejectedSender", "acceptedSender"}} {
		at := "/groups/{group-id}/" + s.kind + "s"
		routes = append(routes,
			route{method: "GET", path: at, handle: s.list},
			route{method: "POST", path: at + "/$ref", handle: s.add},
			route{method: "DELETE", path: at + "/$ref", handle: s.remove},
		)
	}
	return routes
}

// senderList is one of the two lists.
type senderList struct{ kind, other string }

// referred finds the person or group that an address such as
// https://graph.microsoft.com/v1.0/users/{id} names. It needs the lock.
func (st *state) referred(address string) (*mailbox, error) {
	bad := newError(http.StatusBadRequest, "Request_BadRequest", "The reference '%s' is not the address of a user or group.", shorten(address, 100))
	u, err := url.Parse(address)
	if err != nil || address == "" {
		return nil, bad
	}
	segs := strings.Split(strings.Trim(strings.TrimPrefix(u.Path, "/v1.0"), "/"), "/")
	if len(segs) != 2 {
		return nil, bad
	}
	var box *mailbox
	switch strings.ToLower(segs[0]) {
	case "users":
		box = st.mailboxNamed(segs[1])
	case "groups":
		box = st.groupNamed(segs[1])
	case "directoryobjects":
		if box = st.mailboxNamed(segs[1]); box == nil {
			box = st.groupNamed(segs[1])
		}
	default:
		return nil, bad
	}
	if box == nil {
		return nil, errNoResource(segs[1])
	}
	return box, nil
}

func (box *mailbox) sender(kind, id string) *entity {
	return box.entities[box.names[kind+" "+strings.ToLower(id)]]
}

func (s senderList) list(c *call) (*Answer, error) {
	b := append(c.directoryMetadata("directoryObjects"), `,"value":[`...)
	c.read(func(st *state) {
		n := 0
		for _, ref := range c.box.in(0, s.kind) {
			box := st.byName[strings.ToLower(ref.ID)]
			if box == nil {
				continue // removed meanwhile
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			if user := st.userNamed(box.ID); user != nil {
				b = appendJSON(b, c.object(userResource(), asDirectoryObject(user), query{}))
				continue
			}
			b = appendJSON(b, map[string]any{"@odata.type": "#microsoft.graph.group", "id": box.ID, "displayName": box.Name(), "mail": box.UPN})
		}
	})
	return c.jsonAnswer(http.StatusOK, append(b, "]}"...)), nil
}

func (s senderList) add(c *call) (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	ref, _ := body["@odata.id"].(string)
	for name := range body {
		if name != "@odata.id" {
			return nil, newError(http.StatusBadRequest, "Request_BadRequest", "The property '%s' is not expected in a reference.", name)
		}
	}
	err = c.update(func(t *tx) error {
		box, err := t.referred(ref)
		switch {
		case err != nil:
			return err
		case c.box.sender(s.kind, box.ID) != nil:
			return newError(http.StatusBadRequest, "Request_BadRequest", "One or more added object references already exist for the following modified properties: '%ss'.", s.kind)
		case c.box.sender(s.other, box.ID) != nil:
			return newError(http.StatusBadRequest, "Request_BadRequest", "The same user or group cannot be in acceptedSenders and rejectedSenders.")
		}
		e := newEntity(typeNamed(s.kind))
		e.ID = box.ID
		t.addEntity(c.box, 0, e)
		t.noteEntity(c, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

func (s senderList) remove(c *call) (*Answer, error) {
	err := c.update(func(t *tx) error {
		box, err := t.referred(c.query.ref)
		if err != nil {
			return err
		}
		e := c.box.sender(s.kind, box.ID)
		if e == nil {
			return errNoResource(box.ID)
		}
		t.removeEntity(c.box, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}
