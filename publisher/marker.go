package publisher

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"outlook-connector/internal/fault"
)

// marker is what a command leaves on the item that it makes, so that whoever
// goes on with the command later finds the item again. It is a function of the
// ledger's key alone: a worker that knows nothing but the message looks for the
// right one. In lower case, because Outlook compares without regard to it.
// https://learn.microsoft.com/graph/api/resources/extended-properties-overview
type marker string

// markerProperty is the extended property that holds a marker. Its name is the
// connector's own for good: items that are marked stay so.
const markerProperty = "String {0a6a4a4c-6b5e-4c3f-9d0e-8f1f5c1d7a20} Name OutlookConnectorKey"

// markerDomain makes a Message-ID of a marker. The name belongs to nobody, for ever:
// https://www.rfc-editor.org/rfc/rfc6761#section-6.4
const markerDomain = "outlook-connector.invalid"

// expandMarker has an item come with its marker.
const expandMarker = "singleValueExtendedProperties($filter=id eq '" + markerProperty + "')"

// fieldID is the member that holds an id.
const fieldID = "id"

// The members in which markers go.
const (
	memberProperties  = "singleValueExtendedProperties"
	memberMessageID   = "internetMessageId"
	memberTransaction = "transactionId"
)

func markerOf(key string) marker {
	sum := sha256.Sum256([]byte(key))
	return marker(hex.EncodeToString(sum[:16]))
}

// messageID is the marker as a Message-ID, which a draft may be given and keeps:
// https://learn.microsoft.com/graph/api/message-update
func (m marker) messageID() string { return "<" + string(m) + "@" + markerDomain + ">" }

// filter finds the items that carry the marker.
// https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-get
func (m marker) filter() string {
	return fmt.Sprintf("singleValueExtendedProperties/Any(ep: ep/id eq '%s' and ep/value eq '%s')", markerProperty, m)
}

// property is the marker as a member of an item.
func (m marker) property() map[string]string {
	return map[string]string{"id": markerProperty, "value": string(m)}
}

// object is a JSON object whose members can be changed. The values stay as they
// were written.
type object map[string]json.RawMessage

func readObject(text []byte) (object, error) {
	o := object{}
	if len(text) == 0 {
		return o, nil
	}
	if err := json.Unmarshal(text, &o); err != nil || o == nil {
		return nil, refuse("bad_payload", "the payload is no JSON object").WithHint("send a JSON object as payload")
	}
	return o, nil
}

// name returns the name that a member has in the object, however it is spelled:
// Graph reads the parameters of actions without regard to case.
func (o object) name(member string) string {
	if _, ok := o[member]; ok {
		return member
	}
	for name := range o {
		if strings.EqualFold(name, member) {
			return name
		}
	}
	return member
}

// set gives a member a value.
func (o object) set(member string, value any) error {
	text, err := encode(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", member, err)
	}
	o[o.name(member)] = text
	return nil
}

// within returns a member that is an object, an empty one where it is not there.
func (o object) within(member string) (object, error) {
	text := o[o.name(member)]
	if string(text) == "null" {
		text = nil
	}
	return readObject(text)
}

// mark adds the marker's property to an item, beside those that it has.
func (o object) mark(m marker) error {
	var all []json.RawMessage
	name := o.name(memberProperties)
	if text := o[name]; len(text) > 0 && string(text) != "null" {
		if err := json.Unmarshal(text, &all); err != nil {
			return refuse("bad_payload", "%s is no list", memberProperties)
		}
	}
	text, err := encode(m.property())
	if err != nil {
		return fmt.Errorf("encode marker: %w", err)
	}
	return o.set(name, append(all, text))
}

// markMail marks a mail, with a Message-ID too where the sender gave none.
func (o object) markMail(m marker) error {
	if err := o.mark(m); err != nil {
		return err
	}
	if given := o[o.name(memberMessageID)]; len(given) > 0 && string(given) != "null" {
		return nil
	}
	return o.set(memberMessageID, m.messageID())
}

// text is the JSON of the object, with its members in the order of their names.
func (o object) text() ([]byte, error) {
	out, err := encode(o)
	if err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	return out, nil
}

// carries reports whether an item, read with [expandMarker], has a marker on it.
func carries(body []byte, m marker) bool {
	var item struct {
		Properties []struct{ Value string } `json:"singleValueExtendedProperties"`
	}
	return json.Unmarshal(body, &item) == nil && slices.ContainsFunc(item.Properties, func(p struct{ Value string }) bool {
		return strings.EqualFold(p.Value, string(m))
	})
}

// decodeJSON reads a value with its numbers as they are written.
func decodeJSON(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec.Decode(into)
}

// itemID takes the id from an answer; "" where there is none.
func itemID(body []byte) string {
	var item struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(body, &item) != nil {
		return ""
	}
	return item.ID
}

// missing reports whether an answer says that the item is not there. That there
// is no such mailbox is something else.
func missing(status int, err error) bool {
	if status != statusNotFound {
		return false
	}
	switch fault.Of(err).Code {
	case "ErrorItemNotFound", "itemNotFound", "ErrorFolderNotFound", "ErrorObjectNotFound", "http_404", "":
		return true
	default:
		return false
	}
}
