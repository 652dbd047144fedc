package index

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Items of a mailbox with a million of them, in one folder.
const (
	benchItems = 1_000_000
	benchPage  = 100
)

// outlookID looks like an id of Outlook: 152 characters, of which the first ones
// are those of the mailbox and the folder, and the others a counter that jumps:
// https://learn.microsoft.com/graph/outlook-immutable-id
func outlookID(n int) string {
	raw := make([]byte, 114)
	copy(raw, "\x00\x03\x24\x00\x2ee1e2c8-4f3d-4d86-a4e4-8c1b2c9d1a2f\x00\x46\x00\x00\x00\x00\x00\xab\xcdfolder-of-a-mailbox-and-its-store\x07\x00")
	binary.BigEndian.PutUint64(raw[100:], uint64(n)*37+uint64(n%11))
	binary.BigEndian.PutUint32(raw[108:], uint32(n)*2654435761)
	return base64.URLEncoding.EncodeToString(raw)
}

// primed is what a primer of a million items in pages of 100 leaves behind.
type primed struct {
	store    *memory
	manifest []byte
	// What was written on the way: segments with their commit, merged segments,
	// and manifests.
	flushed, merged, manifests int
	took, slowest              time.Duration
}

var prime = sync.OnceValue(func() *primed {
	p := &primed{store: newMemory()}
	began := time.Now()
	var m Manifest
	for n := 0; n < benchItems; n += benchPage {
		page := time.Now()
		x := Open(p.store, m)
		for i := range benchPage {
			x.Put(Entry{ID: outlookID(n + i), Version: rand.Uint64N(1 << 48), Round: 1})
		}
		_, write, drop, err := x.Compact(context.Background(), 0)
		if err != nil {
			panic(err)
		}
		var segments []Segment
		m, segments = x.Flush()
		p.store.put(write)
		p.store.put(segments)
		p.store.drop(drop)
		p.manifest, _ = json.Marshal(m)
		p.merged, p.flushed, p.manifests = p.merged+bytesOf(write), p.flushed+bytesOf(segments), p.manifests+len(p.manifest)
		p.slowest = max(p.slowest, time.Since(page))
	}
	p.took = time.Since(began)
	return p
})

func bytesOf(list []Segment) (n int) {
	for _, s := range list {
		n += len(s.Data)
	}
	return n
}

func (p *primed) open(tb testing.TB, s Store) *Index {
	tb.Helper()
	var m Manifest
	if err := json.Unmarshal(p.manifest, &m); err != nil {
		tb.Fatal(err)
	}
	return Open(s, m)
}

// BenchmarkPrimer reports what a full read costs and leaves behind.
func BenchmarkPrimer(b *testing.B) {
	p := prime()
	for b.Loop() {
	}
	stored := 0
	for _, data := range p.store.data {
		stored += len(data)
	}
	b.ReportMetric(float64(stored)/benchItems, "bytes/item")
	b.ReportMetric(float64(len(p.store.data)), "segments")
	b.ReportMetric(float64(len(p.manifest)), "manifest-bytes")
	b.ReportMetric(float64(p.manifests)/benchItems*benchPage, "manifest-bytes/page")
	b.ReportMetric(float64(p.flushed)/benchItems, "flushed-bytes/item")
	b.ReportMetric(float64(p.merged)/benchItems, "merged-bytes/item")
	b.ReportMetric(float64(p.flushed+p.merged)/float64(stored), "amplification")
	b.ReportMetric(p.took.Seconds(), "primer-s")
	b.ReportMetric(float64(p.slowest.Milliseconds()), "slowest-page-ms")
	b.ReportMetric(0, "ns/op")
}

