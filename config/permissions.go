package config

import (
	"slices"
	"strings"

	"outlook-connector/internal/catalog"
)

// Permission is a permission that a client needs for what is configured.
type Permission struct {
	// Name is the permission that suffices and allows the least.
	Name string
	// AnyOf are all with which it works too, Name among them.
	AnyOf []string
	// For names the subscriptions and publishers that need it.
	For []string
}

// Grants reports whether one of the granted scopes is enough. Scopes may carry
// the resource before their name, as Entra answers for other clouds.
func (p Permission) Grants(scopes []string) bool {
	return slices.ContainsFunc(scopes, func(scope string) bool {
		name := scope[strings.LastIndexByte(scope, '/')+1:]
		return slices.ContainsFunc(p.AnyOf, func(enough string) bool { return strings.EqualFold(enough, name) })
	})
}

// Permissions returns the permissions that a client needs for the configured
// subscriptions and publishers, least privilege, as the catalogue knows them:
// one that another on the list includes is left out. unsupported are entities
// that are configured by name and that Microsoft documents for no permission of
// this kind of access. What depends on single items (such as webhooks) is in
// neither list.
func (c *Config) Permissions(client *Client) (needed []Permission, unsupported []string) {
	n := needs{kind: client.kind()}
	for i := range c.Subscriptions {
		if s := &c.Subscriptions[i]; s.Client == client.Name {
			n.addSubscription(s)
		}
	}
	for i := range c.Publishers {
		p := &c.Publishers[i]
		if p.Client != client.Name {
			continue
		}
		for _, op := range p.Operations() {
			n.add(op, "publisher "+p.Name, p.Path, p.Mailboxes, p.Entity != "")
		}
	}
	return n.least(), n.unsupported
}

// kind is the kind of access that the client's permissions are for.
func (c *Client) kind() catalog.Kind {
	switch {
	case c.AppOnly():
		return catalog.Application
	case strings.EqualFold(c.Tenant, "consumers"), strings.EqualFold(c.Tenant, personalTenant):
		return catalog.DelegatedPersonal
	default:
		return catalog.DelegatedWork
	}
}

// needs gathers permissions.
type needs struct {
	kind        catalog.Kind
	all         []Permission
	unsupported []string
	// whole says that items are wanted with what the ReadBasic permissions hide.
	whole bool
}

// addSubscription adds what a subscription asks for: its entity, and what it
// reads beside that.
func (n *needs) addSubscription(s *Subscription) {
	op := s.Operation()
	if op == nil {
		return
	}
	who, mailboxes := "subscription "+s.Name, s.Mailboxes.List
	if s.Mailboxes.Rule() {
		mailboxes = []string{"*"} // other people's
	}
	n.whole = s.whole()
	defer func() { n.whole = false }()
	n.add(op, who, s.Path, mailboxes, true)
	for _, id := range s.beside(op) {
		if more, err := catalog.Default().Lookup(id); err == nil {
			n.add(more, who, nil, mailboxes, false)
		}
	}
	switch {
	case s.Mailboxes.Group != "":
		n.add(catalog.GroupMembers(), who, nil, []string{"me"}, false)
		n.addNamed("User.ReadBasic.All", who)
	case s.Mailboxes.Users != "":
		n.addNamed("User.ReadBasic.All", who)
	}
}

// hidden are the properties of mails and events that Graph leaves out, without a
// word, where only a ReadBasic permission was granted:
// https://learn.microsoft.com/graph/permissions-reference#mailreadbasic
var hidden = []string{"body", "bodyPreview", "uniqueBody", "attachments", "extensions", "singleValueExtendedProperties", "multiValueExtendedProperties"}

// whole reports whether the subscription asks for one of them, as one that
// selects nothing does.
func (s *Subscription) whole() bool {
	if s.RequestTransform != "" {
		return true // it may ask for anything
	}
	selects := false
	for name, value := range s.Query {
		switch strings.ToLower(strings.TrimPrefix(name, "$")) {
		case "expand":
			return true
		case "select":
			selects = true
			for property := range strings.SplitSeq(value, ",") {
				if slices.ContainsFunc(hidden, func(h string) bool { return strings.EqualFold(h, strings.TrimSpace(property)) }) {
					return true
				}
			}
		}
	}
	return !selects
}

// addNamed adds a permission of the directory, for the names of members.
// https://learn.microsoft.com/graph/api/user-list#permissions
func (n *needs) addNamed(name, who string) {
	n.all = append(n.all, Permission{
		Name: name, For: []string{who},
		AnyOf: []string{name, "User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"},
	})
}

// beside returns the ids of the operations that a subscription uses beside its
// entity: to find folders, to read single items again (those of which only a
// part came, and those that are missing, before they are told as deleted),
// attachments and raw messages.
func (s *Subscription) beside(op *catalog.Operation) []string {
	var ids []string
	if len(s.Folders) > 0 {
		ids = append(ids, map[string]string{
			"mailFolder-id": "mail.folder.delta", "contactFolder-id": "contacts.contactFolder.list",
		}[op.Folder()])
	}
	if s.Hydrate || s.Mode != catalog.ModeSingle && slices.Contains(s.Changes, "deleted") {
		ids = append(ids, single(op))
	}
	if s.Attachments != "none" {
		ids = append(ids, attachmentsOf(op)[s.Attachments]...)
	}
	if s.MIME {
		// It has the attachments in it, and what opens those opens it; the page of
		// getMime is that of the message, with a permission that hides the body.
		ids = append(ids, "mail.message.getMime", "mail.messageAttachment.list")
	}
	return ids
}

