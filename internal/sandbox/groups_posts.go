package sandbox

// Posts of threads: list, get, reply (to a thread or a post), forward, and their
// attachments (file, item and reference; list, get, $value, delete). A post is
// the signed-in person's, or the group's own where nobody is signed in. Each post is
// in the ledger as sent, with What "post"; a forwarded one goes into the inboxes of
// its recipients.
// https://learn.microsoft.com/graph/api/resources/post
//
// Left out: mail to members and newParticipants, inReplyTo, MIME of posts, upload
// sessions.

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

func postResource() *resource {
	return &resource{
		kind: "post", param: "post-id", set: "posts",
		place: func(c *call) (uint64, error) {
			thread, err := c.threadOf()
			if err != nil {
				return 0, err
			}
			return thread.Key, nil
		},
		show: map[string]show{
			"receivedDateTime":     func(_ *call, e *entity) any { return clock(e.Created) },
			"hasAttachments":       func(c *call, e *entity) any { return len(c.box.in(e.Key, "postAttachment")) > 0 },
			"conversationThreadId": func(c *call, e *entity) any { return c.idOf(c.box.entities[e.In]) },
			"conversationId": func(c *call, e *entity) any {
				return c.idOf(c.box.entities[c.box.entities[e.In].In])
			},
		},
		expand: map[string]func(*call, *entity, query) any{"attachments": func(c *call, e *entity, options query) any {
			return c.objects(postAttachments(), c.box.in(e.Key, "postAttachment"), options)
		}},
	}
}

// newPost is a post as a body describes it, with what comes with it, before it is
// stored.
type newPost struct {
	post       *entity
	files      []*entity
	extensions []*entity
}

