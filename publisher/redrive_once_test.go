package publisher_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/publisher"
)

// TestWhatIsSentAgainIsLookedForFirst redrives a command that ended as uncertain,
// because nothing could be looked for then.
func TestWhatIsSentAgainIsLookedForFirst(t *testing.T) {
	t.Parallel()
	const (
		anEvent = `{"payload":{"subject":"x"}}`
		contact = `{"payload":{"givenName":"Ann"}}`
	)
	for name, tc := range map[string]struct {
		entity, data string
		happened     bool // the effect of the first command is there
		edited       bool // its text is changed before it is sent again
		forgotten    bool // the ledger has nothing of it any more
		effects      int  // all in all
		found        bool
	}{
		"a mail that went out":                      {entity: "mail.message.sendMail", data: aMail, happened: true, effects: 1, found: true},
		"a mail that went out, which nobody noted":  {entity: "mail.message.sendMail", data: aMail, happened: true, forgotten: true, effects: 1, found: true},
		"a mail that did not go out":                {entity: "mail.message.sendMail", data: aMail, effects: 1},
		"a mail that did not, which nobody noted":   {entity: "mail.message.sendMail", data: aMail, forgotten: true, effects: 1},
		"a mail that went out, with another text":   {entity: "mail.message.sendMail", data: aMail, happened: true, edited: true, effects: 2},
		"a reply that went out":                     {entity: "mail.message.reply", data: aReply, happened: true, effects: 1, found: true},
		"an event that is there":                    {entity: "calendar.event.create", data: anEvent, happened: true, effects: 1, found: true},
		"an event that is not":                      {entity: "calendar.event.create", data: anEvent, effects: 1},
		"a contact that is there":                   {entity: "contacts.contact.create", data: contact, happened: true, effects: 1, found: true},
		"a copy that is there":                      {entity: "mail.message.copy", data: toFiles, happened: true, effects: 1, found: true},
		"what cannot be looked for is done, twice":  {entity: "settings.category.create", data: `{"payload":{"displayName":"x"}}`, happened: true, effects: 2},
		"a contact that is not":                     {entity: "contacts.contact.create", data: contact, effects: 1},
		"a copy that is not":                        {entity: "mail.message.copy", data: toFiles, effects: 1},
		"a contact that is there, with another one": {entity: "contacts.contact.create", data: contact, happened: true, edited: true, effects: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, worker := exactly(t, tc.entity)
				last := func(call publisher.Call) bool {
					return call.Operation.ID == tc.entity && tc.entity != "mail.message.reply" || call.Operation.ID == "mail.message.send"
				}
				w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
					if call.Method == http.MethodGet {
						return forbidden()
					}
					if !last(call) {
						return w.box.do(call)
					}
					if tc.happened {
						_, _ = w.box.do(call)
					}
					return publisher.Answer{Status: 504}, noAnswer()
				}
				first := message("p", tc.data, "Nats-Msg-Id", "k")
				if tc.entity == "calendar.event.create" { // whose request is made again until its time is over
					first.Received = time.Now().Add(-publisher.DefaultGiveUpAfter + time.Second)
				}
				deliverUntilAck(t, worker, first)
				if o := w.outcome(t); o.Outcome != "uncertain" || len(w.letters) != 1 {
					t.Fatalf("first %+v, %d letters", o, len(w.letters))
				}
				w.answer = nil
				if tc.forgotten {
					clear(w.records)
				}
				again, err := w.letters[0].Redrive()
				if err != nil {
					t.Fatal(err)
				}
				if tc.edited {
					again.Data = []byte(strings.Replace(tc.data, `"payload":{`, `"payload":{"more":1,`, 1))
				}
				m := message("p", string(again.Data))
				m.Header, m.Sequence = again.Sealed(), 18
				deliverUntilAck(t, worker, m)
				o := w.outcome(t)
				effects := w.box.effects + w.box.sent
				if o.Outcome != "done" || o.Found != tc.found || effects != tc.effects {
					t.Errorf("%s, found %t, %d effects: %+v", o.Outcome, o.Found, effects, o.Error)
				}
			})
		})
	}
}

// TestADraftThatIsGoneIsMadeAnewForWhoSendsAgain, but not once more after a request of
// the second command's own.
func TestADraftThatIsGoneIsMadeAnewForWhoSendsAgain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		there     bool // the first command's draft is
		lostAgain bool // the answer to the second's request
	}{"it goes out": {}, "the answer is lost again": {lostAgain: true}, "to the same draft": {there: true, lostAgain: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, worker := exactly(t, "mail.message.sendMail")
				blind := true
				w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
					switch {
					case call.Operation.ID == "mail.message.list" && blind:
						return forbidden()
					case call.Operation.ID == "mail.message.send" && (blind || tc.lostAgain):
						if !blind || !tc.there {
							clear(w.box.items) // whatever became of it, nobody finds it
						}
						return publisher.Answer{Status: 504}, noAnswer()
					}
					return w.box.do(call)
				}
				deliverUntilAck(t, worker, message("p", aMail, "Nats-Msg-Id", "k"))
				again, err := w.letters[0].Redrive()
				if err != nil {
					t.Fatal(err)
				}
				blind = false
				m := message("p", aMail)
				m.Header, m.Sequence = again.Sealed(), 18
				before := len(w.calls)
				deliverUntilAck(t, worker, m)
				sends := 0
				for _, call := range w.calls[before:] {
					if call.Operation.ID == "mail.message.send" {
						sends++
					}
				}
				want := map[bool]string{false: "done", true: "uncertain"}[tc.lostAgain]
				if o := w.outcome(t); o.Outcome != want || sends != 1 {
					t.Errorf("%s after %d requests to send: %+v", o.Outcome, sends, o.Error)
				}
			})
		})
	}
}

// TestOnlyTheSendersOwnCommandsAreTakenOverFrom: the header is the sender's to write.
func TestOnlyTheSendersOwnCommandsAreTakenOverFrom(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"another publisher's": "q.k", "one that is not uncertain": "p.done", "no key": "p", "its own": "p.again",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, worker := exactly(t, "mail.message.sendMail")
				deliverUntilAck(t, worker, message("p", aMail, "Nats-Msg-Id", "done"))
				w.records["q.k"] = w.records["p.done"]
				deliverUntilAck(t, worker, message("p", aMail, "Nats-Msg-Id", "again", "Outlook-Redrive-Uncertain", header))
				if o := w.outcome(t); o.Outcome != "done" || o.Found || w.box.sent != 2 {
					t.Errorf("%+v, %d mails", o, w.box.sent)
				}
			})
		})
	}
}
