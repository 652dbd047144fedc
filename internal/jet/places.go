package jet

import (
	"context"
	"sync"
)

const (
	// mostAside is how many messages of a queue may wait beside those that run,
	// and mostAsideBytes how long they may be together.
	mostAside      = 512
	mostAsideBytes = 32 << 20
)

// places are how many messages may run at a time. One that only waits for
// something may step aside: its place goes to another, which may need something
// else. When it goes on it does so at once, since what it waited for is there
// now; the next place that falls free is then not given out again.
type places struct {
	free chan struct{}

	mu    sync.Mutex
	debt  int // run beyond the number
	aside int
	bytes int
}

func newPlaces(n int) *places {
	p := &places{free: make(chan struct{}, n)}
	for range n {
		p.free <- struct{}{}
	}
	return p
}

// take takes a place, waiting for it until ctx ends.
func (p *places) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // select would choose at random between this and a free place
	}
	select {
	case <-p.free:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave gives a place back.
func (p *places) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.give()
}

func (p *places) give() {
	if p.debt > 0 {
		p.debt--
		return
	}
	p.free <- struct{}{} // has room: there are no more than were made
}

// stepAside gives the place of a message of n bytes to another until back is
// called, once. Without ok too many wait already, and the place is kept.
func (p *places) stepAside(n int) (back func(), ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.aside >= mostAside || p.bytes+n > mostAsideBytes {
		return nil, false
	}
	p.aside++
	p.bytes += n
	p.give()
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.aside--
		p.bytes -= n
		select {
		case <-p.free:
		default:
			p.debt++
		}
	}), true
}