func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkLook with everything in the cache, known and unknown items.
func BenchmarkLook(b *testing.B) {
	p := prime()
	cache := NewCache(1<<30, p.store.Segment)
	x := p.open(b, cache)
	before := heap()
	for n := range 20_000 {
		if _, _, err := x.Look(b.Context(), outlookID(n*50)); err != nil {
			b.Fatal(err)
		}
	}
	clear(x.looked)
	ram := (heap() - before) / benchItems
	for name, offset := range map[string]int{"known": 0, "unknown": benchItems} {
		b.Run(name, func(b *testing.B) {
			n := 0
			for b.Loop() {
				n = (n + 7919) % benchItems
				if _, ok, err := x.Look(b.Context(), outlookID(offset+n)); err != nil || ok != (offset == 0) {
					b.Fatal(ok, err)
				}
			}
			clear(x.looked)
			b.ReportMetric(ram, "cache-bytes/item")
		})
	}
}

// BenchmarkColdLooks opens the index and looks for a page of items, with
// nothing in the cache. The store is in memory: add a read of a server for each
// of the segments.
func BenchmarkColdLooks(b *testing.B) {
	p := prime()
	reads := 0
	for b.Loop() {
		p.store.read = 0
		x := p.open(b, NewCache(1<<30, p.store.Segment))
		for range benchPage {
			if _, _, err := x.Look(b.Context(), outlookID(rand.IntN(benchItems))); err != nil {
				b.Fatal(err)
			}
		}
		reads += p.store.read
	}
	b.ReportMetric(float64(reads)/float64(b.N), "segments")
}

func BenchmarkWalk(b *testing.B) {
	p := prime()
	for b.Loop() {
		n := 0
		err := p.open(b, p.store).Walk(b.Context(), 0, func(Key, Entry) (bool, error) { n++; return true, nil })
		if err != nil || n != benchItems {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchItems, "ns/item")
}

func BenchmarkMissing(b *testing.B) {
	p := prime()
	for b.Loop() {
		now := p.open(b, p.store)
		old := p.open(b, p.store)
		for i := range 1000 { // known before, and not any more
			old.Put(Entry{ID: fmt.Sprintf("missing-%d", i)})
		}
		n := 0
		err := Missing(b.Context(), old, now, 0, func(Key, Entry) (bool, error) { n++; return true, nil })
		if err != nil || n != 1000 {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchItems, "ns/item")
}

// BenchmarkTrickle is a feed of a million items of which 10 change per poll.
func BenchmarkTrickle(b *testing.B) {
	p := prime()
	store := newMemory()
	maps.Copy(store.data, p.store.data)
	cache := NewCache(64<<20, store.Segment)
	x := p.open(b, cache)
	var manifests, segments, merged, polls int
	var slowest time.Duration
	for b.Loop() {
		began := time.Now()
		for range 10 {
			id := outlookID(rand.IntN(benchItems))
			if _, _, err := x.Look(b.Context(), id); err != nil {
				b.Fatal(err)
			}
			x.Put(Entry{ID: id, Version: rand.Uint64N(1 << 48), Round: 2})
		}
		_, write, drop, err := x.Compact(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		m, list := x.Flush()
		data, err := json.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		store.put(write)
		store.put(list)
		store.drop(drop)
		manifests, segments, merged, polls = manifests+len(data), segments+bytesOf(list), merged+bytesOf(write), polls+1
		slowest = max(slowest, time.Since(began))
	}
	b.ReportMetric(float64(manifests)/float64(polls), "manifest-bytes/poll")
	b.ReportMetric(float64(segments)/float64(polls), "flushed-bytes/poll")
	b.ReportMetric(float64(merged)/float64(polls), "merged-bytes/poll")
	b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
	b.ReportMetric(float64(polls), "polls")
}

// BenchmarkSegment encodes and decodes a full one.
func BenchmarkSegment(b *testing.B) {
	var data []byte
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			w := newWriter(standard.segment)
			for n := 0; len(w.done) == 0; n++ {
				w.add(Key(n), Entry{ID: outlookID(n)})
			}
			data = w.done[0].Data
		}
		b.ReportMetric(float64(len(data)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestIDsOfTheBenchmarksDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for n := range 1000 {
		id := outlookID(n)
		if len(id) != 152 || seen[id] || !strings.HasPrefix(id, outlookID(0)[:100]) {
			t.Fatalf("%d: %s", n, id)
		}
		seen[id] = true
	}
}
