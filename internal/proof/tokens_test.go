//go:build unix

package proof_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"outlook-connector/internal/sandbox"
)

// TestProofTokens runs one owner of the tokens and eight workers that ask it, as
// processes of their own on a NATS that is nobody's, with tokens that live for a
// short time and a sign-in server that ends a grant whose refresh token is used
// twice. The owner is killed, or frozen, for a fifth of a token's life: nobody may
// notice.
func TestProofTokens(t *testing.T) {
	together(t)
	began := time.Now()
	life := pick(6*time.Second, 30*time.Second)
	server := startNATS(t)
	w := newWorld(t, setting{
		people: pick(4, 8), everybody: true, natsURL: server.URL(),
		sandbox: []string{"--strict-rotation", "--token-life", life.String()},
	})
	owner := w.start("--roles", "tokens,http")
	address := w.up(owner)
	w.signIn(address)

	var members []*member
	for range pick(3, 8) {
		p := w.start("--roles", "subscriber,publisher,http")
		members = append(members, &member{process: p})
	}
	for _, m := range members {
		m.address = w.up(m.process)
	}
	for _, m := range members {
		if role := m.role(w); role != "client" {
			t.Errorf("%s is %q of the tokens, want client", m.name, role)
		}
	}
	witness := newWitness(t, listener{URL: server.URL()})
	tr := newTraffic(w, witness, w.graph.People...)
	tr.loops = true

	// Outages begin at different moments of a token's life, and last for a fifth
	// of it: from the kill to the moment when the next owner answers.
	// The workers' first tokens are there before the first outage.
	until(t, time.Minute, 50*time.Millisecond, "all workers to have polled or sent", func() bool {
		tr.wave(t.Context(), 0, 1, 0)
		return !slices.ContainsFunc(members, func(m *member) bool { did := m.work(w); return did.polls+did.commands == 0 })
	})
	var outages []outage
	for i, share := range pick([]float64{0.62}, []float64{0, 0.3, 0.5, 0.55, 0.6, 0.65}) {
		age := w.tokenAge(life, share)
		tr.wave(t.Context(), 0, 64, 0) // 64 parallel requesters, and more while the owner is away
		at := time.Now()
		if i%2 == 1 {
			// Frozen, it keeps its subscription: questions get no answer at all.
			owner.signal(syscall.SIGSTOP)
			pause(t.Context(), time.Until(at.Add(life/5)))
			tr.wave(t.Context(), 0, 16, 0)
			owner.signal(syscall.SIGCONT)
		} else {
			at, _ = owner.kill()
			pause(t.Context(), time.Until(at.Add(life/5-150*time.Millisecond)))
			tr.wave(t.Context(), 0, 16, 0)
			owner = w.start("--roles", "tokens,http")
			address = w.up(owner)
		}
		outages = append(outages, outage{at, time.Now(), age})
		pause(t.Context(), life/5)
	}
	tr.wait()
	pause(t.Context(), pick(time.Second, life))
	settle(t, tr, witness)
	f, problems := gather(t, tr, witness).judge(0)
	report(t, problems)
	w.checkGrant(address)

	for _, m := range members {
		for _, line := range w.failedPolls(m) {
			t.Errorf("%s noticed: %s", m.name, line)
		}
		report(t, m.stumbles())
	}
	refreshes := w.refreshes(life)
	for _, o := range outages {
		if lasted := o.until.Sub(o.at); lasted < life/6 {
			t.Errorf("an outage of %s proves little for tokens of %s", lasted, life)
		}
		t.Logf("the owner was away for %.1f s, which is %.2f of a token's life, from %.2f of it on",
			o.until.Sub(o.at).Seconds(), o.until.Sub(o.at).Seconds()/life.Seconds(), o.age.Seconds()/life.Seconds())
	}
	t.Logf("%d workers, %d outages, %d commands (done %d), %d token requests for tokens of %s; %.0f seconds",
		len(members), len(outages), f.outgoing, f.done, refreshes, life, time.Since(began).Seconds())
	for _, p := range w.workers {
		select {
		case <-p.done:
		default:
			p.stop()
		}
	}
}

// outage is a time without an owner.
type outage struct {
	at, until time.Time
	age       time.Duration // of the newest token when it began
}

// tokenRequests returns the requests for tokens, in order.
func (w *world) tokenRequests() (list []sandbox.Call) {
	for _, r := range w.graph.requests() {
		if r.Method == http.MethodPost && strings.HasSuffix(r.Route, "/oauth2/v2.0/token") {
			list = append(list, r)
		}
	}
	slices.SortFunc(list, func(a, b sandbox.Call) int { return a.Finished.Compare(b.Finished) })
	return list
}

