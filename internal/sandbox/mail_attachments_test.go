package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/sandbox"
)

const (
	fileA = `{"@odata.type":"#microsoft.graph.fileAttachment","name":"a.txt","contentBytes":"aGVsbG8="}`
	fileB = `{"@odata.type":"microsoft.graph.fileAttachment","name":"b.png","contentType":"image/png","isInline":true,"contentId":"pic","contentBytes":"AAEC"}`
)

func names(items []map[string]any) []string {
	list := []string{}
	for _, it := range items {
		list = append(list, fmt.Sprint(it["name"]))
	}
	return list
}

func TestFilesAreAttachedListedReadAndRemoved(t *testing.T) {
	t.Parallel()
	w := start(t)
	id := w.draft("m", ben)
	at := "/me/messages/" + id + "/attachments"
	before := w.get("/me/messages/" + id).is(200).str("@odata.etag")
	b := w.do(http.MethodPost, at, fileB).is(201)
	if m := w.get("/me/messages/" + id).is(200); m.json["hasAttachments"] != false || m.str("@odata.etag") == before {
		t.Errorf("after an inline one: %s", m.raw)
	}
	a := w.do(http.MethodPost, at, fileA).is(201)
	if a.str("@odata.type") != "#microsoft.graph.fileAttachment" || a.str("contentType") != "text/plain" || a.json["size"] != 5.0 || a.json["isInline"] != false || a.str("lastModifiedDateTime") == "" {
		t.Errorf("created %s", a.raw)
	}
	if m := w.get("/me/messages/" + id).is(200); m.json["hasAttachments"] != true {
		t.Error("no attachments")
	}
	list := w.get(at + "?$count=true").is(200)
	if got := names(list.value()); !slices.Equal(got, []string{"b.png", "a.txt"}) || list.json["@odata.count"] != 2.0 {
		t.Errorf("list %s", list.raw)
	}
	if got := list.value()[0]; got["contentId"] != "pic" || got["contentBytes"] != "AAEC" || got["id"] != b.json["id"] {
		t.Errorf("inline %v", got)
	}
	brief := w.get(at + "?$select=id,name").is(200).value()[0]
	if _, has := brief["contentBytes"]; has || brief["size"] != nil || brief["name"] != "b.png" {
		t.Errorf("brief %v", brief)
	}
	if page := w.get(at + "?$top=1").is(200); len(page.value()) != 1 || len(w.get(page.str("@odata.nextLink")).is(200).value()) != 1 {
		t.Errorf("page %s", page.raw)
	}
	raw := w.get(at + "/" + a.str("id") + "/$value").is(200)
	if string(raw.raw) != "hello" || raw.header.Get("Content-Type") != "text/plain" {
		t.Errorf("content %q %v", raw.raw, raw.header)
	}
	if got := w.get(at + "/$count").is(200); string(got.raw) != "2" {
		t.Errorf("count %s", got.raw)
	}
	folder := "/me/mailFolders/drafts/messages/" + id + "/attachments/" + a.str("id")
	if got := w.get(folder).is(200); got.str("name") != "a.txt" || got.str("@odata.mediaContentType") != "text/plain" {
		t.Errorf("by the folder: %s", got.raw)
	}
	expanded := w.get("/me/messages/" + id + "?$expand=attachments($select=name)").is(200).json["attachments"].([]any)
	if len(expanded) != 2 || expanded[0].(map[string]any)["contentBytes"] != nil {
		t.Errorf("expanded %v", expanded)
	}
	w.do(http.MethodDelete, at+"/"+a.str("id"), "").is(204)
	w.do(http.MethodDelete, at+"/"+a.str("id"), "").is(404, "ErrorItemNotFound")
	w.get(at+"/"+a.str("id")).is(404, "ErrorItemNotFound")
	c := w.do(http.MethodPost, at, fileA).is(201)
	if c.str("id") == a.str("id") {
		t.Error("an id came back")
	}
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(202)
	got := w.as(ben, "Mail.Read").get("/me/messages?$expand=attachments").is(200).value()[0]
	if got["hasAttachments"] != true || len(got["attachments"].([]any)) != 2 {
		t.Errorf("delivered %v", got)
	}
}

