package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/jet"
	"outlook-connector/subscriber"
	"outlook-connector/worker"
)

// FeedsSpec is a subscriber of many feeds to which nothing comes, or the bare
// loop that stands beside it.
type FeedsSpec struct {
	// URL is the NATS server's.
	URL string `json:"url"`
	// Raw is the bare loop.
	Raw bool `json:"raw"`
	// The rest is as in [Feeds].
	Feeds    int           `json:"feeds"`
	Every    time.Duration `json:"every"`
	For      time.Duration `json:"for"`
	Latency  time.Duration `json:"latency"`
	Parallel int           `json:"parallel"`
}

// FeedsResult is what it came to.
type FeedsResult struct {
	// Begin is how many seconds it took until every feed had been polled.
	Begin float64 `json:"begin_seconds"`
	// Polls began in Seconds.
	Polls   int     `json:"polls"`
	Seconds float64 `json:"seconds"`
	// Late are milliseconds by which polls began after they were due.
	P50  float64 `json:"late_p50_ms"`
	P99  float64 `json:"late_p99_ms"`
	Most float64 `json:"late_max_ms"`
	// Gap is the longest time in seconds between the beginnings of two polls of
	// one feed.
	Gap float64 `json:"longest_gap_seconds"`
	// Stored are the messages that were written into the streams meanwhile.
	Stored uint64 `json:"messages_stored"`
}

// timing measures how late polls begin.
type timing struct {
	due, began []atomic.Int64 // by feed, in nanoseconds since 1970; 0: none yet
	polled     atomic.Int64   // feeds that were polled at all
	all        chan struct{}  // closed once every feed was
	measuring  atomic.Bool

	mu   sync.Mutex
	late []time.Duration
	gap  time.Duration
}

func newTiming(feeds int) *timing {
	return &timing{due: make([]atomic.Int64, feeds), began: make([]atomic.Int64, feeds), all: make(chan struct{})}
}

// begin notes that a poll begins.
func (t *timing) begin(feed int) {
	now := time.Now()
	due, before := t.due[feed].Load(), t.began[feed].Swap(now.UnixNano())
	if before == 0 && t.polled.Add(1) == int64(len(t.due)) {
		defer close(t.all)
	}
	if due == 0 || !t.measuring.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.late = append(t.late, now.Sub(time.Unix(0, due)))
	t.gap = max(t.gap, now.Sub(time.Unix(0, before)))
}

// end notes when the feed is due again.
func (t *timing) end(feed int, after time.Duration) {
	t.due[feed].Store(time.Now().Add(after).UnixNano())
}

// result sums up.
func (t *timing) result(seconds float64) FeedsResult {
	t.measuring.Store(false)
	t.mu.Lock()
	defer t.mu.Unlock()
	r := FeedsResult{Polls: len(t.late), Seconds: seconds, Gap: t.gap.Seconds()}
	p50, p99 := quantiles(t.late)
	r.P50, r.P99 = milliseconds(p50), milliseconds(p99)
	for _, late := range t.late {
		r.Most = max(r.Most, milliseconds(late))
	}
	return r
}

// answerIn waits as long as an answer takes.
func answerIn(ctx context.Context, latency time.Duration) error {
	if latency <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(latency/2 + rand.N(latency))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// runFeeds polls until the measurement is over. It tells that every feed has
// been polled, and then what it found.
func runFeeds(ctx context.Context, spec FeedsSpec, tell func(told) error) (err error) {
	if err := tell(told{}); err != nil {
		return err
	}
	stream, err := openStream(spec.URL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.close(ctx, true)) }()
	timing := newTiming(spec.Feeds)
	polling, stop := context.WithCancel(ctx)
	defer stop()
	began := time.Now()
	run := pollFeeds
	if spec.Raw {
		run = pollBare
	}
	group, inner := errgroup.WithContext(polling)
	group.Go(func() error { return run(inner, spec, stream, timing) })
	group.Go(func() error {
		defer stop()
		return watchFeeds(inner, spec, stream, timing, began, tell)
	})
	return group.Wait()
}

