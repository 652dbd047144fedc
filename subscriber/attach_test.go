package subscriber

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
)

func TestWhenAttachmentsAreAskedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entity string
		mode   Attachments
		raw    string
		asks   bool
	}{
		"has some":           {"mail.message.delta", AttachmentsList, `{"id":"1","hasAttachments":true}`, true},
		"has none":           {"mail.message.delta", AttachmentsList, `{"id":"1","hasAttachments":false,"body":{"content":"<p>hi"}}`, false},
		"has none, no body":  {"mail.message.delta", AttachmentsBlob, `{"id":"1","hasAttachments":false}`, false},
		"images in the body": {"mail.message.delta", AttachmentsInline, `{"id":"1","hasAttachments":false,"body":{"content":"<img src=\"CID:a@b\">"}}`, true},
		"does not say":       {"mail.message.delta", AttachmentsList, `{"id":"1"}`, true},
		"says null":          {"mail.message.delta", AttachmentsList, `{"id":"1","hasAttachments":null}`, true},
		"events":             {"calendar.event.list", AttachmentsList, `{"id":"1","hasAttachments":true}`, true},
		"tasks":              {"todo.task.list", AttachmentsList, `{"id":"1","hasAttachments":true}`, true},
		"contacts have none": {"contacts.contact.list", AttachmentsList, `{"id":"1"}`, false},
		"nobody wants them":  {"mail.message.delta", AttachmentsNone, `{"id":"1","hasAttachments":true}`, false},
		"nothing is said":    {"mail.message.delta", "", `{"id":"1","hasAttachments":true}`, false},
		"a task of no list":  {"todo.task.delta", AttachmentsList, `{"id":"","hasAttachments":true}`, false},
		"an unreadable item": {"mail.message.delta", AttachmentsList, `{"id":"1","hasAttachments":true`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := enricherOf(t, newFakeMailbox(t), nil, c.entity, func(s *Subscription, r *Request) {
				s.Hydrate, s.Attachments = true, c.mode
				r.Path = map[string]string{"todoTaskList-id": "L"}
			})
			if got := e.needsList(&piece{item: item{id: textID(c.raw), raw: []byte(c.raw)}}); got != c.asks {
				t.Errorf("asks %v, want %v", got, c.asks)
			}
		})
	}
}

// textID is the id that a broken item has all the same.
func textID(raw string) string {
	id, _, _ := strings.Cut(strings.TrimPrefix(raw, `{"id":"`), `"`)
	return id
}

func attaching(mode Attachments) func(*Subscription, *Request) {
	return func(s *Subscription, r *Request) {
		s.Attachments = mode
		r.Path = map[string]string{"mailFolder-id": "inbox", "todoTaskList-id": "L"}
	}
}

// entriesIn returns the attachments of an item's JSON.
func entriesIn(t *testing.T, raw []byte) []map[string]any {
	t.Helper()
	var body struct {
		ID          string
		Attachments []map[string]any
	}
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if body.ID == "" {
		t.Errorf("the item lost its id: %s", raw)
	}
	return body.Attachments
}

// aMail is a mailbox with a message m of a file, a picture, a message, a link.
func aMail(t *testing.T) *fakeMailbox {
	t.Helper()
	box := newFakeMailbox(t)
	box.answers["messages/m/attachments"] = found(`{"@odata.context":"c","value":[` +
		`{"@odata.type":"#microsoft.graph.fileAttachment","id":"f","name":"ü.txt","contentType":"text/plain","size":900,"isInline":false,"lastModifiedDateTime":"x"},` +
		`{"@odata.type":"#microsoft.graph.fileAttachment","id":"p/1","name":"p.png","contentType":"image/png","size":300,"isInline":true,"contentBytes":"never"},` +
		`{"@odata.type":"#microsoft.graph.itemAttachment","id":"i","name":"mail","contentType":null,"size":200,"isInline":false},` +
		`{"@odata.type":"#microsoft.graph.referenceAttachment","id":"r","name":"link","contentType":null,"size":2000000000,"isInline":false}]}`)
	box.answers["messages/m/attachments/r"] = found(`{"@odata.context":"c","@odata.type":"#microsoft.graph.referenceAttachment","id":"r","name":"link","sourceUrl":"https://contoso.example/x"}`)
	box.bodies["messages/m/attachments/f/$value"] = []byte("file")
	box.bodies["messages/m/attachments/p%2F1/$value"] = []byte{0, 1, 255}
	box.bodies["messages/m/attachments/i/$value"] = []byte("From: x\r\n")
	return box
}

