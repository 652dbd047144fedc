package sandbox

// Limits, per application and mailbox as Outlook counts them. Modelled: four
// requests at once (429 ApplicationThrottled), 10,000 requests in 10 minutes and
// 150 MB of POST, PATCH and PUT bodies in 5 minutes (429 TooManyRequests), all of
// Graph's 130,000 requests in 10 seconds per application; Retry-After in whole
// seconds until there is room. Every request is counted, a refused one too; one
// that comes before a Retry-After is over is an offence (counted, and answered as
// usual if there is room). Bodies are counted as unpacked; those of refused
// requests are not.
// https://learn.microsoft.com/graph/throttling-limits
//
// Requests that are not about a mailbox (users and groups, places, subscriptions)
// are in the count of the application only; the directory's own limit is in
// limits_directory.go.
//
// Exchange's 30 messages a minute are an option (MessagesPerMinute), since
// Exchange mostly delays such mail where the sandbox refuses it.
//
// Left out: recipients per day, the tenant's external recipients.

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// limitKey is whose count it is. Without a mailbox it is the application's
// count of everything that is not about one.
type limitKey struct{ app, mailbox string }

type limitPage struct {
	open      int
	peak      int
	requests  int64
	refused   int64
	throttled int64
	offences  int64
	uploaded  int64
	parked    time.Time // requests before this are offences

	window slidingCount  // of requests
	upload *slidingCount // nil until the first body
}

type limitBook struct {
	mu    sync.Mutex
	rules limitRules
	books map[limitKey]*limitPage
	apps  map[string]*slidingCount
	units map[string]*slidingCount // of the directory, by application
	sends map[string]*slidingCount // by mailbox: Exchange does not ask who submits
}

// limitRules are the limits in force.
type limitRules struct {
	concurrency int
	retryAfter  time.Duration // of the concurrency limit
	requests    limitRate
	upload      limitRate // bytes
	app         limitRate
	directory   limitRate // resource units
	messages    limitRate
}

func newLimitBook(rules limitRules) limitBook {
	return limitBook{rules: rules, books: map[limitKey]*limitPage{}, apps: map[string]*slidingCount{}, units: map[string]*slidingCount{}, sends: map[string]*slidingCount{}}
}

// load is what a request weighs.
type load struct {
	method string
	bytes  int   // of the body
	units  int64 // of the directory
}

// enter counts a request in. With an error there was no room, else it must leave.
func (c *call) enter(entry *Call) (limitKey, error) {
	key := limitKey{c.token.AppID, c.box.ID}
	w := load{entry.Method, len(c.body), c.units(entry.Method, entry.Route)}
	if w.units > 0 || c.box.kind == kindDirectory {
		key.mailbox = ""
	}
	offence, used, refused := c.limits.admit(key, w, entry.Arrived)
	entry.Offence = offence
	c.spent, c.used = w.units, used
	if refused == nil {
		return key, nil
	}
	if used > 1 {
		refused = refused.with("x-ms-throttle-scope", "Tenant_Application/ReadWrite/"+key.app+"/"+c.token.Tenant).
			with("x-ms-throttle-information", "ResourceUnitLimitExceeded")
	}
	return key, refused
}

// admit counts a request in. refused says that there is no room; then leave must
// not be called. used is how full the directory's bucket is, if it is about that.
func (b *limitBook) admit(key limitKey, w load, now time.Time) (offence bool, used float64, refused *graphError) {
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
	wait := b.one(b.apps, key.app, b.rules.app, now)
	if key.mailbox == "" {
		var more time.Duration
		used, more = b.spend(key.app, w.units, now)
		wait = max(wait, more)
	} else {
		wait = max(wait, b.room(p, w, now))
	}
	switch {
	case wait > 0:
		p.throttled++
		refused = errTooManyRequests(wait)
	case p.open >= b.rules.concurrency && key.mailbox != "":
		p.refused++
		refused = errMailboxConcurrency(b.rules.retryAfter)
	default:
		p.enter(b.rules, w, now)
		return offence, used, nil
	}
	p.park(now.Add(refused.wait()))
	return offence, used, refused
}

func (p *limitPage) enter(rules limitRules, w load, now time.Time) {
	p.open++
	p.peak = max(p.peak, p.open)
	if uploads(w.method) {
		p.uploaded += int64(w.bytes)
		if rules.upload.on() && w.bytes > 0 {
			p.uploads().count(rules.upload, int64(w.bytes), now)
		}
	}
}

// room counts a request to a mailbox, and says how long to wait if there have
// been too many, or too many bytes with it.
func (b *limitBook) room(p *limitPage, w load, now time.Time) (wait time.Duration) {
	if r := b.rules.requests; r.on() {
		full := p.window.wait(r, 1, now) > 0
		if p.window.count(r, 1, now); full {
			wait = p.window.wait(r, 1, now)
		}
	}
	if r := b.rules.upload; r.on() && uploads(w.method) && w.bytes > 0 {
		wait = max(wait, p.uploads().wait(r, int64(w.bytes), now))
	}
	return wait
}

