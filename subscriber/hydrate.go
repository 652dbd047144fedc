package subscriber

import (
	"context"
	"slices"
	"strings"

	"outlook-connector/internal/catalog"
)

// Delta functions send of an item that changed "at least" what changed: after a
// message was marked as read, its id, isRead and parentFolderId, whatever
// $select says. Such items are recognised by what they lack, and read again:
// https://learn.microsoft.com/graph/delta-query-overview
// https://github.com/microsoftgraph/microsoft-graph-docs/issues/7776

// wholeMembers are members that a whole item has where nothing was selected, by
// type. An occurrence in a calendar view lacks them, too: it comes with its id,
// its times and its series only.
// https://learn.microsoft.com/graph/api/event-delta
var wholeMembers = map[string][]string{
	typeMessage:                       {"createdDateTime", "receivedDateTime"},
	typeEvent:                         {"createdDateTime"},
	"microsoft.graph.contact":         {"createdDateTime"},
	"microsoft.graph.contactFolder":   {"displayName"},
	"microsoft.graph.mailFolder":      {"displayName"},
	typeTask:                          {"createdDateTime"},
	"microsoft.graph.todoTaskList":    {"displayName"},
	"microsoft.graph.directoryObject": {"userPrincipalName"}, // of users/delta
}

// queryOption returns an option of the query, which may be written without its
// dollar sign: https://learn.microsoft.com/graph/query-parameters
func queryOption(query map[string]string, name string) string {
	for given, value := range query {
		if strings.EqualFold(strings.TrimPrefix(given, "$"), name) {
			return value
		}
	}
	return ""
}

// wanted are the members that a whole item of the subscription has.
func wanted(op *catalog.Operation, query map[string]string) []string {
	list := queryOption(query, "select")
	if strings.TrimSpace(list) == "" {
		return wholeMembers[op.Type]
	}
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		name, _, _ = strings.Cut(strings.TrimSpace(name), "/")
		// A member of a derived type is there in items of that type only.
		if name != "" && !strings.ContainsAny(name, "@.") {
			names = append(names, name)
		}
	}
	return names
}

// isPartial reports whether the item lacks a member that a whole one has.
func isPartial(raw []byte, whole []string) bool {
	missing := slices.Clone(whole)
	err := eachMember(raw, func(name string, _ []byte) error {
		missing = slices.DeleteFunc(missing, func(want string) bool { return strings.EqualFold(want, name) })
		return nil
	})
	return err == nil && len(missing) > 0
}

// needsHydration reports whether the item is to be read again.
func (e *enricher) needsHydration(p *piece) bool {
	return e.hydrate && e.op.Delta && !p.hydrated && isPartial(p.raw, e.whole)
}

// itemQuery is the query by which one item is read as the subscription reads it.
func (e *enricher) itemQuery() map[string]string {
	query := make(map[string]string, 2)
	for _, name := range []string{"select", "expand"} {
		if value := queryOption(e.query, name); value != "" {
			query["$"+name] = value
		}
	}
	return query
}

// rehydrate reads the partial ones of the items again. After an error, those
// that were read are marked.
func (e *enricher) rehydrate(ctx context.Context, pieces []*piece) error {
	var need []*piece
	var gets []Get
	for _, p := range pieces {
		if !e.needsHydration(p) {
			continue
		}
		path := itemPath(e.op, e.path, p.id)
		if path == "" {
			p.hydrated = true
			continue
		}
		need = append(need, p)
		gets = append(gets, Get{Path: path, Query: e.itemQuery()})
	}
	if len(gets) == 0 {
		return nil
	}
	got, err := e.fetch.batch(ctx, gets)
	for i := range got {
		if failed := e.takeItem(ctx, need[i], got[i]); failed != nil {
			return failed
		}
	}
	return err
}

// takeItem puts what was read in the place of what the page had. An item that is
// gone meanwhile is not told at all: its tombstone is on its way.
func (e *enricher) takeItem(ctx context.Context, p *piece, got Got) error {
	switch {
	case got.Err == nil:
		p.hydrated = true
		if !e.replace(p, got.Body) {
			p.notes = append(p.notes, note{what: "item", code: "bad_item"})
		}
		return nil
	case got.Status == statusNotFound && goneCode(got.Code):
		p.hydrated, p.dropped = true, true
		return nil
	case !forGood(got.Err):
		return got.Err
	case seriesOf(p.raw) != "":
		return e.fromMaster(ctx, p, got)
	default:
		p.hydrated = true
		p.note("item", got)
		return nil
	}
}

// replace takes the item that was read by itself, if it is that item. Its version
// is the one that counts from here on, since it is the state that is told.
func (e *enricher) replace(p *piece, body []byte) bool {
	// The context describes the answer and not the item; pages have it once.
	raw, err := splice(body, []string{"@odata.context"})
	if err != nil {
		return false
	}
	it, err := e.peek.peek(raw)
	if err != nil || it.id != p.id {
		return false
	}
	p.item = it
	if it.version != "" {
		p.version = it.version
	}
	return true
}
