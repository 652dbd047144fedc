//go:build unix

package proof_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// latency is how long Graph takes for a request of this proof: with it, four at
// a time are just Outlook's other limit, 10,000 in 10 minutes.
const latency = 240 * time.Millisecond

// slotsWorld is a mailbox, a NATS server as a process of its own, and workers
// that use the mailbox under all of its names, by two clients of one app.
type slotsWorld struct {
	t       *testing.T
	box     *sandbox.Sandbox
	ann     sandbox.Person
	dir     string
	logs    string
	nats    string
	env     []string
	server  *helper
	members []*helper
	slow    *sandbox.Rule
	deeds   []deed
}

// deed is something that was done to the workers or the server.
type deed struct {
	at   time.Time
	what string
}

func (w *slotsWorld) did(what string) { w.deeds = append(w.deeds, deed{time.Now(), what}) }

// tell logs what went on around the requests that were refused.
func (w *slotsWorld) tell() {
	calls := w.box.Requests()
	for i, refused := range calls {
		if refused.Status != http.StatusTooManyRequests {
			continue
		}
		w.t.Logf("refused at %s", refused.Arrived.Format(clock))
		for _, c := range calls[max(i-30, 0):i] {
			if c.Finished.After(refused.Arrived) {
				w.t.Logf("  open: %s to %s, status %d, %s", c.Arrived.Format(clock), c.Finished.Format(clock), c.Status, c.ClientRequestID)
			}
		}
		for _, d := range w.deeds {
			w.t.Logf("  %s %s", d.at.Format(clock), d.what)
		}
	}
}

// clock is how times of day are told.
const clock = "15:04:05.000"

// helper is a process of this test binary with another job; see slotsMain.
type helper struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  string
	once sync.Once
}

