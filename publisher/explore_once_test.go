package publisher_test

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"outlook-connector/publisher"
)

var doubles = flag.Bool("doubles", false, "the explorer's Exchange takes a draft twice while it is still in Drafts: prints how often a mail went out twice")

// exactScenario is a command with delivery exactly_once.
type exactScenario struct {
	name, entity, data string
	// unsure says that the operation has no way to find out: the command ends as
	// uncertain where, and only where, a request of unknown end was left behind.
	unsure bool
	// mails says that the effect is a mail, counted apart.
	mails bool
	// tidy: no draft stays behind, but where one that was made too late could not be
	// deleted.
	tidy bool
	// newEachTime: the worker is told of each delivery that it is the first.
	newEachTime bool
	// sendOnly: the client has Mail.Send and nothing else.
	sendOnly bool
}

const (
	aReply  = `{"path":{"message-id":"AAA"},"payload":{"comment":"yes"}}`
	toFiles = `{"path":{"message-id":"AAA"},"payload":{"destinationId":"archive"}}`
)

// exactScenarios are one or more of each class of the decision table.
var exactScenarios = []exactScenario{
	{name: "B1 DELETE", entity: "mail.message.delete", data: `{"path":{"id":"AAA"}}`},
	{name: "B2 PATCH", entity: "mail.message.update", data: `{"path":{"id":"AAA"},"payload":{"isRead":true}}`},
	{name: "C1 contact", entity: "contacts.contact.create", data: `{"payload":{"givenName":"Ann"}}`},
	{name: "C2 event", entity: "calendar.event.create", data: `{"payload":{"subject":"x"}}`},
	{name: "C3 category", entity: "settings.category.create", data: `{"payload":{"displayName":"x","color":"preset0"}}`, unsure: true},
	{name: "D1 sendMail", entity: "mail.message.sendMail", data: aMail, mails: true, tidy: true},
	{name: "D1 sendMail, each time as if it was new", entity: "mail.message.sendMail", data: aMail, mails: true, tidy: true, newEachTime: true},
	{name: "D1 send of a draft", entity: "mail.message.send", data: `{"path":{"message-id":"DDD"}}`, mails: true},
	{name: "D2 reply", entity: "mail.message.reply", data: aReply, mails: true},
	{name: "D2 forward", entity: "mail.message.forward", data: `{"path":{"message-id":"AAA"},"payload":{"toRecipients":[{"emailAddress":{"address":"ann@contoso.com"}}]}}`, mails: true},
	{name: "D3 sendMail without drafts", entity: "mail.message.sendMail", data: aMail, mails: true, unsure: true, sendOnly: true},
	{name: "D3 sendMail without a copy", entity: "mail.message.sendMail", data: `{"payload":{"saveToSentItems":false,"message":{"subject":"x"}}}`, mails: true, unsure: true},
	{name: "E1 move", entity: "mail.message.move", data: toFiles},
	{name: "E2 copy", entity: "mail.message.copy", data: toFiles},
	{name: "F1 attachment", entity: "mail.messageAttachment.create", data: `{"path":{"message-id":"AAA"},"payload":{"@odata.type":"#microsoft.graph.fileAttachment","name":"a.txt","contentBytes":"YQ=="}}`},
	{name: "G1 accept", entity: "calendar.event.accept", data: `{"path":{"event-id":"EEE"},"payload":{"sendResponse":true}}`},
	{name: "G2 cancel", entity: "calendar.event.cancel", data: `{"path":{"event-id":"EEE"},"payload":{"comment":"no"}}`},
	{name: "G3 forward event", entity: "calendar.event.forward", data: `{"path":{"event-id":"EEE"},"payload":{"toRecipients":[]}}`, unsure: true},
	{name: "G4 PATCH event", entity: "calendar.event.update", data: `{"path":{"event-id":"EEE"},"payload":{"subject":"new"}}`},
}