func TestAttachmentsThatGraphRefuses(t *testing.T) {
	t.Parallel()
	w := start(t)
	id := w.draft("m", ben)
	at := "/me/messages/" + id + "/attachments"
	for name, row := range map[string]struct{ body, code string }{
		"no type":      {`{"name":"a","contentBytes":"AA=="}`, "RequestBodyRead"},
		"no name":      {`{"@odata.type":"#microsoft.graph.fileAttachment","contentBytes":"AA=="}`, "ErrorInvalidRequest"},
		"no content":   {`{"@odata.type":"#microsoft.graph.fileAttachment","name":"a"}`, "ErrorInvalidRequest"},
		"no base64":    {`{"@odata.type":"#microsoft.graph.fileAttachment","name":"a","contentBytes":"%"}`, "RequestBodyRead"},
		"unknown":      {`{"@odata.type":"#microsoft.graph.fileAttachment","name":"a","contentBytes":"","colour":"x"}`, "RequestBodyRead"},
		"no item":      {`{"@odata.type":"#microsoft.graph.itemAttachment","name":"a"}`, "ErrorInvalidRequest"},
		"strange item": {`{"@odata.type":"#microsoft.graph.itemAttachment","name":"a","item":{"@odata.type":"microsoft.graph.todoTask"}}`, "RequestBodyRead"},
		"bad item":     {`{"@odata.type":"#microsoft.graph.itemAttachment","name":"a","item":{"@odata.type":"microsoft.graph.message","topic":"x"}}`, "RequestBodyRead"},
		"not in v1.0":  {`{"@odata.type":"#microsoft.graph.referenceAttachment","name":"a","sourceUrl":"https://x.example"}`, "RequestBodyRead"},
		"not JSON":     {`{"name":`, "BadRequest"},
	} {
		if r := w.do(http.MethodPost, at, row.body); r.status != 400 || r.code() != row.code {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
	w.get(at+"/nonsense").is(400, "ErrorInvalidIdMalformed")
	w.get(at+"?$select=colour").is(400, "RequestBroker--ParseUri")
	w.get(at+"?$filter=size%20gt%203").is(400, "ErrorInvalidUrlQuery")
	w.get("/me/messages/nonsense/attachments").is(400, "ErrorInvalidIdMalformed")
	w.as(ann, "Mail.Read").do(http.MethodPost, at, fileA).is(403, "ErrorAccessDenied")
	w.as(ann, "Mail.ReadBasic").get("/me/messages/"+id+"?$expand=attachments").is(403, "ErrorAccessDenied")
	w.with("If-Match", `W/"old"`).do(http.MethodPost, at, fileA).is(412, "ErrorIrresolvableConflict")
	other := w.draft("other", ben)
	a := w.do(http.MethodPost, at, fileA).is(201)
	w.get("/me/messages/"+other+"/attachments/"+a.str("id")).is(404, "ErrorItemNotFound")
	big := `{"@odata.type":"#microsoft.graph.fileAttachment","name":"a","contentBytes":"` + strings.Repeat("A", 4<<20) + `"}`
	w.do(http.MethodPost, at, big).is(413, "RequestEntityTooLarge")
	if e := w.Effects(); len(e) != 3 {
		t.Errorf("ledger %+v", e)
	}
}

func TestItemsAndReferencesAreAttached(t *testing.T) {
	t.Parallel()
	w := start(t)
	at := "/me/messages/" + w.draft("m", ben) + "/attachments"
	mailItem := w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"mail","item":{"@odata.type":"microsoft.graph.message","subject":"Inner",
		"body":{"contentType":"html","content":"<b>in</b>"},"toRecipients":[{"emailAddress":{"address":"x@fabrikam.example"}}],"attachments":[`+fileA+`]}}`).is(201)
	if mailItem.json["item"] != nil || mailItem.json["contentBytes"] != nil {
		t.Errorf("created %s", mailItem.raw)
	}
	one := w.get(at + "/" + mailItem.str("id") + "?$expand=microsoft.graph.itemattachment/item").is(200)
	if item, _ := one.json["item"].(map[string]any); item["subject"] != "Inner" || item["@odata.type"] != "#microsoft.graph.message" || item["hasAttachments"] != true {
		t.Errorf("item %s", one.raw)
	}
	mime := w.get(at + "/" + mailItem.str("id") + "/$value").is(200)
	if text := string(mime.raw); !strings.Contains(text, "Subject: Inner\r\n") || !strings.Contains(text, "aGVsbG8=") {
		t.Errorf("content %s", text)
	}
	event := w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"meeting","item":{"@odata.type":"microsoft.graph.event","subject":"Lunch",
		"start":{"dateTime":"2030-01-02T12:00:00","timeZone":"UTC"},"end":{"dateTime":"2030-01-02T13:00:00","timeZone":"UTC"}}}`).is(201)
	if got := w.get(at + "/" + event.str("id") + "/$value").is(200); !strings.Contains(string(got.raw), "SUMMARY:Lunch") || got.header.Get("Content-Type") != "text/calendar" {
		t.Errorf("event %s", got.raw)
	}
	contact := w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"person","item":{"@odata.type":"microsoft.graph.contact","givenName":"Dora","displayName":"Dora D"}}`).is(201)
	if got := w.get(at + "/" + contact.str("id") + "?$expand=microsoft.graph.itemattachment/item").is(200); !strings.Contains(string(got.raw), `"givenName":"Dora"`) {
		t.Errorf("contact %s", got.raw)
	}
	if got := w.get(at + "/" + contact.str("id") + "/$value").is(200); !strings.Contains(string(got.raw), "FN:Dora D") {
		t.Errorf("contact %s", got.raw)
	}
	ref := w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.referenceAttachment","name":"link"}`).is(201)
	w.get(at + "/" + ref.str("id") + "/$value").is(405)
}

