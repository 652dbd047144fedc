package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

func todoWorld(t *testing.T) *world {
	t.Helper()
	return start(t).as(ann, "Tasks.ReadWrite")
}

// list makes a To Do list and returns its path.
func (w *world) list(name string) string {
	w.t.Helper()
	return "/me/todo/lists/" + w.made("/me/todo/lists", `{"displayName":"`+name+`"}`).str("id")
}

// task makes a task in a list and returns its path.
func (w *world) task(list, body string) string {
	w.t.Helper()
	return list + "/tasks/" + w.made(list+"/tasks", body).str("id")
}

func at(text string) string { return fmt.Sprintf(`{"dateTime":%q,"timeZone":"UTC"}`, text) }

func when(r *reply, name string) string {
	obj, _ := r.json[name].(map[string]any)
	text, _ := obj["dateTime"].(string)
	return text
}

func TestTheListsOfToDoThatEverybodyHasStay(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	r := w.get("/me/todo/lists").is(200)
	if got := r.texts("wellknownListName"); !slices.Equal(got, []string{"defaultList", "flaggedEmails"}) {
		t.Fatalf("lists %v", got)
	}
	if r.value()[0]["isOwner"] != true || r.value()[0]["isShared"] != false || r.value()[0]["@odata.etag"] == nil {
		t.Errorf("default list %v", r.value()[0])
	}
	one := "/me/todo/lists/" + r.texts("id")[0]
	refused := w.do(http.MethodPatch, one, `{"displayName":"Mine"}`).is(400, "invalidRequest")
	inner := refused.json["error"].(map[string]any)["innerError"].(map[string]any)
	if inner["code"] != "ErrorInvalidRequest" || !strings.Contains(fmt.Sprint(inner["message"]), "can't be renamed") || inner["status"] != nil {
		t.Errorf("inner error %v", inner)
	}
	w.do(http.MethodDelete, one, "").is(400, "invalidRequest")

	mine := w.list("Garden")
	if got := w.get(mine).is(200); got.str("wellknownListName") != "none" {
		t.Errorf("list %s", got.raw)
	}
	if got := w.do(http.MethodPatch, mine, `{"displayName":"Garden plan","wellknownListName":"defaultList"}`).is(200); got.str("displayName") != "Garden plan" || got.str("wellknownListName") != "none" {
		t.Errorf("renamed %s", got.raw)
	}
	w.do(http.MethodPost, "/me/todo/lists", `{}`).is(400)
	w.do(http.MethodPost, "/me/todo/lists", `{"name":"x"}`).is(400, "RequestBodyRead")
	task := w.task(mine, `{"title":"Dig"}`)
	w.do(http.MethodDelete, mine, "").is(204)
	w.get(mine).is(404)
	w.get(task).is(404)
	w.as(ann, "Tasks.Read").do(http.MethodPost, "/me/todo/lists", `{"displayName":"x"}`).is(403)
	w.as(ben, "Tasks.Read.Shared").get("/users/" + ann + "/todo/lists").is(200)
	w.as(ben, "Tasks.Read").get("/users/" + ann + "/todo/lists").is(403)
}

