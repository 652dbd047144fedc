package graph

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"time"
)

// The windows (requests and bytes in some time) are shared only for mailboxes
// that are used much: a process that made a hundredth of what is allowed writes
// down what it used, and so does from then on everybody who uses that mailbox.
// Each then takes its share in advance, a two-hundredth at a time, by
// compare-and-set on one record, and what it did not use within a bucket it
// gives back with its next share. So a mailbox that is polled now and then costs
// nothing, a hot one a message per 50 requests, with a read before it where several
// processes use it, and a process that dies takes at most its share with it.
const (
	shareFrom = 100 // of a limit: from here on use is written down
	sharePart = 200 // of a limit: what is taken at a time, at most
	// spendAgain is when to ask again after the record could not be read.
	spendAgain = time.Second
	// joinTimeout bounds the writing down of what was used before.
	joinTimeout = 5 * time.Second
)

// sharedUse is what all processes used of a mailbox, as far as is known here.
type sharedUse struct {
	id                string // of the record: another one is a new beginning
	count             int64  // how often that was stored
	revision          uint64 // at which it is stored just so, by this process; 0: nobody knows
	requests, uploads window
	began             past  // what everybody's use was when the record began
	joined            bool  // what this process used by itself is in it
	left, leftBytes   int64 // granted to this process and not used
	number            int64 // of the bucket of requests in which that was counted
	byteNumber        int64
	busy              chan struct{} // closed when the grant under way has ended; nil: none is
}

// past are the windows with which a record began after the server had lost the
// one before. Processes may know of shares that its first writer had not heard
// of; by it they can tell those from the ones that are in the record.
type past struct{ requests, uploads window }

func (u *sharedUse) empty(now time.Time) bool { return u.requests.empty(now) && u.uploads.empty(now) }

// useRecord is a [sharedUse] on its way.
type useRecord struct {
	ID       string       `json:"id"`
	Count    int64        `json:"count"`
	Requests windowRecord `json:"requests"`
	Uploads  windowRecord `json:"uploads"`
	Began    *useBegan    `json:"began,omitempty"` // nil: with nothing, or so long ago that it counts no more
}

// useBegan is a [past] on its way.
type useBegan struct {
	Requests windowRecord `json:"requests"`
	Uploads  windowRecord `json:"uploads"`
}

// record is what is stored of the use.
func (u *sharedUse) record(now time.Time) useRecord {
	r := useRecord{ID: u.id, Count: u.count, Requests: u.requests.record(), Uploads: u.uploads.record()}
	if !u.began.requests.empty(now) || !u.began.uploads.empty(now) {
		r.Began = &useBegan{Requests: u.began.requests.record(), Uploads: u.began.uploads.record()}
	}
	return r
}

// restore replaces what is known of everybody's use by a record.
func (u *sharedUse) restore(r useRecord, now time.Time) {
	u.id, u.count = r.ID, r.Count
	u.requests.restore(r.Requests, now)
	u.uploads.restore(r.Uploads, now)
	if r.Began != nil {
		u.began.requests.restore(r.Began.Requests, now)
		u.began.uploads.restore(r.Began.Uploads, now)
	}
}

// windowRecord is a window, newest bucket first.
type windowRecord struct {
	Width  time.Duration `json:"width"`
	Last   int64         `json:"last"`
	Counts []int64       `json:"counts"`
}

func (w *window) record() windowRecord {
	r := windowRecord{Width: w.width, Last: w.last, Counts: make([]int64, 0, buckets+1)}
	for age := range int64(buckets + 1) {
		r.Counts = append(r.Counts, w.at(w.last-age))
	}
	for len(r.Counts) > 0 && r.Counts[len(r.Counts)-1] == 0 {
		r.Counts = r.Counts[:len(r.Counts)-1]
	}
	return r
}

// restore replaces what w counts by a record. That of a process with another
// window counts as used now.
func (w *window) restore(r windowRecord, now time.Time) {
	w.counts, w.sum, w.last = [buckets + 1]int64{}, 0, 0
	if r.Width != w.width || r.Last > w.number(now)+buckets {
		w.advance(now)
		for _, n := range r.Counts {
			w.addAt(w.last, max(n, 0))
		}
		return
	}
	w.last = r.Last
	for age, n := range r.Counts {
		if age <= buckets {
			w.addAt(r.Last-int64(age), max(n, 0))
		}
	}
	w.advance(now)
}

