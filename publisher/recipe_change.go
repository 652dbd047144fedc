package publisher

import (
	"context"
	"reflect"
	"slices"
	"strings"
)

// The recipes of what changes or deletes an item, which is asked for again by its id.

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
		return s.itself(ctx, call, pending, func(body []byte) (finding, error) {
			var has any
			if err := decodeJSON(body, &has); err != nil {
				return finding{}, err
			}
			is, ok := has.(map[string]any)
			switch {
			case holds(has, want):
				return finding{where: there, item: itemID(body), body: body}, nil
			case ok && etag != "" && etag != "*" && is["@odata.etag"] != etag:
				return finding{where: clashes, why: "somebody has changed the item since"}, nil
			}
			return finding{where: pending}, nil
		})
	})
}

// changeRecipe changes something of which others are told each time, such as an
// event. Values come back otherwise than they were given (times, HTML), so the
// change leaves a mark by which it is known. With If-Match of the caller's the
// second request is refused in any case.
func (w *Worker) changeRecipe(p *plan, m marker) *recipe {
	get := w.sibling(p.op, false)
	marked, ok := p.changed(func(o object) error { return o.mark(m) })
	if get == nil || !ok || p.op.Method != methodPatch {
		return nil
	}
	r := once(p, func(ctx context.Context, s *seeker) (finding, error) {
		call, err := p.other(get, p.call.Params.Path, map[string]string{"$select": fieldID, "$expand": expandMarker}, nil)
		if err != nil {
			return finding{}, err
		}
		return s.itself(ctx, call, pending, func(body []byte) (finding, error) {
			if carries(body, s.marker) {
				return finding{where: there, item: itemID(body)}, nil
			}
			return finding{where: pending}, nil
		})
	})
	r.marker = m
	r.steps[0].call = func(record) (Call, error) { return marked, nil }
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
		return s.itself(ctx, call, there, func(body []byte) (finding, error) {
			bin, err := s.folder(ctx, deletedItems)
			return s.lies(body, bin), err
		})
	})
}
