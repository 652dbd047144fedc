package sandbox

// The facts about Graph's Outlook operations: methods, path templates, documented
// status codes and permissions, from the public v1.0 reference. They are the
// sandbox's own copy: the program's catalogue must not be able to agree with
// itself. The table decides which paths exist, who may use them, and what the
// generic store answers (generic.go).

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
)

//go:embed operations.json
var operationsJSON []byte

// operation is one documented operation.
type operation struct {
	ID     string   `json:"id"`
	Method string   `json:"method"`
	Paths  []string `json:"paths"` // /me is written /users/{user-id}
	// Extra are templates of the OpenAPI description that no page lists.
	Extra      []string `json:"extra"`
	Success    []int    `json:"success"` // empty: not documented
	Collection bool     `json:"collection"`
	Required   []string `json:"required_query"`
	Type       string   `json:"type"`
	permissions
	// Group are the permissions of its /groups paths where they differ.
	Group *permissions `json:"group"`
	// Resource are the permissions by what the path leads to.
	Resource map[string]permissions `json:"by_resource"`
}

// permissions are the names that open an operation, least privileged first.
// https://learn.microsoft.com/graph/permissions-reference
type permissions struct {
	Delegated   []string `json:"delegated"`
	Application []string `json:"application"`
}

func (p permissions) join(o permissions) permissions {
	for _, name := range o.Delegated {
		if !slices.Contains(p.Delegated, name) {
			p.Delegated = append(slices.Clip(p.Delegated), name)
		}
	}
	for _, name := range o.Application {
		if !slices.Contains(p.Application, name) {
			p.Application = append(slices.Clip(p.Application), name)
		}
	}
	return p
}

func loadOperations() []*operation {
	var list []*operation
	if err := json.Unmarshal(operationsJSON, &list); err != nil {
		panic("sandbox: operations.json: " + err.Error()) // it is part of the program
	}
	return list
}

// at are the permissions of one of its templates.
func (o *operation) at(path string) permissions {
	if o.Group != nil && strings.HasPrefix(path, "/groups/") {
		return *o.Group
	}
	if len(o.Resource) == 0 {
		return o.permissions
	}
	if p, ok := o.Resource[resourceOf(path)]; ok {
		return p
	}
	all := permissions{}
	for _, p := range o.Resource {
		all = all.join(p)
	}
	return all
}

// resourceOf names what a path leads to, as by_resource does.
func resourceOf(path string) string {
	has := func(segment string) bool { return strings.Contains(path+"/", "/"+segment+"/") }
	switch group := strings.HasPrefix(path, "/groups/"); {
	case group && has("events"):
		return "groupEvent"
	case group:
		return "groupPost"
	case has("messages"), has("mailFolders"):
		return "message"
	case has("tasks"):
		return "todoTask"
	case has("todo"):
		return "todoTaskList"
	case has("contacts"), has("contactFolders"):
		return "contact"
	case has("events"), has("calendar"), has("calendars"), has("calendarView"):
		return "event"
	}
	return "" // any of them
}
