//go:build unix

package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/sandbox"
)

// drainLimit is how long a worker may take to end after SIGTERM.
const drainLimit = 25 * time.Second

// drained makes a crowd whose first mailbox hangs, with a worker in the middle of
// its commands: those of the first mailbox are with Graph, which does not answer,
// and some of the others are done.
func drained(t *testing.T, others int, hanging ...string) (c *crowd, worker *process) {
	t.Helper()
	c = newCrowd(t, 40, 64, 200*time.Millisecond)
	stuck := make(chan struct{}, len(hanging))
	c.slow.Remove()
	hang := c.box.KeepControl(sandbox.Match{Method: "POST", Mailbox: c.people[0]}, func(r *sandbox.Request) bool {
		stuck <- struct{}{}
		r.Delay(time.Hour)
		return true
	})
	t.Cleanup(hang.Remove)
	c.delay()
	var list []crowdDraft
	for _, subject := range hanging {
		list = append(list, crowdDraft{c.people[0], subject})
	}
	for n := range others {
		list = append(list, crowdDraft{c.people[1+n%(len(c.people)-1)], fmt.Sprint("draft ", n)})
	}
	c.publish(false, list...)
	c.talkative()
	worker = c.join()
	for range hanging {
		select {
		case <-stuck:
		case <-worker.done:
			t.Fatalf("%s ended by itself", worker.name)
		case <-time.After(time.Minute):
			t.Fatal("Graph was not asked for what hangs")
		}
	}
	until(t, time.Minute, 5*time.Millisecond, "some of the commands to be done", func() bool { return len(c.made()) >= others/5 })
	return c, worker
}

// talkative has the workers log what they do.
func (c *crowd) talkative() {
	c.t.Helper()
	file := filepath.Join(c.dir, "outlook-connector.yaml")
	text, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(text, []byte("level: warn"), []byte("level: info"), 1), 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// outcomes are the outcomes that are stored, by id.
func (c *crowd) outcomes() map[string]string {
	c.t.Helper()
	found := map[string]string{}
	c.each("OUTLOOK_RESULT", func(m *jetstream.RawStreamMsg) {
		var outcome struct{ ID, Outcome string }
		if err := json.Unmarshal(m.Data, &outcome); err != nil {
			c.t.Fatal(err)
		}
		found[strings.TrimPrefix(m.Subject, "outlook.result.")] = outcome.Outcome
	})
	return found
}

// waiting are the ids of the commands that are in the queue.
func (c *crowd) waiting() map[string]struct{} {
	c.t.Helper()
	found := map[string]struct{}{}
	c.each("OUTLOOK_PUBLISH", func(m *jetstream.RawStreamMsg) { found[fmt.Sprintf("OUTLOOK_PUBLISH-%d", m.Sequence)] = struct{}{} })
	return found
}

// each looks at all messages of a stream.
func (c *crowd) each(name string, see func(*jetstream.RawStreamMsg)) {
	c.t.Helper()
	stream, err := c.js.Stream(c.t.Context(), name)
	if err != nil {
		c.t.Fatal(err)
	}
	state := stream.CachedInfo().State
	for seq := state.FirstSeq; seq <= state.LastSeq && state.Msgs > 0; seq++ {
		if m, err := stream.GetMsg(c.t.Context(), seq); err == nil {
			see(m)
		}
	}
}

// TestProofDrain ends a worker in the middle of a load, with a Graph that does
// not answer some of its requests: it is gone within 25 s, what it finished is
// not given out again, and the next worker does the rest.
func TestProofDrain(t *testing.T) {
	together(t)
	others := pick(600, 4_000)
	hanging := []string{"hangs 1", "hangs 2", "hangs 3"}
	c, worker := drained(t, others, hanging...)
	at := time.Now()
	worker.signal(syscall.SIGTERM)
	select {
	case <-worker.done:
	case <-time.After(2 * drainLimit):
		t.Fatalf("it did not end within %s", 2*drainLimit)
	}
	took := time.Since(at)
	if worker.err != nil || took > drainLimit {
		t.Errorf("it ended %s after SIGTERM: %v", took, worker.err)
	}
	finished, left := c.outcomes(), c.waiting()
	made := len(c.made())
	again := 0
	for id := range finished {
		if _, there := left[id]; there {
			again++
		}
	}
	if again > 0 {
		t.Errorf("%d of %d finished commands are in the queue and would be given out again", again, len(finished))
	}
	if len(finished)+len(left) != others+len(hanging) || len(left) < others/10 || made > len(finished) {
		t.Errorf("%d finished, %d left, %d drafts of %d commands", len(finished), len(left), made, others)
	}
	t.Logf("ended %.1f s after SIGTERM; of %d commands %d were finished, %d of them are to be redelivered, %d are left to others",
		took.Seconds(), others+len(hanging), len(finished), again, len(left))

	next := c.join()
	until(t, 2*time.Minute, 50*time.Millisecond, "the next worker to do the rest", func() bool { return len(c.waiting()) == 0 })
	ends := map[string]int{}
	for _, outcome := range c.outcomes() {
		ends[outcome]++
	}
	// What hung may have had its effect, and at_most_once asks for no second try.
	if want := map[string]int{"done": others, "uncertain": len(hanging)}; !maps.Equal(ends, want) {
		t.Errorf("outcomes %v, want %v", ends, want)
	}
	if n := len(c.made()); n != others {
		t.Errorf("%d drafts, want %d", n, others)
	}
	c.check(c.made())
	next.stop()
}

// TestProofSecondSignal has a person who does not want to wait.
func TestProofSecondSignal(t *testing.T) {
	together(t)
	_, worker := drained(t, 20, "hangs")
	worker.signal(syscall.SIGINT)
	// It has taken the first one when it takes no more work.
	until(t, 10*time.Second, 10*time.Millisecond, "the worker to be on its way down", func() bool {
		_, ok := worker.logged("stopping")
		return ok
	})
	at := time.Now()
	worker.signal(syscall.SIGINT)
	select {
	case <-worker.done:
	case <-time.After(drainLimit):
		t.Fatal("the second signal did not end it")
	}
	if took := time.Since(at); took > 2*time.Second || worker.err == nil {
		t.Errorf("it ended %s after the second signal: %v", took, worker.err)
	}
}

// TestProofDrainWithoutNATS has neither side answer: Graph hangs and NATS went.
func TestProofDrainWithoutNATS(t *testing.T) {
	together(t)
	c, worker := drained(t, 40, "hangs")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), drainLimit)
	defer cancel()
	if err := c.server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	worker.signal(syscall.SIGTERM)
	select {
	case <-worker.done:
	case <-time.After(2 * drainLimit):
		t.Fatalf("it did not end within %s", 2*drainLimit)
	}
	took := time.Since(at)
	if took > drainLimit {
		t.Errorf("it ended %s after SIGTERM", took)
	}
	t.Logf("ended %.1f s after SIGTERM: %v", took.Seconds(), worker.err)
}
