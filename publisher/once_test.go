package publisher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
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

// onSend answers the requests to send a draft in the place of the mailbox.
func (w *world) onSend(answer func(publisher.Call) (publisher.Answer, error)) {
	w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
		if call.Operation.ID == "mail.message.send" {
			return answer(call)
		}
		return w.box.do(call)
	}
}

// TestADraftThatIsNotFoundAtFirstIsSentAllTheSame is about Exchange, which for some
// seconds does not find what it has just made.
func TestADraftThatIsNotFoundAtFirstIsSentAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		refused := 0
		w.onSend(func(call publisher.Call) (publisher.Answer, error) {
			if refused++; refused <= 2 {
				return refusedItem()
			}
			return w.box.do(call)
		})
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
		w.onSend(func(publisher.Call) (publisher.Answer, error) {
			return refusedItem()
		})
		deliverUntilAck(t, worker, message("p", aMail))
		if o := w.outcome(t); o.Outcome != "uncertain" || len(w.letters) != 1 {
			t.Errorf("outcome %+v, %d letters", o, len(w.letters))
		}
	})
}

// deletesWithASlot fails where a draft is deleted by a request without a slot.
func (w *world) deletesWithASlot(t *testing.T) {
	t.Helper()
	w.onDo = func(call publisher.Call) {
		if call.Method == methodDelete && w.taken != 1 {
			t.Errorf("a draft is deleted with %d slots", w.taken)
		}
	}
}

func TestAMailThatOutlookRefusesLeavesNoDraft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		w.onSend(func(publisher.Call) (publisher.Answer, error) {
			w.busy = 3 // the mailbox is, when the send is over
			return publisher.Answer{Status: 400}, refusedFor("ErrorInvalidRecipients")
		})
		w.deletesWithASlot(t)
		deliverUntilAck(t, worker, message("p", aMail))
		o := w.outcome(t)
		if w.busy != 0 || w.taken != 0 {
			t.Errorf("%d slots not asked for, %d not given back", w.busy, w.taken)
		}
		if o.Outcome != "failed" || o.Error.Code != "ErrorInvalidRecipients" {
			t.Errorf("outcome %+v", o)
		}
		if w.box.drafts() != 0 {
			t.Error("the draft stays behind")
		}
	})
}

// TestAMailThatOutlookRefusesWhileTheWorkerStopsLeavesNoDraft: nobody comes back to it.
func TestAMailThatOutlookRefusesWhileTheWorkerStopsLeavesNoDraft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		ctx, stop := context.WithCancel(t.Context())
		w.onSend(func(publisher.Call) (publisher.Answer, error) {
			stop()
			return publisher.Answer{Status: 400}, refusedFor("ErrorInvalidRecipients")
		})
		w.deletesWithASlot(t)
		v := worker.Handle(ctx, message("p", aMail))
		if o := w.outcome(t); !v.Ack || o.Outcome != "failed" || w.box.drafts() != 0 || w.taken != 0 {
			t.Errorf("verdict %+v, outcome %+v, %d drafts stay behind, %d slots not given back", v, o, w.box.drafts(), w.taken)
		}
	})
}

func TestAMailThatIsGivenUpLeavesNoDraft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		w.onSend(func(publisher.Call) (publisher.Answer, error) {
			return publisher.Answer{Status: 429}, &fault.Error{Kind: fault.Retry, After: time.Hour, Err: errors.New("429")}
		})
		w.deletesWithASlot(t)
		m := message("p", aMail)
		for time.Since(m.Received) < 24*time.Hour {
			v := worker.Handle(t.Context(), m)
			if v.Ack {
				t.Fatalf("given up after %s", time.Since(m.Received))
			}
			<-time.After(v.After)
		}
		w.busy = 5 // by now
		deliverUntilAck(t, worker, m)
		if o := w.outcome(t); o.Outcome != "failed" || o.Error.Code != "gave_up" || w.box.drafts() != 0 || w.taken != 0 {
			t.Errorf("outcome %+v, %d drafts stay behind, %d slots not given back", o, w.box.drafts(), w.taken)
		}
	})
}

