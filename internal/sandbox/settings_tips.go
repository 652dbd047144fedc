package sandbox

// user: getMailTips. Modelled: automatic replies, whether a mailbox is full, the
// largest message, the scope, and members of groups; everything else has the value
// of a recipient with nothing particular.
// https://learn.microsoft.com/graph/api/user-getmailtips

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxMessageSize is what Exchange Online allows at first: 36 MB.
const maxMessageSize = 36 << 20

func tipRoutes() []route {
	return []route{{method: "POST", path: "~/getMailTips", handle: (*call).mailTips}}
}

func tipOptions() []string {
	return []string{
		"automaticReplies", "mailboxFullStatus", "customMailTip", "externalMemberCount", "totalMemberCount", "maxMessageSize",
		"deliveryRestriction", "moderationStatus", "recipientScope", "recipientSuggestions",
	}
}

func (c *call) mailTips() (*Answer, error) {
	params, err := c.readParameters("getMailTips", "EmailAddresses", "MailTipsOptions")
	if err != nil {
		return nil, err
	}
	var addresses []string
	var options string
	if err := readValue(params["EmailAddresses"], "Collection(Edm.String)", &addresses); err != nil {
		return nil, err
	}
	if err := readValue(params["MailTipsOptions"], "microsoft.graph.mailTipsType", &options); err != nil {
		return nil, err
	}
	if len(addresses) == 0 {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidArgument", "The parameter 'EmailAddresses' is empty.")
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(options, ",") {
		name = strings.TrimSpace(name)
		i := slices.IndexFunc(tipOptions(), func(o string) bool { return strings.EqualFold(o, name) })
		if i < 0 {
			return nil, errBody("Cannot convert the literal '%s' to the expected type 'microsoft.graph.mailTipsType'.", shorten(name, 40))
		}
		wanted[tipOptions()[i]] = true
	}
	list := []map[string]any{}
	c.read(func(st *state) {
		for _, a := range addresses {
			list = append(list, c.tipsOn(st, a, wanted))
		}
	})
	return c.collectionOf("microsoft.graph.mailTips", list), nil
}

// tipsOn needs the lock.
func (c *call) tipsOn(st *state, to string, wanted map[string]bool) map[string]any {
	tips := map[string]any{"emailAddress": map[string]any{"name": "", "address": to}}
	box := st.byName[strings.ToLower(to)]
	if box == nil && internal(to) {
		tips["error"] = map[string]any{"code": "ErrorInvalidRecipient", "message": "The recipient was not found."}
		return tips
	}
	add := func(option, name string, value any) {
		if wanted[option] {
			tips[name] = value
		}
	}
	add("automaticReplies", "automaticReplies", c.replyTip(box))
	add("mailboxFullStatus", "mailboxFull", false)
	add("customMailTip", "customMailTip", "")
	add("maxMessageSize", "maxMessageSize", maxMessageSize)
	add("deliveryRestriction", "deliveryRestricted", false)
	add("moderationStatus", "isModerated", false)
	add("recipientSuggestions", "recipientSuggestions", []any{})
	scope, members := "external", 0
	if box != nil {
		scope = "internal"
		if box.kind == kindGroup { // everybody is a member
			members = len(st.boxes)
		}
	}
	add("recipientScope", "recipientScope", scope)
	add("externalMemberCount", "externalMemberCount", 0)
	add("totalMemberCount", "totalMemberCount", members)
	return tips
}

func (c *call) replyTip(box *mailbox) any {
	tip := map[string]any{"message": ""}
	if box == nil || box.kind != kindPerson {
		return tip
	}
	text, ok := box.away(time.Now(), c.box.UPN)
	if !ok {
		return tip
	}
	setting, _ := box.setting("automaticRepliesSetting").(map[string]any)
	tip["message"], tip["messageLanguage"] = text, box.setting("language")
	if setting["status"] == "scheduled" {
		tip["scheduledStartTime"], tip["scheduledEndTime"] = setting["scheduledStartDateTime"], setting["scheduledEndDateTime"]
	}
	return tip
}
