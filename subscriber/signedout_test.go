package subscriber_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/subscriber"
)

func TestASignedOutClientIsSaidOnceForAllItsFeeds(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Mailboxes = nil
	for i := range 20 {
		sub.Mailboxes = append(sub.Mailboxes, fmt.Sprintf("m%02d@contoso.example", i))
	}
	var log bytes.Buffer
	r := newRig(t, sub, func(o *subscriber.Options) {
		o.Log = slog.New(slog.NewTextHandler(&log, nil)) // debug is left out
	})
	pollAll := func() {
		for _, name := range sub.Mailboxes {
			r.feed.Mailbox = name
			r.poll(t)
		}
	}
	count := func(when, text string, want int) {
		t.Helper()
		if n := strings.Count(log.String(), text); n != want {
			t.Errorf("%s: %d times %q in the log:\n%s", when, n, text, log.String())
		}
	}
	for range 2 { // the second time as the first
		log.Reset()
		r.script.set("", page{err: fault.New(fault.Reauth, "nobody has signed in")})
		pollAll()
		pollAll()
		count("signed out", "poll failed", 1)
		r.script.set("", page{delta: "d"})
		r.script.set("d", page{delta: "d"})
		pollAll()
		count("signed in", "feed recovered", 1)
		for feed := range r.stream.cursors {
			delete(r.stream.cursors, feed)
		}
	}
	log.Reset()
	r.script.set("", page{err: fault.New(fault.Poison, "403")})
	pollAll()
	count("another failure", "poll failed", len(sub.Mailboxes))
}
