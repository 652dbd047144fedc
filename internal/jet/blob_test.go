package jet_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
)

// noise returns bytes that do not compress and do not repeat.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // never fails
	return data
}

// bucket returns what the server holds of the object store: all messages, those
// of them that name an object, and the last sequence.
func (w *world) bucket(c *jet.Conn) (messages, objects int, last uint64) {
	w.t.Helper()
	js, err := jetstream.New(w.raw())
	if err != nil {
		w.t.Fatal(err)
	}
	name := c.Names().BlobBucket()
	stream, err := js.Stream(w.t.Context(), "OBJ_"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	info, err := stream.Info(w.t.Context(), jetstream.WithSubjectFilter("$O."+name+".M.>"))
	if err != nil {
		w.t.Fatal(err)
	}
	return int(info.State.Msgs), len(info.State.Subjects), info.State.LastSeq
}

func TestABodyThatIsPutAgainIsStoredOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, another := w.connect(), w.connect()
	data := noise(1 << 20)
	digest := sha256.Sum256(data)
	want := hex.EncodeToString(digest[:])
	name, sum, err := c.PutBlob(t.Context(), data)
	if err != nil || sum != want {
		t.Fatalf("put: %s %s, want the sum %s: %v", name, sum, want, err)
	}
	messages, objects, last := w.bucket(c)
	if objects != 1 {
		t.Fatalf("%d objects after the first put", objects)
	}
	for _, from := range []*jet.Conn{c, another} { // a page is read again by any worker
		again, sum, err := from.PutBlob(t.Context(), bytes.Clone(data))
		if err != nil || again != name || sum != want {
			t.Errorf("put again: %s %s, want %s: %v", again, sum, name, err)
		}
	}
	if m, o, l := w.bucket(c); m != messages || o != 1 || l != last {
		t.Errorf("%d messages, %d objects, last sequence %d; after the first put %d, 1, %d", m, o, l, messages, last)
	}
	// Other content is another body, even of the same length.
	data[len(data)-1]++
	if other, _, err := c.PutBlob(t.Context(), data); err != nil || other == name {
		t.Errorf("other content: %s: %v", other, err)
	} else if got, err := c.GetBlob(t.Context(), other); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes read back: %v", len(got), err)
	}
	if _, objects, _ := w.bucket(c); objects != 2 {
		t.Errorf("%d objects, want 2", objects)
	}
}

// TestBodiesFitAServerWithSmallMessages has a server that takes less than the
// usual chunk of a stored body.
func TestBodiesFitAServerWithSmallMessages(t *testing.T) {
	t.Parallel()
	w := &world{t: t, dir: t.TempDir()}
	server, err := embedded.Start(context.WithoutCancel(t.Context()), embedded.Options{StoreDir: w.dir, MaxPayload: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	w.server = server
	t.Cleanup(w.stop)
	c := w.connect()
	data := noise(300 << 10)
	name, _, err := c.PutBlob(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetBlob(t.Context(), name); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes read back: %v", len(got), err)
	}
	// An event of that size refers to it.
	p := page(c, "me", 0, 1)
	p.Events[0].Data = data
	if _, err := c.Commit(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := c.Events(withTimeout(t, 10*time.Second), "outlook.event.>", time.Unix(1, 0), func(e jet.Event) bool {
		if ref := e.Header[jet.BlobHeader]; len(ref) != 1 || ref[0] != name {
			t.Errorf("the event refers to %q, want %s", ref, name)
		}
		return false
	}); err != nil {
		t.Fatal(err)
	}
}
