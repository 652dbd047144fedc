//go:build unix

package proof_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"outlook-connector/internal/jet/embedded"
)

// takeover is within what time a worker must have gone on with the work of one
// that was killed.
const takeover = 30 * time.Second

// TestProofTwoWorkers runs two workers with one configuration on one NATS
// server that is neither's, and kills the one that holds the token store. The
// long form does it again and again, and freezes workers, too: one that wakes up
// after its work was given to the other must not do it again.
func TestProofTwoWorkers(t *testing.T) {
	together(t)
	began := time.Now()
	server := startNATS(t)
	w := newWorld(t, setting{people: 4, everybody: true, natsURL: server.URL()})
	w.graph.slow("POST", "/me/sendMail", 120*time.Millisecond)
	w.graph.slow("GET", "/me/mailFolders/{id}/messages/delta", 120*time.Millisecond)

	first := w.join()
	if first.role(w) != "owner" {
		t.Fatalf("the only worker is %q of the tokens", first.role(w))
	}
	w.signIn(first.address)
	second := w.join()
	if role := second.role(w); role != "client" {
		t.Fatalf("the second worker is %q of the tokens, want client", role)
	}
	witness := newWitness(t, listener{URL: server.URL()})
	tr := newTraffic(w, witness, w.graph.People...)
	tr.loops = true
	tr.wave(t.Context(), pick(60, 200), pick(20, 60), pick(4*time.Second, 15*time.Second))
	until(t, 2*takeover, 100*time.Millisecond, "both workers to poll and to send", func() bool {
		a, b := first.work(w), second.work(w)
		return min(a.polls, a.commands, b.polls, b.commands) > 0
	})
	for _, m := range []*member{first, second} {
		did := m.work(w)
		t.Logf("%s, %s of the tokens: %.0f polls, %.0f commands done", m.name, m.role(w), did.polls, did.commands)
	}

	unclear := 4 // the requests that a mailbox has under way at most
	w.bequeath(tr, first, second)
	for range pick(0, 3) {
		first, second = second, w.join()
		w.freeze(tr, []*member{first, second}[w.dice.IntN(2)])
		w.bequeath(tr, first, second)
		unclear += 2 * 4
	}
	tr.wait()
	settle(t, tr, witness)
	e := gather(t, tr, witness)
	f, problems := e.judge(unclear)
	report(t, problems)
	w.checkGrant(second.address)
	for _, p := range w.workers {
		select {
		case <-p.done:
		default:
			p.stop()
		}
		report(t, p.stumbles())
	}
	t.Logf("incoming %d, events %d, lost %d, repeated %d", f.incoming, f.events, f.lost, f.repeated)
	t.Logf("outgoing %d, done %d, uncertain %d (%d of them sent), failed %d, without outcome %d; mails sent %d, sent twice %d; %.0f seconds",
		f.outgoing, f.done, f.uncertain, f.effectsOfUncertain, f.failed, f.missing, f.effects, f.twice, time.Since(began).Seconds())
}

// startNATS starts a server that belongs to no worker.
func startNATS(t *testing.T) *embedded.Server {
	t.Helper()
	server, err := embedded.Start(t.Context(), embedded.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Open: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Errorf("stop nats: %v", err)
		}
	})
	return server
}

// member is one of several workers.
type member struct {
	*process
	address string
}

// join starts one more worker and waits until it serves.
func (w *world) join() *member {
	w.t.Helper()
	p := w.start()
	return &member{p, w.up(p)}
}

func (m *member) role(w *world) string {
	s, err := w.status(m.address)
	if err != nil {
		return err.Error()
	}
	return s.TokenRole
}

// work is what a worker has done and does, by its own metrics.
type work struct {
	polls    float64 // that succeeded
	commands float64 // that were done
	inFlight float64 // commands in hand
}

func (m *member) work(w *world) (did work) {
	w.t.Helper()
	text, err := w.get(w.t.Context(), m.address+"/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		n, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case strings.HasPrefix(name, "outlook_polls_total{") && (strings.Contains(name, `result="ok"`) || strings.Contains(name, `result="empty"`)):
			did.polls += n
		case strings.HasPrefix(name, "outlook_commands_total{") && strings.Contains(name, `outcome="done"`):
			did.commands += n
		case strings.HasPrefix(name, "outlook_commands_in_flight{"):
			did.inFlight += n
		}
	}
	return did
}

