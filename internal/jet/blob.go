package jet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// Headers of a message whose body lies in the object store.
const (
	// BlobHeader names the body: "OUTLOOK_BLOB/<name>".
	BlobHeader = "Outlook-Blob"
	// BlobSumHeader is the SHA-256 of the body in hexadecimal digits.
	BlobSumHeader = "Outlook-Blob-Sha256"
	// idHeader is the event header whose value stands in the small body.
	idHeader = "Outlook-Id"
)

// chunkSize of stored bodies, at most: a smaller max_payload makes it smaller. With
// half a megabyte a 150 MB body was put at 390 MB/s.
const chunkSize = 512 << 10

// reuseBlob is how young a stored body must be to serve a new reference too.
// The bucket's age is longer than any reference by a week at least.
const reuseBlob = 24 * time.Hour

// blobHeadroom is kept free under max_payload for headers that publishing adds.
const blobHeadroom = 4 << 10

// claimChecks replaces events over the server's max_payload. The slice is
// copied before the first change.
func (c *Conn) claimChecks(ctx context.Context, events []Msg) ([]Msg, error) {
	limit := int(c.nc.MaxPayload()) - blobHeadroom
	if limit <= 0 { // not connected yet
		return events, nil
	}
	copied := false
	for i, m := range events {
		if size(m) <= limit {
			continue
		}
		name, sum, err := c.PutBlob(ctx, m.Data)
		if err != nil {
			return nil, err
		}
		if !copied {
			events, copied = append([]Msg(nil), events...), true
		}
		header := maps.Clone(m.Header)
		if header == nil {
			header = Header{}
		}
		header[BlobHeader], header[BlobSumHeader] = []string{name}, []string{sum}
		id := ""
		if values := header[idHeader]; len(values) > 0 {
			id = values[0]
		}
		body, err := json.Marshal(map[string]string{"id": id})
		if err != nil {
			return nil, fault.New(fault.Poison, "write body of large event: %w", err)
		}
		events[i].Header, events[i].Data = header, body
	}
	return events, nil
}

// PutBlob stores a body and returns its name, "OUTLOOK_BLOB/…", and its SHA-256
// in hexadecimal digits. The name is made from the content, so that a page
// which is refused again and again does not leave a copy each time; an object
// that nobody comes to refer to is cleared by the bucket's age.
func (c *Conn) PutBlob(ctx context.Context, data []byte) (name, sum string, err error) {
	store, err := c.js.ObjectStore(ctx, c.names.BlobBucket())
	if err != nil {
		return "", "", mark(ctx, err, "open object store %s", c.names.BlobBucket())
	}
	digest := sha256.Sum256(data)
	object := hex.EncodeToString(digest[:])
	name, sum = c.names.BlobBucket()+"/"+object, object
	// A young one is as good as new. An old one would go before its new
	// reference does, so it is stored again under the same name.
	info, err := store.GetInfo(ctx, object)
	if err == nil && info.Size == uint64(len(data)) && time.Since(info.ModTime) < reuseBlob {
		return name, sum, nil
	}
	meta := jetstream.ObjectMeta{Name: object, Opts: &jetstream.ObjectMetaOptions{ChunkSize: c.blobChunk()}}
	if _, err := store.Put(ctx, meta, bytes.NewReader(data)); err != nil {
		return "", "", mark(ctx, err, "store body of %d bytes", len(data))
	}
	return name, sum, nil
}

// GetBlob returns a body by the name that PutBlob gave. [ErrNotFound] (kind
// Poison) says that there is none; right after a put on a cluster that may be
// early, so it looks for some seconds.
func (c *Conn) GetBlob(ctx context.Context, name string) ([]byte, error) {
	bucket, object, ok := strings.Cut(name, "/")
	if !ok || bucket != c.names.BlobBucket() {
		return nil, fault.New(fault.Poison, "%q is no body in %s", name, c.names.BlobBucket()).WithCode("bad_blob")
	}
	store, err := c.js.ObjectStore(ctx, bucket)
	if err != nil {
		return nil, mark(ctx, err, "open object store %s", bucket)
	}
	const tries = 6
	for try := 1; ; try++ {
		result, err := store.Get(ctx, object)
		if err == nil {
			data, err := io.ReadAll(result)
			return data, mark(ctx, errors.Join(err, result.Close()), "read body %s", name)
		}
		if !errors.Is(err, jetstream.ErrObjectNotFound) {
			return nil, mark(ctx, err, "read body %s", name)
		}
		if try == tries {
			return nil, fault.New(fault.Poison, "body %s: %w", name, ErrNotFound).WithCode("blob_missing").
				WithHint("the object was deleted or has outlived its time")
		}
		if err := wait(ctx, nil, 50*time.Millisecond<<try); err != nil {
			return nil, fmt.Errorf("read body %s: %w", name, err)
		}
	}
}

// DeleteBlob removes a body, for every message that refers to the same content. One that is gone already is no error.
func (c *Conn) DeleteBlob(ctx context.Context, name string) error {
	_, object, _ := strings.Cut(name, "/")
	store, err := c.js.ObjectStore(ctx, c.names.BlobBucket())
	if err != nil {
		return mark(ctx, err, "open object store %s", c.names.BlobBucket())
	}
	if err := store.Delete(ctx, object); err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return mark(ctx, err, "delete body %s", name)
	}
	return nil
}
