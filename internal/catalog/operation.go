package catalog

import (
	"errors"
	"slices"
	"strings"
)

// Operation is one entity: one thing that the Outlook API can do. Its fields
// are facts and must not be changed; it is safe for concurrent use.
type Operation struct {
	// ID is the stable dotted key, area.resource.action: "mail.message.get".
	ID string `json:"id"`
	// Group is the chapter of the reference: "Mail".
	Group string `json:"group"`
	// Title is the group and the title of the page: "Mail - Get message". It is
	// not always unique.
	Title string `json:"title"`
	// Method is the HTTP method.
	Method string `json:"method"`
	// Paths are the documented templates, relative to …/v1.0.
	Paths []string `json:"paths"`
	// ExtraPaths are templates that only the OpenAPI description ties to this
	// operation; the page does not list them.
	ExtraPaths []string `json:"extra_paths,omitempty"`
	// PathParams are the parameters in Paths in order of first use, without the
	// mailbox's own ({user-id} of /users, {group-id} of /groups).
	PathParams []string `json:"path_params,omitempty"`
	// NestedChildFolders says that …/childFolders/{id} may be repeated to any
	// depth; the further folders are mailFolder-id2, mailFolder-id3 and so on.
	NestedChildFolders bool `json:"nested_child_folders,omitempty"`
	// RequiredQuery must be in the query string (calendar views).
	RequiredQuery []string `json:"required_query,omitempty"`
	// OptionalQuery are the query parameters that the reference or the OpenAPI
	// description names. An empty list does not mean that none is accepted.
	OptionalQuery []string `json:"optional_query,omitempty"`
	// QueryTemplates are the fixed forms of operations that are a plain path
	// plus a certain $expand, $filter or $id.
	QueryTemplates []string `json:"query_templates,omitempty"`
	// Success are the 2xx codes that the page names. It is empty where they are
	// not known.
	Success []int `json:"success,omitempty"`
	// Collection says that the answer has a "value" array.
	Collection bool `json:"collection,omitempty"`
	// Pageable says that the answer may carry @odata.nextLink.
	Pageable bool `json:"pageable,omitempty"`
	// Delta says that it is a delta function: its last page has an
	// @odata.deltaLink.
	Delta bool `json:"delta,omitempty"`
	// Permissions are those for mailboxes of users, and for operations without
	// a mailbox.
	Permissions Permissions `json:"permissions"`
	// GroupPermissions are those of the /groups templates where they differ;
	// nil where they do not.
	GroupPermissions *Permissions `json:"group_permissions,omitempty"`
	// DocURL is the page of the reference; empty where there is none.
	DocURL string `json:"doc,omitempty"`
	// DocAlso are further pages that describe the same operation.
	DocAlso []string `json:"doc_also,omitempty"`
	// DocsVersion is the age of the page that was used, such as "2023-02". It is
	// empty where the facts come from metadata only.
	DocsVersion string `json:"docs_version,omitempty"`
	// Type is the metadata type that the first template reaches, such as
	// "microsoft.graph.message"; it may be empty.
	Type string `json:"type,omitempty"`
	// SharesPathWith are the ids of operations with the same method and a
	// template in common: the URL alone does not tell them apart.
	SharesPathWith []string `json:"shares_path_with,omitempty"`

	catalog   *Catalog
	templates []*template // documented first, then derived, then extra
	mailbox   bool
	kinds     [roots]bool        // of which kinds there are templates
	usual     [roots][]*template // by kind, those that need not be asked for; the preferred first
}

// NeedsMailbox reports whether the operation works on the mailbox of a user or
// a group. Operations without one (subscriptions, places, the list of users)
// are addressed with the mailbox "-".
func (op *Operation) NeedsMailbox() bool { return op.mailbox }

// prepare completes what the file gives in short form.
func (op *Operation) prepare(c *Catalog) error {
	if op.ID == "" || op.Title == "" || op.Method == "" || len(op.Paths) == 0 {
		return errors.New("id, title, method or paths missing")
	}
	op.catalog = c
	op.DocURL = docURL(op.DocURL)
	for i, doc := range op.DocAlso {
		op.DocAlso[i] = docURL(doc)
	}
	if err := op.addTemplates(); err != nil {
		return err
	}
	for _, t := range op.templates {
		op.mailbox = op.mailbox || t.root != rootNone
		if t.source != documented {
			continue
		}
		for _, name := range t.params {
			if !slices.Contains(op.PathParams, name) {
				op.PathParams = append(op.PathParams, name)
			}
		}
	}
	op.arrange()
	return nil
}

// arrange sorts out once what each Build asks for.
func (op *Operation) arrange() {
	for _, t := range op.templates {
		op.kinds[t.root] = true
		if !op.hidden(t) {
			op.usual[t.root] = append(op.usual[t.root], t)
		}
	}
	for _, list := range op.usual {
		slices.SortStableFunc(list, prefer)
	}
}

// addTemplates parses the templates, in the order in which Build prefers them.
func (op *Operation) addTemplates() error {
	seen := make(map[string]bool)
	add := func(path string, from source) error {
		if path == "" || seen[path] {
			return nil
		}
		seen[path] = true
		t, err := parseTemplate(path, from)
		if err != nil {
			return err
		}
		op.templates = append(op.templates, t)
		return nil
	}
	for _, path := range op.Paths {
		if err := add(path, documented); err != nil {
			return err
		}
	}
	for _, path := range op.Paths {
		if err := add(otherUserForm(path), derived); err != nil {
			return err
		}
	}
	for _, path := range op.ExtraPaths {
		if err := errors.Join(add(path, extra), add(otherUserForm(path), extra)); err != nil {
			return err
		}
	}
	return nil
}

// docURL turns the file's short form into an address.
func docURL(doc string) string {
	switch {
	case doc == "":
		return ""
	case strings.HasPrefix(doc, "/"):
		return "https://learn.microsoft.com" + doc
	default:
		return "https://learn.microsoft.com/graph/api/" + doc + "?view=graph-rest-1.0"
	}
}
