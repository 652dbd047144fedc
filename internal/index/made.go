package index

import "maps"

const (
	// madeBytes bounds the stored segments whose bytes an Index keeps: what ten
	// pages of a hundred items make, so that the merge of ten runs that a poll
	// made itself reads nothing from the store.
	madeBytes = 128 << 10
	// nearBytes bounds the columns that an Index keeps for itself, and nearMost one
	// of them. Together they are some tens of the small segments.
	nearBytes = 128 << 10
	nearMost  = 32 << 10
)

// made are segments that the Index made itself: those handed out last, which may
// not be stored yet, and some of those before. The zero value is empty.
type made struct {
	data  map[segmentID][]byte
	order []segmentID // oldest first
	bytes int
}

func (m *made) keep(id segmentID, data []byte) {
	if m.data == nil {
		m.data = map[segmentID][]byte{}
	}
	m.data[id] = data
	m.order, m.bytes = append(m.order, id), m.bytes+len(data)
}

// stored says that all of them are stored, so that the oldest may go.
func (m *made) stored() {
	gone := 0
	for ; m.bytes > madeBytes; gone++ {
		m.bytes -= len(m.data[m.order[gone]])
		delete(m.data, m.order[gone])
	}
	m.order = append(m.order[:0], m.order[gone:]...)
}

// near are columns that the Index has looked into, small ones. Without them each
// look-up of each item would lock the cache that all feeds share for each run.
type near map[segmentID]columns

func (n *near) keep(id segmentID, c columns) {
	if len(c.data) > nearMost {
		return
	}
	if *n == nil {
		*n = near{}
	}
	bytes := len(c.data)
	for other := range maps.Values(*n) {
		bytes += len(other.data)
	}
	if bytes > nearBytes {
		clear(*n)
	}
	(*n)[id] = c
}
