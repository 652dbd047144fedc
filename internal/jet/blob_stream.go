package jet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// blobPattern is what the name of a stored body looks like.
var blobPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// PutBlobFrom stores what it reads under a name, in constant memory, and returns
// the body's whole name ("OUTLOOK_BLOB/…"), its size and its SHA-256 in
// hexadecimal digits. The caller's name stands for the content: what is there
// already and young is not read, let alone stored, a second time. An error of
// the reader comes back as it is, and what was there before stays; nothing of
// the new is left.
func (c *Conn) PutBlobFrom(ctx context.Context, name string, body io.Reader) (ref string, size int64, sum string, err error) {
	if !blobPattern.MatchString(name) {
		return "", 0, "", fault.New(fault.Poison, "%q cannot name a body", name).WithCode("bad_blob")
	}
	store, err := c.js.ObjectStore(ctx, c.names.BlobBucket())
	if err != nil {
		return "", 0, "", mark(ctx, err, "open object store %s", c.names.BlobBucket())
	}
	ref = c.names.BlobBucket() + "/" + name
	// An old one would go before its new reference does, so it is stored again.
	info, err := store.GetInfo(ctx, name)
	if err == nil && time.Since(info.ModTime) < reuseBlob {
		if sum, ok := digestOf(info); ok {
			return ref, int64(info.Size), sum, nil
		}
	}
	size, sum, err = c.upload(ctx, name, body, info)
	if err != nil {
		return "", 0, "", err
	}
	return ref, size, sum, nil
}

// upload writes a body as the object store keeps it: its pieces, and then the
// record that names them. The library's own Put would do, but that it waits for
// no answer before it sends on, so that the server has a large body in memory.
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-20.md
func (c *Conn) upload(ctx context.Context, name string, body io.Reader, before *jetstream.ObjectInfo) (size int64, sum string, err error) {
	bucket, digest := c.names.BlobBucket(), sha256.New()
	info := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: c.blobChunk()}},
		Bucket:     bucket, NUID: rand.Text(),
	}
	pieces := "$O." + bucket + ".C."
	obsolete := info.NUID // the pieces to which nobody refers
	defer func() {
		if obsolete != "" {
			c.purge(context.WithoutCancel(ctx), "OBJ_"+bucket, pieces+obsolete)
		}
	}()
	w := window{conn: c}
	chunk := make([]byte, info.Opts.ChunkSize)
	for ended := false; !ended; {
		n, err := fill(body, chunk)
		if ended = errors.Is(err, io.EOF); err != nil && !ended {
			_ = w.wait(ctx, 0) // so that no piece comes after they are taken away
			return 0, "", err
		}
		if n == 0 {
			continue
		}
		digest.Write(chunk[:n])
		info.Chunks++
		info.Size += uint64(n)
		if err := w.send(ctx, &nats.Msg{Subject: pieces + info.NUID, Data: chunk[:n]}); err != nil {
			return 0, "", mark(ctx, err, "store body %s", name)
		}
	}
	if err := w.wait(ctx, 0); err != nil {
		return 0, "", mark(ctx, err, "store body %s", name)
	}
	info.Digest = "SHA-256=" + base64.URLEncoding.EncodeToString(digest.Sum(nil))
	record, err := json.Marshal(info)
	if err != nil {
		return 0, "", fault.New(fault.Poison, "store body %s: %w", name, err)
	}
	m := nats.NewMsg("$O." + bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(name)))
	m.Data = record
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	obsolete = "" // from here on they may be referred to, whatever the answer says
	if _, err := c.js.PublishMsg(ctx, m); err != nil {
		return 0, "", mark(ctx, err, "store body %s", name)
	}
	if before != nil {
		obsolete = before.NUID
	}
	return int64(info.Size), hex.EncodeToString(digest.Sum(nil)), nil
}

// purge takes pieces away. What it cannot, the bucket's age does.
func (c *Conn) purge(ctx context.Context, stream, subject string) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if s, err := c.js.Stream(ctx, stream); err == nil {
		_ = s.Purge(ctx, jetstream.WithPurgeSubject(subject))
	}
}

// uploadAhead is how many pieces may be on their way: enough to keep the server's
// disk busy, 4 MiB.
const uploadAhead = 8

// window sends messages in order, a few ahead of their answers.
type window struct {
	conn *Conn
	acks []jetstream.PubAckFuture
}

// send sends a message, whose bytes are free to be used again, once there is
// room. It is not repeated by itself: it would come behind the next one.
func (w *window) send(ctx context.Context, m *nats.Msg) error {
	if err := w.wait(ctx, uploadAhead-1); err != nil {
		return err
	}
	ack, err := w.conn.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	if err == nil {
		w.acks = append(w.acks, ack)
	}
	return err
}

// wait waits until no more than left answers are missing.
func (w *window) wait(ctx context.Context, left int) error {
	timeout := time.NewTimer(w.conn.o.Timeout)
	defer timeout.Stop()
	for len(w.acks) > left {
		select {
		case <-w.acks[0].Ok():
			w.acks = w.acks[1:]
		case err := <-w.acks[0].Err():
			return err
		case <-timeout.C:
			return nats.ErrTimeout
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// digestOf returns the sum that the object store has written down:
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-20.md
func digestOf(info *jetstream.ObjectInfo) (sum string, ok bool) {
	text, ok := strings.CutPrefix(info.Digest, "SHA-256=")
	raw, err := base64.URLEncoding.DecodeString(text)
	return hex.EncodeToString(raw), ok && err == nil && len(raw) == sha256.Size
}

// blobChunk is the size of the messages of a stored body.
func (c *Conn) blobChunk() uint32 {
	return uint32(min(int64(chunkSize), max(c.nc.MaxPayload()-blobHeadroom, 1<<10)))
}

// fill reads until the buffer is full: each becomes a message, however little a
// read gives. io.EOF comes with the last bytes, other errors as they are.
func fill(from io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = from.Read(p[n:])
		n += m
	}
	return n, err
}
