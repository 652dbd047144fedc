//go:build unix

package proof_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// traffic is what goes in and out: mails that the outside world delivers, and
// commands to send a mail. It keeps the books about both. Its methods are for
// the test's goroutine.
type traffic struct {
	t       *testing.T
	graph   *graph
	witness *witness
	dice    *rand.Rand
	inboxes []string // who gets the mails, in turn
	// loops says that the friend's inbox is read, too, so that each mail that is
	// sent comes back as an event.
	loops bool

	ins, outs int // begun
	running   sync.WaitGroup

	mu       sync.Mutex         // guards what follows
	mails    map[string]mail    // by subject
	commands map[string]command // by id
	repeats  int                // publishes that the sender had to repeat
}

// mail is one that was delivered.
type mail struct {
	to string
	at time.Time // it was in the inbox by then
}

// command is one that the server has said is stored.
type command struct {
	subject string // of the mail to be sent
	acked   time.Time
}

func newTraffic(w *world, witness *witness, inboxes ...string) *traffic {
	return &traffic{
		t: w.t, graph: w.graph, witness: witness, dice: w.dice, inboxes: inboxes,
		mails: map[string]mail{}, commands: map[string]command{},
	}
}

// wave lets mails and commands come at random moments within a time, and
// returns at once. Whether a worker runs meanwhile is not its business.
func (tr *traffic) wave(ctx context.Context, in, out int, within time.Duration) {
	for at := range tr.moments(in, within) {
		tr.ins++
		n := tr.ins
		tr.running.Go(func() {
			pause(ctx, time.Until(at))
			tr.deliver(ctx, n)
		})
	}
	for at := range tr.moments(out, within) {
		tr.outs++
		n := tr.outs
		tr.running.Go(func() {
			pause(ctx, time.Until(at))
			tr.publish(ctx, commandID(n))
		})
	}
}

func (tr *traffic) moments(n int, within time.Duration) func(func(time.Time) bool) {
	began := time.Now()
	return func(yield func(time.Time) bool) {
		for range n {
			if !yield(began.Add(time.Duration(tr.dice.Int64N(int64(within) + 1)))) {
				return
			}
		}
	}
}

func mailSubject(n int) string { return fmt.Sprintf("in %05d", n) }

func (tr *traffic) deliver(ctx context.Context, n int) {
	subject, to := mailSubject(n), tr.inboxes[n%len(tr.inboxes)]
	if err := tr.graph.deliver(ctx, to, subject); err != nil {
		if ctx.Err() == nil {
			tr.t.Errorf("deliver: %v", err)
		}
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.mails[subject] = mail{to, time.Now()}
}

func commandID(n int) string { return fmt.Sprintf("out-%05d", n) }

// publish publishes a command until it is stored.
func (tr *traffic) publish(ctx context.Context, id string) {
	tries, err := tr.witness.publish(ctx, "outlook.publish.send-mail", id, sendMail("mail of "+id))
	if err != nil {
		if ctx.Err() == nil {
			tr.t.Errorf("publish %s: %v", id, err)
		}
		return
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.repeats += tries - 1
	if _, again := tr.commands[id]; !again {
		tr.commands[id] = command{"mail of " + id, time.Now()}
	}
}

// again publishes n commands that are stored already, or done already, once
// more under their ids, as a sender does who has lost his memory. The server
// knows an id for ten minutes, but forgets those of finished commands when it
// is started again; then the ledger is what keeps them from being done twice.
func (tr *traffic) again(ctx context.Context, n int) int {
	tr.mu.Lock()
	known := slices.Sorted(maps.Keys(tr.commands))
	tr.mu.Unlock()
	n = min(n, len(known))
	for range n {
		id := known[tr.dice.IntN(len(known))]
		tr.running.Go(func() { tr.publish(ctx, id) })
	}
	return n
}

// came returns the mails of the commands that came to the friend, each as often
// as it came.
func (tr *traffic) came() (subjects []string) {
	for _, m := range tr.graph.stored(friend, "inbox") {
		if m.From == person {
			subjects = append(subjects, m.Subject)
		}
	}
	return subjects
}

// expected is how many events there must be in the end.
func (tr *traffic) expected() int {
	tr.mu.Lock()
	n := len(tr.mails)
	tr.mu.Unlock()
	if tr.loops {
		n += len(tr.came())
	}
	return n
}

// wait waits until everything that was begun has come through.
func (tr *traffic) wait() { tr.running.Wait() }

// sendMail is a command that sends a mail to the friend.
func sendMail(subject string) []byte {
	text, err := json.Marshal(map[string]any{"payload": map[string]any{"message": map[string]any{
		"subject":      subject,
		"body":         map[string]string{"contentType": "Text", "content": "It works."},
		"toRecipients": []any{map[string]any{"emailAddress": map[string]string{"address": friend}}},
	}}})
	if err != nil {
		panic(err) // maps of strings always have a JSON form
	}
	return text
}
