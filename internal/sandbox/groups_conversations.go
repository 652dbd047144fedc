package sandbox

// Conversations of groups and their threads. Modelled: list, get, create, delete
// of conversations; threads below a conversation and of the group as a whole,
// create, update, delete; what they show of their posts (preview, senders, last
// delivery, attachments). A conversation without a thread is no more. Posts and
// replies are in groups_posts.go.
// https://learn.microsoft.com/graph/api/resources/conversation
// https://learn.microsoft.com/graph/api/resources/conversationthread
//
// Left out: the mails that members of a group get who have subscribed to it, the
// group mailbox's own limits, unseen counts. Everybody is a member of every group.

import (
	"net/http"
	"slices"
)

func groupRoutes() []route {
	const conversations = "/groups/{group-id}/conversations"
	const threads = "/groups/{group-id}/threads"
	const below = conversations + "/{conversation-id}/threads"
	routes := slices.Concat(
		conversationResource().routes(conversations), // PATCH has no page
		threadResource().routes(below),
		threadResource().routes(threads),
		senderRoutes(),
	)
	routes = slices.DeleteFunc(routes, func(r route) bool {
		return r.method == http.MethodPatch && r.path == conversations+"/{conversation-id}"
	})
	for _, at := range []string{below, threads} {
		posts := at + "/{conversationThread-id}/posts"
		one := posts + "/{post-id}"
		files := one + "/attachments"
		routes = append(routes,
			route{method: "POST", path: at + "/{conversationThread-id}/reply", handle: (*call).replyToThread},
			route{method: "GET", path: posts, handle: postResource().list},
			route{method: "GET", path: one, handle: postResource().get},
			route{method: "POST", path: one + "/reply", handle: (*call).replyToPost},
			route{method: "POST", path: one + "/forward", handle: (*call).forwardPost},
			route{method: "GET", path: files, handle: postAttachments().list},
			route{method: "GET", path: files + "/{attachment-id}", handle: postAttachments().get},
			route{method: "DELETE", path: files + "/{attachment-id}", handle: postAttachments().delete},
			route{method: "GET", path: files + "/{attachment-id}/$value", handle: (*call).postAttachmentContent},
		)
	}
	return routes
}

