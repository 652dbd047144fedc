package sandbox

// Contacts, in the default folder and in folders at any depth. What Exchange fills
// in is filled in: the display name from the parts of the name, also when they
// change without it (https://learn.microsoft.com/graph/api/contact-update), the
// name of an e-mail address from the address, fileAs. GET /contacts lists the
// default folder; /contacts/{id} finds a contact in any folder.
// https://learn.microsoft.com/graph/api/resources/contact
//
// Exchange has room for three e-mail addresses and two business and home phones;
// more are refused with ErrorPropertyValidationFailure, which is how Outlook names
// such refusals elsewhere. The delta of /contacts (OpenAPI only) is that of the
// default folder. Left out: moving a contact by parentFolderId (it is ignored in
// bodies), Deleted Items (a deleted contact is gone), $search, and the properties
// primaryEmailAddress, secondaryEmailAddress and tertiaryEmailAddress, which
// Microsoft's own Go client does not know either.

import (
	"slices"
	"strings"
)

func contactsRoutes() []route {
	contacts, folders := contactResource(), contactFolderResource()
	routes := slices.Concat(
		contacts.routes("~/contacts"),
		contacts.routes("~/contactFolders/{contactFolder-id}/contacts"),
		folders.routes("~/contactFolders"),
		[]route{
			{method: "GET", path: "~/contactFolders/{contactFolder-id}/childFolders", handle: folders.list},
			{method: "POST", path: "~/contactFolders/{contactFolder-id}/childFolders", handle: folders.create},
			{method: "GET", path: "~/contactFolders/delta", handle: folders.delta},
			{method: "GET", path: "~/contactFolders/{contactFolder-id}/childFolders/delta", handle: folders.delta},
			{method: "POST", path: "~/contactFolders/{contactFolder-id}/permanentDelete", handle: folders.permanentDelete},
		},
	)
	for _, at := range []string{"~/contacts", "~/contactFolders/{contactFolder-id}/contacts"} {
		routes = append(routes,
			route{method: "GET", path: at + "/delta", handle: contacts.delta},
			route{method: "POST", path: at + "/{contact-id}/permanentDelete", handle: contacts.permanentDelete})
	}
	return routes
}

func contactResource() *resource {
	return &resource{
		kind: "contact", param: "contact-id", set: "contacts",
		place: (*call).contactFolderKey,
		find:  (*call).contactOf,
		show: map[string]show{"parentFolderId": func(c *call, e *entity) any {
			return c.idOf(c.box.entities[e.In])
		}},
		expand: map[string]func(*call, *entity, query) any{"photo": func(c *call, e *entity, _ query) any {
			return c.photoObject(e.Key)
		}},
		creating: func(_ *call, _ *tx, e *entity, _ map[string]any) error {
			return e.completeContact(nil)
		},
		updating: func(_ *call, _ *tx, _, fresh *entity, body map[string]any) error {
			return fresh.completeContact(body)
		},
	}
}

// contactOf finds the contact that the path names: in the folder that the path
// names, or in any. It needs the lock.
func (c *call) contactOf() (*entity, error) {
	name := c.params["contact-id"]
	if len(c.chain) == 0 {
		return c.entityNamed("contact", name)
	}
	in, err := c.contactFolderKey()
	if err != nil {
		return nil, err
	}
	return c.entityIn(in, "contact", name)
}

// nameParts are what a display name is made of, in its order.
var nameParts = []string{"title", "givenName", "middleName", "surname", "generation"}

// completeContact checks a contact that is being written and fills in what
// Exchange does. changed is the body of an update, nil at creation.
func (e *entity) completeContact(changed map[string]any) error {
	for name, most := range map[string]int{"emailAddresses": 3, "businessPhones": 2, "homePhones": 2} {
		if list, _ := e.Props[name].([]any); len(list) > most {
			return newError(400, "ErrorPropertyValidationFailure",
				"At least one property failed validation. The collection '%s' holds at most %d.", name, most)
		}
	}
	e.nameAddresses()
	given := func(name string) bool { _, ok := changed[name]; return ok }
	if changed == nil && e.text("displayName") == "" || !given("displayName") && slices.ContainsFunc(nameParts, given) {
		e.Props["displayName"] = e.fullName()
	}
	if changed == nil && e.text("fileAs") == "" {
		e.Props["fileAs"] = e.fileName()
	}
	return nil
}

// nameAddresses gives each e-mail address a name: the address, where it has none.
func (e *entity) nameAddresses() {
	list, _ := e.Props["emailAddresses"].([]any)
	named := make([]any, 0, len(list))
	for _, item := range list {
		have, _ := item.(map[string]any)
		address, _ := have["address"].(string)
		name, _ := have["name"].(string)
		if name == "" {
			name = address
		}
		named = append(named, map[string]any{"name": name, "address": address})
	}
	e.Props["emailAddresses"] = named
}

func (e *entity) fullName() string {
	var parts []string
	for _, name := range nameParts {
		if part := strings.TrimSpace(e.text(name)); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, " ")
}

// fileName is how a contact is sorted: the family name first.
func (e *entity) fileName() string {
	family := e.text("surname")
	first := strings.TrimSpace(e.text("givenName") + " " + e.text("middleName"))
	switch {
	case family != "" && first != "":
		return family + ", " + first
	case family+first != "":
		return family + first
	case e.text("displayName") != "":
		return e.text("displayName")
	}
	return e.text("companyName")
}
