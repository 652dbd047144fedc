package sandbox

// Focused inbox: the overrides by sender, and their effect on mail that arrives
// from then on (mail_rules_run.go). Another override for an address that has one
// changes that one. https://learn.microsoft.com/graph/manage-focused-inbox
//
// Left out: learning from where a person moves mail. Without an override all mail
// is focused.

import (
	"net/http"
	"strings"
)

// maxOverrides is documented:
// https://learn.microsoft.com/graph/api/inferenceclassification-post-overrides
const maxOverrides = 1000

func overrideRoutes() []route {
	r := overrides()
	return append(r.routes("~/inferenceClassification/overrides")[2:],
		route{method: "GET", path: "~/inferenceClassification/overrides", handle: r.list},
		route{method: "POST", path: "~/inferenceClassification/overrides", handle: createOverride})
}

func overrides() *resource {
	return &resource{
		kind: "inferenceClassificationOverride", param: "inferenceClassificationOverride-id", set: "inferenceClassification/overrides",
		creating: func(c *call, _ *tx, e *entity, _ map[string]any) error {
			if !strings.Contains(overrideAddress(e), "@") {
				return newError(http.StatusBadRequest, "ErrorInvalidArgument", "The property 'senderEmailAddress' needs a valid address.")
			}
			if len(c.box.in(0, e.Type)) >= maxOverrides {
				return newError(http.StatusBadRequest, "ErrorExceededOverridesLimit", "A mailbox can have at most %d overrides.", maxOverrides)
			}
			return nil
		},
	}
}

func overrideAddress(e *entity) string {
	s, _ := member(e.Props["senderEmailAddress"], "address").(string)
	return s
}

// createOverride makes an override, or changes that of the same address.
func createOverride(c *call) (*Answer, error) {
	r := overrides()
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var a *Answer
	err = c.update(func(t *tx) error {
		e := newEntity(r.typ())
		if _, err := e.write(r.typ(), body, true); err != nil {
			return err
		}
		v, err := c.entityViewOf(r, nil, "")
		if err != nil {
			return err
		}
		for _, old := range c.box.in(0, r.kind) {
			if strings.EqualFold(overrideAddress(old), overrideAddress(e)) {
				fresh := old.clone()
				fresh.Props = e.Props
				t.saveEntity(c.box, fresh)
				a = c.oneEntity(http.StatusCreated, v, fresh)
				return nil
			}
		}
		if e, err = r.make(c, t, body); err != nil {
			return err
		}
		a = c.oneEntity(http.StatusCreated, v, e)
		return nil
	})
	return a, err
}
