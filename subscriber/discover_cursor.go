package subscriber

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"outlook-connector/internal/fault"
)

// discoveryVersion is the form of a discovery's cursor. A worker refuses a newer
// one, because overwriting what it does not understand could lose feeds.
const discoveryVersion = 1

const (
	// maxDiscovery bounds a discovery's cursor in bytes: below 1 MiB, which a
	// NATS message may have unless the server was told otherwise. 20,000 folders,
	// or 15,000 members, fit.
	// https://docs.nats.io/running-a-nats-service/configuration#limits
	maxDiscovery = 960 << 10
	// packFrom is from how many places on they are packed.
	packFrom = 50
	// maxUnpacked bounds what a cursor may unfold to.
	maxUnpacked = 64 << 20
)

// discoveryCursor is where a discovery stands: what is there, and which feeds
// this makes. What it says of feeds is the truth; messages in the queue follow
// it. Its JSON is kept in the stream and outlives versions of this program.
type discoveryCursor struct {
	Version int `json:"v"`
	// Phase is snapshot during a full read, else changes. Only operators read it.
	Phase phase `json:"phase"`
	// Link is the page of the folders' delta to be read next; "" begins a full
	// read. Unused for members, which are listed.
	Link string `json:"link,omitempty"`
	// Full says that a full read is under way, begun in the round FullSince.
	Full      bool `json:"full,omitempty"`
	FullSince int  `json:"full_since,omitempty"`
	// Round counts rounds, from 1. Settled is the newest complete one, 0 before
	// there is one.
	Round   int `json:"round"`
	Settled int `json:"settled,omitempty"`
	// Pages counts the pages of this round that are behind the cursor.
	Pages int `json:"pages,omitempty"`
	// Ended says that the discovery was retired, with all its feeds.
	Ended bool `json:"ended,omitempty"`
	// Rule identifies the patterns, or the group or filter, of which Feeds are
	// the result.
	Rule string `json:"rule,omitempty"`
	// Known are the ids of well-known folders, "" for one that is not there, and
	// KnownAt is when they were asked for.
	Known   map[string]string `json:"known,omitempty"`
	KnownAt time.Time         `json:"known_at,omitzero"`
	// Join are the ids whose feeds are to be registered, Leave the feeds to be
	// retired. They are written before that is done and taken out after it, so
	// that a crash in between repeats it.
	Join  []string      `json:"join,omitempty"`
	Leave []foundLeaver `json:"leave,omitempty"`
	// Left are the feeds that were retired lately. Until they have told what
	// became of their items they belong to those that know them.
	Left []foundLeft `json:"left,omitempty"`
	// Exodus is since when the lists lack so many members that it is doubted.
	Exodus time.Time `json:"exodus,omitzero"`
	// Ensured is when all feeds were registered anew the last time.
	Ensured time.Time `json:"ensured,omitzero"`
	// Schedule identifies the schedule that the feeds rest by.
	Schedule string `json:"schedule,omitempty"`
	// Plain are the places, or Packed where they are many, as deflated JSON.
	Plain  []*foundPlace `json:"places,omitempty"`
	Packed []byte        `json:"packed,omitempty"`
	// Done is when the newest complete round ended, at its last page by the
	// worker's clock.
	Done time.Time `json:"done,omitzero"`
	// At is when this cursor was written, by the worker's clock.
	At time.Time `json:"at"`

	places map[string]*foundPlace
}

