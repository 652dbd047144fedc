package publisher_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

func TestACommandBecomesTheRequestThatItNames(t *testing.T) {
	t.Parallel()
	w := newWorld()
	p := definition(t, "p", "mail.*")
	p.Mailboxes = []string{"me", "Ann@Contoso.com"}
	p.Headers = map[string]string{"prefer": "outlook.body-content-type=\"text\""}
	worker := w.worker(t, with(p))
	m := message("p", `{"mailbox":"ann@CONTOSO.com","entity":"Mail - Update message","method":"patch",
		"path":{"MessageId":"AA/B="},"query":{"$select":"id"},"headers":{"If-Match":"W/\"1\""},
		"payload":{"isRead": true,  "categories":["<b>&"]}}`)
	if v := worker.Handle(t.Context(), m); !v.Ack {
		t.Fatalf("verdict %+v", v)
	}
	got := w.calls[0]
	if len(got.RequestID) != 36 {
		t.Errorf("client-request-id %q is no UUID", got.RequestID)
	}
	if got.Operation.ID != "mail.message.update" {
		t.Errorf("operation %s", got.Operation.ID)
	}
	if !got.Target.Fits(got.Operation, got.Params) {
		t.Error("the target is not that of the parameters")
	}
	got.RequestID, got.Operation, got.Target = "", nil, nil
	want := publisher.Call{
		Client: "contoso", Mailbox: "ann@contoso.com", Method: "PATCH",
		Params: catalog.Params{
			Mailbox: "ann@contoso.com",
			Path:    map[string]string{"MessageId": "AA/B="}, Query: map[string]string{"$select": "id"},
		},
		Path: got.Path, RawQuery: got.RawQuery, Template: "/users/{user-id}/messages/{message-id}",
		Header: map[string]string{"Prefer": "outlook.body-content-type=\"text\"", "If-Match": "W/\"1\""},
		// Byte for byte: no defaults and no transform touch the payload.
		Body: []byte(`{"isRead": true,  "categories":["<b>&"]}`),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request differs (-want +got):\n%s", diff)
	}
	if !strings.HasPrefix(got.Path, "/users/ann") || !strings.HasSuffix(got.Path, "AA%2FB=") && !strings.HasSuffix(got.Path, "AA%2FB%3D") {
		t.Errorf("path %q", got.Path)
	}
}

func TestAnOutcomeIsToldAsTheContractSays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answer = func(int, publisher.Call) (publisher.Answer, error) {
			<-time.After(1500 * time.Millisecond)
			return publisher.Answer{
				Status: 201, RequestID: "req", ClientRequestID: "crid",
				Body: []byte(`{"id":"AAA","internetMessageId":"<x@y>","bodyPreview":"cut \ud83d <b>","n":1e400}`),
			}, nil
		}
		worker := w.worker(t, with(definition(t, "drafts", "mail.message.create")))
		m := message("drafts", `{"payload":{}}`, "Nats-Msg-Id", "order-7", "Outlook-Reply-To", "_INBOX.abc.1")
		if v := worker.Handle(t.Context(), m); !v.Ack {
			t.Fatalf("verdict %+v", v)
		}
		want := `{"id":"order-7","publisher":"drafts","mailbox":"me","entity":"mail.message.create","outcome":"done","status":201,` +
			`"request_id":"req","client_request_id":"crid","item_id":"AAA","internet_message_id":"<x@y>",` +
			`"body":{"id":"AAA","internetMessageId":"<x@y>","bodyPreview":"cut \ud83d <b>","n":1e400},"attempts":1,` +
			`"received_at":"2000-01-01T00:00:00Z","finished_at":"2000-01-01T00:00:01.5Z"}`
		if got := string(w.results[0].body); got != want {
			t.Errorf("result\n got %s\nwant %s", got, want)
		}
		if w.results[0].to != "order-7" || len(w.replies) != 1 || w.replies[0].to != "_INBOX.abc.1" || string(w.replies[0].body) != want {
			t.Errorf("result to %q, replies %+v", w.results[0].to, w.replies)
		}
		if len(w.letters) != 0 {
			t.Errorf("%d dead letters of a command that is done", len(w.letters))
		}
	})
}

