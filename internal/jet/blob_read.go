package jet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// patienceMissing is how often a body that was stored a moment ago is looked for
// in a cluster, where the copy that is asked may lag behind; the waits double from
// a tenth of a second on, to three seconds in all.
const patienceMissing = 6

// StatBlob tells a body's size in bytes and its SHA-256 in hexadecimal digits.
// [ErrNotFound] (kind Poison) says that there is none.
func (c *Conn) StatBlob(ctx context.Context, name string) (size int64, sum string, err error) {
	info, err := c.blobInfo(ctx, name)
	if err != nil {
		return 0, "", err
	}
	sum, ok := digestOf(info)
	if !ok {
		return 0, "", fault.New(fault.Poison, "body %s has no sum by which it could be known", name).WithCode("bad_blob").
			WithHint("store it again, such as with: nats object put %s", c.names.BlobBucket())
	}
	return int64(info.Size), sum, nil
}

// OpenBlob reads a body with a sum that [Conn.StatBlob] told, in the memory of one
// of its pieces. io.EOF comes only behind the last byte of that very body. Where
// another is stored under the name, or its pieces are not what was stored, an
// error of kind Poison with the code "blob_changed" comes instead. ctx bounds the
// reading, too. The caller closes it.
func (c *Conn) OpenBlob(ctx context.Context, name, sum string) (io.ReadCloser, error) {
	info, err := c.blobInfo(ctx, name)
	if err != nil {
		return nil, err
	}
	if now, ok := digestOf(info); !ok || now != sum {
		return nil, changed(name)
	}
	stream, err := c.js.Stream(ctx, "OBJ_"+c.names.BlobBucket())
	if err != nil {
		return nil, mark(ctx, err, "open object store %s", c.names.BlobBucket())
	}
	return &blobReader{
		ctx: ctx, conn: c, stream: stream, name: name, sum: sum, digest: sha256.New(),
		subject: "$O." + c.names.BlobBucket() + ".C." + info.NUID, pieces: info.Chunks, left: int64(info.Size), next: 1,
	}, nil
}

func changed(name string) error {
	return fault.New(fault.Poison, "body %s is not the one any more that it was", name).WithCode("blob_changed").
		WithHint("store a new body under a new name")
}

// blobInfo returns the record of a body.
func (c *Conn) blobInfo(ctx context.Context, name string) (*jetstream.ObjectInfo, error) {
	bucket, object, ok := strings.Cut(name, "/")
	if !ok || bucket != c.names.BlobBucket() || object == "" {
		return nil, fault.New(fault.Poison, "%q is no body in %s", clipName(name), c.names.BlobBucket()).WithCode("bad_blob").
			WithHint("name it as %s/<name>", c.names.BlobBucket())
	}
	store, err := c.js.ObjectStore(ctx, bucket)
	if err != nil {
		return nil, mark(ctx, err, "open object store %s", bucket)
	}
	for try := 1; ; try++ {
		info, err := store.GetInfo(ctx, object)
		switch {
		case err == nil && info.Opts != nil && info.Opts.Link != nil:
			return nil, fault.New(fault.Poison, "%q is a link", clipName(name)).WithCode("bad_blob").WithHint("name the body itself")
		case err == nil:
			return info, nil
		case !errors.Is(err, jetstream.ErrObjectNotFound):
			return nil, mark(ctx, err, "look up body %s", clipName(name))
		case try == patienceMissing:
			return nil, fault.New(fault.Poison, "body %s: %w", clipName(name), ErrNotFound).WithCode("blob_missing").
				WithHint("the object was deleted, has outlived its time, or was not stored in %s", bucket)
		}
		if err := wait(ctx, nil, 50*time.Millisecond<<try); err != nil {
			return nil, fmt.Errorf("look up body %s: %w", clipName(name), err)
		}
	}
}

// clipName keeps a stranger's text from filling a sentence.
func clipName(name string) string {
	const most = 80
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// blobReader asks for one piece after the other. The library's own reader has the
// server push them: up to 64 MB then wait in memory for who reads slowly, and
// what is too slow is lost.
type blobReader struct {
	ctx     context.Context //nolint:containedctx // of the one who reads: io.Reader has no other way
	conn    *Conn
	stream  jetstream.Stream
	name    string
	subject string
	sum     string
	digest  hash.Hash
	piece   bytes.Reader
	pieces  uint32 // that are still to come
	left    int64  // bytes that are still to be read
	next    uint64 // sequence from which on the next piece is looked for
	err     error
}

// Read implements io.Reader.
func (r *blobReader) Read(p []byte) (int, error) {
	for r.err == nil && r.piece.Len() == 0 {
		r.err = r.fetch()
	}
	if r.err != nil {
		return 0, r.err
	}
	n, _ := r.piece.Read(p) // never fails while there is something
	return n, nil
}

// fetch gets the next piece, or io.EOF behind the last one.
func (r *blobReader) fetch() error {
	if r.pieces == 0 {
		if r.left != 0 || hex.EncodeToString(r.digest.Sum(nil)) != r.sum {
			return changed(r.name)
		}
		return io.EOF
	}
	for try := 1; ; try++ {
		message, err := r.get()
		switch {
		case err == nil:
			r.next, r.pieces, r.left = message.Sequence+1, r.pieces-1, r.left-int64(len(message.Data))
			r.digest.Write(message.Data)
			r.piece.Reset(message.Data)
			return nil
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			return mark(r.ctx, err, "read body %s", r.name)
		case try == patienceMissing:
			return changed(r.name) // stored again, or deleted: its pieces are gone
		}
		if err := wait(r.ctx, nil, 50*time.Millisecond<<try); err != nil {
			return fmt.Errorf("read body %s: %w", r.name, err)
		}
	}
}

func (r *blobReader) get() (message *jetstream.RawStreamMsg, err error) {
	err = r.conn.read(r.ctx, func(ctx context.Context) error {
		message, err = r.stream.GetMsg(ctx, r.next, jetstream.WithGetMsgSubject(r.subject))
		return err
	})
	return message, err
}

// Close implements io.Closer. It never fails.
func (r *blobReader) Close() error {
	r.err = errors.New("body is closed")
	r.piece.Reset(nil)
	return nil
}
