package sandbox

// Attachments of messages by their own paths: list, get, $value, create, delete,
// upload sessions. They may be added to and taken from any message, also one that
// has been received; each such write gives the message another change key. A file
// in a request is bounded by the 4 MB of requests.
// https://learn.microsoft.com/graph/api/message-list-attachments

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mailActionRoutes are the routes of messages beside the plain ones: attachments,
// MIME, counts, replies.
func mailActionRoutes() []route {
	var routes []route
	for _, at := range []string{"~/messages", "~/mailFolders/{mailFolder-id}/messages"} {
		one := at + "/{message-id}"
		routes = append(routes,
			route{method: "GET", path: at + "/$count", handle: (*call).countMessages, as: "mail.message.list"},
			route{method: "GET", path: one + "/$value", handle: (*call).getMIME},
			route{method: "GET", path: one + "/attachments", handle: (*call).listAttachments},
			route{method: "POST", path: one + "/attachments", handle: (*call).createAttachment},
			route{method: "GET", path: one + "/attachments/$count", handle: (*call).countAttachments, as: "mail.messageAttachment.list"},
			route{method: "POST", path: one + "/attachments/createUploadSession", handle: (*call).createMessageUpload, as: "mail.messageAttachment.createUploadSession"},
			route{method: "GET", path: one + "/attachments/{attachment-id}", handle: (*call).getAttachment},
			route{method: "GET", path: one + "/attachments/{attachment-id}/$value", handle: (*call).getAttachmentContent},
			route{method: "DELETE", path: one + "/attachments/{attachment-id}", handle: (*call).deleteAttachment},
			route{method: "POST", path: one + "/reply", handle: (*call).reply},
			route{method: "POST", path: one + "/replyAll", handle: (*call).replyAll},
			route{method: "POST", path: one + "/forward", handle: (*call).forward},
			route{method: "POST", path: one + "/createReply", handle: (*call).createReply},
			route{method: "POST", path: one + "/createReplyAll", handle: (*call).createReplyAll},
			route{method: "POST", path: one + "/createForward", handle: (*call).createForward},
		)
	}
	return routes
}

// attachmentsOf finds the message of the path and how its attachments are to be
// shown.
func (c *call) attachmentsOf() (*message, *attachmentView, error) {
	at, err := newAttachmentView(&view{box: c.box, immutable: c.prefer.immutable, prefer: c.prefer, call: c}, c.query)
	if err != nil {
		return nil, nil, err
	}
	var m *message
	c.read(func(*state) { m, err = c.messageOf() })
	return m, at, err
}

func (c *call) attachmentContext(m *message) string {
	v := view{box: c.box, immutable: c.prefer.immutable}
	return c.metadata("messages('" + v.id(m) + "')/attachments")
}

func (c *call) listAttachments() (*Answer, error) {
	m, at, err := c.attachmentsOf()
	if err != nil {
		return nil, err
	}
	return c.attachmentPage(m, at, c.attachmentContext(m))
}

// attachmentPage answers with a page of the attachments of a message, or of what
// stands for one.
func (c *call) attachmentPage(m *message, at *attachmentView, context string) (*Answer, error) {
	if c.query.filter != "" || len(c.query.orderby) > 0 {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidUrlQuery", "$filter and $orderby are not supported for attachments.")
	}
	total := len(m.Attachments)
	from := min(c.query.skip, total)
	to := total // all, unless fewer are asked for
	if c.query.top > 0 || c.prefer.pageSize > 0 {
		to = min(from+c.pageSize(), total)
	}
	b := appendString([]byte(`{"@odata.context":`), context)
	if c.query.count {
		b = strconv.AppendInt(append(b, `,"@odata.count":`...), int64(total), 10)
	}
	b = append(b, `,"value":[`...)
	for i, a := range m.Attachments[from:to] {
		if i > 0 {
			b = append(b, ',')
		}
		b = at.append(b, m, a, "")
	}
	b = append(b, ']')
	if to < total {
		b = appendString(append(b, `,"@odata.nextLink":`...), c.nextLink(to))
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}

func (c *call) oneAttachment(status int, at *attachmentView, m *message, a *attachment) *Answer {
	head := string(appendString([]byte(`"@odata.context":`), c.attachmentContext(m)+"/$entity")) + ","
	return c.jsonAnswer(status, at.append(nil, m, a, head))
}

func (c *call) getAttachment() (*Answer, error) {
	m, at, err := c.attachmentsOf()
	if err != nil {
		return nil, err
	}
	a, err := c.attachmentNamed(m, c.params["attachment-id"])
	if err != nil {
		return nil, err
	}
	return c.oneAttachment(http.StatusOK, at, m, a), nil
}

func (c *call) getAttachmentContent() (*Answer, error) {
	m, _, err := c.attachmentsOf()
	if err != nil {
		return nil, err
	}
	a, err := c.attachmentNamed(m, c.params["attachment-id"])
	if err != nil {
		return nil, err
	}
	kind := firstOf(a.ContentType, "application/octet-stream")
	switch {
	case a.Kind == referenceKind:
		return nil, newError(http.StatusMethodNotAllowed, "ErrorInvalidRequest", "The content of a reference attachment is not kept with the item.")
	case a.Message != nil:
		kind = "text/plain"
	case a.Item != nil:
		kind = a.itemType()
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {kind}}, Body: a.raw()}, nil
}