func (w *slotsWorld) spawn(name, job string) *helper {
	w.t.Helper()
	h := &helper{t: w.t, name: name, log: filepath.Join(w.logs, name+".log")}
	out, err := os.OpenFile(h.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Close()
	h.cmd = exec.Command(os.Args[0])
	h.cmd.Env = append([]string{jobEnv + "=" + job, "PATH=" + os.Getenv("PATH"), "HOME=" + w.dir}, w.env...)
	h.cmd.Stdout, h.cmd.Stderr, h.cmd.SysProcAttr = out, out, leash()
	if err := h.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(h.kill)
	return h
}

func (h *helper) kill() {
	h.once.Do(func() {
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait() // it was killed
	})
}

func (h *helper) signal(s syscall.Signal) {
	h.t.Helper()
	if err := h.cmd.Process.Signal(s); err != nil {
		h.t.Fatal(err)
	}
}

func newSlotsWorld(t *testing.T, lease time.Duration) *slotsWorld {
	t.Helper()
	box, err := sandbox.New(sandbox.Mailboxes(3), sandbox.KeepRequests(1000))
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	people := box.People()
	w := &slotsWorld{t: t, box: box, ann: people[0], dir: t.TempDir(), logs: t.ArtifactDir()}
	tokens := make([]string, 2)
	for i := range tokens {
		if tokens[i], err = box.Token(people[i].UPN, "Mail.ReadWrite Mail.ReadWrite.Shared User.Read.All"); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.nats = l.Addr().String()
	_ = l.Close()
	w.env = []string{
		"SLOTS_NATS=" + w.nats, "SLOTS_STORE=" + filepath.Join(w.dir, "nats"), "SLOTS_GRAPH=" + box.GraphURL(),
		"SLOTS_TOKENS=" + strings.Join(tokens, " "), "SLOTS_LEASE=" + lease.String(),
		"SLOTS_ANN=" + w.ann.ID + " " + w.ann.UPN, "SLOTS_BEN=" + people[1].ID + " " + people[1].UPN,
	}
	w.slow = box.KeepControl(sandbox.Match{Method: "GET"}, sandbox.Delay(latency))
	w.server = w.spawn("nats", "nats")
	w.listening()
	return w
}

func (w *slotsWorld) listening() {
	w.t.Helper()
	until(w.t, 20*time.Second, 20*time.Millisecond, "NATS to listen", func() bool {
		c, err := net.DialTimeout("tcp", w.nats, time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func (w *slotsWorld) join() *helper {
	w.t.Helper()
	h := w.spawn(fmt.Sprintf("member-%02d", len(w.members)+1), "member")
	w.members = append(w.members, h)
	return h
}

// restart kills the NATS server and starts it again.
func (w *slotsWorld) restart() {
	w.t.Helper()
	w.server.kill()
	w.did("killed NATS")
	w.server = w.spawn("nats", "nats")
	w.listening()
	w.did("NATS is back")
}

// counts are what the sandbox has seen of ann's mailbox.
func (w *slotsWorld) counts() (c sandbox.MailboxStats) {
	for _, s := range w.box.Stats().Mailboxes {
		if strings.EqualFold(s.Mailbox, w.ann.ID) || strings.EqualFold(s.Mailbox, w.ann.UPN) {
			c = s
		}
	}
	return c
}

// rate is how much of what is allowed was used in a time, in percent.
func (w *slotsWorld) rate(d time.Duration) float64 {
	before, began := w.counts().Requests, time.Now()
	pause(w.t.Context(), d)
	n := w.counts().Requests - before
	return 100 * float64(n) / (4 * float64(time.Since(began)) / float64(latency))
}

// TestProofSlots has worker processes use one mailbox under all of its names, by
// two clients of one app, as fast as Outlook allows: never more than four
// requests at a time, while workers are killed and frozen, the NATS server is
// killed, and requests take longer than a slot's lease. The workers are the
// rooms of the program that count (slots, graph, jet) with nothing else around
// them, so that it is the limit that bounds the rate and not the disk.
func TestProofSlots(t *testing.T) {
	together(t)
	lease := pick(3*time.Second, 15*time.Second)
	w := newSlotsWorld(t, lease)
	dice := dice(t)
	for range pick(4, 8) {
		w.join()
	}
	until(t, 30*time.Second, 50*time.Millisecond, "the workers to work", func() bool { return w.counts().Requests > 40 })
	calm := w.rate(pick(4*time.Second, 60*time.Second))
	t.Logf("%d workers undisturbed: %.1f %% of the allowed rate, %d at once at most", len(w.members), calm, w.counts().MaxConcurrency)

	disturbed := time.Now()
	before := w.counts().Requests
	for range pick(1, 4) {
		// Some requests last longer than a lease while the server goes.
		w.slow.Remove()
		w.box.ControlN(sandbox.Match{Method: "GET"}, 4, sandbox.Delay(lease+2*time.Second))
		w.slow = w.box.KeepControl(sandbox.Match{Method: "GET"}, sandbox.Delay(latency))
		w.did("made four requests long")
		pause(t.Context(), lease/3+time.Duration(dice.IntN(1000))*time.Millisecond)
		w.restart()
		// A worker dies while the server goes. Not before the long requests have
		// ended: Graph goes on with what a dead worker asked for, and longer than a
		// lease nobody can know of it.
		pause(t.Context(), lease*4/3)
		victim := w.members[dice.IntN(len(w.members))]
		victim.kill()
		w.did("killed " + victim.name)
		w.join()
		pause(t.Context(), time.Duration(dice.IntN(1000))*time.Millisecond)
		w.restart()
		pause(t.Context(), lease*4/3)
		frozen := w.join()
		pause(t.Context(), 2*time.Second)
		frozen.signal(syscall.SIGSTOP)
		w.did("froze " + frozen.name)
		pause(t.Context(), lease*3/2)
		frozen.signal(syscall.SIGCONT)
		w.did("woke " + frozen.name)
		pause(t.Context(), pick(time.Second, 10*time.Second))
	}
	n, took := w.counts().Requests-before, time.Since(disturbed)
	t.Logf("disturbed: %.1f %% of the allowed rate in %.0f s", 100*float64(n)/(4*float64(took)/float64(latency)), took.Seconds())
	after := w.rate(pick(3*time.Second, 20*time.Second))
	t.Logf("afterwards: %.1f %%", after)

	c := w.counts()
	t.Logf("%d requests, %d at once at most, %d refused, %d throttled", c.Requests, c.MaxConcurrency, c.Refused, c.Throttled)
	if c.MaxConcurrency > 4 || c.Refused > 0 || c.Throttled > 0 || c.Offences > 0 {
		t.Errorf("the limit was broken: %+v", c)
		w.tell()
	}
	if least := pick(60.0, 95.0); calm < least {
		t.Errorf("%.1f %% of the allowed rate, want %.0f %% and more", calm, least)
	}
	if after < pick(40.0, 90.0) {
		t.Errorf("%.1f %% of the allowed rate when all was over", after)
	}
	if n == 0 {
		t.Error("nothing was done while workers and NATS were killed")
	}
}

// TestProofSlotsOfTheProgram has the real program's workers poll and send in one
// mailbox as fast as they can, under two of its names.
func TestProofSlotsOfTheProgram(t *testing.T) {
	together(t)
	server := startNATS(t)
	w := newWorld(t, setting{
		people: 2, natsURL: server.URL(),
		extra: fmt.Sprintf("  - {name: by-name, client: contoso, entity: mail.message.sendMail, delivery: at_most_once, mailboxes: [%s]}\n", person),
	})
	w.graph.slow("POST", "/me/sendMail", latency)
	w.graph.slow("POST", "/users/{user-id}/sendMail", latency)
	w.graph.slow("GET", "/me/mailFolders/{id}/messages/delta", latency)
	first := w.join()
	w.signIn(first.address)
	for range pick(1, 7) {
		w.join()
	}
	witness := newWitness(t, listener{URL: server.URL()})
	tr := newTraffic(w, witness, person)
	total := pick(60, 600)
	for n := range total {
		body, subject := sendMail(fmt.Sprint("mail of ", commandID(n))), "outlook.publish.send-mail"
		if n%2 == 0 {
			body = append([]byte(fmt.Sprintf(`{"mailbox":%q,`, strings.ToUpper(person))), body[1:]...)
			subject = "outlook.publish.by-name"
		}
		if _, err := tr.witness.publish(t.Context(), subject, commandID(n), body); err != nil {
			t.Fatal(err)
		}
	}
	// The rate counts while there is more to do than slots.
	requests := func() (n int64) {
		for _, s := range w.graph.stats().Mailboxes {
			n += s.Requests
		}
		return n
	}
	done := func() int {
		n, err := witness.count(t.Context(), "OUTLOOK_RESULT", "outlook.result.>")
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	until(t, time.Minute, 20*time.Millisecond, "the work to be in full swing", func() bool { return done() > total/10 })
	before, began := requests(), time.Now()
	until(t, 5*time.Minute, 20*time.Millisecond, "most to be done", func() bool { return done() > total*8/10 })
	rate := 100 * float64(requests()-before) / (4 * float64(time.Since(began)) / float64(latency))
	until(t, time.Minute, 50*time.Millisecond, "all to be done", func() bool { return done() >= total })
	t.Logf("%d workers of the program: %.1f %% of the allowed rate", len(w.workers), rate)
	for _, s := range w.graph.stats().Mailboxes {
		t.Logf("%d requests, %d at once at most, %d refused, %d throttled", s.Requests, s.MaxConcurrency, s.Refused, s.Throttled)
		if s.MaxConcurrency > 4 || s.Refused > 0 || s.Throttled > 0 {
			t.Errorf("the limit was broken: %+v", s)
		}
	}
	if rate < pick(30.0, 80.0) {
		t.Errorf("%.1f %% of the allowed rate", rate)
	}
}