// watchFeeds measures and tells.
func watchFeeds(ctx context.Context, spec FeedsSpec, stream *events, timing *timing, began time.Time, tell func(told) error) error {
	select {
	case <-timing.all:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	begin := time.Since(began).Seconds()
	// One interval later the queue is as it stays.
	if err := pause(ctx, spec.Every); err != nil {
		return err
	}
	before, err := stream.stored(ctx)
	if err == nil {
		err = tell(told{})
	}
	if err != nil {
		return err
	}
	start := time.Now()
	timing.measuring.Store(true)
	if err := pause(ctx, spec.For); err != nil {
		return err
	}
	result := timing.result(time.Since(start).Seconds())
	after, err := stream.stored(ctx)
	if err != nil {
		return err
	}
	result.Begin, result.Stored = begin, after-before
	if err := tell(told{Feeds: &result}); err != nil {
		return err
	}
	<-ctx.Done() // whoever looks at this process ends it
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stored returns how many messages were ever stored in the benchmark's streams.
func (e *events) stored(ctx context.Context) (uint64, error) {
	var all uint64
	list := e.js.ListStreams(ctx)
	for info := range list.Info() {
		if strings.HasPrefix(info.Config.Name, strings.ToUpper(prefix)+"_") {
			all += info.State.LastSeq
		}
	}
	return all, list.Err()
}

// pollFeeds runs a subscriber with the streams of a worker.
func pollFeeds(ctx context.Context, spec FeedsSpec, _ *events, timing *timing) (err error) {
	conn, err := jet.Connect(ctx, jet.Options{URL: spec.URL, Prefix: prefix, ManageStreams: true, FailFast: true})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
		defer cancel()
		err = errors.Join(err, conn.Close(closing))
	}()
	if err := conn.EnsureStreams(ctx); err != nil {
		return err
	}
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		return err
	}
	sub := subscriber.Subscription{
		Name: "bench", Client: "bench", Operation: op, Path: map[string]string{"mailFolder-id": "inbox"}, Every: spec.Every,
	}
	for i := range spec.Feeds {
		sub.Mailboxes = append(sub.Mailboxes, mailboxOf(i))
	}
	streams := worker.FeedsOf(conn)
	s, err := subscriber.New(subscriber.Options{
		Subscriptions: []subscriber.Subscription{sub}, Source: quiet(spec.Latency), Stream: streams,
		Queue: timedQueue{streams, timing}, DeadLetters: streams, Slots: anySlot{}, Parallel: spec.Parallel,
	})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

func mailboxOf(i int) string { return "user" + strconv.Itoa(i) + "@contoso.example" }

func feedOf(mailbox string) (int, error) {
	return strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(mailbox, "user"), "@contoso.example"))
}

// quiet is a source to which nothing comes.
type quiet time.Duration

// Read answers with an empty page.
func (q quiet) Read(ctx context.Context, req subscriber.Request, _ func([]byte) error) (subscriber.Page, error) {
	if err := answerIn(ctx, time.Duration(q)); err != nil {
		return subscriber.Page{}, err
	}
	return subscriber.Page{
		Delta: "https://graph.microsoft.com/v1.0/users/" + req.Mailbox + "/mailFolders/inbox/messages/delta?$deltatoken=" + strings.Repeat("q", 200),
		Date:  time.Now(),
	}, nil
}

// anySlot has a slot for everybody.
type anySlot struct{}

// Take takes one.
func (anySlot) Take(context.Context, string, string) (release func(), wait time.Duration, ok bool) {
	return func() {}, 0, true
}

// timedQueue notes when polls begin and end.
type timedQueue struct {
	subscriber.Queue

	timing *timing
}

// Run polls feeds as they fall due.
func (q timedQueue) Run(ctx context.Context, parallel int, poll func(context.Context, subscriber.Feed, []byte) subscriber.Next) error {
	return q.Queue.Run(ctx, parallel, func(ctx context.Context, feed subscriber.Feed, data []byte) subscriber.Next {
		i, err := feedOf(feed.Mailbox)
		if err != nil {
			return subscriber.Next{Drop: true}
		}
		q.timing.begin(i)
		next := poll(ctx, feed, data)
		q.timing.end(i, next.After)
		return next
	})
}

const (
	bareStream   = "OUTLOOK-BENCH_BARE" // with the prefix of what is removed
	bareSubject  = "outlook-bench-bare."
	bareConsumer = "poll"
)

// pollBare gives every message of a work queue back with a delay, and does
// nothing else.
func pollBare(ctx context.Context, spec FeedsSpec, stream *events, timing *timing) error {
	queue, err := stream.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: bareStream, Subjects: []string{bareSubject + ">"}, Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return fmt.Errorf("make stream %s: %w", bareStream, err)
	}
	consumer, err := queue.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: bareConsumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: jet.DefaultAckWait, MaxAckPending: -1, MaxDeliver: -1,
	})
	if err != nil {
		return fmt.Errorf("make consumer %s: %w", bareConsumer, err)
	}
	for i := range spec.Feeds {
		m := &nats.Msg{Subject: bareSubject + strconv.Itoa(i)}
		if _, err := stream.js.PublishMsgAsync(m, jetstream.WithStallWait(endWithin)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(spec.Parallel))
	if err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	slots := make(chan struct{}, spec.Parallel)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		m, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			i, err := strconv.Atoi(strings.TrimPrefix(m.Subject(), bareSubject))
			if err != nil {
				return
			}
			timing.begin(i)
			_ = answerIn(ctx, spec.Latency) // it is given back all the same
			after := time.Duration(float64(spec.Every) * (0.9 + 0.2*rand.Float64()))
			timing.end(i, after)
			_ = m.NakWithDelay(after) // comes again after its AckWait otherwise
		})
	}
}
