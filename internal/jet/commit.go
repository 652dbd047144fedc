package jet

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"outlook-connector/internal/fault"
)

// Commit stores a page with its cursor, all or nothing, and returns the
// cursor's new sequence, which is the After of the next page.
//
// [ErrFenced] (kind Retry) says that the cursor is not where the page began, or
// the marker of moves not where it was. Any
// other error leaves open whether the page was or will be stored (Ambiguous
// says where it may have been). After each of them read [Conn.Cursor] before
// going on. That is always safe, because a late write and the next page exclude
// each other by the same fence.
//
// Events larger than the server's max_payload are put into the object store
// first; their messages carry Outlook-Blob, Outlook-Blob-Sha256 and the entity's
// id, see [Conn.PutBlob].
//
// Pages of several feeds that wait at the same time share one batch.
func (c *Conn) Commit(ctx context.Context, p Page) (uint64, error) {
	if err := p.check(c.names); err != nil {
		return 0, err
	}
	events, err := c.claimChecks(ctx, p.Events)
	if err != nil {
		return 0, err
	}
	w := newWrite(ctx, slices.Concat(p.Segments, events), Msg{Subject: p.CursorSubject, Data: p.Cursor}, p.After)
	w.moves = p.Moves
	seq, err := c.events.do(w) //nolint:contextcheck // w has ours
	return seq, mark(ctx, err, "commit page of %s", p.CursorSubject)
}

// Cursor returns where a feed stands and the sequence to commit its next page
// after; nil and 0 where it has no cursor yet. It is read from the stream's
// leader, so it is never old.
func (c *Conn) Cursor(ctx context.Context, subject string) ([]byte, uint64, error) {
	msg, err := c.last(ctx, c.names.EventsStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, mark(ctx, err, "read %s", subject)
	}
	return msg.Data, msg.Sequence, nil
}

// last reads the last message of a subject from the leader.
func (c *Conn) last(ctx context.Context, stream, subject string) (*jetstream.RawStreamMsg, error) {
	var msg *jetstream.RawStreamMsg
	err := c.read(ctx, func(ctx context.Context) error {
		s, err := c.stream(ctx, stream)
		if err == nil {
			msg, err = s.GetLastMsgForSubject(ctx, subject)
		}
		return err
	})
	return msg, err
}

// committers is how many batches of one stream are on their way at a time. The
// server takes them one by one on a single node; the second fills its wait for
// the disk, and a third only makes the groups smaller.
const committers = 2

// company is how long a page waits for others while a batch is on its way, at
// most. A batch has its price whatever its size (see few): on a single node it is
// a file of its own and syncs of that, and the next batch stands in line behind
// it anyway. So the pages of ten feeds go better in one than first one, then nine.
const company = 10 * time.Millisecond

// few is up to how many single messages are better stored each by itself where
// that is not measured. On a single node that syncs every write, a batch costs as much as some fifteen
// single messages, whatever its size (0.3 ms against 5 ms).
const few = 16

// spuriousTries bounds repeats of a write that was refused though its cursor
// stands where it should: a cluster's answer just after the last commit of the
// same subject, about once in 5,500 (code 10164).
const spuriousTries = 5