func conversationResource() *resource {
	posts := func(c *call, e *entity) []*entity { return c.postsOf(e) }
	return &resource{
		kind: "conversation", param: "conversation-id", set: "conversations", noEffect: true,
		order: newestFirst, show: shownOfPosts(posts),
		expand: map[string]func(*call, *entity, query) any{"threads": func(c *call, e *entity, options query) any {
			return c.objects(threadResource(), c.box.in(e.Key, "conversationThread"), options)
		}},
		creating: func(c *call, t *tx, e *entity, body map[string]any) error {
			threads, err := objectsOf(body, "threads")
			if err != nil {
				return err
			}
			for _, thread := range threads {
				if _, err := c.newPosts(thread); err != nil {
					return err
				}
			}
			return nil
		},
		created: func(c *call, t *tx, e *entity, body map[string]any) error {
			threads, _ := objectsOf(body, "threads") // creating has read them
			for _, body := range threads {
				thread := newEntity(typeNamed("conversationThread"))
				if _, err := thread.write(typeNamed("conversationThread"), body, true); err != nil {
					return err
				}
				if thread.text("topic") == "" {
					thread.Props["topic"] = e.Props["topic"]
				}
				t.addEntity(c.box, e.Key, thread)
				if err := c.addPosts(t, thread, body); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func threadResource() *resource {
	posts := func(c *call, e *entity) []*entity { return c.box.in(e.Key, "post") }
	return &resource{
		kind: "conversationThread", param: "conversationThread-id", set: "threads", noEffect: true,
		order: newestFirst, show: shownOfPosts(posts),
		expand: map[string]func(*call, *entity, query) any{"posts": func(c *call, e *entity, options query) any {
			return c.objects(postResource(), c.box.in(e.Key, "post"), options)
		}},
		place: (*call).conversationKey,
		find:  (*call).threadOf,
		scan: func(c *call) ([]*entity, error) {
			if c.params["conversation-id"] == "" {
				return c.box.all("conversationThread"), nil
			}
			at, err := c.conversationKey()
			return c.box.in(at, "conversationThread"), err
		},
		creating: func(c *call, t *tx, e *entity, body map[string]any) error {
			if _, err := c.newPosts(body); err != nil {
				return err
			}
			if c.params["conversation-id"] == "" { // its conversation comes with it
				conversation := newEntity(typeNamed("conversation"))
				conversation.Props["topic"] = e.Props["topic"]
				t.addEntity(c.box, 0, conversation)
				e.Hidden["conversation"] = float64(conversation.Key)
			}
			return nil
		},
		created: func(c *call, t *tx, e *entity, body map[string]any) error {
			if key, ok := e.Hidden["conversation"].(float64); ok {
				e = e.clone()
				delete(e.Hidden, "conversation")
				e.In = uint64(key)
				t.saveEntity(c.box, e)
			}
			return c.addPosts(t, e, body)
		},
		remove: func(c *call, t *tx, e *entity) error {
			t.removeEntity(c.box, e)
			if conversation := c.box.entities[e.In]; conversation != nil && len(c.box.in(e.In, "conversationThread")) == 0 {
				t.removeEntity(c.box, conversation)
			}
			return nil
		},
	}
}

func newestFirst(a, b *entity) int { return int(b.Born - a.Born) }

// conversationKey is that of the path, or 0.
func (c *call) conversationKey() (uint64, error) {
	if c.params["conversation-id"] == "" {
		return 0, nil
	}
	e, err := c.entityNamed("conversation", c.params["conversation-id"])
	if err != nil {
		return 0, err
	}
	return e.Key, nil
}

// threadOf finds the thread of the path, in the conversation where one is named.
func (c *call) threadOf() (*entity, error) {
	at, err := c.conversationKey()
	if err != nil {
		return nil, err
	}
	if at == 0 {
		return c.entityNamed("conversationThread", c.params["conversationThread-id"])
	}
	return c.entityIn(at, "conversationThread", c.params["conversationThread-id"])
}

// postsOf are all posts of a conversation.
func (c *call) postsOf(conversation *entity) []*entity {
	var list []*entity
	for _, thread := range c.box.in(conversation.Key, "conversationThread") {
		list = append(list, c.box.in(thread.Key, "post")...)
	}
	return list
}

// shownOfPosts are the properties that conversations and threads take from their
// posts.
func shownOfPosts(posts func(*call, *entity) []*entity) map[string]show {
	return map[string]show{
		"hasAttachments": func(c *call, e *entity) any {
			return slices.ContainsFunc(posts(c, e), func(p *entity) bool { return len(c.box.in(p.Key, "postAttachment")) > 0 })
		},
		"lastDeliveredDateTime": func(c *call, e *entity) any {
			last := e.Created
			for _, p := range posts(c, e) {
				last = max(last, p.Created)
			}
			return clock(last)
		},
		"uniqueSenders": func(c *call, e *entity) any {
			list := []any{}
			for _, p := range posts(c, e) {
				name, _ := member(p.Props["sender"], "emailaddress/name").(string)
				if !slices.Contains(list, any(name)) {
					list = append(list, name)
				}
			}
			return list
		},
		"preview": func(c *call, e *entity) any {
			all := posts(c, e)
			if len(all) == 0 {
				return ""
			}
			last := slices.MaxFunc(all, func(a, b *entity) int { return int(a.Born - b.Born) })
			kind, _ := member(last.Props["body"], "contenttype").(string)
			text, _ := member(last.Props["body"], "content").(string)
			return preview(itemBody{ContentType: kind, Content: text})
		},
	}
}

// objectsOf reads a member that is a list of objects.
func objectsOf(body map[string]any, name string) ([]map[string]any, error) {
	list, _ := body[name].([]any)
	objects := make([]map[string]any, 0, len(list))
	for _, item := range list {
		obj, ok := item.(map[string]any)
		if !ok {
			return nil, errBody("Cannot convert a literal of '%s' to the expected type.", name)
		}
		objects = append(objects, obj)
	}
	if len(objects) == 0 {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property '%s' is required.", name)
	}
	return objects, nil
}
