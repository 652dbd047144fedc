package worker_test

import (
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/health"
	"outlook-connector/internal/jet"
	"outlook-connector/worker"
)

// TestNATSIsTheOnlyCauseWhileItIsAway has everything else fail because of it, in
// /readyz, on the page and in the metrics alike.
func TestNATSIsTheOnlyCauseWhileItIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	server := w.startNATS(address)
	r := w.start(w.config(setting{nats: external(address)})).signedIn().primed()
	server.stop()
	until(t, "NATS to be missed", func() bool { return !r.condition("nats").OK })
	_, ready, conditions := r.readyz()
	if c := conditions["streams"]; ready || c.OK || c.Because != "nats" || c.Severity != health.High {
		t.Errorf("streams: %+v", c)
	}
	for code, c := range conditions {
		if !c.OK && code != "nats" && c.Because != "nats" {
			t.Errorf("%s fails by itself: %+v", code, c)
		}
	}
	if got := health.Summary(r.status().Conditions); got != "not ready: nats" {
		t.Errorf("summary: %s", got)
	}
	if _, page := r.get("/"); strings.Count(page, `<article class="cause`) != 1 || !strings.Contains(page, "Because of it: ") {
		t.Errorf("the page has not one cause:\n%s", page)
	}
	_, metrics := r.get("/metrics")
	for _, want := range []string{`outlook_conditions{client="",code="nats",severity="high"} 1`, `outlook_conditions{client="",code="streams",severity="high"} 0`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the metrics do not have %s", want)
		}
	}
	w.startNATS(address)
	r.ready()
}

func TestACertificateThatEndsSoonIsAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{clients: w.certified()}), func(o *worker.Options) { worker.LookAtStreamsEvery(o, 100*time.Millisecond) }).signedIn()
	c := r.condition("credential/certified")
	if c.OK || c.Severity != health.Warning || !strings.Contains(c.Cause, "certificate of client certified ends on ") || c.Hint == "" {
		t.Errorf("condition %+v", c)
	}
	if list := r.Conditions(t.Context()); !health.Ready(list) || !strings.Contains(health.Summary(list), "to be looked at: credential/certified") {
		t.Errorf("summary: %s", health.Summary(list))
	}
	if c := r.condition("credential/contoso"); !c.OK {
		t.Errorf("of a client without one: %+v", c)
	}
	until(t, "the queue to be known", func() bool { q := r.status().Queue; return q != nil && q.Ready == 0 && q.Uncertain == 0 })
}

// TestCommandsThatWaitForTheirTimeAreNotReady is what an autoscaler goes by.
func TestCommandsThatWaitForTheirTimeAreNotReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	address := freeAddress(t)
	w.startNATS(address)
	quick := func(o *worker.Options) { worker.LookAtStreamsEvery(o, 100*time.Millisecond) }
	reader := w.start(w.config(setting{nats: external(address)}), quick, func(o *worker.Options) {
		o.Roles = []worker.Role{worker.RoleSubscriber, worker.RoleTokens, worker.RoleHTTP}
	}).signedIn()
	later := jet.Header{"Outlook-Not-Before": {time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}}
	for range 3 {
		reader.publish("send-mail", later, mail("later"))
	}
	seen := func(ready, held string) func() bool {
		return func() bool {
			_, text := reader.get("/metrics")
			return strings.Contains(text, "outlook_commands_ready "+ready+"\n") && strings.Contains(text, "outlook_commands_held "+held+"\n")
		}
	}
	until(t, "three commands that nobody has looked at", seen("3", "0"))
	writer := w.start(w.config(setting{nats: external(address), http: freeAddress(t), tokens: "./other.db"}), quick, func(o *worker.Options) {
		o.Roles = []worker.Role{worker.RolePublisher}
	})
	until(t, "three commands that wait for their time", seen("0", "3"))
	writer.stop()
}
