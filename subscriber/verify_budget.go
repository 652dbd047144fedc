package subscriber

import (
	"strings"
	"sync"
	"time"
)

const (
	// verifyMost is how many requests within verifyWindow may go into looking for
	// deleted items of one mailbox: a tenth of the 10,000 in 10 minutes that
	// Outlook allows: https://learn.microsoft.com/graph/throttling-limits
	verifyMost   = 1000
	verifyWindow = 10 * time.Minute
	// verifyBurst is what a rested mailbox may take at once. What comes back
	// within a window fills up to verifyMost.
	verifyBurst = verifyMost / 2
	// budgetSweep is how often full buckets are forgotten.
	budgetSweep = time.Minute
)

// budget bounds what may be spent on verification, a token bucket for each
// mailbox. It is kept by each process for itself. That is enough: a feed is
// polled by one worker at a time, so one page spends one process's budget; all
// workers together stay within the mailbox's window, which they share, and a
// mailbox whose slots are wanted for something else is left alone whatever the
// budget says. It is safe for concurrent use.
type budget struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	swept   time.Time
}

type bucket struct {
	tokens float64
	at     time.Time
}

// fill brings a bucket up to now.
func (b *bucket) fill(now time.Time) {
	const each = float64(verifyMost-verifyBurst) / float64(verifyWindow)
	b.tokens = min(verifyBurst, b.tokens+each*float64(max(now.Sub(b.at), 0)))
	b.at = now
}

// take takes up to n requests of the mailbox and returns how many it got.
func (b *budget) take(client, mailbox string, n int) int {
	return b.takeAt(time.Now(), client, mailbox, n)
}

func (b *budget) takeAt(now time.Time, client, mailbox string, n int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.buckets == nil {
		b.buckets = make(map[string]*bucket)
	}
	if now.Sub(b.swept) >= budgetSweep {
		b.swept = now
		for key, one := range b.buckets {
			if one.fill(now); one.tokens >= verifyBurst {
				delete(b.buckets, key) // a new one is full, too
			}
		}
	}
	key := client + "\x00" + strings.ToLower(mailbox)
	one := b.buckets[key]
	if one == nil {
		one = &bucket{tokens: verifyBurst, at: now}
		b.buckets[key] = one
	}
	one.fill(now)
	got := max(min(n, int(one.tokens)), 0)
	one.tokens -= float64(got)
	return got
}
