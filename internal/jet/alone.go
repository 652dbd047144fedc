package jet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What single messages and batches cost as long as nothing was measured: as on a
// single node that syncs every write.
const (
	firstSingle = 300 * time.Microsecond
	firstBatch  = 5 * time.Millisecond
)

// singleLeast bounds what a single message is taken to cost: it has been on the
// way at least, and one answer that came with others says little.
const singleLeast = 10 * time.Microsecond

// pace tells which is cheaper for messages that are stored at the same time: each
// by itself, or all in a batch. It depends on the server. One that syncs its disk
// rarely stores a single message in some 0.03 ms and syncs for a batch all the
// same, so that batches of less than a hundred are never worth it; one that syncs
// every write does so once for each single message or batch. No server tells
// which of both it is, so it is measured.
type pace struct {
	mu     sync.Mutex
	flying int           // single messages that are on their way
	answer time.Time     // when the last of them was answered
	single time.Duration // between two answers, of which the second was waited for already, smoothed
	batch  time.Duration // from sending a batch to its answer, smoothed
}

func newPace() *pace { return &pace{single: firstSingle, batch: firstBatch} }

// cheaper reports whether n more messages are better stored each by itself.
func (p *pace) cheaper(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Duration(p.flying+n)*p.single <= p.batch
}

// begin notes that a single message is sent.
func (p *pace) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying++
}

// end notes that a single message, which was sent then, was answered, or given up.
// How long one alone is on its way says nothing about what many cost; how long
// after another it is answered does, where both were on their way together.
func (p *pace) end(sent time.Time, answered bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flying--
	if !answered {
		return
	}
	now := time.Now()
	if sent.Before(p.answer) {
		p.single = max(smoothed(p.single, now.Sub(p.answer)), singleLeast)
	}
	p.answer = now
}

// batched notes how long a batch took. What single messages cost is trusted less
// with each one, so that they get their chance again: the server may have been
// busy when they were measured.
func (p *pace) batched(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.batch = smoothed(p.batch, took)
	p.single = max(p.single-p.single/32, singleLeast)
}

// smoothed moves a figure some of the way to a new one.
func smoothed(was, now time.Duration) time.Duration { return was + (now-was)/16 }

// single reports whether a write is better stored by itself, at once. While a
// batch is on its way the next one is filled, because then they are the cheaper
// ones. What the client would not send must not be in a batch with others.
func (k *committer) single(w *write) bool {
	if k.pace == nil || w.messages() > 1 {
		return false
	}
	return int64(w.bytes) > k.conn.nc.MaxPayload() || k.flying.Load() == 0 && k.pace.cheaper(1)
}

// alone stores a single message in the caller's goroutine: nothing but the
// message and its answer is between it and the server.
func (k *committer) alone(w *write) (uint64, error) {
	return k.judge(w, k.send(w))
}

// judge waits for the answer to a write that was sent by itself, and finds out what
// has become of it where that does not say.
func (k *committer) judge(w *write, sent *single) (uint64, error) {
	seq, err := sent.wait(w.ctx)
	if err == nil || errors.Is(err, errNotConnected) || w.ctx.Err() != nil {
		return seq, err
	}
	own := *w // somebody else may listen for the answer of w
	own.done = make(chan written, 1)
	switch {
	case len(k.settle([]*write{&own}, err)) == 0:
	case apiCode(err) == 0:
		return 0, err // no verdict, and no trace of the write: it may still come
	default:
		k.storeAlone(&own, err, false)
	}
	r := <-own.done
	return r.seq, r.err
}

// single is a message on its way that is stored by itself.
type single struct {
	letter

	pace *pace        // may be nil
	own  bool         // the header is one of headers
	done chan written // has room for one
}

func newSingle(p *pace) *single {
	s := &single{pace: p, done: make(chan written, 1)}
	s.to = s
	return s
}

// take makes it a message to which headers may be added.
func (s *single) take(m Msg) {
	m.into(&s.m)
	s.own = true
}

// answered implements addressee.
func (s *single) answered(m *nats.Msg, err error) {
	var seq uint64
	if err == nil {
		seq, err = storedAt(m.Data)
	}
	if s.pace != nil {
		s.pace.end(s.sent, err == nil || apiCode(err) != 0)
	}
	s.done <- written{seq, err}
}

// wait waits for the answer. Where ctx ends first the message may still be stored,
// and what it has is in use for a while.
func (s *single) wait(ctx context.Context) (uint64, error) {
	seq, err := await(ctx, s.done)
	if s.own && ctx.Err() == nil {
		recycle(&s.m)
	}
	return seq, err
}

// send sends a single message.
func (k *committer) send(w *write) *single {
	s := newSingle(k.pace)
	if err := k.conn.reach(w.ctx); err != nil {
		s.done <- written{err: err}
		return s
	}
	s.patient = w.loose // somebody's record decides what comes next, a result nothing
	if w.loose {        // nothing is added to it
		s.m.Subject, s.m.Header, s.m.Data = w.fenced.Subject, w.fenced.Header, w.fenced.Data
	} else {
		s.take(w.fenced)
		w.fence(s.m.Header, k.stream, w.after, k.rollup)
	}
	k.pace.begin()
	k.conn.post.send(&s.letter)
	return s
}

// reach waits for a connection, for as long as a request may take.
func (c *Conn) reach(ctx context.Context) error {
	if c.nc.IsConnected() || ctx.Err() != nil {
		return ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	if err := c.waitConnected(bounded); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return errNotConnected
	}
	return nil
}