func TestADeadLetterHoldsAllThatIsNeededToJudgeIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answer = func(int, publisher.Call) (publisher.Answer, error) {
			return publisher.Answer{Status: 403, RequestID: "req", ClientRequestID: "crid", Body: []byte(`{"error":{"code":"ErrorAccessDenied"}}`)},
				fault.New(fault.Poison, "403 ErrorAccessDenied: no").WithCode("ErrorAccessDenied").WithHint("grant Mail.Send")
		}
		worker := w.worker(t)
		if v := worker.Handle(t.Context(), message("send-mail", `{"payload": {"message": {"subject": "<b>"}}}`, "X-Trace", "7")); !v.Ack {
			t.Fatalf("verdict %+v", v)
		}
		text, err := w.letters[0].Encode()
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := json.Indent(&got, text, "", " "); err != nil {
			t.Fatal(err)
		}
		golden(t, "dead_letter.golden", got.String()+"\n")
	})
}

func TestAnAnswerMeansWhatItsClassSays(t *testing.T) {
	t.Parallel()
	retry := func(after time.Duration) error {
		return &fault.Error{Kind: fault.Retry, After: after, Code: "busy", Err: errors.New("busy")}
	}
	poison := fault.New(fault.Poison, "no").WithCode("ErrorInvalidRequest")
	gone := fault.New(fault.Poison, "gone").WithCode("ErrorItemNotFound")
	type step struct {
		status int
		err    error
	}
	const post, patch, del = "mail.message.sendMail", "mail.message.update", "mail.message.delete"
	cases := []struct {
		name     string
		entity   string
		delivery publisher.Delivery
		ifMatch  bool
		steps    []step // the last one is repeated
		outcome  string
		code     string
		requests int
	}{
		{"202 with an error beside it is final", post, "", false, []step{{202, retry(time.Second)}}, "done", "", 1},
		{"refused for good", post, "", false, []step{{400, poison}}, "failed", "ErrorInvalidRequest", 1},
		{"429, then taken", post, "", false, []step{{429, retry(time.Second)}, {202, nil}}, "done", "", 2},
		{"not signed in, then taken", post, "", false, []step{{401, fault.New(fault.Reauth, "sign in")}, {202, nil}}, "done", "", 2},
		{"a process that must stop", post, "", false, []step{{0, fault.New(fault.Fatal, "disk")}, {202, nil}}, "done", "", 2},
		{"POST without an answer", post, "", false, []step{{504, noAnswer()}}, "uncertain", "uncertain_effect", 1},
		{"POST with an error that nobody marked", post, "", false, []step{{0, errors.New("odd")}}, "uncertain", "uncertain_effect", 1},
		{"POST without an answer, at least once", post, publisher.AtLeastOnce, false, []step{{504, noAnswer()}, {202, nil}}, "done", "", 2},
		{"POST without an answer, at least once, then refused", post, publisher.AtLeastOnce, false, []step{{504, noAnswer()}, {400, poison}}, "uncertain", "ErrorInvalidRequest", 2},
		{"PATCH without an answer", patch, "", false, []step{{504, noAnswer()}, {200, nil}}, "done", "", 2},
		{"PATCH redirected", patch, "", false, []step{{302, &fault.Error{Kind: fault.Poison, Ambiguous: true, Err: errors.New("redirect")}}}, "uncertain", "uncertain_effect", 1},
		{"PATCH without an answer, then refused", patch, "", false, []step{{504, noAnswer()}, {404, poison}}, "uncertain", "ErrorInvalidRequest", 2},
		{"412 without If-Match is met five times", patch, "", false, []step{{412, retry(0)}}, "failed", "busy", 5},
		{"412 marked as poison without If-Match", patch, "", false, []step{{412, poison}, {200, nil}}, "done", "", 2},
		{"412 with If-Match", patch, "", true, []step{{412, retry(0)}}, "failed", "conflict", 1},
		{"DELETE of nothing", del, "", false, []step{{404, poison}}, "failed", "ErrorInvalidRequest", 1},
		{"DELETE refused, then of nothing", del, "", false, []step{{429, retry(0)}, {404, poison}}, "failed", "ErrorInvalidRequest", 2},
		{"DELETE of what is gone", del, "", false, []step{{404, gone}}, "done", "", 1},
		{"DELETE without an answer, then gone", del, publisher.AtLeastOnce, false, []step{{504, noAnswer()}, {404, gone}}, "done", "", 2},
		{"throttled for ever", post, "", false, []step{{429, retry(time.Second)}}, "failed", "gave_up", -1},
		{"PATCH without an answer for ever", patch, "", false, []step{{504, noAnswer()}}, "uncertain", "gave_up", -1},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
					s := tc.steps[min(n, len(tc.steps))-1]
					return publisher.Answer{Status: s.status, RequestID: "req"}, s.err
				}
				def := definition(t, "p", tc.entity)
				def.Delivery, def.GiveUpAfter = tc.delivery, 30*time.Minute
				worker := w.worker(t, with(def))
				data := `{"path":{"id":"A"},"payload":{}}`
				switch {
				case tc.entity == post:
					data = aMail
				case tc.entity == del:
					data = `{"path":{"id":"A"}}`
				case tc.ifMatch:
					data = `{"path":{"id":"A"},"payload":{},"headers":{"if-match":"W/1"}}`
				}
				m := message("p", data)
				deliverUntilAck(t, worker, m)
				o := w.outcome(t)
				if o.Outcome != tc.outcome || (o.Error == nil) != (tc.code == "") || o.Error != nil && o.Error.Code != tc.code {
					t.Errorf("outcome %s %+v, want %s %s", o.Outcome, o.Error, tc.outcome, tc.code)
				}
				if tc.requests >= 0 && len(w.calls) != tc.requests {
					t.Errorf("%d requests, want %d", len(w.calls), tc.requests)
				}
				if o.Attempts != len(w.calls) {
					t.Errorf("outcome tells %d attempts of %d", o.Attempts, len(w.calls))
				}
				if tc.code == "gave_up" {
					if took := time.Since(m.Received); took < def.GiveUpAfter || took > def.GiveUpAfter+time.Second {
						t.Errorf("gave up after %s, want %s", took, def.GiveUpAfter)
					}
					if !strings.Contains(o.Error.Message, "busy") && !strings.Contains(o.Error.Message, "Gateway") || o.RequestID != "req" {
						t.Errorf("the last cause is missing: %+v", o)
					}
				}
			})
		})
	}
}

