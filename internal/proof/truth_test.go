//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/sandbox"
)

var changes = flag.Int("changes", 0, "entity changes of the truth proof, such as 20000; 0: 2,500, and 1,000,000 in the long form")

// TestProofTruth lets people live in their mailboxes while Graph fails, workers
// are killed and frozen and the NATS server is killed, and then compares what a
// consumer knows from the events with what there is.
func TestProofTruth(t *testing.T) {
	together(t)
	size := *changes
	if size == 0 {
		size = pick(2500, 1_000_000)
	}
	people, rate := pick(10, 50), pick(100.0, 1500)
	if size > 10_000 && !*long {
		people, rate = 50, 400
	}
	span := time.Duration(float64(size) / rate * float64(time.Second))
	c := newCrew(t, people, allSubscriptions, "--partial-updates")
	c.owner.stop() // each of the workers can own the tokens
	l := c.populate(allPlans(), size/20)
	scopes := allScopes(l)
	for range 4 {
		c.hire()
	}
	v, witness, stopReading := c.watch()
	defer stopReading()

	began := time.Now()
	c.weather(c.dice)
	troubling, calm := context.WithCancel(t.Context())
	troubled := make(chan struct{})
	// A server that was killed has forgotten the slots of the mailboxes, so that
	// nothing is asked of Graph for 15 s: the short form kills it once.
	is := crisis{strike: time.Second, restart: 6 * time.Second, restarts: 1}
	if span > 40*time.Second { // a frozen worker has a proof of its own, which has a short form
		is = crisis{strike: time.Second, restart: min(time.Minute, span/2), frozen: 2*ackWait + time.Second}
	}
	if tellsLosses {
		is.lose = 2 * time.Second
	}
	go func() { defer close(troubled); c.trouble(troubling, *seed, is) }()
	if err := l.live(t.Context(), *seed, size, rate); err != nil {
		t.Error(err)
	}
	lived := time.Since(began)
	calm()
	<-troubled
	c.look(l, scopes)
	hits, asked := c.clear(), c.graph.stats().Requests
	c.settle(v, l, scopes)
	stopReading()
	c.check(v, l, scopes)
	c.complete(v, witness)

	did := l.ledger.count()
	t.Logf("%d mailboxes, %d changes (%s) by %d acts in %.0f s: %.0f/s; refused acts %v", people, did, l.ledger.tally(), l.acts, span.Seconds(), float64(did)/lived.Seconds(), l.refused)
	t.Logf("kills of workers %d, of NATS %d, freezes %d; requests %d, with a fault %d; %.0f s, seed %d", c.kills, c.restarts, c.freezes, asked, hits, time.Since(began).Seconds(), *seed)
	if least := int(lived.Seconds() / 4); c.kills < least || c.restarts == 0 || is.frozen > 0 && c.freezes == 0 || hits < 5 {
		t.Errorf("%d kills, %d restarts, %d freezes and %d faults are too few: the run proves nothing", c.kills, c.restarts, c.freezes, hits)
	}
	for _, p := range c.working {
		p.stop()
	}
	for _, p := range c.workers {
		report(t, p.stumbles())
	}
}

// ackWait is after how long the work of a dead worker goes to another.
const ackWait = 15 * time.Second

// mailSubscriptions are the subscriptions to the mail of everybody: to single
// folders, and to several by their names.
func mailSubscriptions(g *graph) string {
	const form = "  - {name: %s, client: contoso, entity: mail.message.delta, %s, mailboxes: %s, every: %s, start: all, query: {$select: \"subject,isRead,parentFolderId,receivedDateTime\"}}\n"
	every := pick("1s", "3s")
	yaml := fmt.Sprintf(form, "inbox", "path: {mailFolder-id: inbox}", everybody(g.People), every)
	return yaml + fmt.Sprintf(form, "mail", fmt.Sprintf(`folders: [inbox, archive, "%s/**", "!%s/%s*"]`, projects, projects, off), everybody(g.People), every)
}

// mailScopes are what those subscriptions are about.
func mailScopes(l *life) []*scope {
	return []*scope{inboxScope(l, "inbox"), {
		subscription: "mail", what: "message",
		inside: func(mailbox, in string) bool {
			known := l.byUPN[mailbox].known
			return in == known["inbox"] || in == known["archive"]
		},
		named: meant,
		root:  func(mailbox string) string { return l.byUPN[mailbox].known["msgfolderroot"] },
	}}
}

// inboxScope is what lies in one well-known folder, after which the subscription
// is called.
func inboxScope(l *life, name string) *scope {
	return &scope{subscription: name, what: "message", inside: func(mailbox, in string) bool { return l.byUPN[mailbox].known[name] == in }}
}