// TestAMailWhoseMailboxStaysBusyIsGivenUpAllTheSame: the draft is the lesser thing.
func TestAMailWhoseMailboxStaysBusyIsGivenUpAllTheSame(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		w.onSend(func(publisher.Call) (publisher.Answer, error) {
			w.busy = 1 << 30
			return publisher.Answer{Status: 429}, &fault.Error{Kind: fault.Retry, After: 24 * time.Hour, Err: errors.New("429")}
		})
		m := message("p", aMail)
		for v := worker.Handle(t.Context(), m); !v.Ack && time.Since(m.Received) < 30*time.Hour; v = worker.Handle(t.Context(), m) {
			<-time.After(v.After)
		}
		if took := time.Since(m.Received); took < 25*time.Hour || took > 26*time.Hour {
			t.Errorf("given up after %s, want a day and an hour", took)
		}
		if o := w.outcome(t); o.Outcome != "failed" || o.Error.Code != "gave_up" || w.box.drafts() != 1 || w.taken != 0 {
			t.Errorf("outcome %+v, %d drafts, %d slots not given back", o, w.box.drafts(), w.taken)
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

// shows is what a search for the command's mails finds.
func shows(t *testing.T, id string, draft bool) publisher.Answer {
	t.Helper()
	a, err := answered(200, map[string]any{"value": []any{map[string]any{"id": id, "isDraft": draft, "parentFolderId": "drafts"}}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestARefusalAfterALookIsNoProofThatNothingHappened: the look may have been wrong.
func TestARefusalAfterALookIsNoProofThatNothingHappened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		sends := 0
		w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
			switch call.Operation.ID {
			case "mail.message.send":
				if sends++; sends == 1 {
					return publisher.Answer{Status: 504}, noAnswer()
				}
				return publisher.Answer{Status: 400}, refusedFor("ErrorInvalidRequest")
			case "mail.message.list":
				return shows(t, "draft1", true), nil
			}
			return w.box.do(call)
		}
		deliverUntilAck(t, worker, message("p", aMail))
		if o := w.outcome(t); o.Outcome != "uncertain" || o.ItemID != "draft1" {
			t.Errorf("outcome %+v", o)
		}
		for _, call := range w.calls {
			if call.Method == methodDelete {
				t.Errorf("what may have been sent was deleted: %s", call.Path)
			}
		}
	})
}

// TestOnlyTheDraftThatWasWrittenDownIsSent: another one with the same mark was made
// too late, and whoever sent it might send a second mail.
func TestOnlyTheDraftThatWasWrittenDownIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		w.answer = func(_ int, call publisher.Call) (publisher.Answer, error) {
			switch call.Operation.ID {
			case "mail.message.send":
				if got := pathOf(call, "message-id"); got != "draft1" {
					t.Errorf("the draft %s is sent", got)
				}
				return publisher.Answer{Status: 504}, noAnswer()
			case "mail.message.list":
				return shows(t, "late", true), nil
			}
			return w.box.do(call)
		}
		deliverUntilAck(t, worker, message("p", aMail))
		if o := w.outcome(t); o.Outcome != "uncertain" {
			t.Errorf("outcome %+v", o)
		}
	})
}

// TestAThrownAwayDraftIsNotSent: a person has looked at it.
func TestAThrownAwayDraftIsNotSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, worker := exactly(t, "mail.message.sendMail")
		sends := 0
		w.onSend(func(publisher.Call) (publisher.Answer, error) {
			sends++
			w.box.items["draft1"].folder = "deleteditems"
			return publisher.Answer{Status: 504}, noAnswer()
		})
		deliverUntilAck(t, worker, message("p", aMail))
		if o := w.outcome(t); o.Outcome != "uncertain" || sends != 1 {
			t.Errorf("outcome %+v after %d requests to send", o, sends)
		}
	})
}
