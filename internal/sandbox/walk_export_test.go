package sandbox

import (
	"slices"
	"strings"
	"time"
)

// Operation is a documented operation, as the sandbox's own table has it.
type Operation = operation

// Operations lists them.
func Operations() []*Operation { return graphTable().operations }

// LeastPermission is the first permission that the reference names for a template
// of an operation: delegated, or application where there is no delegated one.
func LeastPermission(o *Operation, path string) (name string, application bool) {
	p := o.at(path)
	switch {
	case len(p.Delegated) > 0:
		return p.Delegated[0], false
	case len(p.Application) > 0:
		return p.Application[0], true
	}
	return "", false
}

// OtherRole is an application permission that does not open a template.
func OtherRole(method, path string) string {
	allowed := nodeAt(path).routes[method].allowed.Application
	for _, name := range []string{"Place.Read.All", "Contacts.Read", "Mail.Send"} {
		if !slices.Contains(allowed, name) {
			return name
		}
	}
	panic(path + " is open to everybody")
}

// UsersDelta is a token of the users' delta that was given some time ago.
func (s *Sandbox) UsersDelta(age time.Duration) string {
	var token string
	s.read(func(st *state) {
		token = st.sealToken(deltaToken{Box: st.directory.ID, Kind: "user", After: st.seq, Issued: time.Now().Add(-age).Unix()})
	})
	return token
}

// AllPermissions are all delegated permissions that the reference names.
func AllPermissions() []string {
	seen := map[string]bool{}
	var all []string
	for _, op := range graphTable().operations {
		for _, path := range op.Paths {
			for _, name := range op.at(path).Delegated {
				if !seen[name] {
					seen[name] = true
					all = append(all, name)
				}
			}
		}
	}
	return all
}

// Methods are those that a template has, by hand or not.
func Methods(path string) []string {
	var list []string
	for method := range nodeAt(path).routes {
		list = append(list, method)
	}
	return list
}

// Modelled says that all documented templates of an operation are answered by
// hand.
func Modelled(o *Operation) bool {
	for _, path := range o.Paths {
		if r := nodeAt(path).routes[o.Method]; r == nil || !r.modelled {
			return false
		}
	}
	return true
}

// CanGet says that a path, with ids in it, has a GET.
func CanGet(path string) bool {
	segs, _, err := splitPath("/v1.0" + strings.Replace(path, "/me", "/users/me", 1))
	var m match
	return err == nil && graphTable().root.walk(segs, &m) && m.node.routes["GET"] != nil
}

// nodeAt finds a template in the tree; adding it again changes nothing.
func nodeAt(path string) *node {
	segs, _, err := splitPath("/v1.0" + path)
	if err != nil {
		panic(err)
	}
	var m match
	if !graphTable().root.walk(segs, &m) {
		panic("no template " + path)
	}
	return m.node
}
