package subscriber

import (
	"context"
	"sync"
	"time"
)

const (
	// strangerWait is how long a feed that is not configured here is left to the
	// other workers before it comes back.
	strangerWait = 30 * time.Second
	// strangerLife is how long such a feed may keep coming back here before it is
	// taken for a subscription that was removed: longer than a rolling update of
	// the workers usually takes.
	strangerLife = 10 * time.Minute
)

// strangers are the feeds that this worker was given and does not know, with
// the moment at which it first was.
type strangers struct {
	mu    sync.Mutex
	since map[Feed]time.Time
}

// stranger gives back a feed that is not configured here. Another worker, with
// a newer configuration, may know it; so it is dropped only after it came back
// for a long time. A worker that knows it registers it again then.
func (s *Subscriber) stranger(ctx context.Context, feed Feed, now time.Time) Next {
	s.strangers.mu.Lock()
	defer s.strangers.mu.Unlock()
	if s.strangers.since == nil {
		s.strangers.since = make(map[Feed]time.Time)
	}
	since, known := s.strangers.since[feed]
	switch {
	case !known:
		s.strangers.since[feed] = now
		s.log.InfoContext(ctx, "feed is not configured here, left to other workers", "feed", feed.String())
	case now.Sub(since) >= strangerLife:
		delete(s.strangers.since, feed)
		s.log.InfoContext(ctx, "feed has not been configured here for long, dropped", "feed", feed.String())
		return Next{Drop: true}
	}
	return Next{After: jitter(strangerWait, 0.2)}
}
