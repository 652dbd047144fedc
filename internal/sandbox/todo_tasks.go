package sandbox

// Tasks of To Do. Times are kept and shown in UTC, or shown in the zone of Prefer:
// outlook.timezone. Status and completedDateTime move together: completing sets
// today's midnight, another status clears it. Completing a task that recurs makes
// the next one, with its checklist unticked, and leaves the completed one without
// recurrence; an id of the series keeps to the completed task.
// https://learn.microsoft.com/graph/api/resources/todotask
//
// What lies in a task (checklist, linked resources, attachments, extensions) gives
// it another etag. checklistItems and linkedResources may come with the task's body.
//
// Left out: moving tasks, the app's rounding of due dates to days, $search; which of
// the two tasks of a recurrence keeps the id is a guess.

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"outlook-connector/internal/sandbox/recurrence"
)

// todoTaskOf finds the task that the path names, in its list. It needs the lock.
func (c *call) todoTaskOf() (*entity, error) {
	list, err := c.todoListOf()
	if err != nil {
		return nil, err
	}
	return c.entityIn(list.Key, "todoTask", c.params["todoTask-id"])
}

// todoTaskKey is where the items of the path's task lie.
func (c *call) todoTaskKey() (uint64, error) {
	e, err := c.todoTaskOf()
	if err != nil {
		return 0, err
	}
	return e.Key, nil
}

// taskTimes are the properties that are a time in a zone.
var taskTimes = []string{"startDateTime", "dueDateTime", "reminderDateTime", "completedDateTime"}

func todoTaskResource() *resource {
	r := &resource{
		kind: "todoTask", param: "todoTask-id", set: "tasks",
		place: func(c *call) (uint64, error) {
			list, err := c.todoListOf()
			if err != nil {
				return 0, err
			}
			return list.Key, nil
		},
		show: map[string]show{"hasAttachments": func(c *call, e *entity) any {
			return len(c.box.in(e.Key, "taskFileAttachment")) > 0
		}},
		expand: map[string]func(*call, *entity, query) any{
			"checklistItems": func(c *call, e *entity, options query) any {
				return c.objects(checklistResource(), c.box.in(e.Key, "checklistItem"), options)
			},
			"linkedResources": func(c *call, e *entity, options query) any {
				return c.objects(linkedResource(), c.box.in(e.Key, "linkedResource"), options)
			},
			"attachments": func(c *call, e *entity, options query) any {
				return c.objects(taskAttachmentResource(), c.box.in(e.Key, "taskFileAttachment"), withoutContent(options))
			},
			"attachmentSessions": func(*call, *entity, query) any { return []any{} },
		},
		creating: func(c *call, t *tx, e *entity, body map[string]any) error {
			if e.text("title") == "" {
				return errTodo("The task needs a title.")
			}
			if _, err := c.partsOf(body); err != nil {
				return err
			}
			return completeTask(t, nil, e, body)
		},
		created: func(c *call, t *tx, e *entity, body map[string]any) error {
			parts, err := c.partsOf(body)
			for _, part := range parts {
				t.addEntity(c.box, e.Key, part)
			}
			return err
		},
		updating: func(_ *call, t *tx, old, fresh *entity, body map[string]any) error {
			return completeTask(t, old, fresh, body)
		},
		updated: func(c *call, t *tx, old, fresh *entity, _ map[string]any) error {
			t.continueTask(c.box, old, fresh)
			return nil
		},
	}
	for _, name := range taskTimes {
		r.show[name] = func(c *call, e *entity) any {
			m, ok, err := readMoment(e.Props[name])
			if !ok || err != nil {
				return nil
			}
			return c.shownTime(m.Time, false)
		}
	}
	return r
}

// partsOf makes the checklist and the linked resources of a task's body. They are
// not stored.
func (c *call) partsOf(body map[string]any) ([]*entity, error) {
	var parts []*entity
	for _, r := range []*resource{checklistResource(), linkedResource()} {
		list, _ := body[map[string]string{"checklistItem": "checklistItems", "linkedResource": "linkedResources"}[r.kind]].([]any)
		for _, item := range list {
			members, _ := item.(map[string]any)
			e := newEntity(r.typ())
			if _, err := e.write(r.typ(), members, true); err != nil {
				return nil, err
			}
			if err := r.creating(c, nil, e, members); err != nil {
				return nil, err
			}
			parts = append(parts, e)
		}
	}
	return parts, nil
}

