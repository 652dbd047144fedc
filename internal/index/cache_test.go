package index

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// filled returns a store with so many segments of 40 entries, and their ids.
func filled(t *testing.T, n int) (*memory, []segmentID) {
	t.Helper()
	store := newMemory()
	var list []segmentID
	for range n {
		w := newWriter(standard.segment)
		for _, e := range someEntries(40) {
			w.add(e.key, e.Entry)
		}
		store.put(w.finish())
		list = append(list, w.refs[0].id)
	}
	return store, list
}

func TestTheCacheKeepsWhatWasUsedLast(t *testing.T) {
	t.Parallel()
	store, list := filled(t, 4)
	const each = 40*entrySize + cachedOverhead
	cache := NewCache(3*each+100, store.Segment)
	get := func(i int) {
		t.Helper()
		c, err := cache.columns(t.Context(), list[i])
		if err != nil || c.n != 40 || cap(c.data) > 1100 {
			t.Fatalf("%d entries in %d bytes, %v", c.n, cap(c.data), err)
		}
	}
	for _, i := range []int{0, 1, 2, 0, 3, 0, 2, 3, 1} { // 3 pushes out 1, and 1 pushes out 0
		get(i)
	}
	if want := (CacheStats{Hits: 4, Misses: 5, Bytes: 3 * each, Segments: 3}); cache.Stats() != want {
		t.Errorf("got %+v, want %+v", cache.Stats(), want)
	}
	other := cache.With(func(context.Context, string) ([]byte, error) { return nil, errors.New("nothing here") })
	if _, err := other.columns(t.Context(), list[1]); err != nil {
		t.Errorf("the memory is not shared: %v", err)
	}
	if _, err := other.columns(t.Context(), list[0]); err == nil {
		t.Error("read with the fetch of another")
	}
	none := NewCache(0, store.Segment)
	if _, err := none.columns(t.Context(), list[0]); err != nil || none.Stats().Bytes != 0 {
		t.Errorf("a cache without room: %+v, %v", none.Stats(), err)
	}
	if _, err := none.columns(t.Context(), newSegmentID()); err == nil {
		t.Error("found what is not there")
	}
}

func TestManyWantOneSegmentAndItIsReadOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store, list := filled(t, 1)
		open := make(chan struct{})
		var reads atomic.Int32
		cache := NewCache(1<<20, func(ctx context.Context, id string) ([]byte, error) {
			reads.Add(1)
			select {
			case <-open:
				return store.Segment(ctx, id)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		})
		// The first one gives up; that must not be the others' answer.
		ctx, cancel := context.WithCancel(t.Context())
		first := make(chan error, 1)
		go func() {
			_, err := cache.columns(ctx, list[0])
			first <- err
		}()
		synctest.Wait()
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if c, err := cache.columns(t.Context(), list[0]); err != nil || c.n != 40 {
					t.Errorf("%d entries, %v", c.n, err)
				}
			})
		}
		synctest.Wait()
		if reads.Load() != 1 {
			t.Errorf("%d reads at a time", reads.Load())
		}
		cancel()
		if err := <-first; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
		synctest.Wait()
		close(open)
		group.Wait()
		if reads.Load() != 2 {
			t.Errorf("%d reads, want 2", reads.Load())
		}
	})
}

func TestAnIndexReadsItsOwnPiecesBeforeTheyAreStored(t *testing.T) {
	t.Parallel()
	store := newMemory()
	for _, s := range []Store{store, NewCache(1<<20, store.Segment), NewCache(0, store.Segment)} {
		x := Open(s, Manifest{})
		for i := range 20 {
			for _, e := range someEntries(40) {
				e.Round = uint32(i)
				x.Put(e.Entry)
			}
			if _, segments := x.Flush(); len(segments) != 1 {
				t.Fatalf("%d segments", len(segments))
			}
			if e, ok, err := x.Look(t.Context(), outlookID(7)); err != nil || !ok || e.Round != uint32(i) {
				t.Fatalf("round %d: %+v, %v, %v", i, e, ok, err)
			}
		}
	}
}
