package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/publisher"
)

// gatherFor is how long a write waits at most for others to go with. It waits only
// while others of its client are at Graph, so that what comes alone goes at once.
const gatherFor = 5 * time.Millisecond

// ripe is how many writes do not wait any longer for others: Graph runs so many
// parts of a batch at once, so that more only make each other wait. They do go with
// these where the publisher has as many requests at Graph as it may.
// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
const ripe = 4

// apartFor is how long no batch is tried after Graph refused one as such: a
// national cloud, or a proxy on the way, may have none.
const apartFor = 10 * time.Minute

// coalescer makes one HTTP request of several writes of a client that are to be
// made at the same time, those of which it is safe ([graph.Request.Batches]). Who
// waits for one sees nothing of the others: each gets the end that it would have
// had alone, and whoever gives up gives up for itself.
type coalescer struct {
	client *graph.Client

	mu      sync.Mutex
	busy    int     // requests at Graph
	line    *flight // that takes more in; nil: none does
	apart   time.Time
	flights sync.WaitGroup
}

// flight is a batch that gathers, and then is under way.
type flight struct {
	ready   chan struct{} // closed: it need not wait any longer
	called  bool          // that it is
	riders  []*rider
	left    bool               // it takes nobody in or out any more
	waiting int                // riders that have not given up
	cancel  context.CancelFunc // ends it; nil before it left
}

// rider is one write on a flight.
type rider struct {
	ctx      context.Context // of who waits for it
	request  graph.Request
	write    *graph.Write
	done     chan struct{} // closed: response and err are there
	response *graph.Response
	err      error
}

// newCoalescers makes one for each client.
func newCoalescers(clients map[string]*graph.Client) map[string]*coalescer {
	all := make(map[string]*coalescer, len(clients))
	for name, client := range clients {
		all[name] = &coalescer{client: client}
	}
	return all
}

// send makes a request, with others where the publisher wants it.
func (o outlook) send(ctx context.Context, client *graph.Client, call publisher.Call, request graph.Request) (*graph.Response, error) {
	switch c := o.coalescers[call.Client]; {
	case !call.Batch:
		return client.Do(ctx, request)
	case c == nil || !request.Batches():
		return single(ctx, client, request)
	default:
		return c.do(ctx, request)
	}
}

// single makes a request that might have gone in a batch and does not: it counts
// among those of its publisher.
func single(ctx context.Context, client *graph.Client, request graph.Request) (*graph.Response, error) {
	done, err := publisher.AtGraph(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return client.Do(ctx, request)
}

// do makes a request that may go in a batch.
func (c *coalescer) do(ctx context.Context, request graph.Request) (*graph.Response, error) {
	if c.takeOff() {
		defer c.land()
		return single(ctx, c.client, request)
	}
	write, ok, err := c.client.NewWrite(ctx, request)
	if err != nil {
		return nil, err
	}
	if !ok {
		return single(ctx, c.client, request)
	}
	r := &rider{ctx: ctx, request: request, write: write, done: make(chan struct{})}
	f := c.board(r) //nolint:contextcheck // a batch is nobody's alone: whoever gives up leaves the others
	select {
	case <-r.done:
		return r.response, r.err
	case <-ctx.Done():
		return c.leave(r, f)
	}
}

// takeOff reports whether a request is to go alone at once: nobody is at Graph, or
// there are no batches.
func (c *coalescer) takeOff() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy > 0 && !time.Now().Before(c.apart) || c.line != nil {
		return false
	}
	c.busy++
	return true
}

// land says that a request has come back from Graph. If it was the last one there,
// those who gather do not wait for any more.
func (c *coalescer) land() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy--; c.busy == 0 && c.line != nil {
		c.line.call()
	}
}

// call has a flight wait no longer. The caller holds the lock.
func (f *flight) call() {
	if !f.called {
		f.called = true
		close(f.ready)
	}
}

