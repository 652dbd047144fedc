package jet

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// Commands is the queue of commands. Get it with [Conn.Commands].
type Commands struct{ conn *Conn }

// Commands returns the queue of commands.
func (c *Conn) Commands() *Commands { return &Commands{c} }

// Message is a delivered command.
type Message struct {
	// Subject is where it was published, see [Names.ParsePublish].
	Subject string
	// Stream and Sequence name the stored message: the command's id where the
	// sender gave none.
	Stream   string
	Sequence uint64
	// Header is the sender's. It may be nil.
	Header Header
	// Data is the body.
	Data []byte
	// Received is when the server stored it.
	Received time.Time
	// Delivered counts deliveries, this one included. It is a hint: a killed
	// server forgets some of it, so it proves nothing about earlier attempts.
	Delivered uint64
	// Fresh says that nobody has had the command before, as far as can be known here:
	// it is the first delivery of the shared consumer, and the connection has not
	// been lost since the command was stored. The consumer of a lane is made anew now
	// and then, and counts from the beginning.
	Fresh bool
	// Deadline returns the moment from which the server may give the command to
	// another worker, as far as this process can know; it moves on while the
	// command runs. Ask it right before what must not be done twice.
	Deadline func() time.Time
	// Aside gives the place of this command among those that run to another one
	// until back is called, once: for as long as it only waits. The server goes
	// on to be told that it is in hand. Without ok too many wait already, and the
	// command had better be given back with the delay after which its turn comes.
	Aside func() (back func(), ok bool)
}

// Verdict says what becomes of a command.
type Verdict struct {
	// Done removes the command. Everything that must be known of it has been
	// stored before.
	Done bool
	// After is the time to the next delivery where it is not done; zero means
	// one second.
	After time.Duration
}

// Ack is the verdict on a finished command.
func Ack() Verdict { return Verdict{Done: true} }

// Again is the verdict on a command that is to be delivered again after d.
func Again(d time.Duration) Verdict { return Verdict{After: d} }

// Run gives commands to handle, at most parallel of each kind at a time (of those
// without a mailbox sometimes a quarter less, so that many come at once), until
// ctx ends: those of subjects without a mailbox in no order, those of each
// subject with one in the order in which they were stored, the next one when
// the one before it is Done. At the end it gives back what it has not begun and
// waits for what runs, whose context ends Options.Grace later, and returns nil.
// Handle is called from several goroutines and must return soon after its
// context ends.
//
// A command comes again, here or elsewhere, until it is Done: at least once.
// That its effect happens once is up to handle and the [Ledger]. The order
// holds for deliveries: a worker that was frozen for longer than the AckWait may
// have a request on the wire while the next worker goes on.
func (q *Commands) Run(ctx context.Context, parallel int, handle func(ctx context.Context, m Message) Verdict) error {
	if parallel < 1 {
		return fault.New(fault.Fatal, "run commands: parallel is %d, must be at least 1", parallel)
	}
	var ordered sync.WaitGroup
	ordered.Go(func() { (&lanes{queue: q.queue("", parallel, handle)}).serve(ctx) })
	defer ordered.Wait()
	all := q.queue(PublishConsumer, parallel, handle)
	all.slack = parallel / 4
	return all.serve(ctx)
}

// queue makes a queue that runs handle.
func (q *Commands) queue(consumer string, parallel int, handle func(ctx context.Context, m Message) Verdict) *queue {
	c := q.conn
	work := &queue{conn: c, stream: c.names.PublishStream(), consumer: consumer, parallel: parallel, grace: c.o.Grace}
	work.run = func(ctx context.Context, h *holding) Verdict {
		m := h.m
		meta, err := m.Metadata()
		if err != nil { // a reply subject that the client cannot read: nothing to be done with it
			work.report(ctx, m, "read metadata", err)
			return Again(time.Minute)
		}
		verdict := handle(ctx, Message{
			Subject: m.Subject(), Stream: meta.Stream, Sequence: meta.Sequence.Stream, Header: Header(m.Headers()),
			Data: m.Data(), Received: meta.Timestamp, Delivered: meta.NumDelivered,
			Fresh:    meta.NumDelivered == 1 && consumer == PublishConsumer && c.unbroken(meta.Timestamp),
			Deadline: h.deadline,
			Aside:    func() (func(), bool) { return work.places.stepAside(len(m.Data())) },
		})
		if verdict.After <= 0 {
			verdict.After = time.Second // never a loop at full speed
		}
		return verdict
	}
	return work
}

// Published is the server's receipt for a command.
type Published struct {
	Stream   string
	Sequence uint64
	// Duplicate says that a command with the same Nats-Msg-Id was published
	// within ten minutes, and this one was dropped.
	Duplicate bool
}

// Publish sends one command to a subject of [Names.Publish] or
// [Names.PublishTo]. Header may carry Nats-Msg-Id, the sender's key that makes a
// repeat harmless.
func (q *Commands) Publish(ctx context.Context, subject string, header Header, data []byte) (Published, error) {
	m := Msg{Subject: subject, Header: header, Data: data}.nats()
	ack, err := q.conn.publish(ctx, m, jetstream.WithExpectStream(q.conn.names.PublishStream()))
	if err != nil {
		e := mark(ctx, err, "publish to %s", subject)
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			return Published{}, fault.New(fault.Fatal, "no stream takes %s: %w", subject, err).WithCode("no_stream").
				WithHint("start the worker once with: outlook-connector run")
		}
		return Published{}, e
	}
	return Published{Stream: ack.Stream, Sequence: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// publish stores one message and returns the receipt.
func (c *Conn) publish(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (ack *jetstream.PubAck, err error) {
	err = c.do(ctx, func(ctx context.Context) (err error) {
		ack, err = c.js.PublishMsg(ctx, m, opts...)
		return err
	})
	return ack, err
}