// tokenAge waits until the newest token is as old as a share of its life, and
// returns how old it is. From half of a life on tokens are renewed by chance, so
// an old one may not be seen within two lives.
func (w *world) tokenAge(life time.Duration, share float64) (age time.Duration) {
	w.t.Helper()
	want := time.Duration(share * float64(life))
	waited(w.t.Context(), 2*life, 20*time.Millisecond, func() bool {
		list := w.tokenRequests()
		age = time.Since(list[len(list)-1].Finished)
		return age >= want && age < want+life/20
	})
	return age
}

// refreshes counts the token requests after the sign-in. Between two of them
// there must be as much time as a token is at least used for: then there was one
// for each token that came to its end, whoever asked for it.
func (w *world) refreshes(life time.Duration) int {
	w.t.Helper()
	list := w.tokenRequests()
	for i, r := range list {
		if r.Status != http.StatusOK {
			w.t.Errorf("a token request was answered %d", r.Status)
		}
		if i == 0 {
			continue
		}
		if gap := r.Arrived.Sub(list[i-1].Finished); gap < life/2-life/12 {
			w.t.Errorf("two token requests within %s; a token of %s is renewed after half of its life at the earliest", gap, life)
		}
	}
	return len(list) - 1
}

// failedPolls returns the samples of a worker's metrics that say that a poll or
// a command went wrong.
func (w *world) failedPolls(m *member) (found []string) {
	w.t.Helper()
	text, err := w.get(w.t.Context(), m.address+"/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	good := []string{"ok", "empty", "more", "busy", "skipped", "fenced"}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		_, labels, isPoll := strings.Cut(name, "outlook_polls_total{")
		n, err := strconv.ParseFloat(value, 64)
		if !isPoll || err != nil || n == 0 {
			continue
		}
		if !slices.ContainsFunc(good, func(result string) bool { return strings.Contains(labels, `result="`+result+`"`) }) {
			found = append(found, string(line))
		}
	}
	return found
}

// TestProofOneOwner starts two processes alike, each with a folder of its own,
// at the same moment: somebody signed in at one of them before. There is one
// owner, and nobody is asked to sign in.
func TestProofOneOwner(t *testing.T) {
	together(t)
	server := startNATS(t)
	w := newWorld(t, setting{people: 2, natsURL: server.URL()})
	first := w.start()
	w.signIn(w.up(first))
	first.stop()

	// The other one's folder has the same key and nothing else.
	text, err := os.ReadFile(w.config)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(text, []byte("./data/tokens.db"), []byte("./other/tokens.db"), 1)
	other = bytes.Replace(other, []byte(w.listen), []byte(w.freeAddress()), 1)
	if err := os.WriteFile(w.dir+"/other.yaml", other, 0o600); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for round := range pick(1, 10) {
		// Which one is first is left to chance, and turned round half of the time.
		two := [2]*process{w.start("--config", "outlook-connector.yaml"), w.start("--config", "other.yaml")}
		if round%2 == 1 {
			two[0].kill()
			two[0] = w.start()
		}
		rich, empty := &member{two[0], w.up(two[0])}, &member{two[1], w.up(two[1])}
		until(t, takeover, 50*time.Millisecond, "one owner, the one with the grant, and no need to sign in", func() bool {
			// A client knows of the grant once it has asked for a token, so both get
			// something to do: which one polls the only feed is left to chance, too.
			body := fmt.Appendf(nil, `{"payload": {"message": {"subject": "x", "toRecipients": [{"emailAddress": {"address": %q}}]}}}`, friend)
			if err := nc.Publish("outlook.publish.send-mail", body); err != nil {
				t.Error(err)
			}
			return rich.role(w) == "owner" && empty.role(w) == "client" && w.grantState(rich) == "ok" && w.grantState(empty) == "ok"
		})
		// Killed, not stopped: its lease is still there when the next one starts.
		rich.kill()
		empty.kill()
	}
	if asked, tokens := w.signIns(); asked != 1 || tokens != 1 {
		t.Errorf("%d sign-ins and %d token requests, want one each", asked, tokens)
	}
}

func (w *world) grantState(m *member) string {
	w.t.Helper()
	text, err := w.get(w.t.Context(), m.address+"/status")
	var s status
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil || len(s.Clients) != 1 {
		return fmt.Sprint(err)
	}
	return s.Clients[0].State
}
