package subscriber

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
)

func rawMessages(s *Subscription, _ *Request) { s.MIME = true }

func TestRawMessages(t *testing.T) {
	t.Parallel()
	box, blobs := newFakeMailbox(t), newFakeBlobs()
	large := bytes.Repeat([]byte("0123456789abcdef"), inlineMost/8)
	box.bodies["messages/small/$value"] = []byte("From: a\r\n\r\nhi")
	box.bodies["messages/limit/$value"] = large[:inlineMost]
	box.bodies["messages/large/$value"] = large
	box.bodies["messages/empty/$value"] = nil
	box.answers["messages/denied/$value"] = refused(403, "ErrorAccessDenied", fault.Poison)
	pieces := map[string]*piece{}
	for _, id := range []string{"small", "limit", "large", "empty", "denied", "gone"} {
		pieces[id] = pieceOf(t, `{"id":"`+id+`","hasAttachments":true}`)
		e := enricherOf(t, box, blobs, "mail.message.delta", func(s *Subscription, r *Request) {
			s.MIME, s.Attachments = true, AttachmentsBlob // which are in the message
		})
		enrichAll(t, e, pieces[id])
		box.idle()
	}
	for id, want := range map[string][]byte{"small": []byte("From: a\r\n\r\nhi"), "limit": large[:inlineMost], "empty": {}} {
		if p := pieces[id]; !bytes.Equal(p.mime, want) || p.mime == nil || p.stored != nil || string(p.raw) != `{"id":"`+id+`","hasAttachments":true}` {
			t.Errorf("%s: %d bytes, stored %v, JSON %s", id, len(p.mime), p.stored, p.raw)
		}
	}
	sum := sha256.Sum256(large)
	if p := pieces["large"]; p.mime != nil || p.stored == nil || p.stored.sum != hex.EncodeToString(sum[:]) || !bytes.Equal(blobs.content(p.stored.ref), large) {
		t.Errorf("large: %d bytes, stored %+v", len(p.mime), p.stored)
	}
	if p := pieces["denied"]; p.mime != nil || p.dropped || !strings.HasSuffix(string(p.raw), `"@outlook.incomplete":[{"what":"mime","code":"ErrorAccessDenied"}]}`) {
		t.Errorf("denied: %s", p.raw)
	}
	if !pieces["gone"].dropped {
		t.Error("a message that is gone is told")
	}
	if len(box.batches) > 0 {
		t.Errorf("attachments of a raw message are read: %v", box.batches)
	}
}

func TestARawMessageThatMayComeLaterEndsThePoll(t *testing.T) {
	t.Parallel()
	box, blobs := newFakeMailbox(t), newFakeBlobs()
	box.bodies["messages/m/$value"] = make([]byte, 2*inlineMost)
	e := enricherOf(t, box, blobs, "mail.message.delta", rawMessages)
	p := []*piece{pieceOf(t, `{"id":"m"}`)}
	box.free = 0
	if _, err := e.run(t.Context(), p); fault.Of(err).Code != "busy" {
		t.Errorf("no slot: %v", err)
	}
	box.free = 1
	blobs.fail = func(string) error { return fault.New(fault.Retry, "full").WithCode("stream_full") }
	if n, err := e.run(t.Context(), p); n != 0 || fault.Of(err).Code != "stream_full" || p[0].stored != nil {
		t.Errorf("%d done, %v", n, err)
	}
	blobs.fail = func(string) error { return fault.New(fault.Poison, "refused").WithCode("bad_blob") }
	lost := []*piece{pieceOf(t, `{"id":"m"}`)}
	if n, err := e.run(t.Context(), lost); n != 1 || err != nil || !strings.Contains(string(lost[0].raw), `"bad_blob"`) {
		t.Errorf("a store that refuses for good: %d done, %v, %s", n, err, lost[0].raw)
	}
	blobs.fail = nil
	if n, err := e.run(t.Context(), p); n != 1 || err != nil || p[0].stored == nil {
		t.Errorf("%d done, %v", n, err)
	}
	box.idle()
}

// floods is a mailbox in which every body is made of many bytes that come from
// nowhere. It notes the largest buffer that anybody reads them with.
type floods struct {
	*fakeMailbox
	size, largest int
	err           error // at the end of a body
}

func (f *floods) Open(context.Context, string, string, Get) (io.ReadCloser, int64, error) {
	return &flood{from: f, left: f.size}, -1, nil
}

type flood struct {
	from *floods
	left int
}

func (f *flood) Read(p []byte) (int, error) {
	f.from.largest = max(f.from.largest, len(p))
	switch {
	case f.left == 0 && f.from.err != nil:
		return 0, f.from.err
	case f.left == 0:
		return 0, io.EOF
	}
	n := min(len(p), f.left, 32<<10) // as it comes from a network
	f.left -= n
	return n, nil
}

func (f *flood) Close() error { return nil }

// drain is a store that keeps nothing.
type drain struct{ size int64 }

func (d *drain) Put(_ context.Context, name string, body io.Reader) (string, int64, string, error) {
	sum := sha256.New()
	// Hidden methods would let io.Copy go another way than a store does.
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{body}, make([]byte, 512<<10))
	d.size += n
	return "OUTLOOK_BLOB/" + name, n, hex.EncodeToString(sum.Sum(nil)), err
}

func TestLargeBodiesGoThroughInConstantMemory(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entity string
		change func(*Subscription, *Request)
	}{
		"attachment":                      {"mail.message.delta", attaching(AttachmentsBlob)},
		"attachment larger than was said": {"mail.message.delta", attaching(AttachmentsInline)},
		"raw message":                     {"mail.message.delta", rawMessages},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			box, sink := &floods{fakeMailbox: newFakeMailbox(t), size: 100 << 20}, &drain{}
			box.answers["messages/m/attachments"] = found(`{"value":[{"id":"a","size":10}]}`)
			e := enricherOf(t, box.fakeMailbox, nil, c.entity, c.change)
			e.fetch.items, e.blobs = box, sink
			p := pieceOf(t, message)
			enrichAll(t, e, p)
			if sink.size != 100<<20 {
				t.Errorf("%d bytes are stored", sink.size)
			}
			if box.largest > inlineMost {
				t.Errorf("a buffer of %d bytes", box.largest)
			}
			if len(p.raw) > 4096 || len(p.mime) > 0 {
				t.Errorf("the event has %d bytes", len(p.raw)+len(p.mime))
			}
			box.idle()
		})
	}
}

func TestABodyThatBreaksOffIsReadAgain(t *testing.T) {
	t.Parallel()
	broken := fault.New(fault.Retry, "cut off").WithCode("bad_body")
	for name, change := range map[string]func(*Subscription, *Request){
		"attachment": attaching(AttachmentsBlob), "inline": attaching(AttachmentsInline), "raw message": rawMessages,
	} {
		box := &floods{fakeMailbox: newFakeMailbox(t), size: 3 << 20, err: broken}
		box.answers["messages/m/attachments"] = found(`{"value":[{"id":"a","size":10}]}`)
		e := enricherOf(t, box.fakeMailbox, newFakeBlobs(), "mail.message.delta", change)
		e.fetch.items = box
		p := pieceOf(t, message)
		if n, err := e.run(t.Context(), []*piece{p}); n != 0 || fault.Of(err).Code != "bad_body" {
			t.Errorf("%s: %d done, %v", name, n, err)
		}
		if p.mime != nil || p.stored != nil {
			t.Errorf("%s: half a body is kept", name)
		}
		box.idle()
	}
}
