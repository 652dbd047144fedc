package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
)

// answer is one HTTP answer while its body is being read.
type answer struct {
	status          int
	header          http.Header
	body            io.Reader // decompressed, guarded against a stall
	clientRequestID string
	secret          Token
}

// date returns the answer's own time, or the zero time.
func (a *answer) date() time.Time { return dateOf(a.header) }

func dateOf(header http.Header) time.Time {
	at, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return at
}

// requestID returns the answer's request-id, or "".
//
// It is a GUID; what has another form is left out, because whoever stands in
// between could have put anything there, what they were sent included.
func (a *answer) requestID() string {
	if id := a.header.Get("Request-Id"); plainID(id) {
		return id
	}
	return ""
}

// plainID reports whether a text looks as a request-id does, and no token.
func plainID(id string) bool {
	for i := range len(id) {
		if c := id[i]; c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return id != "" && len(id) <= 40
}

// length returns the length that the answer tells, or -1. That of a compressed
// body is not the one that the reader will see, so net/http takes it away.
func (a *answer) length() int64 {
	text := a.header.Get("Content-Length")
	if text == "" {
		return -1
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func (a *answer) mediaType() string {
	text := a.header.Get("Content-Type")
	if text == "" || text == typeJSON { // as most
		return text
	}
	kind, _, _ := mime.ParseMediaType(text)
	return kind
}

func (a *answer) html() bool {
	kind := a.mediaType()
	return kind == "text/html" || kind == "application/xhtml+xml"
}

// errTooLarge means that a body is over its cap.
var errTooLarge = errors.New("the answer is too large")

// capped reads at most left bytes and then fails, unlike io.LimitReader, whose
// end looks like the end of the body.
type capped struct {
	from io.Reader
	left int64
}

// Read implements io.Reader.
func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1] // one more byte tells a full body from a longer one
	}
	n, err := c.from.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// readAll reads to the end. length is what the answer tells of it (-1: nothing):
// where that is little, there is no need to find it out.
func readAll(from io.Reader, length int64) ([]byte, error) {
	if length < 0 || length > 64<<10 {
		return io.ReadAll(from)
	}
	var body bytes.Buffer
	body.Grow(int(length) + bytes.MinRead) // in which the end is seen
	_, err := body.ReadFrom(from)
	return body.Bytes(), err
}

// minProgress is how many bytes count as progress.
const minProgress = 4 << 10

// steady gives up on a body that trickles. Only the time spent waiting for the
// body counts, not the time that the caller takes between two reads.
type steady struct {
	from    io.Reader
	window  time.Duration
	abort   context.CancelCauseFunc // ends the request and with it a blocked Read
	left    time.Duration
	arrived int
	size    int64
	stall   *time.Timer // nil before the first Read
}

func newSteady(from io.Reader, window time.Duration, abort context.CancelCauseFunc) *steady {
	return &steady{from: from, window: window, abort: abort, left: window}
}

// Read implements io.Reader.
func (s *steady) Read(p []byte) (int, error) {
	if s.from == http.NoBody {
		return 0, io.EOF
	}
	started := time.Now()
	if s.stall == nil {
		s.stall = time.AfterFunc(s.left, func() {
			s.abort(fmt.Errorf("the body came slower than %d bytes in %v", minProgress, s.window))
		})
	} else {
		s.stall.Reset(s.left)
	}
	n, err := s.from.Read(p)
	s.stall.Stop()
	s.size += int64(n)
	if s.arrived += n; s.arrived >= minProgress {
		s.arrived, s.left = 0, s.window
	} else {
		s.left = max(s.left-time.Since(started), time.Nanosecond)
	}
	return n, err
}