const message = `{"id":"m","@odata.etag":"W/\"1\"","subject":"s","hasAttachments":true}`

func TestAttachmentsAsAList(t *testing.T) {
	t.Parallel()
	box := aMail(t)
	p, none := pieceOf(t, message), pieceOf(t, `{"id":"n","hasAttachments":false}`)
	enrichAll(t, enricherOf(t, box, nil, "mail.message.delta", attaching(AttachmentsList)), p, none)
	if get := box.batches[0][0]; get.Query["$select"] != "id,name,contentType,size,lastModifiedDateTime,isInline" || get.Headers["Prefer"] == "" {
		t.Errorf("asked with %v and %v", get.Query, get.Headers)
	}
	if got := box.asked(); !slices.Equal(got, []string{"messages/m/attachments"}) {
		t.Errorf("asked for %v", got)
	}
	entries := entriesIn(t, p.raw)
	if len(entries) != 4 || entries[0]["name"] != "ü.txt" || entries[0]["size"] != 900.0 || entries[3]["@odata.type"] != referenceKind {
		t.Errorf("%s", p.raw)
	}
	if strings.Contains(string(p.raw), "contentBytes") || !strings.HasPrefix(string(p.raw), `{"id":"m","@odata.etag":"W/\"1\"","subject":"s","hasAttachments":true,`) {
		t.Errorf("%s", p.raw)
	}
	if string(none.raw) != `{"id":"n","hasAttachments":false}` || p.version != "1" {
		t.Errorf("%s, version %s", none.raw, p.version)
	}
	box.idle()
}

func TestAttachmentsInline(t *testing.T) {
	t.Parallel()
	box := aMail(t)
	p := pieceOf(t, message)
	enrichAll(t, enricherOf(t, box, newFakeBlobs(), "mail.message.delta", attaching(AttachmentsInline)), p)
	entries := entriesIn(t, p.raw)
	for i, want := range []string{"file", "\x00\x01\xff", "From: x\r\n"} {
		text, _ := entries[i]["contentBytes"].(string)
		if got, err := base64.StdEncoding.DecodeString(text); err != nil || string(got) != want {
			t.Errorf("entry %d has %q, want %q", i, got, want)
		}
	}
	if entries[3]["sourceUrl"] != "https://contoso.example/x" || entries[3]["contentBytes"] != nil {
		t.Errorf("a link has %v", entries[3])
	}
	box.idle()
}

func TestAttachmentsAsBlobs(t *testing.T) {
	t.Parallel()
	box, blobs := aMail(t), newFakeBlobs()
	p := pieceOf(t, message)
	enrichAll(t, enricherOf(t, box, blobs, "mail.message.delta", attaching(AttachmentsBlob)), p)
	entries := entriesIn(t, p.raw)
	for i, want := range []string{"file", "\x00\x01\xff", "From: x\r\n"} {
		if got := blobs.content(entries[i]["blob"]); string(got) != want || entries[i]["size"] != float64(len(want)) {
			t.Errorf("entry %d is %v with %q, want %q", i, entries[i], got, want)
		}
		if sum, _ := entries[i]["sha256"].(string); len(sum) != 64 || entries[i]["contentBytes"] != nil || entries[i][memberNote] != nil {
			t.Errorf("entry %d is %v", i, entries[i])
		}
	}
	if entries[3]["blob"] != nil || entries[3]["sourceUrl"] == nil || len(blobs.names) != 3 {
		t.Errorf("a link has %v; %d blobs", entries[3], len(blobs.names))
	}
	// A repeat, and another version of the item, store nothing under other names;
	// another mailbox does.
	names := sorted(keysOf(blobs.names))
	again := pieceOf(t, strings.Replace(message, `\"1\"`, `\"2\"`, 1))
	box.answers["messages/m/attachments"] = found(`{"value":[{"id":"f","size":900,"lastModifiedDateTime":"x"}]}`)
	enrichAll(t, enricherOf(t, box, blobs, "mail.message.delta", attaching(AttachmentsBlob)), again)
	if got := sorted(keysOf(blobs.names)); !slices.Equal(got, names) {
		t.Errorf("stored as %v and again as %v", names, got)
	}
	other := pieceOf(t, message)
	enrichAll(t, enricherOf(t, box, blobs, "mail.message.delta", func(s *Subscription, r *Request) {
		attaching(AttachmentsBlob)(s, r)
		r.Mailbox = "bob"
	}), other)
	if len(blobs.names) != len(names)+1 {
		t.Error("two mailboxes share a name")
	}
	box.idle()
}

