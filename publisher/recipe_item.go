package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"outlook-connector/internal/catalog"
)

// The recipes of what is not a mail on its way: each is one request, of which the
// effect can be seen in the mailbox.

// once is a recipe of one request that is looked after.
func once(p *plan, find func(context.Context, *seeker) (finding, error)) *recipe {
	return &recipe{steps: []step{{
		name: stepDirect, doubt: look, find: find, again: true,
		call: func(record) (Call, error) { return p.call, nil },
	}}}
}

// createRecipe makes something that nobody outside sees, with a marker on it.
func (w *Worker) createRecipe(p *plan, m marker) *recipe {
	list := w.sibling(p.op, true)
	if list == nil || p.call.ContentType != "" {
		return nil
	}
	body, err := readObject(p.call.Body)
	if err != nil {
		return nil
	}
	mark := body.mark
	if p.op.ID == opCreate || p.op.ID == "mail.folder.createMessage" {
		mark = body.markMail
	}
	if mark(m) != nil {
		return nil
	}
	text, err := body.text()
	if err != nil {
		return nil
	}
	marked := p.call
	marked.Body = text
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) { return s.marked(ctx, list) })
	r.marker = m
	s := &r.steps[0]
	s.twice = true
	s.call = func(record) (Call, error) { return marked, nil }
	s.item = itemID
	// A folder of that name may be the one that an earlier request has made.
	s.doubtful = func(rec record, status int, code string) bool {
		return rec.Open && status == statusConflict && code == "ErrorFolderExists"
	}
	return r
}

// eventRecipe makes an event. Graph keeps the key of who makes it and makes none
// twice, so the request is simply made again.
// https://learn.microsoft.com/graph/api/resources/event (transactionId)
func (w *Worker) eventRecipe(p *plan, m marker) *recipe {
	list := w.sibling(p.op, true)
	body, err := readObject(p.call.Body)
	if err != nil || list == nil || p.call.ContentType != "" {
		return nil
	}
	if given := body[body.name(memberTransaction)]; len(given) == 0 || string(given) == "null" {
		if body.set(memberTransaction, string(m)) != nil {
			return nil
		}
	}
	if body.mark(m) != nil {
		return nil
	}
	text, err := body.text()
	if err != nil {
		return nil
	}
	call := p.call
	call.Body = text
	return &recipe{marker: m, steps: []step{{
		name: stepDirect, doubt: repeat, item: itemID,
		call:     func(record) (Call, error) { return call, nil },
		doubtful: func(_ record, _ int, code string) bool { return code == "ErrorDuplicateTransactionId" },
		find: func(ctx context.Context, s *seeker) (finding, error) {
			found, err := s.marked(ctx, list)
			if err == nil && found.where == nowhere {
				return finding{where: clashes, why: "the transactionId was used for another event"}, nil
			}
			return found, err
		},
	}}}
}

// marked looks for the command's marker in the collection that it makes its item in.
func (s *seeker) marked(ctx context.Context, list *catalog.Operation) (finding, error) {
	call, err := s.plan.other(list, s.plan.call.Params.Path, map[string]string{"$filter": s.marker.filter(), "$select": fieldID}, nil)
	if err != nil {
		return finding{}, err
	}
	var page struct{ Value []json.RawMessage }
	if err := s.read(ctx, call, &page); err != nil || len(page.Value) == 0 {
		return finding{}, err
	}
	return finding{where: there, item: itemID(page.Value[0]), body: page.Value[0]}, nil
}

// deletedItems is the well-known name of the folder into which deleted mails go.
const deletedItems = "deleteditems"

