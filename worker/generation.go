package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
	"outlook-connector/subscriber"
)

// generation is what a worker makes of one configuration: the cores of its
// roles. It does not change. A reload makes another one, which shares with it the
// cores whose part of the configuration is the same.
type generation struct {
	config     *config.Config
	subscriber *subscriber.Subscriber // nil without the role
	publisher  *publisher.Worker      // nil without the role
	parallel   int                    // commands in hand
}

// Config returns the configuration that is followed now.
func (w *Worker) Config() *config.Config { return w.now.Load().config }

// current returns what runs now, or will as soon as NATS is there.
func (w *Worker) current() *generation { return w.now.Load() }

// newGeneration makes the cores of a configuration, so that what is wrong with
// them is said before anything runs.
func (w *Worker) newGeneration(c *config.Config) (*generation, error) {
	g := &generation{config: c}
	if err := w.newSubscriber(g); err != nil {
		return nil, err
	}
	if err := w.newPublisher(g); err != nil {
		return nil, err
	}
	return g, nil
}

func (w *Worker) newSubscriber(g *generation) error {
	if !w.o.has(RoleSubscriber) {
		return nil
	}
	subs, err := subscriptions(g.config)
	if err != nil {
		return configError(err)
	}
	stream := feedStream{w.conn, w.o.tracer}
	g.subscriber, err = subscriber.New(subscriber.Options{
		Subscriptions: subs, Source: w.outlook, Stream: stream, Queue: stream, DeadLetters: stream, Slots: pollSlots{w.outlook},
		Items: items{w.outlook}, Blobs: blobs{w.conn}, Parallel: feedParallel, Log: w.log.With("room", "subscriber"), Registerer: w.o.registerer(),
	})
	if err != nil {
		return configError(err)
	}
	return nil
}

func (w *Worker) newPublisher(g *generation) error {
	if !w.o.has(RolePublisher) {
		return nil
	}
	pubs, parallel, err := publishers(g.config)
	if err != nil {
		return configError(err)
	}
	stream := commandStream{w.conn}
	g.publisher, err = publisher.New(publisher.Options{
		Publishers: pubs, Outlook: w.outlook, Journal: stream, Outcomes: stream, Audit: w.auditOfCommands(), Slots: commandSlots{w.outlook},
		Blobs: bodies{w.conn}, Files: blobStore{w.conn}, Uploads: outlookUploads{w.outlook}, Log: w.log.With("room", "publisher"), Registerer: w.o.registerer(),
	})
	if err != nil {
		return configError(err)
	}
	g.parallel = parallel
	return nil
}

func configError(err error) error {
	return fault.New(fault.Fatal, "%w", err).WithHint("outlook-connector config check")
}

// takeOver is how long the feeds of a configuration wait for the polls of the one
// before, which end when they are told to.
const takeOver = 10 * time.Second

// shifts run the cores of the current generation. The zero value runs nothing.
type shifts struct {
	mu sync.Mutex
	// ctx is the process's: when it ends no more work is taken. It is nil before
	// the streams are good, and again at the end. hard ends the grace later, and
	// with it the work in hand.
	ctx, hard context.Context //nolint:containedctx // it belongs to begin and end
	fail      func(name string, err error)
	running   sync.WaitGroup
	feeds     shift
	commands  shift
}

// shift is one core that runs. The zero value is none.
type shift struct {
	leave context.CancelFunc
	left  chan struct{}
}

// begin runs what there is, until end.
func (r *shifts) begin(ctx context.Context, w *Worker, fail func(name string, err error), others map[string]func(context.Context) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.fail = ctx, fail
	var endHard context.CancelFunc
	r.hard, endHard = context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(drainGrace, endHard) })
	for name, run := range others {
		r.start(ctx, name, run)
	}
	g := w.current()
	r.startFeeds(ctx, g)
	r.startCommands(ctx, w, g)
}

// end waits until all has ended, after ctx has.
func (r *shifts) end() {
	r.mu.Lock()
	r.ctx = nil // nothing can be started any more
	r.mu.Unlock()
	r.running.Wait()
}

// start runs something until ctx ends, which is the process's. The caller has the lock.
func (r *shifts) start(ctx context.Context, name string, run func(context.Context) error) shift {
	ctx, leave := context.WithCancel(ctx)
	left, fail := make(chan struct{}), r.fail
	r.running.Go(func() {
		defer close(left)
		defer leave()
		if err := run(ctx); err != nil && !fault.Stopped(ctx, err) {
			fail(name, err)
		}
	})
	return shift{leave, left}
}

func (r *shifts) startFeeds(ctx context.Context, g *generation) {
	// A worker without subscriptions would take other workers' feeds out of the
	// queue only to give them back.
	if g.subscriber == nil || len(g.config.Subscriptions) == 0 {
		r.feeds = shift{}
		return
	}
	r.feeds = r.start(ctx, "subscriber", g.subscriber.Run)
}

func (r *shifts) startCommands(ctx context.Context, w *Worker, g *generation) { //nolint:contextcheck // the work in hand outlives ctx
	if g.publisher == nil {
		return
	}
	hard := r.hard
	r.commands = r.start(ctx, "publisher", func(ctx context.Context) error { return w.runCommands(ctx, hard, g) })
}

// follow makes next the current generation. A core that it shares with the one
// before is not disturbed; another leaves as a worker does that ends: it gives
// back what it has not begun and finishes the rest, here without a limit of time,
// while its successor is at work already.
func (r *shifts) follow(ctx context.Context, w *Worker, next *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := w.now.Swap(next)
	if r.ctx == nil || r.ctx.Err() != nil {
		return // begin takes the current one
	}
	if next.subscriber != before.subscriber {
		// Polls end at once and are repeated, so that to wait for them costs less
		// than to have them come upon each other.
		r.feeds.end(ctx, takeOver)
		r.startFeeds(r.ctx, next) //nolint:contextcheck // they run for as long as the process, not as the reload
	}
	if next.publisher != before.publisher {
		r.commands.end(ctx, 0)
		r.startCommands(r.ctx, w, next) //nolint:contextcheck // as above
	}
}

// end tells a shift to end and waits for that, but not for ever: it is no fault
// where two are at work at the same time.
func (o shift) end(ctx context.Context, atMost time.Duration) {
	if o.leave == nil {
		return
	}
	o.leave()
	if atMost <= 0 {
		return
	}
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-o.left:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// runRoles runs the roles once NATS and the streams are there, until ctx ends or
// one of them fails.
func (w *Worker) runRoles(ctx context.Context) error {
	if err := w.conn.EnsureStreams(ctx); err != nil {
		if fault.Stopped(ctx, err) {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w.shifts.begin(ctx, w, func(name string, err error) {
		cancel(fmt.Errorf("%s: %w", name, err)) // a worker that does half of its work hides it from everybody
	}, map[string]func(context.Context) error{
		"stock": w.watchStock, "streams": w.watchStreams, "sign-ins": w.wakeFeeds,
	})
	<-ctx.Done()
	w.shifts.end()
	if cause := context.Cause(ctx); cause != ctx.Err() { //nolint:errorlint // whether there is another one
		return cause
	}
	return nil
}
