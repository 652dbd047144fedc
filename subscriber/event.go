package subscriber

import (
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"outlook-connector/internal/index"
)

// The values of the header Outlook-Change.
const (
	// Created is an item that came into the part, Updated one that was there and
	// has another version, or that came from another folder of the subscription.
	Created = "created"
	Updated = "updated"
	// Changed is an item of which neither Graph nor the index tells which of the
	// two it is: one of the first full read that has no receivedDateTime.
	Changed = "changed"
	// Snapshot is an item of the first full read.
	Snapshot = "snapshot"
	// Deleted is an item that left the part: deleted, or moved to where the
	// subscription does not read.
	Deleted = "deleted"
)

// headers of an event. The CloudEvents attributes are in binary mode, whose
// draft for NATS puts ce- before each name; content-type repeats
// ce-datacontenttype for readers that look there:
// https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md
const (
	headerSubscription = "Outlook-Subscription"
	headerClient       = "Outlook-Client"
	headerMailbox      = "Outlook-Mailbox"
	headerEntity       = "Outlook-Entity"
	headerID           = "Outlook-Id"
	headerChange       = "Outlook-Change"
	headerVerified     = "Outlook-Verified"
	headerReason       = "Outlook-Reason"
	headerBlob         = "Outlook-Blob"
	headerBlobSum      = "Outlook-Blob-Sha256"

	ceSpecVersion = "ce-specversion"
	ceID          = "ce-id"
	ceSource      = "ce-source"
	ceType        = "ce-type"
	ceSubject     = "ce-subject"
	ceTime        = "ce-time"
	ceContentType = "ce-datacontenttype"
	contentType   = "content-type"

	mediaJSON = "application/json"
)

// reasonMoved is the reason of a deletion of what is still there, elsewhere.
const reasonMoved = "moved"

// change is an item that is to be told, with the word for it.
type change struct {
	item
	kind string
	// version is the item's version, or what stands for it: the same item with
	// the same version is the same change.
	version string
	// life tells apart the times at which it came to the same version.
	life string
	// was is what the feed knew of the item, entry what it knows from now on.
	was   known
	entry index.Entry
	// verified says of a deletion that somebody looked, reason why it is none
	// quite.
	verified bool
	reason   string
	// doubted says of an item that is there that the page may be an old one.
	doubted bool
	// piece is the item with what the page did not have of it; nil: nothing.
	piece *piece
	// bad is why the item is not understood; nil where it is. buried says that it
	// became a dead letter.
	bad    error
	buried bool
}

// media is the type of the event's body.
func (c *change) media(sub *Subscription) string {
	switch {
	case c.piece != nil && (c.piece.mime != nil || c.piece.stored != nil):
		return mediaMIME // also where the body is a stub: what lies in the object store is that
	case c.kind != Deleted && sub.Mode == ModeSingle && sub.Operation.Raw():
		return mediaBytes
	default:
		return mediaJSON
	}
}

// eventID is the deterministic id of a change: a page that is read again, by
// whichever worker, gives the same ids. The round and the count of the times at
// which the item was told before are part of it, because an item may come back
// to the same version, or be deleted again.
func (c *change) eventID(feed Feed) string {
	return digest(feed.Subscription, feed.Mailbox, feed.Part, c.id, c.version, c.kind, c.life)
}

// header returns the headers of a change. asOf is Graph's time at the page.
func (c *change) header(sub *Subscription, feed Feed, asOf time.Time) map[string]string {
	subject := escapeHeader(c.id)
	h := map[string]string{
		headerSubscription: sub.Name,
		headerClient:       sub.Client,
		headerMailbox:      escapeHeader(feed.Mailbox),
		headerEntity:       sub.Operation.ID,
		headerID:           subject,
		headerChange:       c.kind,

		ceSpecVersion: "1.0",
		ceID:          c.eventID(feed),
		ceSource: escapeHeader("/outlook/" + url.PathEscape(sub.Tenant) + "/" + url.PathEscape(feed.Mailbox) +
			"/" + feed.Part),
		ceType:        eventType(sub.Operation.ID, c.kind),
		ceSubject:     subject,
		ceTime:        c.occurred(asOf).UTC().Format(time.RFC3339),
		ceContentType: c.media(sub),
		contentType:   c.media(sub),
	}
	if c.id == "" { // a dead letter: the item is not understood
		delete(h, headerID)
		delete(h, ceSubject)
	}
	if c.kind == Deleted && !c.verified {
		// Graph says "deleted" of an item that was moved to another folder, too;
		// nobody has looked whether it still exists.
		h[headerVerified] = "false"
	}
	if c.reason != "" {
		h[headerReason] = c.reason
	}
	if c.piece != nil && c.piece.stored != nil {
		h[headerBlob], h[headerBlobSum] = c.piece.stored.ref, c.piece.stored.sum
	}
	return h
}

// occurred is the best known moment of the change.
func (c *change) occurred(asOf time.Time) time.Time {
	switch {
	case !c.modified.IsZero():
		return c.modified
	case c.kind == Snapshot && !c.received.IsZero():
		return c.received
	default:
		return asOf
	}
}

// eventType is "outlook.message.changed" for mail.message.delta: the resource is
// the last but one word of the entity's id.
func eventType(entity, kind string) string {
	resource := entity
	if last := strings.LastIndexByte(entity, '.'); last >= 0 {
		resource = entity[:last]
		resource = resource[strings.LastIndexByte(resource, '.')+1:]
	}
	return "outlook." + resource + "." + kind
}

// escapeHeader makes a header value as the CloudEvents HTTP and NATS bindings
// want it: space, quotation mark, percent sign and everything outside printable
// ASCII percent-encoded, which also keeps line breaks of foreign values out of
// the headers.
func escapeHeader(value string) string {
	const hex = "0123456789ABCDEF"
	plain := func(b byte) bool { return b > ' ' && b <= '~' && b != '"' && b != '%' }
	var out []byte
	for i := range len(value) {
		b := value[i]
		if plain(b) {
			if out != nil {
				out = append(out, b)
			}
			continue
		}
		if out == nil {
			out = append(make([]byte, 0, len(value)+8), value[:i]...)
		}
		out = append(out, '%', hex[b>>4], hex[b&15])
	}
	if out == nil {
		return value
	}
	return string(out)
}

// stub is the body that stands for an item which is too large to be kept.
func stub(id string) []byte {
	body, err := json.Marshal(map[string]string{"id": id})
	if err != nil {
		panic(err) // a string always has a JSON form
	}
	return body
}