// allSubscriptions are those to mail, calendars and contacts of everybody, and to
// the first list of tasks of the one who signs in.
func allSubscriptions(g *graph) string {
	var lists struct{ Value []struct{ ID string } }
	answer := struct{ Acts []sandbox.Acted }{}
	g.must(http.MethodPost, "act", map[string]any{"acts": []sandbox.Act{{Mailbox: person, Method: http.MethodGet, Path: "todo/lists"}}}, &answer)
	if err := json.Unmarshal(answer.Acts[0].Body, &lists); err != nil || len(lists.Value) == 0 {
		g.t.Fatalf("%s has no list of tasks: %s", person, answer.Acts[0].Body)
	}
	every, all := pick("1s", "5s"), everybody(g.People)
	return mailSubscriptions(g) +
		fmt.Sprintf("  - {name: calendar, client: contoso, entity: calendar.event.delta, mailboxes: %s, every: %s, start: all, query: {startDateTime: %q, endDateTime: %q}}\n",
			all, every, windowFrom.Format(time.RFC3339), windowTo.Format(time.RFC3339)) +
		fmt.Sprintf("  - {name: contacts, client: contoso, entity: contacts.contact.delta, folders: [contacts, Friends], mailboxes: %s, every: %s, start: all}\n", all, every) +
		fmt.Sprintf("  - {name: tasks, client: contoso, entity: todo.task.delta, path: {todoTaskList-id: %q}, mailboxes: [me], every: %s, start: all}\n", lists.Value[0].ID, every)
}

// allScopes are what those subscriptions are about.
func allScopes(l *life) []*scope {
	return append(mailScopes(l),
		&scope{subscription: "calendar", shown: map[string]map[string]int64{}},
		&scope{subscription: "contacts", what: "contact", inside: func(mailbox, in string) bool {
			b := l.byUPN[mailbox]
			return in == b.contacts || in == b.circles[0]
		}},
		&scope{subscription: "tasks", what: "todoTask", blind: true, inside: func(_, in string) bool { return in == l.byUPN[person].lists[0] }},
	)
}

// look takes down what the calendars show when the life is over.
func (c *crew) look(l *life, scopes []*scope) {
	c.t.Helper()
	for _, s := range scopes {
		if s.shown == nil {
			continue
		}
		for _, b := range l.boxes {
			var err error
			if s.shown[b.upn], err = l.calendar(b); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// watch begins to read the events. The function ends that, and waits.
func (c *crew) watch() (*view, *witness, func()) {
	c.t.Helper()
	w, v := newWitness(c.t, listener{URL: "nats://" + c.natsAddress}), newView(person)
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); v.follow(ctx, w.js) }()
	return v, w, func() { cancel(); <-done }
}

// populate begins a life: so many changes before anybody looks.
func (c *crew) populate(plans []plan, before int) *life {
	c.t.Helper()
	l, err := newLife(c.t.Context(), c.graph, plans)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, b := range l.boxes {
		c.done(l, []sandbox.Act{b.act(http.MethodPost, "mailFolders", map[string]any{"displayName": projects})})
		b.furnish(c, l)
	}
	if err := l.live(c.t.Context(), *seed^1, before, 1e6); err != nil {
		c.t.Fatal(err)
	}
	return l
}

// settle waits until the view is the truth, or nothing has come for longer than
// the work of a killed worker takes to be taken up.
func (c *crew) settle(v *view, l *life, scopes []*scope) {
	c.t.Helper()
	const patience = 60 * time.Second
	began := time.Now()
	waited(c.t.Context(), 10*time.Minute, 500*time.Millisecond, func() bool {
		return v.agree(l.ledger, scopes) || v.quiet() > patience && time.Since(began) > patience
	})
	c.t.Logf("the view stood still or was the truth %.1f s after the life", time.Since(began).Seconds())
	// What is there twice may come late: leave the feeds a few more polls.
	pause(c.t.Context(), 3*time.Second)
}

// check compares the view with the truth, and the truth by the ledger with what
// Graph lists now.
func (c *crew) check(v *view, l *life, scopes []*scope) verdict {
	c.t.Helper()
	if err := l.audit(c.t.Context()); err != nil {
		c.t.Fatalf("the ledger is not the truth: %v", err)
	}
	f, problems := v.judge(l.ledger, scopes)
	report(c.t, problems)
	c.t.Logf("events %d %v: items in the end %d, lost %d, not removed %d, stale %d, ids twice %d, out of order %d, deletions %d, of them unverified %d, and wrong %d; of what had gone to a folder just heard of %d",
		f.events, v.kinds, f.items, f.lost, f.ghosts, f.stale, f.twice, f.disorder, f.deletions, f.doubted, f.mistaken, f.early)
	if len(v.where) > 0 {
		c.t.Logf("differences in the end, by feed: %v", v.where)
	}
	return f
}

// complete checks that the view has read all events that are stored, and that
// nothing became a dead letter.
func (c *crew) complete(v *view, w *witness) {
	c.t.Helper()
	n, err := w.count(c.t.Context(), "OUTLOOK_EVENTS", "outlook.event.>")
	if err != nil || n != uint64(v.events) {
		c.t.Errorf("the stream has %d events (%v), the view has read %d", n, err, v.events)
	}
	err = w.each(c.t.Context(), "OUTLOOK_DLQ", ">", func(m *jetstream.RawStreamMsg) {
		c.t.Errorf("a dead letter on %s: %s", m.Subject, m.Data)
	})
	if err != nil {
		c.t.Error(err)
	}
	var usage runtime.MemStats
	runtime.ReadMemStats(&usage)
	c.t.Logf("the view and the ledger hold %d MiB", usage.HeapAlloc>>20)
}