// completeTask checks a task that is being written and fills in what To Do does.
// old is nil at creation.
func completeTask(t *tx, old, e *entity, body map[string]any) error {
	for _, name := range taskTimes {
		m, ok, err := readMoment(e.Props[name])
		switch {
		case err != nil:
			return err
		case ok:
			e.Props[name] = taskTime(m.Time)
		default:
			delete(e.Props, name)
		}
	}
	if err := checkTaskRecurrence(e); err != nil {
		return err
	}
	if text, ok := body["body"].(map[string]any); ok {
		content, _ := text["content"].(string)
		kind, _ := e.Props["body"].(map[string]any)["contentType"].(string)
		if kind == "" {
			kind = "text"
		}
		e.Props["body"] = map[string]any{"content": content, "contentType": kind}
		e.Props["bodyLastModifiedDateTime"] = clock(t.now)
	}
	_, statusGiven := body["status"]
	switch at := body["completedDateTime"]; {
	case !statusGiven && at != nil:
		e.Props["status"] = "completed"
	case e.text("status") != "completed":
		delete(e.Props, "completedDateTime")
	case at == nil && (old == nil || old.text("status") != "completed"):
		e.Props["completedDateTime"] = taskTime(time.Unix(t.now, 0).UTC().Truncate(24 * time.Hour))
	}
	return nil
}

func taskTime(at time.Time) map[string]any {
	return map[string]any{"dateTime": at.UTC().Format(wireTime), "timeZone": "UTC"}
}

// taskRule reads the recurrence of a task; nil where it has none.
func taskRule(e *entity) (*recurrence.Rule, error) {
	if e.Props["recurrence"] == nil {
		return nil, nil
	}
	var wire recurrence.Recurrence
	if err := json.Unmarshal(appendJSON(nil, e.Props["recurrence"]), &wire); err != nil {
		return nil, errBody("The recurrence cannot be read.")
	}
	rule, err := recurrence.New(wire)
	if bad, ok := errors.AsType[*recurrence.Error](err); ok {
		return nil, errTodo("Property " + bad.Property + ": " + bad.Reason + ".")
	}
	return rule, err
}

// checkTaskRecurrence refuses a recurrence that cannot be. A task that recurs is
// due on its first day where nothing else is said.
func checkTaskRecurrence(e *entity) error {
	r, ok := e.Props["recurrence"].(map[string]any)
	if !ok {
		delete(e.Props, "recurrence")
		return nil
	}
	rule, err := taskRule(e)
	if err != nil {
		return err
	}
	if first, ok := rule.First(); ok && e.Props["dueDateTime"] == nil {
		e.Props["dueDateTime"] = taskTime(first.At(0, time.UTC))
	}
	var wire any
	if err := json.Unmarshal(appendJSON(nil, rule.Wire()), &wire); err == nil {
		r, _ = wire.(map[string]any)
	}
	e.Props["recurrence"] = r
	return nil
}

// continueTask makes the next task when one that recurs was completed.
func (t *tx) continueTask(box *mailbox, old, done *entity) {
	if done.text("status") != "completed" || old.text("status") == "completed" {
		return
	}
	rule, err := taskRule(done)
	due, ok, _ := readMoment(done.Props["dueDateTime"])
	if rule == nil || err != nil || !ok {
		return
	}
	today := recurrence.DateOf(due.UTC())
	for date := range rule.Dates(today+1, recurrence.Latest) {
		next := newEntity(typeNamed("todoTask"))
		for _, name := range []string{"title", "importance", "categories", "body", "bodyLastModifiedDateTime", "isReminderOn", "recurrence"} {
			if v, ok := done.Props[name]; ok {
				next.Props[name] = v
			}
		}
		for _, name := range taskTimes[:3] { // but the completion
			if at, ok, _ := readMoment(done.Props[name]); ok {
				next.Props[name] = taskTime(at.UTC().AddDate(0, 0, int(date-today)))
			}
		}
		t.addEntity(box, done.In, next)
		for _, item := range slices.Clone(box.in(done.Key, "checklistItem")) {
			again := newEntity(typeNamed("checklistItem"))
			again.Props["displayName"] = item.Props["displayName"]
			t.addEntity(box, next.Key, again)
		}
		break
	}
	single := box.entities[done.Key].clone()
	delete(single.Props, "recurrence")
	t.saveEntity(box, single, "recurrence")
}