// single returns the id of the operation that reads one item of a collection,
// "" where there is none.
func single(op *catalog.Operation) string {
	if id, known := map[string]string{
		"microsoft.graph.message": "mail.message.get", "microsoft.graph.event": "calendar.event.get",
		"microsoft.graph.contact": "contacts.contact.get",
	}[op.Type]; known && !ofGroups(op) {
		return id
	}
	return op.ID[:strings.LastIndexByte(op.ID, '.')+1] + "get"
}

// attachmentsOf returns the operations by which the attachments of an entity's
// items are read, by the value of attachments; nil where they have none.
func attachmentsOf(op *catalog.Operation) map[string][]string {
	prefix := map[string]string{
		"microsoft.graph.message": "mail.messageAttachment", "microsoft.graph.event": "calendar.eventAttachment",
		"microsoft.graph.todoTask": "todo.taskAttachment",
	}[op.Type]
	if prefix == "" || !op.Collection || ofGroups(op) || strings.HasPrefix(op.ID, "extensions.") {
		return nil
	}
	list := prefix + ".list"
	return map[string][]string{
		"list": {list}, "inline": {list, prefix + ".get"}, "blob": {list, prefix + ".getContent"},
	}
}

func (n *needs) add(op *catalog.Operation, who string, path map[string]string, mailboxes []string, named bool) {
	permissions := op.PermissionsFor(path[catalog.TemplateParam])
	if _, group := path["group-id"]; group && op.GroupPermissions != nil {
		permissions = *op.GroupPermissions
	}
	least, enough := permissions.Least(n.kind), permissions.Accepted(n.kind)
	if read := slices.DeleteFunc(slices.Clone(enough), func(name string) bool {
		return strings.HasPrefix(name, "Mail.ReadBasic") || strings.HasPrefix(name, "Calendars.ReadBasic")
	}); n.whole && len(read) > 0 && len(read) < len(enough) {
		least, enough = read[:1], read
	}
	if len(least) == 0 {
		if named && permissions.Known() && len(permissions.ByResource) == 0 && len(enough) == 0 && !slices.Contains(n.unsupported, op.ID) {
			n.unsupported = append(n.unsupported, op.ID)
		}
		return
	}
	for _, name := range slices.Clone(enough) {
		enough = appendNew(enough, wider(name))
	}
	if n.kind != catalog.Application && slices.ContainsFunc(mailboxes, func(m string) bool { return !strings.EqualFold(m, "me") }) {
		// Somebody else's mailbox: https://learn.microsoft.com/graph/outlook-share-messages-folders
		for _, name := range slices.Clone(enough) {
			enough = append(enough, name+".Shared")
		}
	}
	for i := range n.all {
		if known := &n.all[i]; known.Name == least[0] && slices.Equal(known.AnyOf, enough) {
			if !slices.Contains(known.For, who) {
				known.For = append(known.For, who)
			}
			return
		}
	}
	n.all = append(n.all, Permission{Name: least[0], AnyOf: enough, For: []string{who}})
}

// wider returns the permissions that include one by their names, which the pages
// of single operations do not always repeat: ReadBasic < Read < ReadWrite.
// https://learn.microsoft.com/graph/permissions-overview#permissions-naming-pattern
func wider(name string) []string {
	parts := strings.Split(name, ".")
	if len(parts) < 2 {
		return nil
	}
	with := func(operation string) string {
		other := slices.Clone(parts)
		other[1] = operation
		return strings.Join(other, ".")
	}
	switch parts[1] {
	case "ReadBasic":
		return []string{with("Read"), with("ReadWrite")}
	case "Read":
		return []string{with("ReadWrite")}
	default:
		return nil
	}
}

// least returns what is left when every permission is dropped that another one
// includes.
func (n *needs) least() []Permission {
	var list []Permission
	for i, p := range n.all {
		// By what the others are called; of two that include one another, or are
		// the same, the first stays.
		j := slices.IndexFunc(n.all, func(other Permission) bool {
			return other.Name != p.Name && p.Grants([]string{other.Name}) && !other.Grants([]string{p.Name})
		})
		if j >= 0 && j != i {
			continue
		}
		if k := slices.IndexFunc(list, func(other Permission) bool { return p.Grants([]string{other.Name}) }); k >= 0 {
			list[k].For = appendNew(list[k].For, p.For)
			continue
		}
		list = append(list, Permission{Name: p.Name, AnyOf: p.AnyOf, For: slices.Clone(p.For)})
	}
	for _, p := range n.all { // whoever was dropped needs the including one
		for k := range list {
			if p.Grants([]string{list[k].Name}) {
				list[k].For = appendNew(list[k].For, p.For)
				break
			}
		}
	}
	return list
}

func appendNew(list, more []string) []string {
	for _, text := range more {
		if !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return list
}
