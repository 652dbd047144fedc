package subscriber

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// fakeMailbox is [Items] and [Slots] over scripted answers. It fails the test
// where a request is made outside the slots that it needs.
type fakeMailbox struct {
	t fataler

	mu      sync.Mutex
	answers map[string]Got    // by path
	bodies  map[string][]byte // of Open, by path
	fail    func(path string) error
	batches [][]Get
	opened  []Get
	// largest is the most that one batch's answers may have together; 0: no limit.
	largest int
	free    int // slots
	held    int
	wait    time.Duration
}

type fataler interface {
	Helper()
	Errorf(format string, args ...any)
}

func newFakeMailbox(t fataler) *fakeMailbox {
	return &fakeMailbox{t: t, answers: map[string]Got{}, bodies: map[string][]byte{}, free: 4, wait: time.Second}
}

func found(body string) Got { return Got{Status: http.StatusOK, Body: []byte(body)} }

func refused(status int, code string, kind fault.Kind) Got {
	return Got{Status: status, Code: code, Err: fault.New(kind, "%d %s", status, code).WithCode(code)}
}

func gone() Got { return refused(http.StatusNotFound, "ErrorItemNotFound", fault.Poison) }

func (f *fakeMailbox) Take(context.Context, string, string) (func(), time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held >= f.free {
		return nil, f.wait, false
	}
	f.held++
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.held--
	}), 0, true
}

func (f *fakeMailbox) Object(context.Context, Request, int64) ([]byte, Page, error) {
	return nil, Page{}, errors.New("nobody asks for whole objects here")
}

func (f *fakeMailbox) Batch(ctx context.Context, _, _ string, gets []Get) ([]Got, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(gets) > batchMost || len(gets) == 0 || f.held < min(len(gets), batchWide) {
		f.t.Errorf("a batch of %d in %d slots", len(gets), f.held)
	}
	f.batches = append(f.batches, slices.Clone(gets))
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if f.fail != nil {
		if err := f.fail("$batch"); err != nil {
			return nil, err
		}
	}
	got, size := make([]Got, len(gets)), 0
	for i, get := range gets {
		got[i] = f.answer(get)
		size += len(got[i].Body)
	}
	if f.largest > 0 && size > f.largest {
		return nil, fault.New(fault.Retry, "too large").WithCode(tooLarge)
	}
	return got, nil
}

func (f *fakeMailbox) answer(get Get) Got {
	if f.fail != nil {
		if err := f.fail(get.Path); err != nil {
			return Got{Status: http.StatusServiceUnavailable, Err: err}
		}
	}
	key := get.Path
	if skip := get.Query["$skip"]; skip != "" {
		key += "?" + skip
	}
	got, ok := f.answers[key]
	if !ok {
		return gone()
	}
	got.Body = bytes.Clone(got.Body)
	return got
}

func (f *fakeMailbox) Open(_ context.Context, _, _ string, get Get) (io.ReadCloser, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held == 0 {
		f.t.Errorf("%s is read without a slot", get.Path)
	}
	f.opened = append(f.opened, get)
	if f.fail != nil {
		if err := f.fail(get.Path); err != nil {
			return nil, 0, err
		}
	}
	if body, ok := f.bodies[get.Path]; ok {
		return io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	got, ok := f.answers[get.Path]
	switch {
	case !ok:
		return nil, 0, gone().Err
	case got.Err != nil:
		return nil, 0, got.Err
	default:
		return io.NopCloser(bytes.NewReader(got.Body)), int64(len(got.Body)), nil
	}
}

// asked returns the paths of all requests, in order, and forgets them.
func (f *fakeMailbox) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var paths []string
	for _, gets := range f.batches {
		for _, get := range gets {
			paths = append(paths, get.Path)
		}
	}
	for _, get := range f.opened {
		paths = append(paths, get.Path)
	}
	f.batches, f.opened = nil, nil
	return paths
}

// idle fails the test where a slot is still held.
func (f *fakeMailbox) idle() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held != 0 {
		f.t.Errorf("%d slots are not given back", f.held)
	}
}

// fakeBlobs keeps bodies by name.
type fakeBlobs struct {
	mu    sync.Mutex
	names map[string][]byte
	fail  func(name string) error
}

func newFakeBlobs() *fakeBlobs { return &fakeBlobs{names: map[string][]byte{}} }

func (b *fakeBlobs) Put(_ context.Context, name string, body io.Reader) (string, int64, string, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return "", 0, "", errors.New("put: " + err.Error()) // a store need not keep what a reader says
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail(name); err != nil {
			return "", 0, "", err
		}
	}
	b.names[name] = data
	sum := sha256.Sum256(data)
	return "OUTLOOK_BLOB/" + name, int64(len(data)), hex.EncodeToString(sum[:]), nil
}

// content returns the only body whose name is in the reference.
func (b *fakeBlobs) content(ref any) []byte {
	text, _ := ref.(string)
	return b.names[strings.TrimPrefix(text, "OUTLOOK_BLOB/")]
}

func operation(t fataler, id string) *catalog.Operation {
	t.Helper()
	op, err := catalog.Default().Lookup(id)
	if err != nil {
		t.Errorf("%v", err)
	}
	return op
}

// enricherOf makes an enricher of a subscription to the entity.
func enricherOf(t fataler, box *fakeMailbox, blobs *fakeBlobs, entity string, change func(*Subscription, *Request)) *enricher {
	t.Helper()
	sub := Subscription{Name: "s", Client: "c", Operation: operation(t, entity)}
	req := Request{Client: "c", Mailbox: "me", Operation: sub.Operation, Headers: map[string]string{"Prefer": `IdType="ImmutableId"`}}
	change(&sub, &req)
	fetch := &fetcher{items: box, slots: box, client: "c", mailbox: "me", headers: headersOf(req.Headers)}
	e := newEnricher(&sub, &req, fetch, blobs, 2<<20)
	if e == nil {
		t.Errorf("the subscription wants nothing")
	}
	return e
}

// pieceOf makes a piece of an item as a page has it.
func pieceOf(t fataler, raw string) *piece {
	t.Helper()
	var peek peeker
	it, err := peek.peek([]byte(raw))
	if err != nil {
		t.Errorf("%v", err)
	}
	version := it.version
	if version == "" {
		version = "bytes"
	}
	return &piece{item: it, version: version}
}

// enrichAll runs the pieces to their end.
func enrichAll(t *testing.T, e *enricher, pieces ...*piece) {
	t.Helper()
	for len(pieces) > 0 {
		n, err := e.run(t.Context(), pieces)
		if err != nil {
			t.Fatal(err)
		}
		pieces = pieces[n:]
	}
}

// sorted returns the different ones, for comparisons without an order.
func sorted(paths []string) []string { return slices.Sorted(maps.Keys(setOf(paths))) }

func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, one := range list {
		set[one] = true
	}
	return set
}