// committer packs writes of one stream into atomic batches.
type committer struct {
	conn   *Conn
	stream string
	rollup bool  // the fenced subject keeps its last message only
	pace   *pace // nil: most writes are pages
	in     chan *write
	flying atomic.Int32    // batches that are on their way
	landed chan struct{}   // told, if anybody listens, when one of them is answered
	ctx    context.Context //nolint:containedctx // the life of the goroutines, ended by stop
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newCommitter(c *Conn, stream string, rollup bool, p *pace) *committer {
	ctx, cancel := context.WithCancel(context.Background())
	k := &committer{conn: c, stream: stream, rollup: rollup, pace: p, in: make(chan *write), landed: make(chan struct{}), ctx: ctx, cancel: cancel}
	for range committers {
		k.wg.Go(k.loop)
	}
	return k
}

// stop ends the goroutines after the batches that are on their way.
func (k *committer) stop() {
	k.cancel()
	k.wg.Wait()
}

// do begins a write and waits for its answer. Where the caller's context ends
// first, the write may still happen.
func (k *committer) do(w *write) (uint64, error) {
	k.begin(w)
	return k.end(w)
}

// begin has a write on its way. What end returns is its answer.
func (k *committer) begin(w *write) {
	if k.single(w) {
		w.sent = k.send(w)
		return
	}
	w.done = make(chan written, 1)
	select {
	case k.in <- w:
	case <-w.ctx.Done():
		w.finish(0, w.ctx.Err())
	case <-k.ctx.Done():
		w.finish(0, nats.ErrConnectionClosed)
	}
}

// end waits for the answer to a write that has begun.
func (k *committer) end(w *write) (uint64, error) {
	if w.sent != nil {
		return k.judge(w, w.sent)
	}
	return await(w.ctx, w.done)
}

// await waits for an answer until ctx ends. An answer that is there already is
// taken without asking the context, which would make something for it to be asked.
func await(ctx context.Context, done <-chan written) (uint64, error) {
	select {
	case r := <-done:
		return r.seq, r.err
	default:
	}
	select {
	case r := <-done:
		return r.seq, r.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (k *committer) loop() {
	var left *write // taken, but of no place in the group before
	for {
		if left == nil {
			select {
			case left = <-k.in:
			case <-k.ctx.Done():
				return
			}
		}
		var group []*write
		group, left = k.gather(left)
		k.store(group)
	}
}

// gather adds to the first write what waits already: under load the writes pile
// up by themselves while a batch is on its way. A page waits a moment for others
// while there is such a batch, and so does a single message where it is only here
// because batches are cheaper; without load nobody waits for company.
func (k *committer) gather(first *write) (group []*write, left *write) {
	group = []*write{first}
	messages, bytes := first.messages(), first.bytes
	var late <-chan time.Time
	for waits := messages > 1 || k.pace != nil; ; {
		var w *write
		select {
		case w = <-k.in:
		default:
			if !waits || k.flying.Load() == 0 {
				return group, nil
			}
			if late == nil {
				timer := time.NewTimer(company)
				defer timer.Stop()
				late = timer.C
			}
			select {
			case w = <-k.in:
			case <-k.landed:
				waits = false
				continue
			case <-late:
				return group, nil
			case <-k.ctx.Done():
				return group, nil
			}
		}
		if slices.ContainsFunc(group, w.apart) || messages+w.messages() > groupMessages || bytes+w.bytes > groupBytes {
			return group, w
		}
		group = append(group, w)
		messages, bytes = messages+w.messages(), bytes+w.bytes
	}
}

// store publishes a group and gives every write its answer.
func (k *committer) store(group []*write) {
	group = slices.DeleteFunc(group, func(w *write) bool { return w.ctx.Err() != nil }) // nobody waits
	if len(group) == 0 {
		return
	}
	if k.apart(group) {
		var all sync.WaitGroup
		for i, w := range group {
			all.Go(func() {
				if k.pace != nil {
					w.finish(k.alone(w))
					return
				}
				k.store(group[i : i+1])
			})
		}
		all.Wait()
		return
	}
	last, err := k.publish(group)
	if errors.Is(err, errNotConnected) {
		for _, w := range group {
			w.finish(0, err) // nothing was sent
		}
		return
	}
	if err == nil {
		// The sequences of a batch follow each other, so each write's own one
		// is known from the last.
		for _, w := range slices.Backward(group) {
			w.finish(last, nil)
			last -= uint64(w.messages())
		}
		return
	}
	open := k.settle(group, err)
	if apiCode(err) == 0 {
		// No verdict, and no trace of the write: it may still come.
		for _, w := range open {
			w.finish(0, err)
		}
		return
	}
	// A verdict on the whole group does not say whose fault it is.
	for _, w := range open {
		k.storeAlone(w, err, len(group) > 1)
	}
}

// storeAlone brings one write to its end after the server refused it with err,
// alone or in a group.
func (k *committer) storeAlone(w *write, err error, grouped bool) {
	for try := range spuriousTries {
		if !grouped {
			if !wrongSequence(err) {
				break // a verdict on this very write
			}
			if wait(w.ctx, k.ctx.Done(), time.Duration(try+1)*20*time.Millisecond) != nil {
				break
			}
		}
		grouped = false
		var seq uint64
		if seq, err = k.publish([]*write{w}); err == nil {
			w.finish(seq, nil)
			return
		}
		if len(k.settle([]*write{w}, err)) == 0 {
			return
		}
		if apiCode(err) == 0 {
			break
		}
	}
	w.finish(0, err)
}

// settle asks the leader what became of writes that got no good answer. Those
// that are stored, or can no longer be, get their answer; the others are
// returned.
func (k *committer) settle(group []*write, cause error) (open []*write) {
	var unreadable error
	for _, w := range group {
		if w.loose {
			open = append(open, w)
			continue
		}
		if unreadable != nil { // each look would wait for its own timeout
			w.finish(0, unreadable)
			continue
		}
		// Not the caller's context: a caller that stops still wants its
		// colleagues in the group to get their answers.
		msg, err := k.conn.last(context.WithoutCancel(w.ctx), k.stream, w.fenced.Subject)
		var seq uint64
		switch {
		case err == nil && w.id != "" && msg.Header.Get(commitHeader) == w.id:
			w.finish(msg.Sequence, nil)
			continue
		case err == nil:
			seq = msg.Sequence
		case !errors.Is(err, jetstream.ErrMsgNotFound):
			e := fault.New(fault.Retry, "%w (and the cursor could not be read: %w)", cause, err)
			e.Ambiguous = apiCode(cause) == 0
			unreadable = e
			w.finish(0, e)
			continue
		}
		fenced := seq != w.after
		if !fenced && w.moves != nil {
			at, err := k.conn.Moved(context.WithoutCancel(w.ctx), w.moves.Subject)
			if err != nil {
				unreadable = err
				w.finish(0, err)
				continue
			}
			fenced = at != w.moves.After
		}
		if fenced {
			w.finish(0, &fault.Error{Kind: fault.Retry, Code: "fenced", Err: ErrFenced})
			continue
		}
		open = append(open, w)
	}
	return open
}

// apart reports whether the writes of a group are better stored each by itself.
func (k *committer) apart(group []*write) bool {
	if slices.ContainsFunc(group, func(w *write) bool { return w.messages() > 1 }) {
		return false
	}
	if k.pace != nil {
		return len(group) == 1 || k.pace.cheaper(len(group))
	}
	return len(group) > 1 && len(group) <= few
}

// publish sends the writes as one batch and returns the last sequence.
func (k *committer) publish(group []*write) (uint64, error) {
	k.flying.Add(1)
	defer func() {
		k.flying.Add(-1)
		select {
		case k.landed <- struct{}{}:
		default:
		}
	}()
	var messages []*nats.Msg
	for _, w := range group {
		messages = append(messages, w.batch(k.stream, k.rollup)...)
	}
	defer recycle(messages...) // the client has copied them by then
	var last uint64
	err := k.conn.do(context.WithoutCancel(k.ctx), func(ctx context.Context) error {
		if len(messages) == 1 {
			ack, err := k.conn.js.PublishMsg(ctx, messages[0], jetstream.WithRetryAttempts(0))
			if err == nil {
				last = ack.Sequence
			}
			return err
		}
		// The default asks for an answer to the first message too, which costs
		// a round trip and tells nothing that the last answer does not.
		began := time.Now()
		ack, err := jetstreamext.PublishMsgBatch(ctx, k.conn.js, messages, jetstreamext.BatchFlowControl{AckFirst: false})
		if err == nil {
			last = ack.Sequence
			if k.pace != nil {
				k.pace.batched(time.Since(began))
			}
		}
		return err
	})
	return last, err
}
