package sdktest_test

import (
	"net/http"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// repeating is a client of the SDK that sends a body again as it was.
//
// Not every one does. kiota-http-go 1.5 puts its handlers in the order of a
// map, anew for each client. Where the one that retries comes before the one
// that compresses, the first try marks the shared headers as gzip, and the
// second sends the plain body under that mark; Graph cannot read it, nor can
// the sandbox (400). Where it comes after, the repetition is as good as the
// first. Which one a client is shows only when it has to retry.
func (w *world) repeating(upn string) *sdk {
	w.t.Helper()
	for range 100 {
		rule := w.Control(sandbox.Match{Method: http.MethodPost, Route: "/me/messages", Mailbox: upn}, far(sandbox.FailBefore(http.StatusServiceUnavailable, "ServiceUnavailable", "0")))
		c := w.as(upn)
		_, err := c.me.Messages().Post(w.t.Context(), mail("A probe", upn), nil)
		same(w.t, "the probe was refused at first", rule.Hits(), 1)
		if err == nil {
			return c
		}
	}
	w.t.Fatal("no client of a hundred repeats a body as it was")
	return nil
}

// far makes an answer as slow as one from the network. The SDK rewinds a body as
// soon as the answer is there; on loopback net/http is now and then still looking
// for the body's end at that moment, and the repetition goes out empty.
func far(fn sandbox.ControlFunc) sandbox.ControlFunc {
	return func(r *sandbox.Request) bool {
		r.Delay(30 * time.Millisecond)
		return fn(r)
	}
}

// A gateway gives up on a sendMail that the mailbox did accept. The SDK cannot
// tell, sends it again, and the mail goes out twice; the caller hears of a
// success. That is why the product has a client of its own.
func TestTheSDKSendsTwiceAfterOneLostAnswer(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.repeating(ann)
	w.Control(sandbox.Match{Method: http.MethodPost, Route: "/me/sendMail"}, far(sandbox.FailAfterEffect(http.StatusGatewayTimeout, "UnknownError")))
	ok(t, c.send(t, mail("Invoice", ben), true), "sendMail")
	same(t, "mails sent", w.sent("Invoice"), 2)
	eventually(t, "both arrive", func() bool { return len(w.as(ben).in(t, "inbox")) == 2 })
}

// The same with a gateway that never sees an answer: one sendMail, an error to
// the caller, and four mails out, as a user of Graph did report.
func TestTheSDKSendsFourTimesAndReportsAnError(t *testing.T) {
	t.Parallel()
	w := start(t)
	c := w.repeating(ann)
	w.KeepControl(sandbox.Match{Method: http.MethodPost, Route: "/me/sendMail"}, far(func(r *sandbox.Request) bool {
		sandbox.FailAfterEffect(http.StatusGatewayTimeout, "UnknownError")(r)
		r.After(func(a *sandbox.Answer) { a.Header.Set("Retry-After", "1") }) // without it the test takes half a minute
		return true
	}))
	refused(t, c.send(t, mail("Invoice", ben), true), http.StatusGatewayTimeout, "UnknownError")
	same(t, "mails sent", w.sent("Invoice"), 4)
}
