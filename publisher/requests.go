package publisher

import (
	"context"
	"fmt"

	"outlook-connector/internal/fault"
)

// What a publisher has under way at a time.
//
// in_flight bounds the requests at Graph, and nothing else: while the ledger, the
// outcome or the acknowledgment of one command is written, Graph can work on
// another. So more commands than that are in hand. Those of which the ledger says
// that a request is under way are not many more, though: each of them has to be
// looked for, or is uncertain, where the worker is killed.

// mostWaiting bounds how many commands are in hand besides those that have a
// request at Graph.
const mostWaiting = 256

// InHand is how many commands a publisher has in hand at a time that makes so many
// requests at a time.
func InHand(inFlight int) int {
	inFlight = max(inFlight, 1)
	return inFlight + min(3*inFlight, mostWaiting)
}

// gates are the bounds of a publisher.
type gates struct {
	hand     chan struct{} // commands in hand
	begun    chan struct{} // commands between the record that says so and the answer
	requests chan struct{} // requests at Graph
}

// newGates makes them. Where several commands make one request, as many may be
// begun as are in hand: those that go together are few requests.
func newGates(inFlight int, batch bool) gates {
	inFlight = max(inFlight, 1)
	begun := inFlight + (inFlight+1)/2
	if batch {
		begun = InHand(inFlight)
	}
	return gates{
		hand:     make(chan struct{}, InHand(inFlight)),
		begun:    make(chan struct{}, begun),
		requests: make(chan struct{}, inFlight),
	}
}

// pass waits until a gate is open. Without ok ctx has ended before.
func pass(ctx context.Context, gate chan struct{}) (ok bool) {
	select {
	case gate <- struct{}{}:
		return true
	default:
	}
	select {
	case gate <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

type gatesKey struct{}

// withGates returns a context whose requests count among those of a publisher.
func withGates(ctx context.Context, g *gates) context.Context {
	return context.WithValue(ctx, gatesKey{}, g)
}

// gatesOf returns the bounds of the publisher whose context it is; nil where it is
// nobody's.
func gatesOf(ctx context.Context) *gates {
	g, _ := ctx.Value(gatesKey{}).(*gates)
	return g
}

// toGraph waits until one more request may be made, which ends with fromGraph.
func (g *gates) toGraph(ctx context.Context) error {
	if g == nil || pass(ctx, g.requests) {
		return nil
	}
	err := fmt.Errorf("not sent: stopped before its turn: %w", context.Cause(ctx))
	return &fault.Error{Kind: fault.Retry, Code: "not_sent", Err: err}
}

func (g *gates) fromGraph() {
	if g != nil {
		<-g.requests
	}
}

// AtGraph is for an [Outlook] that makes one request of several calls with
// [Call.Batch], which are not counted otherwise: it waits until the publisher of the
// call with this context may make one more, and returns what ends that. An error is
// marked as those of Do, and means that ctx has ended.
func AtGraph(ctx context.Context) (done func(), err error) {
	g := gatesOf(ctx)
	if err := g.toGraph(ctx); err != nil {
		return nil, err
	}
	return g.fromGraph, nil
}

// counted is an Outlook whose requests are counted.
type counted struct{ Outlook }

// Do makes a request when one more may be made.
func (c counted) Do(ctx context.Context, call Call) (Answer, error) {
	if call.Batch {
		return c.Outlook.Do(ctx, call)
	}
	g := gatesOf(ctx)
	if err := g.toGraph(ctx); err != nil {
		return Answer{}, err
	}
	defer g.fromGraph()
	return c.Outlook.Do(ctx, call)
}

// countedUploads are Uploads whose requests are counted.
type countedUploads struct{ Uploads }

// Put sends a piece when one more request may be made.
func (c countedUploads) Put(ctx context.Context, s Session, p Piece) (Progress, error) {
	g := gatesOf(ctx)
	if err := g.toGraph(ctx); err != nil {
		return Progress{}, err
	}
	defer g.fromGraph()
	return c.Uploads.Put(ctx, s, p)
}

// State asks for a session when one more request may be made.
func (c countedUploads) State(ctx context.Context, s Session) (Progress, error) {
	g := gatesOf(ctx)
	if err := g.toGraph(ctx); err != nil {
		return Progress{}, err
	}
	defer g.fromGraph()
	return c.Uploads.State(ctx, s)
}

// Cancel ends a session when one more request may be made.
func (c countedUploads) Cancel(ctx context.Context, s Session) error {
	g := gatesOf(ctx)
	if err := g.toGraph(ctx); err != nil {
		return err
	}
	defer g.fromGraph()
	return c.Uploads.Cancel(ctx, s)
}
