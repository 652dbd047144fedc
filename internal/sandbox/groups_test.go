package sandbox_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

const groupScopes = "Group.ReadWrite.All Group-Conversation.ReadWrite.All"

// inGroup is Ben at a group, and the group's address.
func inGroup(t *testing.T) (w *world, at string) {
	t.Helper()
	w = start(t).as(ben, groupScopes)
	return w, "/groups/" + w.Groups()[0].ID
}

func aText(content string) string { return `"body":{"contentType":"text","content":"` + content + `"}` }

func TestAConversationComesWithItsThreadsAndPosts(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	id := w.do(http.MethodPost, at+"/conversations", `{"topic":"Lunch","threads":[{"posts":[{`+aText("Where?")+`}]}]}`).is(http.StatusCreated).str("id")

	c := w.get(at + "/conversations/" + id + "?$expand=threads").is(http.StatusOK)
	if c.str("topic") != "Lunch" || c.str("preview") != "Where?" || len(c.json["uniqueSenders"].([]any)) != 1 || len(c.json["threads"].([]any)) != 1 {
		t.Errorf("the conversation is %s", c.raw)
	}
	threads := w.get(at + "/conversations/" + id + "/threads").is(http.StatusOK).value()
	if len(threads) != 1 || threads[0]["topic"] != "Lunch" {
		t.Fatalf("the threads are %v", threads)
	}
	thread, _ := threads[0]["id"].(string)
	posts := w.get(at + "/threads/" + thread + "/posts").is(http.StatusOK).value()
	if len(posts) != 1 || posts[0]["conversationId"] != id || posts[0]["conversationThreadId"] != thread {
		t.Fatalf("the posts are %v", posts)
	}
	from, _ := posts[0]["from"].(map[string]any)
	if sender, _ := from["emailAddress"].(map[string]any); sender["address"] != ben {
		t.Errorf("the post is from %v", posts[0]["from"])
	}
	sent := w.Effects()
	if n := len(sent); n != 1 || sent[0].Kind != sandbox.EffectSent || sent[0].What != "post" || sent[0].Subject != "Lunch" {
		t.Errorf("the ledger has %+v", sent)
	}
}

func TestARepliedThreadShowsTheNewestPost(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	thread := w.do(http.MethodPost, at+"/threads", `{"topic":"Lunch","posts":[{`+aText("Where?")+`}]}`).is(http.StatusCreated).str("id")
	one := at + "/threads/" + thread
	r := w.do(http.MethodPost, one+"/reply", `{"post":{`+aText("At the harbour.")+`,"attachments":[
		{"@odata.type":"#microsoft.graph.fileAttachment","name":"menu.txt","contentType":"text/plain","contentBytes":"U291cA=="}]}}`).is(http.StatusAccepted)
	if len(r.raw) > 0 {
		t.Errorf("202 has a body: %s", r.raw)
	}
	now := w.get(one).is(http.StatusOK)
	if now.str("preview") != "At the harbour." || now.json["hasAttachments"] != true {
		t.Errorf("the thread is %s", now.raw)
	}
	posts := w.get(one + "/posts?$expand=attachments").is(http.StatusOK).value()
	if len(posts) != 2 || posts[0]["hasAttachments"] != false || posts[1]["hasAttachments"] != true {
		t.Fatalf("the posts are %v", posts)
	}
	files, _ := posts[1]["attachments"].([]any)
	file, _ := files[0].(map[string]any)
	if file["@odata.type"] != "#microsoft.graph.fileAttachment" || file["contentBytes"] != "U291cA==" || file["size"] != 4.0 {
		t.Errorf("the attachment is %v", file)
	}
	of := one + "/posts/" + posts[1]["id"].(string) + "/attachments/" + file["id"].(string)
	if got := w.get(of + "/$value").is(http.StatusOK); string(got.raw) != "Soup" || got.header.Get("Content-Type") != "text/plain" {
		t.Errorf("$value is %q as %s", got.raw, got.header.Get("Content-Type"))
	}
	// It belongs to the second post, and nowhere else.
	w.get(one+"/posts/"+posts[0]["id"].(string)+"/attachments/"+file["id"].(string)).is(http.StatusNotFound, "ErrorItemNotFound")
	w.do(http.MethodDelete, of, "").is(http.StatusNoContent)
	w.get(of).is(http.StatusNotFound, "ErrorItemNotFound")
}

func TestALockedThreadTakesNoReply(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	one := at + "/threads/" + w.do(http.MethodPost, at+"/threads", `{"topic":"Lunch","posts":[{`+aText("Where?")+`}]}`).is(http.StatusCreated).str("id")
	w.do(http.MethodPatch, one, `{"isLocked":true}`).is(http.StatusOK)
	w.do(http.MethodPost, one+"/reply", `{"post":{`+aText("Here.")+`}}`).is(http.StatusForbidden, "ErrorAccessDenied")
	if n := len(w.get(one + "/posts").value()); n != 1 {
		t.Errorf("there are %d posts", n)
	}
}