// busy waits until a worker has a command in hand.
func (m *member) busy(w *world) {
	w.t.Helper()
	until(w.t, takeover, time.Millisecond, m.name+" to have a command in hand", func() bool { return m.work(w).inFlight > 0 })
}

// bequeath kills the owner of the tokens in the middle of traffic and measures
// how the heir goes on: with the work that the dead one had in hand, with new
// work, and as the owner.
func (w *world) bequeath(tr *traffic, owner, heir *member) {
	w.t.Helper()
	if role := owner.role(w); role != "owner" {
		w.t.Errorf("the worker to be killed is %q of the tokens, want owner", role)
	}
	tr.wave(w.t.Context(), pick(60, 200), pick(20, 60), 6*time.Second)
	pause(w.t.Context(), time.Duration(w.dice.IntN(2000))*time.Millisecond)
	owner.busy(w)
	at, _ := owner.kill()
	// Whoever goes on now needs the refresh token in the dead one's store.
	w.graph.expireTokens()

	goals := map[string]<-chan time.Time{
		"the next event":   tr.witness.sight(1, isEvent),
		"the next outcome": tr.witness.sight(1, isResult),
	}
	for range tr.inboxes { // one mail for each feed
		tr.ins++
		n := tr.ins
		goals["a new mail of "+tr.inboxes[n%len(tr.inboxes)]] = tr.witness.sight(1, func(m *nats.Msg) bool {
			return isEvent(m) && bytes.Contains(m.Data, []byte(mailSubject(n)))
		})
		tr.deliver(w.t.Context(), n)
	}
	tr.outs++
	id := commandID(tr.outs)
	goals["a new command"] = tr.witness.sight(1, func(m *nats.Msg) bool { return m.Subject == "outlook.result."+id })
	tr.publish(w.t.Context(), id)
	owned := make(chan time.Time, 1)
	goals["the token store"] = owned
	if waited(w.t.Context(), takeover, 50*time.Millisecond, func() bool { return heir.role(w) == "owner" }) {
		owned <- time.Now()
	}
	for _, goal := range slices.Sorted(maps.Keys(goals)) {
		var reached time.Time
		if !waited(w.t.Context(), time.Until(at.Add(takeover)), 10*time.Millisecond, func() bool {
			select {
			case reached = <-goals[goal]:
				return true
			default:
				return false
			}
		}) {
			w.t.Errorf("%s was killed; %s did not get to %s within %s", owner.name, heir.name, goal, takeover)
			continue
		}
		w.t.Logf("%s was killed; %s had %s after %.1f s", owner.name, heir.name, goal, reached.Sub(at).Seconds())
	}
}

// freeze stops a worker for so long that its work is given to the other, and
// then lets it go on as if nothing had happened.
func (w *world) freeze(tr *traffic, m *member) {
	w.t.Helper()
	tr.wave(w.t.Context(), 100, 30, 10*time.Second)
	m.busy(w)
	m.signal(syscall.SIGSTOP)
	frozen := time.Duration(17_000+w.dice.IntN(4000)) * time.Millisecond // the work goes on elsewhere after 15 s
	pause(w.t.Context(), frozen)
	m.signal(syscall.SIGCONT)
	thawed := time.Now()
	// The next kill is to find workers at work, and not what this one piled up.
	if !waited(w.t.Context(), 2*time.Minute, 100*time.Millisecond, func() bool {
		n, err := tr.witness.count(w.t.Context(), "OUTLOOK_PUBLISH", "outlook.publish.>")
		return err == nil && n == 0
	}) {
		w.t.Errorf("%s was frozen for %.1f s, and two minutes later commands still wait", m.name, frozen.Seconds())
		return
	}
	w.t.Logf("%s was frozen for %.1f s; the queue was empty %.1f s after that", m.name, frozen.Seconds(), time.Since(thawed).Seconds())
}
