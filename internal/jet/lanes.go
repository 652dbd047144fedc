package jet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// laneIdle is how long the consumer of a lane stays without anybody who asks
	// it. What waits in it, a put-off command too, counts as use.
	laneIdle = time.Minute
	// laneSoon and laneLate are how often lanes with commands are looked for,
	// while there are some and while there are none.
	laneSoon, laneLate = 500 * time.Millisecond, 2 * time.Second
	// laneGlance is how long the first command of a lane is waited for. It comes at
	// once, or is with another worker, or put off.
	laneGlance = 100 * time.Millisecond
	// laneTurn and laneCommands are how long a lane may keep its place while others
	// wait for one.
	laneTurn, laneCommands = time.Second, 8
	// laneAgain is when to look again at a lane whose next command is not to be
	// had; it is doubled each time, up to laneRare.
	laneAgain, laneRare = 250 * time.Millisecond, 5 * time.Second
)

// lanes runs the commands of subjects with a mailbox tail, those of one subject
// one after the other.
//
// Each such subject has a consumer of its own that gives out one message at a
// time (MaxAckPending 1), to whichever worker asks; the server keeps the order,
// also over a nak with a delay and over the end of a worker. Workers find the
// subjects that have messages by asking the stream, and make the consumers.
// A worker asks a bounded number of lanes at a time and goes round.
type lanes struct {
	*queue

	mu     sync.Mutex
	known  map[string]*lane // by subject: those that have commands
	ready  []*lane          // to be asked, in this order
	wake   chan struct{}    // something is ready
	failed string           // the last error, to log each once
}

// lane is one subject. The runner has it while busy is set.
type lane struct {
	subject  string
	consumer jetstream.Consumer // nil: to be made
	busy     bool               // ready or being asked
	due      time.Time          // not to be asked before
	misses   int                // how often nothing came
}

// laneName is the name of the consumer of a subject.
func laneName(subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return "lane-" + hex.EncodeToString(sum[:12])
}

func (c *Conn) laneConfig(subject string) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: laneName(subject), Description: "commands in order: " + subject, FilterSubject: subject,
		AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy, AckWait: c.o.AckWait,
		MaxAckPending: 1, MaxDeliver: -1, InactiveThreshold: laneIdle,
	}
}

// serve works until ctx ends, then waits for what runs.
func (l *lanes) serve(ctx context.Context) {
	l.known, l.wake = map[string]*lane{}, make(chan struct{}, 1)
	work, end := l.begin(ctx)
	defer end()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { l.find(ctx) })
	for l.places.take(ctx) == nil {
		next := l.next(ctx)
		if next == nil {
			return
		}
		running.Go(func() {
			defer l.places.leave()
			l.ride(ctx, work, next)
		})
	}
}

// find looks for lanes with commands.
func (l *lanes) find(ctx context.Context) {
	pause := laneSoon
	for {
		counts, err := l.conn.counts(ctx, l.stream, l.conn.names.subject("publish", "*", ">"))
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.trouble(ctx, err)
		default:
			l.update(counts)
		}
		if pause = min(pause*3/2, laneLate); len(counts) > 0 {
			pause = laneSoon
		}
		if wait(ctx, nil, pause) != nil {
			return
		}
	}
}

// update notes which lanes have commands now.
func (l *lanes) update(counts map[string]uint64) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for subject, known := range l.known {
		if counts[subject] == 0 && !known.busy {
			delete(l.known, subject)
		}
	}
	for subject, n := range counts { // in no order, so that workers do not ask all the same
		known := l.known[subject]
		if known == nil && n > 0 {
			known = &lane{subject: subject}
			l.known[subject] = known
		}
		if known != nil && !known.busy && !now.Before(known.due) {
			l.push(known)
		}
	}
}

// push has a lane asked. The caller holds the lock.
func (l *lanes) push(next *lane) {
	next.busy = true
	l.ready = append(l.ready, next)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// next waits for a lane to be asked; nil says that ctx has ended.
func (l *lanes) next(ctx context.Context) *lane {
	for {
		l.mu.Lock()
		if len(l.ready) > 0 {
			first := l.ready[0]
			l.ready[0] = nil
			l.ready = l.ready[1:]
			l.mu.Unlock()
			return first
		}
		l.ready = nil
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
	}
}

func (l *lanes) othersWait() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ready) > 0
}

