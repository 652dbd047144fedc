package index

import (
	"context"
	"errors"
	"testing"
)

// page looks up and puts so many items, as a poll does, and stores the outcome.
func (w *world) page(t *testing.T, from, items int) {
	t.Helper()
	for n := range items {
		id := idOf(from + n)
		if _, _, err := w.x.Look(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.x.Put(Entry{ID: id, Version: uint64(n), Round: 1})
	}
	_, write, drop, err := w.x.Compact(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	w.store.put(write)
	_, segments := w.x.Flush()
	w.store.put(segments)
	w.store.drop(drop)
}

func TestAPollReadsNothingOfWhatItMadeItself(t *testing.T) {
	t.Parallel()
	w := newWorld(standard, false)
	cache := NewCache(1<<20, func(context.Context, string) ([]byte, error) { return nil, errors.New("the store is asked") })
	w.x = Open(cache, Manifest{})
	const pages, items = 60, 100
	for n := range pages {
		w.page(t, n*items, items)
	}
	if runs := len(w.x.runs); runs > 2*standard.fanOut {
		t.Errorf("%d runs: nothing was merged", runs)
	}
	for n := range pages * items {
		if _, ok, err := w.x.Look(t.Context(), idOf(n)); !ok || err != nil {
			t.Fatalf("item %d is known: %v, %v", n, ok, err)
		}
	}
}

func TestWhatAPollKeepsIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(standard, false)
	cache := NewCache(1<<20, w.store.Segment)
	w.x = Open(cache, Manifest{})
	for n := range 250 {
		w.page(t, n*100, 100)
		w.x.made.stored()
		near := 0
		for _, c := range w.x.near {
			near += len(c.data)
		}
		if w.x.made.bytes > madeBytes || len(w.x.made.order) != len(w.x.made.data) || near > nearBytes+nearMost {
			t.Fatalf("after %d pages: %d bytes in %d of %d segments, %d of columns", n+1, w.x.made.bytes, len(w.x.made.order), len(w.x.made.data), near)
		}
	}
	if len(w.x.made.data) == 0 || len(w.x.near) == 0 {
		t.Error("nothing is kept")
	}
}