func TestIDsOfAttachmentsLiveAsLongAsTheMessages(t *testing.T) {
	t.Parallel()
	w := start(t)
	fixed := w.with("Prefer", `IdType="ImmutableId"`)
	id := fixed.draft("m", ben)
	still := fixed.do(http.MethodPost, "/me/messages/"+id+"/attachments", fileA).is(201).str("id")
	ordinary := w.get("/me/messages/" + id + "/attachments").is(200).value()[0]["id"].(string)
	if still == ordinary {
		t.Fatal("the two forms are the same")
	}
	w.get("/me/messages/" + id + "/attachments/" + ordinary).is(200)
	moved := fixed.do(http.MethodPost, "/me/messages/"+id+"/move", `{"destinationId":"archive"}`).is(201)
	fixed.get("/me/messages/" + moved.str("id") + "/attachments/" + still).is(200)
	w.get("/me/messages/"+id+"/attachments/"+ordinary).is(404, "ErrorItemNotFound")
	copied := w.do(http.MethodPost, "/me/messages/"+id+"/copy", `{"destinationId":"inbox"}`).is(201)
	list := w.get("/me/messages/" + copied.str("id") + "/attachments").is(200).value()
	if len(list) != 1 || list[0]["contentBytes"] != "aGVsbG8=" || list[0]["id"] == still {
		t.Errorf("copied %v", list)
	}
	w.do(http.MethodDelete, "/me/messages/"+copied.str("id")+"/attachments/"+list[0]["id"].(string), "").is(204)
	fixed.get("/me/messages/" + id + "/attachments/" + still).is(200)
	w.do(http.MethodDelete, "/me/messages/"+copied.str("id"), "").is(204)
	w.do(http.MethodDelete, "/me/messages/"+copied.str("id"), "").is(404, "ErrorItemNotFound")
}

