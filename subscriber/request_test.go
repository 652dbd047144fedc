package subscriber_test

import (
	"encoding/json"
	"testing"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/subscriber"
)

func TestEveryPageIsAskedWithTheHeaders(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Mailboxes = []string{"Ann@Contoso.com"}
	sub.Query = map[string]string{"$select": "receivedDateTime"}
	sub.Headers = map[string]string{"prefer": `outlook.body-content-type="text"`, "X-Own": "1"}
	sub.PageSize = 50
	r := newRig(t, sub)
	r.feed.Mailbox = "ann@contoso.com"
	r.script.pages = map[string]page{"": {next: "n1"}, "n1": {delta: "d1"}}
	r.poll(t)
	if len(r.script.asked) != 2 {
		t.Fatalf("%d requests: %+v", len(r.script.asked), r.status(t))
	}
	for i, req := range r.script.asked {
		size := []string{"20", "50"}[i] // a first page is small
		same(t, "headers", req.Headers, map[string]string{
			"prefer": `outlook.body-content-type="text", IdType="ImmutableId", odata.maxpagesize=` + size, "X-Own": "1",
		})
		if req.Mailbox != "Ann@Contoso.com" || req.Client != "contoso" || req.Operation.ID != "mail.message.delta" {
			t.Errorf("request = %+v", req)
		}
	}
	same(t, "path", r.script.asked[0].Path, map[string]string{"mailFolder-id": "inbox"})
	same(t, "query", r.script.asked[0].Query, map[string]string{"$select": "receivedDateTime"})
	if r.slots.taken != 2 || r.slots.held != 0 {
		t.Errorf("%d slots taken, %d still held after two pages", r.slots.taken, r.slots.held)
	}
}

func TestAConfiguredPreferenceWins(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Headers = map[string]string{"Prefer": `Odata.MaxPageSize=7, idtype="RestId"`}
	r := newRig(t, sub)
	r.script.pages[""] = page{delta: "d1"}
	r.poll(t)
	same(t, "headers", r.script.asked[0].Headers, map[string]string{"Prefer": `Odata.MaxPageSize=7, idtype="RestId"`})
	plain := inbox(t)
	plain.ImmutableIDs = false
	r = newRig(t, plain)
	r.script.pages[""] = page{delta: "d1"}
	r.poll(t)
	same(t, "headers", r.script.asked[0].Headers, map[string]string{"Prefer": "odata.maxpagesize=20"})
}

func TestRequestTransformsChangeTheRequest(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Query = map[string]string{"$top": "5", "keep": "x"}
	sub.RequestTransform = compile(t, `.query["$top"] = null | .query.n = 12 | .headers.Trace = "t" | .path["mailFolder-id"] |= ascii_upcase`)
	r := newRig(t, sub)
	r.script.pages[""] = page{delta: "d1"}
	r.poll(t)
	req := r.script.asked[0]
	same(t, "query", req.Query, map[string]string{"keep": "x", "n": "12"})
	same(t, "path", req.Path, map[string]string{"mailFolder-id": "INBOX"})
	same(t, "headers", req.Headers, map[string]string{"Trace": "t", "Prefer": `IdType="ImmutableId", odata.maxpagesize=20`})
}

// TestThePayloadIsTheBodyOfReadsByPOST looks at the request alone: how its answer
// is read is a matter of the mode.
func TestThePayloadIsTheBodyOfReadsByPOST(t *testing.T) {
	t.Parallel()
	op, err := catalog.Default().Lookup("calendar.calendar.getSchedule")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		payload        map[string]any
		program, wants string
	}{
		"as configured":        {map[string]any{"schedules": []any{"ann@contoso.com"}, "n": json.Number("1.50")}, "", `{"n":1.50,"schedules":["ann@contoso.com"]}`},
		"none":                 {nil, "", `{}`},
		"changed":              {map[string]any{"a": json.Number("1")}, `.payload.b = .path.x | .payload.a += 1`, `{"a":2,"b":null}`},
		"of the program alone": {nil, `.payload.at = "now"`, `{"at":"now"}`},
		"taken away":           {map[string]any{"a": "x"}, `.payload = null`, `{}`},
		"left out":             {map[string]any{"a": "x"}, `{query: {}}`, `{"a":"x"}`},
	} {
		sub := inbox(t)
		sub.Operation, sub.Mode, sub.Path, sub.Payload = op, subscriber.ModeSingle, nil, test.payload
		sub.RequestTransform = nil
		if test.program != "" {
			sub.RequestTransform = compile(t, test.program)
		}
		req, ok, err := subscriber.FirstRequest(t.Context(), &sub, "me")
		if err != nil || !ok || string(req.Body) != test.wants {
			t.Errorf("%s: %s, %v, %v; want %s", name, req.Body, ok, err, test.wants)
		}
	}
	sub := inbox(t)
	if req, ok, err := subscriber.FirstRequest(t.Context(), &sub, "me"); err != nil || !ok || req.Body != nil {
		t.Errorf("a GET has the body %s, %v, %v", req.Body, ok, err)
	}
}

func TestRequestTransformsThatFailParkTheFeed(t *testing.T) {
	t.Parallel()
	for _, src := range []string{`error("x")`, `1`, `{payload: 1}`, `{body: 1}`, `{query: [1]}`, `{query: {a: {}}}`} {
		sub := inbox(t)
		sub.RequestTransform = compile(t, src)
		r := newRig(t, sub)
		r.poll(t)
		if got := r.status(t); got.Kind != fault.Poison || got.Code != "request_transform" || got.Hint == "" {
			t.Errorf("%s: status = %+v", src, got)
		}
	}
	sub := inbox(t)
	sub.RequestTransform = compile(t, `empty`)
	r := newRig(t, sub)
	if next := r.poll(t); next.After == 0 || len(r.script.asked) != 0 || r.status(t).Result != "skipped" {
		t.Errorf("a poll that the transform leaves out: %v, %+v", next, r.status(t))
	}
}

func TestNewNamesEveryProblem(t *testing.T) {
	t.Parallel()
	good := inbox(t)
	for name, change := range map[string]func(*subscriber.Options){
		"no source":      func(o *subscriber.Options) { o.Source = nil },
		"a name twice":   func(o *subscriber.Options) { o.Subscriptions = append(o.Subscriptions, good) },
		"no entity":      func(o *subscriber.Options) { o.Subscriptions[0].Operation = nil },
		"no mailbox":     func(o *subscriber.Options) { o.Subscriptions[0].Mailboxes = nil },
		"negative every": func(o *subscriber.Options) { o.Subscriptions[0].Every = -1 },
		"no client":      func(o *subscriber.Options) { o.Subscriptions[0].Client = "" },
		"a date without receivedDateTime": func(o *subscriber.Options) {
			o.Subscriptions[0].Start.From = registeredAt
			o.Subscriptions[0].Query = map[string]string{"$select": "id, subject"}
		},
	} {
		opts := subscriber.Options{
			Subscriptions: []subscriber.Subscription{good},
			Source:        &script{}, Stream: newMemStream(), Queue: newHandQueue(), DeadLetters: &letters{}, Slots: &freeSlots{},
		}
		if _, err := subscriber.New(opts); err != nil {
			t.Fatal(err)
		}
		change(&opts)
		if _, err := subscriber.New(opts); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}