func TestATaskIsShownAsToDoShowsIt(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	list := w.list("Garden")
	r := w.made(list+"/tasks", `{"title":"Dig","importance":"High","dueDateTime":{"dateTime":"2030-05-04T09:00:00","timeZone":"W. Europe Standard Time"},
		"body":{"content":"Deep"},"categories":["Red"],
		"linkedResources":[{"applicationName":"Connector","displayName":"Note","externalId":"e-1","webUrl":"https://x.example/1"}],
		"checklistItems":[{"displayName":"Spade"}]}`)
	if r.str("status") != "notStarted" || r.str("importance") != "high" || r.json["isReminderOn"] != false || r.json["hasAttachments"] != false {
		t.Errorf("defaults: %s", r.raw)
	}
	if when(r, "dueDateTime") != "2030-05-04T07:00:00.0000000" {
		t.Errorf("due %q", when(r, "dueDateTime"))
	}
	if body := r.json["body"].(map[string]any); body["contentType"] != "text" || body["content"] != "Deep" || r.str("bodyLastModifiedDateTime") == "" {
		t.Errorf("body %s", r.raw)
	}
	for _, name := range []string{"startDateTime", "reminderDateTime", "completedDateTime", "recurrence"} {
		if _, there := r.json[name]; there {
			t.Errorf("%s is shown though there is none", name)
		}
	}
	linked, _ := r.json["linkedResources"].([]any)
	if len(linked) != 1 || linked[0].(map[string]any)["externalId"] != "e-1" || len(r.json["checklistItems"].([]any)) != 1 {
		t.Errorf("what came with it: %s", r.raw)
	}
	one := list + "/tasks/" + r.str("id")
	if got := w.get(one).is(200); got.json["linkedResources"] != nil {
		t.Errorf("shown unasked: %s", got.raw)
	}
	if got := when(w.with("Prefer", `outlook.timezone="W. Europe Standard Time"`).get(one).is(200), "dueDateTime"); got != "2030-05-04T09:00:00.0000000" {
		t.Errorf("due there: %q", got)
	}
	w.with("Prefer", `outlook.timezone="Nowhere"`).get(one).is(400)
	w.do(http.MethodPost, list+"/tasks", `{"title":"x","dueDateTime":{"dateTime":"2030-05-04T09:00:00","timeZone":"Nowhere"}}`).is(400)
	w.do(http.MethodPost, list+"/tasks", `{}`).is(400)
	w.do(http.MethodPost, list+"/tasks", `{"title":"x","status":"done"}`).is(400, "RequestBodyRead")
	w.do(http.MethodPost, list+"/tasks", `{"title":"x","checklistItems":[{}]}`).is(400)
	if n := len(w.get(list + "/tasks").is(200).value()); n != 1 {
		t.Errorf("%d tasks: a refused one was made", n)
	}
	w.get("/me/todo/lists/"+w.get("/me/todo/lists").texts("id")[0]+"/tasks/"+r.str("id")).is(404, "ErrorItemNotFound")
}

func TestStatusAndCompletionMoveTogether(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	list := w.list("Garden")
	task := w.task(list, `{"title":"Dig"}`)
	old := w.get(task).str("@odata.etag")
	if got := when(w.do(http.MethodPatch, task, `{"status":"completed"}`).is(200), "completedDateTime"); !strings.HasSuffix(got, "T00:00:00.0000000") {
		t.Errorf("completed at %q", got)
	}
	w.with("If-Match", old).do(http.MethodPatch, task, `{"status":"inProgress"}`).is(412)
	if r := w.do(http.MethodPatch, task, `{"status":"inProgress"}`).is(200); r.json["completedDateTime"] != nil {
		t.Errorf("still completed: %s", r.raw)
	}
	if r := w.do(http.MethodPatch, task, `{"completedDateTime":`+at("2030-01-02T03:04:05")+`}`).is(200); r.str("status") != "completed" || when(r, "completedDateTime") != "2030-01-02T03:04:05.0000000" {
		t.Errorf("completed by its date: %s", r.raw)
	}
	w.task(list, `{"title":"Rest"}`)
	if got := w.get(filtered(list+"/tasks", "status ne 'completed'")).is(200).texts("title"); !slices.Equal(got, []string{"Rest"}) {
		t.Errorf("open tasks %v", got)
	}
}

