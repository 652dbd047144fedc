package publisher_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/publisher"
)

// transport is how long a sent mail stays a draft, and lag how long nobody finds
// what is new: longer than the connector waits before it looks for the first time. A
// request that lands 20 s late and its transport take less than that wait.
const (
	transport = 30 * time.Second
	lag       = 70 * time.Second
)

// mailbox is a mailbox as the explorer believes that Exchange has it: small, and
// without faults of its own. What it counts as effects is what people would see.
type mailbox struct {
	items map[string]*item
	made  int
	// sent counts mails that went out, and again those of them that were a draft's
	// second time, where doubles says that Exchange takes a draft twice while it is
	// still in Drafts.
	sent, again int
	doubles     bool
	// early counts requests to send a draft that was on its way already.
	early int
	// effects counts the other effects that people see.
	effects int
	// readOnly says that the client may send mails and nothing else.
	sendOnly bool
}

type item struct {
	kind, id, folder, name   string
	messageID, marker, agent string
	made, submitted          time.Time
	props                    map[string]any
}

func newMailbox() *mailbox {
	b := &mailbox{items: map[string]*item{}}
	b.items["AAA"] = &item{kind: "mail", id: "AAA", folder: "inbox", messageID: "<a@b>", props: map[string]any{}}
	b.items["EEE"] = &item{kind: "event", id: "EEE", props: map[string]any{"responseStatus": map[string]any{"response": "notResponded"}}}
	return b
}

var quotedText = regexp.MustCompile(`'([^']*)'`)

func refusedItem() (publisher.Answer, error) {
	return publisher.Answer{Status: 404, RequestID: "gone"}, &fault.Error{
		Kind: fault.Poison, Code: "ErrorItemNotFound", Err: errors.New("404 ErrorItemNotFound"),
	}
}

func forbidden() (publisher.Answer, error) {
	return publisher.Answer{Status: 403}, &fault.Error{Kind: fault.Poison, Code: "ErrorAccessDenied", Err: errors.New("403 ErrorAccessDenied")}
}

func answered(status int, body any) (publisher.Answer, error) {
	a := publisher.Answer{Status: status, RequestID: "r"}
	if body != nil {
		a.Body, _ = json.Marshal(body)
	}
	return a, nil
}

// path is the first path parameter whose name ends so.
func pathOf(call publisher.Call, name string) string {
	for key, value := range call.Params.Path {
		if strings.EqualFold(strings.ReplaceAll(key, "-", ""), strings.ReplaceAll(name, "-", "")) || key == "id" {
			return value
		}
	}
	return ""
}

func (b *mailbox) isDraft(it *item) bool {
	return it.kind == "draft" && (it.submitted.IsZero() || time.Since(it.submitted) < transport)
}

// drafts counts those that were not sent.
func (b *mailbox) drafts() (n int) {
	for _, it := range b.items {
		if it.kind == "draft" && it.submitted.IsZero() {
			n++
		}
	}
	return n
}

// show is an item as Graph gives it.
func (b *mailbox) show(it *item) map[string]any {
	out := maps.Clone(it.props)
	if out == nil {
		out = map[string]any{}
	}
	out["id"], out["parentFolderId"], out["internetMessageId"] = it.id, it.folder, it.messageID
	out["isDraft"] = b.isDraft(it)
	out["createdDateTime"] = it.made.UTC().Format(time.RFC3339)
	if it.marker != "" {
		out["singleValueExtendedProperties"] = []any{map[string]any{"value": it.marker}}
	}
	out["name"], out["lastModifiedDateTime"] = it.name, it.made.UTC().Format(time.RFC3339)
	return out
}

func (b *mailbox) add(kind, folder string, body map[string]any) *item {
	b.made++
	it := &item{kind: kind, id: fmt.Sprint(kind, b.made), folder: folder, made: time.Now(), props: map[string]any{}}
	b.items[it.id] = it
	b.change(it, body)
	return it
}

// change sets members of an item.
func (b *mailbox) change(it *item, body map[string]any) {
	for name, value := range body {
		switch name {
		case "internetMessageId":
			it.messageID, _ = value.(string)
		case "singleValueExtendedProperties":
			for _, p := range value.([]any) {
				it.marker, _ = p.(map[string]any)["value"].(string)
			}
		case "name":
			it.name, _ = value.(string)
		case "transactionId":
			it.agent, _ = value.(string)
		default:
			it.props[name] = value
		}
	}
}

// list are the items of a kind that a filter finds.
func (b *mailbox) list(filter string, fits func(*item) bool) (publisher.Answer, error) {
	var wanted []string
	for _, m := range quotedText.FindAllStringSubmatch(filter, -1) {
		wanted = append(wanted, m[1])
	}
	found := []any{}
	for _, id := range slices.Sorted(maps.Keys(b.items)) {
		it := b.items[id]
		if filter != "" && time.Since(it.made) < lag {
			continue
		}
		if fits(it) && (filter == "" || it.marker != "" && slices.Contains(wanted, it.marker) || it.messageID != "" && slices.Contains(wanted, it.messageID)) {
			found = append(found, b.show(it))
		}
	}
	return answered(200, map[string]any{"value": found})
}

