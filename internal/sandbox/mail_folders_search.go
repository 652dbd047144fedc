package sandbox

// Search folders: virtual folders whose messages are found by a filter over other
// folders. Modelled: create with @odata.type, includeNestedFolders,
// sourceFolderIds, filterQuery, update, the list of messages and the counts, which
// are computed when they are asked for.
// https://learn.microsoft.com/graph/api/resources/mailsearchfolder
//
// Left out: expiry after 45 days, the limit per source folder, delta over the
// messages (refused) and counts in folder delta, which tells of a search folder
// only when itself changes.

import (
	"net/http"
	"slices"
	"strings"
)

// searchSpec is what makes a folder a search folder.
type searchSpec struct {
	Nested  bool     `json:"nested,omitempty"`
	Sources []uint64 `json:"sources"`
	Filter  string   `json:"filter"`
}

// isSearchFolderType says what @odata.type a body gives.
func isSearchFolderType(body map[string]any) bool {
	kind, _ := body["@odata.type"].(string)
	return strings.EqualFold(strings.TrimPrefix(kind, "#"), "microsoft.graph.mailSearchFolder")
}

// readSearch makes a search of the checked properties of a body. It needs the
// lock.
func (c *call) readSearch(e *entity, spec searchSpec) (*searchSpec, error) {
	if nested, ok := e.Props["includeNestedFolders"].(bool); ok {
		spec.Nested = nested
	}
	if text, ok := e.Props["filterQuery"].(string); ok {
		if _, err := parseFilter(text, messageFields()); err != nil {
			return nil, err
		}
		spec.Filter = text
	}
	if list, ok := e.Props["sourceFolderIds"].([]any); ok {
		spec.Sources = nil
		for _, item := range list {
			id, _ := item.(string)
			f, err := c.folderOf(id)
			if err != nil {
				return nil, err
			}
			if f.Search != nil {
				return nil, newError(http.StatusBadRequest, "ErrorInvalidArgument", "A search folder cannot be searched.")
			}
			spec.Sources = append(spec.Sources, f.Key)
		}
	}
	if len(spec.Sources) == 0 {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'sourceFolderIds' is required.")
	}
	return &spec, nil
}

// found lists the messages of a search folder, oldest first. It needs the lock.
func (b *mailbox) found(f *folder) []*message {
	search, err := parseFilter(f.Search.Filter, messageFields())
	if err != nil { // it was checked when it was stored
		return nil
	}
	inside := map[uint64]bool{}
	for _, key := range f.Search.Sources {
		inside[key] = true
	}
	for f.Search.Nested {
		before := len(inside)
		for key, sub := range b.folders {
			if inside[sub.Parent] && sub.Search == nil {
				inside[key] = true
			}
		}
		if len(inside) == before {
			break
		}
	}
	var list []*message
	for key := range inside {
		if src := b.folders[key]; src != nil {
			for _, m := range src.byTime {
				if search.test == nil || search.test(m) {
					list = append(list, m)
				}
			}
		}
	}
	slices.SortFunc(list, compareTime)
	return list
}

// messagesIn lists what a folder shows, oldest first.
func (b *mailbox) messagesIn(f *folder) []*message {
	if f.Search != nil {
		return b.found(f)
	}
	return f.byTime
}

// holds says whether a message is shown in a folder.
func (b *mailbox) holds(f *folder, m *message) bool {
	if f.Search == nil {
		return f.Key == m.Folder
	}
	return slices.Contains(b.found(f), m)
}

// refuseSearchFolder keeps items from being put into a search folder.
func refuseSearchFolder(f *folder) error {
	if f.Search != nil {
		return newError(http.StatusBadRequest, "ErrorMoveCopyFailed", "Items cannot be put into a search folder.")
	}
	return nil
}