func TestCompletingARecurringTaskMakesTheNextOne(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	list := w.list("Garden")
	r := w.made(list+"/tasks", `{"title":"Water","dueDateTime":`+at("2030-01-31T00:00:00")+`,"reminderDateTime":`+at("2030-01-31T06:00:00")+`,"isReminderOn":true,
		"checklistItems":[{"displayName":"Can","isChecked":true}],
		"recurrence":{"pattern":{"type":"absoluteMonthly","interval":1,"dayOfMonth":31},"range":{"type":"numbered","startDate":"2030-01-31","numberOfOccurrences":2}}}`)
	task := list + "/tasks/" + r.str("id")
	done := w.do(http.MethodPatch, task, `{"status":"completed"}`).is(200)
	if done.json["recurrence"] != nil {
		t.Errorf("the completed one recurs: %s", done.raw)
	}
	open := w.get(filtered(list+"/tasks?$expand=checklistItems", "status eq 'notStarted'")).is(200).value()
	if len(open) != 1 {
		t.Fatalf("open tasks: %v", open)
	}
	due := open[0]["dueDateTime"].(map[string]any)["dateTime"]
	remind := open[0]["reminderDateTime"].(map[string]any)["dateTime"]
	if due != "2030-02-28T00:00:00.0000000" || remind != "2030-02-28T06:00:00.0000000" || open[0]["isReminderOn"] != true {
		t.Errorf("the next one is due %v, reminds %v", due, remind)
	}
	if items := open[0]["checklistItems"].([]any); len(items) != 1 || items[0].(map[string]any)["isChecked"] != false {
		t.Errorf("its checklist: %v", items)
	}
	w.do(http.MethodPatch, list+"/tasks/"+open[0]["id"].(string), `{"status":"completed"}`).is(200)
	if n := len(w.get(list + "/tasks").is(200).value()); n != 2 {
		t.Errorf("%d tasks after the last one", n)
	}
	w.do(http.MethodPost, list+"/tasks", `{"title":"x","recurrence":{"pattern":{"type":"daily","interval":0},"range":{"type":"noEnd","startDate":"2030-01-01"}}}`).is(400, "invalidRequest")
	if got := when(w.made(list+"/tasks", `{"title":"x","recurrence":{"pattern":{"type":"daily","interval":2},"range":{"type":"noEnd","startDate":"2030-01-01"}}}`), "dueDateTime"); got != "2030-01-01T00:00:00.0000000" {
		t.Errorf("due without being told: %q", got)
	}
}

