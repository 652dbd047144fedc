package jet_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
)

// Events of 4 KB, 64 feeds at a time, every write synced. One operation is one
// event; compare ns/op and events/s between the three.

func BenchmarkCommitGrouped(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("page=%d", size), func(b *testing.B) { benchCommit(b, size, 64) })
	}
}

// One feed alone: no page to share a batch with.
func BenchmarkCommitAlone(b *testing.B) {
	for _, size := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("page=%d", size), func(b *testing.B) { benchCommit(b, size, 1) })
	}
}

func benchCommit(b *testing.B, size, feeds int) {
	b.Helper()
	c := newWorld(b).connect()
	body := bytes.Repeat([]byte("x"), 4<<10)
	pages := make(chan struct{})
	go func() {
		for range (b.N + size - 1) / size {
			pages <- struct{}{}
		}
		close(pages)
	}()
	b.ResetTimer()
	var all sync.WaitGroup
	for i := range feeds {
		all.Go(func() {
			p := jet.Page{CursorSubject: must(c.Names().Cursor("inbox", "-", fmt.Sprint(i))), Cursor: body[:600]}
			subject := must(c.Names().Event("inbox", fmt.Sprint(i)))
			for range size {
				p.Events = append(p.Events, jet.Msg{Subject: subject, Data: body, TTL: time.Hour})
			}
			for range pages {
				seq, err := c.Commit(b.Context(), p)
				if err != nil {
					b.Error(err)
					return
				}
				p.After = seq
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// What a plain client gets for one event after the other, 64 at a time.
func BenchmarkRawPublish(b *testing.B) {
	w := newWorld(b)
	w.connect()
	js := must(jetstream.New(w.raw()))
	body := bytes.Repeat([]byte("x"), 4<<10)
	work := make(chan struct{})
	go func() {
		for range b.N {
			work <- struct{}{}
		}
		close(work)
	}()
	b.ResetTimer()
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range work {
				if _, err := js.PublishMsg(b.Context(), &nats.Msg{Subject: "outlook.event.inbox.me", Data: body, Header: nats.Header{}}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// Ledger records of commands that run at the same time.
func BenchmarkLedgerSave(b *testing.B) {
	for _, parallel := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("parallel=%d", parallel), func(b *testing.B) {
			c := newWorld(b).connect()
			work := make(chan int)
			go func() {
				for i := range b.N {
					work <- i
				}
				close(work)
			}()
			record := bytes.Repeat([]byte("x"), 400)
			b.ResetTimer()
			var all sync.WaitGroup
			for range parallel {
				all.Go(func() {
					for i := range work {
						if _, err := c.Ledger().Save(b.Context(), fmt.Sprintf("p.%d", i), record, 0); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// The ends of commands: a record and an outcome, then a while until the next one
// (each is a request to Outlook). One operation is a command; writes are those to
// the connection, whose price at both ends is that of a few messages.
func BenchmarkCommandEnds(b *testing.B) {
	for _, c := range []struct {
		commands int
		pause    time.Duration
	}{{1, 0}, {8, 0}, {64, 0}, {200, 0}, {4, 20 * time.Millisecond}, {64, 20 * time.Millisecond}, {200, 20 * time.Millisecond}} {
		b.Run(fmt.Sprintf("commands=%d/pause=%s", c.commands, c.pause), func(b *testing.B) {
			w := newLateWorld(b)
			conn := w.connect()
			record := bytes.Repeat([]byte("x"), 400)
			header := jet.Header{"Content-Type": {"application/json"}, "Outlook-Status": {"202"}}
			took := make([]time.Duration, b.N)
			var next atomic.Int64
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			before := w.writes()
			for range c.commands {
				all.Go(func() {
					for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
						if c.pause > 0 {
							<-time.After(c.pause/2 + rand.N(c.pause))
						}
						id, began := fmt.Sprintf("p.%d", i), time.Now()
						if _, err := conn.Ledger().Save(b.Context(), id, record, 0); err != nil {
							b.Error(err)
						}
						if err := conn.Results().Put(b.Context(), id, header, record); err != nil {
							b.Error(err)
						}
						took[i] = time.Since(began)
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(w.writes()-before)/float64(b.N), "writes/op")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		})
	}
}
