package publisher_test

import (
	"cmp"
	"net/http"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/xform"
	"outlook-connector/publisher"
)

func lanePublishers(t *testing.T) []publisher.Publisher {
	t.Helper()
	ops := func(ids ...string) (list []*catalog.Operation) {
		for _, id := range ids {
			op, err := catalog.Default().Lookup(id)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, op)
		}
		return list
	}
	moves, err := xform.Compile(`.mailbox = "cat@contoso.example"`)
	if err != nil {
		t.Fatal(err)
	}
	return []publisher.Publisher{
		{Name: "any", Client: "c", Entities: ops("mail.message.sendMail"), Mailboxes: []string{"*"}},
		{Name: "two", Client: "d", Entities: ops("mail.message.sendMail", "mail.message.create"), Mailboxes: []string{"ann@contoso.example", "ben@contoso.example"}},
		{Name: "moves", Client: "c", Entities: ops("mail.message.create"), Mailboxes: []string{"*"}, RequestTransform: moves, InFlight: 3},
	}
}

func laneWorker(t *testing.T, w *world) *publisher.Worker {
	t.Helper()
	worker, err := publisher.New(publisher.Options{Publishers: lanePublishers(t), Outlook: w, Journal: w, Outcomes: w, Slots: w})
	if err != nil {
		t.Fatal(err)
	}
	return worker
}

func TestTheMailboxOfTheSubjectIsTheCommands(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		publisher, tail, body string
		mailbox, code         string // of the request, or of the refusal
	}{
		{"any", "ann@contoso.example", `{"payload":{}}`, "ann@contoso.example", ""},
		{"any", "ann@contoso.example", `{"mailbox":" Ann@contoso.example","payload":{}}`, "ann@contoso.example", ""},
		{"any", "ann@contoso.example", `{"mailbox":"ben@contoso.example","payload":{}}`, "", "mailbox_differs"},
		{"any", "me", `{"mailbox":"ann@contoso.example","payload":{}}`, "", "mailbox_differs"},
		{"any", "", `{"mailbox":"ben@contoso.example","payload":{}}`, "ben@contoso.example", ""},
		{"two", "ben@contoso.example", `{"entity":"mail.message.create","payload":{}}`, "ben@contoso.example", ""}, // not the first one
		{"two", "cat@contoso.example", `{"entity":"mail.message.create","payload":{}}`, "", "mailbox_not_allowed"},
		{"moves", "ann@contoso.example", `{"payload":{}}`, "", "mailbox_differs"}, // the transform may not leave the lane
		{"moves", "cat@contoso.example", `{"payload":{}}`, "cat@contoso.example", ""},
	} {
		w := newWorld()
		w.answer = func(int, publisher.Call) (publisher.Answer, error) {
			return publisher.Answer{Status: http.StatusAccepted, Body: []byte(`{"id":"1"}`)}, nil
		}
		v := laneWorker(t, w).Handle(t.Context(), publisher.Message{
			Publisher: tc.publisher, Mailbox: tc.tail, Subject: "outlook.publish." + tc.publisher + "." + tc.tail,
			Stream: "S", Sequence: 1, Data: []byte(tc.body), Received: time.Now(),
		})
		if !v.Ack {
			t.Errorf("%+v: %+v", tc, v)
			continue
		}
		if tc.code != "" {
			if len(w.calls) > 0 || len(w.results) != 1 || !strings.Contains(string(w.results[0].body), `"`+tc.code+`"`) {
				t.Errorf("%+v: %d requests, told %s", tc, len(w.calls), w.results)
			}
			continue
		}
		if len(w.calls) == 0 || w.calls[0].Mailbox != tc.mailbox {
			t.Errorf("%+v: requests %+v, told %s", tc, w.calls, w.results)
		}
	}
}

