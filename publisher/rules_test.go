package publisher_test

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/xform"
	"outlook-connector/publisher"
)

func withLog(out io.Writer) func(*publisher.Options) {
	return func(o *publisher.Options) { o.Log = slog.New(slog.NewTextHandler(out, nil)) }
}

func TestDefaultsLieUnderWhatTheMessageBrings(t *testing.T) {
	t.Parallel()
	def := definition(t, "p", "mail.message.update", "mail.message.delete", "mail.message.create")
	def.Path = map[string]string{"message-id": "DEFAULT"}
	def.Query = map[string]string{"$select": "id", "$top": "5"}
	def.Headers = map[string]string{"Prefer": "return=minimal", "If-Match": "W/0"}
	def.Payload = []byte(` {"isRead": true, "flag": {"flagStatus": "flagged", "x": 1}, "subject": "default"} `)
	for name, tc := range map[string]struct {
		data    string
		path    string // how it ends
		query   string
		headers map[string]string
		body    string
	}{
		"nothing brought": {
			`{"entity":"mail.message.update"}`,
			"/DEFAULT", "%24select=id&%24top=5",
			map[string]string{"Prefer": "return=minimal", "If-Match": "W/0"},
			`{"isRead": true, "flag": {"flagStatus": "flagged", "x": 1}, "subject": "default"}`,
		},
		"the message wins, name by name": {
			`{"entity":"mail.message.update","path":{"MessageId":"B"},"query":{"$TOP":7},"headers":{"prefer":"a","IF-MATCH":null},"payload":{"flag":{"flagStatus":"complete"},"subj\u0065ct":null,"n":1.50}}`,
			"/B", "%24select=id&%24top=7",
			map[string]string{"Prefer": "a"},
			`{"flag":{"flagStatus":"complete"},"subj\u0065ct":null,"n":1.50,"isRead":true}`,
		},
		"null takes a default away": {
			`{"entity":"mail.message.create","path":{"message-id":null},"query":{"$top":null},"headers":null,"payload":null}`,
			"/me/messages", "%24select=id",
			map[string]string{"Prefer": "return=minimal", "If-Match": "W/0"},
			`{"isRead": true, "flag": {"flagStatus": "flagged", "x": 1}, "subject": "default"}`,
		},
		"a DELETE takes no default payload": {
			`{"entity":"mail.message.delete"}`,
			"/DEFAULT", "%24select=id&%24top=5",
			map[string]string{"Prefer": "return=minimal", "If-Match": "W/0"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			if v := w.worker(t, with(def)).Handle(t.Context(), message("p", tc.data)); !v.Ack || len(w.calls) != 1 {
				t.Fatalf("verdict %+v, outcome %+v", v, w.outcome(t).Error)
			}
			call := w.calls[0]
			query := strings.ReplaceAll(call.RawQuery, "$", "%24")
			if !strings.HasSuffix(call.Path, tc.path) || query != tc.query || string(call.Body) != tc.body {
				t.Errorf("path %s\nquery %s, want %s\nbody %s\nwant %s", call.Path, query, tc.query, call.Body, tc.body)
			}
			if diff := cmp.Diff(tc.headers, call.Header); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}
}

func TestATransformShapesTheRequestAndPolicyIsCheckedAfterIt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		program, data string
		body          string // of the request; empty where there is none
		code          string
	}{
		"sees defaults and names": {
			`.payload = {m: .mailbox, e: .entity, h: .headers, q: .query, p: .path, s: .payload.subject}`, `{"payload":{"subject":"<b>"}}`,
			`{"e":"mail.message.sendMail","h":{},"m":"me","p":{},"q":{},"s":"<b>"}`, "",
		},
		"keeps numbers":              {`.payload.y = .payload.x`, `{"payload":{"x":12345678901234567890123}}`, `{"x":12345678901234567890123,"y":12345678901234567890123}`, ""},
		"may drop what it was given": {`{payload: {a: 1}}`, aMail, `{"a":1}`, ""},
		"chooses another mailbox":    {`.mailbox = "ceo@contoso.com"`, aMail, "", "mailbox_not_allowed"},
		"chooses another entity":     {`.entity = "mail.message.delete"`, aMail, "", "entity_not_allowed"},
		"adds a header":              {`.headers.Authorization = "Bearer x"`, aMail, "", "header_not_allowed"},
		"adds a member":              {`.url = "https://evil.example"`, aMail, "", "unknown_member"},
		"gives text":                 {`"x"`, aMail, "", "bad_message"},
		"gives nothing":              {`empty`, aMail, "", "transform_empty"},
		"fails":                      {`error("no")`, aMail, "", "transform_failed"},
		"does not help a stranger":   {`.mailbox = "me"`, `{"mailbox":"ceo@contoso.com","payload":{}}`, "", "mailbox_not_allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := xform.Compile(tc.program)
			if err != nil {
				t.Fatal(err)
			}
			def := definition(t, "p", "mail.message.sendMail")
			def.RequestTransform = program
			w := newWorld()
			if v := w.worker(t, with(def)).Handle(t.Context(), message("p", tc.data)); !v.Ack {
				t.Fatalf("verdict %+v", v)
			}
			o := w.outcome(t)
			if tc.code != "" {
				if o.Outcome != "failed" || o.Error.Code != tc.code || len(w.calls) != 0 {
					t.Errorf("outcome %s %+v, want %s", o.Outcome, o.Error, tc.code)
				}
				return
			}
			if len(w.calls) != 1 || string(w.calls[0].Body) != tc.body {
				t.Errorf("calls %+v, error %+v, want body %s", w.calls, o.Error, tc.body)
			}
		})
	}
}

