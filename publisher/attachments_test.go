package publisher

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// sizes are files of which only the size is known, by their names.
type sizes map[string]int64

func (s sizes) Stat(_ context.Context, name string) (File, error) {
	size, ok := s[name]
	if !ok {
		return File{}, fmt.Errorf("%w: %w", ErrNoBlob, refuse("blob_missing", "no object %q", name))
	}
	return File{Size: size, Sum: name}, nil
}

func (s sizes) Open(_ context.Context, name, _ string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(make([]byte, s[name]))), nil
}

func operation(t *testing.T, id string) *catalog.Operation {
	t.Helper()
	op, err := catalog.Default().Lookup(id)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func content(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

func blobOf(name string) string {
	return fmt.Sprintf(`{"name":%q,"blob":%q}`, strings.TrimPrefix(name, "B/"), name)
}

func TestAPayloadIsSplit(t *testing.T) {
	t.Parallel()
	files := sizes{"B/1k": 1000, "B/1m": 1 << 20, "B/2m": 2_000_000, "B/2.9m": 2_999_999, "B/3m": 3_000_000, "B/100m": 100 << 20, "B/150m": 150 << 20, "B/empty": 0, "B/25m": 25 << 20}
	for _, c := range []struct {
		name, op, payload string
		same              bool     // the payload is as it was
		nothing           bool     // nothing is left of it
		kept              []string // the names in it
		big               string   // name and way of what is taken out
	}{
		{name: "no attachments", op: "mail.message.create", payload: `{"subject":"x"}`, same: true},
		{name: "small ones", op: "mail.message.create", payload: `{"attachments":[{"name":"a","contentBytes":"` + content(1000) + `"}]}`, same: true},
		{name: "one of 2.9 MB in the command", op: "mail.message.create", payload: `{"attachments":[{"name":"a","contentBytes":"` + content(2_850_000) + `"}]}`, same: true},
		{name: "one of 3 MB in the command", op: "mail.message.create", payload: `{"attachments":[{"name":"a","contentBytes":"` + content(3_000_000) + `"}]}`, big: "a:session"},
		{name: "a small file", op: "mail.message.create", payload: `{"attachments":[` + blobOf("B/1k") + `]}`, kept: []string{"1k"}},
		{name: "an empty file", op: "mail.message.create", payload: `{"attachments":[` + blobOf("B/empty") + `]}`, kept: []string{"empty"}},
		{name: "a file of 3 MB", op: "mail.message.create", payload: `{"attachments":[` + blobOf("B/3m") + `]}`, big: "3m:session"},
		{name: "a file just under 3 MB", op: "mail.message.create", payload: `{"attachments":[` + blobOf("B/2.9m") + `]}`, big: "2.9m:request"},
		{name: "the largest go first", op: "mail.message.create", payload: `{"attachments":[` + blobOf("B/1m") + `,` + blobOf("B/2m") + `,` + blobOf("B/1m") + `]}`, kept: []string{"1m", "1m"}, big: "2m:request"},
		{name: "many at once", op: "mail.message.create", payload: `{"attachments":[` + strings.Repeat(blobOf("B/2m")+",", 3) + blobOf("B/2m") + `]}`, kept: []string{"2m"}, big: "2m:request 2m:request 2m:request"},
		{name: "sendMail", op: "mail.message.sendMail", payload: `{"message":{"attachments":[` + blobOf("B/1k") + `,` + blobOf("B/100m") + `],"subject":"x"},"saveToSentItems":true}`, kept: []string{"1k"}, big: "100m:session"},
		{name: "as large as can be", op: "mail.message.sendMail", payload: `{"message":{"attachments":[` + blobOf("B/150m") + `]}}`, big: "150m:session"},
		{name: "Message", op: "mail.message.sendMail", payload: `{"Message":{"Attachments":[` + blobOf("B/3m") + `]}}`, big: "3m:session"},
		{name: "reply", op: "mail.message.reply", payload: `{"comment":"c","message":{"attachments":[` + blobOf("B/3m") + `]}}`, big: "3m:session"},
		{name: "event", op: "calendar.event.create", payload: `{"subject":"s","attachments":[` + blobOf("B/3m") + `]}`, big: "3m:session"},
		{name: "a reference", op: "mail.message.create", payload: `{"attachments":[{"@odata.type":"#microsoft.graph.referenceAttachment","name":"r","sourceUrl":"https://x"},` + blobOf("B/1k") + `]}`, kept: []string{"r", "1k"}},
		{name: "white space and other members", op: "mail.message.create", payload: "{ \"a\" : [ 1 , 2 ] ,\n \"attachments\" : [ {\"isInline\" : true , \"blob\" : \"B\\/1k\" , \"name\":\"1k\" , \"contentId\":\"c\"} , " + blobOf("B/3m") + " ] , \"z\" : { \"y\" : null } }", kept: []string{"1k"}, big: "3m:session"},
		{name: "an attachment by itself", op: "mail.messageAttachment.create", payload: blobOf("B/2.9m"), kept: []string{"2.9m"}},
		{name: "a large attachment by itself", op: "mail.messageAttachment.create", payload: blobOf("B/3m"), nothing: true, big: "3m:session"},
		{name: "a large attachment by itself, in the command", op: "calendar.eventAttachment.create", payload: `{"name":"a","contentBytes":"` + content(3_000_000) + `"}`, nothing: true, big: "a:session"},
		{name: "a small attachment by itself", op: "mail.messageAttachment.create", payload: `{"name":"a","contentBytes":"` + content(10) + `"}`, same: true},
		{name: "a file of a task", op: "todo.taskAttachment.create", payload: blobOf("B/25m"), nothing: true, big: "25m:session"},
		{name: "a post of a group", op: "groups.thread.reply", payload: `{"post":{"attachments":[` + blobOf("B/2m") + `]}}`, kept: []string{"2m"}},
		{name: "blob as another member", op: "contacts.contact.create", payload: `{"blob":"B/3m","x":{"blob":1}}`, same: true},
		{name: "base64 that is none", op: "mail.message.create", payload: `{"attachments":[{"name":"a","contentBytes":"` + strings.Repeat("#", 3_100_000) + `"}]}`, same: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			slim, big, err := splitAttachments(t.Context(), files, operation(t, c.op), []byte(c.payload))
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, a := range big {
				way := "request"
				if a.session {
					way = "session"
				}
				out = append(out, a.Name+":"+way)
			}
			if got := strings.Join(out, " "); got != c.big {
				t.Errorf("taken out: %s, want %s", got, c.big)
			}
			switch {
			case c.same:
				if string(slim) != c.payload {
					t.Errorf("the payload has changed: %.200s", slim)
				}
				return
			case c.nothing:
				if slim != nil {
					t.Errorf("left: %.200s", slim)
				}
				return
			}
			wantKept(t, slim, c.payload, files, c.kept)
		})
	}
}

// wantKept checks what is left of a payload: the attachments with their files, and
// everything else as it was.
func wantKept(t *testing.T, slim []byte, payload string, files sizes, names []string) {
	t.Helper()
	if len(slim) > maxCommand {
		t.Errorf("%d bytes are left", len(slim))
	}
	var got, want map[string]any
	if err := errors.Join(json.Unmarshal(slim, &got), json.Unmarshal([]byte(payload), &want)); err != nil {
		t.Fatalf("%v: %.300s", err, slim)
	}
	list := attachmentList(got)
	if list == nil {
		list = []any{got}
		want = got
	}
	if len(list) != len(names) {
		t.Fatalf("%d attachments are left, want %v: %.300s", len(list), names, slim)
	}
	for i, one := range list {
		one := one.(map[string]any)
		if one["name"] != names[i] || one["blob"] != nil {
			t.Errorf("attachment %d is %v, want %s", i, one["name"], names[i])
		}
		size, isFile := files["B/"+names[i]]
		text, _ := one["contentBytes"].(string)
		if raw, err := base64.StdEncoding.DecodeString(text); isFile && (err != nil || int64(len(raw)) != size || one["@odata.type"] != "#microsoft.graph.fileAttachment") {
			t.Errorf("attachment %d: %d bytes as %v: %v", i, len(raw), one["@odata.type"], err)
		}
	}
	strip(got)
	strip(want)
	if a, b := fmt.Sprint(got), fmt.Sprint(want); a != b {
		t.Errorf("beside the attachments: %s, want %s", a, b)
	}
}

func attachmentList(object map[string]any) []any {
	for name, value := range object {
		if strings.EqualFold(name, "attachments") {
			return value.([]any)
		}
		if inner, ok := value.(map[string]any); ok {
			if list := attachmentList(inner); list != nil {
				return list
			}
		}
	}
	return nil
}

func strip(object map[string]any) {
	for name, value := range object {
		if strings.EqualFold(name, "attachments") {
			delete(object, name)
		} else if inner, ok := value.(map[string]any); ok {
			strip(inner)
		}
	}
}

func TestAttachmentsThatGraphWouldRefuseAreRefusedWithTheirSize(t *testing.T) {
	t.Parallel()
	files := sizes{"B/1k": 1000, "B/3m": 3_000_000, "B/4m": 4_000_000, "B/100m": 100 << 20, "B/151m": 151 << 20, "B/26m": 26 << 20}
	for _, c := range []struct {
		name, op, payload, code, says string
	}{
		{"over 150 MB", "mail.message.create", `{"attachments":[` + blobOf("B/151m") + `]}`, "attachment_too_large", "payload.attachments[0] has 158334976 bytes"},
		{"together over 150 MB", "mail.message.create", `{"attachments":[` + blobOf("B/100m") + `,` + blobOf("B/100m") + `]}`, "attachment_too_large", "209715200 bytes together"},
		{"over 25 MB for a task", "todo.taskAttachment.create", blobOf("B/26m"), "attachment_too_large", "27262976 bytes"},
		{"for a group", "groups.thread.reply", `{"post":{"attachments":[` + blobOf("B/3m") + `]}}`, "attachment_too_large", "groups.thread.reply takes"},
		{"no such file", "mail.message.create", `{"attachments":[` + blobOf("B/nothing") + `]}`, "blob_missing", "payload.attachments[0]"},
		{"no name", "mail.message.create", `{"attachments":[{"blob":"B/1k"}]}`, "bad_blob", "no name"},
		{"both", "mail.message.create", `{"attachments":[{"name":"x","blob":"B/1k","contentBytes":"AA=="}]}`, "bad_blob", "contentBytes"},
		{"no text", "mail.message.create", `{"attachments":[{"name":"x","blob":7}]}`, "bad_blob", "must be text"},
		{"an item", "mail.message.create", `{"attachments":[{"@odata.type":"#microsoft.graph.itemAttachment","name":"x","blob":"B/1k"}]}`, "bad_blob", "itemAttachment"},
		{"within an item", "mail.message.create", `{"attachments":[{"@odata.type":"#microsoft.graph.itemAttachment","name":"x","item":{"attachments":[{"name":"y","blob":"B/1k"}]}}]}`, "not_supported", "attachments[0].item.attachments.0.blob"},
		{"in an operation without", "mail.message.update", `{"attachments":[{"name":"x","blob":"B/1k"}]}`, "not_supported", "attachments.0.blob"},
		{"in another place", "mail.message.create", `{"message":{"attachments":[{"name":"x","blob":"B/1k"}]}}`, "not_supported", "message.attachments.0.blob"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := splitAttachments(t.Context(), files, operation(t, c.op), []byte(c.payload))
			marked := fault.Of(err)
			if marked == nil || marked.Kind != fault.Poison || marked.Code != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v (%+v), want %s: %s", err, marked, c.code, c.says)
			}
		})
	}
	if _, _, err := splitAttachments(t.Context(), nil, operation(t, "mail.message.create"), []byte(`{"attachments":[`+blobOf("B/1k")+`]}`)); fault.Of(err).Code != "not_supported" {
		t.Errorf("without an object store: %v", err)
	}
}

// TestEveryPlaceOfAttachmentsIsAnOperation: a name that nobody has would never be
// found out.
func TestEveryPlaceOfAttachmentsIsAnOperation(t *testing.T) {
	t.Parallel()
	for _, kind := range []*attachKind{ofMail, ofEvent, ofTask} {
		for _, id := range []string{kind.create, kind.session, kind.list} {
			operation(t, id)
		}
	}
	n := 0
	for _, op := range catalog.Default().Operations() {
		if placeOf(op) != nil {
			n++
		}
	}
	if n != 22 {
		t.Errorf("%d operations have attachments", n)
	}
}
