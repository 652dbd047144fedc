package sandbox

// The plain faults: errors and cut connections before and after the effect,
// delays, answers of one's own; and what makes one of several.

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

func failAnswer(id, clientID string, status int, code, retryAfter string) *Answer {
	e := newError(status, code, "A fault that the sandbox was told to make.")
	if status == http.StatusTooManyRequests && code == "TooManyRequests" {
		e = errTooManyRequests(0)
	}
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
func FailAfterEffect(status int, code string) ControlFunc { return failAfter(status, code, "") }

func failAfter(status int, code, retryAfter string) ControlFunc {
	return func(r *Request) bool {
		id, clientID := r.ID, r.Header.Get("client-request-id")
		r.After(func(a *Answer) { *a = *failAnswer(id, clientID, status, code, retryAfter) })
		return true
	}
}

// changeAnswer lets the request have its effect and then changes the answer.
func changeAnswer(fn func(*Answer)) ControlFunc {
	return func(r *Request) bool {
		r.After(fn)
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
func ResetAfterEffect() ControlFunc { return changeAnswer(func(a *Answer) { a.Reset = true }) }

// Truncate lets the request have its effect and sends n bytes of the answer's
// body (0: none), fewer than its Content-Length says, before the connection is
// closed in an orderly way. An answer without a body ends as it is.
func Truncate(n int) ControlFunc {
	return changeAnswer(func(a *Answer) { a.Cut = cutAfter(n) })
}

// ResetInBody is [Truncate] with a reset in the place of the orderly end.
func ResetInBody(n int) ControlFunc {
	return changeAnswer(func(a *Answer) { a.Cut, a.Reset = cutAfter(n), true })
}

func cutAfter(n int) int {
	if n <= 0 {
		return -1
	}
	return n
}

// Dribble lets the request have its effect and sends the answer's body in pieces
// of so many bytes, with a pause after each.
func Dribble(bytes int, every time.Duration) ControlFunc {
	return changeAnswer(func(a *Answer) { a.Drip = Drip{Bytes: bytes, Every: every} })
}

// DropConnection lets the request have its effect, answers it, and closes the
// connection though the answer said that it stays open: what a client finds that
// takes an idle connection from its pool.
func DropConnection() ControlFunc { return changeAnswer(func(a *Answer) { a.Gone = true }) }

// LateAnswer lets the request have its effect and keeps the answer back for d, as
// a server that is slow to say so: a client that waits no longer knows nothing.
func LateAnswer(d time.Duration) ControlFunc { return changeAnswer(func(a *Answer) { a.Late = d }) }

// Delay makes the request wait d before it is done.
func Delay(d time.Duration) ControlFunc {
	return func(r *Request) bool {
		r.Delay(d)
		return true
	}
}

// Hold makes the request wait until ch is closed, in its slot of the mailbox.
func Hold(ch <-chan struct{}) ControlFunc {
	return func(r *Request) bool {
		r.Hold(ch)
		return true
	}
}

// AnswerWith answers with a status and body, and has no effect: for bodies that
// are not Graph's, such as a proxy's HTML page.
func AnswerWith(status int, contentType, body string) ControlFunc {
	return func(r *Request) bool {
		r.Answer(*plainAnswer(status, contentType, body))
		return true
	}
}

func plainAnswer(status int, contentType, body string) *Answer {
	a := &Answer{Status: status, Header: http.Header{}, Body: []byte(body)}
	if contentType != "" {
		a.Header.Set("Content-Type", contentType)
	}
	return a
}

// Redirect answers 302 (or another status) to a location, with no effect. With
// the address of another host it is a trap for clients that take their token
// along.
func Redirect(status int, location string) ControlFunc {
	return func(r *Request) bool {
		r.Answer(Answer{Status: status, Header: http.Header{"Location": {location}}})
		return true
	}
}

// AddHeader lets the request have its effect and puts a header on the answer:
// Retry-After on a 202, for example, which was seen on sendMail and is no order
// to send again (https://github.com/microsoftgraph/msgraph-sdk-java/issues/1487).
func AddHeader(name, value string) ControlFunc {
	return changeAnswer(func(a *Answer) {
		a.Header = a.Header.Clone()
		if a.Header == nil {
			a.Header = http.Header{}
		}
		a.Header.Set(name, value)
	})
}

// Sometimes lets fn see a request with a probability; the dice are seeded, so
// that the same order of requests gives the same faults.
func Sometimes(probability float64, seed uint64, fn ControlFunc) ControlFunc {
	var mu sync.Mutex
	dice := rand.New(rand.NewPCG(seed, 0))
	return func(r *Request) bool {
		mu.Lock()
		hit := dice.Float64() < probability
		mu.Unlock()
		return hit && fn(r)
	}
}