// deleteRecipe deletes a mail. It goes into Deleted Items and keeps its immutable
// id, so that a second request would delete it from there for good. Everything
// else is simply deleted again.
// https://learn.microsoft.com/graph/api/message-delete
func (w *Worker) deleteRecipe(p *plan) *recipe {
	if p.op.ID != opDelete && p.op.ID != "calendar.eventMessage.delete" {
		return nil
	}
	return once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := w.request(p, opGet, lastOnly(p), map[string]string{"$select": "id,parentFolderId"}, nil)
		if err != nil {
			return finding{}, err
		}
		var mail mailFound
		if err := s.read(ctx, call, &mail); err != nil {
			if s.gone(err) {
				return finding{where: there}, nil
			}
			return finding{}, err
		}
		bin, err := s.folder(ctx, deletedItems)
		if err != nil {
			return finding{}, err
		}
		if mail.Folder == bin {
			return finding{where: there, item: mail.ID}, nil
		}
		return finding{where: pending}, nil
	})
}

// patchRecipe sets properties to given values. What has them already is not
// written again.
func (w *Worker) patchRecipe(p *plan) *recipe {
	get := w.sibling(p.op, false)
	var want any
	if get == nil || p.op.Method != methodPatch || p.call.ContentType != "" || decodeJSON(p.call.Body, &want) != nil {
		return nil
	}
	etag := p.call.Header["If-Match"]
	return once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := p.other(get, p.call.Params.Path, nil, nil)
		if err != nil {
			return finding{}, err
		}
		var body json.RawMessage
		if err := s.read(ctx, call, &body); err != nil {
			if s.gone(err) {
				return finding{where: pending}, nil // the request says so itself
			}
			return finding{}, err
		}
		var has any
		if err := decodeJSON(body, &has); err != nil {
			return finding{}, err
		}
		if holds(has, want) {
			return finding{where: there, item: itemID(body), body: body}, nil
		}
		if is, ok := has.(map[string]any); ok && etag != "" && etag != "*" && is["@odata.etag"] != etag {
			return finding{where: clashes, why: "somebody has changed the item since"}, nil
		}
		return finding{where: pending}, nil
	})
}

// changeRecipe changes something of which others are told each time, such as an
// event. Values come back otherwise than they were given (times, HTML), so the
// change leaves a mark by which it is known. With If-Match of the caller's the
// second request is refused in any case.
func (w *Worker) changeRecipe(p *plan, m marker) *recipe {
	get := w.sibling(p.op, false)
	body, err := readObject(p.call.Body)
	if get == nil || err != nil || p.op.Method != methodPatch || p.call.ContentType != "" || body.mark(m) != nil {
		return nil
	}
	text, err := body.text()
	if err != nil {
		return nil
	}
	marked := p.call
	marked.Body = text
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := p.other(get, p.call.Params.Path, map[string]string{"$select": fieldID, "$expand": expandMarker}, nil)
		if err != nil {
			return finding{}, err
		}
		var item struct {
			ID         string
			Properties []struct{ Value string } `json:"singleValueExtendedProperties"`
		}
		switch err := s.read(ctx, call, &item); {
		case s.gone(err):
			return finding{where: pending}, nil // the request says so itself
		case err != nil:
			return finding{}, err
		}
		for _, property := range item.Properties {
			if strings.EqualFold(property.Value, string(m)) {
				return finding{where: there, item: item.ID}, nil
			}
		}
		return finding{where: pending}, nil
	})
	r.marker = m
	r.steps[0].call = func(record) (Call, error) { return marked, nil }
	return r
}

// moveRecipe moves an item, which keeps its immutable id.
// https://learn.microsoft.com/graph/outlook-immutable-id
func (w *Worker) moveRecipe(p *plan) *recipe {
	get := w.sibling(p.op, false)
	if get == nil {
		return nil
	}
	return once(p, func(ctx context.Context, s *seeker) (finding, error) {
		target, err := s.target(ctx)
		if err != nil {
			return finding{}, err
		}
		call, err := p.other(get, lastOnly(p), map[string]string{"$select": "id,parentFolderId"}, nil)
		if err != nil {
			return finding{}, err
		}
		var body json.RawMessage
		if err := s.read(ctx, call, &body); err != nil {
			if s.gone(err) {
				return finding{}, nil
			}
			return finding{}, err
		}
		var item struct {
			Folder string `json:"parentFolderId"`
		}
		if err := json.Unmarshal(body, &item); err != nil {
			return finding{}, err
		}
		if item.Folder == target {
			return finding{where: there, item: itemID(body), body: body}, nil
		}
		return finding{where: pending}, nil
	})
}

