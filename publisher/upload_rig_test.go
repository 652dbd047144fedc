package publisher

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
)

// rig is an uploader with the Graph client and the sandbox behind it: the way of
// an attachment as it is in the program, but for the ledger.
type rig struct {
	t      *testing.T
	box    *sandbox.Sandbox
	client *graph.Client
	up     *uploader
	files  *memoryFiles
	token  string

	mu    sync.Mutex
	onPut func(n int, p Piece) error // before the n-th piece goes out, from 1
	puts  int
	sent  int64 // bytes of pieces that went out
}

func newRig(t *testing.T, opts ...sandbox.Option) *rig {
	t.Helper()
	box, err := sandbox.New(append([]sandbox.Option{sandbox.Mailboxes(2), sandbox.UploadWindow(1<<40, time.Minute)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, box: box, files: &memoryFiles{stored: map[string][]byte{}}}
	if r.token, err = box.Token(box.People()[0].UPN, "Mail.ReadWrite Mail.Send Calendars.ReadWrite Tasks.ReadWrite"); err != nil {
		t.Fatal(err)
	}
	r.client, err = graph.New(graph.Options{
		Name: "contoso", BaseURL: box.GraphURL(), Tokens: r,
		Limits: graph.Limits{UploadBytes: 1 << 40}, // its own test is the Graph client's
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.client.Close(); _ = box.Close() })
	r.up = r.process()
	return r
}

// process is another process: nothing is left in it of what an earlier one knew.
func (r *rig) process() *uploader {
	return newUploader(Options{
		Catalog: catalog.Default(), Outlook: r, Slots: r,
		Jitter: func(most time.Duration) time.Duration { return most / 8 },
	}, r, r.files)
}

func (r *rig) Token(context.Context) (graph.Token, error) {
	return graph.Token{Access: seal.Secret(r.token)}, nil
}
func (r *rig) Reject(context.Context, graph.Token) {}
func (r *rig) Ready(context.Context, string) error { return nil }
func (r *rig) Cancel(ctx context.Context, s Session) error {
	return r.client.CancelUpload(ctx, r.upload(s))
}

func (r *rig) Take(ctx context.Context, _, mailbox string) (func(), time.Duration, bool) {
	return r.client.TakeSlot(ctx, mailbox)
}

func (r *rig) Do(ctx context.Context, call Call) (Answer, error) {
	got, err := r.client.Do(ctx, graph.Request{
		Operation: call.Operation, Mailbox: call.Mailbox, Path: call.Params.Path, Query: call.Params.Query,
		Headers: call.Header, Body: call.Body, ClientRequestID: call.RequestID, Deadline: call.Deadline,
	})
	if err != nil {
		return answerOfError(err), err
	}
	return Answer{Status: got.Status, Body: got.Body, RequestID: got.RequestID}, nil
}

func answerOfError(err error) Answer {
	if e, ok := errors.AsType[*graph.Error](err); ok {
		return Answer{Status: e.Status, RequestID: e.RequestID}
	}
	return Answer{}
}

func (r *rig) upload(s Session) graph.Upload {
	return graph.Upload{Mailbox: s.Mailbox, URL: s.URL, ClientRequestID: s.RequestID, Deadline: s.Deadline}
}

func (r *rig) Put(ctx context.Context, s Session, p Piece) (Progress, error) {
	r.mu.Lock()
	r.puts++
	n, hook := r.puts, r.onPut
	r.sent += int64(len(p.Data))
	r.mu.Unlock()
	if hook != nil {
		if err := hook(n, p); err != nil {
			return Progress{}, err
		}
	}
	got, err := r.client.PutPiece(ctx, r.upload(s), p.From, p.Size, p.Data)
	return progress(got, err), err
}

func (r *rig) State(ctx context.Context, s Session) (Progress, error) {
	got, err := r.client.UploadState(ctx, r.upload(s))
	return progress(got, err), err
}

func progress(got graph.Uploaded, err error) Progress {
	if err != nil {
		return Progress{Answer: answerOfError(err)}
	}
	return Progress{Next: got.Next, Done: got.Done, ID: got.ID, Answer: Answer{Status: got.Status, RequestID: got.RequestID}}
}

// memoryFiles is an object store.
type memoryFiles struct {
	mu     sync.Mutex
	stored map[string][]byte
	opened int
}

func (f *memoryFiles) put(name string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stored["OUTLOOK_BLOB/"+name] = data
}

func (f *memoryFiles) get(name string) (data []byte, sum string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.stored[name]
	if !ok {
		return nil, "", fmt.Errorf("%w: %w", ErrNoBlob, refuse("blob_missing", "no object %q", name))
	}
	return data, sumOf(data), nil
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (f *memoryFiles) Stat(_ context.Context, name string) (File, error) {
	data, sum, err := f.get(name)
	return File{Size: int64(len(data)), Sum: sum}, err
}

func (f *memoryFiles) Open(_ context.Context, name, sum string) (io.ReadCloser, error) {
	data, now, err := f.get(name)
	switch {
	case err != nil:
		return nil, err
	case now != sum:
		return nil, refuse("blob_changed", "another sum")
	}
	f.mu.Lock()
	f.opened++
	f.mu.Unlock()
	return io.NopCloser(bytes.NewReader(data)), nil
}

// noise returns bytes that are different everywhere.
func noise(seed uint8, n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

// post makes something and returns its id.
func (r *rig) post(id string, path map[string]string, body []byte) string {
	r.t.Helper()
	got, err := r.client.Do(r.t.Context(), graph.Request{Operation: r.operation(id), Mailbox: "me", Path: path, Body: body})
	if err != nil {
		r.t.Fatal(err)
	}
	return itemID(got.Body)
}

func (r *rig) operation(id string) *catalog.Operation {
	r.t.Helper()
	op, err := catalog.Default().Lookup(id)
	if err != nil {
		r.t.Fatal(err)
	}
	return op
}

// blobMail is a payload of mail.message.create with attachments from the store.
func blobMail(names ...string) []byte {
	var list []map[string]any
	for _, name := range names {
		list = append(list, map[string]any{"name": name, "blob": "OUTLOOK_BLOB/" + name})
	}
	text, err := json.Marshal(map[string]any{"subject": "with files", "attachments": list})
	if err != nil {
		panic(err)
	}
	return text
}

// work makes the draft of a payload and returns what is to be attached to it.
func (r *rig) work(id string, payload []byte) uploadWork {
	r.t.Helper()
	op := r.operation(id)
	slim, big, err := splitAttachments(r.t.Context(), r.files, op, payload)
	if err != nil {
		r.t.Fatal(err)
	}
	kind := placeOf(op).kind
	return uploadWork{
		client: "contoso", mailbox: "me", kind: kind, params: map[string]string{kind.param: r.post(id, nil, slim)},
		big: big, log: slog.New(slog.DiscardHandler),
	}
}

// attached is what the mailbox has: names and contents in their order.
type attached struct {
	name    string
	content []byte
}

func (r *rig) attached(in uploadWork) (list []attached) {
	r.t.Helper()
	got, err := r.client.Do(r.t.Context(), graph.Request{Operation: r.operation(in.kind.list), Mailbox: "me", Path: in.params, Query: map[string]string{"$select": "id,name"}})
	if err != nil {
		r.t.Fatal(err)
	}
	var found struct {
		Value []struct {
			ID, Name string
		}
	}
	if err := json.Unmarshal(got.Body, &found); err != nil {
		r.t.Fatal(err)
	}
	root := "messages/" + in.params["message-id"]
	switch in.kind {
	case ofEvent:
		root = "events/" + in.params["event-id"]
	case ofTask:
		root = "todo/lists/" + in.params["todoTaskList-id"] + "/tasks/" + in.params["todoTask-id"]
	}
	for _, one := range found.Value {
		from, err := r.client.OpenGet(r.t.Context(), "me", graph.Get{Path: root + "/attachments/" + one.ID + "/$value"})
		if err != nil {
			r.t.Fatal(err)
		}
		content, err := io.ReadAll(from)
		_ = from.Close()
		if err != nil {
			r.t.Fatal(err)
		}
		list = append(list, attached{one.Name, content})
	}
	return list
}

// wantAttached fails the test unless the item has these files, each once.
func (r *rig) wantAttached(in uploadWork, names ...string) {
	r.t.Helper()
	got := r.attached(in)
	if len(got) != len(names) {
		r.t.Errorf("%d attachments, want %d", len(got), len(names))
	}
	for _, one := range got {
		want, _, err := r.files.get("OUTLOOK_BLOB/" + one.name)
		if err != nil || !slices.Contains(names, one.name) || !bytes.Equal(one.content, want) {
			r.t.Errorf("%s has %d bytes that are not its own", one.name, len(one.content))
		}
	}
}

// stored is a state as it comes back from the ledger.
func stored(t *testing.T, s uploadState) (back uploadState) {
	t.Helper()
	text, err := json.Marshal(s)
	if err == nil {
		err = json.Unmarshal(text, &back)
	}
	if err != nil || back.URL.Reveal() != s.URL.Reveal() || back.At != s.At {
		t.Fatalf("%s: %v", text, err)
	}
	return back
}

// calls counts the requests of a kind that arrived at the sandbox.
func (r *rig) calls(method, route string) (n int) {
	for _, c := range r.box.Requests() {
		if c.Method == method && c.Route == route {
			n++
		}
	}
	return n
}

const (
	routeUpload  = "/outlook-upload"
	routeSession = "/me/messages/{message-id}/attachments/createUploadSession"
	routeAttach  = "/me/messages/{message-id}/attachments"
)

func putMatch() sandbox.Match { return sandbox.Match{Method: http.MethodPut, Route: routeUpload} }

func codeOf(err error) string {
	if err == nil {
		return ""
	}
	return fault.Of(err).Code
}
