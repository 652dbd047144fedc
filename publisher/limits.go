package publisher

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"outlook-connector/internal/catalog"
)

// DefaultRecipients is how many recipients Exchange Online takes by default:
// https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits#recipient-limits
const DefaultRecipients = 500

// Policy bounds what a publisher's messages may ask for, besides its entities and
// mailboxes. The zero value allows the usual number of recipients, nobody else's
// name and no notifications.
type Policy struct {
	// Recipients is how many a command may name (to, cc, bcc, attendees); zero
	// means [DefaultRecipients].
	Recipients int
	// From are the addresses that a message may name as from or sender, besides
	// the mailbox's own. "*" allows any. Compared without regard to case.
	From []string
	// NotificationHosts are the hosts that subscriptions to change notifications
	// may be given, with a port where it is not 443. Compared without regard to
	// case.
	NotificationHosts []string
}

// mention is what a body says about senders and recipients.
type mention struct {
	recipients int
	senders    []string
}

// mentionedIn looks through the payload of an operation, in the places in which
// the reference has messages, events, posts and rules. Names are compared without
// regard to case: what Graph might take must be seen here.
func mentionedIn(op *catalog.Operation, payload jsontext.Value) (mention, error) {
	var m mention
	if len(payload) == 0 || strings.HasPrefix(op.ID, "extensions.openExtension.") && !strings.HasSuffix(op.ID, "WithItem") {
		return m, nil // the members of an extension are the sender's own
	}
	dec := reparsing(payload)
	defer parsed(dec)
	err := m.object(dec)
	return m, err
}

func (m *mention) object(dec *parser) error {
	return dec.eachMember(func(name []byte) error {
		var room [40]byte
		switch string(appendLower(room[:0], name)) {
		case "torecipients", "ccrecipients", "bccrecipients", "attendees", "newparticipants",
			"forwardto", "redirectto", "forwardasattachmentto": // of rules, which send by themselves
			return dec.eachItem(func() error { m.recipients++; return dec.SkipValue() })
		case "from", "sender":
			return m.sender(dec)
		case "message", "post", "event", "actions":
			return m.object(dec)
		case "threads", "posts":
			return dec.eachItem(func() error { return m.object(dec) })
		case "singlevalueextendedproperties":
			return dec.eachItem(func() error { return m.property(dec) })
		default:
			return dec.SkipValue()
		}
	})
}

// appendLower appends a name in lower case.
func appendLower(to, name []byte) []byte {
	for _, c := range name {
		switch {
		case c >= utf8.RuneSelf:
			return bytes.ToLower(name)
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

// sender takes a recipient object. One that names nobody's address may still be
// found by its name.
func (m *mention) sender(dec *parser) error {
	if dec.PeekKind() != '{' {
		return dec.SkipValue() // null: nobody
	}
	address := ""
	err := dec.eachMember(func(name []byte) error {
		if !bytes.EqualFold(name, []byte("emailAddress")) {
			return dec.SkipValue()
		}
		return dec.eachMember(func(name []byte) error {
			if !bytes.EqualFold(name, []byte("address")) {
				return dec.SkipValue()
			}
			given, ok, err := dec.string()
			if ok {
				address = given
			}
			return err
		})
	})
	m.senders = append(m.senders, address)
	return err
}

// senderProperties are the tags of the MAPI properties that hold a message's
// sender: names, address types, addresses and entry ids of the sender and of whom
// it stands for.
// https://learn.microsoft.com/office/client-developer/outlook/mapi/pidtagsentrepresentingemailaddress-canonical-property
var senderProperties = []uint64{0x0041, 0x0042, 0x0064, 0x0065, 0x0c19, 0x0c1a, 0x0c1e, 0x0c1f, 0x5d01, 0x5d02}

// property takes a single-value extended property, such as
// {"id": "String 0x0065", "value": "…"}.
func (m *mention) property(dec *parser) error {
	return dec.eachMember(func(name []byte) error {
		if !bytes.EqualFold(name, []byte("id")) {
			return dec.SkipValue()
		}
		id, _, err := dec.string()
		if err != nil {
			return err
		}
		words := strings.Fields(strings.ToLower(id))
		if len(words) != 2 {
			return nil
		}
		if tag, err := strconv.ParseUint(words[1], 0, 32); err == nil && slices.Contains(senderProperties, tag) {
			m.senders = append(m.senders, "property "+words[1])
		}
		return nil
	})
}

// checkMention holds what a body says against the publisher's policy. mailbox is
// whose the request is.
func (d *definition) checkMention(mailbox string, m mention) error {
	most := d.Recipients
	if most == 0 {
		most = DefaultRecipients
	}
	if m.recipients > most {
		return refuse("too_many_recipients", "the command names %d recipients; the publisher %s may name %d", m.recipients, d.Name, most).
			WithHint("send it in parts, or set limits.recipients of the publisher (Exchange Online takes 500 by default and never more than 1000)")
	}
	for _, sender := range m.senders {
		allowed := strings.EqualFold(sender, mailbox) || slices.ContainsFunc(d.From, func(known string) bool {
			return known == "*" || strings.EqualFold(known, sender)
		})
		if !allowed {
			return refuse("from_not_allowed", "the command names %q as its sender, in the mailbox %q; the publisher %s may not", clip(sender), mailbox, d.Name).
				WithHint("leave from and sender out, or list the address in limits.from of the publisher")
		}
	}
	return nil
}
