package sandbox_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestAnEventHasAttachments(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Review"))
	at := "/me/events/" + id + "/attachments"
	before := w.get("/me/events/" + id).str("@odata.etag")
	made := w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.fileAttachment","name":"plan.txt","contentBytes":"SGVsbG8="}`).is(http.StatusCreated)
	file := made.str("id")
	w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"A mail","item":{"@odata.type":"microsoft.graph.message","subject":"inside"}}`).is(http.StatusCreated)
	w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.referenceAttachment","name":"A link"}`).is(http.StatusCreated)
	w.do(http.MethodPost, at, `{"name":"nothing"}`).is(http.StatusBadRequest)
	r := w.get("/me/events/" + id + "?$expand=attachments").is(http.StatusOK)
	if list := r.json["attachments"].([]any); r.json["hasAttachments"] != true || len(list) != 3 || list[0].(map[string]any)["contentBytes"] != "SGVsbG8=" {
		t.Errorf("expanded: %s", r.raw)
	}
	if r.str("@odata.etag") == before {
		t.Error("an attachment did not change the event")
	}
	if one := w.get(at + "/" + file).is(http.StatusOK); one.str("name") != "plan.txt" || one.str("@odata.type") != "#microsoft.graph.fileAttachment" || one.str("contentType") != "text/plain" {
		t.Errorf("read back: %s", one.raw)
	}
	if raw := w.get(at + "/" + file + "/$value").is(http.StatusOK); string(raw.raw) != "Hello" {
		t.Errorf("$value %q", raw.raw)
	}
	item := w.get(at + "?$top=1&$skip=1").is(http.StatusOK).value()[0]["id"].(string)
	if r := w.get(at + "/" + item + "?$expand=microsoft.graph.itemattachment/item").is(http.StatusOK); r.json["item"].(map[string]any)["subject"] != "inside" {
		t.Errorf("the item: %s", r.raw)
	}
	w.do(http.MethodDelete, at+"/"+file, "").is(http.StatusNoContent)
	w.get(at+"/"+file).is(http.StatusNotFound, "ErrorItemNotFound")
	if n := len(w.get(at).value()); n != 2 {
		t.Errorf("%d attachments are left", n)
	}
}

func TestADateOfASeriesWithAnAttachmentIsAnException(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	master := w.book(meet("Daily", every(daily, forEver, "2026-12-01")))
	day := w.dates(master, "2026-12-01", "2026-12-04")["2026-12-02"]
	at := "/me/events/" + day + "/attachments"
	file := w.do(http.MethodPost, at, `{"@odata.type":"#microsoft.graph.fileAttachment","name":"a.txt","contentBytes":"YQ=="}`).is(http.StatusCreated).str("id")
	if e := w.get("/me/events/" + day).is(http.StatusOK); e.str("type") != "exception" || e.json["hasAttachments"] != true {
		t.Errorf("the date: %s", e.raw)
	}
	if w.get("/me/events/" + master).json["hasAttachments"] != false {
		t.Error("the whole series has the attachment")
	}
	w.do(http.MethodDelete, at+"/"+file, "").is(http.StatusNoContent)
}

func TestAnEventIsMadeWithAttachmentsThatItsDatesHave(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	file := func(name string) string {
		return fmt.Sprintf(`{"@odata.type":"#microsoft.graph.fileAttachment","name":%q,"contentBytes":"YQ=="}`, name)
	}
	w.do(http.MethodPost, "/me/events", meet("x", `"attachments":[{"name":"of no type"}]`)).is(http.StatusBadRequest)
	master := w.book(meet("Daily", every(daily, forEver, "2026-12-01"), `"attachments":[`+file("a.txt")+`,`+file("b.txt")+`]`))
	day := w.dates(master, "2026-12-01", "2026-12-04")["2026-12-02"]
	list := w.get("/me/events/" + day + "/attachments").is(http.StatusOK).value()
	if len(list) != 2 {
		t.Fatalf("the date has %v", list)
	}
	// Taking one from a date leaves the series and the other.
	w.do(http.MethodDelete, "/me/events/"+day+"/attachments/"+list[1]["id"].(string), "").is(http.StatusNoContent)
	names := func(id string) string {
		var s string
		for _, a := range w.get("/me/events/" + id + "/attachments").value() {
			s += a["name"].(string) + " "
		}
		return s
	}
	if got := names(day) + "/ " + names(master); got != "a.txt / a.txt b.txt " {
		t.Errorf("attachments: %s", got)
	}
}

func TestALargeFileIsUploadedToAnEvent(t *testing.T) {
	t.Parallel()
	w := calendarWorld(t)
	id := w.book(meet("Film"))
	const size = 3_000_001
	session := w.do(http.MethodPost, "/me/events/"+id+"/attachments/createUploadSession",
		fmt.Sprintf(`{"AttachmentItem":{"attachmentType":"file","name":"film.bin","size":%d}}`, size)).is(http.StatusCreated)
	data := strings.Repeat("x", size)
	bare := *w
	bare.token = ""
	put := bare.with("Content-Type", "application/octet-stream")
	put.with("Content-Range", fmt.Sprintf("bytes 0-1999999/%d", size)).do(http.MethodPut, session.str("uploadUrl"), data[:2_000_000]).is(http.StatusOK)
	last := put.with("Content-Range", fmt.Sprintf("bytes 2000000-%d/%d", size-1, size)).do(http.MethodPut, session.str("uploadUrl"), data[2_000_000:]).is(http.StatusCreated)
	location := last.header.Get("Location")
	if !strings.Contains(location, "/Events('") {
		t.Errorf("Location %s", location)
	}
	list := w.get("/me/events/" + id + "/attachments?$select=name,size").is(http.StatusOK).value()
	if len(list) != 1 || list[0]["size"] != float64(size) {
		t.Fatalf("attachments %v", list)
	}
	if raw := w.get("/me/events/" + id + "/attachments/" + list[0]["id"].(string) + "/$value").is(http.StatusOK); !bytes.Equal(raw.raw, []byte(data)) {
		t.Error("other bytes came back")
	}
}
