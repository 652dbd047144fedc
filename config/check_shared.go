package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"outlook-connector/internal/catalog"
)

// checkEntity finds an entity, or reports why not.
func (d *document) checkEntity(path, name string) *catalog.Operation {
	const hint = "outlook-connector entities lists them"
	if name == "" {
		d.add(path, hint, "no entity is named")
		return nil
	}
	op, err := catalog.Default().Lookup(name)
	if err != nil {
		if d.filledIn(path) {
			d.add(path, hint, "%s stands for no entity of the catalogue", d.quote(path, name))
		} else {
			d.add(path, hinted(err, hint), "%s", err)
		}
		return nil
	}
	return op
}

func (d *document) checkMethod(path, method string, op *catalog.Operation) {
	if method != op.Method {
		d.add(path, "remove it, or method: "+op.Method, "method: %s is a %s, not a %s", op.ID, op.Method, d.quote(path, method))
	}
}

// checkMailboxes reports mailboxes that cannot be addressed, neither in a
// subject of NATS nor in a path of Graph.
func (d *document) checkMailboxes(path string, mailboxes []string, client *Client, wildcard bool) {
	if len(mailboxes) == 0 && d.nodes[path] != nil {
		d.add(path, "mailboxes: [me]", "mailboxes is empty")
	}
	seen := make(map[string]bool)
	for i, mailbox := range mailboxes {
		at := fmt.Sprintf("%s[%d]", path, i)
		folded := strings.ToLower(mailbox)
		switch {
		case mailbox == "*" && wildcard && len(mailboxes) == 1:
			continue
		case mailbox == "*" && wildcard:
			d.add(at, `mailboxes: ["*"]`, `"*" allows any mailbox and stands alone`)
		case seen[folded]:
			d.add(at, "keep one of them", "the mailbox %s is here twice", d.quote(at, mailbox))
		case folded == "me" && client != nil && client.Grant == grantCredentials:
			d.add(at, "name the users", "me is whoever signed in; with client_credentials nobody does")
		case !validMailbox(mailbox):
			d.add(at, "me, an address such as ann@contoso.com, or an object id", "%s is not a mailbox", d.quote(at, mailbox))
		}
		seen[folded] = true
	}
}

// maxMailbox is the longest address: 64 before the @ and 255 after it.
const maxMailbox = 320

// validMailbox reports whether a mailbox can end a subject: no white space, no
// wildcard, no empty token between dots.
func validMailbox(mailbox string) bool {
	if mailbox == "" || len(mailbox) > maxMailbox || strings.ContainsAny(mailbox, `*>/\?#`) {
		return false
	}
	if strings.ContainsFunc(mailbox, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsGraphic(r) }) {
		return false
	}
	return !slices.Contains(strings.Split(mailbox, "."), "")
}

// allowedHeaders are those that a configuration may set. Everything else is
// the program's own business, the token before all.
func allowedHeaders() []string {
	return []string{"ConsistencyLevel", "If-Match", "If-None-Match", "Prefer"}
}

func (d *document) checkHeaders(path string, headers map[string]string) {
	seen := make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		at := path + "." + name
		folded := strings.ToLower(name)
		value := headers[name]
		switch {
		case !slices.ContainsFunc(allowedHeaders(), func(allowed string) bool { return strings.EqualFold(allowed, name) }):
			d.add(at, "the headers that can be set are "+strings.Join(allowedHeaders(), ", "), "the header %q cannot be set", clip(name))
		case seen[folded]:
			d.add(at, "keep one of them", "the header %s is here twice", name)
		case strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
			d.add(at, "one line of plain ASCII", "the header %s has a line break or another character that cannot be sent", name)
		case strings.TrimSpace(value) == "":
			d.add(at, "give it a value or remove it", "the header %s is empty", name)
		}
		seen[folded] = true
	}
}