func TestAPublisherOfSeveralEntitiesTakesTheOneThatIsNamed(t *testing.T) {
	t.Parallel()
	def := definition(t, "p", "places.place.create", "mail.message.update", "mail.message.get")
	w := newWorld()
	worker := w.worker(t, with(def))
	for i, data := range []string{
		`{"entity":"MAIL.message.UPDATE","path":{"id":"A"},"payload":{}}`,
		`{"entity":"places.place.create","payload":{}}`,
		`{"entity":"places.place.create","mailbox":"-","payload":{}}`,
	} {
		m := message("p", data)
		m.Sequence = uint64(i + 1)
		worker.Handle(t.Context(), m)
		if o := w.outcome(t); o.Outcome != "done" {
			t.Errorf("%s: %+v", data, o.Error)
		}
	}
	if w.calls[0].Mailbox != "me" || w.calls[1].Mailbox != "-" || w.calls[2].Path != "/places" {
		t.Errorf("calls %+v", w.calls)
	}
}

func TestAHeaderMayTightenTheDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.answer = func(int, publisher.Call) (publisher.Answer, error) { return publisher.Answer{}, noAnswer() }
	def := definition(t, "p", "mail.message.sendMail")
	def.Delivery = publisher.AtLeastOnce
	// Some clients write header names in their own way.
	m := message("p", aMail, "outlook-delivery", "at_most_once")
	if v := w.worker(t, with(def)).Handle(t.Context(), m); !v.Ack || w.outcome(t).Outcome != "uncertain" {
		t.Errorf("verdict %+v", v)
	}
}

func TestAReplyMayGoToAConfiguredPrefix(t *testing.T) {
	t.Parallel()
	w := newWorld()
	worker := w.worker(t, func(o *publisher.Options) { o.ReplyPrefixes = []string{"answers."} })
	worker.Handle(t.Context(), message("send-mail", aMail, "Outlook-Reply-To", "answers.shop.7"))
	if len(w.replies) != 1 || w.replies[0].to != "answers.shop.7" {
		t.Errorf("replies %+v", w.replies)
	}
}

func TestAReplyThatCannotBeSentDoesNotHoldTheCommand(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.choose = func(s site, _ []mishap) mishap {
		if s == siteReply {
			return errorBefore
		}
		return fine
	}
	if v := w.worker(t).Handle(t.Context(), message("send-mail", aMail, "Outlook-Reply-To", "_INBOX.x")); !v.Ack {
		t.Errorf("verdict %+v", v)
	}
}

// stumbling panics at one seam.
type stumbling struct {
	*world
	save, do, result bool
}

func (s *stumbling) Save(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	if s.save {
		s.save = false
		panic("save")
	}
	return s.world.Save(ctx, key, data, revision)
}

