package config

import (
	"reflect"

	"go.yaml.in/yaml/v4"
)

// shorthand is a mapping that can also be written shorter: as one value, or as
// a list.
type shorthand interface {
	// short returns a pointer to where a node of that kind belongs, or nil where
	// it is the mapping itself. It is called before the node is decoded.
	short(kind yaml.Kind) any
	// shown returns the value to show in its place, or nil for the mapping.
	shown() any
}

// shorter returns where a node belongs that is the short form of out.
func shorter(node *yaml.Node, out reflect.Value) (reflect.Value, bool) {
	if out.Kind() != reflect.Struct {
		return reflect.Value{}, false
	}
	s, ok := reflect.TypeAssert[shorthand](out.Addr())
	if !ok {
		return reflect.Value{}, false
	}
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	inner := s.short(node.Kind)
	if inner == nil {
		return reflect.Value{}, false
	}
	return reflect.ValueOf(inner).Elem(), true
}

// Mailboxes says whose mailboxes a subscription reads: a list, or a rule that is
// followed. At most one of its fields is set.
type Mailboxes struct {
	// List are the mailboxes by name: me, addresses or object ids of users, ids of
	// groups.
	List []string
	// The object id of a group, whose members' mailboxes are read.
	Group string `yaml:"group,omitempty"`
	// A $filter expression over the users of the directory, whose mailboxes are
	// read: https://learn.microsoft.com/graph/api/user-list
	Users string `yaml:"users,omitempty"`
}

// Rule reports whether the mailboxes are found by a rule.
func (m *Mailboxes) Rule() bool { return m.Group != "" || m.Users != "" }

func (m *Mailboxes) short(kind yaml.Kind) any {
	if kind == yaml.MappingNode {
		return nil
	}
	return &m.List
}

func (m *Mailboxes) shown() any {
	if m.Rule() {
		return nil
	}
	return &m.List
}

// Every is how long to wait between two rounds: a duration, or an interval that
// adapts itself to the feed. It is zero where a cron expression says when.
type Every struct {
	// Fixed is the duration; zero where Min and Max are set.
	Fixed Duration
	// The shortest wait, of feeds in which much happens.
	Min Duration `yaml:"min"`
	// The longest wait, of feeds in which nothing happens.
	Max Duration `yaml:"max"`
}

// Adapts reports whether the interval adapts itself.
func (e *Every) Adapts() bool { return e.Fixed == 0 }

func (e *Every) short(kind yaml.Kind) any {
	if kind == yaml.MappingNode {
		e.Fixed = 0
		return nil
	}
	return &e.Fixed
}

func (e *Every) shown() any {
	var none *Duration
	switch {
	case *e == Every{}: // there is a cron expression instead
		return &none
	case e.Adapts():
		return nil
	}
	return &e.Fixed
}

// Window is a stretch of time that moves along: it begins back before the
// beginning of the current step, and ends ahead after its end.
type Window struct {
	// How far back before the current step the window begins. Default 0s.
	Back Duration `yaml:"back"`
	// How far ahead after the current step the window ends. Default 0s.
	Ahead Duration `yaml:"ahead"`
	// How often a new window begins, at a whole multiple of it in UTC, which is a
	// full read of which only the differences are told; at least 1h. Default 24h.
	Step Duration `yaml:"step"`
}

func (w *Window) setDefaults() { w.Step = 24 * hour }