func TestAttachmentsSurviveARestartAndAreStoredOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, err := sandbox.New(sandbox.StoreDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := (&world{Sandbox: first, t: t, client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, header: http.Header{"Prefer": {`IdType="ImmutableId"`}}}).as(ann, allMail)
	id := w.draft("m", ben, cleo)
	content := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("0123456789", 20_000)))
	a := w.do(http.MethodPost, "/me/messages/"+id+"/attachments", `{"@odata.type":"#microsoft.graph.fileAttachment","name":"big","contentBytes":"`+content+`"}`).is(201).str("id")
	w.do(http.MethodPatch, "/me/messages/"+id, `{"importance":"high"}`).is(200)
	w.do(http.MethodPost, "/me/messages/"+id+"/send", "").is(202)
	if size := storeSize(t, dir); size > 600_000 {
		t.Errorf("the journal has %d bytes", size)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // from the journal, and from the compacted one
		again, err := sandbox.New(sandbox.StoreDir(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.Sandbox = again
		if size := storeSize(t, dir); size > 600_000 {
			t.Errorf("the journal has %d bytes after a start", size)
		}
		w = w.as(ann, allMail)
		if got := w.get("/me/messages/" + id + "/attachments/" + a + "/$value").is(200); len(got.raw) != 200_000 {
			t.Errorf("%d bytes came back", len(got.raw))
		}
		if got := w.as(cleo, "Mail.Read").get("/me/messages?$expand=attachments").is(200).value()[0]["attachments"].([]any); len(got) != 1 || got[0].(map[string]any)["contentBytes"] != content {
			t.Error("cleo's copy is another")
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMessagesAreCounted(t *testing.T) {
	t.Parallel()
	w := start(t)
	w.deliver(ann, "a")
	w.deliver(ann, "b")
	w.draft("c")
	for path, want := range map[string]string{
		"/me/messages/$count":                                   "3",
		"/me/mailFolders/inbox/messages/$count":                 "2",
		"/me/messages/$count?$filter=isDraft%20eq%20true":       "1",
		"/users/ann@contoso.example/messages/$count?$select=id": "3",
	} {
		r := w.get(path).is(200)
		if string(r.raw) != want || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %s %v", path, r.raw, r.header)
		}
	}
	w.as(ann, "Mail.Send").get("/me/messages/$count").is(403, "ErrorAccessDenied")
}

func TestMultiValuePropertiesOfMessages(t *testing.T) {
	t.Parallel()
	w := start(t)
	const prop = "StringArray {66f5a359-4659-4830-9070-00050ec6ac6e} Name Palette"
	r := w.do(http.MethodPost, "/me/messages", `{"subject":"x","multiValueExtendedProperties":[{"id":"`+prop+`","value":["green","blue"]}]}`).is(201)
	w.draft("y")
	w.do(http.MethodPatch, "/me/messages/"+r.str("id"), `{"multiValueExtendedProperties":[{"id":"`+prop+`","value":["red"]}]}`).is(200)
	expand := "$expand=multiValueExtendedProperties($filter=id%20eq%20'" + strings.ReplaceAll(prop, " ", "%20") + "')"
	got := w.get("/me/messages/" + r.str("id") + "?" + expand).is(200)
	if text := fmt.Sprint(got.json["multiValueExtendedProperties"]); text != "[map[id:"+prop+" value:[red]]]" {
		t.Errorf("expanded %s", text)
	}
	filter := "$filter=multiValueExtendedProperties/any(ep:ep/id%20eq%20'" + strings.ReplaceAll(prop, " ", "%20") + "'%20and%20ep/value/any(v:v%20eq%20'red'))"
	if list := w.get("/me/messages?" + filter).is(200); !slices.Equal(list.subjects(), []string{"x"}) {
		t.Errorf("found %s", list.raw)
	}
	w.get("/me/messages?$expand=multiValueExtendedProperties").is(400, "ErrorInvalidArgument")
	w.do(http.MethodPost, "/me/messages", `{"multiValueExtendedProperties":[{"id":"bad","value":[]}]}`).is(400, "ErrorInvalidArgument")
}

// storeSize is the size of the journal in a folder.
func storeSize(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "sandbox.journal"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
