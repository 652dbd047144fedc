package sandbox

// Delta tokens. A token holds the whole of its round (folder, position, options)
// under a signature, so it outlives the process and says nothing to a client.
// Options are given once, in the first request, and live in the token:
// https://learn.microsoft.com/graph/delta-query-overview

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
)

type deltaToken struct {
	Box    string `json:"b"`
	Kind   string `json:"k,omitempty"` // of entities; "": messages
	Folder uint64 `json:"f"`           // or the place of entities
	Epoch  int64  `json:"e"`           // of the sandbox plus that of the mailbox

	// A round tells of the changes after Start up to and with End. After is
	// where the next page begins. In a deltaLink End is 0.
	Start int64 `json:"s,omitempty"`
	After int64 `json:"a,omitempty"`
	End   int64 `json:"n,omitempty"`
	// Every write up to Sure has been told of, so that of an older item the parts
	// that changed since are enough. It is below Start where an item changed once
	// more while a round was read: that round passed over it.
	Sure int64 `json:"u,omitempty"`
	// First says that it is the first round: no departures, and the limit on
	// filtered rounds. Given counts its items.
	First bool `json:"i,omitempty"`
	// Issued is when the directory gave the token, in Unix seconds.
	Issued int64 `json:"d,omitempty"`
	Given  int   `json:"g,omitempty"`
	// AfterKey is where the next page begins among folders, of which one write
	// may change several.
	AfterKey uint64 `json:"ak,omitempty"`
	// Pages counts those of the round, Blank says that an empty one was the last,
	// Again lists what will be told again; see delta_odd.go.
	Pages int      `json:"pg,omitempty"`
	Blank bool     `json:"bl,omitempty"`
	Again []uint64 `json:"ag,omitempty"`
	// Before is the position in a first round with $orderby.
	Before *position `json:"p,omitempty"`

	Select  []string `json:"q,omitempty"`
	Expand  string   `json:"x,omitempty"`
	Filter  string   `json:"w,omitempty"`
	Newest  bool     `json:"o,omitempty"` // $orderby=receivedDateTime desc
	Top     int      `json:"t,omitempty"`
	Changes string   `json:"c,omitempty"`
	Hidden  bool     `json:"h,omitempty"` // includeHiddenFolders
}

type position struct {
	Received int64  `json:"r"`
	Key      uint64 `json:"k"`
}

func (st *state) sealToken(t deltaToken) string {
	b := appendJSON(nil, t)
	return base64.RawURLEncoding.EncodeToString(append(st.tokenMAC(b), b...))
}

func (st *state) openToken(s string) (deltaToken, bool) {
	var t deltaToken
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < sha256.Size || !hmac.Equal(b[:sha256.Size], st.tokenMAC(b[sha256.Size:])) {
		return t, false
	}
	return t, json.Unmarshal(b[sha256.Size:], &t) == nil
}

func (st *state) tokenMAC(b []byte) []byte {
	mac := hmac.New(sha256.New, st.Secret)
	mac.Write([]byte("delta token"))
	mac.Write(b)
	return mac.Sum(nil)
}

// ExpireDelta makes all delta tokens of a mailbox useless; "" means of every
// mailbox. It is false when there is no such mailbox.
func (s *Sandbox) ExpireDelta(mailbox string) bool {
	known := true
	err := s.update(func(t *tx) error {
		c := counters{Seq: t.seq, NextKey: t.nextKey, Epoch: t.epoch, Epochs: map[string]int64{}}
		if mailbox == "" {
			c.Epoch++
		} else if b := t.mailboxNamed(mailbox); b != nil {
			c.Epochs[b.ID] = b.epoch + 1
		} else {
			known = false
			return nil
		}
		t.do(record{Counters: &c})
		return nil
	})
	return known && err == nil
}
