package sandbox

// Faults, scripted by functions that see a request before it is done. A control
// function may answer in the place of the sandbox, let the sandbox do its work
// and change the answer, delay, hold or cut the connection; or only look and
// pass on. One-shot by default, kept on demand, and safe to add from inside
// one. The same powers are on the HTTP control port (control_http.go).

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Match says which requests a control function sees. Empty members match all.
type Match struct {
	// Method is the HTTP method.
	Method string `json:"method,omitempty"`
	// Route is a template such as /me/sendMail, /me/messages/{id}/send or
	// /{tenant}/oauth2/v2.0/token. Letter case, the names in braces and
	// whether the mailbox is /me or /users/{id} do not matter.
	Route string `json:"route,omitempty"`
	// Mailbox is the UPN or object id of the mailbox.
	Mailbox string `json:"mailbox,omitempty"`
}

// Answer is what goes back to the client.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Reset cuts the connection instead of answering.
	Reset bool
}

// Request is what a control function sees, and what it tells the sandbox to do.
type Request struct {
	ID, Method, Path, RawQuery, Route string
	// App is the client id that sent it; empty at the sign-in.
	App string
	// Mailbox is the UPN of the mailbox; empty where there is none.
	Mailbox string
	Header  http.Header
	Body    []byte

	answer *Answer
	after  []func(*Answer)
	delay  time.Duration
	hold   []<-chan struct{}
}

// Answer makes the sandbox answer with a and do nothing else: the request has
// no effect.
func (r *Request) Answer(a Answer) { r.answer = &a }

// Fail answers with an error body of Graph and no effect. A retryAfter other
// than empty becomes the header, as it stands.
func (r *Request) Fail(status int, code, retryAfter string) {
	r.answer = failAnswer(r.ID, r.Header.Get("client-request-id"), status, code, retryAfter)
}

// Reset cuts the connection before the request has any effect.
func (r *Request) Reset() { r.answer = &Answer{Reset: true} }

// After has fn called with the answer when the request has had its effect. fn
// may change the answer.
func (r *Request) After(fn func(*Answer)) { r.after = append(r.after, fn) }

// Delay makes the request wait before it is done, in its slot of the mailbox.
// The client's going away does not shorten it.
func (r *Request) Delay(d time.Duration) { r.delay += d }

// Hold makes the request wait until ch is closed, in its slot of the mailbox.
func (r *Request) Hold(ch <-chan struct{}) { r.hold = append(r.hold, ch) }

// ControlFunc looks at a request and says whether it dealt with it. When it
// did, no other control function sees the request, and a one-shot function is
// used up. It must not wait: use [Request.Delay] and [Request.Hold].
type ControlFunc func(r *Request) (handled bool)

// Rule is a control function in use.
type Rule struct {
	match Match
	fn    ControlFunc
	book  *faultBook

	mu    sync.Mutex
	left  int // -1: kept
	hits  atomic.Int64
	used  chan struct{}
	first sync.Once
}

// Hits counts the requests that the function dealt with.
func (r *Rule) Hits() int { return int(r.hits.Load()) }

// Used is closed when the function has dealt with a request.
func (r *Rule) Used() <-chan struct{} { return r.used }

// Remove takes the function out of use.
func (r *Rule) Remove() {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	r.book.rules = slices.DeleteFunc(r.book.rules, func(o *Rule) bool { return o == r })
}

type faultBook struct {
	mu    sync.Mutex
	rules []*Rule
}

// Control puts fn in use until it has dealt with one request.
func (s *Sandbox) Control(m Match, fn ControlFunc) *Rule { return s.ControlN(m, 1, fn) }

// KeepControl puts fn in use until its rule is removed.
func (s *Sandbox) KeepControl(m Match, fn ControlFunc) *Rule { return s.ControlN(m, -1, fn) }

// ControlN puts fn in use until it has dealt with n requests; -1 keeps it.
func (s *Sandbox) ControlN(m Match, n int, fn ControlFunc) *Rule {
	r := &Rule{match: m, fn: fn, book: &s.faults, left: n, used: make(chan struct{})}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = append(s.faults.rules, r)
	return r
}

// ClearControls takes all control functions out of use.
func (s *Sandbox) ClearControls() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.rules = nil
}

