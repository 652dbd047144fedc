package subscriber

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"outlook-connector/internal/fault"
)

// phase says what the reading of a feed is for.
type phase string

const (
	// primer is the quiet first full read of start: now.
	primer phase = "primer"
	// snapshot is the first full read of start: all or a date.
	snapshot phase = "snapshot"
	// resync is a full read after the token was lost or the request changed.
	resync phase = "resync"
	// changes is every round after a full read.
	changes phase = "changes"
)

// cursorVersion is the form of the JSON below. A worker refuses a newer one,
// because overwriting what it does not understand could lose changes.
const cursorVersion = 1

// cursor is where a feed stands. Its JSON is kept in the stream and outlives
// versions of this program: members may be added, not changed.
type cursor struct {
	Version int `json:"v"`
	// Link is the page to be read next; "" begins a round.
	Link  string `json:"link,omitempty"`
	Phase phase  `json:"phase"`
	// Since parts old from new in the first full read. Graph's times have whole
	// seconds, so it has, too.
	Since time.Time `json:"since,omitzero"`
	// Round counts rounds, from 1. It is part of the id of deletions.
	Round int `json:"round"`
	// Pages counts the pages of this round that are behind the cursor.
	Pages int `json:"pages,omitempty"`
	// Began is Graph's time at the first page of this round, Done at that of the
	// last complete round: all that arrived before Done has been told. It parts
	// old from new in a resync.
	Began time.Time `json:"began,omitzero"`
	Done  time.Time `json:"done,omitzero"`
	// Request identifies the parameters that live in Link.
	Request string `json:"request"`
	// Told are the newest items told, so that a replay is not told again.
	Told []string `json:"told,omitempty"`
	// At is when this cursor was written, by the worker's clock.
	At time.Time `json:"at"`
}

// full reports whether the cursor is within a full read.
func (c *cursor) full() bool { return c.Phase != changes }

// cut is the moment from which items are new in a full read.
func (c *cursor) cut() time.Time {
	if c.Phase == resync {
		return c.Done
	}
	return c.Since
}

// restart turns the cursor to the beginning of a full read, after the token was
// lost or the request changed. A first full read begins anew as what it was.
func (c *cursor) restart(request string) {
	if c.Phase == changes {
		c.Phase = resync
	}
	c.Link, c.Pages, c.Began = "", 0, time.Time{}
	c.Request = request
	c.Round++
}

// advance turns the cursor past a page.
func (c *cursor) advance(page Page, now time.Time) {
	if c.Began.IsZero() {
		c.Began = page.Date
		if page.Date.IsZero() {
			c.Began = now
		}
		c.Began = c.Began.Truncate(time.Second)
	}
	if page.Next != "" {
		c.Link = page.Next
		c.Pages++
		return
	}
	c.Link, c.Phase, c.Pages = page.Delta, changes, 0
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
	switch {
	case err == nil && c.Phase != primer && c.Phase != snapshot && c.Phase != resync && c.Phase != changes:
		err = fmt.Errorf("cursor has the unknown phase %q", c.Phase)
	case err == nil && c.Link == "" && c.Phase == changes:
		err = fmt.Errorf("cursor has no link")
	}
	if err != nil {
		return nil, fault.New(fault.Poison, "%w", err).WithCode("bad_cursor").
			WithHint("it was written by a newer version or changed by hand: run the newer version, or purge the feed's cursor subject to start anew")
	}
	return c, nil
}

// begin is the cursor of a feed that has none yet.
func begin(start Start, registered time.Time, request string) *cursor {
	c := &cursor{Phase: primer, Since: registered, Round: 1, Request: request}
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
	}{Operation: sub.Operation.ID, Transform: sub.RequestSource, Path: sub.Path, Query: sub.Query}
	if mailbox == "me" {
		id.Client = sub.Client
	}
	text, err := json.Marshal(id) // maps are written in the order of their keys
	if err != nil {
		panic(err) // strings and maps of strings always have a JSON form
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}