// foundPlace is a folder of the mailbox or a member of the group, read or not.
type foundPlace struct {
	ID     string `json:"i"`
	Parent string `json:"p,omitempty"`
	// Name is a folder's display name, or the mailbox of a member as it stands in
	// subjects.
	Name   string `json:"n"`
	Hidden bool   `json:"h,omitempty"`
	Search bool   `json:"s,omitempty"`
	// Outside says that it is a well-known folder of which delta does not tell:
	// the place of the top-level folders, or one apart.
	Outside bool `json:"o,omitempty"`
	// First and Seen are the rounds in which the place was first and last told
	// of.
	First int `json:"a"`
	Seen  int `json:"z"`
	// Gone says that this round has told of the folder's removal.
	Gone bool `json:"g,omitempty"`
	// Missing counts the lists in a row in which a member was not.
	Missing int `json:"m,omitempty"`
	// Feed is the feed of the place; nil: none.
	Feed *foundFeed `json:"f,omitempty"`
}

// foundFeed is a feed that discovery made.
type foundFeed struct {
	// Since is from when on its content is new, Round the discovery's round of that.
	Since time.Time `json:"t"`
	Round int       `json:"r"`
	// New says that the place came to be after the subscription began.
	New bool `json:"n,omitempty"`
}

// foundLeaver is a feed that is to be retired.
type foundLeaver struct {
	ID   string `json:"i"`
	Name string `json:"n,omitempty"`
}

// leftMost bounds the feeds of which a discovery remembers that they left.
const leftMost = 500

// foundLeft is a feed that was retired.
type foundLeft struct {
	ID string    `json:"i"`
	At time.Time `json:"t"`
}

// newDiscovery is the cursor of a discovery that has none yet.
func newDiscovery() *discoveryCursor {
	return &discoveryCursor{Full: true, FullSince: 1, Round: 1, places: make(map[string]*foundPlace)}
}

// restart begins a full read. Nothing is forgotten before its end: what it has
// not seen then is gone.
func (c *discoveryCursor) restart() {
	c.Link, c.Pages, c.Full = "", 0, true
	c.Round++
	c.FullSince = c.Round
	for _, place := range c.places {
		place.Gone = false
	}
}

// encode returns the JSON to be stored.
func (c *discoveryCursor) encode(now time.Time, hint string) ([]byte, error) {
	places := make([]*foundPlace, 0, len(c.places))
	for _, place := range c.places {
		places = append(places, place)
	}
	slices.SortFunc(places, func(a, b *foundPlace) int { return strings.Compare(a.ID, b.ID) })
	c.Version, c.At = discoveryVersion, now.UTC()
	if c.Phase = changes; c.Full {
		c.Phase = snapshot
	}
	var err error
	c.Plain, c.Packed = places, nil
	if len(places) >= packFrom {
		c.Plain = nil
		c.Packed, err = packPlaces(places)
	}
	var value []byte
	if err == nil {
		value, err = json.Marshal(c)
	}
	c.Plain, c.Packed = nil, nil
	if err != nil {
		return nil, fmt.Errorf("encode discovery: %w", err)
	}
	if len(value) > maxDiscovery {
		return nil, fault.New(fault.Poison, "%d places need %d bytes, %d are the limit", len(places), len(value), maxDiscovery).
			WithCode("discovery_too_large").WithHint("%s", hint)
	}
	return value, nil
}

// decodeDiscovery reads a stored cursor.
func decodeDiscovery(value []byte) (*discoveryCursor, error) {
	c := new(discoveryCursor)
	err := json.Unmarshal(value, c)
	if err == nil && (c.Version < 1 || c.Version > discoveryVersion) {
		err = fmt.Errorf("it has version %d, this program knows %d", c.Version, discoveryVersion)
	}
	if err == nil && c.Round < 1 {
		err = fmt.Errorf("it has the round %d", c.Round)
	}
	if err == nil {
		err = c.unpack()
	}
	if err != nil {
		return nil, fault.New(fault.Poison, "read cursor of discovery: %w", err).WithCode("bad_cursor").
			WithHint("it was written by a newer version or changed by hand: run the newer version, or purge the feed's cursor subject to start anew")
	}
	return c, nil
}

// packers are writers for packPlaces: each has a megabyte of its own.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.DefaultCompression)
	if err != nil {
		panic(err) // of a level that does not exist
	}
	return w
}}

