package subscriber

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/index"
)

// phase says what the reading of a feed is for.
type phase string

const (
	// primer is the quiet first full read of start: now.
	primer phase = "primer"
	// snapshot is the first full read of start: all or a date.
	snapshot phase = "snapshot"
	// resync is a full read after the token was lost, the request changed, a new
	// window began or somebody asked for it.
	resync phase = "resync"
	// sweep comes after a full read: what was known before it and was not in it
	// is looked at and told as deleted. Nothing is read meanwhile.
	sweep phase = "sweep"
	// changes is every round after a full read, and of a list or a single object
	// every reading but the first.
	changes phase = "changes"
	// retiring is the sweep of a feed that comes to its end, retired one that has
	// told all that it knew as gone.
	retiring phase = "retiring"
	retired  phase = "retired"
)

// cursorVersion is the form of the JSON below. A worker refuses a newer one,
// because overwriting what it does not understand could lose changes. Version 1
// had no index.
const cursorVersion = 2

// cursor is where a feed stands. Its JSON is kept in the stream and outlives
// versions of this program: members may be added, not changed.
type cursor struct {
	Version int `json:"v"`
	// Link is the page to be read next; "" begins a round. In a sweep it is the
	// delta link to go on with afterwards.
	Link  string `json:"link,omitempty"`
	Phase phase  `json:"phase"`
	// Since parts old from new in the first full read. Graph's times have whole
	// seconds, so it has, too.
	Since time.Time `json:"since,omitzero"`
	// Round counts rounds, from 1. It is part of the ids of events, because an
	// item may come to the same version more than once.
	Round int `json:"round"`
	// Pages counts the pages of this round that are behind the cursor.
	Pages int `json:"pages,omitempty"`
	// Began is Graph's time at the first page of this round, Done at that of the
	// last complete round.
	Began time.Time `json:"began,omitzero"`
	Done  time.Time `json:"done,omitzero"`
	// Request identifies the parameters that live in Link.
	Request string `json:"request"`
	// Index is what the feed knows; in a full read, what the read has seen. Old
	// is what was known before the read began, until the sweep is through.
	Index index.Manifest `json:"index,omitzero"`
	Old   index.Manifest `json:"old,omitzero"`
	// Sweep is the key from which the sweep goes on.
	Sweep index.Key `json:"sweep,omitempty,string"`
	// Past are the newest versions that items no longer have, so that a late
	// replay of one is not taken for a change back to it.
	Past []string `json:"past,omitempty"`
	// Told is what version 1 told last. It is kept through the primer with which
	// such a feed goes on, so that nothing is told once more.
	Told []string `json:"told,omitempty"`
	// Away are items that left, as Graph said, and are still in a folder of the
	// subscription: in another one, whose feed has not told them yet, or in this
	// one again. If they are gone before anybody tells them, this feed says so.
	Away []awayItem `json:"away,omitempty"`
	// Mark is the sequence of the marker of moves at the last commit that did not
	// write it itself; 0: not known.
	Mark uint64 `json:"mark,omitempty"`
	// From and Upto are the window of a calendar view that the round reads.
	From time.Time `json:"from,omitzero"`
	Upto time.Time `json:"upto,omitzero"`
	// Resync is the newest wish for a full read that was granted.
	Resync string `json:"resync,omitempty"`
	// Pace is how fast the feed is polled where its interval adapts itself.
	Pace pace `json:"pace,omitzero"`
	// At is when this cursor was written, by the worker's clock.
	At time.Time `json:"at"`
}

// full reports whether the cursor is within a full read.
func (c *cursor) full() bool { return c.Phase == primer || c.Phase == snapshot || c.Phase == resync }

// restart turns the cursor to the beginning of a full read, after the token was
// lost or the like. A first full read begins anew as what it was. What is known
// becomes what the read is compared with.
func (c *cursor) restart() {
	switch c.Phase {
	case changes, sweep:
		c.Phase = resync
	}
	c.Link, c.Pages, c.Began, c.Sweep = "", 0, time.Time{}, 0
	c.Index, c.Old = index.Manifest{}, c.Index.Over(c.Old)
	c.Round++
}

