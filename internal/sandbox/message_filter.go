package sandbox

// What $filter and $orderby may name on messages.
// https://learn.microsoft.com/graph/api/user-list-messages

import (
	"strings"
	"time"
)

// messageFields are the filterable properties of messages.
func messageFields() filterFields[*message] {
	return filterFields[*message]{
		typeName: "Message",
		property: func(name string) (getter[*message], bool) {
			get := sortable(name)
			return get, strings.HasSuffix(name, "datetime")
		},
		elements: messageElements,
		extended: func(m *message) []extendedProperty { return m.Extended },
		multi:    func(m *message) []multiProperty { return m.Multi },
	}
}

// messageFields are those of a request, which can ask for open extensions as well.
// A test needs the lock.
func (c *call) messageFields() filterFields[*message] {
	fields := messageFields()
	fields.elements = func(name string) func(*message) []any {
		if name == "extensions" {
			return func(m *message) []any { return extensionIDs(c.box, m.Key) }
		}
		return messageElements(name)
	}
	return fields
}

// messageElements are the collections for any().
func messageElements(name string) func(*message) []any {
	people := func(get func(*message) []recipient) func(*message) []any {
		return func(m *message) []any {
			var list []any
			for _, r := range get(m) {
				list = append(list, map[string]any{"emailaddress": map[string]any{"name": r.EmailAddress.Name, "address": r.EmailAddress.Address}})
			}
			return list
		}
	}
	switch name {
	case "categories":
		return func(m *message) []any {
			var list []any
			for _, c := range m.Categories {
				list = append(list, c)
			}
			return list
		}
	case "torecipients":
		return people(func(m *message) []recipient { return m.To })
	case "ccrecipients":
		return people(func(m *message) []recipient { return m.Cc })
	case "bccrecipients":
		return people(func(m *message) []recipient { return m.Bcc })
	}
	return nil
}

// sortable returns the getter of a property that $filter and $orderby know, by
// lower-case name, or nil.
func sortable(name string) getter[*message] {
	at := func(get func(*message) int64) getter[*message] {
		return func(m *message) any { return time.Unix(get(m), 0) }
	}
	who := func(get func(*message) *recipient, name bool) getter[*message] {
		return func(m *message) any {
			r := get(m)
			switch {
			case r == nil:
				return ""
			case name:
				return r.EmailAddress.Name
			}
			return r.EmailAddress.Address
		}
	}
	from := func(m *message) *recipient { return m.From }
	sender := func(m *message) *recipient { return m.Sender }
	switch name {
	case "receiveddatetime":
		return at(func(m *message) int64 { return m.Received })
	case "sentdatetime":
		return at(func(m *message) int64 { return m.Sent })
	case "createddatetime":
		return at(func(m *message) int64 { return m.Created })
	case "lastmodifieddatetime":
		return at(func(m *message) int64 { return m.Modified })
	case "subject":
		return func(m *message) any { return m.Subject }
	case "internetmessageid":
		return func(m *message) any { return m.InternetID }
	case "conversationid":
		return func(m *message) any { return m.Conversation }
	case "importance":
		return func(m *message) any { return m.Importance }
	case "inferenceclassification":
		return func(m *message) any { return m.Inference }
	case "isread":
		return func(m *message) any { return m.IsRead }
	case "isdraft":
		return func(m *message) any { return m.IsDraft }
	case "hasattachments":
		return func(m *message) any { return m.hasAttachments() }
	case "flag/flagstatus":
		return func(m *message) any { return m.Flag.FlagStatus }
	case "from/emailaddress/address":
		return who(from, false)
	case "from/emailaddress/name":
		return who(from, true)
	case "sender/emailaddress/address":
		return who(sender, false)
	case "sender/emailaddress/name":
		return who(sender, true)
	}
	return nil
}
