package graph

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

// openTimeout bounds the reading of a large body in all: 150 MB at 1 Mbit/s. One
// that stalls ends much earlier.
const openTimeout = 20 * time.Minute

// Stream is a body that is being read.
type Stream struct {
	// Size is the Content-Length; -1 where the answer does not tell.
	Size int64
	// ContentType is that of the answer; "" where it does not tell.
	ContentType string

	from *io.PipeReader
	stop context.CancelFunc
	done *sync.WaitGroup
}

// Read implements io.Reader. io.EOF comes only behind the last byte of a sound
// answer: a body that was cut off, or stalled, ends with another error, which is
// marked like those of [Client.Do].
func (s *Stream) Read(p []byte) (int, error) { return s.from.Read(p) }

// Close ends the request, if it is still under way, and waits for its end. It
// never fails.
func (s *Stream) Close() error {
	s.stop()
	_ = s.from.Close() // never fails
	s.done.Wait()
	return nil
}

// Open reads a large body, such as an attachment's or a message's as MIME, as a
// stream in constant memory, whatever its size. The caller must close it. Errors
// until the answer's head are returned, later ones come from Read. A slot is the
// caller's matter, as with [Client.Do]; it must be held until Close.
func (c *Client) Open(ctx context.Context, req Request) (*Stream, error) {
	k, err := c.prepare(req)
	if err != nil {
		return nil, err
	}
	return c.open(ctx, k)
}

// OpenGet is [Client.Open] for a path below the mailbox.
func (c *Client) OpenGet(ctx context.Context, mailbox string, get Get) (*Stream, error) {
	part, err := c.part(mailbox, get)
	if err != nil {
		return nil, err
	}
	return c.open(ctx, part.call)
}

func (c *Client) open(ctx context.Context, k *call) (*Stream, error) {
	k.timeout = max(openTimeout, c.http.Timeout)
	ctx, stop := context.WithCancel(ctx)
	reader, writer := io.Pipe()
	s := &Stream{from: reader, stop: stop, done: new(sync.WaitGroup)}
	opened := make(chan error, 1)
	s.done.Go(func() {
		begun := false
		err := c.run(ctx, k, func(a *answer) error {
			begun = true
			s.Size, s.ContentType = a.length(), a.header.Get("Content-Type")
			opened <- nil
			if err := copyBody(writer, a.body); err != nil {
				return c.badBody(k, a, err)
			}
			return nil
		}, func() {})
		if !begun {
			opened <- err
		}
		_ = writer.CloseWithError(err) // nil means io.EOF; never fails
	})
	if err := <-opened; err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// copyBody copies through a buffer of its own: io.Copy would do as well, but for
// its habit to ask the writer for a better way.
func copyBody(to *io.PipeWriter, from io.Reader) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err // the reader has closed
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}