// newPosts checks the posts of a new thread.
func (c *call) newPosts(thread map[string]any) ([]newPost, error) {
	bodies, err := objectsOf(thread, "posts")
	if err != nil {
		return nil, err
	}
	list := make([]newPost, 0, len(bodies))
	for _, body := range bodies {
		p, err := c.newPost(body)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func (c *call) newPost(body map[string]any) (newPost, error) {
	p := newPost{post: newEntity(typeNamed("post"))}
	if _, err := p.post.write(typeNamed("post"), body, true); err != nil {
		return p, err
	}
	if p.post.Props["body"] == nil {
		return p, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The property 'body' is required.")
	}
	who := address{c.box.Name(), c.box.UPN}
	if box := c.state.mailboxNamed(c.token.OID); box != nil {
		who = address{box.Name(), box.UPN}
	}
	from := map[string]any{"emailAddress": map[string]any{"name": who.Name, "address": who.Address}}
	p.post.Props["from"], p.post.Props["sender"] = from, from
	var err error
	if p.extensions, err = readExtensions(body["extensions"]); err != nil {
		return p, err
	}
	list, _ := body["attachments"].([]any)
	for _, item := range list {
		obj, _ := item.(map[string]any)
		file, err := newPostAttachment(obj)
		if err != nil {
			return p, err
		}
		p.files = append(p.files, file)
	}
	return p, nil
}

// addPosts stores the posts of a new thread.
func (c *call) addPosts(t *tx, thread *entity, body map[string]any) error {
	list, err := c.newPosts(body)
	for _, p := range list {
		c.addPost(t, thread, p)
	}
	return err
}

func (c *call) addPost(t *tx, thread *entity, p newPost) {
	t.addEntity(c.box, thread.Key, p.post)
	for _, file := range p.files {
		t.addEntity(c.box, p.post.Key, file)
	}
	for _, x := range p.extensions {
		t.putExtension(c.box, p.post.Key, x)
	}
	c.notePost(t, p.post, thread.text("topic"), []string{c.box.UPN}, nil)
}

// notePost writes a post that was sent.
func (c *call) notePost(t *tx, post *entity, subject string, to, delivered []string) {
	t.do(record{Effect: &Effect{
		Kind: EffectSent, Time: time.Now().UTC(), RequestID: c.id, ClientRequestID: c.header.Get("client-request-id"),
		App: c.token.AppID, Mailbox: c.box.UPN, Item: c.idOf(post), What: "post", Subject: subject, Recipients: to, Delivered: delivered,
	}})
}

// replyToThread: https://learn.microsoft.com/graph/api/conversationthread-reply
func (c *call) replyToThread() (*Answer, error) {
	return c.replyWithPost(func() error { return nil })
}

// replyToPost: https://learn.microsoft.com/graph/api/post-reply
func (c *call) replyToPost() (*Answer, error) {
	return c.replyWithPost(func() error { _, err := postResource().one(c); return err })
}

// replyWithPost adds the post of the parameters to the thread of the path.
func (c *call) replyWithPost(check func() error) (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	var post map[string]any
	for name, v := range body {
		if !strings.EqualFold(name, "post") {
			return nil, errBody("The parameter '%s' in the request payload is not a valid parameter for the operation 'reply'.", name)
		}
		post, _ = v.(map[string]any)
	}
	if post == nil {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The parameter 'Post' is required.")
	}
	err = c.update(func(t *tx) error {
		thread, err := c.threadOf()
		if err != nil {
			return err
		}
		if err := check(); err != nil {
			return err
		}
		p, err := c.newPost(post)
		if err != nil {
			return err
		}
		if thread.flag("isLocked") {
			return newError(http.StatusForbidden, "ErrorAccessDenied", "The thread is locked.")
		}
		c.addPost(t, thread, p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.accepted(), nil
}

// forwardPost: https://learn.microsoft.com/graph/api/post-forward
func (c *call) forwardPost() (*Answer, error) {
	body, err := c.readMembers()
	if err != nil {
		return nil, err
	}
	comment := ""
	m := newMessage()
	for name, v := range body {
		switch strings.ToLower(name) {
		case "comment":
			comment, _ = v.(string)
		case "torecipients":
			list, err := (&field{name: "toRecipients", kind: "recipient", list: true}).checkValue(v)
			if err != nil {
				return nil, err
			}
			items, _ := list.([]any)
			for _, item := range items {
				name, _ := member(item, "emailaddress/name").(string)
				to, _ := member(item, "emailaddress/address").(string)
				m.To = append(m.To, recipient{address{name, to}})
			}
		default:
			return nil, errBody("The parameter '%s' in the request payload is not a valid parameter for the operation 'forward'.", name)
		}
	}
	if len(m.To) == 0 {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid., A message can't be sent because it contains no recipients.")
	}
	err = c.update(func(t *tx) error {
		post, err := postResource().one(c)
		if err != nil {
			return err
		}
		kind, _ := member(post.Props["body"], "contenttype").(string)
		text, _ := member(post.Props["body"], "content").(string)
		m.Subject = "FW: " + c.box.entities[post.In].text("topic")
		m.Body = itemBody{ContentType: kind, Content: comment + "\n\n" + text}
		m.Preview = preview(m.Body)
		m.From = &recipient{address{c.box.Name(), c.box.UPN}}
		m.Sender, m.IsDraft = m.From, false
		m.InternetID = "<" + newGUID() + "@" + DefaultDomain + ">"
		var to, delivered []string
		for _, r := range m.To {
			name := strings.ToLower(r.EmailAddress.Address)
			if slices.Contains(to, name) {
				continue
			}
			to = append(to, name)
			if box := t.mailboxNamed(name); box != nil {
				delivered = append(delivered, name)
				t.deliver(box, m)
			}
		}
		c.notePost(t, post, m.Subject, to, delivered)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusOK}, nil
}

// Attachments of posts.

func postAttachments() *resource {
	return &resource{
		kind: "postAttachment", param: "attachment-id", set: "attachments",
		place: func(c *call) (uint64, error) {
			post, err := postResource().one(c)
			if err != nil {
				return 0, err
			}
			return post.Key, nil
		},
		show: map[string]show{
			"contentBytes": func(_ *call, e *entity) any {
				if e.Content == nil {
					return nil
				}
				return base64.StdEncoding.EncodeToString(e.Content)
			},
			"size": func(_ *call, e *entity) any { return max(len(e.Content), len(appendJSON(nil, e.Props["item"]))) },
		},
	}
}

// newPostAttachment reads an attachment of a new post.
func newPostAttachment(body map[string]any) (*entity, error) {
	name, _ := body["@odata.type"].(string)
	kind := strings.TrimPrefix(name, "#microsoft.graph.")
	if !slices.Contains([]string{"fileAttachment", "itemAttachment", "referenceAttachment"}, kind) {
		return nil, errBody("Cannot create an instance of the type '%s'. The @odata.type of an attachment must name one of its derived types.", name)
	}
	e := newEntity(typeNamed("postAttachment"))
	if _, err := e.write(typeNamed("postAttachment"), body, true); err != nil {
		return nil, err
	}
	text, given := e.Props["contentBytes"].(string)
	if kind == "fileAttachment" && !given {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "A file attachment needs name and contentBytes.")
	}
	if given {
		e.Content, _ = base64.StdEncoding.DecodeString(text) // the type has checked it
		delete(e.Props, "contentBytes")
	}
	e.Hidden["@odata.type"] = "#microsoft.graph." + kind
	return e, nil
}

// postAttachmentContent answers $value.
func (c *call) postAttachmentContent() (*Answer, error) {
	var e *entity
	var err error
	c.read(func(*state) { e, err = postAttachments().one(c) })
	switch {
	case err != nil:
		return nil, err
	case e.Content == nil:
		return c.jsonAnswer(http.StatusOK, appendJSON(nil, e.Props["item"])), nil
	}
	kind := e.text("contentType")
	if kind == "" {
		kind = "application/octet-stream"
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: e.Content}, nil
}
