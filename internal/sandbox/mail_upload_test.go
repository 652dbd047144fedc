package sandbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// large is content that differs everywhere.
func large(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 >> (i % 11))
	}
	return b
}

const uploadSize = 3_400_000

func uploadBody(size int) string {
	return fmt.Sprintf(`{"AttachmentItem":{"attachmentType":"file","name":"big.bin","size":%d}}`, size)
}

// bare is the same world without a token.
func (w *world) bare() *world {
	c := *w
	c.token = ""
	return &c
}

// piece sends the bytes from a to b of content.
func (w *world) piece(address string, content []byte, a, b int) *reply {
	w.t.Helper()
	return w.bare().with("Content-Type", "application/octet-stream").with("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a, b-1, len(content))).
		do(http.MethodPut, address, string(content[a:b]))
}

func TestALargeFileIsUploadedInPieces(t *testing.T) {
	t.Parallel()
	w := start(t)
	content := large(uploadSize)
	id := w.draft("m", ben)
	r := w.do(http.MethodPost, "/me/messages/"+id+"/attachments/createUploadSession", uploadBody(uploadSize)).is(201)
	address := r.str("uploadUrl")
	if strings.Contains(address, "/v1.0/") || !strings.Contains(address, "authtoken=") || fmt.Sprint(r.json["nextExpectedRanges"]) != "[0-]" || r.str("expirationDateTime") == "" {
		t.Fatalf("session %s", r.raw)
	}
	if u, err := url.Parse(address); err != nil || u.Hostname() != "localhost" {
		t.Errorf("the address %s is on Graph's own host: clients would send their token there", address)
	}
	const first = 2 << 20
	one := w.piece(address, content, 0, first).is(200)
	if fmt.Sprint(one.json["NextExpectedRanges"]) != "[2097152]" {
		t.Errorf("after a piece: %s", one.raw)
	}
	w.piece(address, content, 0, first).is(416)        // it is there already
	w.piece(address, content, first-10, 3<<20).is(416) // overlaps
	w.piece(address, content, 3<<20, uploadSize).is(416)
	if state := w.bare().get(address).is(200); fmt.Sprint(state.json["NextExpectedRanges"]) != "[2097152]" {
		t.Errorf("state %s", state.raw)
	}
	if list := w.get("/me/messages/" + id + "/attachments").is(200).value(); len(list) != 0 {
		t.Errorf("half a file is attached: %d", len(list))
	}
	last := w.piece(address, content, first, uploadSize).is(201)
	if len(last.raw) != 0 {
		t.Errorf("body %s", last.raw)
	}
	_, rest, _ := strings.Cut(last.header.Get("Location"), "/Attachments('")
	a, found := strings.CutSuffix(rest, "')")
	if !found {
		t.Fatalf("location %q", last.header.Get("Location"))
	}
	got := w.get("/me/messages/" + id + "/attachments/" + a + "/$value").is(200)
	if !bytes.Equal(got.raw, content) {
		t.Error("another file came back")
	}
	w.bare().get(address).is(404, "ErrorItemNotFound")
	w.piece(address, content, first, uploadSize).is(404)
	if m := w.get("/me/messages/" + id).is(200); m.json["hasAttachments"] != true {
		t.Error("the message has no attachments")
	}
	if stats := w.Stats(); stats.Mailboxes[0].Uploaded < uploadSize {
		t.Errorf("uploaded %d", stats.Mailboxes[0].Uploaded)
	}
	calls := w.Requests()
	if e := calls[len(calls)-2]; e.Route != "/outlook-upload" && calls[len(calls)-3].Route != "/outlook-upload" {
		t.Errorf("log %+v", e)
	}
}

func TestAnUploadGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	w := start(t)
	content := large(uploadSize)
	id := w.draft("m", ben)
	address := w.do(http.MethodPost, "/me/messages/"+id+"/attachments/createUploadSession", uploadBody(uploadSize)).is(201).str("uploadUrl")
	// The connection breaks within a piece: nothing of it counts.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, address, &broken{content: content[:1<<20]})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 2 << 20
	req.Header.Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 2<<20-1, uploadSize))
	if resp, err := w.client.Do(req); err == nil {
		resp.Body.Close()
		t.Fatalf("half a piece: %d", resp.StatusCode)
	}
	eventually(t, func() bool {
		return slices.ContainsFunc(w.Requests(), func(c sandbox.Call) bool { return c.Method == http.MethodPut })
	})
	if r := w.bare().get(address).is(200); fmt.Sprint(r.json["NextExpectedRanges"]) != "[0]" {
		t.Errorf("after half a piece: %s", r.raw)
	}
	// The answer is lost after the effect: the state says so.
	w.Control(sandbox.Match{Method: http.MethodPut, Route: "/outlook-upload"}, sandbox.ResetAfterEffect())
	if r, err := w.bare().with("Content-Range", fmt.Sprintf("bytes 0-%d/%d", 2<<20-1, uploadSize)).try(http.MethodPut, address, string(content[:2<<20])); err == nil {
		t.Fatalf("no reset: %d", r.status)
	}
	if r := w.bare().get(address).is(200); fmt.Sprint(r.json["NextExpectedRanges"]) != "[2097152]" {
		t.Errorf("state %s", r.raw)
	}
	w.piece(address, content, 2<<20, uploadSize).is(201)
	list := w.get("/me/messages/" + id + "/attachments?$select=size,name").is(200).value()
	if len(list) != 1 || list[0]["size"] != float64(uploadSize) {
		t.Errorf("attached %v", list)
	}
}