func TestTasksAreFilteredSortedAndPaged(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	list := w.list("Garden")
	for i, title := range []string{"b", "a", "c"} {
		w.task(list, fmt.Sprintf(`{"title":%q,"importance":"high","dueDateTime":%s}`, title, at(fmt.Sprintf("2030-01-0%dT00:00:00", i+1))))
	}
	w.task(list, `{"title":"d"}`)
	for query, want := range map[string][]string{
		"?$orderby=title": {"a", "b", "c", "d"},
		"?$orderby=dueDateTime/dateTime%20desc&$top=2":                        {"c", "a"},
		"?$orderby=title&$skip=1&$top=1":                                      {"b"},
		"?$filter=importance%20eq%20'high'&$orderby=title":                    {"a", "b", "c"},
		"?$filter=" + url.QueryEscape("dueDateTime/dateTime ge '2030-01-02'"): {"a", "c"},
	} {
		if got := w.get(list + "/tasks" + query).is(200).texts("title"); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	r := w.get("/me/todo/lists?$expand=tasks($top=1)&" + "$filter=" + url.QueryEscape("displayName eq 'Garden'")).is(200)
	if list, _ := r.value()[0]["tasks"].([]any); len(list) != 1 {
		t.Errorf("expanded: %s", r.raw)
	}
}

func TestChecklistsAndLinkedResourcesLieInATask(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	list := w.list("Garden")
	task := w.task(list, `{"title":"Dig"}`)
	other := w.task(list, `{"title":"Rest"}`)
	old := w.get(task).str("@odata.etag")
	r := w.made(task+"/checklistItems", `{"displayName":"Spade"}`)
	if r.json["isChecked"] != false || r.json["checkedDateTime"] != nil || len(r.str("id")) != 36 {
		t.Errorf("new item %s", r.raw)
	}
	if w.get(task).str("@odata.etag") == old {
		t.Error("a new checklist item does not change the task")
	}
	item := task + "/checklistItems/" + r.str("id")
	if got := w.do(http.MethodPatch, item, `{"isChecked":true}`).is(200); got.str("checkedDateTime") == "" {
		t.Errorf("checked: %s", got.raw)
	}
	if got := w.do(http.MethodPatch, item, `{"isChecked":false}`).is(200); got.json["checkedDateTime"] != nil {
		t.Errorf("unchecked: %s", got.raw)
	}
	w.get(other + "/checklistItems/" + r.str("id")).is(404)
	w.do(http.MethodPost, task+"/checklistItems", `{}`).is(400)
	if n := len(w.get(task + "/checklistItems").is(200).value()); n != 1 {
		t.Errorf("%d items", n)
	}
	w.do(http.MethodDelete, item, "").is(204)
	w.get(item).is(404)

	linked := w.made(task+"/linkedResources", `{"applicationName":"Connector","externalId":"k-1","displayName":"x"}`)
	at := task + "/linkedResources/" + linked.str("id")
	if got := w.do(http.MethodPatch, at, `{"webUrl":"https://x.example"}`).is(200); got.str("webUrl") != "https://x.example" || got.str("externalId") != "k-1" {
		t.Errorf("patched: %s", got.raw)
	}
	if got := w.get(filtered(task+"/linkedResources", "externalId eq 'k-1'")).is(200).value(); len(got) != 1 {
		t.Errorf("found by its external id: %v", got)
	}
	w.do(http.MethodDelete, at, "").is(204)
	w.get(at).is(404)
	w.do(http.MethodDelete, task, "").is(204)
	w.get(task + "/checklistItems").is(404)
}

func TestAFileIsAttachedToATask(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	task := w.task(w.list("Garden"), `{"title":"Dig"}`)
	all := task + "/attachments"
	file := func(kind string, content []byte) string {
		return fmt.Sprintf(`{"@odata.type":%q,"name":"plan.txt","contentType":"text/plain","contentBytes":%q}`, kind, base64.StdEncoding.EncodeToString(content))
	}
	r := w.made(all, file("#microsoft.graph.taskFileAttachment", []byte("A plan.")))
	if r.json["size"] != 7.0 || r.str("@odata.type") != "#microsoft.graph.taskFileAttachment" {
		t.Errorf("made: %s", r.raw)
	}
	if w.get(task).json["hasAttachments"] != true {
		t.Error("the task does not know of its file")
	}
	if got := w.get(all).is(200).value(); len(got) != 1 || got[0]["contentBytes"] != nil || got[0]["name"] != "plan.txt" {
		t.Errorf("list %v", got)
	}
	one := all + "/" + r.str("id")
	if got := w.get(one).is(200).str("contentBytes"); got != base64.StdEncoding.EncodeToString([]byte("A plan.")) {
		t.Errorf("content %q", got)
	}
	if got := w.get(one + "/$value").is(200); string(got.raw) != "A plan." || got.header.Get("Content-Type") != "text/plain" {
		t.Errorf("bytes %q", got.raw)
	}
	w.do(http.MethodPost, all, file("#microsoft.graph.fileAttachment", []byte("x"))).is(400, "RequestBodyRead")
	w.do(http.MethodPost, all, `{"@odata.type":"#microsoft.graph.taskFileAttachment","name":"x"}`).is(400)
	w.do(http.MethodPost, all, file("#microsoft.graph.taskFileAttachment", make([]byte, 3<<20+1))).is(413)
	w.do(http.MethodDelete, one, "").is(204)
	if w.get(task).json["hasAttachments"] != false {
		t.Error("the file is gone, but the task does not know")
	}
}

func TestALargeFileComesByAnUploadSessionInGraph(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	task := w.task(w.list("Garden"), `{"title":"Dig"}`)
	content := []byte(strings.Repeat("0123456789", 500))
	open := func(size int) *reply {
		return w.do(http.MethodPost, task+"/attachments/createUploadSession", fmt.Sprintf(`{"attachmentInfo":{"attachmentType":"file","name":"big.bin","size":%d}}`, size))
	}
	open(25<<20 + 1).is(413)
	r := open(len(content)).is(http.StatusOK)
	address := r.str("uploadUrl")
	if !strings.HasPrefix(address, w.GraphURL()+"/users/") || !strings.Contains(address, "/attachmentSessions/") {
		t.Fatalf("address %q", address)
	}
	put := func(w *world, from, to int) *reply {
		return w.with("Content-Type", "application/octet-stream").with("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content))).
			do(http.MethodPut, address+"/content", string(content[from:to]))
	}
	nobody := *w
	nobody.token = ""
	put(&nobody, 0, 2000).is(401)
	if got := put(w, 0, 2000).is(200); !strings.Contains(string(got.raw), `"2000"`) {
		t.Errorf("after the first piece: %s", got.raw)
	}
	put(w, 0, 2000).is(416)
	w.get(address).is(200)
	last := put(w, 2000, len(content)).is(http.StatusCreated)
	if len(last.raw) != 0 {
		t.Errorf("the last piece is answered with %s", last.raw)
	}
	if got := w.get(last.header.Get("Location") + "/$value").is(200); string(got.raw) != string(content) {
		t.Errorf("%d bytes came back", len(got.raw))
	}
	put(w, 0, 2000).is(404)

	address = open(len(content)).is(200).str("uploadUrl")
	w.do(http.MethodDelete, address, "").is(204)
	put(w, 0, 2000).is(404)
}

func TestListsAndTasksHaveDeltas(t *testing.T) {
	t.Parallel()
	w := todoWorld(t)
	items, lists := w.deltaRound("/me/todo/lists/delta")
	if len(items) != 2 {
		t.Errorf("lists: %v", items)
	}
	list := w.list("Garden")
	if items, lists = w.deltaRound(lists); len(items) != 1 || items[0]["displayName"] != "Garden" {
		t.Errorf("new list: %v", items)
	}
	stays, goes := w.task(list, `{"title":"Dig"}`), w.task(list, `{"title":"Rest"}`)
	items, tasks := w.deltaRound(list + "/tasks/delta")
	if len(items) != 2 {
		t.Errorf("tasks: %v", items)
	}
	w.do(http.MethodPatch, stays, `{"status":"completed"}`).is(200)
	w.do(http.MethodDelete, goes, "").is(204)
	if items, tasks = w.deltaRound(tasks); len(items) != 2 || items[0]["status"] != "completed" || items[0]["completedDateTime"] == nil || items[1]["@removed"] == nil {
		t.Errorf("changed tasks: %v", items)
	}
	w.made(stays+"/checklistItems", `{"displayName":"x"}`)
	if items, _ = w.deltaRound(tasks); len(items) != 1 {
		t.Errorf("after a checklist item: %v", items)
	}
	w.do(http.MethodDelete, list, "").is(204)
	if items, _ = w.deltaRound(lists); len(items) != 1 || items[0]["@removed"] == nil {
		t.Errorf("removed list: %v", items)
	}
	w.get(tasks).is(404)
}

func TestAPartialDeltaTellsWhatToDoHasSetAsWell(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.PartialUpdates()).as(ann, "Tasks.ReadWrite")
	list := w.list("Garden")
	task := w.task(list, `{"title":"Dig"}`)
	_, link := w.deltaRound(list + "/tasks/delta")
	w.do(http.MethodPatch, task, `{"status":"completed"}`).is(200)
	items, _ := w.deltaRound(link)
	if len(items) != 1 || items[0]["status"] != "completed" || items[0]["completedDateTime"] == nil || items[0]["title"] != nil {
		t.Errorf("items %v", items)
	}
}