// deliverUntilAck delivers a message as the queue would and returns how often.
func deliverUntilAck(t *testing.T, worker *publisher.Worker, m publisher.Message) int {
	t.Helper()
	for n := range 10_000 {
		v := worker.Handle(t.Context(), m)
		if v.Ack {
			return n + 1
		}
		if v.After > time.Hour {
			t.Fatalf("given back for %s, want at most an hour", v.After)
		}
		<-time.After(v.After)
	}
	t.Fatal("never acknowledged")
	return 0
}

func TestNoRequestIsMadeBeforeRetryAfterIsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var at []time.Time
		w.onDo = func(publisher.Call) { at = append(at, time.Now()) }
		w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
			if n == 1 {
				return publisher.Answer{Status: 429}, &fault.Error{Kind: fault.Retry, After: 90 * time.Second, Err: errors.New("429")}
			}
			return publisher.Answer{Status: 202}, nil
		}
		m := message("send-mail", aMail)
		if v := w.worker(t).Handle(t.Context(), m); v.Ack || v.After < 90*time.Second {
			t.Fatalf("verdict %+v, want at least 90 s", v)
		}
		// The process dies, and another gets the message much too early.
		<-time.After(15 * time.Second)
		deliverUntilAck(t, w.worker(t), m)
		if gap := at[1].Sub(at[0]); gap < 90*time.Second {
			t.Errorf("second request after %s", gap)
		}
	})
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.answer = func(int, publisher.Call) (publisher.Answer, error) { return publisher.Answer{}, notSent() }
		var most []time.Duration
		worker := w.worker(t, func(o *publisher.Options) {
			o.Jitter = func(d time.Duration) time.Duration { most = append(most, d); return d }
		})
		m := message("send-mail", aMail)
		for range 12 {
			<-time.After(worker.Handle(t.Context(), m).After)
		}
		want := []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300}
		for i := range want {
			if most[i] != time.Duration(want[i])*time.Second {
				t.Fatalf("delays %v, want %v s", most, want)
			}
		}
	})
}

func TestACommandWaitsForItsTimeAndExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		worker := w.worker(t)
		begin := time.Now().Add(26 * time.Hour)
		var at time.Time
		w.onDo = func(publisher.Call) { at = time.Now() }
		m := message("send-mail", aMail, "Outlook-Not-Before", begin.Format(time.RFC3339))
		deliverUntilAck(t, worker, m)
		if !at.Equal(begin) {
			t.Errorf("sent at %s, want %s", at, begin)
		}
		if len(w.records) != 1 || w.outcome(t).Outcome != "done" {
			t.Errorf("outcome %+v", w.outcome(t))
		}

		// give_up_after counts from Outlook-Not-Before.
		w = newWorld()
		w.answer = func(int, publisher.Call) (publisher.Answer, error) { return publisher.Answer{}, notSent() }
		start := time.Now()
		m = message("send-mail", aMail, "Outlook-Not-Before", start.Add(48*time.Hour).Format(time.RFC3339))
		deliverUntilAck(t, w.worker(t), m)
		if took := time.Since(start); took < 72*time.Hour || took > 73*time.Hour {
			t.Errorf("gave up after %s, want 72 h", took)
		}

		w = newWorld()
		w.answer = func(int, publisher.Call) (publisher.Answer, error) { return publisher.Answer{}, notSent() }
		start = time.Now()
		m = message("send-mail", aMail, "Outlook-Expires", start.Add(10*time.Minute).Format(time.RFC3339))
		deliverUntilAck(t, w.worker(t), m)
		if o := w.outcome(t); o.Outcome != "failed" || o.Error.Code != "expired" || len(w.calls) == 0 {
			t.Errorf("outcome %+v after %d requests", o, len(w.calls))
		}
	})
}

func TestABusyMailboxGivesTheMessageBack(t *testing.T) {
	t.Parallel()
	w := newWorld()
	def := definition(t, "send-mail", "mail.message.sendMail")
	def.InFlight = 1
	worker := w.worker(t, with(def))
	w.busy = 1
	m := message("send-mail", aMail)
	if v := worker.Handle(t.Context(), m); v.Ack || v.After != 700*time.Millisecond {
		t.Errorf("busy mailbox: %+v", v)
	}
	if len(w.records) != 0 {
		t.Error("a command that waits for its turn has been written into the ledger")
	}
	w.onSaved = func(_ string, data []byte) {
		// The slot is Outlook's, not the ledger's: it is free as soon as the
		// request is answered.
		if stateOf(data) == "done" && w.taken != 0 {
			t.Error("the slot is held while the end is written down")
		}
	}
	if v := worker.Handle(t.Context(), m); !v.Ack {
		t.Errorf("own turn: %+v", v)
	}
	if w.taken != 0 || len(w.calls) != 1 {
		t.Errorf("%d slots in use, %d requests", w.taken, len(w.calls))
	}
}

// TestAPublisherMakesNoMoreRequestsAtATimeThanItMay, and has no more commands in
// hand than it may either.
func TestAPublisherMakesNoMoreRequestsAtATimeThanItMay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		def := definition(t, "send-mail", "mail.message.sendMail")
		def.InFlight = 1
		worker := w.worker(t, with(def))
		var mu sync.Mutex
		atGraph, most := 0, 0
		w.answer = func(int, publisher.Call) (publisher.Answer, error) {
			mu.Lock()
			atGraph++
			most = max(most, atGraph)
			mu.Unlock()
			<-time.After(time.Second)
			mu.Lock()
			defer mu.Unlock()
			atGraph--
			return publisher.Answer{Status: 202}, nil
		}
		m := message("send-mail", aMail)
		var all sync.WaitGroup
		for range worker.InHand()["send-mail"] {
			m.Sequence++
			one := m
			all.Go(func() {
				if v := worker.Handle(t.Context(), one); !v.Ack {
					t.Errorf("in hand: %+v", v)
				}
			})
		}
		synctest.Wait()
		other := m
		other.Sequence++
		if v := worker.Handle(t.Context(), other); v.Ack || v.After <= 0 || v.After > time.Second {
			t.Errorf("full publisher: %+v", v)
		}
		all.Wait()
		if most != 1 || len(w.calls) != 4 {
			t.Errorf("%d requests at a time, %d in all", most, len(w.calls))
		}
	})
}

