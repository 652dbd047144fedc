package publisher

import (
	"slices"
	"strconv"
	"strings"

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
	return m, m.object(payload)
}

func (m *mention) object(value jsontext.Value) error {
	if value.Kind() != '{' {
		return nil
	}
	return eachMember(value, func(name string, member jsontext.Value) error {
		switch strings.ToLower(name) {
		case "torecipients", "ccrecipients", "bccrecipients", "attendees", "newparticipants",
			"forwardto", "redirectto", "forwardasattachmentto": // of rules, which send by themselves
			return eachItem(member, func(jsontext.Value) error { m.recipients++; return nil })
		case "from", "sender":
			return m.sender(member)
		case "message", "post", "event", "actions":
			return m.object(member)
		case "threads", "posts":
			return eachItem(member, m.object)
		case "singlevalueextendedproperties":
			return eachItem(member, m.property)
		default:
			return nil
		}
	})
}

// sender takes a recipient object. One that names nobody's address may still be
// found by its name.
func (m *mention) sender(value jsontext.Value) error {
	if value.Kind() != '{' {
		return nil // null: nobody
	}
	address := ""
	err := eachMember(value, func(name string, member jsontext.Value) error {
		if !strings.EqualFold(name, "emailAddress") || member.Kind() != '{' {
			return nil
		}
		return eachMember(member, func(name string, member jsontext.Value) error {
			if strings.EqualFold(name, "address") && member.Kind() == '"' {
				plain, err := jsontext.AppendUnquote(nil, member)
				address = string(plain)
				return err
			}
			return nil
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
func (m *mention) property(value jsontext.Value) error {
	if value.Kind() != '{' {
		return nil
	}
	return eachMember(value, func(name string, member jsontext.Value) error {
		if !strings.EqualFold(name, "id") || member.Kind() != '"' {
			return nil
		}
		id, err := jsontext.AppendUnquote(nil, member)
		if err != nil {
			return err
		}
		words := strings.Fields(strings.ToLower(string(id)))
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

// eachMember walks over an object that was checked already.
func eachMember(object jsontext.Value, do func(name string, value jsontext.Value) error) error {
	dec := reparsing(object)
	defer parsed(dec)
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != '}' {
		token, err := dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := do(name, value); err != nil {
			return err
		}
	}
	return nil
}

// eachItem walks over an array; anything else has no items.
func eachItem(array jsontext.Value, do func(value jsontext.Value) error) error {
	if array.Kind() != '[' {
		return nil
	}
	dec := reparsing(array)
	defer parsed(dec)
	if _, err := dec.ReadToken(); err != nil {
		return err
	}
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return err
		}
		if err := do(value); err != nil {
			return err
		}
	}
	return nil
}