// copyRecipe copies a mail. A copy has the Message-ID of what it was made of.
func (w *Worker) copyRecipe(p *plan) *recipe {
	if p.op.ID != opCopy {
		return nil // of a folder's copy nothing tells when it was made
	}
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) {
		id := pathValue(p, paramMessage)
		source, err := w.request(p, opGet, map[string]string{paramMessage: id}, map[string]string{"$select": fieldsOfMail}, nil)
		if err != nil {
			return finding{}, err
		}
		var mail mailFound
		if err := s.read(ctx, source, &mail); err != nil {
			return finding{}, err
		}
		target, err := s.target(ctx)
		if err != nil {
			return finding{}, err
		}
		call, err := w.request(p, opListInside, map[string]string{paramFolder: target}, map[string]string{
			"$filter": "internetMessageId eq '" + strings.ReplaceAll(mail.MessageID, "'", "''") + "'",
			"$select": fieldsOfMail + ",createdDateTime", "$top": foundAtMost,
		}, nil)
		if err != nil {
			return finding{}, err
		}
		var page struct{ Value []mailFound }
		if err := s.read(ctx, call, &page); err != nil {
			return finding{}, err
		}
		for _, found := range page.Value {
			if found.ID != mail.ID && !found.Created.Before(s.since()) {
				return finding{where: there, item: found.ID}, nil
			}
		}
		return finding{}, nil
	})
	r.steps[0].twice = true
	return r
}

// target is the id of the folder that a move or a copy names, perhaps by one of
// its well-known names.
func (s *seeker) target(ctx context.Context) (string, error) {
	body, err := readObject(s.plan.call.Body)
	if err != nil {
		return "", err
	}
	var name string
	if err := json.Unmarshal(body[body.name("destinationId")], &name); err != nil {
		return "", refuse("bad_payload", "destinationId is no text")
	}
	return s.folder(ctx, name)
}

// folder is the id of a mail folder, which may be given by a well-known name.
func (s *seeker) folder(ctx context.Context, name string) (string, error) {
	call, err := s.w.request(s.plan, opGetFolder, map[string]string{paramFolder: name}, map[string]string{"$select": fieldID}, nil)
	if err != nil {
		return "", err
	}
	var folder struct {
		ID string `json:"id"`
	}
	return folder.ID, s.read(ctx, call, &folder)
}

// attachmentRecipe adds an attachment to an item.
func (w *Worker) attachmentRecipe(p *plan) *recipe {
	list := w.sibling(p.op, true)
	if list == nil {
		if found, err := w.catalog.Lookup(strings.TrimSuffix(p.op.ID, "create") + "list"); err == nil {
			list = found
		}
	}
	body, err := readObject(p.call.Body)
	if err != nil || list == nil {
		return nil
	}
	var name string
	if json.Unmarshal(body[body.name("name")], &name) != nil || name == "" {
		return nil
	}
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := p.other(list, p.call.Params.Path, map[string]string{"$select": "id,name,lastModifiedDateTime"}, nil)
		if err != nil {
			return finding{}, err
		}
		var page struct {
			Value []struct {
				ID, Name string
				Modified time.Time `json:"lastModifiedDateTime"`
			}
		}
		if err := s.read(ctx, call, &page); err != nil {
			return finding{}, err
		}
		for _, found := range page.Value {
			if found.Name == name && !found.Modified.Before(s.since()) {
				return finding{where: there, item: found.ID}, nil
			}
		}
		return finding{}, nil
	})
	r.steps[0].item = itemID
	return r
}