func TestARedeliveryToTheSameProcessIsGivenBack(t *testing.T) {
	t.Parallel()
	w := newWorld()
	worker := w.worker(t)
	m := message("send-mail", aMail)
	w.onDo = func(publisher.Call) {
		if v := worker.Handle(t.Context(), m); v.Ack || v.After <= 0 {
			t.Errorf("redelivery: %+v", v)
		}
	}
	if v := worker.Handle(t.Context(), m); !v.Ack {
		t.Errorf("first delivery: %+v", v)
	}
	if len(w.calls) != 1 {
		t.Errorf("%d requests", len(w.calls))
	}
}

func TestWithoutALedgerNothingIsSent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.choose = func(s site, _ []mishap) mishap {
			if s == siteSave {
				return errorBefore
			}
			return fine
		}
		v := w.worker(t).Handle(t.Context(), message("send-mail", aMail))
		if v.Ack || v.After <= 0 || len(w.calls) != 0 || w.taken != 0 {
			t.Errorf("verdict %+v, %d requests, %d slots", v, len(w.calls), w.taken)
		}
	})
}

func TestWhatTheLedgerCouldNotTakeIsRememberedInTheProcess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		down := false
		w.onDo = func(publisher.Call) { down = true }
		w.choose = func(s site, _ []mishap) mishap {
			if down && (s == siteSave || s == siteLoad) {
				return errorBefore
			}
			return fine
		}
		worker := w.worker(t)
		m := message("send-mail", aMail)
		if v := worker.Handle(t.Context(), m); v.Ack {
			t.Fatal("acknowledged without a record")
		}
		down = false
		if v := worker.Handle(t.Context(), m); !v.Ack {
			t.Fatalf("verdict %+v", v)
		}
		if o := w.outcome(t); o.Outcome != "done" || len(w.calls) != 1 {
			t.Errorf("outcome %s after %d requests, want done after 1", o.Outcome, len(w.calls))
		}
	})
}

func TestStoppingRecordsWhatTheRequestCameTo(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer  publisher.Answer
		err     func(error) error
		ack     bool
		outcome string
		state   string
	}{
		"answered":  {publisher.Answer{Status: 202}, nil, true, "done", "done"},
		"broken":    {publisher.Answer{}, func(err error) error { return &fault.Error{Kind: fault.Retry, Ambiguous: true, Err: err} }, true, "uncertain", "uncertain"},
		"not begun": {publisher.Answer{}, func(err error) error { return &fault.Error{Kind: fault.Retry, Err: err} }, false, "", "claimed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			w.answer = func(int, publisher.Call) (publisher.Answer, error) {
				stop()
				if tc.err == nil {
					return tc.answer, nil
				}
				return tc.answer, tc.err(ctx.Err())
			}
			v := w.worker(t).Handle(ctx, message("send-mail", aMail))
			if v.Ack != tc.ack {
				t.Fatalf("verdict %+v", v)
			}
			if got := w.record(t); got["state"] != tc.state {
				t.Errorf("record %v", got)
			}
			if tc.ack && w.outcome(t).Outcome != tc.outcome {
				t.Errorf("outcome %+v", w.outcome(t))
			}
			if !tc.ack && (w.record(t)["attempts"] != 0.0 || v.After != 0) {
				t.Errorf("stopping used up an attempt: %v, %+v", w.record(t), v)
			}
		})
	}
}

func TestLogsHaveOneLineADecisionAndNoBodies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w := newWorld()
		w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
			if n == 1 {
				return publisher.Answer{Status: 429, Body: []byte(`{"s":"canary-answer"}`)}, &fault.Error{Kind: fault.Retry, Err: errors.New("429")}
			}
			return publisher.Answer{Status: 202, Body: []byte(`{"s":"canary-answer"}`)}, nil
		}
		worker := w.worker(t, func(o *publisher.Options) {
			o.Log = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))
		})
		deliverUntilAck(t, worker, message("send-mail", `{"payload":{"message":{"subject":"canary-subject"}}}`))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], "remedy=retry") || !strings.Contains(lines[1], "command done") {
			t.Errorf("log:\n%s", out.String())
		}
		if strings.Contains(out.String(), "canary") {
			t.Errorf("a body is in the log:\n%s", out.String())
		}
	})
}
