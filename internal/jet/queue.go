package jet

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// pullWait is how long one pull waits on the server. Short, because a stop
// waits for it, so that messages which arrive meanwhile can be given back.
const pullWait = 500 * time.Millisecond

// queue takes messages from a work queue's shared consumer and runs a function
// on each, a bounded number at a time.
//
// It asks for exactly as many messages as it can start. The client's own
// Consume keeps a buffer, in which messages grow old: their AckWait runs from
// the delivery, and a long line of long calls would have them delivered to a
// second worker while the first still means to do them.
type queue struct {
	conn     *Conn
	stream   string
	consumer string
	parallel int
	grace    time.Duration
	// slack is how many places may stand empty for a moment, so that a pull asks for
	// many messages, and is the most that it asks for; zero: none need, and there is
	// no most.
	slack int
	// run does the work and says how to answer the message.
	run func(ctx context.Context, h *holding) Verdict

	places *places   // made by serve
	held   *holdings // those that run
	acks   *acks     // nil: each is waited for
}

// serve works until ctx ends, then gives back what has not started and waits
// for what runs; that has its context ended after the grace. It returns nil
// then. It goes on through lost connections and other errors by itself.
func (q *queue) serve(ctx context.Context) error {
	work, end := q.begin(ctx)
	defer end()
	slots := q.places.free

	q.acks = newAcks(q.conn, func(m jetstream.Msg, err error) { q.report(work, m, "ack", err) })
	defer q.acks.end()
	hands := newHands(q.parallel, func(h *holding) {
		defer q.places.leave()
		q.handle(work, h)
	})
	defer hands.wait()

	var failing string // the last error, to log each once
	enough := 1
	for {
		free, err := q.takeSlots(ctx, slots, enough)
		if err != nil {
			return nil // told to stop
		}
		left, err := q.pull(ctx, free, func(m jetstream.Msg, asked time.Time) {
			hands.give(q.held.add(m, asked))
		})
		for range left {
			q.places.leave()
		}
		if enough = 1; left == 0 {
			enough = q.full() // there is probably more
		}
		if err == nil || ctx.Err() != nil {
			failing = ""
			continue
		}
		if err.Error() != failing {
			failing = err.Error()
			q.conn.log.WarnContext(ctx, "queue cannot be read", "stream", q.stream, "consumer", q.consumer, "error", err)
		}
		if wait(ctx, nil, pullWait) != nil {
			return nil // told to stop
		}
	}
}

// begin keeps what is held alive until end. The context that it returns is the
// work's, and ends the grace after ctx.
func (q *queue) begin(ctx context.Context) (work context.Context, end func()) {
	q.held = newHoldings(q.conn.o.AckWait)
	q.places = newPlaces(q.parallel)
	work, endWork := context.WithCancel(context.WithoutCancel(ctx))
	stopGrace := context.AfterFunc(ctx, func() { time.AfterFunc(q.grace, endWork) })
	alive, endAlive := context.WithCancel(context.WithoutCancel(ctx))
	var helpers sync.WaitGroup
	helpers.Go(func() { q.keepAlive(alive) })
	return work, func() {
		endAlive()
		helpers.Wait()
		stopGrace()
		endWork()
	}
}

// handle runs the work on a message that is held, and answers it.
func (q *queue) handle(ctx context.Context, h *holding) Verdict {
	verdict := q.run(ctx, h)
	h.release()
	q.answer(ctx, h.m, verdict)
	return verdict
}

// gatherWait is how long a pull is put off so that it asks for more, where the
// one before got all that it asked for. Without it a busy queue is pulled slot
// by slot as they become free, and the way to the server and back bounds how
// many messages come in a second.
const gatherWait = 2 * time.Millisecond

// slackWait is gatherWait where places may stand empty.
const slackWait = 20 * time.Millisecond

// heavy is how many bytes of messages may be held before no more are asked for,
// where there is slack: then there are more of them than are worked on.
const heavy = 32 << 20

// full is how many messages a pull had better ask for.
func (q *queue) full() int {
	if q.slack > 0 {
		return q.slack
	}
	return q.parallel
}

// isHeavy reports whether enough is held.
func (q *queue) isHeavy() bool {
	if q.slack == 0 {
		return false
	}
	messages, bytes := q.held.size()
	return bytes > heavy && messages >= q.slack
}

