package sandbox

// Automatic replies: a mailbox that is away answers each sender once. Replies
// begin anew when the setting is written. A reply is in the ledger as sent by the
// mailbox, without a request. Nothing answers a reply, a report of non-delivery or
// one's own mail. https://learn.microsoft.com/graph/api/resources/automaticrepliessetting
//
// With contactsOnly only senders from outside who are in the contacts are
// answered.

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/sandbox/zones"
)

// autoHeader marks a mail that nobody wrote.
const autoHeader = "X-Auto-Response-Suppress"

// checkReplies refuses an end that is not after the start, where they matter.
func checkReplies(value map[string]any) error {
	start, ok := instantOf(value["scheduledStartDateTime"])
	end, endOK := instantOf(value["scheduledEndDateTime"])
	if !ok || !endOK {
		return newError(http.StatusBadRequest, "ErrorInvalidArgument", "The scheduled time is not valid.")
	}
	if value["status"] == "scheduled" && !end.After(start) {
		return newError(http.StatusBadRequest, "ErrorInvalidScheduledOofDuration", "The scheduled end is not after the start.")
	}
	return nil
}

// instantOf reads a dateTimeTimeZone.
func instantOf(v any) (time.Time, bool) {
	text, _ := member(v, "datetime").(string)
	name, _ := member(v, "timezone").(string)
	if name == "" {
		name = "UTC"
	}
	zone, ok := zones.Lookup(name)
	if !ok {
		return time.Time{}, false
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, true
	}
	at, err := time.ParseInLocation("2006-01-02T15:04:05.9999999", text, zone.Location)
	return at, err == nil
}

// away is the reply that a mailbox gives at a time to somebody, if any.
func (b *mailbox) away(now time.Time, sender string) (string, bool) {
	setting, _ := b.setting("automaticRepliesSetting").(map[string]any)
	switch setting["status"] {
	case "alwaysEnabled":
	case "scheduled":
		start, _ := instantOf(setting["scheduledStartDateTime"])
		end, _ := instantOf(setting["scheduledEndDateTime"])
		if now.Before(start) || !now.Before(end) {
			return "", false
		}
	default:
		return "", false
	}
	if internal(sender) {
		text, _ := setting["internalReplyMessage"].(string)
		return text, true
	}
	text, _ := setting["externalReplyMessage"].(string)
	switch setting["externalAudience"] {
	case "none":
		return "", false
	case "contactsOnly":
		return text, slices.ContainsFunc(b.all("contact"), func(e *entity) bool {
			list, _ := e.Props["emailAddresses"].([]any)
			return slices.ContainsFunc(list, func(a any) bool {
				s, _ := member(a, "address").(string)
				return strings.EqualFold(s, sender)
			})
		})
	}
	return text, true
}

// internal says whether an address is of the tenant.
func internal(address string) bool {
	return strings.HasSuffix(strings.ToLower(address), "@"+DefaultDomain)
}

// autoReply answers a mail that has arrived.
func (t *tx) autoReply(box *mailbox, in *message) {
	e := box.marked("mailboxSettings", "default")
	if e == nil || e.Props["automaticRepliesSetting"] == nil || in.From == nil || messageHeader(in, autoHeader) != "" || in.Kind != "" {
		return
	}
	sender := strings.ToLower(in.From.EmailAddress.Address)
	answered, _ := e.Hidden["answered"].(map[string]any)
	text, ok := box.away(time.Now(), sender)
	if !ok || text == "" || strings.EqualFold(sender, box.UPN) || answered[sender] != nil {
		return
	}
	fresh := e.clone()
	done := map[string]any{sender: true}
	maps.Copy(done, answered)
	fresh.Hidden["answered"] = done
	t.saveEntity(box, fresh)

	self := &recipient{address{box.Name(), box.UPN}}
	body := itemBody{ContentType: "html", Content: text}
	t.sendFrom(box, &message{
		Subject: "Automatic reply: " + in.Subject, Body: body, Preview: preview(body), From: self, Sender: self, To: []recipient{*in.From},
		Importance: "normal", Inference: "focused", Flag: followUp{FlagStatus: "notFlagged"}, Headers: []header{{autoHeader, "All"}},
		InternetID: "<" + newGUID() + "@" + DefaultDomain + ">",
	}, []recipient{*in.From})
}
