package subscriber

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// The members of an item that decide what is told. All others pass through
// unseen.
const (
	memberID       = "id"
	memberETag     = "@odata.etag"
	memberKey      = "changeKey"
	memberRemoved  = "@removed"
	memberReceived = "receivedDateTime"
	memberModified = "lastModifiedDateTime"
	memberEnd      = "end"
)

// maxID bounds an item's id. Outlook's are below 200 characters; a longer one
// would only serve to make a message's header too large.
const maxID = 1024

// item is what is known of one item of a page.
type item struct {
	// id is empty where the item has none.
	id string
	// version is the etag or change key; empty where the item has neither.
	version string
	// received and modified are zero where the item does not say.
	received, modified time.Time
	// removed says that it is a tombstone.
	removed bool
	// until is the end of an event in minutes since 1970, where it is asked for.
	until uint32
	// raw are Graph's bytes.
	raw []byte
}

// peeker looks into items. It keeps a decoder; one goroutine uses it.
type peeker struct {
	buf bytes.Buffer
	dec *jsontext.Decoder
	// until asks for the ends of events.
	until bool
}

// object peeks at an answer that is told as a whole and need not have an id.
func (p *peeker) object(raw []byte) (item, error) {
	it, err := p.members(raw)
	if err == nil && it.id == "" {
		it.id = anonymous
	}
	return it, cmp.Or(err, it.sound())
}

// peek reads the deciding members of an item. It stops as soon as it has them
// all, which for a whole message is before its body. A tombstone has neither
// version nor dates, so an item that has them is none and need not be read to
// its end:
// https://learn.microsoft.com/graph/delta-query-overview
//
// raw must not change while the item is in use.
func (p *peeker) peek(raw []byte) (item, error) {
	it, err := p.members(raw)
	return it, cmp.Or(err, it.sound())
}

// sound refuses an item that has no id to be known by.
func (it *item) sound() error {
	switch {
	case it.id == "":
		return errors.New("the item has no id")
	case len(it.id) > maxID:
		return fmt.Errorf("the item's id has %d bytes", len(it.id))
	default:
		return nil
	}
}

// members reads the deciding members.
func (p *peeker) members(raw []byte) (item, error) {
	// A subject cut in the middle of an emoji is half a surrogate pair. The
	// strict default would refuse the item for it, and the feed would stop.
	options := []jsontext.Options{jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)}
	p.buf = *bytes.NewBuffer(raw)
	if p.dec == nil {
		p.dec = jsontext.NewDecoder(&p.buf, options...)
	} else {
		p.dec.Reset(&p.buf, options...)
	}
	it := item{raw: raw}
	if kind := p.dec.PeekKind(); kind != '{' {
		return it, fmt.Errorf("an item is a JSON object, this is %q", kind.String())
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return it, fmt.Errorf("read item: %w", err)
	}
	for (!it.complete() || (p.until && it.until == 0)) && p.dec.PeekKind() != '}' {
		if err := p.member(&it); err != nil {
			return it, fmt.Errorf("read item: %w", err)
		}
	}
	return it, nil
}

// member reads one name and its value.
func (p *peeker) member(it *item) error {
	name, err := p.dec.ReadToken()
	if err != nil {
		return err
	}
	var text *string
	var when *time.Time
	switch name.String() {
	case memberID:
		text = &it.id
	case memberETag, memberKey:
		text = &it.version
	case memberReceived:
		when = &it.received
	case memberModified:
		when = &it.modified
	case memberRemoved:
		it.removed = p.dec.PeekKind() != 'n'
	case memberEnd:
		if p.until && p.dec.PeekKind() == '{' {
			value, err := p.dec.ReadValue()
			if err == nil {
				it.until = endOf(value)
			}
			return err
		}
	}
	if (text == nil && when == nil) || p.dec.PeekKind() != '"' {
		return p.dec.SkipValue()
	}
	value, err := p.dec.ReadToken()
	if err != nil {
		return err
	}
	switch {
	case when != nil:
		// A time that cannot be read is as good as none.
		if t, err := time.Parse(time.RFC3339, value.String()); err == nil {
			*when = t
		}
	case *text == "":
		*text = plainVersion(value.String())
	}
	return nil
}

// complete reports whether the rest of the item cannot matter.
func (it *item) complete() bool {
	return it.id != "" && it.version != "" && !it.received.IsZero() && !it.modified.IsZero()
}

// fresh reports whether the item is new from the given moment on. Its times have
// whole seconds. In the second of cut itself an arrival counts, because missing
// it would lose it; a modification does not, because it may be the older half
// of that second, and an old item would be told for it.
func (it *item) fresh(cut time.Time) bool {
	return (!it.received.IsZero() && !it.received.Before(cut)) || it.modified.After(cut)
}

// plainVersion takes W/"…" off an etag: what is inside is the change key, so
// that an item with one of the two members has the same version as with the
// other.
func plainVersion(etag string) string {
	etag = strings.TrimPrefix(etag, "W/")
	if len(etag) >= 2 && etag[0] == '"' && etag[len(etag)-1] == '"' {
		etag = etag[1 : len(etag)-1]
	}
	return etag
}

// digest is the SHA-256 of the parts, each with its length before it so that no
// two lists run together, as base64url.
func digest(parts ...string) string {
	var room [512]byte // longer than the names of an event, so that it is not on the heap
	text := room[:0]
	for _, part := range parts {
		text = strconv.AppendInt(text, int64(len(part)), 10)
		text = append(text, ':')
		text = append(text, part...)
	}
	sum := sha256.Sum256(text)
	var name [(sha256.Size*4 + 2) / 3]byte
	base64.RawURLEncoding.Encode(name[:], sum[:])
	return string(name[:])
}

// endOf reads a dateTimeTimeZone. A zone that is not known counts as UTC, which
// is what Graph uses unless asked otherwise; a time that cannot be read is none.
// https://learn.microsoft.com/graph/api/resources/datetimetimezone
func endOf(value []byte) uint32 {
	var end struct {
		DateTime string `json:"dateTime"`
		TimeZone string `json:"timeZone"`
	}
	if json.Unmarshal(value, &end) != nil {
		return 0
	}
	zone, err := time.LoadLocation(end.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	for _, layout := range []string{"2006-01-02T15:04:05.9999999", time.RFC3339Nano} {
		if t, err := time.ParseInLocation(layout, end.DateTime, zone); err == nil {
			return uint32(minutes(t))
		}
	}
	return 0
}