// responseRecipe answers an invitation.
func (w *Worker) responseRecipe(p *plan) *recipe {
	action := p.op.ID[strings.LastIndexByte(p.op.ID, '.')+1:]
	wanted := map[string]string{"accept": "accepted", "decline": "declined", "tentativelyAccept": "tentativelyAccepted"}[action]
	return w.meetingRecipe(p, func(e meeting) bool { return e.Response.Response == wanted }, action == "decline")
}

// cancelRecipe cancels a meeting, which is then not there any more.
func (w *Worker) cancelRecipe(p *plan) *recipe {
	return w.meetingRecipe(p, func(e meeting) bool { return e.Cancelled }, true)
}

type meeting struct {
	Cancelled bool `json:"isCancelled"`
	Response  struct {
		Response string `json:"response"`
	} `json:"responseStatus"`
}

// meetingRecipe does something to an event. gone says that the event is not there
// afterwards.
func (w *Worker) meetingRecipe(p *plan, done func(meeting) bool, gone bool) *recipe {
	get := w.sibling(p.op, false)
	if get == nil {
		return nil
	}
	return once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := p.other(get, p.call.Params.Path, map[string]string{"$select": "id,isCancelled,responseStatus"}, nil)
		if err != nil {
			return finding{}, err
		}
		var body json.RawMessage
		if err := s.read(ctx, call, &body); err != nil {
			if s.gone(err) && gone {
				return finding{where: there}, nil
			}
			if s.gone(err) {
				return finding{where: pending}, nil
			}
			return finding{}, err
		}
		var event meeting
		if err := json.Unmarshal(body, &event); err != nil {
			return finding{}, err
		}
		if done(event) {
			return finding{where: there, item: itemID(body)}, nil
		}
		return finding{where: pending}, nil
	})
}

// subscriptionRecipe asks for notifications: one that asks for the same for the
// same receiver is the same.
// https://learn.microsoft.com/graph/api/subscription-list
func (w *Worker) subscriptionRecipe(p *plan) *recipe {
	var want map[string]any
	if json.Unmarshal(p.call.Body, &want) != nil {
		return nil
	}
	members := []string{"resource", "changeType", "notificationUrl", "clientState"}
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := w.request(p, "subscriptions.subscription.list", nil, nil, nil)
		if err != nil {
			return finding{}, err
		}
		var page struct{ Value []json.RawMessage }
		if err := s.read(ctx, call, &page); err != nil {
			return finding{}, err
		}
		for _, text := range page.Value {
			var has map[string]any
			if json.Unmarshal(text, &has) == nil && !slices.ContainsFunc(members, func(m string) bool {
				return want[m] != nil && has[m] != nil && !reflect.DeepEqual(want[m], has[m])
			}) {
				return finding{where: there, item: itemID(text), body: text}, nil
			}
		}
		return finding{}, nil
	})
	r.steps[0].item = itemID
	return r
}

// holds reports whether a value has all that another asks for.
func holds(has, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		is, ok := has.(map[string]any)
		if !ok {
			return false
		}
		for name, value := range want {
			if strings.HasPrefix(name, "@odata.") {
				continue
			}
			if got, shown := is[name]; !shown || !holds(got, value) {
				return false // what is not shown is not known
			}
		}
		return true
	case []any:
		is, ok := has.([]any)
		return ok && slices.EqualFunc(is, want, holds)
	default:
		return reflect.DeepEqual(has, want)
	}
}

// decodeJSON reads a value with its numbers as they are written.
func decodeJSON(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec.Decode(into)
}

// pathValue is a path parameter of the command in whatever spelling it was given.
func pathValue(p *plan, name string) string {
	target, err := p.op.Build(p.call.Params)
	if err != nil {
		return ""
	}
	return target.Params[name]
}

// lastOnly are the path parameters of a request for the item alone, without the
// folders in which it was.
func lastOnly(p *plan) map[string]string {
	target, err := p.op.Build(p.call.Params)
	if err != nil {
		return p.call.Params.Path
	}
	for _, name := range []string{paramMessage, paramFolder} {
		if value, ok := target.Params[name]; ok {
			return map[string]string{name: value}
		}
	}
	return p.call.Params.Path
}
