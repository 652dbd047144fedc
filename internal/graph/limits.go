package graph

import (
	"context"
	"time"

	"outlook-connector/internal/retry"
)

// Limits bound the use of one mailbox by one client. The zero value of each
// field means Outlook's own limit per app and mailbox:
// https://learn.microsoft.com/graph/throttling-limits#outlook-service-limits
type Limits struct {
	// Concurrency is how many slots there are. Zero means 4.
	Concurrency int
	// Requests per RequestWindow, every attempt and page counted. Zero means
	// 10,000 per 10 min.
	Requests      int
	RequestWindow time.Duration
	// UploadBytes per UploadWindow, in request bodies. Zero means 150 MB per
	// 5 min.
	UploadBytes  int64
	UploadWindow time.Duration
}

// withDefaults fills in what the zero value means.
func (l Limits) withDefaults() Limits {
	if l.Concurrency <= 0 {
		l.Concurrency = 4
	}
	if l.Requests <= 0 {
		l.Requests = 10_000
	}
	if l.RequestWindow <= 0 {
		l.RequestWindow = 10 * time.Minute
	}
	if l.UploadBytes <= 0 {
		l.UploadBytes = 150_000_000
	}
	if l.UploadWindow <= 0 {
		l.UploadWindow = 5 * time.Minute
	}
	return l
}

const (
	// maxPark bounds how long a mailbox is left alone at a time, and how long a
	// caller is sent away.
	maxPark = 15 * time.Minute
	// The time that a slot is held is learned, from this guess and within
	// these bounds.
	firstService, minService, maxService = 250 * time.Millisecond, 20 * time.Millisecond, 30 * time.Second
	// firstStrike is the least wait after a 429 that names none, and lastStrike
	// what it grows to.
	firstStrike, lastStrike = time.Second, time.Minute
	// forgetStrikes is how long a mailbox must not be throttled to start anew.
	forgetStrikes = 10 * time.Minute
	// sweepEvery is how often idle mailboxes are looked for.
	sweepEvery = time.Minute
)

// TakeSlot takes one of the mailbox's slots for one request, or for a few in a
// row. With ok it returns release, which must be called when they are done and
// may be called twice. Without ok it says how long to stay away: the waits of
// many callers are spread as a queue would serve them, so that who comes back
// after its wait usually finds a slot. It does not wait for a slot; where
// processes share them it may ask the others, which takes a moment.
func (c *Client) TakeSlot(ctx context.Context, mailbox string) (release func(), wait time.Duration, ok bool) {
	m, wait := c.mailbox(ctx, mailbox)
	if wait > 0 {
		return nil, wait, false
	}
	return c.limits.take(ctx, m)
}

// FreeSlot takes a slot where one is to be had at once. Else release is nil, and
// the caller has no place in any queue.
func (c *Client) FreeSlot(ctx context.Context, mailbox string) (release func()) {
	m, wait := c.mailbox(ctx, mailbox)
	if wait > 0 {
		return nil
	}
	return c.limits.glimpse(ctx, m)
}

// QueueSlot is [Client.TakeSlot], but where this process has slots of the
// mailbox and fewer than 16 wait for them yet, it waits for its turn: a busy
// mailbox is used to the full only if the next request is there when one ends.
// The wait that others are given is at most 10 minutes, and so short that some
// come back too early, for the same reason.
func (c *Client) QueueSlot(ctx context.Context, mailbox string) (release func(), wait time.Duration, ok bool) {
	m, wait := c.mailbox(ctx, mailbox)
	if wait > 0 {
		return nil, wait, false
	}
	return c.limits.queue(ctx, m)
}

// InsistSlot is [Client.TakeSlot] for a caller of whom there are few in a
// mailbox: where callers of QueueSlot wait, it waits a second for its turn, which
// comes before theirs. They would keep it away for as long as they follow each
// other.
func (c *Client) InsistSlot(ctx context.Context, mailbox string) (release func(), wait time.Duration, ok bool) {
	m, wait := c.mailbox(ctx, mailbox)
	if wait > 0 {
		return nil, wait, false
	}
	return c.limits.insist(ctx, m)
}

// Acquire takes a slot as [Client.TakeSlot] does, waiting for it until ctx
// ends. Those who wait here come before those who ask TakeSlot.
func (c *Client) Acquire(ctx context.Context, mailbox string) (release func(), err error) {
	for {
		m, wait := c.mailbox(ctx, mailbox)
		if wait <= 0 {
			return c.limits.acquire(ctx, m)
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// Park leaves a mailbox alone until a time, at most 15 minutes from now; an
// earlier time than it is parked for already changes nothing. [Client.Do] and
// [Client.Page] park a mailbox by themselves when Graph throttles it.
func (c *Client) Park(mailbox string, until time.Time) { c.limits.park(c.known(mailbox), until) }
