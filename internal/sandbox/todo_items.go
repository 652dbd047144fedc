package sandbox

// What lies in a task of To Do: checklist, linked resources, attached files.
// https://learn.microsoft.com/graph/api/resources/checklistitem
// https://learn.microsoft.com/graph/api/resources/linkedresource
// https://learn.microsoft.com/graph/api/resources/taskfileattachment
//
// Files under 3 MB come by POST, up to 25 MB by an upload session whose address is
// in Graph itself and wants the token (mail_upload.go). Lists of attachments leave
// contentBytes out, as the page shows it. Left out: attachmentSessions as a
// collection, replacing an attachment.

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// inTask completes a resource whose entities lie in a task: what is written to it
// changes the task.
func inTask(r *resource) *resource {
	r.place = (*call).todoTaskKey
	touch := func(c *call, t *tx, e *entity) { t.touch(c.box, c.box.entities[e.In]) }
	r.created = func(c *call, t *tx, e *entity, _ map[string]any) error {
		touch(c, t, e)
		return nil
	}
	r.updated = func(c *call, t *tx, _, fresh *entity, _ map[string]any) error {
		touch(c, t, fresh)
		return nil
	}
	r.remove = func(c *call, t *tx, e *entity) error {
		t.removeEntity(c.box, e)
		touch(c, t, e)
		return nil
	}
	return r
}

func checklistResource() *resource {
	check := func(e *entity, body map[string]any) error {
		if e.text("displayName") == "" {
			return errTodo("The checklist item needs a displayName.")
		}
		switch {
		case !e.flag("isChecked"):
			delete(e.Props, "checkedDateTime")
		case body["checkedDateTime"] == nil && e.Props["checkedDateTime"] == nil:
			e.Props["checkedDateTime"] = clock(time.Now().Unix())
		}
		return nil
	}
	return inTask(&resource{
		kind: "checklistItem", param: "checklistItem-id", set: "checklistItems",
		creating: func(_ *call, _ *tx, e *entity, body map[string]any) error { return check(e, body) },
		updating: func(_ *call, _ *tx, _, fresh *entity, body map[string]any) error { return check(fresh, body) },
	})
}

func linkedResource() *resource {
	return inTask(&resource{
		kind: "linkedResource", param: "linkedResource-id", set: "linkedResources",
		creating: func(*call, *tx, *entity, map[string]any) error { return nil },
	})
}

// The bounds of attached files.
// https://learn.microsoft.com/graph/todo-attachments
const (
	mostTaskFile   = 3 << 20
	mostTaskUpload = 25 << 20
)

func taskAttachmentResource() *resource {
	return inTask(&resource{
		kind: "taskFileAttachment", param: "attachment-id", set: "attachments",
		show: map[string]show{
			"size":         func(_ *call, e *entity) any { return len(e.Content) },
			"contentBytes": func(_ *call, e *entity) any { return base64.StdEncoding.EncodeToString(e.Content) },
		},
		creating: func(_ *call, _ *tx, e *entity, body map[string]any) error {
			if kind, _ := body["@odata.type"].(string); !strings.EqualFold(strings.TrimPrefix(kind, "#"), "microsoft.graph.taskFileAttachment") {
				return errBody("The type 'microsoft.graph.attachmentBase' is abstract. The annotation '@odata.type' must be '#microsoft.graph.taskFileAttachment'.")
			}
			content, err := base64.StdEncoding.DecodeString(e.text("contentBytes"))
			switch {
			case err != nil: // the type was checked
				return errBody("The contentBytes are not base64.")
			case len(content) > mostTaskFile:
				return newError(http.StatusRequestEntityTooLarge, "ErrorMessageSizeExceeded", "A file over 3 MB needs an upload session.")
			}
			e.holdFile(content)
			return nil
		},
	})
}

// holdFile makes an entity that has been written a file.
func (e *entity) holdFile(content []byte) {
	e.Content = content
	delete(e.Props, "contentBytes")
	delete(e.Props, "size")
	e.Hidden["@odata.type"] = "#microsoft.graph.taskFileAttachment"
	if e.text("contentType") == "" {
		e.Props["contentType"] = "application/octet-stream"
	}
}

// withoutContent asks for everything but the bytes, where nothing is asked for.
func withoutContent(q query) query {
	if len(q.selects) == 0 {
		q.selects = []string{"name", "contentType", "size", "lastModifiedDateTime"}
	}
	return q
}

func taskAttachmentRoutes(task string) []route {
	r := taskAttachmentResource()
	all, session := task+"/attachments", task+"/attachmentSessions/{attachmentSession-id}"
	const as = "todo.taskAttachment.createUploadSession"
	routes := slices.DeleteFunc(r.routes(all), func(rt route) bool {
		return rt.method == "PATCH" || rt.method == "GET" && rt.path == all
	})
	return append(routes,
		route{method: "GET", path: all, handle: func(c *call) (*Answer, error) {
			c.query = withoutContent(c.query)
			return r.list(c)
		}},
		route{method: "GET", path: all + "/{attachment-id}/$value", handle: (*call).taskFile},
		route{method: "POST", path: all + "/createUploadSession", handle: (*call).uploadTaskFile},
		route{method: "PUT", path: session + "/content", handle: (*call).putPiece, as: as},
		route{method: "GET", path: session, handle: (*call).getUpload, as: as},
		route{method: "DELETE", path: session, handle: (*call).cancelUpload, as: as},
	)
}

// taskFile answers with the bytes.
func (c *call) taskFile() (*Answer, error) {
	var a *Answer
	var err error
	c.read(func(*state) {
		var e *entity
		if e, err = taskAttachmentResource().one(c); err == nil {
			a = &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {e.text("contentType")}}, Body: e.Content}
		}
	})
	return a, err
}

// uploadTaskFile is createUploadSession.
// https://learn.microsoft.com/graph/api/taskfileattachment-createuploadsession
func (c *call) uploadTaskFile() (*Answer, error) {
	var task string // the address of the task, by the id of its mailbox
	return c.createUpload(uploadRules{
		parameter: "attachmentInfo", most: mostTaskUpload, status: http.StatusOK,
		owner: func() error {
			list, err := c.todoListOf()
			if err != nil {
				return err
			}
			e, err := c.todoTaskOf()
			if err != nil {
				return err
			}
			task = c.base + "/v1.0/users/" + c.box.ID + "/todo/lists/" + c.idOf(list) + "/tasks/" + c.idOf(e)
			return nil
		},
		store: func(t *tx, f uploadedFile) (string, error) {
			in, err := c.todoTaskOf()
			if err != nil {
				return "", err
			}
			e := newEntity(typeNamed("taskFileAttachment"))
			e.Props["name"] = f.name
			if f.contentType != "" {
				e.Props["contentType"] = f.contentType
			}
			e.holdFile(f.content)
			t.addEntity(c.box, in.Key, e)
			t.noteEntity(c, e)
			t.touch(c.box, in)
			return task + "/attachments/" + c.idOf(e), nil
		},
		address: func(id string) string { return task + "/attachmentSessions/" + id },
	})
}
