package sandbox

// The conditions of a rule, one by one.
// https://learn.microsoft.com/graph/api/resources/messagerulepredicates

import (
	"slices"
	"strings"
)

func predicateHolds(box *mailbox, name string, want any, m *message) bool {
	contains := func(texts ...string) bool {
		return slices.ContainsFunc(textsIn(want), func(part string) bool {
			return slices.ContainsFunc(texts, func(text string) bool {
				return strings.Contains(strings.ToLower(text), strings.ToLower(part))
			})
		})
	}
	among := func(list []recipient) bool {
		return slices.ContainsFunc(recipientsIn(want), func(w recipient) bool {
			return slices.ContainsFunc(list, func(r recipient) bool {
				return strings.EqualFold(r.EmailAddress.Address, w.EmailAddress.Address)
			})
		})
	}
	me := func(list []recipient) bool {
		return slices.ContainsFunc(list, func(r recipient) bool { return strings.EqualFold(r.EmailAddress.Address, box.UPN) })
	}
	written := func(list []recipient) []string {
		var texts []string
		for _, r := range list {
			texts = append(texts, r.EmailAddress.Name, r.EmailAddress.Address)
		}
		return texts
	}
	text, _ := want.(string)
	switch name {
	case "bodyContains":
		return contains(plainBody(m))
	case "subjectContains":
		return contains(m.Subject)
	case "bodyOrSubjectContains":
		return contains(plainBody(m), m.Subject)
	case "headerContains":
		var lines []string
		for _, h := range m.Headers {
			lines = append(lines, h.Name+": "+h.Value)
		}
		return contains(lines...)
	case "senderContains":
		return contains(written(senders(m))...)
	case "recipientContains":
		return contains(written(slices.Concat(m.To, m.Cc))...)
	case "fromAddresses":
		return among(senders(m))
	case "sentToAddresses":
		return among(slices.Concat(m.To, m.Cc))
	case "sentToMe":
		return me(m.To)
	case "sentCcMe":
		return me(m.Cc)
	case "sentToOrCcMe":
		return me(m.To) || me(m.Cc)
	case "sentOnlyToMe":
		return me(m.To) && len(m.To) == 1 && len(m.Cc) == 0
	case "notSentToMe":
		return !me(m.To) && !me(m.Cc)
	case "hasAttachments":
		return m.hasAttachments()
	case "importance":
		return m.Importance == text
	case "sensitivity":
		return text == "normal" // messages of Graph have no sensitivity
	case "categories":
		return slices.ContainsFunc(textsIn(want), func(c string) bool { return slices.Contains(m.Categories, c) })
	case "withinSizeRange":
		low, _ := member(want, "minimumsize").(float64)
		high, _ := member(want, "maximumsize").(float64)
		size := float64(messageSize(m)) / 1024
		return size >= low && (high == 0 || size <= high)
	case "isAutomaticReply":
		return messageHeader(m, autoHeader) != ""
	case "isAutomaticForward":
		return messageHeader(m, loopHeader) != ""
	case "isNonDeliveryReport":
		return strings.HasPrefix(m.Subject, "Undeliverable: ")
	case "isMeetingRequest":
		return meetingKind(m) == "meetingRequest"
	case "isMeetingResponse":
		return slices.Contains([]string{"meetingAccepted", "meetingTenativelyAccepted", "meetingDeclined"}, meetingKind(m))
	}
	return false
}

// messageHeader is the first header of a name, or "".
func messageHeader(m *message, name string) string {
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// meetingKind is the meetingMessageType of a meeting mail, or "".
func meetingKind(m *message) string {
	kind, _ := m.Meeting["meetingMessageType"].(string)
	return kind
}
