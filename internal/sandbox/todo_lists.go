package sandbox

// Microsoft To Do: the lists. Everybody has Tasks (defaultList) and Flagged Emails
// (flaggedEmails), which can be neither renamed nor deleted. To Do words its
// refusals of its own kind, with the reason in innerError, as people have seen it
// (github.com/microsoftgraph/microsoft-graph-docs-contrib/issues/2486).
// https://learn.microsoft.com/graph/api/resources/todotasklist
//
// Left out: lists shared in the app, flagged mails as tasks of their list, lists of
// one name (the app numbers them; here both keep it).

import (
	"net/http"
	"slices"
)

func todoRoutes() []route {
	const lists = "~/todo/lists"
	const tasks = lists + "/{todoTaskList-id}/tasks"
	list, task := todoListResource(), todoTaskResource()
	routes := slices.Concat(
		list.routes(lists),
		[]route{{method: "GET", path: lists + "/delta", handle: list.delta}},
		task.routes(tasks),
		[]route{{method: "GET", path: tasks + "/delta", handle: task.delta}},
		checklistResource().routes(tasks+"/{todoTask-id}/checklistItems"),
		linkedResource().routes(tasks+"/{todoTask-id}/linkedResources"),
		taskAttachmentRoutes(tasks+"/{todoTask-id}"),
	)
	for i, r := range routes {
		routes[i].handle = inZone(r.handle) // Prefer: outlook.timezone is for all of them
	}
	return routes
}

func furnishTodo(t *tx, box *mailbox) {
	if box.kind != kindPerson {
		return
	}
	for _, known := range []string{"defaultList", "flaggedEmails"} {
		if box.marked("todoTaskList", known) != nil {
			continue
		}
		name := map[string]string{"defaultList": "Tasks", "flaggedEmails": "Flagged Emails"}[known]
		e := newEntity(typeNamed("todoTaskList"))
		e.Props["displayName"], e.Props["wellknownListName"], e.Mark = name, known, known
		t.addEntity(box, 0, e)
	}
}

// errTodo is a refusal of To Do's.
func errTodo(reason string) error {
	err := newError(http.StatusBadRequest, "invalidRequest", "Invalid request")
	err.innerCode, err.innerMessage = "ErrorInvalidRequest", "Your request can't be completed. "+reason
	return err
}

// todoListOf finds the list that the path names. It needs the lock.
func (c *call) todoListOf() (*entity, error) {
	return c.entityNamed("todoTaskList", c.params["todoTaskList-id"])
}

func todoListResource() *resource {
	return &resource{
		kind: "todoTaskList", param: "todoTaskList-id", set: "lists",
		find: (*call).todoListOf,
		creating: func(_ *call, _ *tx, e *entity, _ map[string]any) error {
			return namedList(e)
		},
		updating: func(_ *call, _ *tx, old, fresh *entity, _ map[string]any) error {
			if old.Mark != "" && old.text("displayName") != fresh.text("displayName") {
				return errTodo("A default task folder can't be renamed.")
			}
			return namedList(fresh)
		},
		deleting: func(_ *call, _ *tx, e *entity) error {
			if e.Mark != "" {
				return errTodo("A default task folder can't be deleted.")
			}
			return nil
		},
		expand: map[string]func(*call, *entity, query) any{"tasks": func(c *call, e *entity, options query) any {
			return c.objects(todoTaskResource(), c.box.in(e.Key, "todoTask"), options)
		}},
	}
}

func namedList(e *entity) error {
	if e.text("displayName") == "" {
		return errTodo("The list needs a displayName.")
	}
	return nil
}
