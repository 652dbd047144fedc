package subscriber_test

import (
	"context"
	"fmt"
	"testing"

	"outlook-connector/subscriber"
)

// whole answers every reading of an item with its newest version.
type whole struct {
	looked
	version int
}

func (w *whole) Batch(_ context.Context, _, _ string, gets []subscriber.Get) (got []subscriber.Got, err error) {
	for range gets {
		got = append(got, subscriber.Got{Status: 200, Body: fmt.Appendf(nil,
			`{"@odata.etag":"W/\"m-%d\"","id":"m","createdDateTime":"2026-03-01T09:00:00Z","receivedDateTime":"2026-03-01T09:00:00Z"}`, w.version)})
	}
	return got, nil
}

// TestTheVersionThatWasReadAgainCounts has pages with parts of a mail that are
// behind what the mail is when it is read again.
func TestTheVersionThatWasReadAgainCounts(t *testing.T) {
	t.Parallel()
	part := func(version int) string {
		return fmt.Sprintf(`{"@odata.etag":"W/\"m-%d\"","id":"m","isRead":true}`, version)
	}
	items := &whole{version: 3}
	sub := everything(t)
	sub.Hydrate = true
	r := newRig(t, sub, func(o *subscriber.Options) { o.Items = items })
	r.script.pages = map[string]page{
		"":   {delta: "d1", items: []string{part(1)}}, // told as 3
		"d1": {delta: "d2", items: []string{part(2)}}, // 3 is known
		"d2": {delta: "d3", items: []string{part(3)}}, // so it is
		"d3": {delta: "d4", items: []string{part(4)}},
	}
	for poll := range 4 {
		if poll == 3 {
			items.version = 4
		}
		r.poll(t)
	}
	same(t, "events", r.stream.told(), []string{"snapshot m", "updated m"})
	same(t, "twice", len(r.stream.twice()), 0)
}
