package sandbox

// outlook/masterCategories: the categories of a mailbox. A mailbox begins with
// Outlook's six. The name is unique without regard to case and cannot be changed.
// https://learn.microsoft.com/graph/api/resources/outlookcategory
//
// Not documented and so a choice: the answer to a name that is there already is
// 409 ErrorCategoryAlreadyExists. Items may have categories that are not in the
// list, as in Outlook.

import (
	"net/http"
	"strings"
)

func categoryRoutes() []route { return categories().routes("~/outlook/masterCategories") }

func categories() *resource {
	return &resource{
		kind: "outlookCategory", param: "outlookCategory-id", set: "outlook/masterCategories",
		creating: func(c *call, _ *tx, e *entity, _ map[string]any) error {
			for _, o := range c.box.in(0, e.Type) {
				if strings.EqualFold(o.text("displayName"), e.text("displayName")) {
					return newError(http.StatusConflict, "ErrorCategoryAlreadyExists",
						"A category with the name '%s' is in the master list already.", e.text("displayName"))
				}
			}
			return nil
		},
	}
}

// firstCategories are Outlook's own.
const firstCategories = "Red:0,Orange:1,Yellow:3,Green:4,Blue:7,Purple:8"

// furnishSettings gives a mailbox its settings and, when it gets those, its first
// categories: later a missing category is one that was deleted.
func furnishSettings(t *tx, box *mailbox) {
	if box.kind != kindPerson || box.marked("mailboxSettings", "default") != nil {
		return
	}
	e := newEntity(typeNamed("mailboxSettings"))
	e.Mark = "default"
	t.addEntity(box, 0, e)
	for spec := range strings.SplitSeq(firstCategories, ",") {
		name, n, _ := strings.Cut(spec, ":")
		c := newEntity(typeNamed("outlookCategory"))
		c.Props["displayName"], c.Props["color"] = name+" category", "preset"+n
		t.addEntity(box, 0, c)
	}
}