func ofKind(kinds ...string) func(*item) bool {
	return func(it *item) bool { return slices.Contains(kinds, it.kind) }
}

// do is what a request does.
func (b *mailbox) do(call publisher.Call) (publisher.Answer, error) {
	var body map[string]any
	_ = json.Unmarshal(call.Body, &body)
	op := call.Operation.ID
	if b.sendOnly && op != "mail.message.sendMail" {
		return forbidden()
	}
	it := b.items[pathOf(call, "message-id")]
	if strings.HasPrefix(op, "calendar.") {
		it = b.items[pathOf(call, "event-id")]
	}
	switch op {
	case "mail.message.sendMail", "mail.message.reply", "mail.message.replyAll", "mail.message.forward":
		b.sent++
		return answered(202, nil)
	case "mail.message.create":
		return answered(201, b.show(b.add("draft", "drafts", body)))
	case "mail.message.createReply", "mail.message.createReplyAll", "mail.message.createForward":
		return answered(201, b.show(b.add("draft", "drafts", nil)))
	case "mail.message.list":
		return b.list(call.Params.Query["$filter"], ofKind("mail", "draft"))
	case "mail.folder.listMessages":
		folder := pathOf(call, "mailFolder-id")
		return b.list(call.Params.Query["$filter"], func(it *item) bool { return it.folder == folder })
	case "mail.folder.get":
		return answered(200, map[string]any{"id": pathOf(call, "mailFolder-id")})
	case "contacts.contact.list":
		return b.list(call.Params.Query["$filter"], ofKind("contact"))
	case "calendar.event.list":
		return b.list(call.Params.Query["$filter"], ofKind("event"))
	case "contacts.contact.create":
		b.effects++
		return answered(201, b.show(b.add("contact", "contacts", body)))
	case "settings.category.create":
		b.effects++
		return answered(201, map[string]any{"id": "c"})
	case "mail.messageAttachment.list":
		return b.list("", ofKind("attachment"))
	case "mail.messageAttachment.create":
		b.effects++
		return answered(201, b.show(b.add("attachment", "", body)))
	case "calendar.event.create":
		for _, other := range b.items {
			if key, _ := body["transactionId"].(string); other.kind == "event" && other.agent == key && key != "" {
				return answered(201, b.show(other))
			}
		}
		b.effects++
		return answered(201, b.show(b.add("event", "calendar", body)))
	case "subscriptions.subscription.list":
		return b.list("", ofKind("subscription"))
	case "subscriptions.subscription.create":
		b.effects++
		return answered(201, b.show(b.add("subscription", "", body)))
	}
	if it == nil {
		return refusedItem()
	}
	return b.doTo(op, it, body)
}

// doTo is what a request does to an item that is there.
func (b *mailbox) doTo(op string, it *item, body map[string]any) (publisher.Answer, error) {
	switch op {
	case "mail.message.get", "calendar.event.get":
		return answered(200, b.show(it))
	case "mail.message.update":
		if !b.isDraft(it) {
			b.effects = 1 // the second leaves things as the first
		}
		b.change(it, body)
		return answered(200, b.show(it))
	case "calendar.event.update":
		b.effects++ // its guests are told
		b.change(it, body)
		return answered(200, b.show(it))
	case "mail.message.send":
		if !it.submitted.IsZero() && b.isDraft(it) {
			b.early++
		}
		switch {
		case it.submitted.IsZero():
			b.sent++
			it.submitted = time.Now()
		case b.isDraft(it) && b.doubles:
			b.sent++
			b.again++
		default:
			return refusedItem()
		}
		return answered(202, nil)
	case "mail.message.delete":
		if it.kind == "mail" {
			b.effects++
		}
		if it.folder == "deleteditems" || it.kind == "draft" {
			delete(b.items, it.id)
		}
		it.folder = "deleteditems"
		return answered(204, nil)
	case "mail.message.move":
		b.effects++
		it.folder, _ = body["destinationId"].(string)
		return answered(201, b.show(it))
	case "mail.message.copy":
		b.effects++
		copied := b.add("mail", body["destinationId"].(string), nil)
		copied.messageID = it.messageID
		return answered(201, b.show(copied))
	case "calendar.event.accept":
		b.effects++
		it.props["responseStatus"] = map[string]any{"response": "accepted"}
		return answered(202, nil)
	case "calendar.event.cancel":
		b.effects++
		it.props["isCancelled"] = true
		return answered(202, nil)
	case "calendar.event.forward":
		b.effects++
		return answered(202, nil)
	}
	panic("the explorer's mailbox knows nothing of " + op)
}

// refusedFor is what Outlook says to what it will never take.
func refusedFor(code string) error {
	return &fault.Error{Kind: fault.Poison, Code: code, Err: errors.New("400 " + code)}
}
