package index

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"outlook-connector/internal/fault"
)

// someEntries in the order of their keys.
func someEntries(n int) []entry {
	recent := map[Key]Entry{}
	for i := range n {
		e := Entry{
			ID: outlookID(i), Version: rand.Uint64N(1 << 48), Flags: Flags(i % 8), Lives: uint8(i), Round: rand.Uint32(), Until: rand.Uint32(),
		}
		recent[KeyOf(e.ID)] = e
	}
	return sorted(recent)
}

func TestASegmentComesBackAsItWas(t *testing.T) {
	t.Parallel()
	long := []entry{{key: 1, Entry: Entry{ID: ""}}, {key: 2, Entry: Entry{ID: strings.Repeat("é\x00", 40_000)}}, {key: 1<<64 - 1, Entry: Entry{ID: "z", Version: 1<<48 - 1, Flags: 255, Lives: 255, Round: 1<<32 - 1, Until: 1<<32 - 1}}}
	for _, list := range [][]entry{nil, long, someEntries(1), someEntries(33), someEntries(5000)} {
		got, err := decodeAll(encodeAll(list))
		if err != nil || !reflect.DeepEqual(got, list) {
			t.Errorf("%d entries came back as %d, %v", len(list), len(got), err)
		}
	}
}

func TestSegmentsKeepTheirSize(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]func(int) string{
		"alike":  outlookID,
		"random": func(int) string { return randomText(150) },
		"huge":   func(int) string { return randomText(300 << 10) },
	} {
		w := newWriter(standard.segment)
		for n := 0; len(w.done) < 3; n++ {
			w.add(Key(n), Entry{ID: id(n), Version: rand.Uint64N(1 << 48)})
		}
		for i, s := range w.done {
			if len(s.Data) > standard.segment || name != "huge" && len(s.Data) < standard.segment*95/100 {
				t.Errorf("%s: segment %d has %d bytes", name, i, len(s.Data))
			}
			if _, err := decodeAll(s.Data); err != nil {
				t.Error(err)
			}
		}
	}
	// What no segment holds has one for itself.
	w := newWriter(standard.segment)
	for n := range 3 {
		w.add(Key(n), Entry{ID: randomText(1 << 20)})
	}
	if got := w.finish(); len(got) != 3 {
		t.Errorf("%d segments for three ids of a megabyte", len(got))
	}
}

func randomText(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return string(b)
}

func checkDamaged(t *testing.T, err error, what string) {
	t.Helper()
	marked := fault.Of(err)
	if marked == nil || marked.Kind != fault.Poison || marked.Hint == "" || marked.Code != "index_damaged" && marked.Code != "index_format" {
		t.Errorf("%s: %v", what, err)
	}
}

func TestADamagedSegmentIsNeverAWrongAnswer(t *testing.T) {
	t.Parallel()
	data := encodeAll(someEntries(50))
	for at := range data {
		for _, bit := range []byte{1, 0x80} {
			bad := bytes.Clone(data)
			bad[at] ^= bit
			_, err := decodeAll(bad)
			checkDamaged(t, err, "a flipped bit")
			if t.Failed() {
				t.Fatalf("at %d", at)
			}
		}
		_, err := decode(data[:at])
		checkDamaged(t, err, "a cut segment")
	}
	var b builder
	b.add(2, Entry{})
	b.add(1, Entry{})
	_, err := decode(b.finish())
	checkDamaged(t, err, "keys out of order")
	_, err = decode(append(bytes.Clone(data), 0))
	checkDamaged(t, err, "a segment with a tail")

	store := newMemory()
	x := Open(store, Manifest{})
	for _, e := range someEntries(50) {
		x.Put(e.Entry)
	}
	m, segments := x.Flush()
	segments[0].Data = bytes.Clone(segments[0].Data)
	segments[0].Data[100] ^= 1
	store.put(segments)
	for name, s := range map[string]Store{"store": store, "cache": NewCache(1<<20, store.Segment)} {
		x = Open(s, m)
		_, _, err = x.Look(t.Context(), outlookID(1))
		checkDamaged(t, err, name+": look")
		err = x.Walk(t.Context(), 0, func(Key, Entry) (bool, error) { return true, nil })
		checkDamaged(t, err, name+": walk")
		err = Missing(t.Context(), x, Open(s, Manifest{}), 0, func(Key, Entry) (bool, error) { return true, nil })
		checkDamaged(t, err, name+": missing")
		err = Missing(t.Context(), Open(s, Manifest{}), x, 0, func(Key, Entry) (bool, error) { return true, nil })
		checkDamaged(t, err, name+": missing in it")
	}
}

