package sandbox

// Rules of the Inbox: list, get, create, update, delete. What they do to mail that
// arrives is in mail_rules_run.go.
// https://learn.microsoft.com/graph/api/resources/messagerule
//
// Left out: rules that other clients made (isReadOnly), rules that break later
// (hasError) and the quota of rules.

import (
	"cmp"
	"net/http"
	"strings"
)

func ruleRoutes() []route { return messageRules().routes("~/mailFolders/{mailFolder-id}/messageRules") }

// messageRules describes the rules. It is a function, since folders show rules.
func messageRules() *resource {
	return &resource{
		kind: "messageRule", param: "messageRule-id", set: "mailFolders('inbox')/messageRules",
		place: func(c *call) (uint64, error) {
			f, err := c.folderAt()
			if err != nil {
				return 0, err
			}
			if f.WellKnown != "inbox" {
				return 0, newError(http.StatusBadRequest, "ErrorInvalidRequest", "Rules are supported for the Inbox only.")
			}
			return f.Key, nil
		},
		order: compareRules,
		creating: func(c *call, _ *tx, e *entity, _ map[string]any) error {
			return c.checkRule(e)
		},
		updating: func(c *call, _ *tx, _, fresh *entity, _ map[string]any) error {
			return c.checkRule(fresh)
		},
	}
}

func compareRules(a, b *entity) int {
	x, _ := a.Props["sequence"].(float64)
	y, _ := b.Props["sequence"].(float64)
	return cmp.Or(cmp.Compare(x, y), cmp.Compare(a.Key, b.Key))
}

// checkRule refuses a rule that does nothing, or to nobody, or in a folder that
// is not there; well-known names become ids.
func (c *call) checkRule(e *entity) error {
	actions, _ := e.Props["actions"].(map[string]any)
	checked := map[string]any{}
	for name, value := range actions {
		if value == nil {
			continue
		}
		switch list := value.(type) {
		case []any:
			if len(list) == 0 {
				continue
			}
			if strings.HasSuffix(name, "To") {
				for _, item := range list {
					if !strings.Contains(addressIn(item), "@") {
						return newError(http.StatusBadRequest, "ErrorInvalidRecipients", "A recipient of the action '%s' has no valid address.", name)
					}
				}
			}
		case string:
			if strings.HasSuffix(name, "ToFolder") {
				f, err := c.folderOf(list)
				if err != nil {
					return err
				}
				if err := refuseSearchFolder(f); err != nil {
					return err
				}
				value = c.folderID(f.Key)
			}
		}
		checked[name] = value
	}
	if len(checked) == 0 {
		return newError(http.StatusBadRequest, "ErrorInvalidRequest", "A rule needs at least one action.")
	}
	if n, _ := e.Props["sequence"].(float64); n < 1 {
		return newError(http.StatusBadRequest, "ErrorInvalidArgument", "The property 'sequence' must be positive.")
	}
	e.Props["actions"] = checked
	return nil
}

// addressIn is the address of a recipient as it is kept in an entity.
func addressIn(v any) string {
	s, _ := member(v, "emailaddress/address").(string)
	return s
}
