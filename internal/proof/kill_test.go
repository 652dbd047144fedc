//go:build unix

package proof_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"outlook-connector/internal/sandbox"
)

// aim says when a worker is killed.
type aim string

// Twenty of the long form's kills come at a random moment: after the first
// request to Outlook, after the first event, or while the worker starts. Twenty
// more are aimed at the moments between two steps, which chance hits rarely: a
// message that passes by, or the sandbox, tells when.
const (
	afterWork   aim = "work"    // up to 2 s after the first request to Outlook
	afterEvent  aim = "event"   // up to 1 s after the first event
	whileUp     aim = "start"   // up to 1 s after the start
	inRequest   aim = "request" // with a request to Outlook under way
	inCommit    aim = "commit"  // with events or a cursor on their way
	inSending   aim = "sending" // with a request about to be made
	whenTold    aim = "told"    // between the outcome and the acknowledgement
	aimPatience     = 20 * time.Second
)

func aims() []aim {
	if !*long {
		return []aim{inRequest, inSending, inCommit}
	}
	var list []aim
	for a, n := range map[aim]int{afterWork: 12, afterEvent: 6, whileUp: 2, inRequest: 4, inCommit: 8, inSending: 4, whenTold: 4} {
		list = append(list, slices.Repeat([]aim{a}, n)...)
	}
	slices.Sort(list) // the order of a map would not come again with the seed
	return list
}

// kill is one that was made.
type kill struct {
	aim     aim
	started time.Time // of the worker
	at      time.Time // of the signal
	dead    time.Time // it was seen dead
}

// TestProofKill kills the worker, with the NATS server in it, again and again
// while mails come in and go out.
func TestProofKill(t *testing.T) {
	together(t)
	began := time.Now()
	w := newWorld(t, setting{people: 4})
	w.graph.slow("POST", "/me/sendMail", 120*time.Millisecond)
	w.graph.slow("GET", "/me/mailFolders/{id}/messages/delta", 60*time.Millisecond)

	// The first kill follows the sign-in at once: what the person was told is
	// granted must be on the disk.
	p := w.start("--roles", "tokens,http")
	w.signIn(w.up(p))
	p.kill()

	witness := w.openWitness()
	tr := newTraffic(w, witness, person)
	plan := aims()
	w.dice.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	in, out, lives := pick(200, 2000), pick(60, 500), len(plan)+1
	var kills []kill
	resent := 0
	for life := range lives {
		// Mails come and senders try whether a worker runs or not.
		tr.wave(t.Context(), share(in, life, lives), share(out, life, lives), time.Duration(500+w.dice.IntN(2500))*time.Millisecond)
		resent += tr.again(t.Context(), 3)
		p = w.start()
		if life == lives-1 {
			break
		}
		w.take(p, witness, plan[life])
		p.alive()
		k := kill{aim: plan[life], started: p.started}
		k.at, k.dead = p.kill()
		kills = append(kills, k)
		if w.dice.IntN(3) == 0 {
			w.graph.expireTokens() // the next worker needs the refresh token that this one left
		}
	}
	tr.wait()
	settle(t, tr, witness)
	e := gather(t, tr, witness)
	f, problems := e.judge(4 * len(kills))
	report(t, problems)
	w.checkGrant("http://" + w.listen)
	p.stop()
	for _, worker := range w.workers {
		report(t, worker.stumbles())
	}
	hits := w.hits(e, kills)
	t.Logf("kills %d (%s) in the middle of traffic %d, with a request to Outlook open %d", len(kills)+1, tally(kills), hits.busy, hits.open)
	t.Logf("incoming %d, events %d, lost %d, repeated %d", f.incoming, f.events, f.lost, f.repeated)
	t.Logf("outgoing %d, done %d, uncertain %d (%d of them sent), failed %d, without outcome %d; mails sent %d, sent twice %d, dead letters %d",
		f.outgoing, f.done, f.uncertain, f.effectsOfUncertain, f.failed, f.missing, f.effects, f.twice, f.deadLetters)
	t.Logf("publishes repeated until stored %d, published again afterwards %d; %.0f seconds, seed %d",
		tr.repeats, resent, time.Since(began).Seconds(), *seed)
	if f.incoming != in || f.outgoing != out {
		t.Errorf("%d mails and %d commands went out, want %d and %d", f.incoming, f.outgoing, in, out)
	}
	// A harness that kills an idle process proves nothing.
	if least := pick(2, 36); hits.busy < least {
		t.Errorf("only %d of %d kills hit while mails and commands waited, want at least %d: the run proves nothing", hits.busy, len(kills), least)
	}
	if least := pick(1, 8); hits.open < least {
		t.Errorf("only %d of %d kills hit while a request to Outlook was open, want at least %d: the run proves nothing", hits.open, len(kills), least)
	}
}

// share is the part of n that falls to one of several turns.
func share(n, turn, turns int) int { return n*(turn+1)/turns - n*turn/turns }

