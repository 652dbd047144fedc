//go:build unix

package proof_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// TestProofHeadOfLine stores many commands for one mailbox first, and then some
// for each of many others. The others must be served as if the one were not
// there: it may use its four requests at a time and nothing else.
func TestProofHeadOfLine(t *testing.T) {
	together(t)
	const workers = 2
	hot, others, each := pick(3_000, 200_000), pick(100, 1_000), pick(20, 40)
	inFlight, latency := pick(16, 64), pick(200*time.Millisecond, 500*time.Millisecond)
	c := newCrowd(t, others+1, inFlight, latency)
	began := time.Now()
	list := make([]crowdDraft, 0, hot+others*each)
	for n := range hot {
		list = append(list, crowdDraft{c.people[0], fmt.Sprint("hot ", n)})
	}
	for n := range each {
		for _, mailbox := range c.people[1:] {
			list = append(list, crowdDraft{mailbox, fmt.Sprint(mailbox, " ", n)})
		}
	}
	c.publish(false, list...)
	t.Logf("%d commands stored in %.1f s", len(list), time.Since(began).Seconds())

	for range workers {
		c.join()
	}
	total := others * each
	until(t, time.Minute, 20*time.Millisecond, "the work to begin", func() bool { return len(c.made()) > 0 })
	start := c.made()[0].Time
	var made []sandbox.Effect
	until(t, pick(4*time.Minute, 30*time.Minute), 100*time.Millisecond, "the others to be done", func() bool {
		made = c.made()
		return count(made, isOther) >= total
	})
	// With every place of every worker full all the time, but for the four that
	// the hot mailbox may use.
	ideal := float64(total) * latency.Seconds() / float64(workers*inFlight)
	var took []float64
	for _, e := range made {
		if isOther(e) {
			took = append(took, e.Time.Sub(start).Seconds()+latency.Seconds())
		}
	}
	slices.Sort(took)
	p50, last := took[len(took)/2], took[len(took)-1]
	done := count(made, func(e sandbox.Effect) bool { return !isOther(e) })
	allowed := 4 * last / latency.Seconds()
	deliveries, held := c.deliveries()
	t.Logf("the others: half in %.1f s (%.2f of the ideal), the last in %.1f s (%.2f of the ideal)", p50, 2*p50/ideal, last, last/ideal)
	t.Logf("the hot mailbox meanwhile: %d of %d done, %.0f %% of what it may; %.2f deliveries for each command, %d held",
		done, hot, 100*float64(done)/allowed, float64(deliveries)/float64(len(list)), held)
	c.check(made)
	if done > hot/2 {
		t.Errorf("%d of %d commands of the hot mailbox were done before the last of the others", done, hot)
	}
	if float64(done) < allowed/pick(4.0, 2.0) {
		t.Errorf("the hot mailbox got %d of the %.0f requests that it may make", done, allowed)
	}
	if most := pick(6.0, 10.0); float64(deliveries) > most*float64(len(list)) {
		t.Errorf("%d deliveries of %d commands", deliveries, len(list))
	}
	if *long && (2*p50 > 1.5*ideal || last > 2*ideal) {
		t.Errorf("the others were held up: half in %.1f s, the last in %.1f s, ideally in %.1f s", p50, last, ideal)
	}
}

func isOther(e sandbox.Effect) bool { return !strings.HasPrefix(e.Subject, "hot ") }

func count[T any](list []T, is func(T) bool) (n int) {
	for _, one := range list {
		if is(one) {
			n++
		}
	}
	return n
}

// TestProofLanes has many mailboxes whose commands are ordered by their
// subjects. Each mailbox's are done in their order and one at a time, by whatever
// workers there are, while one of the workers is killed and joined again, and a
// mailbox is told to wait.
func TestProofLanes(t *testing.T) {
	together(t)
	mailboxes, each := pick(40, 1_000), pick(8, 10)
	latency := pick(50*time.Millisecond, 100*time.Millisecond)
	c := newCrowd(t, mailboxes, 64, latency)
	list := make([]crowdDraft, 0, mailboxes*each)
	for n := range each {
		for _, mailbox := range c.people {
			list = append(list, crowdDraft{mailbox, fmt.Sprintf("%03d %s", n, mailbox)})
		}
	}
	c.publish(true, list...)
	total := mailboxes * each
	c.join()
	victim := c.join()
	until(t, time.Minute, 20*time.Millisecond, "the work to begin", func() bool { return len(c.made()) > 0 })
	start := c.made()[0].Time
	c.throttle(c.people[0], 2*time.Second)
	until(t, time.Minute, 20*time.Millisecond, "some to be done", func() bool { return len(c.made()) > total/4 })
	victim.kill()
	c.join()
	// A command whose worker was killed in the middle of it ends as uncertain, and
	// its lane goes on.
	until(t, pick(2*time.Minute, 10*time.Minute), 100*time.Millisecond, "all to have ended", func() bool {
		stream, err := c.js.Stream(t.Context(), "OUTLOOK_PUBLISH")
		return err == nil && stream.CachedInfo().State.Msgs == 0
	})
	made := c.made()
	t.Logf("%d of %d drafts in %d lanes in %.1f s", len(made), total, mailboxes, made[len(made)-1].Time.Sub(start).Seconds())
	if len(made) < total-64 { // what was in the hands of the one that was killed
		t.Errorf("only %d of %d were made", len(made), total)
	}
	last := map[string]string{}
	for _, e := range made {
		if before := last[e.Mailbox]; before >= e.Subject {
			t.Errorf("%q was made after %q", e.Subject, before)
		}
		last[e.Mailbox] = e.Subject
	}
	for _, s := range c.box.Stats().Mailboxes {
		if s.MaxConcurrency > 1 {
			t.Errorf("%s had %d requests at once", s.Mailbox, s.MaxConcurrency)
		}
	}
	c.check(made)
}
