package index

import "testing"

func TestItemsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(small, false)
	live := map[string]bool{}
	for n := range 3000 {
		id := idOf(n * 7 % 400)
		if _, _, err := w.x.Look(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		e := Entry{ID: id, Round: uint32(n / 10)}
		if n%3 == 0 {
			e.Flags = Gone
		}
		w.x.Put(e)
		live[id] = e.Flags&Gone == 0
		if n%10 != 0 {
			continue
		}
		_, write, drop, err := w.x.Compact(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		w.store.put(write)
		m, segments := w.x.Flush()
		w.store.put(segments)
		w.store.drop(drop)
		want := int64(0)
		for _, is := range live {
			if is {
				want++
			}
		}
		if got := m.Items(); got < want-int64(small.recent) || got > want+int64(small.recent) {
			t.Fatalf("after %d: %d items, want %d", n, got, want)
		}
	}
}

func TestItemsThatWereNotLookedForAreCountedByAMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(small, false)
	var m Manifest
	for round := range 40 {
		for n := range 50 {
			w.x.Put(Entry{ID: idOf(n), Round: uint32(round)})
		}
		_, write, drop, err := w.x.Compact(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		w.store.put(write)
		var segments []Segment
		m, segments = w.x.Flush()
		w.store.put(segments)
		w.store.drop(drop)
	}
	if got := m.Items(); got < 50 || got > 1000 {
		t.Errorf("%d items of 50, put 2,000 times", got)
	}
}

func TestADeletionIsRememberedForTwoRounds(t *testing.T) {
	t.Parallel()
	for behind, want := range []bool{true, true, false} {
		w := newWorld(small, false)
		for n := range 3 {
			for i := range 5 {
				w.x.Put(Entry{ID: idOf(n*5 + i), Flags: Gone, Round: 7})
			}
			_, segments := w.x.Flush()
			w.store.put(segments)
		}
		w.x.Put(Entry{ID: "x", Round: 7 + uint32(behind)})
		_, write, drop, err := w.x.Compact(t.Context(), 0)
		if err != nil || write == nil || len(drop) != 3 {
			t.Fatalf("%d pieces written, %d dropped, %v", len(write), len(drop), err)
		}
		if _, ok, err := w.x.Look(t.Context(), idOf(1)); ok != want || err != nil {
			t.Errorf("%d rounds later it is remembered: %v, %v", behind, ok, err)
		}
	}
}

// A feed with few items and endless changes must not grow.
func TestWhatIsGoneIsForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(standard, false)
	const live = 200
	most := 0
	for n := range 40_000 {
		w.x.Put(Entry{ID: idOf(n), Round: uint32(n / 20)})
		if n >= live {
			w.x.Put(Entry{ID: idOf(n - live), Flags: Gone, Round: uint32(n / 20)})
		}
		if n%20 != 0 {
			continue
		}
		_, write, drop, err := w.x.Compact(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		w.store.put(write)
		m, segments := w.x.Flush()
		w.store.put(segments)
		w.store.drop(drop)
		count := 0
		for _, r := range m.runs {
			count += r.count
		}
		most = max(most, count)
	}
	if most > 2000 {
		t.Errorf("an index of %d items grew to %d entries", live, most)
	}
	t.Logf("at most %d entries for %d items", most, live)
}

func TestWhatIsGoneIsKeptForAsLongAsWanted(t *testing.T) {
	t.Parallel()
	for keep, want := range map[int32]bool{0: false, 1000: true} {
		w := newWorld(standard, false)
		w.x.Put(Entry{ID: "gone", Flags: Gone, Round: 1})
		for n := range 20_000 {
			w.x.Put(Entry{ID: idOf(n), Round: uint32(2 + n/40)})
			if n%40 != 0 {
				continue
			}
			w.x.Keep(keep)
			_, write, drop, err := w.x.Compact(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			w.store.put(write)
			_, segments := w.x.Flush()
			w.store.put(segments)
			w.store.drop(drop)
		}
		if _, ok, err := w.x.Look(t.Context(), "gone"); err != nil || ok != want {
			t.Errorf("kept for %d rounds, it is known after 500: %v, %v; want %v", keep, ok, err, want)
		}
	}
}
