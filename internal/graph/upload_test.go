package graph_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
)

// uploading is a client of a sandbox with a draft and an open session for it.
type uploading struct {
	*world
	box   *sandbox.Sandbox
	draft string
}

func newUploading(t *testing.T) *uploading {
	t.Helper()
	box, err := sandbox.New(sandbox.Mailboxes(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	me := &people{t: t, box: box, upn: box.People()[0].UPN}
	u := &uploading{box: box}
	u.world = connect(t, box.GraphURL(), func(o *graph.Options) { o.Tokens = me })
	t.Cleanup(u.Close)
	u.draft = u.make(t, "mail.message.create", nil, `{"subject":"with a file"}`, "id")
	return u
}

// make does a POST and returns a member of the answer.
func (u *uploading) make(t *testing.T, id string, path map[string]string, body, member string) string {
	t.Helper()
	resp, err := u.Do(t.Context(), graph.Request{Operation: operation(t, id), Mailbox: "me", Path: path, Body: []byte(body)})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(resp.Body, &got); err != nil {
		t.Fatal(err)
	}
	text, _ := got[member].(string)
	if text == "" {
		t.Fatalf("no %s in %s", member, resp.Body)
	}
	return text
}

// session opens a session for a file of so many bytes.
func (u *uploading) session(t *testing.T, size int) graph.Upload {
	t.Helper()
	address := u.make(t, "mail.messageAttachment.createUploadSession", map[string]string{"message-id": u.draft},
		fmt.Sprintf(`{"AttachmentItem":{"attachmentType":"file","name":"big.bin","size":%d}}`, size), "uploadUrl")
	return graph.Upload{Mailbox: "me", URL: seal.Secret(address)}
}

// serveUploads is serve, with the address of the server under its other name.
func serveUploads(t *testing.T, handler http.HandlerFunc, change func(*graph.Options)) (w *world, root string) {
	t.Helper()
	server := httptest.NewServer(handler)
	w = connect(t, server.URL, change)
	t.Cleanup(func() { w.Close(); server.Close() })
	return w, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

func statusOf(err error) int {
	if e, ok := asError(err); ok {
		return e.Status
	}
	return 0
}

func TestALargeFileGoesInPieces(t *testing.T) {
	t.Parallel()
	w := newUploading(t)
	content := bytes.Repeat([]byte("0123456789"), 350_000)
	const half = 2 << 20
	u := w.session(t, len(content))
	got, err := w.PutPiece(t.Context(), u, 0, int64(len(content)), content[:half])
	if err != nil || got.Done || got.Next != half || got.Status != 200 || got.RequestID == "" {
		t.Fatalf("first piece: %+v, %v", got, err)
	}
	// A range that is not expected.
	for _, from := range []int64{0, half - 1, half + 1} {
		_, err = w.PutPiece(t.Context(), u, from, int64(len(content)), content[:10])
		if wantFault(t, err, fault.Poison, false); statusOf(err) != 416 {
			t.Errorf("from %d: %v", from, err)
		}
	}
	if got, err = w.UploadState(t.Context(), u); err != nil || got.Next != half || got.Done {
		t.Fatalf("state: %+v, %v", got, err)
	}
	// The answer is lost, the bytes are there.
	w.box.Control(sandbox.Match{Method: http.MethodPut, Route: "/outlook-upload"}, sandbox.ResetAfterEffect())
	_, err = w.PutPiece(t.Context(), u, half, int64(len(content)), content[half:half+1000])
	wantFault(t, err, fault.Retry, true)
	if got, err = w.UploadState(t.Context(), u); err != nil || got.Next != half+1000 {
		t.Fatalf("state after a lost answer: %+v, %v", got, err)
	}
	got, err = w.PutPiece(t.Context(), u, half+1000, int64(len(content)), content[half+1000:])
	if err != nil || !got.Done || got.ID == "" || got.Status != 201 {
		t.Fatalf("last piece: %+v, %v", got, err)
	}
	// It is what its id says.
	stream, err := w.OpenGet(t.Context(), "me", graph.Get{Path: "messages/" + w.draft + "/attachments/" + got.ID + "/$value"})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	var back bytes.Buffer
	if _, err := back.ReadFrom(stream); err != nil || !bytes.Equal(back.Bytes(), content) {
		t.Errorf("%d bytes came back: %v", back.Len(), err)
	}
	if _, err = w.UploadState(t.Context(), u); statusOf(err) != 404 {
		t.Errorf("state of a finished session: %v", err)
	}
	// One that is given up.
	u = w.session(t, len(content))
	if err := w.CancelUpload(t.Context(), u); err != nil {
		t.Error(err)
	}
	if _, err = w.PutPiece(t.Context(), u, 0, int64(len(content)), content[:10]); statusOf(err) != 404 {
		t.Errorf("piece for a cancelled session: %v", err)
	}
}

// TestAFileOfATaskGoesToGraphWithTheToken: To Do's sessions lie in Graph itself.
func TestAFileOfATaskGoesToGraphWithTheToken(t *testing.T) {
	t.Parallel()
	w := newUploading(t)
	me := &people{t: t, box: w.box, upn: w.box.People()[0].UPN}
	var err error
	if me.current, err = w.box.Token(me.upn, "Tasks.ReadWrite"); err != nil {
		t.Fatal(err)
	}
	w.world = connect(t, w.box.GraphURL(), func(o *graph.Options) { o.Tokens = me })
	t.Cleanup(w.Close)
	list := w.make(t, "todo.taskList.create", nil, `{"displayName":"list"}`, "id")
	at := map[string]string{"todoTaskList-id": list}
	at["todoTask-id"] = w.make(t, "todo.task.create", at, `{"title":"task"}`, "id")
	content := bytes.Repeat([]byte("0123456789"), 350_000)
	address := w.make(t, "todo.taskAttachment.createUploadSession", at,
		fmt.Sprintf(`{"attachmentInfo":{"attachmentType":"file","name":"big.bin","size":%d}}`, len(content)), "uploadUrl")
	u := graph.Upload{Mailbox: "me", URL: seal.Secret(address)}
	const half = 2 << 20
	if got, err := w.PutPiece(t.Context(), u, 0, int64(len(content)), content[:half]); err != nil || got.Next != half {
		t.Fatalf("first piece: %+v, %v", got, err)
	}
	if got, err := w.UploadState(t.Context(), u); err != nil || got.Next != half {
		t.Fatalf("state: %+v, %v", got, err)
	}
	if got, err := w.PutPiece(t.Context(), u, half, int64(len(content)), content[half:]); err != nil || !got.Done || got.ID == "" {
		t.Fatalf("last piece: %+v, %v", got, err)
	}
}

// TestAFileGoesToOutlookOnly: an address of a session comes from outside, and what
// goes there is somebody's file, at Graph's own with the token.
func TestAFileGoesToOutlookOnly(t *testing.T) {
	t.Parallel()
	w := connect(t, "https://graph.microsoft.com/v1.0", nil)
	const session = "https://graph.microsoft.com/v1.0/users/u/todo/lists/l/tasks/t/attachmentSessions/s"
	for _, address := range []string{
		"", "outlook.office.com/x", "//outlook.office.com/x", "https:///x", "mailto:x", "http://outlook.office.com/x",
		"https://outlook.office.com.evil.example/x", "https://evil.example/outlook.office.com", "https://evil.example/?outlook.office.com",
		"https://outlook.office.com@evil.example/x", "https://user@outlook.office.com/x", "https://outlook.office.com:8443/x",
		"https://outlook.office.com/a/../b", "https://outlook.office.com/a/%2e%2e/b", "https://outlook.office.com/x#y", `https://outlook.office.com\.evil.example/x`,
		"https://outlook.office.com/x y", "https://outlook.office.com/\u00e4", "https://outlook.office365.us/x", "https://partner.outlook.cn/x",
		"https://localhost/x", "http://127.0.0.1/x", "https://outlook.office.com/" + strings.Repeat("x", 20_000),
		"https://graph.microsoft.us/v1.0/users/u/todo/lists/l/tasks/t/attachmentSessions/s",
		"https://graph.microsoft.com/v1.0/me/sendMail", "https://graph.microsoft.com/v1.0/users/u/photo/$value",
		session + "/content", session + "/..", "https://graph.microsoft.com/v1.0/users/u/todo/lists/l/tasks/t/attachmentSessions",
		"https://graph.microsoft.com/v1.0/users/u/todo/lists/l/tasks/t/attachments/s",
	} {
		u := graph.Upload{Mailbox: "me", URL: seal.Secret(address)}
		_, err := w.PutPiece(t.Context(), u, 0, 10, []byte("0123456789"))
		if mark := wantFault(t, err, fault.Poison, false); mark.Code != "upload_refused" {
			t.Errorf("%q: %s: %v", address, mark.Code, err)
		}
		if _, err := w.UploadState(t.Context(), u); fault.Of(err).Code != "upload_refused" {
			t.Errorf("state of %q: %v", address, err)
		}
		if err := w.CancelUpload(t.Context(), u); fault.Of(err).Code != "upload_refused" {
			t.Errorf("cancel %q: %v", address, err)
		}
		if len(address) > 20 && strings.Contains(err.Error(), address) {
			t.Errorf("the address is in the error: %v", err)
		}
	}
	if dialed := w.dialed.list(); len(dialed) != 0 {
		t.Errorf("dialed %v", dialed)
	}
}

// TestWhatAnAddressHoldsIsSeenByNobody: it opens the session to whoever has it.
func TestWhatAnAddressHoldsIsSeenByNobody(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-of-the-session"
	elsewhere := make(chan string, 10)
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { elsewhere <- r.URL.String() }))
	t.Cleanup(evil.Close)
	var mu sync.Mutex
	var seen []http.Header
	n := 0
	w, root := serveUploads(t, func(out http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Clone())
		switch n++; n {
		case 1:
			out.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintf(out, "no session at %s", r.URL)
		case 2:
			out.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(out, `{"error":{"code":"BadRequest","message":"bad %s"}}`, r.URL.Query().Get("authtoken"))
		case 3:
			http.Redirect(out, r, evil.URL+"/x?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		default:
			panic(http.ErrAbortHandler)
		}
	}, nil)
	u := graph.Upload{Mailbox: "me", URL: seal.Secret(root + "/outlook-upload/x?authtoken=" + secret)}
	for range 4 {
		_, err := w.PutPiece(t.Context(), u, 0, 10, []byte("0123456789"))
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(fault.HintOf(err), secret) {
			t.Errorf("error %v", err)
		}
	}
	if strings.Contains(w.log.String(), secret) {
		t.Errorf("log %s", w.log)
	}
	if lines := strings.Count(w.log.String(), `"path":"/attachmentSessions/{attachmentSession-id}"`); lines != 4 {
		t.Errorf("%d lines in the log: %s", lines, w.log)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, header := range seen {
		if header.Get("Authorization") != "" || header.Get("Content-Range") != "bytes 0-9/10" || header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("headers %v", header)
		}
	}
	select {
	case got := <-elsewhere:
		t.Errorf("a redirect was followed: %s", got)
	default:
	}
}

// TestPiecesCountForTheMailbox: 150 MB in five minutes is what Outlook takes.
func TestPiecesCountForTheMailbox(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	w, root := serveUploads(t, func(out http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		out.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(out, `{"NextExpectedRanges":["1000"]}`)
	}, func(o *graph.Options) { o.Limits = graph.Limits{UploadBytes: 1500, UploadWindow: time.Hour} })
	u := graph.Upload{Mailbox: "me", URL: seal.Secret(root + "/outlook-upload/x?authtoken=a")}
	if _, err := w.PutPiece(t.Context(), u, 0, 5000, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_, err := w.PutPiece(t.Context(), u, 1000, 5000, make([]byte, 1000))
	if mark := wantFault(t, err, fault.Retry, false); mark.After <= 0 || requests.Load() != 1 {
		t.Errorf("after %v, %d requests", mark.After, requests.Load())
	}
	// Nothing is sent that somebody else may be sending by now.
	u.Deadline = func() time.Time { return time.Now().Add(-time.Second) }
	_, err = w.PutPiece(t.Context(), u, 1000, 5000, make([]byte, 10))
	if mark := wantFault(t, err, fault.Retry, false); mark.Code != "deadline_passed" || requests.Load() != 1 {
		t.Errorf("%s, %d requests", mark.Code, requests.Load())
	}
}

func asError(err error) (*graph.Error, bool) { return errors.AsType[*graph.Error](err) }