func keysOf[V any](m map[string]V) (keys []string) {
	for key := range m {
		keys = append(keys, key)
	}
	return keys
}

func TestTooMuchToBeInline(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("x"), inlineMost)
	for name, c := range map[string]struct {
		sizes  [2]int // as listed
		bodies [2][]byte
		blobs  [2]bool
	}{
		"together, as listed": {[2]int{inlineMost - 10, 11}, [2][]byte{[]byte("a"), []byte("b")}, [2]bool{true, true}},
		"exactly the limit":   {[2]int{inlineMost, 0}, [2][]byte{big, nil}, [2]bool{false, false}},
		"one more than said":  {[2]int{10, 10}, [2][]byte{[]byte("a"), big}, [2]bool{false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, blobs := newFakeMailbox(t), newFakeBlobs()
			box.answers["events/e/attachments"] = found(fmt.Sprintf(`{"value":[{"id":"0","size":%d},{"id":"1","size":%d}]}`, c.sizes[0], c.sizes[1]))
			box.bodies["events/e/attachments/0/$value"], box.bodies["events/e/attachments/1/$value"] = c.bodies[0], c.bodies[1]
			p := pieceOf(t, `{"id":"e"}`)
			enrichAll(t, enricherOf(t, box, blobs, "calendar.event.list", attaching(AttachmentsInline)), p)
			for i, entry := range entriesIn(t, p.raw) {
				blob, note := entry["blob"] != nil, entry[memberNote] != nil
				if blob != c.blobs[i] || note != blob || (entry["contentBytes"] != nil) == blob {
					t.Errorf("entry %d: blob %v, note %v", i, blob, entry[memberNote])
				}
				if blob && !bytes.Equal(blobs.content(entry["blob"]), c.bodies[i]) {
					t.Errorf("entry %d has another content", i)
				}
			}
			box.idle()
		})
	}
}

func TestListsOfAttachmentsHavePages(t *testing.T) {
	t.Parallel()
	box := newFakeMailbox(t)
	box.answers["messages/m/attachments"] = found(`{"value":[{"id":"1"}],"@odata.nextLink":"https://graph.example/v1.0/me/messages/m/attachments?$skip=1&$select=id"}`)
	box.answers["messages/m/attachments?1"] = found(`{"value":[{"id":"2"}],"@odata.nextLink":"https://elsewhere.example/evil?%24skip=2"}`)
	box.answers["messages/m/attachments?2"] = found(`{"value":[{"id":"3"}]}`)
	p := pieceOf(t, message)
	enrichAll(t, enricherOf(t, box, nil, "mail.message.delta", attaching(AttachmentsList)), p)
	if entries := entriesIn(t, p.raw); len(entries) != 3 || entries[2]["id"] != "3" {
		t.Errorf("%s", p.raw)
	}
	if get := box.batches[1][0]; get.Path != "messages/m/attachments" || get.Query["$select"] != "id" || get.Headers["Prefer"] == "" {
		t.Errorf("second page: %+v", get)
	}
	// An endless list ends.
	box.answers["messages/m/attachments?2"] = found(`{"value":[{"id":"3"}],"@odata.nextLink":"https://graph.example/?$skip=2"}`)
	p = pieceOf(t, message)
	enrichAll(t, enricherOf(t, box, nil, "mail.message.delta", attaching(AttachmentsList)), p)
	if !strings.Contains(string(p.raw), memberIncomplete) || len(box.batches) > 2*attachmentPages {
		t.Errorf("after %d batches: no note", len(box.batches))
	}
	box.idle()
}

