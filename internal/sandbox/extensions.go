package sandbox

// Open extensions: named bags of properties on messages, events, contacts, To Do
// lists and tasks, and posts of groups. Made with the item (extensions in its
// body) or afterwards; named by extensionName or by the id, which is the name after
// Microsoft.OutlookServices.OpenTypeExtension. (microsoft.graph.openTypeExtension.
// is understood as well); found with $filter=Extensions/any(f:f/id eq '…').
// https://learn.microsoft.com/graph/api/resources/opentypeextension
//
// An update replaces everything: what the body does not name is gone. A POST of a
// name that is there answers 201 and merges, which is what people saw
// (github.com/microsoftgraph/msgraph-sdk-dotnet/issues/1541), so it is a safe retry.
// Values are primitive or lists of primitive values. Writing an extension gives the
// item another change key.
//
// Left out: extensions of users, groups and other directory objects, limits on
// number and size, schema extensions, the separation of one application's
// extensions from another's.

import (
	"net/http"
	"strings"
)

// extended is an item with extensions: its key, and how it gets a new change key.
type extended struct {
	key   uint64
	touch func(t *tx)
	// first makes the item into one that can have extensions; nil: it is one.
	first func(t *tx) uint64
}

func extendedEntity(find func(c *call) (*entity, error)) func(*call) (extended, error) {
	return func(c *call) (extended, error) {
		e, err := find(c)
		if err != nil {
			return extended{}, err
		}
		return extended{key: e.Key, touch: func(t *tx) { t.touch(c.box, e) }}, nil
	}
}

func extendedMessage(c *call) (extended, error) {
	m, err := c.messageOf()
	if err != nil {
		return extended{}, err
	}
	return extended{key: m.Key, touch: func(t *tx) {
		fresh := *m
		t.saveMessage(c.box, &fresh)
	}}, nil
}

// extendedEvent: a date of a series that is like the others has no extensions of
// its own; with the first it becomes an exception.
func extendedEvent(c *call) (extended, error) {
	e, err := c.eventOf()
	switch {
	case err != nil:
		return extended{}, err
	case isVirtual(e):
		return extended{touch: func(*tx) {}, first: func(t *tx) uint64 { return t.storeException(c.box, e.clone(), nil).Key }}, nil
	}
	return extended{key: e.Key, touch: func(t *tx) { t.touch(c.box, e) }}, nil
}

func extensionRoutes() []route {
	message := extensionOwner(extendedMessage)
	contact := extensionOwner(extendedEntity((*call).contactOf))
	event := extensionOwner(extendedEvent)
	post := extensionOwner(extendedEntity(postResource().one))
	list := extensionOwner(extendedEntity((*call).todoListOf))
	task := extensionOwner(extendedEntity((*call).todoTaskOf))
	var routes []route
	for _, r := range []struct {
		at    string
		owner extensionOwner
	}{
		{"~/messages/{message-id}", message},
		{"~/mailFolders/{mailFolder-id}/messages/{message-id}", message},
		{"~/events/{event-id}", event},
		{"~/calendar/events/{event-id}", event},
		{"~/calendars/{calendar-id}/events/{event-id}", event},
		{"/groups/{group-id}/events/{event-id}", event},
		{"/groups/{group-id}/threads/{conversationThread-id}/posts/{post-id}", post},
		{"/groups/{group-id}/conversations/{conversation-id}/threads/{conversationThread-id}/posts/{post-id}", post},
		{"~/contacts/{contact-id}", contact},
		{"~/contactFolders/{contactFolder-id}/contacts/{contact-id}", contact},
		{"~/todo/lists/{todoTaskList-id}", list},
		{"~/todo/lists/{todoTaskList-id}/tasks/{todoTask-id}", task},
	} {
		all, one := r.at+"/extensions", r.at+"/extensions/{extension-id}"
		routes = append(routes,
			route{method: "GET", path: all, handle: r.owner.list, as: "extensions.openExtension.get"},
			route{method: "POST", path: all, handle: r.owner.create, as: "extensions.openExtension.create"},
			route{method: "GET", path: one, handle: r.owner.get, as: "extensions.openExtension.get"},
			route{method: "PATCH", path: one, handle: r.owner.update, as: "extensions.openExtension.update"},
			route{method: "DELETE", path: one, handle: r.owner.delete, as: "extensions.openExtension.delete"},
		)
	}
	return routes
}

// extensionOwner finds the item that the path names.
type extensionOwner func(*call) (extended, error)

func (o extensionOwner) resource() *resource {
	place := func(c *call) (uint64, error) {
		item, err := o(c)
		return item.key, err
	}
	return &resource{
		kind: "openTypeExtension", param: "extension-id", set: "extensions", place: place, noEffect: true,
		find: func(c *call) (*entity, error) {
			key, err := place(c)
			if err != nil {
				return nil, err
			}
			if e := extensionOf(c.box, key, c.params["extension-id"]); e != nil {
				return e, nil
			}
			return nil, errItemNotFound()
		},
	}
}

// extensionOf finds an item's extension by name or id, or nil.
func extensionOf(box *mailbox, key uint64, name string) *entity {
	for _, e := range box.in(key, "openTypeExtension") {
		if strings.EqualFold(e.text("extensionName"), plainExtensionName(name)) {
			return e
		}
	}
	return nil
}

func (o extensionOwner) list(c *call) (*Answer, error) { return o.resource().list(c) }

func (o extensionOwner) get(c *call) (*Answer, error) { return o.resource().get(c) }

func (o extensionOwner) create(c *call) (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	if _, typed := body["@odata.type"]; !typed {
		return nil, errBody("The type 'microsoft.graph.extension' is abstract. The annotation '@odata.type' is required.")
	}
	made, err := readExtension(body)
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		item, err := o(c)
		if err != nil {
			return err
		}
		if item.first != nil {
			item.key = item.first(t)
		}
		key := t.putExtension(c.box, item.key, made)
		item.touch(t)
		v, err := c.entityViewOf(o.resource(), nil, "")
		if err != nil {
			return err
		}
		a = c.oneEntity(http.StatusCreated, v, c.box.entities[key])
		return nil
	})
	return a, err
}

func (o extensionOwner) update(c *call) (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	if err := checkExtension(body); err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		old, err := o.resource().one(c)
		if err != nil {
			return err
		}
		fresh := old.clone()
		fresh.Props = map[string]any{}
		if _, err := fresh.write(o.resource().typ(), body, false); err != nil {
			return err
		}
		fresh.Props["extensionName"] = old.text("extensionName") // the name stays
		t.saveEntity(c.box, fresh)
		item, err := o(c)
		if err != nil {
			return err
		}
		item.touch(t)
		v, err := c.entityViewOf(o.resource(), nil, "")
		if err != nil {
			return err
		}
		a = c.oneEntity(http.StatusOK, v, c.box.entities[fresh.Key])
		return nil
	})
	return a, err
}

func (o extensionOwner) delete(c *call) (*Answer, error) {
	err := c.update(func(t *tx) error {
		e, err := o.resource().one(c)
		if err != nil {
			return err
		}
		item, err := o(c)
		if err != nil {
			return err
		}
		t.removeEntity(c.box, e)
		item.touch(t)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}
