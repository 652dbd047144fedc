// Package index keeps what a feed has told: for each item its version, so that
// created can be told from updated, a replay from a change, and a missed
// deletion be found.
//
// It is a log-structured tree. The newest entries stand in the [Manifest], which
// the feed keeps in its cursor; when there are more than a few, they become a
// [Segment], an immutable piece of its own. Runs of segments are merged as they
// grow in number. Whoever stores a cursor stores the new segments with it, so
// that the fence of the cursor fences the index, too, and a page costs what the
// page changes and not what the index holds.
//
// The package stores nothing itself and knows no server: segments are read by a
// [Store] and handed out to be written.
package index

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
)

// Key stands for an item: the first 8 bytes of the SHA-256 of its id. Two of a
// million items share one with a probability of about 3 in 100 million.
type Key uint64

// KeyOf returns the key of an item's id.
func KeyOf(id string) Key {
	var room [256]byte // longer than ids are, so that it is not on the heap
	sum := sha256.Sum256(append(room[:0], id...))
	return Key(binary.BigEndian.Uint64(sum[:8]))
}

// Flags say what else is known of an item.
type Flags uint8

const (
	// Gone is an item whose deletion was told. It stays for a while, so that its
	// next life is told under other event ids.
	Gone Flags = 1 << iota
	// Moved is an item that is in another folder of the same subscription.
	Moved
	// Hushed is an item that was seen and not told, because a transform dropped
	// it or the subscription does not want its kind.
	Hushed
)

// Entry is what is known of one item.
type Entry struct {
	// ID is the item's id, whole and case-sensitive. [Index.Look] leaves it out.
	ID string
	// Version identifies the item's state: 48 bits of a digest, see [VersionOf].
	Version uint64
	Flags   Flags
	// Lives counts how often the item was told as deleted, modulo 256.
	Lives uint8
	// Round is the lower 32 bits of the round in which the entry was written.
	Round uint32
	// Until is the end of a calendar item in minutes since 1970; 0: it has none.
	// In feeds without a window it is the item's claim, see subscriber/moves.go.
	Until uint32
}

// VersionOf returns the 48 bits that stand for an etag, a change key or a digest.
func VersionOf(text string) uint64 {
	var room [256]byte
	sum := sha256.Sum256(append(room[:0], text...))
	return binary.BigEndian.Uint64(sum[:8]) >> 16
}

// Segment is an immutable piece of an index on its way to the store.
type Segment struct {
	// ID is unique for good, and one token of a subject.
	ID   string
	Data []byte
}

// Store reads segments.
type Store interface {
	// Segment returns the bytes of a segment that a manifest names. They must
	// not be changed.
	Segment(ctx context.Context, id string) ([]byte, error)
}
