package jet_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/jet"
	"outlook-connector/internal/jet/embedded"
)

// BenchmarkSlots takes slots and gives them back, by workers of which each has a
// connection of its own. One operation is one pair; besides pairs/s it prints
// how long taking took. free: each taker has a mailbox of its own, as polls
// mostly have. busy: eight takers share a mailbox and its four slots. held: the
// slot is kept over requests, as the limits of package graph do; what remains is
// the renewal in the background.
func BenchmarkSlots(b *testing.B) {
	for _, nodes := range []int{1, 3} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			urls, replicas := benchServers(b, nodes)
			for _, takers := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("free/takers=%d", takers), func(b *testing.B) { benchSlots(b, urls, replicas, takers, takers) })
			}
			b.Run("busy/takers=64", func(b *testing.B) { benchSlots(b, urls, replicas, 64, 8) })
		})
	}
	b.Run("nodes=1/in-process/takers=1", func(b *testing.B) {
		w := newWorld(b)
		s := benchWorker(b, w.connect())
		_, _, err := s.Take(b.Context(), "first", 4) // so that what comes once is not counted
		if err != nil {
			b.Fatal(err)
		}
		benchTakers(b, []*jet.Slots{s}, 1, 1)
	})
	b.Run("held", func(b *testing.B) {
		s := benchWorker(b, newWorld(b).connect())
		slot, _, err := s.Take(b.Context(), "me", 4)
		if err != nil || slot == nil {
			b.Fatal("no slot: ", err)
		}
		for b.Loop() {
			if !slot.Usable() {
				b.Fatal("lost")
			}
		}
	})
}

// benchServers starts one server or a cluster of three and returns the
// addresses.
func benchServers(b *testing.B, nodes int) (urls []string, replicas int) {
	b.Helper()
	if nodes == 1 {
		server, err := embedded.Start(b.Context(), embedded.Options{StoreDir: b.TempDir(), Listen: "127.0.0.1:0", Open: true})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = server.Stop(context.WithoutCancel(b.Context())) })
		return []string{server.URL()}, 1
	}
	urls, stop, err := embedded.Cluster(b.Context(), b.TempDir(), nodes)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(stop)
	return urls, nodes
}

func benchWorker(b *testing.B, c *jet.Conn) *jet.Slots {
	b.Helper()
	s, err := c.Slots(b.Context(), jet.SlotsOptions{App: app})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

func benchSlots(b *testing.B, urls []string, replicas, takers, mailboxes int) {
	b.Helper()
	workers := make([]*jet.Slots, min(takers, 4))
	for i := range workers {
		c, err := jet.Connect(b.Context(), jet.Options{URL: urls[i%len(urls)], ManageStreams: true, Replicas: replicas})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { closeConn(b, c) })
		if err := c.EnsureStreams(b.Context()); err != nil {
			b.Fatal(err)
		}
		workers[i] = benchWorker(b, c)
		if _, _, err := workers[i].Take(b.Context(), "first", len(workers)); err != nil { // what comes once is not counted
			b.Fatal(err)
		}
	}
	benchTakers(b, workers, takers, mailboxes)
}

func benchTakers(b *testing.B, workers []*jet.Slots, takers, mailboxes int) {
	b.Helper()
	var (
		left  atomic.Int64
		mu    sync.Mutex
		took  []time.Duration
		all   sync.WaitGroup
		tries atomic.Int64
	)
	left.Store(int64(b.N))
	b.ResetTimer()
	for i := range takers {
		s, mailbox := workers[i%len(workers)], fmt.Sprintf("user%d@contoso.com", i%mailboxes)
		all.Go(func() {
			for left.Add(-1) >= 0 {
				for {
					began := time.Now()
					slot, wait, err := s.Take(b.Context(), mailbox, 4)
					tries.Add(1)
					if err != nil {
						b.Error(err)
						return
					}
					if slot == nil {
						timer := time.NewTimer(max(wait, time.Millisecond))
						<-timer.C
						continue
					}
					d := time.Since(began)
					slot.Release()
					mu.Lock()
					took = append(took, d)
					mu.Unlock()
					break
				}
			}
		})
	}
	all.Wait()
	kept := 1                  // the one from before
	for held := 1; held > 0; { // what was given back counts, too
		held = 0
		for _, s := range workers {
			held += max(s.Held()-kept, 0)
		}
		timer := time.NewTimer(200 * time.Microsecond)
		<-timer.C
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "pairs/s")
	if len(took) > 0 {
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	}
}
