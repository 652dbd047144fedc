package subscriber_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"outlook-connector/subscriber"
)

func TestEventsHaveExactlyTheseHeaders(t *testing.T) {
	t.Parallel()
	sub := inbox(t)
	sub.Mailboxes = []string{"Ann.Ünal@Contoso.com"}
	sub.Tenant = "contoso/über 100%"
	r := newRig(t, sub)
	r.feed.Mailbox = "ann.ünal@contoso.com"
	date := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r.script.pages = map[string]page{
		"": {delta: "d1", date: date, items: []string{`{"id":"AAMkgone="}`}},
		"d1": {delta: "d2", date: date, items: []string{
			`{"@odata.etag":"W/\"CQAAAB+/1\"","id":"AAMk \"Ü%\"=","lastModifiedDateTime":"2026-03-01T11:59:58Z"}`,
			`{"@removed":{"reason":"deleted"},"id":"AAMkgone="}`,
		}},
	}
	r.poll(t)
	r.poll(t)
	if len(r.stream.events) != 2 {
		t.Fatalf("%d events, want 2: %+v", len(r.stream.events), r.status(t))
	}
	common := map[string]string{
		"Outlook-Subscription": "inbox",
		"Outlook-Client":       "contoso",
		"Outlook-Mailbox":      "ann.%C3%BCnal@contoso.com",
		"Outlook-Entity":       "mail.message.delta",
		"ce-specversion":       "1.0",
		"ce-source":            "/outlook/contoso%252F%25C3%25BCber%2520100%2525/ann.%25C3%25BCnal@contoso.com/caadbcffec903811",
		"ce-datacontenttype":   "application/json",
		"content-type":         "application/json",
	}
	changed := maps.Clone(common)
	maps.Copy(changed, map[string]string{
		"Outlook-Id": "AAMk%20%22%C3%9C%25%22=", "ce-subject": "AAMk%20%22%C3%9C%25%22=",
		"Outlook-Change": "created", "ce-type": "outlook.message.created", "ce-time": "2026-03-01T11:59:58Z",
		"ce-id": "j3KFEkn4iYlbaTUmZwL8y6mBnhRfFwKCf8VCHo3dxIc",
	})
	deleted := maps.Clone(common)
	maps.Copy(deleted, map[string]string{
		"Outlook-Id": "AAMkgone=", "ce-subject": "AAMkgone=", "Outlook-Verified": "false",
		"Outlook-Change": "deleted", "ce-type": "outlook.message.deleted", "ce-time": "2026-03-01T12:00:00Z",
		"ce-id": "PItmV-gEvyD4WgTQnKrcgQfx6nLs6g4KXTvG-A4jIA0",
	})
	same(t, "headers of a change", r.stream.events[0].Header, changed)
	same(t, "headers of a deletion", r.stream.events[1].Header, deleted)
	for _, event := range r.stream.events {
		if event.ID != event.Header["ce-id"] || event.TTL != 168*time.Hour {
			t.Errorf("id %q, ttl %v", event.ID, event.TTL)
		}
	}
}

func TestBodiesPassThroughByteForByte(t *testing.T) {
	t.Parallel()
	r := newRig(t, everything(t))
	bodies := []string{
		`{"id":"1","subject":"cut \ud83d","preview":"` + "\xf0\x9f" + `"}`,
		"{ \"id\" : \"2\",\r\n\t\"big\": 123456789012345678901234567890.123e-7 , \"x\":{\"@unknown\":[null,true,-0.0]} }",
		`{"id":"3","dup":1,"dup":2,"id":"3b","é":"\u00e9\/"}`,
	}
	r.script.pages[""] = page{delta: "d1", items: bodies}
	r.poll(t)
	got := make([]string, 0, len(bodies))
	for _, event := range r.stream.events {
		got = append(got, string(event.Body))
	}
	same(t, "bodies", got, bodies)
	same(t, "events", r.stream.told(), []string{"snapshot 1", "snapshot 2", "snapshot 3"})
}

func TestTheSameChangeHasTheSameID(t *testing.T) {
	t.Parallel()
	items := []string{
		`{"id":"a","@odata.etag":"W/\"k1\"","subject":"x"}`, `{"id":"b","changeKey":"k1"}`, `{"id":"c","subject":"no version"}`,
		`{"id":"d","@removed":{"reason":"deleted"}}`,
	}
	ids := func(sub subscriber.Subscription, items []string) []string {
		r := newRig(t, sub)
		r.feed.Mailbox = sub.Mailboxes[0]
		r.script.pages = map[string]page{"": {delta: "d1", items: []string{`{"id":"d"}`}}, "d1": {delta: "d2", items: items}}
		r.poll(t)
		r.poll(t)
		var ids []string
		for _, event := range r.stream.events {
			ids = append(ids, event.ID)
		}
		return ids
	}
	first := ids(inbox(t), items)
	same(t, "ids of a second worker", ids(inbox(t), items), first)
	// The etag has the change key in it: with either member it is one change.
	other := slices.Clone(items)
	other[0], other[1] = `{"id":"a","changeKey":"k1"}`, `{"id":"b","@odata.etag":"W/\"k1\""}`
	same(t, "ids by the other member", ids(inbox(t), other), first)
	elsewhere := inbox(t)
	elsewhere.Mailboxes = []string{"ann@contoso.com"}
	all := append(first, ids(elsewhere, items)...)
	slices.Sort(all)
	if got := len(slices.Compact(all)); got != 8 {
		t.Errorf("%d different ids of two feeds with four changes each", got)
	}
}

func TestPartsAreOneToken(t *testing.T) {
	t.Parallel()
	same(t, "none", subscriber.Part(""), "-")
	// printf inbox | sha256sum
	same(t, "inbox", subscriber.Part("inbox"), "caadbcffec903811")
}