// packPlaces deflates places: most characters of folders' ids are the same.
func packPlaces(places []*foundPlace) ([]byte, error) {
	var packed bytes.Buffer
	w, _ := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	w.Reset(&packed)
	if err := json.NewEncoder(w).Encode(places); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return packed.Bytes(), nil
}

func (c *discoveryCursor) unpack() error {
	places := c.Plain
	if len(c.Packed) > 0 {
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(c.Packed)), maxUnpacked+1))
		if err == nil && len(plain) > maxUnpacked {
			err = errors.New("they are too many")
		}
		if err == nil {
			err = json.Unmarshal(plain, &places)
		}
		if err != nil {
			return fmt.Errorf("places: %w", err)
		}
	}
	c.Plain, c.Packed = nil, nil
	c.places = make(map[string]*foundPlace, len(places))
	for _, place := range places {
		if place == nil || place.ID == "" {
			return errors.New("it has a place without an id")
		}
		c.places[place.ID] = place
	}
	return nil
}

// live returns the places that have a feed, in the order of their ids.
func (c *discoveryCursor) live() []*foundPlace {
	var live []*foundPlace
	for _, place := range c.places {
		if place.Feed != nil {
			live = append(live, place)
		}
	}
	slices.SortFunc(live, func(a, b *foundPlace) int { return strings.Compare(a.ID, b.ID) })
	return live
}

// settle makes the feeds true after a complete round: wanted says of which
// places there is to be a feed. It notes what has to be done for that.
//
// A folder that was made after the first round is new, and all that is in it is
// told as created: whoever follows "Projects/**" wants the first mail of a new
// project. A folder that was there, and is moved, renamed or newly configured
// into what is followed, begins as the subscription began: with start: now
// quietly, because its mails are old, with start: all as a snapshot. A folder
// that is renamed or moved within keeps its feed, because its id stays; one that
// is made anew under an old name has another id and is another feed.
func (c *discoveryCursor) settle(since time.Time, wanted func(*foundPlace) bool) {
	ids := make([]string, 0, len(c.places))
	for id := range c.places {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		place := c.places[id]
		switch want := !place.Gone && wanted(place); {
		case want && place.Feed == nil:
			place.Feed = &foundFeed{Since: since.UTC(), Round: c.Round, New: c.Settled > 0 && place.First > c.Settled}
			c.Join = append(c.Join, id)
			c.Left = slices.DeleteFunc(c.Left, func(left foundLeft) bool { return left.ID == id })
		case !want && place.Feed != nil:
			place.Feed = nil
			c.leave(place)
		}
		if place.Gone {
			delete(c.places, id)
		}
	}
}

// leave notes that the feed of a place is to be retired.
func (c *discoveryCursor) leave(place *foundPlace) {
	c.Leave = append(c.Leave, foundLeaver{ID: place.ID, Name: place.Name})
	c.Left = append(c.Left, foundLeft{ID: place.ID, At: time.Now().UTC()})
	c.Left = c.Left[max(0, len(c.Left)-leftMost):]
}

// finish ends a round.
func (c *discoveryCursor) finish() {
	c.Settled, c.Done = c.Round, time.Now().UTC()
	c.Round++
	c.Full, c.Pages = false, 0
}

// end retires the discovery and all its feeds.
func (c *discoveryCursor) end() {
	for _, place := range c.live() {
		c.leave(place)
	}
	c.Link, c.Known, c.Join, c.Ended = "", nil, nil, true
	c.places = make(map[string]*foundPlace)
	c.finish()
}

// again begins a discovery anew that was retired. The rounds go on counting, so
// that what the earlier one registered is older than what this one will.
func (c *discoveryCursor) again() *discoveryCursor {
	fresh := newDiscovery()
	fresh.Round, fresh.FullSince, fresh.Leave, fresh.Left = c.Round, c.Round, c.Leave, c.Left
	return fresh
}