// broken is a body that ends with an error.
type broken struct{ content []byte }

func (b *broken) Read(p []byte) (int, error) {
	if len(b.content) == 0 {
		return 0, errors.New("cut")
	}
	n := copy(p, b.content)
	b.content = b.content[n:]
	return n, nil
}

func TestUploadSessionsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := start(t)
	id := w.draft("m", ben)
	at := "/me/messages/" + id + "/attachments/createUploadSession"
	for _, row := range []struct {
		body   string
		status int
		code   string
	}{
		{uploadBody(2_900_000), 400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize"},
		{uploadBody(151 << 20), 413, "ErrorAttachmentSizeLimitExceeded"},
		{`{}`, 400, "ErrorInvalidRequest"},
		{`{"AttachmentItem":{"attachmentType":"item","name":"x","size":4000000}}`, 400, "ErrorInvalidRequest"},
		{`{"AttachmentItem":{"attachmentType":"file","size":4000000}}`, 400, "ErrorInvalidRequest"},
		{`{"Item":{}}`, 400, "RequestBodyRead"},
	} {
		w.do(http.MethodPost, at, row.body).is(row.status, row.code)
	}
	w.as(ann, "Mail.Read").do(http.MethodPost, at, uploadBody(uploadSize)).is(403, "ErrorAccessDenied")
	w.do(http.MethodPost, "/me/messages/nonsense/attachments/createUploadSession", uploadBody(uploadSize)).is(400, "ErrorInvalidIdMalformed")
	shared := w.as(ben, allMail+" Mail.ReadWrite.Shared")
	shared.do(http.MethodPost, "/users/"+ann+"/messages/"+id+"/attachments/createUploadSession", uploadBody(uploadSize)).is(403, "ErrorAccessDenied")

	content := large(uploadSize)
	address := w.do(http.MethodPost, at, uploadBody(uploadSize)).is(201).str("uploadUrl")
	w.get(address).is(401)
	w.bare().get(strings.Replace(address, "authtoken=", "authtoken=x", 1)).is(401)
	w.bare().do(http.MethodPost, address, "x").is(405)
	w.bare().do(http.MethodPut, address, "x").is(400, "ErrorInvalidRequest")
	put := func(span, body string) *reply {
		return w.bare().with("Content-Range", span).do(http.MethodPut, address, body)
	}
	put("bytes 0-3/4000000", "abcd").is(400)
	put(fmt.Sprintf("bytes 0-9/%d", uploadSize), "abcd").is(400)
	put(fmt.Sprintf("0-3/%d", uploadSize), "abcd").is(400)
	put(fmt.Sprintf("bytes 9-3/%d", uploadSize), "abcd").is(400)
	put(fmt.Sprintf("bytes 0-%d/%d", uploadSize, uploadSize), "abcd").is(400)
	w.bare().do(http.MethodDelete, address, "").is(204)
	w.bare().do(http.MethodDelete, address, "").is(404)
	w.piece(address, content, 0, 1<<20).is(404)
	w.bare().get(w.URL()+"/outlook-upload/Users('x')/AttachmentSessions('y')?authtoken=z").is(404, "ErrorItemNotFound")

	big := w.do(http.MethodPost, at, uploadBody(6<<20)).is(201).str("uploadUrl")
	w.piece(big, large(6<<20), 0, 5<<20).is(413)

	orphan := w.do(http.MethodPost, at, uploadBody(uploadSize)).is(201).str("uploadUrl")
	w.do(http.MethodPost, "/me/messages/"+id+"/permanentDelete", "").is(204)
	w.piece(orphan, content, 0, 2<<20).is(200)
	w.piece(orphan, content, 2<<20, uploadSize).is(404, "ErrorItemNotFound")
}

func TestAnUploadSessionEnds(t *testing.T) {
	t.Parallel()
	w := start(t, sandbox.UploadLife(time.Millisecond), sandbox.BaseURL("https://proxy.example"))
	r := w.do(http.MethodPost, "/me/messages/"+w.draft("m", ben)+"/attachments/createUploadSession", uploadBody(uploadSize)).is(201)
	path, found := strings.CutPrefix(r.str("uploadUrl"), "https://proxy.example/")
	if !found {
		t.Fatalf("address %s", r.str("uploadUrl"))
	}
	eventually(t, func() bool { return w.bare().get(w.URL()+"/"+path).status == 404 })
}