func (c *call) createAttachment() (*Answer, error) {
	if _, err := c.readObject(); err != nil {
		return nil, err
	}
	a, err := readAttachment(c.body, time.Now().Unix())
	if err != nil {
		return nil, err
	}
	at := &attachmentView{v: &view{box: c.box, immutable: c.prefer.immutable, prefer: c.prefer, call: c}}
	var m *message
	err = c.update(func(t *tx) error {
		old, err := c.messageOf()
		if err != nil {
			return err
		}
		if err := c.matches(old.Seq); err != nil {
			return err
		}
		m = c.addAttachment(t, old, a)
		return nil
	})
	if err != nil {
		return nil, err
	}
	answer := c.oneAttachment(http.StatusCreated, at, m, m.Attachments[len(m.Attachments)-1])
	answer.Header.Set("Location", c.attachmentURL(c.base+"/v1.0/users('"+c.box.ID+"')/messages('%s')/attachments('%s')", m))
	return answer, nil
}

// attachmentURL puts the ids of the message and of its newest attachment into an
// address.
func (c *call) attachmentURL(format string, m *message) string {
	id := (&view{box: c.box, immutable: c.prefer.immutable}).id(m)
	return fmt.Sprintf(format, id, attachmentID(id, m.Attachments[len(m.Attachments)-1].Key))
}

func (c *call) addAttachment(t *tx, old *message, a *attachment) *message {
	fresh := *old
	fresh.attach(a)
	t.saveMessage(c.box, &fresh, "hasAttachments")
	v := view{box: c.box, immutable: c.prefer.immutable}
	t.note(c, EffectCreated, &fresh, attachmentID(v.id(&fresh), fresh.Attached), a.Kind)
	return &fresh
}

func (c *call) deleteAttachment() (*Answer, error) {
	err := c.update(func(t *tx) error {
		old, err := c.messageOf()
		if err != nil {
			return err
		}
		a, err := c.attachmentNamed(old, c.params["attachment-id"])
		if err != nil {
			return err
		}
		if err := c.matches(old.Seq); err != nil {
			return err
		}
		fresh := *old
		fresh.Attachments = slices.DeleteFunc(slices.Clone(old.Attachments), func(o *attachment) bool { return o == a })
		t.saveMessage(c.box, &fresh, "hasAttachments")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

// createMessageUpload begins the upload of a large file.
func (c *call) createMessageUpload() (*Answer, error) {
	if !c.token.appOnly() && c.token.OID != c.box.ID {
		// https://learn.microsoft.com/graph/known-issues: with delegated permissions
		// large files cannot be attached in a shared mailbox.
		return nil, errAccessDenied()
	}
	key := uint64(0)
	return c.createUpload(uploadRules{
		least: leastUpload, most: mostUpload,
		owner: func() error {
			m, err := c.messageOf()
			if err == nil {
				key = m.Key
			}
			return err
		},
		store: func(t *tx, f uploadedFile) (string, error) {
			// By its key: it may have moved since.
			m := c.box.messages[key]
			if m == nil {
				return "", errItemNotFound()
			}
			m = c.addAttachment(t, m, &attachment{
				Kind: fileKind, Name: f.name, ContentType: firstOf(f.contentType, contentTypeOf(f.name)), ContentID: f.contentID,
				Inline: f.inline, Modified: t.now, Size: len(f.content), Content: newContent(f.content),
			})
			return c.attachmentURL(c.base+"/"+uploadPath+"/Users('"+c.box.ID+"')/Messages('%s')/Attachments('%s')", m), nil
		},
	})
}

// getMIME answers a message as a mail.
// https://learn.microsoft.com/graph/outlook-get-mime-message
func (c *call) getMIME() (*Answer, error) {
	if c.basic() { // the content has the body in it
		return nil, errAccessDenied()
	}
	var m *message
	var err error
	c.read(func(*state) { m, err = c.messageOf() })
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}, "ETag": {etag(m.Seq)}}, Body: m.writeMIME(!m.Arrived)}, nil
}

func plainNumber(n int) *Answer {
	return &Answer{Status: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}}, Body: strconv.AppendInt(nil, int64(n), 10)}
}

// countMessages answers the $count segment.
func (c *call) countMessages() (*Answer, error) {
	f, err := parseFilter(c.query.filter, messageFields())
	if err != nil {
		return nil, err
	}
	n := 0
	c.read(func(*state) {
		all := c.box.byTime
		if len(c.chain) > 0 {
			var in *folder
			if in, err = c.folderAt(); err != nil {
				return
			}
			all = c.box.messagesIn(in)
		}
		if f.test == nil {
			n = len(all)
			return
		}
		for _, m := range all {
			if f.test(m) {
				n++
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return plainNumber(n), nil
}

func (c *call) countAttachments() (*Answer, error) {
	m, _, err := c.attachmentsOf()
	if err != nil {
		return nil, err
	}
	return plainNumber(len(m.Attachments)), nil
}

// sameMail compares addresses as mail servers do.
func sameMail(a, b string) bool {
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}
