package subscriber

import (
	"hash/maphash"
	"slices"
)

// trail is the links of one round that are behind the feed. Endless rounds are
// real: the same nextLink for ever, links in a circle, and new links with the
// same items have all been reported of Graph. The trail outlives a poll, so
// that a circle is not walked once more, with all its events, at each poll.
type trail struct {
	seed  maphash.Seed
	round int
	// past are the links that the stored cursor is past.
	past map[uint64]struct{}
	// pending are those that only this poll is past: if it fails, they rightly
	// come again.
	pending []uint64
	// items is a hash of the items of the newest page that this poll is past,
	// itemsStored of the newest that the stored cursor is past.
	items, itemsStored uint64
}

// resume prepares the trail for a poll of the given round.
func (t *trail) resume(seed maphash.Seed, round int) {
	if t.past == nil || t.round != round {
		*t = trail{seed: seed, round: round, past: make(map[uint64]struct{})}
	}
	t.pending, t.items = t.pending[:0], t.itemsStored
}

// circles reports whether the link leads back.
func (t *trail) circles(link string) bool {
	sum := maphash.String(t.seed, link)
	_, past := t.past[sum]
	return past || slices.Contains(t.pending, sum)
}

// pass notes that the poll is past the link.
func (t *trail) pass(link string) { t.pending = append(t.pending, maphash.String(t.seed, link)) }

// stored notes that the stored cursor is past all that the poll is past.
func (t *trail) stored() {
	for _, sum := range t.pending {
		t.past[sum] = struct{}{}
	}
	t.pending, t.itemsStored = t.pending[:0], t.items
}
