package sandbox

// What a subscription may be about: the messages of a mailbox or a folder, events,
// contacts of the mailbox or a folder, the tasks of a To Do list, a group's
// conversations, each with a $filter.
// https://learn.microsoft.com/graph/outlook-change-notifications-overview

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// subscribed is what the resource of a subscription says.
type subscribed struct {
	box    string // id of the mailbox
	kind   string // message, event, contact, todoTask or conversation
	in     uint64 // the place; 0: anywhere in the mailbox
	filter string
}

// subscribedTo reads a resource and checks that the token may see it. It needs
// the lock.
func (c *call) subscribedTo(st *state, text string) (subscribed, error) {
	path, query, _ := strings.Cut(text, "?")
	unknown := errSubscription("Resource '%s' is not supported for change notifications.", text)
	segs, _, err := splitPath("/v1.0/" + strings.Trim(strings.TrimPrefix(strings.Trim(path, "/"), "v1.0/"), "/"))
	if err != nil || len(segs) < 2 {
		return subscribed{}, unknown
	}
	about, rest, err := c.subscribedBox(st, segs)
	if err != nil {
		return about, err
	}
	// The rest of this function reads ids of that mailbox.
	inner := *c
	inner.box = st.byName[strings.ToLower(about.box)]
	names := make([]string, len(rest))
	for i, s := range rest {
		names[i] = strings.ToLower(s)
	}
	at := func(parts ...string) bool { return len(parts) == len(names) && fits(parts, names) }
	var place *entity
	switch {
	case at("messages"), at("mailfolders", "*", "messages"):
		about.kind = "message"
		if len(rest) == 3 {
			f, err := inner.folderOf(rest[1])
			if err != nil {
				return about, err
			}
			about.in = f.Key
		}
	case at("events"):
		about.kind = "event"
	case at("contacts"):
		about.kind = "contact"
	case at("contactfolders", "*", "contacts"):
		about.kind = "contact"
		place, err = inner.entityNamed("contactFolder", rest[1])
	case at("todo", "lists", "*", "tasks"):
		about.kind = "todoTask"
		place, err = inner.entityNamed("todoTaskList", rest[2])
	case at("conversations"), at("threads"):
		about.kind = "conversation"
	default:
		return about, unknown
	}
	if err != nil {
		return about, err
	}
	if place != nil {
		about.in = place.Key
	}
	if about.filter, err = c.subscribedFilter(&inner, about, query); err != nil {
		return about, err
	}
	return about, c.maySubscribe(about)
}

func fits(parts, names []string) bool {
	for i, p := range parts {
		if p != "*" && p != names[i] {
			return false
		}
	}
	return true
}

// subscribedBox finds the mailbox that the resource begins with.
func (c *call) subscribedBox(st *state, segs []string) (subscribed, []string, error) {
	switch strings.ToLower(segs[0]) {
	case "me":
		if c.token.appOnly() {
			return subscribed{}, nil, errSubscription("A subscription on /me needs a delegated token.")
		}
		return subscribed{box: c.token.OID}, segs[1:], nil
	case "users":
		box := st.mailboxNamed(segs[1])
		switch {
		case box == nil:
			return subscribed{}, nil, newError(404, "ResourceNotFound", "The requested user '%s' is invalid.", segs[1])
		case !c.token.appOnly() && box.ID != c.token.OID:
			// A delegated subscription reaches the own mailbox only.
			return subscribed{}, nil, errAccessDenied()
		}
		return subscribed{box: box.ID}, segs[2:], nil
	case "groups":
		if box := st.groupNamed(segs[1]); box != nil {
			return subscribed{box: box.ID}, segs[2:], nil
		}
	}
	return subscribed{}, nil, errSubscription("The resource must begin with me, users/{id} or groups/{id}.")
}

// subscribedFilter checks the $filter of a resource.
func (c *call) subscribedFilter(inner *call, about subscribed, query string) (string, error) {
	if query == "" {
		return "", nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", errSubscription("The query of the resource cannot be read.")
	}
	for name := range values {
		if !strings.EqualFold(name, "$filter") && !strings.EqualFold(name, "$select") {
			return "", errSubscription("The query option %s is not supported in a subscription.", name)
		}
	}
	text := values.Get("$filter")
	if about.kind == "message" {
		_, err = parseFilter(text, messageFields())
	} else {
		_, err = parseFilter(text, inner.entityFields(&resource{kind: about.kind}))
	}
	return text, err
}

// maySubscribe checks the permission that the resource needs.
func (c *call) maySubscribe(about subscribed) error {
	name := about.kind
	if name == "conversation" {
		name = "groupConversation"
	}
	for _, op := range c.route.operations {
		if p, ok := op.Resource[name]; ok {
			names := p.Delegated
			if c.token.appOnly() {
				names = p.Application
			}
			if slices.ContainsFunc(stronger(names), c.token.has) {
				return nil
			}
			return errAccessDenied()
		}
	}
	return nil
}

// aboutOf reads back what a stored subscription is about.
func aboutOf(e *entity) subscribed {
	var s subscribed
	s.box, _ = e.Hidden["box"].(string)
	s.kind, _ = e.Hidden["kind"].(string)
	s.filter, _ = e.Hidden["filter"].(string)
	in, _ := e.Hidden["in"].(string)
	s.in, _ = strconv.ParseUint(in, 10, 64) // it was written by createSubscription
	return s
}
