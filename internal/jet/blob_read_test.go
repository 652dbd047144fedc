package jet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestABodyIsReadAsItWasStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	for name, size := range map[string]int{"empty": 0, "one": 1, "piece": 512 << 10, "more": 512<<10 + 1, "large": 3<<20 + 7} {
		data := noise(size)
		ref, _, want, err := c.PutBlobFrom(t.Context(), name, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		n, sum, err := c.StatBlob(t.Context(), ref)
		if err != nil || n != int64(size) || sum != want {
			t.Fatalf("%s: %d bytes, %s: %v", name, n, sum, err)
		}
		from, err := c.OpenBlob(t.Context(), ref, sum)
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(from, data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		_ = from.Close()
	}
}

// TestABodyOfAnotherProgramIsRead: people store their files with the nats command,
// in pieces of its own size.
func TestABodyOfAnotherProgramIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	js, err := jetstream.New(w.raw())
	if err != nil {
		t.Fatal(err)
	}
	store, err := js.ObjectStore(t.Context(), c.Names().BlobBucket())
	if err != nil {
		t.Fatal(err)
	}
	data := noise(1<<20 + 5)
	if _, err := store.PutBytes(t.Context(), "a report.pdf", data); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(data)
	size, sum, err := c.StatBlob(t.Context(), c.Names().BlobBucket()+"/a report.pdf")
	if err != nil || size != int64(len(data)) || sum != hex.EncodeToString(digest[:]) {
		t.Fatalf("%d bytes, %s: %v", size, sum, err)
	}
	from, err := c.OpenBlob(t.Context(), c.Names().BlobBucket()+"/a report.pdf", sum)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if got, err := io.ReadAll(from); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes: %v", len(got), err)
	}
}

func TestABodyThatIsStoredAgainIsNotMixedWithTheFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	js, err := jetstream.New(w.raw())
	if err != nil {
		t.Fatal(err)
	}
	store, err := js.ObjectStore(t.Context(), c.Names().BlobBucket())
	if err != nil {
		t.Fatal(err)
	}
	put := func(fill byte) {
		if _, err := store.PutBytes(t.Context(), "report", bytes.Repeat([]byte{fill}, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	put('a')
	ref := c.Names().BlobBucket() + "/report"
	_, sum, err := c.StatBlob(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	from, err := c.OpenBlob(t.Context(), ref, sum)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := io.CopyN(io.Discard, from, 10); err != nil {
		t.Fatal(err)
	}
	put('b')
	rest, err := io.ReadAll(from)
	if wantCode(t, err, "blob_changed"); bytes.IndexByte(rest, 'b') >= 0 {
		t.Error("the two are mixed")
	}
	_, err = c.OpenBlob(t.Context(), ref, sum)
	wantCode(t, err, "blob_changed")
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if marked := fault.Of(err); marked == nil || marked.Kind != fault.Poison || marked.Code != code {
		t.Errorf("got %v (%+v), want poison %s", err, marked, code)
	}
}

func TestNamesThatAreNoBodyAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	for _, name := range []string{"", "report", "OTHER/report", "OUTLOOK_BLOB/", strings.Repeat("x", 1000)} {
		_, _, err := c.StatBlob(t.Context(), name)
		wantCode(t, err, "bad_blob")
	}
	_, _, err := c.StatBlob(t.Context(), c.Names().BlobBucket()+"/nothing")
	if wantCode(t, err, "blob_missing"); !errors.Is(err, jet.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestALargeBodyIsReadInTheMemoryOfAPiece measures what is alive, not what was
// allocated: each piece comes in a message of its own.
func TestALargeBodyIsReadInTheMemoryOfAPiece(t *testing.T) {
	const size = 64 << 20
	w := newWorld(t)
	c := w.connect()
	pattern := noise(1 << 20)
	readers := make([]io.Reader, size/len(pattern))
	for i := range readers {
		readers[i] = bytes.NewReader(pattern)
	}
	ref, _, sum, err := c.PutBlobFrom(t.Context(), "large", io.MultiReader(readers...))
	if err != nil {
		t.Fatal(err)
	}
	from, err := c.OpenBlob(t.Context(), ref, sum)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	if _, err := io.CopyN(io.Discard, from, size-1); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	// The server is in this process, too, and keeps some blocks of its files.
	if alive := int64(after.HeapAlloc) - int64(before.HeapAlloc); alive > size/2 {
		t.Errorf("%d MB are alive after reading", alive>>20)
	}
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 48<<20 {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
}
