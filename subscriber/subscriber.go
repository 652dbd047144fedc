package subscriber

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/retry"
)

const (
	// registerEvery is how often the feeds are registered again: one that a
	// worker with another configuration has dropped comes back.
	registerEvery = 30 * time.Second
	// spreadAtMost bounds the delay of a new feed's first poll. It is short, so
	// that a newcomer soon sees a mail, and it grows with the number of feeds, so
	// that many feeds do not begin in one moment.
	spreadAtMost = 3 * time.Second
	spreadEach   = 20 * time.Millisecond
)

// Subscriber polls the feeds of its subscriptions. It keeps nothing that cannot
// be lost: any number of them share the feeds, and the state is in the stream.
type Subscriber struct {
	subs  map[string]*Subscription
	feeds map[Feed]*state

	source  Source
	stream  Stream
	queue   Queue
	dead    DeadLetters
	slots   Slots
	log     *slog.Logger
	metrics *metrics

	strangers strangers

	parallel, maxMessages, maxBytes, maxBody int

	seed maphash.Seed
}

// New checks the options and makes a subscriber that does nothing until
// [Subscriber.Run]. The error names every problem.
func New(opts Options) (*Subscriber, error) {
	if opts.Source == nil || opts.Stream == nil || opts.Queue == nil || opts.DeadLetters == nil || opts.Slots == nil {
		return nil, errors.New("subscriber: source, stream, queue, dead letters and slots are needed")
	}
	s := &Subscriber{
		subs:   make(map[string]*Subscription, len(opts.Subscriptions)),
		feeds:  make(map[Feed]*state),
		source: opts.Source, stream: opts.Stream, queue: opts.Queue, dead: opts.DeadLetters, slots: opts.Slots,
		log:         opts.Log,
		parallel:    orDefault(opts.Parallel, defaultParallel),
		maxMessages: orDefault(opts.MaxMessages, defaultMessages),
		maxBytes:    orDefault(opts.MaxBytes, defaultBytes),
		maxBody:     opts.MaxBody,
		seed:        maphash.MakeSeed(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var problems []error
	for i := range opts.Subscriptions {
		sub := opts.Subscriptions[i]
		if err := sub.fill(); err != nil {
			problems = append(problems, err)
			continue
		}
		if s.subs[sub.Name] != nil {
			problems = append(problems, fmt.Errorf("subscription %s: the name is taken", sub.Name))
			continue
		}
		s.subs[sub.Name] = &sub
		for feed, mailbox := range sub.feeds() {
			s.feeds[feed] = &state{mailbox: mailbox}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	var err error
	if s.metrics, err = newMetrics(opts.Registerer, s); err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	return s, nil
}

func orDefault(n, other int) int {
	if n <= 0 {
		return other
	}
	return n
}

// Run registers the feeds and polls them until ctx ends; then it waits for the
// polls in hand and returns nil. It returns an error only where going on makes
// no sense. Run it once.
func (s *Subscriber) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error { return s.register(inner) })
	group.Go(func() error {
		return s.queue.Run(inner, s.parallel, func(ctx context.Context, feed Feed, data []byte) Next {
			return s.poll(ctx, feed, data, cancel)
		})
	})
	err := group.Wait()
	if cause := context.Cause(ctx); cause != nil && fault.KindOf(cause) == fault.Fatal {
		return cause
	}
	if err != nil && !fault.Stopped(ctx, err) {
		return err
	}
	return nil
}

// registration is the data of a feed's message. Its JSON outlives versions of
// this program.
type registration struct {
	Version int `json:"v"`
	// Registered is the subscription's beginning for start: now.
	Registered time.Time `json:"registered"`
}

// register makes the feeds known, now and every 30 s. A failure is not the end:
// the feeds that are known are polled all the same.
func (s *Subscriber) register(ctx context.Context) error {
	for failures := 0; ctx.Err() == nil; {
		wait := registerEvery
		err := s.registerAll(ctx)
		switch {
		case fault.Stopped(ctx, err):
			return nil
		case fault.KindOf(err) == fault.Fatal:
			return err
		case err != nil:
			failures++
			wait = retry.Delay(failures, err)
			s.log.WarnContext(ctx, "feeds not registered", "error", err, "again_in", wait)
		default:
			failures = 0
		}
		_ = retry.Sleep(ctx, wait) // the loop asks the context itself
	}
	return nil
}

func (s *Subscriber) registerAll(ctx context.Context) error {
	for feed := range s.feeds {
		data, err := json.Marshal(registration{Version: 1, Registered: time.Now().UTC()})
		if err != nil {
			return fmt.Errorf("encode registration: %w", err)
		}
		if err := s.queue.Register(ctx, feed, data); err != nil {
			return fmt.Errorf("register feed %s: %w", feed, err)
		}
	}
	return nil
}

// registered reads when the feed was registered. Data that cannot be read are
// no reason to stand still: the feed begins now.
func (s *Subscriber) registered(ctx context.Context, feed Feed, data []byte) time.Time {
	var r registration
	err := json.Unmarshal(data, &r)
	if err == nil && !r.Registered.IsZero() {
		return r.Registered
	}
	s.log.WarnContext(ctx, "registration of feed is not readable", "feed", feed.String(), "error", err)
	return time.Now()
}

// firstWait is how long a newly registered feed still has to wait for its first
// poll, so that feeds registered together do not all begin in one moment.
func (s *Subscriber) firstWait(sub *Subscription, feed Feed, registered time.Time) time.Duration {
	window := min(sub.Every, spreadAtMost, time.Duration(len(s.feeds))*spreadEach)
	wait := time.Until(registered.Add(time.Duration(feed.spread() * float64(window))))
	if wait > window {
		return 0 // registered by a worker whose clock is ahead
	}
	return wait
}