// advance turns the cursor past a page.
func (c *cursor) advance(page Page, now time.Time) {
	c.begun(page.Date, now)
	if page.Next != "" {
		c.Link = page.Next
		c.Pages++
		return
	}
	c.Link, c.Pages = page.Delta, 0
	c.endRound()
}

// begun notes when the round began.
func (c *cursor) begun(date, now time.Time) {
	if !c.Began.IsZero() {
		return
	}
	if c.Began = date; date.IsZero() {
		c.Began = now
	}
	c.Began = c.Began.UTC().Truncate(time.Second)
}

// endRound turns the cursor to the next round, or first to the sweep.
func (c *cursor) endRound() {
	if c.full() && !c.Old.IsZero() {
		c.Phase, c.Sweep = sweep, 0
	} else {
		c.Phase = changes
	}
	c.Told = nil
	c.Done, c.Began = c.Began, time.Time{}
	c.Round++
}

// encode returns the JSON to be stored, with the moment of writing.
func (c *cursor) encode(now time.Time) ([]byte, error) {
	c.Version, c.At = cursorVersion, now.UTC()
	value, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode cursor: %w", err)
	}
	return value, nil
}

// decodeCursor reads a stored cursor.
func decodeCursor(value []byte) (*cursor, error) {
	c := new(cursor)
	err := json.Unmarshal(value, c)
	switch {
	case err != nil:
		err = fmt.Errorf("read cursor: %w", err)
	case c.Version > cursorVersion:
		err = fmt.Errorf("cursor has version %d, this program knows %d", c.Version, cursorVersion)
	case c.Version < 1 || c.Round < 1:
		err = fmt.Errorf("cursor has version %d and round %d", c.Version, c.Round)
	}
	if err == nil {
		switch c.Phase {
		case primer, snapshot, resync, sweep, changes, retiring, retired:
		default:
			err = fmt.Errorf("cursor has the unknown phase %q", c.Phase)
		}
	}
	if err != nil {
		return nil, badCursor(err)
	}
	return c, nil
}

func badCursor(err error) error {
	return fault.New(fault.Poison, "%w", err).WithCode("bad_cursor").
		WithHint("it was written by a newer version or changed by hand: run the newer version, or purge the feed's cursor subject to start anew")
}

// upgrade takes up a cursor without an index. What was told is not known, so a
// quiet full read fills the index and tells only what is new since the last
// complete round; a first full read begins anew as what it was.
func (c *cursor) upgrade() {
	switch c.Phase {
	case changes, resync, sweep:
		c.Phase, c.Since = primer, c.Done
	}
	c.restart()
	c.Version = cursorVersion
}

// begin is the cursor of a feed that has none yet.
func begin(start Start, registered time.Time, request string) *cursor {
	c := &cursor{Version: cursorVersion, Phase: primer, Since: registered, Round: 1, Request: request}
	switch {
	case start.All:
		c.Phase, c.Since = snapshot, time.Time{}
	case !start.From.IsZero():
		c.Phase, c.Since = snapshot, start.From
	}
	c.Since = c.Since.UTC().Truncate(time.Second)
	return c
}

// requestID identifies the parameters that Graph keeps in its links. Headers are
// not among them. The client counts only for "me", where another client may be
// another mailbox.
func requestID(sub *Subscription, mailbox string) string {
	id := struct {
		Operation, Client, Transform string
		Path, Query                  map[string]string
		// Left out where it is empty, so that feeds of before it was there go on.
		Payload map[string]any `json:",omitempty"`
	}{Operation: sub.Operation.ID, Transform: sub.RequestSource, Path: sub.Path, Query: sub.Query, Payload: sub.Payload}
	if mailbox == "me" {
		id.Client = sub.Client
	}
	text, err := json.Marshal(id) // maps are written in the order of their keys
	if err != nil {
		panic(err) // what a configuration can hold always has a JSON form
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}
