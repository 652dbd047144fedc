package publisher

import (
	"context"
	"sync"
	"time"
)

// patience bounds how long something is waited for. A context with a timer for each
// command and each of its waits would cost more than the rest of them, and so those
// that begin at nearly the same time share one: they have up to a sixteenth less.
type patience struct {
	most time.Duration

	mu     sync.Mutex
	until  time.Time // when the next one is made
	shared context.Context
	end    context.CancelFunc // not called: others have it
}

// over returns a context that ends when the time is over, and not with ctx, whose
// values it has.
func (p *patience) over(ctx context.Context) context.Context {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.until) {
		p.shared, p.end = context.WithTimeout(context.Background(), p.most) //nolint:gosec // G118: it is ended by its time
		p.until = now.Add(p.most / 16)
	}
	return bounded{p.shared, ctx}
}

// bounded is a context with the values of another one.
type bounded struct {
	context.Context

	values context.Context
}

// Value asks the context itself first: it has only what package context needs to end
// another one with it.
func (b bounded) Value(key any) any {
	if value := b.Context.Value(key); value != nil {
		return value
	}
	return b.values.Value(key)
}
