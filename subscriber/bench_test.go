package subscriber_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"outlook-connector/internal/catalog"
	"outlook-connector/subscriber"
)

// nullStream takes every commit and keeps the newest cursor only.
type nullStream struct {
	*memStream
	cursor []byte
	seq    uint64
}

func (n *nullStream) Cursor(context.Context, subscriber.Feed) ([]byte, uint64, error) {
	return n.cursor, n.seq, nil
}

func (n *nullStream) Commit(ctx context.Context, c subscriber.Commit) (uint64, error) {
	if err := n.PutSegments(ctx, c.Feed, c.Segments); err != nil {
		return 0, err
	}
	n.cursor = c.Cursor
	n.seq++
	return n.seq, nil
}

// BenchmarkPage is what this package itself costs for a page of 100 items of
// 4 KB, from the source's bytes to the events: no HTTP, no stream.
func BenchmarkPage(b *testing.B) {
	op, err := catalog.Default().Lookup("mail.message.delta")
	if err != nil {
		b.Fatal(err)
	}
	body := strings.Repeat("x", 4000)
	n := 0
	var item []byte
	source := asked(func(_ context.Context, req subscriber.Request, emit func([]byte) error) (subscriber.Page, error) {
		for i := range 100 {
			n++
			item = fmt.Appendf(item[:0], `{"@odata.etag":"W/\"%d\"","id":"item-%d","receivedDateTime":"2026-03-01T10:00:00Z",`+
				`"lastModifiedDateTime":"2026-03-01T10:00:00Z","body":"%s"}`, n, i, body)
			if err := emit(item); err != nil {
				return subscriber.Page{}, err
			}
		}
		return subscriber.Page{Delta: fmt.Sprint("d", n)}, nil
	})
	q := newHandQueue()
	s, err := subscriber.New(subscriber.Options{
		Subscriptions: []subscriber.Subscription{{
			Name: "inbox", Client: "c", Operation: op, Mailboxes: []string{"me"}, Start: subscriber.Start{All: true},
		}},
		Source: source, Stream: &nullStream{memStream: newMemStream()}, Queue: q, DeadLetters: &letters{}, Slots: &freeSlots{},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-q.ready
	feed, data := s.Status()[0].Feed, registration(registeredAt)
	b.ReportAllocs()
	for b.Loop() {
		q.poll(ctx, feed, data)
	}
	b.ReportMetric(float64(b.N)*100/b.Elapsed().Seconds(), "items/s")
	if got := s.Status()[0]; got.Result != "ok" {
		b.Errorf("status = %+v", got)
	}
	cancel()
	<-done
}
