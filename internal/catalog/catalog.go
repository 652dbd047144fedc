// Package catalog knows the Outlook entities: the operations of Microsoft
// Graph v1.0 that touch mail, calendars, contacts, tasks, places, people,
// photos, mailbox settings, groups and change notifications. It finds an
// operation by id, by title, or by method and path, and builds a request URL
// from parameters. It promises that a built URL never leaves its template:
// every value is exactly one path segment, and host and version are not in its
// hands at all. Sending the request, tokens and policy are left to others.
//
// The facts in operations.json come from the public Microsoft Graph v1.0
// reference (https://learn.microsoft.com/graph/api/overview?view=graph-rest-1.0),
// from the published permissions and OpenAPI descriptions behind it
// (https://github.com/microsoftgraph/microsoft-graph-devx-content,
// https://github.com/microsoftgraph/msgraph-metadata), and from nothing else;
// no prose of the reference is in it. [Catalog.Date] is the day of the newest
// of those sources.
package catalog

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:embed operations.json
var embedded []byte

// Catalog is the set of known operations. It does not change after loading and
// is safe for concurrent use.
type Catalog struct {
	date    string
	ops     []*Operation            // sorted by id
	byID    map[string]*Operation   // lower-case id
	byTitle map[string][]*Operation // folded title, with and without its group
	routes  map[string][]route      // method → every template of every operation
	words   map[string]map[string]bool
	literal map[string]bool // every fixed segment of every template, lower case
	longest int             // of those, in bytes
}

// defaultCatalog parses the embedded data on first use. A mistake in that data
// is a mistake in the program, found by its first test, so it panics.
var defaultCatalog = sync.OnceValue(func() *Catalog {
	c, err := parse(embedded)
	if err != nil {
		panic("catalog: embedded data: " + err.Error())
	}
	return c
})

// Default returns the catalogue that is part of the program. It is parsed once.
func Default() *Catalog { return defaultCatalog() }

// Date returns the day of the newest source of the facts, as "2026-08-07".
func (c *Catalog) Date() string { return c.date }

// Operations returns all operations, sorted by id. The slice is the caller's,
// the operations are shared and must not be changed.
func (c *Catalog) Operations() []*Operation { return slices.Clone(c.ops) }

// parse reads operations.json and checks what the rest of the package relies
// on: known shapes, unique ids, templates that can be parsed.
func parse(data []byte) (*Catalog, error) {
	var file struct {
		Date       string       `json:"date"`
		Operations []*Operation `json:"operations"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	c := &Catalog{
		date:    file.Date,
		ops:     file.Operations,
		byID:    make(map[string]*Operation, len(file.Operations)),
		byTitle: make(map[string][]*Operation, 2*len(file.Operations)),
		routes:  make(map[string][]route),
		words:   make(map[string]map[string]bool),
		literal: make(map[string]bool),
	}
	slices.SortFunc(c.ops, func(a, b *Operation) int { return strings.Compare(a.ID, b.ID) })
	for _, op := range c.ops {
		id := strings.ToLower(op.ID)
		if c.byID[id] != nil {
			return nil, fmt.Errorf("operation %s is there twice", op.ID)
		}
		c.byID[id] = op
		if err := op.prepare(c); err != nil {
			return nil, fmt.Errorf("operation %s: %w", op.ID, err)
		}
		for _, key := range titleKeys(op.Title) {
			c.byTitle[key] = append(c.byTitle[key], op)
		}
		for _, t := range op.templates {
			c.routes[op.Method] = append(c.routes[op.Method], route{op: op, template: t})
			c.learnWords(t)
		}
	}
	return c, nil
}
