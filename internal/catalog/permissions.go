package catalog

import "slices"

// Kind is the kind of access that a permission is for. A permission of one kind
// says nothing about another:
// https://learn.microsoft.com/graph/permissions-overview
type Kind string

// The kinds.
const (
	// DelegatedWork is a signed-in work or school account.
	DelegatedWork Kind = "delegated_work"
	// DelegatedPersonal is a signed-in personal Microsoft account.
	DelegatedPersonal Kind = "delegated_personal"
	// Application is the app by itself, without a user.
	Application Kind = "application"
)

// Scopes lists permissions per kind. An empty list means that the kind is not
// supported, unless the permissions are not known at all.
type Scopes struct {
	DelegatedWork     []string `json:"delegated_work,omitempty"`
	DelegatedPersonal []string `json:"delegated_personal,omitempty"`
	Application       []string `json:"application,omitempty"`
}

// For returns the permissions of one kind, nil for an unknown kind.
func (s Scopes) For(kind Kind) []string {
	switch kind {
	case DelegatedWork:
		return s.DelegatedWork
	case DelegatedPersonal:
		return s.DelegatedPersonal
	case Application:
		return s.Application
	default:
		return nil
	}
}

// Permissions says which permissions an operation takes.
type Permissions struct {
	// LeastPrivileged is the permission that suffices and allows the least.
	LeastPrivileged Scopes `json:"least,omitzero"`
	// AlsoAccepted are the others with which the operation works too.
	AlsoAccepted Scopes `json:"also_accepted,omitzero"`
	// DependsOn says in words on what the permissions hang where they differ
	// from item to item; ByResource then has them per kind of item.
	DependsOn string `json:"depends_on,omitempty"`
	// ByResource maps a kind of item ("message", "event", "groupPost") to its
	// least privileged permissions.
	ByResource map[string]Scopes `json:"by_resource,omitempty"`
	// Source names where the facts come from; empty means that they are not
	// known.
	Source string `json:"source,omitempty"`
}

// Known reports whether anything is known about the permissions. Where it is
// not, an empty list does not mean "not supported".
func (p Permissions) Known() bool { return p.Source != "" }

// Least returns the least privileged permission for a kind of access; any one
// of the returned names suffices. It is empty where the kind is not supported,
// where nothing is known, and where it depends on the item (see
// [Permissions.ByResource]).
func (p Permissions) Least(kind Kind) []string { return p.LeastPrivileged.For(kind) }

// Accepted returns every permission that suffices for a kind of access, the
// least privileged first.
func (p Permissions) Accepted(kind Kind) []string {
	return slices.Concat(p.LeastPrivileged.For(kind), p.AlsoAccepted.For(kind))
}

// PermissionsFor returns the permissions of a template of this operation, such
// as [Target.Template]: those of the group paths may differ from the rest.
func (op *Operation) PermissionsFor(template string) Permissions {
	if op.GroupPermissions != nil && rootOf(template) == rootGroup {
		return *op.GroupPermissions
	}
	return op.Permissions
}