// board puts a rider on the flight that gathers.
func (c *coalescer) board(r *rider) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.line
	if f == nil {
		f = &flight{ready: make(chan struct{})}
		c.line = f
		c.flights.Go(func() { c.fly(f) })
	}
	f.riders = append(f.riders, r)
	f.waiting++
	if len(f.riders) >= ripe || c.busy == 0 {
		f.call()
	}
	if len(f.riders) == graph.MaxBatch {
		c.line = nil
	}
	return f
}

// leave takes a rider off whose caller has given up. Once the flight is under way
// nobody knows what has become of its request; the others go on.
func (c *coalescer) leave(r *rider, f *flight) (*graph.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-r.done: // at this very moment
		return r.response, r.err
	default:
	}
	mark := &fault.Error{Kind: fault.Retry, Ambiguous: f.left, Code: "not_sent", Err: fmt.Errorf(
		"%s %s: not sent: %w", r.request.Operation.Method, r.request.Operation.ID, r.ctx.Err())}
	if f.left {
		mark.Code = "no_answer"
		mark.Err = fmt.Errorf("%s %s: no answer: %w", r.request.Operation.Method, r.request.Operation.ID, r.ctx.Err())
	}
	if f.waiting--; f.waiting == 0 && f.cancel != nil {
		f.cancel()
	}
	return nil, mark
}

// fly waits until there are enough or the time is over, and makes the request.
func (c *coalescer) fly(f *flight) {
	timer := time.NewTimer(gatherFor)
	select {
	case <-timer.C:
	case <-f.ready:
		timer.Stop()
	}
	defer c.clearance(f)() // while it waits for that, it takes more in
	ctx, cancel, riders := c.depart(f)
	defer cancel()
	defer c.land()
	switch len(riders) {
	case 0:
		return
	case 1:
		c.alone(riders[0])
		return
	}
	writes := make([]*graph.Write, len(riders))
	for i, r := range riders {
		writes[i] = r.write
	}
	c.client.Together(ctx, writes)
	var rest sync.WaitGroup
	defer rest.Wait()
	for _, r := range riders {
		if r.write.Apart {
			c.refused()
			r.request.ClientRequestID = "" // that one was used
			rest.Go(func() { c.alone(r) })
			continue
		}
		r.response, r.err = r.write.Response, r.write.Err
		close(r.done)
	}
}

// clearance waits until a publisher may make one more request: that of the first
// rider who has not given up. The batch is one request of it, whosever the others
// are. It returns what ends that.
func (c *coalescer) clearance(f *flight) (done func()) {
	for {
		r := c.first(f)
		if r == nil {
			return func() {}
		}
		if done, err := publisher.AtGraph(r.ctx); err == nil {
			return done
		}
	}
}

func (c *coalescer) first(f *flight) *rider {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range f.riders {
		if r.ctx.Err() == nil {
			return r
		}
	}
	return nil
}

// depart closes the doors. It returns those who have not given up meanwhile; the
// context ends when all of them have.
func (c *coalescer) depart(f *flight) (ctx context.Context, cancel context.CancelFunc, riders []*rider) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == f {
		c.line = nil
	}
	c.busy++
	f.left = true
	for _, r := range f.riders {
		if r.ctx.Err() == nil {
			riders = append(riders, r)
		}
	}
	ctx = context.Background()
	if len(riders) > 0 {
		ctx = context.WithoutCancel(riders[0].ctx) // for its span
	}
	ctx, f.cancel = context.WithCancel(ctx)
	if f.waiting == 0 {
		f.cancel()
	}
	return ctx, f.cancel, riders
}

// alone makes the request of one rider by itself.
func (c *coalescer) alone(r *rider) {
	r.response, r.err = c.client.Do(r.ctx, r.request) // what it counts for is counted
	close(r.done)
}

// refused notes that there are no batches.
func (c *coalescer) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.apart = time.Now().Add(apartFor)
}
