package sandbox

// Limits, per application and mailbox as Outlook counts them. Modelled: four
// requests at once, 429 ApplicationThrottled with Retry-After; every request is
// counted; one that comes before a Retry-After is over is an offence (it is
// counted, and answered as usual if there is room).
// https://learn.microsoft.com/graph/throttling-limits
//
// Left out: 10,000 requests in 10 minutes, 150 MB of uploads in 5 minutes, 30
// messages a minute, the limits of all of Graph and of the directory.

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

type limitKey struct{ app, mailbox string }

type limitPage struct {
	open     int
	peak     int
	requests int64
	refused  int64
	offences int64
	parked   time.Time // requests before this are offences
}

type limitBook struct {
	mu    sync.Mutex
	books map[limitKey]*limitPage
}

// enter counts a request in. refused says that there is no room; then leave
// must not be called.
func (b *limitBook) enter(key limitKey, limit int, now time.Time) (offence, refused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.books[key]
	if p == nil {
		p = &limitPage{}
		b.books[key] = p
	}
	p.requests++
	if now.Before(p.parked) {
		offence = true
		p.offences++
	}
	if p.open >= limit {
		p.refused++
		return offence, true
	}
	p.open++
	p.peak = max(p.peak, p.open)
	return offence, false
}

func (b *limitBook) leave(key limitKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.books[key].open--
}

// park notes the Retry-After of an answer, whoever made it: the limits or a
// fault.
func (b *limitBook) park(key limitKey, status int, h http.Header, now time.Time) {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return
	}
	var until time.Time
	value := h.Get("Retry-After")
	if secs, err := strconv.ParseFloat(value, 64); err == nil {
		if secs <= 0 || math.IsInf(secs, 0) || math.IsNaN(secs) {
			return
		}
		until = now.Add(time.Duration(min(secs, 1e6) * float64(time.Second)))
	} else if at, err := http.ParseTime(value); err == nil {
		until = at
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.books[key]; p != nil && until.After(p.parked) {
		p.parked = until
	}
}

func errMailboxConcurrency(retryAfter time.Duration) *graphError {
	return newError(http.StatusTooManyRequests, "ApplicationThrottled",
		"Application is over its MailboxConcurrency limit.").
		with("Retry-After", strconv.Itoa(int(max(retryAfter.Round(time.Second), time.Second)/time.Second)))
}

// MailboxStats are the counts of one application on one mailbox.
type MailboxStats struct {
	App            string `json:"app"`
	Mailbox        string `json:"mailbox"`
	Requests       int64  `json:"requests"`
	Open           int    `json:"open"`
	MaxConcurrency int    `json:"max_concurrency"`
	// Refused were over the concurrency limit.
	Refused int64 `json:"refused"`
	// Offences came before a Retry-After was over.
	Offences int64 `json:"offences"`
}

// Stats are the counts since the sandbox was made.
type Stats struct {
	Requests       int64          `json:"requests"`
	Refused        int64          `json:"refused"`
	Offences       int64          `json:"offences"`
	MaxConcurrency int            `json:"max_concurrency"`
	Mailboxes      []MailboxStats `json:"mailboxes"`
}
