package publisher

import (
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"outlook-connector/internal/catalog"
)

// checkNotifications makes sure that a subscription to change notifications tells
// nobody who is not configured of what nobody may read: Graph calls the URL that
// is in it, with what happens in the resource that is in it.
// https://learn.microsoft.com/graph/api/resources/subscription#properties
func (d *definition) checkNotifications(op *catalog.Operation, payload jsontext.Value) error {
	if !strings.HasPrefix(op.ID, "subscriptions.") || len(payload) == 0 {
		return nil
	}
	dec := reparsing(payload)
	defer parsed(dec)
	return dec.eachMember(func(member []byte) error {
		name := string(member)
		value, ok, err := dec.string()
		if !ok {
			return err
		}
		switch strings.ToLower(name) {
		case "notificationurl", "lifecyclenotificationurl":
			return d.checkNotified(name, value)
		case "resource":
			return d.checkResource(value)
		default:
			return nil
		}
	})
}

func (d *definition) checkNotified(name, address string) error {
	u, err := url.Parse(address)
	host := ""
	if err == nil && u.Scheme == "https" && u.User == nil {
		host = strings.TrimSuffix(strings.ToLower(u.Host), ":443")
	}
	if host != "" && slices.ContainsFunc(d.NotificationHosts, func(known string) bool {
		return strings.EqualFold(strings.TrimSuffix(known, ":443"), host)
	}) {
		return nil
	}
	return refuse("host_not_allowed", "%s is %q; the publisher %s may name no such host", name, clip(address), d.Name).
		WithHint("the hosts that may be notified, by https, are listed in limits.notification_hosts of the publisher")
}

// checkResource makes sure that what is subscribed to lies in a mailbox that the
// publisher may use.
func (d *definition) checkResource(resource string) error {
	path := strings.TrimPrefix(resource, "/")
	path, _, _ = strings.Cut(path, "?")
	mailbox, ok := mailboxOf(path)
	if allowed := d.any || ok && d.mailboxes[mailbox]; allowed && !strings.Contains(path, "..") {
		return nil
	}
	return refuse("mailbox_not_allowed", "the resource %q lies in no mailbox of the publisher %s", clip(resource), d.Name).
		WithHint("it may use those listed as its mailboxes in the configuration")
}

// mailboxOf returns the mailbox in which a path without its first slash lies:
// me/…, users/{id}/… or users('id')/….
func mailboxOf(path string) (mailbox string, ok bool) {
	root, rest, _ := strings.Cut(path, "/")
	id, _, _ := strings.Cut(rest, "/")
	if name, key, called := strings.Cut(root, "('"); called {
		if root = name; !strings.HasSuffix(key, "')") {
			return "", false
		}
		id = strings.TrimSuffix(key, "')")
	}
	switch strings.ToLower(root) {
	case "me":
		return "me", true
	case "users", "groups":
		id, err := url.PathUnescape(id)
		id = strings.ToLower(id)
		return id, err == nil && id != "" && id != "me"
	default:
		return "", false
	}
}
