package publisher_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/publisher"
)

// exactly is a world with a mailbox, and a worker that promises exactly once.
func exactly(t *testing.T, entity string) (*world, *publisher.Worker) {
	t.Helper()
	w := newWorld()
	w.box = newMailbox()
	def := definition(t, "p", entity)
	def.Delivery = publisher.ExactlyOnce
	return w, w.worker(t, with(def))
}

// TestADraftThatIsNotFoundAtFirstIsSentAllTheSame is about Exchange, which for some
// seconds does not find what it has just made.
func TestADraftThatIsNotFoundAtFirstIsSentAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		refused := 0
		w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
			if call.Operation.ID == "mail.message.send" && refused < 2 {
				refused++
				return refusedItem()
			}
			return w.box.do(call)
		}
		deliverUntilAck(t, worker, message("p", aMail))
		if o := w.outcome(t); o.Outcome != "done" || w.box.sent != 1 {
			t.Errorf("outcome %+v, %d mails sent", o, w.box.sent)
		}
	})
}

// TestADraftThatStaysUnknownIsNobodysFailure: the draft may have been sent.
func TestADraftThatStaysUnknownIsNobodysFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
			if call.Operation.ID == "mail.message.send" {
				return refusedItem()
			}
			return w.box.do(call)
		}
		deliverUntilAck(t, worker, message("p", aMail))
		if o := w.outcome(t); o.Outcome != "uncertain" || len(w.letters) != 1 {
			t.Errorf("outcome %+v, %d letters", o, len(w.letters))
		}
	})
}

func TestAMailThatOutlookRefusesLeavesNoDraft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
			if call.Operation.ID == "mail.message.send" {
				return publisher.Answer{Status: 400}, refusedFor("ErrorInvalidRecipients")
			}
			return w.box.do(call)
		}
		deliverUntilAck(t, worker, message("p", aMail))
		o := w.outcome(t)
		if o.Outcome != "failed" || o.Error.Code != "ErrorInvalidRecipients" {
			t.Errorf("outcome %+v", o)
		}
		for _, it := range w.box.items {
			if it.kind == "draft" {
				t.Errorf("the draft %s stays behind", it.id)
			}
		}
	})
}

func TestWhatIsWeakerThanExactlyOnceIsSaid(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		data     string
		sendOnly bool
		says     string
	}{
		"no copy is kept":        {`{"payload":{"saveToSentItems":false,"message":{"subject":"x"}}}`, false, "saveToSentItems"},
		"no drafts are allowed":  {aMail, true, "Mail.ReadWrite"},
		"all is as it should be": {aMail, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, worker := exactly(t, "mail.message.sendMail")
				w.box.sendOnly = tc.sendOnly
				deliverUntilAck(t, worker, message("p", tc.data))
				o := w.outcome(t)
				if o.Outcome != "done" || w.box.sent != 1 || !strings.Contains(o.Weaker, tc.says) || tc.says == "" && o.Weaker != "" {
					t.Errorf("outcome %+v, %d mails sent", o, w.box.sent)
				}
			})
		})
	}
}

// TestWithoutTheRightToDraftsNoneIsTriedForAWhile saves a refused request for each
// mail of a client that may only send.
func TestWithoutTheRightToDraftsNoneIsTriedForAWhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		w.box.sendOnly = true
		send := func(n uint64) int {
			before := len(w.calls)
			m := message("p", aMail)
			m.Sequence = n
			deliverUntilAck(t, worker, m)
			return len(w.calls) - before
		}
		first, second := send(1), send(2)
		<-time.After(11 * time.Minute)
		if third := send(3); first != 2 || second != 1 || third != 2 || w.box.sent != 3 {
			t.Errorf("%d, %d and, after a while, %d requests, want 2, 1 and 2; %d mails", first, second, third, w.box.sent)
		}
	})
}
