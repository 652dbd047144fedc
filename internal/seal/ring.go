package seal

import (
	"fmt"
	"slices"
)

// Ring is a key that seals, and earlier keys that still open: what a store
// works with while its key is being replaced. The key that a value was sealed
// with is named in front of the value, so no key is tried in vain. A Ring is
// safe for concurrent use; the zero value is not usable.
type Ring struct {
	current *Key
	earlier []*Key
}

// NewRing derives a ring for purpose. Every text is read as [ParseKey] does;
// the error of an earlier one says which it is, counted from 1.
func NewRing(purpose string, current Secret, earlier ...Secret) (*Ring, error) {
	key, err := ParseKey(current, purpose)
	if err != nil {
		return nil, err
	}
	ring := &Ring{current: key}
	for i, text := range earlier {
		key, err := ParseKey(text, purpose)
		if err != nil {
			return nil, fmt.Errorf("earlier key %d: %w", i+1, err)
		}
		ring.earlier = append(ring.earlier, key)
	}
	return ring, nil
}

// Current returns the key that seals.
func (r *Ring) Current() *Key { return r.current }

// Only returns a ring with the current key alone.
func (r *Ring) Only() *Ring { return &Ring{current: r.current} }

// Seal seals with the current key; see [Key.Seal].
func (r *Ring) Seal(plain, place []byte) []byte { return r.current.Seal(plain, place) }

// Open opens with the key that sealed, if it is on the ring; see [Key.Open].
// [ErrWrongKey] names the key that would be needed and the current one.
func (r *Ring) Open(sealed, place []byte) ([]byte, error) {
	id := KeyIDOf(sealed)
	if at := slices.IndexFunc(r.earlier, func(k *Key) bool { return k.ID() == id }); at >= 0 && id != r.current.ID() {
		return r.earlier[at].Open(sealed, place)
	}
	return r.current.Open(sealed, place)
}

// Fresh reports whether a value was sealed with the current key.
func (r *Ring) Fresh(sealed []byte) bool { return KeyIDOf(sealed) == r.current.ID() }