// patched makes the check sums of a segment right, so that what they guard is
// reached.
func patched(data []byte) []byte {
	if len(data) < headerSize {
		return data
	}
	data = bytes.Clone(data)
	copy(data, magic)
	data[4] = formatVersion
	at, n := headerSize, int(binary.BigEndian.Uint32(data[8:]))%1000
	binary.BigEndian.PutUint32(data[8:], uint32(n))
	for column, width := range append(widths[:], 0) {
		end := at + width*n
		if column == len(widths) {
			end = len(data)
		}
		if end > len(data) {
			return data
		}
		binary.BigEndian.PutUint32(data[headerSums+column*4:], crc32.Checksum(data[at:end], castagnoli))
		at = end
	}
	binary.BigEndian.PutUint32(data[12:], uint32(len(data)-headerSize-n*entrySize))
	binary.BigEndian.PutUint32(data[headerSize-4:], crc32.Checksum(data[:headerSize-4], castagnoli))
	return data
}

func FuzzDecode(f *testing.F) {
	for _, n := range []int{0, 1, 7, 40} {
		data := encodeAll(someEntries(n))
		f.Add(data, false)
		f.Add(data, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, fix bool) {
		if fix {
			data = patched(data)
		}
		list, err := decodeAll(data)
		if err != nil {
			checkDamaged(t, err, "fuzz")
			return
		}
		again, err := decodeAll(encodeAll(list))
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("%d entries came back as %d, %v", len(list), len(again), err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	x := open(newMemory(), Manifest{}, small)
	for n := range 40 {
		x.Put(Entry{ID: idOf(n)})
		if n%5 == 0 {
			x.Flush()
		}
	}
	m, _ := x.Flush()
	for _, m := range []Manifest{{}, m, m.Over(m)} {
		data, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"runs":[{"s":"AAAA"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Manifest
		if json.Unmarshal(data, &m) != nil {
			return
		}
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var again Manifest
		if err := json.Unmarshal(data, &again); err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("%+v came back as %+v, %v", m, again, err)
		}
		// Whatever it says, reading it is an answer or an error.
		_, _, _ = Open(newMemory(), m).Look(t.Context(), "x")
		_, _, _, _ = Open(newMemory(), m).Compact(t.Context(), 0)
	})
}

func TestADamagedManifestIsRefused(t *testing.T) {
	t.Parallel()
	var in struct{ Index Manifest }
	for _, text := range []string{
		`{"Index":{"recent":"AAAA"}}`, `{"Index":{"runs":[{"s":"AAAA"}]}}`, `{"Index":{"runs":[{"r":7}]}}`, `{"Index":{"runs":[{"e":"AAAA"}]}}`, `{"Index":7}`,
	} {
		checkDamaged(t, json.Unmarshal([]byte(text), &in), text)
	}
	if data, err := json.Marshal(Manifest{}); err != nil || string(data) != "{}" {
		t.Errorf("an empty one is %s, %v", data, err)
	}
}

var errTold = errors.New("stop")

func TestAWalkStopsWhereItIsTold(t *testing.T) {
	t.Parallel()
	x := Open(newMemory(), Manifest{})
	for _, e := range someEntries(20) {
		x.Put(e.Entry)
	}
	n := 0
	err := x.Walk(t.Context(), 0, func(Key, Entry) (bool, error) {
		if n++; n == 3 {
			return true, errTold
		}
		return true, nil
	})
	if !errors.Is(err, errTold) || n != 3 {
		t.Errorf("%d entries, %v", n, err)
	}
	err = Missing(t.Context(), x, Open(newMemory(), Manifest{}), 0, func(Key, Entry) (bool, error) { return true, io.EOF })
	if !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