func TestAGlanceTellsWhatACommandWaitsFor(t *testing.T) {
	t.Parallel()
	worker := laneWorker(t, newWorld())
	received := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	day := received.Add(publisher.DefaultGiveUpAfter)
	for _, tc := range []struct {
		publisher, tail, body string
		header                map[string][]string
		want                  publisher.Glance
	}{
		{"any", "", `{"payload":{"mailbox":"no"},"mailbox":"Ann@contoso.example"}`, nil, publisher.Glance{Client: "c", Mailbox: "ann@contoso.example", GiveUp: day}},
		{"any", "ben@contoso.example", `{"payload":{}}`, nil, publisher.Glance{Client: "c", Mailbox: "ben@contoso.example", GiveUp: day}},
		{"two", "", `{"entity":"mail.message.create","mailbox":null}`, nil, publisher.Glance{Client: "d", Mailbox: "ann@contoso.example", GiveUp: day}},
		{"moves", "", `{"mailbox":"ann@contoso.example","payload":{}}`, nil, publisher.Glance{Client: "c", Mailbox: "cat@contoso.example", GiveUp: day}},
		{
			"two", "", `{"entity":"mail.message.create"}`,
			map[string][]string{"Outlook-Not-Before": {"2026-01-03T00:00:00Z"}, "Outlook-Expires": {"2026-01-03T01:00:00Z"}},
			publisher.Glance{
				Client: "d", Mailbox: "ann@contoso.example",
				NotBefore: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC), GiveUp: time.Date(2026, 1, 3, 1, 0, 0, 0, time.UTC),
			},
		},
		// What is refused waits for nothing.
		{"any", "", `{"payload":{}}`, nil, publisher.Glance{}},
		{"any", "ben@contoso.example", `{"mailbox":"ann@contoso.example"}`, nil, publisher.Glance{}},
		{"two", "", `{"payload":{}}`, nil, publisher.Glance{}},
		{"two", "", `{"entity":"mail.message.get"}`, nil, publisher.Glance{}},
		{"any", "", `{"mailbox":7}`, nil, publisher.Glance{}},
		{"any", "", `{"payload":{`, nil, publisher.Glance{}},
		{"any", "", `[]`, nil, publisher.Glance{}},
		{"any", "", ``, nil, publisher.Glance{}},
		{"any", "", `{"mailbox":"a"}`, map[string][]string{"Outlook-Not-Before": {"soon"}}, publisher.Glance{}},
		{"nobody", "", `{"mailbox":"a"}`, nil, publisher.Glance{}},
	} {
		got, ok := worker.Glance(t.Context(), &publisher.Message{
			Publisher: tc.publisher, Mailbox: tc.tail, Header: tc.header, Data: []byte(tc.body), Received: received,
		})
		if wanted := tc.want.Client != ""; ok != wanted || ok && got != tc.want {
			t.Errorf("%s %s: %+v (%v)", tc.publisher, tc.body, got, ok)
		}
	}
	if got := worker.InHand(); got["any"] != 4*publisher.DefaultInFlight || got["moves"] != 12 || len(got) != 3 {
		t.Errorf("in flight: %v", got)
	}
}

func TestWhatIsWrittenDownFirstDoesNotGoStraightToOutlook(t *testing.T) {
	t.Parallel()
	type header = map[string][]string
	for name, tc := range map[string]struct {
		again    bool
		header   header
		entity   string
		change   func(p *publisher.Publisher)
		straight bool
	}{
		"the usual":       {straight: true},
		"delivered again": {again: true},
		"with a key":      {header: header{"Nats-Msg-Id": {"k"}}},
		"tightened":       {header: header{"Outlook-Delivery": {"exactly_once"}}},
		"strict":          {change: func(p *publisher.Publisher) { p.Delivery = publisher.AtMostOnce }},
		"never in a batch": {
			entity: "mail.message.sendMail", change: func(p *publisher.Publisher) { p.Batch = true }, straight: true,
		},
		"in a batch": {entity: "mail.message.update", change: func(p *publisher.Publisher) { p.Batch = true }},
	} {
		p := definition(t, "p", cmp.Or(tc.entity, "mail.message.sendMail"))
		p.Delivery = publisher.AtLeastOnce
		if tc.change != nil {
			tc.change(&p)
		}
		m := publisher.Message{Publisher: "p", Header: tc.header, Data: []byte(`{"mailbox":"me"}`), Received: time.Now(), Fresh: !tc.again}
		got, ok := newWorld().worker(t, func(o *publisher.Options) { o.Publishers = []publisher.Publisher{p} }).Glance(t.Context(), &m)
		if !ok || got.Straight != tc.straight {
			t.Errorf("%s: %+v (%v)", name, got, ok)
		}
	}
}
