package subscriber

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
)

const (
	// spreadAtMost bounds the delay of a new feed's first poll. It is short, so
	// that a newcomer soon sees a mail, and it grows with the number of feeds, so
	// that many feeds do not begin in one moment.
	spreadAtMost = 3 * time.Second
	spreadEach   = 20 * time.Millisecond
)

// Subscriber polls the feeds of its subscriptions. It keeps nothing that cannot
// be lost: any number of them share the feeds, and the state is in the stream.
type Subscriber struct {
	subs   map[string]*Subscription
	roster *feedRoster

	source  Source
	items   Items // nil: none are read
	blobs   Blobs
	stream  Stream
	queue   Queue
	dead    DeadLetters
	slots   Slots
	log     *slog.Logger
	metrics *metrics

	// cache has the newest pieces of all feeds' indexes, spent is what the looks
	// at deleted items may still cost.
	cache *index.Cache
	spent budget
	// memory bounds what the pages in hand take.
	memory *pageBudget

	strangers strangers
	signedOut signedOut

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
		source: opts.Source, items: opts.Items, blobs: opts.Blobs,
		stream: opts.Stream, queue: opts.Queue, dead: opts.DeadLetters, slots: opts.Slots,
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
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("subscriber: %w", err)
	}
	cacheBytes := opts.IndexCache
	if cacheBytes <= 0 {
		cacheBytes = defaultCache
	}
	s.cache = index.NewCache(cacheBytes, nil) // each feed reads its own pieces
	s.memory = newBudget(budgetBytes)
	s.roster = newRoster(s.subs, opts.Stream)
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

// firstWait is how long a newly registered feed still has to wait for its first
// poll, so that feeds registered together do not all begin in one moment.
func (s *Subscriber) firstWait(sub *Subscription, feed Feed, registered time.Time) time.Duration {
	window := min(sub.Every, spreadAtMost, time.Duration(s.roster.len())*spreadEach)
	wait := time.Until(registered.Add(time.Duration(feed.spread() * float64(window))))
	if wait > window {
		return 0 // registered by a worker whose clock is ahead
	}
	return wait
}
