//go:build unix

package proof_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestProofHotMailbox has a few mailboxes each of which has more to do than it
// may: workers must use what is allowed, four requests at a time, and now and
// then nothing for as long as a Retry-After says; never more.
func TestProofHotMailbox(t *testing.T) {
	together(t)
	mailboxes, each := pick(2, 3), pick(400, 4_000)
	latency, asked := 100*time.Millisecond, pick(2*time.Second, 5*time.Second)
	every := pick(3*time.Second, 30*time.Second)
	c := newCrowd(t, mailboxes, 64, latency)
	list := make([]crowdDraft, 0, mailboxes*each)
	for _, mailbox := range c.people {
		for n := range each {
			list = append(list, crowdDraft{mailbox, fmt.Sprint(mailbox, " ", n)})
		}
	}
	c.publish(false, list...)
	for range pick(2, 4) {
		c.join()
	}
	total := mailboxes * each
	until(t, time.Minute, 20*time.Millisecond, "the work to begin", func() bool { return len(c.made()) > total/20 })
	throttled, n := time.Now(), 0
	// Not too often: to look at all that was done takes time that the others need.
	until(t, pick(4*time.Minute, 20*time.Minute), 200*time.Millisecond, "all to be done", func() bool {
		done := len(c.made())
		if time.Since(throttled) > every && done < total*8/10 {
			throttled = time.Now()
			c.throttle(c.people[n%mailboxes], asked)
			n++
		}
		return done >= total
	})
	var sum float64
	for _, mailbox := range c.people {
		rate := c.rate(mailbox, latency, asked)
		t.Logf("%s: %.1f %% of the allowed rate", mailbox, rate)
		sum += rate
	}
	rate := sum / float64(mailboxes)
	t.Logf("%d mailboxes, %d workers: %.1f %% of the allowed rate, %d times told to wait", mailboxes, len(c.workers), rate, n)
	deliveries, _ := c.deliveries()
	t.Logf("%.2f deliveries for each command", float64(deliveries)/float64(total))
	c.check(c.made())
	if n == 0 {
		t.Error("nobody was told to wait")
	}
	if rate < pick(40.0, 95.0) {
		t.Errorf("%.1f %% of the allowed rate", rate)
	}
	if most := pick(12.0, 8.0); float64(deliveries) > most*float64(total) {
		t.Errorf("%d deliveries of %d commands", deliveries, total)
	}
}

// rate is how much of what a mailbox may it did, in percent, from the time when
// it had done a twentieth of its commands until nine tenths.
func (c *crowd) rate(mailbox string, latency, asked time.Duration) float64 {
	c.t.Helper()
	var times []time.Time
	for _, e := range c.made() {
		if e.Mailbox == mailbox {
			times = append(times, e.Time)
		}
	}
	from, to := len(times)/20, len(times)*9/10
	began, ended := times[from], times[to]
	open := ended.Sub(began)
	for _, call := range c.box.Requests() {
		if call.Mailbox == mailbox && call.Status == http.StatusTooManyRequests && call.Finished.After(began) && call.Finished.Before(ended) {
			open -= min(asked, ended.Sub(call.Finished))
		}
	}
	return 100 * float64(to-from) / (4 * open.Seconds() / latency.Seconds())
}