// take waits for the moment to kill.
func (w *world) take(p *process, witness *witness, a aim) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), aimPatience)
	defer cancel()
	within := func(most time.Duration) time.Duration { return time.Duration(w.dice.Int64N(int64(most))) }
	see := func(nth int, is func(*nats.Msg) bool) {
		select {
		case <-witness.sight(nth, is):
		case <-p.done:
		case <-ctx.Done(): // nothing came: the kill comes all the same, and is not counted as a hit
		}
	}
	switch a {
	case afterWork:
		before := w.graph.stats().Requests
		waited(ctx, aimPatience, 5*time.Millisecond, func() bool { return w.graph.stats().Requests > before })
		pause(ctx, within(2*time.Second))
	case afterEvent:
		see(1, isEvent)
		pause(ctx, within(time.Second))
	case whileUp:
		pause(ctx, within(time.Second))
	case inRequest:
		// Not one that may be over by now: one more than at the last look.
		last := w.open()
		waited(ctx, aimPatience, 2*time.Millisecond, func() bool {
			before := last
			last = w.open()
			return last > before
		})
	case inCommit:
		if w.dice.IntN(2) == 0 {
			see(1+w.dice.IntN(20), isEvent)
		} else {
			see(1, isCursor)
		}
		pause(ctx, within(10*time.Millisecond)) // about as long as a batch takes to the disk
	case inSending:
		see(1+w.dice.IntN(6), isSending)
		pause(ctx, within(3*time.Millisecond))
	case whenTold:
		see(1+w.dice.IntN(6), isResult)
		pause(ctx, within(1500*time.Microsecond))
	}
}

// open returns how many requests Outlook has under way.
func (w *world) open() (n int) {
	for _, mailbox := range w.graph.stats().Mailboxes {
		n += mailbox.Open
	}
	return n
}

// settle waits until every mail has its event and every command its outcome, or
// nothing has moved for longer than it takes a message of a killed worker to
// come again. What is missing then is for the judge.
func settle(t *testing.T, tr *traffic, witness *witness) {
	t.Helper()
	const patience = 45 * time.Second
	type state struct{ events, outcomes, queued uint64 }
	var last state
	moved := time.Now()
	waited(t.Context(), 5*time.Minute, 100*time.Millisecond, func() bool {
		var now state
		var err [3]error
		now.events, err[0] = witness.count(t.Context(), "OUTLOOK_EVENTS", "outlook.event.>")
		now.outcomes, err[1] = witness.count(t.Context(), "OUTLOOK_RESULT", "outlook.result.>")
		now.queued, err[2] = witness.count(t.Context(), "OUTLOOK_PUBLISH", "outlook.publish.>")
		if err != [3]error{} {
			return time.Since(moved) > patience
		}
		if now != last {
			last, moved = now, time.Now()
		}
		complete := now.events >= uint64(tr.expected()) && now.outcomes >= uint64(len(tr.commands)) && now.queued == 0
		return complete || time.Since(moved) > patience
	})
	// What is there twice may come late: leave the feeds a few more polls.
	pause(t.Context(), 3*time.Second)
}

// checkGrant checks that nobody had to sign in again, by the sandbox's log and
// by what a worker says.
func (w *world) checkGrant(address string) {
	w.t.Helper()
	asked, tokens := w.signIns()
	if asked != 1 {
		w.t.Errorf("%d sign-ins were begun, want the one at the beginning", asked)
	}
	s, err := w.status(address)
	if err != nil {
		w.t.Error(err)
		return
	}
	if len(s.Clients) != 1 || s.Clients[0].State != "ok" || s.Clients[0].Account != person {
		w.t.Errorf("the grant is not as it was: %+v", s.Clients)
	}
	w.t.Logf("sign-ins %d, token requests %d, grant %+v", asked, tokens, s.Clients)
}

// hitCount says how many kills hit something.
type hitCount struct {
	// busy: mails waited to be told, or commands to be done.
	busy int
	// open: a request to Outlook was under way, by the sandbox's clock.
	open int
}

// hits looks afterwards what each kill interrupted.
func (w *world) hits(e evidence, kills []kill) (n hitCount) {
	w.t.Helper()
	requests := w.graph.requests()
	told := map[string]time.Time{}
	for _, event := range e.events {
		told[event.subject] = event.at
	}
	for _, k := range kills {
		waiting := 0
		for subject, mail := range e.mails {
			if mail.at.Before(k.at) && told[subject].After(k.dead) {
				waiting++
			}
		}
		for id, command := range e.commands {
			if command.acked.Before(k.at) && e.outcomes[id].Finished.After(k.dead) {
				waiting++
			}
		}
		if waiting > 0 {
			n.busy++
		}
		if slices.ContainsFunc(requests, func(r sandbox.Call) bool {
			return r.Arrived.After(k.started) && r.Arrived.Before(k.at) && r.Finished.After(k.dead)
		}) {
			n.open++
		}
	}
	return n
}

// tally lists how many kills there were of each kind.
func tally(kills []kill) string {
	var parts []string
	for _, a := range []aim{afterWork, afterEvent, whileUp, inRequest, inCommit, inSending, whenTold} {
		n := 0
		for _, k := range kills {
			if k.aim == a {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", a, n))
		}
	}
	return strings.Join(append(parts, "sign-in 1"), ", ")
}
