package index

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
)

// Manifest says of which segments an index is made, and holds its newest
// entries. It is a value: nothing changes a Manifest that was handed out. The
// zero value is an empty index.
//
// Its JSON takes some 1 to 2 KB for the newest entries, 24 bytes for each
// segment and 30 for each run.
type Manifest struct {
	runs   []run   // newest first
	recent []entry // newer than all runs; in the order of their keys
	live   int64
	round  uint32 // the newest one seen
}

// entry is an Entry with its key.
type entry struct {
	key Key
	Entry
}

// run is a sorted sequence of entries, each key once. Runs of one level are
// merged into one of the next. An older run never has a lower level.
type run struct {
	level int
	count int // entries, among them those that have been merged already
	gone  int // of them, those that are Gone
	role  role
	// from is where the run begins to count: what is below has been merged
	// already.
	from Key
	// segments are its pieces, in the order of their keys.
	segments []ref
	// inline are the entries of a run that has no segments.
	inline []entry
}

// ref is a segment and the key of its first entry.
type ref struct {
	id    segmentID
	first Key
}

// segmentID is random, so that no two workers ever give different segments the
// same name.
type segmentID [10]byte

var idText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567")

func (id segmentID) String() string { return idText.EncodeToString(id[:]) }

func newSegmentID() segmentID {
	var id segmentID
	_, _ = rand.Read(id[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return id
}

// role says what a run does in a merge that takes several commits. The output
// stands right before its inputs.
type role int

const (
	idle role = iota
	output
	input
)

// shape is the form of the tree.
type shape struct {
	recent  int // entries that stand in the manifest, at most
	fanOut  int // runs of a level that make one of the next
	segment int // bytes of a segment with more than one entry, at most
}

// standard is small where it is written with each commit (recent) or read for a
// look-up (segment).
var standard = shape{recent: 32, fanOut: 10, segment: 512 << 10}

// IsZero reports an index without entries.
func (m Manifest) IsZero() bool { return len(m.runs) == 0 && len(m.recent) == 0 }

// Items returns about how many items the index knows that are not [Gone].
func (m Manifest) Items() int64 { return m.live }

// Segments returns the ids of all segments that the manifest names.
func (m Manifest) Segments() []string {
	var list []string
	for _, r := range m.runs {
		for _, s := range r.segments {
			list = append(list, s.id.String())
		}
	}
	return list
}

// Over returns m laid over old: what m knows is newer. It is for a full read
// that is lost half-way, with what was known before it as old. Deletions that m
// has forgotten since (see [Index.Compact]) do not hide what old says.
func (m Manifest) Over(old Manifest) Manifest {
	if m.IsZero() {
		return old
	}
	if old.IsZero() {
		return m
	}
	under := slices.Clone(old.runs)
	if len(old.recent) > 0 {
		under = slices.Insert(under, 0, run{count: len(old.recent), inline: old.recent})
	}
	top := 0
	for _, r := range m.runs {
		top = max(top, r.level)
	}
	for i := range under {
		under[i].level = max(under[i].level, top)
	}
	out := Manifest{runs: slices.Concat(m.runs, under), recent: m.recent, live: max(m.live, old.live), round: m.round}
	if later(old.round, out.round) {
		out.round = old.round
	}
	return out
}

// later compares rounds, which wrap around.
func later(a, b uint32) bool { return int32(a-b) > 0 }

// manifestJSON is the stored form. Names are short because it is written with
// each commit.
type manifestJSON struct {
	Recent []byte    `json:"recent,omitempty"`
	Runs   []runJSON `json:"runs,omitempty"`
	Live   int64     `json:"live,omitempty"`
	Round  uint32    `json:"round,omitempty"`
}

type runJSON struct {
	Level    int    `json:"l,omitempty"`
	Count    int    `json:"n,omitempty"`
	Gone     int    `json:"g,omitempty"`
	Role     role   `json:"r,omitempty"`
	From     Key    `json:"f,omitempty,string"`
	Segments string `json:"s,omitempty"`
	Inline   []byte `json:"e,omitempty"`
}

const refSize = len(segmentID{}) + 8

// MarshalJSON returns the form that stands in the cursor.
func (m Manifest) MarshalJSON() ([]byte, error) {
	out := manifestJSON{Live: m.live, Round: m.round, Recent: encodeAll(m.recent)}
	for _, r := range m.runs {
		refs := make([]byte, 0, len(r.segments)*refSize)
		for _, s := range r.segments {
			refs = binary.BigEndian.AppendUint64(append(refs, s.id[:]...), uint64(s.first))
		}
		out.Runs = append(out.Runs, runJSON{
			Level: r.level, Count: r.count, Gone: r.gone, Role: r.role, From: r.from,
			Segments: base64.StdEncoding.EncodeToString(refs), Inline: encodeAll(r.inline),
		})
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON wrote. A damaged manifest is a
// fault of kind Poison with the code index_damaged.
func (m *Manifest) UnmarshalJSON(data []byte) error {
	var in manifestJSON
	if err := json.Unmarshal(data, &in); err != nil {
		return damaged("manifest: %w", err)
	}
	out := Manifest{live: in.Live, round: in.Round}
	var err error
	if out.recent, err = decodeAll(in.Recent); err != nil {
		return err
	}
	for _, r := range in.Runs {
		to := run{level: r.Level, count: r.Count, gone: r.Gone, role: r.Role, from: r.From}
		if to.inline, err = decodeAll(r.Inline); err != nil {
			return err
		}
		refs, err := base64.StdEncoding.DecodeString(r.Segments)
		if err != nil || len(refs)%refSize != 0 || r.Role < idle || r.Role > input {
			return damaged("a run of the manifest cannot be read")
		}
		for chunk := range slices.Chunk(refs, refSize) {
			s := ref{id: segmentID(chunk[:len(segmentID{})]), first: Key(binary.BigEndian.Uint64(chunk[len(segmentID{}):]))}
			if n := len(to.segments); n > 0 && to.segments[n-1].first >= s.first {
				return damaged("segments of the manifest are out of order")
			}
			to.segments = append(to.segments, s)
		}
		out.runs = append(out.runs, to)
	}
	*m = out
	return nil
}

// encodeAll returns entries, which are in the order of their keys, as one
// segment; nil where there are none.
func encodeAll(list []entry) []byte {
	if len(list) == 0 {
		return nil
	}
	var b builder
	for _, e := range list {
		b.add(e.key, e.Entry)
	}
	return b.finish()
}

func decodeAll(data []byte) ([]entry, error) {
	if len(data) == 0 {
		return nil, nil
	}
	s, err := decode(data)
	if err != nil {
		return nil, err
	}
	list, names := make([]entry, s.n), s.ids()
	for i := range list {
		list[i] = entry{s.key(i), s.entry(i)}
		if list[i].ID, err = names.id(i); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func sorted(recent map[Key]Entry) []entry {
	list := make([]entry, 0, len(recent))
	for key, e := range recent {
		list = append(list, entry{key, e})
	}
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	return list
}