// put leaves a lane alone until a time has passed.
func (l *lanes) put(one *lane, after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one.busy, one.due = false, time.Now().Add(after)
}

// ride runs the commands of a lane until it has none to give, or others have
// waited long enough.
func (l *lanes) ride(ctx, work context.Context, one *lane) {
	began := time.Now()
	patience := laneGlance
	for n := 0; ctx.Err() == nil; n++ {
		m, asked, err := l.ask(ctx, one, patience)
		if err != nil {
			l.trouble(ctx, err)
			l.put(one, time.Second+rand.N(time.Second))
			return
		}
		if m == nil {
			break
		}
		one.misses = 0
		l.well()
		if ctx.Err() != nil {
			l.report(ctx, m, "nak", m.Nak()) // another worker can have it at once
			break
		}
		if verdict := l.handle(work, l.held.add(m, asked)); !verdict.Done {
			l.put(one, verdict.After)
			return
		}
		if patience = pullWait; l.othersWait() {
			if n+1 >= laneCommands || time.Since(began) > laneTurn {
				l.mu.Lock()
				l.push(one)
				l.mu.Unlock()
				return
			}
			patience = laneGlance
		}
	}
	after := min(laneAgain<<min(one.misses, 10), laneRare)
	one.misses++
	l.put(one, after/2+rand.N(after))
}

// ask asks a lane for its next command, and makes its consumer where there is
// none. Nil without an error says that nothing came.
func (l *lanes) ask(ctx context.Context, one *lane, patience time.Duration) (m jetstream.Msg, asked time.Time, err error) {
	for range 2 {
		if err = l.conn.waitConnected(ctx); err != nil {
			return nil, asked, err
		}
		if one.consumer == nil {
			err = l.conn.do(ctx, func(ctx context.Context) (err error) {
				one.consumer, err = l.conn.js.CreateOrUpdateConsumer(ctx, l.stream, l.conn.laneConfig(one.subject))
				return err
			})
			if err != nil {
				one.consumer = nil
				return nil, asked, mark(ctx, err, "make the consumer of %s", one.subject)
			}
		}
		asked = time.Now()
		m, err = l.fetch(one.consumer, patience)
		if m != nil || err == nil {
			return m, asked, nil
		}
		one.consumer = nil
		if !gone(err) {
			break
		}
	}
	return nil, asked, mark(ctx, err, "pull from %s", one.subject)
}

func (l *lanes) fetch(consumer jetstream.Consumer, patience time.Duration) (first jetstream.Msg, err error) {
	batch, err := consumer.Fetch(1, jetstream.FetchMaxWait(patience))
	if err != nil {
		return nil, err
	}
	for m := range batch.Messages() {
		first = m
	}
	return first, batch.Error()
}

// gone reports that a consumer is not there any more.
func gone(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrConsumerDeleted) ||
		errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrConsumerDoesNotExist)
}

func (l *lanes) well() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = ""
}

// trouble logs why lanes do not run, once for each reason.
func (l *lanes) trouble(ctx context.Context, err error) {
	l.mu.Lock()
	again := l.failed == err.Error()
	l.failed = err.Error()
	l.mu.Unlock()
	if ctx.Err() != nil || again {
		return
	}
	l.conn.log.WarnContext(ctx, "ordered commands wait", "stream", l.stream, "error", err)
}

// LaneCounts are the lanes that have commands.
type LaneCounts struct {
	// Lanes is how many there are, and Commands how many wait in all of them, with
	// those that are being carried out.
	Lanes    int
	Commands uint64
	// Longest is the subject with the most commands, and Most how many these are.
	Longest string
	Most    uint64
}

// Lanes counts the commands of subjects with a mailbox. Those of each are carried
// out one after the other.
func (c *Conn) Lanes(ctx context.Context) (LaneCounts, error) {
	counts, err := c.counts(ctx, c.names.PublishStream(), c.names.subject("publish", "*", ">"))
	if err != nil {
		return LaneCounts{}, mark(ctx, err, "count lanes")
	}
	all := LaneCounts{Lanes: len(counts)}
	for subject, n := range counts {
		all.Commands += n
		if n > all.Most || n == all.Most && subject < all.Longest {
			all.Longest, all.Most = subject, n
		}
	}
	return all, nil
}
