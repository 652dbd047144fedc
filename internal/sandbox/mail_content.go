package sandbox

// The bytes of attachments. A message that is copied, moved or delivered shares
// them, in memory and in the journal, where they are one record and messages name
// them by a number; what no message holds any more is left to the garbage
// collector, and to the next compaction of the journal.

import (
	"fmt"
	"strconv"
)

// content is what is in a file. It is never changed, but for the key, which is
// given when it is first stored, under the lock.
type content struct {
	key   uint64
	bytes []byte
}

type contentRecord struct {
	Key   uint64 `json:"key"`
	Bytes []byte `json:"bytes"`
}

// MarshalJSON writes the number by which the journal knows the content.
func (c *content) MarshalJSON() ([]byte, error) { return strconv.AppendUint(nil, c.key, 10), nil }

// UnmarshalJSON reads the number; link finds the content.
func (c *content) UnmarshalJSON(b []byte) (err error) {
	c.key, err = strconv.ParseUint(string(b), 10, 64)
	return err
}

func newContent(b []byte) *content {
	if b == nil {
		b = []byte{}
	}
	return &content{bytes: b}
}

// eachContent visits the contents of a message, those of messages in it too.
func (m *message) eachContent(visit func(a *attachment)) {
	for _, a := range m.Attachments {
		if a.Content != nil {
			visit(a)
		}
		if a.Message != nil {
			a.Message.eachContent(visit)
		}
	}
}

// keepContents notes for the journal what the message is the first to hold.
func (t *tx) keepContents(m *message) {
	m.eachContent(func(a *attachment) {
		if a.Content.key == 0 {
			a.Content.key = t.newKey()
			t.records = append(t.records, record{Content: &contentRecord{a.Content.key, a.Content.bytes}})
		}
	})
}

func (st *state) putContent(r *contentRecord) {
	if st.contents == nil {
		st.contents = map[uint64]*content{}
	}
	st.contents[r.Key] = &content{r.Key, r.Bytes}
	if r.Bytes == nil {
		st.contents[r.Key].bytes = []byte{}
	}
	st.saw(r.Key, 0)
}

// link gives a message that was read from the journal its contents.
func (st *state) link(m *message) (err error) {
	m.eachContent(func(a *attachment) {
		if a.Content.bytes != nil {
			return
		}
		whole := st.contents[a.Content.key]
		if whole == nil {
			err = fmt.Errorf("content %d is not there", a.Content.key)
			return
		}
		a.Content = whole
	})
	return err
}

// writtenContents are those that a snapshot has written already.
type writtenContents map[*content]bool

func (w writtenContents) emit(m *message, emit func([]record) error) (err error) {
	m.eachContent(func(a *attachment) {
		if !w[a.Content] && err == nil {
			w[a.Content] = true
			err = emit([]record{{Content: &contentRecord{a.Content.key, a.Content.bytes}}})
		}
	})
	return err
}
