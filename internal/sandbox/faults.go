package sandbox

// Faults, scripted by functions that see a request before it is done. A control
// function may answer in the place of the sandbox, let the sandbox do its work
// and change the answer, delay, hold or cut the connection; or only look and
// pass on. One-shot by default, kept on demand, and safe to add from inside
// one. The rules that they are kept in are in faults_rules.go, the functions in
// faults_kinds.go, faults_throttle.go, faults_content.go and faults_links.go. The
// same powers are on the HTTP control port (control_faults.go).

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
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
	// Query is a part of the query as it is on the wire, such as deltatoken
	// or skiptoken. Letter case does not matter.
	Query string `json:"query,omitempty"`
	// App is the client id.
	App string `json:"app,omitempty"`
}

// Answer is what goes back to the client.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Reset cuts the connection with a TCP reset: instead of answering, or
	// with Cut within the body.
	Reset bool
	// Cut is how many bytes of the body go out before the connection is cut,
	// though Content-Length promises all of it; at least the last byte is
	// kept back. 0: the body goes out whole. -1: only the head goes out.
	Cut int
	// Gone closes the connection behind the answer, of which the answer says
	// nothing: the client may find out with its next request.
	Gone bool
	// Drip sends the body in pieces with a pause after each.
	Drip Drip
	// Late is how long the answer is kept back. The request has left its slot of
	// the mailbox by then.
	Late time.Duration
}

// Drip is a body that comes slowly. The request has left its slot of the
// mailbox by then.
type Drip struct {
	// Bytes of a piece. 0: 1 byte.
	Bytes int
	// Every is the pause after a piece. 0: no pauses.
	Every time.Duration
}

// Request is what a control function sees, and what it tells the sandbox to do.
type Request struct {
	ID, Method, Path, RawQuery, Route string
	// URL is the whole address, as the links of answers begin.
	URL string
	// App is the client id that sent it; empty at the sign-in.
	App string
	// Mailbox is the UPN of the mailbox; empty where there is none.
	Mailbox string
	Header  http.Header
	Body    []byte

	plain  string // the route, for matching
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

// fits says whether a request is meant; route is the plain form of Match.Route.
func (m Match) fits(r *Request, route, mailboxID string) bool {
	switch {
	case m.Method != "" && !strings.EqualFold(m.Method, r.Method):
	case m.App != "" && !strings.EqualFold(m.App, r.App):
	case m.Query != "" && !strings.Contains(strings.ToLower(r.RawQuery), strings.ToLower(m.Query)):
	case route != "" && route != r.plainRoute():
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

// plainRoute is computed once for all the rules that ask.
func (r *Request) plainRoute() string {
	if r.plain == "" {
		r.plain = plainRoute(r.Route)
	}
	return r.plain
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
