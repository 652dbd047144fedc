package graph

import (
	"context"
	"fmt"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// watch ends an attempt that takes too long, and knows whether it has left. Its two
// limits share one timer, which is set once for nearly every attempt: whatever may
// end it early is looked at when it comes to that.
type watch struct {
	abort context.CancelCauseFunc
	began time.Time
	trace httptrace.ClientTrace

	// sent keeps whether bytes of the request may have left. It is counted from the
	// moment the request gets its connection and not from the first write: a write
	// goes on in the background for a moment after the context ended, and a send that
	// is taken for not sent would be sent again. net/http asks for another connection
	// only if the server has seen nothing of it.
	sent atomic.Bool

	limit, head time.Duration // of the attempt in all; from the end of the request to the answer's head

	mu       sync.Mutex
	timer    *time.Timer
	written  time.Time // zero: not yet
	answered bool
	ended    bool
}

// newWatch begins to watch an attempt, which is to have the returned context. The
// caller ends it.
func newWatch(owner context.Context, limit, head time.Duration) (context.Context, *watch) {
	w := &watch{began: time.Now(), limit: limit, head: head}
	w.trace = httptrace.ClientTrace{GetConn: w.asks, GotConn: w.gets, WroteHeaders: w.writes, WroteRequest: w.wrote}
	ctx, abort := context.WithCancelCause(owner)
	w.abort = abort
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(min(limit, head), w.look)
	return httptrace.WithClientTrace(ctx, &w.trace), w
}

// look is for the timer.
func (w *watch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return
	}
	left := w.limit - time.Since(w.began)
	if left <= 0 {
		w.abort(fmt.Errorf("no complete answer within %v", w.limit))
		return
	}
	switch {
	case w.answered:
	case w.written.IsZero():
		left = min(left, w.head)
	default:
		wait := w.head - time.Since(w.written)
		if wait <= 0 {
			w.abort(fmt.Errorf("no answer within %v after the request was written", w.head))
			return
		}
		left = min(left, wait)
	}
	w.timer.Reset(left)
}

// answer notes that the head of the answer is there.
func (w *watch) answer() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = true
}

// end ends the context of the attempt.
func (w *watch) end() {
	w.mu.Lock()
	w.ended = true
	w.timer.Stop()
	w.mu.Unlock()
	w.abort(nil)
}

func (w *watch) asks(string) {
	w.sent.Store(false)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = time.Time{}
}

func (w *watch) gets(httptrace.GotConnInfo) { w.sent.Store(true) }

func (w *watch) writes() { w.sent.Store(true) }

func (w *watch) wrote(httptrace.WroteRequestInfo) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.written = time.Now()
}
