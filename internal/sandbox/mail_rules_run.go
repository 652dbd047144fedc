package sandbox

// What happens to a mail as it arrives: the focused inbox overrides, then the
// rules in their order. A rule holds when each of its conditions does and none of
// its exceptions; of several texts or addresses in one condition, one is enough.
// The mail goes at once to where the rules send it, without being in the Inbox
// before.
//
// Modelled conditions: all but isApprovalRequest, isPermissionControlled,
// isReadReceipt, isVoicemail, isEncrypted and isSigned, which hold never, and
// messageActionFlag and sensitivity other than normal, likewise. Actions: all;
// forwardAsAttachmentTo sends the mail as text. Forwarded and redirected mail is
// in the ledger as sent by the mailbox, without a request; a header keeps mail
// from going round, as Exchange's does.

import (
	"slices"
	"strings"
	"time"
)

// loopHeader names the mailboxes whose rules have sent a mail on.
const loopHeader = "X-MS-Exchange-Inbox-Rules-Loop"

// receive stores an arriving mail where overrides and rules want it.
func (t *tx) receive(box *mailbox, in *message) {
	if in.From != nil {
		for _, e := range box.in(0, "inferenceClassificationOverride") {
			if strings.EqualFold(member(e.Props["senderEmailAddress"], "address").(string), in.From.EmailAddress.Address) {
				in.Inference = e.text("classifyAs")
			}
		}
	}
	out := t.sort(box, in)
	t.addMessage(box, out.folder, in)
	for _, key := range out.copies {
		t.duplicate(box, in, key)
	}
	for _, send := range out.sends {
		send()
	}
	if out.erase {
		t.dropMessage(box, in)
	}
	t.autoReply(box, in)
}

// sorted is what rules have decided on a mail.
type sorted struct {
	folder uint64
	copies []uint64
	sends  []func()
	erase  bool
}

// sort runs the rules.
func (t *tx) sort(box *mailbox, in *message) sorted {
	inbox := box.wellKnown["inbox"]
	out := sorted{folder: inbox.Key}
	rules := slices.SortedFunc(slices.Values(box.in(inbox.Key, "messageRule")), compareRules)
	for _, rule := range rules {
		if !rule.flag("isEnabled") || !ruleHolds(box, rule, in) {
			continue
		}
		actions, _ := rule.Props["actions"].(map[string]any)
		t.act(box, in, actions, &out)
		if stop, _ := actions["stopProcessingRules"].(bool); stop {
			break
		}
	}
	return out
}

func (t *tx) act(box *mailbox, in *message, actions map[string]any, out *sorted) {
	yes := func(name string) bool { v, _ := actions[name].(bool); return v }
	folder := func(name string) uint64 {
		text, _ := actions[name].(string)
		id, ok := parseID(text)
		if !ok || box.folders[id.key] == nil { // it is gone: the rule does nothing
			return 0
		}
		return id.key
	}
	if key := folder("moveToFolder"); key != 0 {
		out.folder = key
	}
	if key := folder("copyToFolder"); key != 0 {
		out.copies = append(out.copies, key)
	}
	if yes("delete") {
		out.folder = box.wellKnown["deleteditems"].Key
	}
	out.erase = out.erase || yes("permanentDelete")
	in.IsRead = in.IsRead || yes("markAsRead")
	if text, _ := actions["markImportance"].(string); text != "" {
		in.Importance = text
	}
	for _, name := range textsIn(actions["assignCategories"]) {
		if !slices.Contains(in.Categories, name) {
			in.Categories = append(slices.Clip(in.Categories), name)
		}
	}
	for name, prefix := range map[string]string{"forwardTo": "FW: ", "forwardAsAttachmentTo": "FW: ", "redirectTo": ""} {
		if to := recipientsIn(actions[name]); len(to) > 0 && !looped(box, in) {
			out.sends = append(out.sends, func() { t.sendOn(box, in, to, prefix) })
		}
	}
}

func looped(box *mailbox, m *message) bool {
	return slices.ContainsFunc(m.Headers, func(h header) bool {
		return strings.EqualFold(h.Name, loopHeader) && strings.EqualFold(h.Value, box.UPN)
	})
}

// sendOn forwards a mail, or redirects it, which leaves sender and recipients as
// they are.
func (t *tx) sendOn(box *mailbox, in *message, to []recipient, prefix string) {
	m := *in
	m.Headers = append(slices.Clone(in.Headers), header{loopHeader, box.UPN})
	m.Event = 0
	if prefix != "" {
		m.Kind, m.Meeting, m.Invite = "", nil, nil // a plain mail about it
		self := &recipient{address{box.Name(), box.UPN}}
		m.Subject, m.From, m.Sender, m.To, m.Cc, m.Bcc = prefix+in.Subject, self, self, to, nil, nil
		m.InternetID = "<" + newGUID() + "@" + DefaultDomain + ">"
	}
	t.sendFrom(box, &m, to)
}

// sendFrom delivers a mail that the mailbox itself sends, without a request, and
// notes it in the ledger.
func (t *tx) sendFrom(box *mailbox, m *message, to []recipient) {
	e := Effect{
		Kind: EffectSent, Time: time.Now().UTC(), Mailbox: box.UPN, What: "message", Subject: m.Subject, InternetMessageID: m.InternetID,
	}
	for _, r := range to {
		name := strings.ToLower(r.EmailAddress.Address)
		if slices.Contains(e.Recipients, name) {
			continue
		}
		e.Recipients = append(e.Recipients, name)
		if other := t.mailboxNamed(name); other != nil {
			e.Delivered = append(e.Delivered, name)
			t.deliver(other, m)
		}
	}
	t.do(record{Effect: &e})
}

func textsIn(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

func recipientsIn(v any) []recipient {
	var out []recipient
	list, _ := v.([]any)
	for _, item := range list {
		name, _ := member(item, "emailaddress/name").(string)
		if addr := addressIn(item); addr != "" {
			out = append(out, recipient{address{name, addr}})
		}
	}
	return out
}

func ruleHolds(box *mailbox, rule *entity, m *message) bool {
	conditions, _ := rule.Props["conditions"].(map[string]any)
	for name, want := range conditions {
		if given(want) && !predicateHolds(box, name, want, m) {
			return false
		}
	}
	exceptions, _ := rule.Props["exceptions"].(map[string]any)
	for name, want := range exceptions {
		if given(want) && predicateHolds(box, name, want, m) {
			return false
		}
	}
	return true
}

// given says that a predicate is set: null, false and an empty list are not.
func given(v any) bool {
	switch x := v.(type) {
	case nil:
		return false
	case bool:
		return x
	case []any:
		return len(x) > 0
	}
	return true
}