// control shows a request to the functions, in the order they were added.
func (s *Sandbox) control(r *Request, mailboxID string) (handled bool) {
	s.faults.mu.Lock()
	rules := slices.Clone(s.faults.rules)
	s.faults.mu.Unlock()
	for _, rule := range rules {
		if rule.match.fits(r, mailboxID) && rule.try(r) {
			return true
		}
	}
	return false
}

// try runs one function, one request at a time, so that a one-shot function
// deals with exactly one of two requests that arrive together.
func (r *Rule) try(req *Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 || !r.fn(req) {
		return false
	}
	r.hits.Add(1)
	if r.left > 0 {
		if r.left--; r.left == 0 {
			r.Remove()
		}
	}
	r.first.Do(func() { close(r.used) })
	return true
}

func (m Match) fits(r *Request, mailboxID string) bool {
	switch {
	case m.Method != "" && !strings.EqualFold(m.Method, r.Method):
	case m.Route != "" && plainRoute(m.Route) != plainRoute(r.Route):
	case m.Mailbox != "" && !strings.EqualFold(m.Mailbox, r.Mailbox) && !strings.EqualFold(m.Mailbox, mailboxID):
	default:
		return true
	}
	return false
}

var (
	routeNames = regexp.MustCompile(`\{[^}]*\}`)
	routeUser  = regexp.MustCompile(`^/users/\{\}`)
)

// plainRoute takes from a route what does not matter for a match.
func plainRoute(route string) string {
	route = strings.TrimPrefix(strings.ToLower(route), "/v1.0")
	return routeUser.ReplaceAllString(routeNames.ReplaceAllString(route, "{}"), "/me")
}

// obey carries out what the control functions asked for before the work.
func (s *Sandbox) obey(r *Request) {
	if r.delay > 0 {
		s.pause(r.delay)
	}
	for _, ch := range r.hold {
		select {
		case <-ch:
		case <-s.stop:
		}
	}
}

func failAnswer(id, clientID string, status int, code, retryAfter string) *Answer {
	e := newError(status, code, "A fault that the sandbox was told to make.")
	if retryAfter != "" {
		e = e.with("Retry-After", retryAfter)
	}
	return e.answer(id, clientID, time.Now())
}

// FailBefore answers with an error and no effect. retryAfter, if not empty, is
// the header's text as it stands.
func FailBefore(status int, code, retryAfter string) ControlFunc {
	return func(r *Request) bool {
		r.Fail(status, code, retryAfter)
		return true
	}
}

// FailAfterEffect lets the request have its effect and then answers with an
// error, as a gateway does that lost sight of what stands behind it.
func FailAfterEffect(status int, code string) ControlFunc {
	return func(r *Request) bool {
		id, clientID := r.ID, r.Header.Get("client-request-id")
		r.After(func(a *Answer) { *a = *failAnswer(id, clientID, status, code, "") })
		return true
	}
}

// ResetBeforeEffect cuts the connection before the request has any effect.
func ResetBeforeEffect() ControlFunc {
	return func(r *Request) bool {
		r.Reset()
		return true
	}
}

// ResetAfterEffect lets the request have its effect and then cuts the
// connection without an answer.
func ResetAfterEffect() ControlFunc {
	return func(r *Request) bool {
		r.After(func(a *Answer) { a.Reset = true })
		return true
	}
}

// Delay makes the request wait d before it is done.
func Delay(d time.Duration) ControlFunc {
	return func(r *Request) bool {
		r.Delay(d)
		return true
	}
}

// AnswerWith answers with a status and body, and has no effect: for bodies that
// are not Graph's, such as a proxy's HTML page.
func AnswerWith(status int, contentType, body string) ControlFunc {
	return func(r *Request) bool {
		r.Answer(Answer{Status: status, Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body)})
		return true
	}
}

// errorCode reads the code from an error body, for the log.
func errorCode(a *Answer) string {
	if a.Status < 400 {
		return ""
	}
	var body struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(a.Body, &body) != nil {
		return ""
	}
	var graph struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(body.Error, &graph) == nil && graph.Code != "" {
		return graph.Code
	}
	var code string
	_ = json.Unmarshal(body.Error, &code) // the sign-in's error is a string
	return code
}
