//go:build unix

package proof_test

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// TestProofFrozenWorker freezes a worker with pages in its hands for so long that
// another one takes its feeds over and tells everything, and lets it wake up
// then: it must not tell anything of what it has in hand. The tokens are another
// process's: a worker that is frozen with the token store in its hand does not
// give it to anybody, and a new worker gets no token.
func TestProofFrozenWorker(t *testing.T) {
	together(t)
	c := newCrew(t, 4, mailSubscriptions)
	l := c.populate(mailPlans(), 400)
	scopes := mailScopes(l)
	c.graph.slow("GET", "/me/mailFolders/{id}/messages/delta", 150*time.Millisecond)
	first := c.hire()
	c.up(first)
	v, witness, stopReading := c.watch()
	defer stopReading()
	agree := func(what string, within time.Duration) {
		t.Helper()
		if !waited(t.Context(), within, 100*time.Millisecond, func() bool { return v.agree(l.ledger, scopes) }) {
			t.Errorf("%s, the view was not the truth within %s", what, within)
		}
	}
	agree("at the start", 30*time.Second)
	rounds, least := pick(1, 6), pick(ackWait+time.Second, 2*ackWait+time.Second)
	kept := 0
	for round := range rounds {
		alive := l.ledger.count()
		changes := make(chan error, 1)
		go func() { changes <- l.live(t.Context(), *seed+uint64(round), alive+600, 200) }()
		// Its hands must be full: a page under way, or a batch. One that does not
		// poll now would have nothing that it could tell when it wakes up.
		if c.dice.IntN(2) == 0 || rounds == 1 {
			until(t, 20*time.Second, time.Millisecond, "a page under way", func() bool { return c.open() > 1 })
		} else {
			select {
			case <-witness.sight(1+c.dice.IntN(20), func(m *nats.Msg) bool { return isEvent(m) || isCursor(m) }):
			case <-time.After(20 * time.Second):
				t.Error("no event came for 20 s")
			}
		}
		first.signal(syscall.SIGSTOP)
		at := time.Now()
		second := c.hire()
		if err := <-changes; err != nil {
			t.Fatal(err)
		}
		agree(fmt.Sprintf("%s was frozen; with %s", first.name, second.name), 90*time.Second)
		took := time.Since(at)
		pause(t.Context(), least-took)
		told := v.count()
		first.signal(syscall.SIGCONT)
		pause(t.Context(), pick(4*time.Second, 10*time.Second))
		if now := v.count(); now != told {
			t.Errorf("%s woke up, and %d events came of which nobody had anything to tell", first.name, now-told)
		}
		first.alive()
		kept += c.fenced(first)
		t.Logf("round %d: %s was frozen for %.1f s, %s had told all after %.1f s", round, first.name, time.Since(at).Seconds(), second.name, took.Seconds())
		first.stop()
		first = second
	}
	stopReading()
	c.check(v, l, scopes)
	c.complete(v, witness)
	first.stop()
	c.owner.stop()
	for _, p := range c.workers {
		report(t, p.stumbles())
	}
	t.Logf("pages and batches that a woken worker had in hand and was refused: %d", kept)
	if kept == 0 {
		t.Error("no woken worker had anything in hand: the run proves nothing")
	}
}

// fenced says how many polls of a worker were refused because another one had
// moved the cursor.
func (c *crew) fenced(p *process) (n int) {
	c.t.Helper()
	text, err := c.get(c.t.Context(), c.up(p)+"/metrics")
	if err != nil {
		c.t.Error(err)
	}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		if strings.HasPrefix(name, "outlook_polls_total{") && strings.Contains(name, `result="fenced"`) {
			times, err := strconv.Atoi(value)
			if err != nil {
				c.t.Error(err)
			}
			n += times
		}
	}
	return n
}