// addBeyond adds what other counts and began does not, and has began count it.
func (w *window) addBeyond(other, began *window) {
	for age := range int64(buckets + 1) {
		number := other.last - age
		if more := other.at(number) - began.at(number); more > 0 {
			w.addAt(number, more)
			began.addAt(number, more)
		}
	}
}

// spend counts a request with a body of n bytes in the windows. A wait says that
// there is no room, and in which. It holds the lock but for questions to others.
func (l *Limiter) spend(ctx context.Context, key string, b *box, now time.Time, n int64) (wait time.Duration, why string) {
	if b.shared == nil && l.uses != nil &&
		(b.requests.sum*shareFrom >= b.requests.limit || (b.uploads.sum+n)*shareFrom > b.uploads.limit) {
		b.shared = l.newShared(now)
	}
	for b.shared != nil {
		now = time.Now()
		u := b.shared
		bytes := n == 0 || u.leftBytes >= n && u.byteNumber == u.uploads.number(now)
		if u.busy == nil && u.left > 0 && u.number == u.requests.number(now) && bytes { // else it is being given back
			u.left--
			u.leftBytes -= n
			break
		}
		if wait := u.requests.freeAt(now, 1-min(u.left, 1)).Sub(now); wait > 0 && u.joined {
			return wait, "request_window"
		}
		if u.busy != nil {
			busy := u.busy
			l.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-busy:
			}
			l.mu.Lock()
			if ctx.Err() != nil {
				return spendAgain, "request_window"
			}
			continue
		}
		u.busy = make(chan struct{})
		wait, why := l.grant(ctx, key, b, n)
		close(u.busy)
		u.busy = nil
		if wait > 0 {
			return wait, why
		}
	}
	if b.shared == nil {
		if wait := b.requests.freeAt(now, 1).Sub(now); wait > 0 {
			return wait, "request_window"
		}
		if wait := b.uploads.freeAt(now, n).Sub(now); n > 0 && wait > 0 {
			return wait, "upload_window"
		}
	}
	b.requests.add(now, 1)
	if n > 0 {
		b.uploads.add(now, n)
	}
	return 0, ""
}

func (l *Limiter) newShared(now time.Time) *sharedUse {
	requests := newWindow(l.limits.RequestWindow, int64(l.limits.Requests))
	uploads := newWindow(l.limits.UploadWindow, l.limits.UploadBytes)
	requests.advance(now)
	uploads.advance(now)
	return &sharedUse{requests: requests, uploads: uploads, began: past{requests, uploads}}
}

// grant takes a share of the windows. The lock is given up while others are
// asked; busy keeps a second grant of the mailbox away.
func (l *Limiter) grant(ctx context.Context, key string, b *box, n int64) (wait time.Duration, why string) {
	u := b.shared
	life := max(l.limits.RequestWindow, l.limits.UploadWindow) * (buckets + 2) / buckets
	for range 16 {
		next, revision, now := *u, u.revision, time.Now()
		if revision == 0 {
			l.mu.Unlock()
			data, found, err := l.uses.Load(ctx, key)
			l.mu.Lock()
			if err != nil {
				return spendAgain, "request_window"
			}
			now = time.Now()
			next, revision = l.merge(u, b, data, now), found
		}
		// Where it is known it need not be read: if somebody has stored another one
		// since, this one is refused, and then it is read.
		u.revision = 0
		next.requests.advance(now)
		next.uploads.advance(now)
		next.requests.addAt(u.number, -u.left) // what was not used
		next.uploads.addAt(u.byteNumber, -u.leftBytes)
		share, bytes := next.share(n)
		wait := next.requests.freeAt(now, 1).Sub(now)
		why := "request_window"
		if more := next.uploads.freeAt(now, n).Sub(now); n > 0 && more > wait {
			wait, why = more, "upload_window"
		}
		if wait > 0 {
			share, bytes = 0, 0
		}
		next.requests.add(now, share)
		next.uploads.add(now, bytes)
		next.left, next.leftBytes = share, bytes
		next.number, next.byteNumber = next.requests.number(now), next.uploads.number(now)
		next.count++
		text, err := json.Marshal(next.record(now))
		if err != nil {
			return spendAgain, why
		}
		l.mu.Unlock()
		stored, ok, err := l.uses.Store(ctx, key, text, revision, life)
		l.mu.Lock()
		if err != nil {
			// What may have been stored counts as used, and what was to be given back
			// with it is not given back a second time.
			u.left, u.leftBytes = 0, 0
			return spendAgain, why
		}
		if ok {
			next.busy, next.revision = u.busy, stored
			*u = next
			return max(wait, 0), why
		}
	}
	return spendAgain, "request_window"
}

