package sandbox

// calendarPermissions: who may see a calendar and how much. They are kept and
// checked, and have no effect: the sandbox shares every mailbox with everybody.
// https://learn.microsoft.com/graph/api/resources/calendarpermission
//
// Left out: invitations to a shared calendar, delegates of the mailbox.

import (
	"net/http"
	"slices"
	"strings"
)

var (
	rolesInside  = []any{"none", "freeBusyRead", "limitedRead", "read", "write"}
	rolesOutside = []any{"none", "freeBusyRead", "limitedRead", "read"}
)

func furnishPermissions(t *tx, box *mailbox, cal *entity) {
	p := newEntity(typeNamed("calendarPermission"))
	p.Props = map[string]any{
		"isRemovable": false, "isInsideOrganization": true, "role": "freeBusyRead",
		"allowedRoles": rolesInside, "emailAddress": map[string]any{"name": "My Organization"},
	}
	t.addEntity(box, cal.Key, p)
}

func permissionResource() *resource {
	return &resource{
		kind: "calendarPermission", param: "calendarPermission-id", set: "calendarPermissions",
		createStatus: http.StatusOK, // as the page says
		place:        (*call).permissionPlace,
		creating: func(c *call, t *tx, e *entity, _ map[string]any) error {
			who, _ := e.Props["emailAddress"].(map[string]any)
			mail, _ := who["address"].(string)
			switch {
			case mail == "":
				return newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'emailAddress' is required.")
			case e.text("role") == "":
				return newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'role' is required.")
			}
			_, domain, _ := strings.Cut(mail, "@")
			inside := strings.EqualFold(domain, DefaultDomain)
			e.Props["isRemovable"], e.Props["isInsideOrganization"], e.Props["allowedRoles"] = true, inside, rolesOutside
			if inside {
				e.Props["allowedRoles"] = rolesInside
			}
			if box := t.mailboxNamed(mail); box != nil && who["name"] == nil {
				e.Props["emailAddress"] = map[string]any{"name": box.Name(), "address": mail}
			}
			return roleIsAllowed(e)
		},
		updating: func(_ *call, _ *tx, old, fresh *entity, _ map[string]any) error {
			role := fresh.Props["role"] // nothing else can be changed
			fresh.Props = old.clone().Props
			fresh.Props["role"] = role
			return roleIsAllowed(fresh)
		},
		deleting: func(_ *call, _ *tx, e *entity) error {
			if !e.flag("isRemovable") {
				return newError(http.StatusBadRequest, "ErrorInvalidRequest", "This calendar permission can't be removed.")
			}
			return nil
		},
	}
}

func roleIsAllowed(e *entity) error {
	if roles, _ := e.Props["allowedRoles"].([]any); !slices.Contains(roles, e.Props["role"]) {
		return newError(http.StatusBadRequest, "ErrorInvalidRequest", "The role '%s' is not allowed for this recipient.", e.text("role"))
	}
	return nil
}

// permissionPlace is the calendar of the path; below an event, the event's.
func (c *call) permissionPlace() (uint64, error) {
	if strings.Contains(c.route.path, "{event-id}/calendar/") {
		e, err := c.eventOf()
		if err != nil {
			return 0, err
		}
		return e.In, nil
	}
	cal, err := c.calendarOf()
	if err != nil {
		return 0, err
	}
	return cal.Key, nil
}
