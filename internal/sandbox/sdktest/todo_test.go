package sdktest_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

func TestToDo(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	lists := c.me.Todo().Lists()
	in := models.NewTodoTaskList()
	in.SetDisplayName(new("Move house"))
	list, err := lists.Post(t.Context(), in, nil)
	ok(t, err, "create a list")
	at := lists.ByTodoTaskListId(value(list.GetId()))
	all, err := lists.Get(t.Context(), nil)
	ok(t, err, "list the lists")
	found := false
	for _, l := range all.GetValue() {
		found = found || value(l.GetDisplayName()) == "Move house"
	}
	same(t, "the new list is among them", found, true)

	job := models.NewTodoTask()
	job.SetTitle(new("Buy boxes"))
	job.SetBody(body("Twenty."))
	job.SetDueDateTime(dueAt("2027-03-01T00:00:00"))
	job.SetImportance(new(models.HIGH_IMPORTANCE))
	made, err := at.Tasks().Post(t.Context(), job, nil)
	ok(t, err, "create a task")
	task := at.Tasks().ByTodoTaskId(value(made.GetId()))
	got, err := task.Get(t.Context(), nil)
	ok(t, err, "get the task")
	same(t, "title", value(got.GetTitle()), "Buy boxes")
	same(t, "status", value(got.GetStatus()), models.NOTSTARTED_TASKSTATUS)
	same(t, "importance", value(got.GetImportance()), models.HIGH_IMPORTANCE)
	same(t, "due", value(got.GetDueDateTime().GetDateTime()), "2027-03-01T00:00:00.0000000")

	item := models.NewChecklistItem()
	item.SetDisplayName(new("Small ones"))
	step, err := task.ChecklistItems().Post(t.Context(), item, nil)
	ok(t, err, "create a checklist item")
	ticked := models.NewChecklistItem()
	ticked.SetIsChecked(new(true))
	_, err = task.ChecklistItems().ByChecklistItemId(value(step.GetId())).Patch(t.Context(), ticked, nil)
	ok(t, err, "tick it")
	steps, err := task.ChecklistItems().Get(t.Context(), nil)
	ok(t, err, "list the checklist")
	same(t, "items", len(steps.GetValue()), 1)
	same(t, "name", value(steps.GetValue()[0].GetDisplayName()), "Small ones")
	same(t, "ticked", value(steps.GetValue()[0].GetIsChecked()), true)

	link := models.NewLinkedResource()
	link.SetApplicationName(new("Orders"))
	link.SetDisplayName(new("Order 4711"))
	link.SetExternalId(new("4711"))
	link.SetWebUrl(new("https://orders.example/4711"))
	_, err = task.LinkedResources().Post(t.Context(), link, nil)
	ok(t, err, "create a linked resource")
	links, err := task.LinkedResources().Get(t.Context(), nil)
	ok(t, err, "list the linked resources")
	sameList(t, "external ids", names(links.GetValue(), models.LinkedResourceable.GetExternalId), "4711")

	done := models.NewTodoTask()
	done.SetStatus(new(models.COMPLETED_TASKSTATUS))
	_, err = task.Patch(t.Context(), done, nil)
	ok(t, err, "complete the task")
	page, err := at.Tasks().Get(t.Context(), &users.ItemTodoListsItemTasksRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemTodoListsItemTasksRequestBuilderGetQueryParameters{Filter: new("status eq 'completed'")},
	})
	ok(t, err, "filter the tasks")
	sameList(t, "completed tasks", names(page.GetValue(), models.TodoTaskable.GetTitle), "Buy boxes")
	if page.GetValue()[0].GetCompletedDateTime() == nil {
		t.Error("a completed task has no completedDateTime")
	}

	ok(t, task.ChecklistItems().ByChecklistItemId(value(step.GetId())).Delete(t.Context(), nil), "delete the checklist item")
	ok(t, task.Delete(t.Context(), nil), "delete the task")
	_, err = task.Get(t.Context(), nil)
	if e, is := errors.AsType[*odataerrors.ODataError](err); !is || e.ResponseStatusCode != http.StatusNotFound {
		t.Errorf("a deleted task: %s", said(err))
	}
	ok(t, at.Delete(t.Context(), nil), "delete the list")
	_, err = at.Get(t.Context(), nil)
	if e, is := errors.AsType[*odataerrors.ODataError](err); !is || e.ResponseStatusCode != http.StatusNotFound {
		t.Errorf("a deleted list: %s", said(err))
	}
}

// dueAt is a time in UTC; a task shows the day only.
func dueAt(dateTime string) models.DateTimeTimeZoneable { return at(dateTime, "UTC") }

func TestTaskDelta(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.as(ann)
	in := models.NewTodoTaskList()
	in.SetDisplayName(new("Move house"))
	list, err := c.me.Todo().Lists().Post(t.Context(), in, nil)
	ok(t, err, "create a list")
	tasks := c.me.Todo().Lists().ByTodoTaskListId(value(list.GetId())).Tasks()
	builder := tasks.Delta()
	follow := func() (items []models.TodoTaskable) {
		for range 20 {
			page, err := builder.GetAsDeltaGetResponse(t.Context(), nil)
			ok(t, err, "delta")
			items = append(items, page.GetValue()...)
			if page.GetOdataDeltaLink() != nil {
				builder = builder.WithUrl(value(page.GetOdataDeltaLink()))
				return items
			}
			builder = builder.WithUrl(value(page.GetOdataNextLink()))
		}
		t.Fatal("the round does not end")
		return nil
	}
	same(t, "first round", len(follow()), 0)
	job := models.NewTodoTask()
	job.SetTitle(new("Buy boxes"))
	made, err := tasks.Post(t.Context(), job, nil)
	ok(t, err, "create a task")
	sameList(t, "second round", names(follow(), models.TodoTaskable.GetTitle), "Buy boxes")
	ok(t, tasks.ByTodoTaskId(value(made.GetId())).Delete(t.Context(), nil), "delete")
	gone := follow()
	sameList(t, "third round", names(gone, models.TodoTaskable.GetId), value(made.GetId()))
	if gone[0].GetAdditionalData()["@removed"] == nil {
		t.Error("the deleted task is not marked as removed")
	}
}