// merge is what all used: as it is stored, with what this process knows and the
// others do not.
func (l *Limiter) merge(u *sharedUse, b *box, data []byte, now time.Time) sharedUse {
	next := *l.newShared(now)
	var stored useRecord
	known := data != nil && json.Unmarshal(data, &stored) == nil
	if known {
		next.restore(stored, now)
	}
	switch {
	case !known: // the first time, or the server has lost what was stored
		next.id = rand.Text()
		next.requests.addBeyond(&u.requests, &next.began.requests)
		next.uploads.addBeyond(&u.uploads, &next.began.uploads)
	case u.id != "" && stored.ID != u.id: // it was lost, and begun anew by somebody else
		next.requests.addBeyond(&u.requests, &next.began.requests)
		next.uploads.addBeyond(&u.uploads, &next.began.uploads)
	}
	next.joined = true
	if !u.joined {
		for age := range int64(buckets + 1) {
			next.requests.addAt(b.requests.last-age, b.requests.at(b.requests.last-age))
			next.uploads.addAt(b.uploads.last-age, b.uploads.at(b.uploads.last-age))
		}
	}
	return next
}

// share is how much to take at a time: less when little is left, so that what
// one process does not use is not missed by the others.
func (u *sharedUse) share(n int64) (requests, bytes int64) {
	requests = max(min(u.requests.limit/sharePart, (u.requests.limit-u.requests.sum)/8), 1)
	if n > 0 {
		bytes = max(min(u.uploads.limit/sharePart, (u.uploads.limit-u.uploads.sum)/8), n)
	}
	return requests, bytes
}

// Used says what all processes together used of a mailbox, when another one has
// stored it.
func (l *Limiter) Used(mailbox string, data []byte) {
	var stored useRecord
	if json.Unmarshal(data, &stored) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.box(mailbox, now)
	if b.shared == nil {
		b.shared = l.newShared(now)
	}
	u := b.shared
	switch {
	case u.busy != nil && u.id == stored.ID: // it is about to know better
		return
	case u.busy != nil: // the record was begun anew: does it hold what is being added?
		if busy := u.busy; !l.closed {
			l.timers.Go(func() { <-busy; l.Used(mailbox, data) })
		}
		return
	case u.id == "" || u.id == stored.ID && u.count < stored.Count:
		u.restore(stored, now)
		u.revision = 0
	case u.id != stored.ID:
		u.revision = 0 // it may happen to be that of the new record
	}
	l.join(mailbox, b, stored.ID)
}

// join adds what is known here alone as soon as it is heard that use is written
// down in a record: what this process used by itself, or what everybody used as
// an earlier record told that the server has lost. To wait for the next request
// would let the others count without it meanwhile. The caller holds the lock.
func (l *Limiter) join(key string, b *box, id string) {
	u := b.shared
	alone := !u.joined && (b.requests.sum > 0 || b.uploads.sum > 0)
	if l.closed || l.uses == nil || !alone && u.id == id {
		return
	}
	busy := make(chan struct{})
	u.busy = busy
	l.timers.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), joinTimeout)
		defer cancel()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.grant(ctx, key, b, 0) // without room it joins all the same; a failure is made good by the next request
		u.busy = nil
		close(busy)
	})
}