// TestEveryTraceOfMishapsHasItsEffectOnce runs the real worker through every
// combination of up to two mishaps (go test ./publisher -run EffectOnce -args -mishaps 3 for
// more), one of which may be a worker that freezes and wakes up when another has
// gone on. It holds under one belief about Exchange: that it submits one draft
// once. With -args -doubles it does not believe that, and prints what then happens.
func TestEveryTraceOfMishapsHasItsEffectOnce(t *testing.T) {
	t.Parallel()
	for _, sc := range exactScenarios {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := exploreOnce(t, sc, *mishaps)
				t.Logf("%d traces, %d uncertain, %d with the effect twice, %d by a worker that froze with its request, drafts left behind in %d",
					f.traces, f.uncertain, f.doubled, f.frozen, f.strays)
				if f.traces < 300 {
					t.Errorf("only %d traces: the explorer sees too little", f.traces)
				}
				if sc.unsure != (f.uncertain > 0) {
					t.Errorf("%d traces uncertain", f.uncertain)
				}
				if f.doubled > 0 && !*doubles {
					t.Errorf("%d traces with the effect twice", f.doubled)
				}
				if sc.mails && f.frozen > 0 {
					t.Errorf("a mail went out twice in %d traces with a frozen worker", f.frozen)
				}
			})
		})
	}
}

// explored counts traces. Frozen are those in which a worker froze between its last
// look at the clock and its request, and woke up after another had looked, found
// nothing and done it: of what has no draft this has the effect twice.
type explored struct{ traces, uncertain, doubled, frozen, strays int }

// frozeWithRequest reports whether a worker froze so.
func frozeWithRequest(w *world) bool { return slices.Contains(w.trail, "do: frozen before") }

func exploreOnce(t *testing.T, sc exactScenario, budget int) (f explored) {
	t.Helper()
	def := definition(t, "p", sc.entity)
	def.Delivery = publisher.ExactlyOnce
	if def.Entities[0].NeedsMailbox() {
		def.Mailboxes = []string{"me"}
	}
	s := &script{budget: budget}
	for {
		f.traces++
		w := newWorld()
		w.box = newMailbox()
		w.box.items["DDD"] = &item{kind: "draft", id: "DDD", folder: "drafts", props: map[string]any{}}
		w.box.doubles, w.box.sendOnly = *doubles, sc.sendOnly
		w.newEachTime = sc.newEachTime
		w.choose = s.choose
		m := message("p", sc.data, "Nats-Msg-Id", "k", "Outlook-Reply-To", "_INBOX.x.y")
		err := drive(t, w, def, m)
		w.landing.Wait()
		if err == nil {
			err = onePromise(w, sc, w.outcome(t))
		}
		if err != nil {
			t.Fatalf("trace %d: %v\n%q", f.traces, err, w.trail)
		}
		effects := w.box.effects
		if sc.mails {
			effects = w.box.sent
		}
		switch {
		case effects > 1 && frozeWithRequest(w) && !*doubles:
			f.frozen++
		case effects > 1:
			f.doubled++
		}
		if w.outcome(t).Outcome == "uncertain" {
			f.uncertain++
		}
		for _, it := range w.box.items {
			if it.id != "DDD" && it.kind == "draft" && it.submitted.IsZero() {
				f.strays++
				if sc.tidy && (!frozeWithRequest(w) || w.mishaps() < 2) {
					t.Errorf("a draft stays behind: %q", w.trail)
				}
				break
			}
		}
		if !s.next() {
			return f
		}
	}
}

// onePromise checks what must hold at the end of a trace.
func onePromise(w *world, sc exactScenario, end publisher.Outcome) error {
	effects := w.box.effects
	if sc.mails {
		effects = w.box.sent - w.box.again
	}
	if err := toldOnce(w, end); err != nil {
		return err
	}
	switch {
	case end.Outcome == "failed":
		return fmt.Errorf("failed, though Outlook would have taken it: %+v", end.Error)
	case end.Outcome == "done" && effects == 0:
		return errors.New("done without an effect")
	case effects > 1 && (sc.mails || !frozeWithRequest(w)):
		return fmt.Errorf("%d effects", effects)
	case w.box.early > 0 && !frozeWithRequest(w) && !*doubles:
		return errors.New("a draft that was on its way was sent again")
	case end.Outcome == "uncertain" && (!sc.unsure || !w.openEnd):
		return fmt.Errorf("uncertain, though it could be known: %+v", end.Error)
	case sc.unsure && w.openEnd && end.Outcome != "uncertain" && !sc.sendOnly:
		return fmt.Errorf("%s, but a request of unknown effect was left", end.Outcome)
	}
	return nil
}