func TestWhatCannotBeFetchedForGoodIsANote(t *testing.T) {
	t.Parallel()
	box, blobs := aMail(t), newFakeBlobs()
	denied := refused(403, "ErrorAccessDenied", fault.Poison)
	delete(box.bodies, "messages/m/attachments/f/$value") // 404
	delete(box.bodies, "messages/m/attachments/i/$value")
	box.answers["messages/m/attachments/i/$value"] = refused(405, "ErrorInvalidRequest", fault.Poison)
	box.answers["messages/m/attachments/r"] = denied
	box.answers["messages/n/attachments"] = denied
	for _, mode := range []Attachments{AttachmentsInline, AttachmentsBlob} {
		m, n := pieceOf(t, message), pieceOf(t, strings.Replace(message, `"m"`, `"n"`, 1))
		enrichAll(t, enricherOf(t, box, blobs, "mail.message.delta", attaching(mode)), m, n)
		entries := entriesIn(t, m.raw)
		for i, code := range map[int]string{0: "ErrorItemNotFound", 2: "ErrorInvalidRequest", 3: "ErrorAccessDenied"} {
			if text, _ := entries[i][memberNote].(string); !strings.Contains(text, code) || entries[i]["name"] == nil {
				t.Errorf("%s: entry %d is %v, want %s", mode, i, entries[i], code)
			}
		}
		if entries[1][memberNote] != nil {
			t.Errorf("%s: what was fetched has the note %v", mode, entries[1][memberNote])
		}
		if !strings.HasSuffix(string(n.raw), `"attachments":[],"@outlook.incomplete":[{"what":"attachments","code":"ErrorAccessDenied","status":403}]}`) {
			t.Errorf("%s: %s", mode, n.raw)
		}
	}
	box.idle()
}

func TestWithoutAnObjectStoreTheEventSaysSo(t *testing.T) {
	t.Parallel()
	box := aMail(t)
	e := enricherOf(t, box, nil, "mail.message.delta", attaching(AttachmentsBlob))
	e.blobs = nil
	p := pieceOf(t, message)
	enrichAll(t, e, p)
	if text, _ := entriesIn(t, p.raw)[0][memberNote].(string); !strings.Contains(text, "no object store") {
		t.Errorf("%s", p.raw)
	}
}

func TestAttachmentsThatMayComeLaterEndThePoll(t *testing.T) {
	t.Parallel()
	for _, mode := range []Attachments{AttachmentsList, AttachmentsInline, AttachmentsBlob} {
		box, blobs := aMail(t), newFakeBlobs()
		e := enricherOf(t, box, blobs, "mail.message.delta", attaching(mode))
		p := []*piece{pieceOf(t, message)}
		for _, path := range []string{"messages/m/attachments", "messages/m/attachments/f/$value", "messages/m/attachments/r", "$batch"} {
			failed := false
			box.fail = func(at string) error {
				if at == path {
					failed = true
					return fault.New(fault.Retry, "503").WithCode("ErrorServerBusy")
				}
				return nil
			}
			fresh := []*piece{pieceOf(t, message)}
			n, err := e.run(t.Context(), fresh)
			if failed && (n != 0 || fault.Of(err).Code != "ErrorServerBusy") || !failed && err != nil {
				t.Errorf("%s, %s: %d done, %v", mode, path, n, err)
			}
		}
		box.fail = nil
		if mode == AttachmentsBlob {
			blobs.fail = func(string) error { return fault.New(fault.Retry, "no space").WithCode("stream_full") }
			if n, err := e.run(t.Context(), p); n != 0 || fault.Of(err).Code != "stream_full" {
				t.Errorf("full store: %d done, %v", n, err)
			}
			blobs.fail = nil
		}
		box.asked()
		if n, err := e.run(t.Context(), p); n != 1 || err != nil || len(entriesIn(t, p[0].raw)) != 4 {
			t.Errorf("%s: %d done, %v", mode, n, err)
		}
		if asked := box.asked(); mode == AttachmentsBlob && slices.Contains(asked, "messages/m/attachments") {
			t.Errorf("the list was read twice: %v", asked)
		}
		box.idle()
	}
}
