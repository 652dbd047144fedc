package jet

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"
)

// BenchmarkBatch makes the messages of a page of 100 events and forgets them, as
// each attempt to publish does. One operation is a page.
func BenchmarkBatch(b *testing.B) {
	header := make(Header)
	for i := range 16 {
		header[fmt.Sprintf("ce-attribute%d", i)] = []string{"value"}
	}
	events := make([]Msg, 100)
	for i := range events {
		events[i] = Msg{Subject: "outlook.event.inbox.me", Header: header, Data: bytes.Repeat([]byte("x"), 4<<10), TTL: time.Hour}
	}
	w := newWrite(context.Background(), events, Msg{Subject: "outlook.cursor.inbox.-.me", Data: []byte("{}")}, 1)
	b.ReportAllocs()
	for b.Loop() {
		recycle(w.batch("OUTLOOK_EVENTS", true)...)
	}
}
