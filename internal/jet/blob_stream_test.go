package jet_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func TestAStreamIsStoredWhole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	for _, size := range []int{0, 1, 512 << 10, 512<<10 + 1, 3 << 20} {
		data := noise(size)
		digest := sha256.Sum256(data)
		want := hex.EncodeToString(digest[:])
		for i, from := range []io.Reader{bytes.NewReader(data), iotest.HalfReader(bytes.NewReader(data)), iotest.DataErrReader(bytes.NewReader(data))} {
			given := fmt.Sprintf("attachment-%d.%d", size, i)
			name, n, sum, err := c.PutBlobFrom(t.Context(), given, from)
			if err != nil || name != c.Names().BlobBucket()+"/"+given || n != int64(size) || sum != want {
				t.Fatalf("%d bytes, reader %d: %s, %d, %s: %v", size, i, name, n, sum, err)
			}
			got, err := c.GetBlob(t.Context(), name)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, reader %d: %d come back, %v", size, i, len(got), err)
			}
			// The name stands for the content, so that it need not be read again.
			again, n, sum, err := c.PutBlobFrom(t.Context(), given, iotest.ErrReader(errors.New("read")))
			if err != nil || again != name || n != int64(size) || sum != want {
				t.Errorf("%d bytes once more: %s, %d, %s: %v", size, again, n, sum, err)
			}
		}
	}
	before, _, _ := w.bucket(c)
	if before != 3*(1+2+2+3+7) { // a record for each, and its pieces of half a megabyte
		t.Errorf("%d messages are stored, want %d: short reads make short messages", before, 3*(1+2+2+3+7))
	}
	for _, name := range []string{"", "a/b", "a b", "*", ".", strings.Repeat("x", 129)} {
		if _, _, _, err := c.PutBlobFrom(t.Context(), name, strings.NewReader("x")); fault.KindOf(err) != fault.Poison {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAStreamThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	messages, objects, _ := w.bucket(c)
	broken := fmt.Errorf("cut off: %w", io.ErrUnexpectedEOF)
	for _, before := range []int{0, 1, 2 << 20} {
		from := io.MultiReader(bytes.NewReader(noise(before)), iotest.ErrReader(broken))
		name, n, sum, err := c.PutBlobFrom(t.Context(), "attachment", from)
		if !errors.Is(err, broken) || name != "" || n != 0 || sum != "" {
			t.Errorf("after %d bytes: %q, %d, %q, %v", before, name, n, sum, err)
		}
	}
	if m, o, _ := w.bucket(c); m != messages || o != objects {
		t.Errorf("%d messages in %d objects are left, before %d in %d", m, o, messages, objects)
	}
}

func TestTheSameStreamFromSeveralWorkersIsOneObject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	conns := []*jet.Conn{w.connect(), w.connect()}
	data := noise(1 << 20)
	names := make([]string, 6)
	var wait sync.WaitGroup
	for i := range names {
		wait.Go(func() {
			var err error
			if names[i], _, _, err = conns[i%2].PutBlobFrom(t.Context(), "attachment", bytes.NewReader(data)); err != nil {
				t.Errorf("put %d: %v", i, err)
			}
		})
	}
	wait.Wait()
	for i, name := range names {
		if got, err := conns[0].GetBlob(t.Context(), name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d: %s: %d bytes, %v", i, name, len(got), err)
		}
	}
}

// TestALargeStreamTakesNoMemory: what the worker may read at a time is bounded
// by the machine, not by what people attach.
func TestALargeStreamTakesNoMemory(t *testing.T) {
	const size = 150 << 20
	w := newWorld(t)
	c := w.connect()
	pattern := noise(1 << 20)
	readers := make([]io.Reader, size/len(pattern))
	for i := range readers {
		readers[i] = bytes.NewReader(pattern)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	_, n, _, err := c.PutBlobFrom(t.Context(), "attachment", io.MultiReader(readers...))
	runtime.ReadMemStats(&after)
	if err != nil || n != size {
		t.Fatalf("%d bytes, %v", n, err)
	}
	// Not the heap's growth, which knows of the embedded server's caches, too:
	// what was allocated must be far from a copy of the body in one piece.
	if sys := int64(after.HeapSys) - int64(before.HeapSys); sys > 64<<20 {
		t.Errorf("the heap has grown by %d MB for a body of %d MB", sys>>20, size>>20)
	}
}
