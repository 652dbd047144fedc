package subscriber

import (
	"context"
	"maps"
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
	// strangerMemory is how long one is remembered that did not come back: other
	// workers have it, or have dropped it.
	strangerMemory = time.Hour
)

// strangers are the feeds that this worker was given and does not know, with
// the moment at which it first was.
type strangers struct {
	mu    sync.Mutex
	since map[Feed]time.Time
	swept time.Time
}

// sweep forgets those that were first met long ago. It needs the lock.
func (s *strangers) sweep(now time.Time) {
	if now.Sub(s.swept) < rosterSweep {
		return
	}
	s.swept = now
	maps.DeleteFunc(s.since, func(_ Feed, since time.Time) bool { return now.Sub(since) >= strangerMemory })
}

// stranger gives back a feed that is not configured here. Another worker, with
// a newer configuration, may know it; so it is dropped only after it came back
// for a long time. A worker that knows it registers it again then.
//
// So ends also a subscription, or a mailbox, that was taken out of the
// configuration: without a word about its items. They are where they were, and
// deletions that nobody made would be wrong in whatever copy is kept of them. That
// is not so where a rule finds mailboxes or folders: what leaves those is told as
// deleted, because it left what is followed, see discover.go. The cursor and the
// index stay in the stream: configured again, the feed goes on, and Graph tells
// what changed meanwhile, or a full read does.
func (s *Subscriber) stranger(ctx context.Context, feed Feed, now time.Time) Next {
	s.strangers.mu.Lock()
	defer s.strangers.mu.Unlock()
	if s.strangers.since == nil {
		s.strangers.since = make(map[Feed]time.Time)
	}
	s.strangers.sweep(now)
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