func TestTheLastThreadTakesItsConversationWithIt(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	one := w.do(http.MethodPost, at+"/conversations", `{"topic":"Lunch","threads":[{"posts":[{`+aText("Where?")+`}]}]}`).is(http.StatusCreated).str("id")
	threads := at + "/conversations/" + one + "/threads"
	second := w.do(http.MethodPost, threads, `{"topic":"Dinner","posts":[{`+aText("When?")+`}]}`).is(http.StatusCreated).str("id")
	if n := len(w.get(threads).value()); n != 2 {
		t.Fatalf("there are %d threads", n)
	}
	other := w.do(http.MethodPost, at+"/conversations", `{"topic":"Tea","threads":[{"posts":[{`+aText("Now?")+`}]}]}`).is(http.StatusCreated).str("id")
	w.get(at+"/conversations/"+other+"/threads/"+second).is(http.StatusNotFound, "ErrorItemNotFound")
	w.do(http.MethodDelete, threads+"/"+second, "").is(http.StatusNoContent)
	w.get(at + "/conversations/" + one).is(http.StatusOK)
	first, _ := w.get(threads).value()[0]["id"].(string)
	w.do(http.MethodDelete, at+"/threads/"+first, "").is(http.StatusNoContent)
	w.get(at+"/conversations/"+one).is(http.StatusNotFound, "ErrorItemNotFound")
}

func TestAForwardedPostReachesItsRecipients(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	thread := at + "/threads/" + w.do(http.MethodPost, at+"/threads", `{"topic":"Lunch","posts":[{`+aText("Where?")+`}]}`).is(http.StatusCreated).str("id")
	post, _ := w.get(thread + "/posts").value()[0]["id"].(string)
	w.do(http.MethodPost, thread+"/posts/"+post+"/forward", `{"comment":"Look","toRecipients":[{"emailAddress":{"address":"`+cleo+`"}}]}`).is(http.StatusOK)
	if got := w.as(cleo, allMail).in("inbox"); !slices.Equal(got, []string{"FW: Lunch"}) {
		t.Errorf("Cleo has %q", got)
	}
	w.do(http.MethodPost, thread+"/posts/"+post+"/forward", `{"comment":"Look"}`).is(http.StatusBadRequest, "ErrorInvalidRecipients")
}

func TestPostsAreFoundByExtendedPropertyAndExtension(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	thread := at + "/threads/" + w.do(http.MethodPost, at+"/threads", `{"topic":"Lunch","posts":[{`+aText("Where?")+`}]}`).is(http.StatusCreated).str("id")
	const id = "String {66f5a359-4659-4830-9070-00047ec6ac6e} Name Color"
	w.do(http.MethodPost, thread+"/reply", `{"post":{`+aText("Green.")+`,"singleValueExtendedProperties":[{"id":"`+id+`","value":"Green"}],
		"extensions":[{"@odata.type":"microsoft.graph.openTypeExtension","extensionName":"Com.Contoso.Mood","mood":"good"}]}}`).is(http.StatusAccepted)
	for _, filter := range []string{
		"singleValueExtendedProperties/Any(ep: ep/id eq '" + id + "' and ep/value eq 'Green')",
		"Extensions/any(f:f/id eq 'Com.Contoso.Mood')",
	} {
		if n := len(w.get(thread + "/posts?$filter=" + url.QueryEscape(filter)).is(http.StatusOK).value()); n != 1 {
			t.Errorf("%s finds %d posts", filter, n)
		}
	}
}

func TestNobodyIsBothAcceptedAndRejected(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	ref := `{"@odata.id":"https://graph.microsoft.com/v1.0/users/` + cleo + `"}`
	w.do(http.MethodPost, at+"/acceptedSenders/$ref", ref).is(http.StatusNoContent)
	w.do(http.MethodPost, at+"/acceptedSenders/$ref", ref).is(http.StatusBadRequest, "Request_BadRequest")
	w.do(http.MethodPost, at+"/rejectedSenders/$ref", ref).is(http.StatusBadRequest, "Request_BadRequest")
	list := w.get(at + "/acceptedSenders").is(http.StatusOK).value()
	if len(list) != 1 || list[0]["userPrincipalName"] != cleo || list[0]["@odata.type"] != "#microsoft.graph.user" {
		t.Errorf("accepted are %v", list)
	}
	gone := at + "/acceptedSenders/$ref?$id=" + url.QueryEscape(w.GraphURL()+"/users/"+cleo)
	w.do(http.MethodDelete, gone, "").is(http.StatusNoContent)
	w.do(http.MethodDelete, gone, "").is(http.StatusNotFound, "Request_ResourceNotFound")
	w.do(http.MethodPost, at+"/rejectedSenders/$ref", ref).is(http.StatusNoContent)
	w.do(http.MethodPost, at+"/rejectedSenders/$ref", strings.Replace(ref, cleo, noPerson, 1)).is(http.StatusNotFound, "Request_ResourceNotFound")
	w.do(http.MethodPost, at+"/rejectedSenders/$ref", `{"@odata.id":"nonsense"}`).is(http.StatusBadRequest, "Request_BadRequest")
}

func TestWhatIsWrongInANewConversationChangesNothing(t *testing.T) {
	t.Parallel()
	w, at := inGroup(t)
	for _, body := range []string{
		`{"topic":"Lunch"}`,
		`{"topic":"Lunch","threads":[{"posts":[]}]}`,
		`{"topic":"Lunch","threads":[{"posts":[{` + aText("Where?") + `,"mood":"good"}]}]}`,
		`{"topic":"Lunch","threads":[{"posts":[{` + aText("Where?") + `,"attachments":[{"name":"a"}]}]}]}`,
	} {
		w.do(http.MethodPost, at+"/conversations", body).is(http.StatusBadRequest)
	}
	if list := w.get(at + "/conversations").value(); len(list) > 0 {
		t.Errorf("there are %v", list)
	}
}
