package jet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

var (
	// errNotConnected says that a request was not sent.
	errNotConnected = errors.New("not connected to nats")
	// errNoAnswer says that a request was sent and nothing came back in time.
	errNoAnswer = errors.New("no answer from nats in time")
	// errLost says that the connection went away under a request. The client
	// library itself waits until its timeout, for an answer that cannot come.
	errLost = errors.New("connection to nats lost before the answer")
)

// session is the time between two reconnects. Its context ends with the next
// one, and with it every request that was on its way.
type session struct {
	number uint64 // how many reconnects came before
	began  time.Time
	ctx    context.Context
	end    context.CancelFunc
}

// current returns the session of the present connection. The client's handlers
// run some time after the fact; the reconnect counter is exact. They also run
// before Connect has returned, hence the argument.
func (c *Conn) current(nc *nats.Conn) *session {
	number := nc.Stats().Reconnects
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == nil || c.session.number < number {
		if c.session != nil {
			c.session.end()
		}
		ctx, cancel := context.WithCancel(context.Background())
		c.session = &session{number: number, began: time.Now(), ctx: ctx, end: cancel}
	}
	return c.session
}

// clocks is how far a server's clock may be from this process's.
const clocks = time.Minute

// unbroken reports whether the connection has not been lost since a message was
// stored, at a moment of the server's. A server that was killed in between may
// have forgotten who had the message.
func (c *Conn) unbroken(stored time.Time) bool {
	s := c.current(c.nc)
	return s.number == 0 || s.began.Add(clocks).Before(stored)
}

// waitConnected returns once there is a connection, or when ctx ends.
func (c *Conn) waitConnected(ctx context.Context) error {
	for {
		s := c.current(c.nc)
		if c.nc.IsConnected() {
			return nil
		}
		if c.nc.IsClosed() {
			return mark(ctx, nats.ErrConnectionClosed, "wait for nats")
		}
		if err := wait(ctx, s.ctx.Done(), 250*time.Millisecond); err != nil {
			return fmt.Errorf("wait for nats %s: %w", c.target(), err)
		}
	}
}

// wait returns nil when the channel is closed or the time is over, and the
// cause where ctx ends first. A nil channel waits for the time only.
func wait(ctx context.Context, event <-chan struct{}, atMost time.Duration) error {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-event:
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// do runs one request to the server within the timeout. It waits for a
// connection first, and ends the request when the connection is lost.
func (c *Conn) do(ctx context.Context, request func(ctx context.Context) error) error {
	ctx, stop := context.WithTimeoutCause(ctx, c.o.Timeout, errNoAnswer)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := false

	err := c.waitConnected(ctx)
	if err == nil {
		s := c.current(c.nc)
		unwatch := context.AfterFunc(s.ctx, func() { cancel(errLost) }) //nolint:contextcheck // the connection's life, not the caller's
		defer unwatch()
		sent = true
		err = request(ctx)
	}
	if err == nil || apiCode(err) != 0 {
		return err
	}
	switch cause := context.Cause(ctx); {
	case !errors.Is(cause, errNoAnswer) && !errors.Is(cause, errLost):
		return err
	case sent:
		return cause
	default:
		return errNotConnected
	}
}

// read is do for a request that only looks: one that a lost connection took is
// made again.
func (c *Conn) read(ctx context.Context, request func(ctx context.Context) error) (err error) {
	const tries = 3
	for range tries {
		if err = c.do(ctx, request); !errors.Is(err, errLost) {
			break
		}
	}
	return err
}