func (s *stumbling) Do(ctx context.Context, call publisher.Call) (publisher.Answer, error) {
	if s.do {
		panic("do")
	}
	return s.world.Do(ctx, call)
}

func (s *stumbling) Begin(ctx context.Context, id string, body []byte) func() error {
	if s.result {
		panic("result")
	}
	return s.world.Begin(ctx, id, body)
}

func TestAPanicIsThatMessagesFailure(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		stumbling
		// bare: a new command of at_least_once without a key, whose request is in no record.
		bare    bool
		ack     bool
		outcome string
	}{
		"before the request":                      {stumbling{save: true}, false, true, "failed"},
		"in the request":                          {stumbling{do: true}, false, true, "uncertain"},
		"while the end is told":                   {stumbling{result: true}, false, false, "done"},
		"while the end is told that is no record": {stumbling{result: true}, true, false, "done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			tc.world = w
			reg := prometheus.NewRegistry()
			worker := w.worker(t, func(o *publisher.Options) {
				if tc.bare {
					o.Publishers[0].Delivery = publisher.AtLeastOnce
				}
				o.Outlook, o.Journal, o.Outcomes, o.Registerer = &tc.stumbling, &tc.stumbling, &tc.stumbling, reg
			})
			m := message("send-mail", aMail)
			m.Fresh = tc.bare
			if v := worker.Handle(t.Context(), m); v.Ack != tc.ack {
				t.Fatalf("verdict %+v", v)
			}
			tc.result, m.Fresh = false, false
			if v := worker.Handle(t.Context(), m); !v.Ack {
				t.Fatalf("second delivery: %+v", v)
			}
			o := w.outcome(t)
			if o.Outcome != tc.outcome || w.taken != 0 || len(w.calls) > 1 {
				t.Errorf("outcome %+v, %d slots in use, %d requests", o, w.taken, len(w.calls))
			}
			if tc.outcome != "done" && (o.Error.Code != "panic" || len(w.letters) != 1 || !strings.Contains(w.letters[0].Stack, "stumbling")) {
				t.Errorf("error %+v, letters %+v", o.Error, w.letters)
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP outlook_command_panics_total Panics while a command was handled.
# TYPE outlook_command_panics_total counter
outlook_command_panics_total{publisher="send-mail"} 1
outlook_command_panics_total{publisher="unknown"} 0
`), "outlook_command_panics_total"); err != nil {
				t.Error(err)
			}
		})
	}
}

// narrow takes dead letters and results up to a size.
type narrow struct {
	*world
	most int
}

func (n *narrow) Dead(ctx context.Context, name string, letter publisher.DeadLetter) error {
	if len(letter.Data)+len(letter.DataBase64) > n.most {
		return fault.New(fault.Poison, "maximum payload exceeded")
	}
	return n.world.Dead(ctx, name, letter)
}

func (n *narrow) Begin(ctx context.Context, id string, body []byte) func() error {
	if len(body) > n.most {
		return func() error { return fault.New(fault.Poison, "maximum payload exceeded") }
	}
	return n.world.Begin(ctx, id, body)
}

func TestWhatIsTooLongToBeToldIsToldWithoutItsBody(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.answer = func(int, publisher.Call) (publisher.Answer, error) {
		body := []byte(`{"id":"AAA","x":"` + strings.Repeat("x", 2000) + `"}`)
		return publisher.Answer{Status: 400, Body: body}, fault.New(fault.Poison, "no").WithCode("ErrorInvalidRequest")
	}
	worker := w.worker(t, func(o *publisher.Options) { o.Outcomes = &narrow{w, 1000} })
	m := message("send-mail", `{"payload":{"x":"`+strings.Repeat("x", 2000)+`"}}`)
	if v := worker.Handle(t.Context(), m); !v.Ack {
		t.Fatalf("verdict %+v", v)
	}
	if l := w.letters[0]; l.Data != nil || l.DataOmitted != len(m.Data) || l.Reason != "ErrorInvalidRequest" {
		t.Errorf("letter %+v", l)
	}
	if o := w.outcome(t); o.Body != nil || o.BodyOmitted < 2000 || o.ItemID != "AAA" {
		t.Errorf("outcome %+v", o)
	}
}

func TestALongAnswerIsLeftOutOfTheOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.answer = func(int, publisher.Call) (publisher.Answer, error) {
		return publisher.Answer{Status: 201, Body: []byte(`{"id":"AAA","x":"` + strings.Repeat("x", 300<<10) + `"}`)}, nil
	}
	w.worker(t).Handle(t.Context(), message("send-mail", aMail))
	if o := w.outcome(t); o.Body != nil || o.BodyOmitted <= 300<<10 || o.ItemID != "AAA" {
		t.Errorf("outcome has %d bytes of body, omitted %d, item %q", len(o.Body), o.BodyOmitted, o.ItemID)
	}
}

func TestABodyThatIsNoJSONDoesNotChangeTheOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.answer = func(int, publisher.Call) (publisher.Answer, error) {
		return publisher.Answer{Status: 201, Body: []byte(`{"id":"AA`)}, nil
	}
	w.worker(t).Handle(t.Context(), message("send-mail", aMail))
	if o := w.outcome(t); o.Outcome != "done" || o.Body != nil || o.ItemID != "" {
		t.Errorf("outcome %+v", o)
	}
}

func TestCommandsAreCountedByPublisherAndOutcome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := newWorld()
		w.answer = func(n int, _ publisher.Call) (publisher.Answer, error) {
			if n == 2 {
				return publisher.Answer{}, noAnswer()
			}
			return publisher.Answer{Status: 202}, nil
		}
		worker := w.worker(t, func(o *publisher.Options) { o.Registerer = reg })
		w.onDo = func(publisher.Call) {
			if n, err := testutil.GatherAndCount(reg, "outlook_commands_in_flight"); err != nil || n != 2 {
				t.Errorf("%d gauges, %v", n, err)
			}
		}
		for i, m := range []publisher.Message{
			message("send-mail", aMail), message("send-mail", aMail), message("send-mail", "no"),
			message("someone's slip", aMail), message("another", aMail),
		} {
			m.Sequence = uint64(i + 1)
			m.Received = m.Received.Add(-10 * time.Minute) // nobody else will know the publisher
			worker.Handle(t.Context(), m)
			worker.Handle(t.Context(), m) // told again, not counted again
		}
		if got := w.shelves[len(w.shelves)-4:]; got[0] != "unknown" || got[2] != "another" {
			t.Errorf("dead letters of unknown publishers lie under %q", got)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP outlook_commands_in_flight Commands that this process has in hand.
# TYPE outlook_commands_in_flight gauge
outlook_commands_in_flight{publisher="send-mail"} 0
outlook_commands_in_flight{publisher="unknown"} 0
# HELP outlook_commands_total Commands that ended, by publisher and outcome (done, failed, uncertain).
# TYPE outlook_commands_total counter
outlook_commands_total{outcome="done",publisher="send-mail"} 1
outlook_commands_total{outcome="done",publisher="unknown"} 0
outlook_commands_total{outcome="failed",publisher="send-mail"} 1
outlook_commands_total{outcome="failed",publisher="unknown"} 2
outlook_commands_total{outcome="uncertain",publisher="send-mail"} 1
outlook_commands_total{outcome="uncertain",publisher="unknown"} 0
`), "outlook_commands_total", "outlook_commands_in_flight"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

func TestNewTellsEveryProblemAtOnce(t *testing.T) {
	t.Parallel()
	bad := publisher.Publisher{Name: "Bad Name", Headers: map[string]string{"Authorization": "x"}, Payload: []byte(`[1]`), Delivery: "twice", InFlight: -1}
	once := definition(t, "once", "mail.message.sendMail")
	once.Delivery = publisher.ExactlyOnce
	reads := definition(t, "reads", "mail.message.get")
	empty := definition(t, "empty", "mail.message.sendMail")
	empty.Mailboxes = nil
	good := definition(t, "good", "mail.message.sendMail")
	_, err := publisher.New(publisher.Options{
		Publishers:    []publisher.Publisher{bad, once, reads, empty, good, good},
		ReplyPrefixes: []string{">"},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"all needed", "must match", "a client is needed", "at least one entity", "twice", "in_flight", `"Authorization"`,
		"is none of at_least_once, exactly_once and at_most_once", "only reads", "at least one mailbox", `"good" is there twice`, "reply prefix",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}