// takeSlots waits for one free slot, a moment for enough of them, and takes all
// that are free.
func (q *queue) takeSlots(ctx context.Context, slots <-chan struct{}, enough int) (int, error) {
	for q.isHeavy() {
		if err := wait(ctx, nil, slackWait); err != nil {
			return 0, err
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, err // select would choose at random between this and a free slot
	}
	gather, most := gatherWait, q.parallel
	if q.slack > 0 {
		gather, most = slackWait, q.slack
	}
	select {
	case <-slots:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	n := 1
	if enough > 1 {
		timer := time.NewTimer(gather)
		defer timer.Stop()
		for gathering := true; gathering && n < enough; {
			select {
			case <-slots:
				n++
			case <-timer.C:
				gathering = false
			}
		}
	}
	for n < most {
		select {
		case <-slots:
			n++
		default:
			return n, nil
		}
	}
	return n, nil
}

// pull asks for n messages, starts what comes within a short time and returns
// how many did not come.
func (q *queue) pull(ctx context.Context, n int, start func(m jetstream.Msg, asked time.Time)) (left int, err error) {
	if err := q.conn.waitConnected(ctx); err != nil {
		return n, err
	}
	consumer, err := q.conn.consumer(ctx, q.stream, q.consumer)
	if err != nil {
		return n, mark(ctx, err, "read %s.%s", q.stream, q.consumer)
	}
	asked := time.Now()
	batch, err := consumer.Fetch(n, jetstream.FetchMaxWait(pullWait))
	if err != nil {
		return n, mark(ctx, err, "pull from %s.%s", q.stream, q.consumer)
	}
	for m := range batch.Messages() {
		if ctx.Err() != nil {
			// Another worker can have it at once.
			q.report(ctx, m, "nak", m.Nak())
			continue
		}
		n--
		start(m, asked)
	}
	return n, mark(ctx, batch.Error(), "pull from %s.%s", q.stream, q.consumer)
}

// consumer returns the handle of a consumer, asking the server once.
func (c *Conn) consumer(ctx context.Context, stream, name string) (jetstream.Consumer, error) {
	key := stream + "." + name
	c.mu.Lock()
	consumer, ok := c.consumers[key]
	c.mu.Unlock()
	if ok {
		return consumer, nil
	}
	err := c.read(ctx, func(ctx context.Context) (err error) {
		consumer, err = c.js.Consumer(ctx, stream, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.consumers[key] = consumer
	c.mu.Unlock()
	return consumer, nil
}

// keepAlive tells the server three times in an AckWait that what runs here
// still runs.
func (q *queue) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(q.conn.o.AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		q.held.each(func(m jetstream.Msg) bool {
			err := m.InProgress()
			q.report(ctx, m, "in progress", err)
			return err == nil && q.conn.nc.IsConnected() // without a connection it is only in our own buffer
		})
	}
}

// answer tells the server what becomes of a message.
func (q *queue) answer(ctx context.Context, m jetstream.Msg, v Verdict) {
	switch {
	case v.Done && q.acks != nil:
		q.acks.done(m)
	case v.Done:
		q.done(ctx, m)
	case v.After > 0:
		q.report(ctx, m, "nak with delay", m.NakWithDelay(v.After))
	default:
		q.report(ctx, m, "nak", m.Nak())
	}
}

// done acknowledges for good: only an answered ack survives a server that is
// killed at once. It tries again for a while, because the message would come
// again otherwise.
func (q *queue) done(ctx context.Context, m jetstream.Msg) {
	var err error
	for try := range ackTries {
		if try > 0 && wait(ctx, nil, time.Duration(try)*250*time.Millisecond) != nil {
			break
		}
		if err = q.conn.do(context.WithoutCancel(ctx), m.DoubleAck); err == nil {
			return
		}
	}
	q.report(ctx, m, "ack", err)
}

// report logs an answer that could not be sent. The message then comes again
// after its AckWait, to this worker or another, which every handler expects.
func (q *queue) report(ctx context.Context, m jetstream.Msg, answer string, err error) {
	if err == nil {
		return
	}
	q.conn.log.WarnContext(ctx, "queue message could not be answered",
		"stream", q.stream, "subject", m.Subject(), "answer", answer, "error", err)
}