// one counts one thing in the window of a name, and says how long to wait if
// there was no room for it.
func (b *limitBook) one(windows map[string]*slidingCount, name string, r limitRate, now time.Time) time.Duration {
	if !r.on() {
		return 0
	}
	w := windows[name]
	if w == nil {
		w = &slidingCount{}
		windows[name] = w
	}
	full := w.wait(r, 1, now) > 0
	w.count(r, 1, now)
	if !full {
		return 0
	}
	return w.wait(r, 1, now)
}

// message counts a mail that is about to be sent from a mailbox; the error says
// that there were too many in the last minute.
// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits
func (b *limitBook) message(mailbox string, now time.Time) error {
	r := b.rules.messages
	if !r.on() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.sends[mailbox]
	if w == nil {
		w = &slidingCount{}
		b.sends[mailbox] = w
	}
	if wait := w.wait(r, 1, now); wait > 0 {
		return newError(http.StatusTooManyRequests, "ErrorExceededMessageLimit",
			"Cannot send mail. The message rate limit of the mailbox is exceeded.").with("Retry-After", wholeSeconds(wait))
	}
	w.count(r, 1, now)
	return nil
}

func uploads(method string) bool {
	return method == http.MethodPost || method == http.MethodPatch || method == http.MethodPut
}

func (p *limitPage) uploads() *slidingCount {
	if p.upload == nil {
		p.upload = &slidingCount{}
	}
	return p.upload
}

func (p *limitPage) park(until time.Time) {
	if until.After(p.parked) {
		p.parked = until
	}
}

// uploaded counts bytes that came past the mailbox's own routes: the parts of an
// upload session, which go to another address and carry no token.
func (b *limitBook) uploaded(key limitKey, size int, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.books[key]
	if p == nil {
		p = &limitPage{}
		b.books[key] = p
	}
	p.uploaded += int64(size)
	if b.rules.upload.on() {
		p.uploads().count(b.rules.upload, int64(size), now)
	}
}

func (b *limitBook) leave(key limitKey) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.books[key].open--
}

// longestOrder is the longest Retry-After that a client is held to. What is
// longer is taken for nonsense.
const longestOrder = 24 * time.Hour

// park notes the Retry-After of an answer, whoever made it: the limits or a
// fault. An answer of success is no order to wait, whatever it carries.
func (b *limitBook) park(key limitKey, status int, h http.Header, now time.Time) {
	if status < http.StatusBadRequest || h == nil {
		return
	}
	value := h.Get("Retry-After")
	if value == "" {
		return
	}
	var until time.Time
	if secs, err := strconv.ParseFloat(value, 64); err == nil {
		if !(secs > 0 && secs <= longestOrder.Seconds()) || math.IsNaN(secs) {
			return
		}
		until = now.Add(time.Duration(secs * float64(time.Second)))
	} else if at, err := http.ParseTime(value); err == nil && at.Sub(now) <= longestOrder {
		until = at
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.books[key]; p != nil {
		p.park(until)
	}
}

func errMailboxConcurrency(retryAfter time.Duration) *graphError {
	return newError(http.StatusTooManyRequests, "ApplicationThrottled",
		"Application is over its MailboxConcurrency limit.").
		with("Retry-After", wholeSeconds(retryAfter))
}

// errTooManyRequests is Graph's own 429: https://learn.microsoft.com/graph/throttling
func errTooManyRequests(wait time.Duration) *graphError {
	e := newError(http.StatusTooManyRequests, "TooManyRequests", "Please retry again later.")
	e.innerCode, e.innerMessage = "429", "Please retry after"
	if wait > 0 {
		e = e.with("Retry-After", wholeSeconds(wait))
	}
	return e
}

// wait is the Retry-After of an error that the limits made.
func (e *graphError) wait() time.Duration {
	secs, _ := strconv.Atoi(e.header.Get("Retry-After")) // our own text
	return time.Duration(secs) * time.Second
}

// wholeSeconds rounds up, and says at least 1.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64(max((d+time.Second-1)/time.Second, 1)), 10)
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
	// Throttled were over a limit of requests or bytes in some time.
	Throttled int64 `json:"throttled"`
	// Offences came before a Retry-After was over.
	Offences int64 `json:"offences"`
	// Uploaded are the bytes of POST, PATCH and PUT bodies.
	Uploaded int64 `json:"uploaded"`
}

// Stats are the counts since the sandbox was made.
type Stats struct {
	Requests       int64 `json:"requests"`
	Refused        int64 `json:"refused"`
	Throttled      int64 `json:"throttled"`
	Offences       int64 `json:"offences"`
	MaxConcurrency int   `json:"max_concurrency"`
	// RequestsForgotten and EffectsForgotten are no longer in the request log
	// and in the ledger ([KeepRequests], [Keep]).
	RequestsForgotten int64          `json:"requests_forgotten"`
	EffectsForgotten  int64          `json:"effects_forgotten"`
	Mailboxes         []MailboxStats `json:"mailboxes"`
}
