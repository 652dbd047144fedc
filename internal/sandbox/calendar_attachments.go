package sandbox

// Attachments of events: files, items and references, with $value and upload
// sessions, read and shown as those of messages are. Adding or removing one
// changes the event; on a date of a series it makes an exception.
// https://learn.microsoft.com/graph/api/event-post-attachments
//
// Left out: attachments in the mails of a meeting and in the attendees' events,
// the files within a message that is an item attachment.

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

const eventAttachment = "eventAttachment"

func eventAttachmentRoutes(one string) []route {
	const own = "calendar.eventAttachment."
	at := one + "/attachments"
	return []route{
		{method: "GET", path: at, handle: (*call).listEventAttachments, as: own + "list"},
		{method: "POST", path: at, handle: (*call).createEventAttachment, as: own + "create"},
		{method: "POST", path: at + "/createUploadSession", handle: (*call).createEventUpload, as: own + "createUploadSession"},
		{method: "GET", path: at + "/{attachment-id}", handle: (*call).getEventAttachment, as: own + "get"},
		{method: "GET", path: at + "/{attachment-id}/$value", handle: (*call).getEventAttachmentContent, as: own + "getContent"},
		{method: "DELETE", path: at + "/{attachment-id}", handle: (*call).deleteEventAttachment, as: own + "delete"},
	}
}

// carrier is an event as something with attachments: a message that has nothing
// but its key and them, so that they are shown and named in one way. It needs the
// lock.
func carrier(box *mailbox, e *entity) *message {
	m := &message{Key: e.Key, Gen: e.Gen}
	for _, x := range box.in(e.Key, eventAttachment) {
		a := &attachment{}
		// What this file wrote can be read.
		_ = json.Unmarshal([]byte(x.hiddenText("attachment")), a)
		a.Key, a.Content = uint32(x.Key), nil
		if a.Kind == fileKind {
			a.Content = newContent(x.Content)
		}
		m.Attachments = append(m.Attachments, a)
	}
	return m
}

// shownEventAttachments renders the attachments of an event for $expand. It
// needs the lock.
func (c *call) shownEventAttachments(e *entity, options query) any {
	at, err := newAttachmentView(&view{box: c.box, immutable: c.prefer.immutable, prefer: c.prefer, call: c}, options)
	if err != nil {
		return nil
	}
	m := carrier(c.box, e)
	list := []any{}
	for _, a := range m.Attachments {
		list = append(list, json.RawMessage(at.append(nil, m, a, "")))
	}
	return list
}

// eventAttachments finds the attachments of the event of the path, and how they
// are to be shown.
func (c *call) eventAttachments() (m *message, at *attachmentView, context string, err error) {
	at, err = newAttachmentView(&view{box: c.box, immutable: c.prefer.immutable, prefer: c.prefer, call: c}, c.query)
	if err != nil {
		return nil, nil, "", err
	}
	c.read(func(*state) {
		var e *entity
		if e, err = c.eventOf(); err == nil {
			m, context = carrier(c.box, e), c.metadata("events('"+c.idOf(e)+"')/attachments")
		}
	})
	return m, at, context, err
}

func (c *call) listEventAttachments() (*Answer, error) {
	m, at, context, err := c.eventAttachments()
	if err != nil {
		return nil, err
	}
	return c.attachmentPage(m, at, context)
}

func (c *call) getEventAttachment() (*Answer, error) {
	m, at, context, err := c.eventAttachments()
	if err != nil {
		return nil, err
	}
	a, err := c.attachmentNamed(m, c.params["attachment-id"])
	if err != nil {
		return nil, err
	}
	head := string(appendString([]byte(`"@odata.context":`), context+"/$entity")) + ","
	return c.jsonAnswer(http.StatusOK, at.append(nil, m, a, head)), nil
}

func (c *call) getEventAttachmentContent() (*Answer, error) {
	m, _, _, err := c.eventAttachments()
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

// attachToEvent adds an attachment to an event, which changes it, and returns the
// attachment's id.
func (t *tx) attachToEvent(c *call, e *entity, a *attachment) string {
	return t.addEventAttachment(c, t.touchEvent(c.box, e), a)
}

// addEventAttachment stores an attachment and returns its id.
func (t *tx) addEventAttachment(c *call, e *entity, a *attachment) string {
	kept := *a
	kept.Content = nil
	x := newEntity(typeNamed(eventAttachment))
	x.Hidden["attachment"] = string(appendJSON(nil, kept))
	if a.Content != nil {
		x.Content = a.Content.bytes
	}
	t.addEntity(c.box, e.Key, x)
	id := attachmentID((&view{box: c.box, immutable: c.prefer.immutable}).id(&message{Key: e.Key, Gen: e.Gen}), uint32(x.Key))
	t.note(c, EffectCreated, nil, id, a.Kind)
	return id
}

// inheritAttachments gives an exception the attachments of its series.
func (t *tx) inheritAttachments(box *mailbox, part *entity) {
	for _, x := range box.in(uint64(part.number("master")), eventAttachment) {
		own := x.clone()
		t.addEntity(box, part.Key, own)
	}
}

// readAttachments reads those that come with a new event.
func readAttachments(v any, now int64) ([]*attachment, error) {
	list, _ := v.([]any)
	var files []*attachment
	for _, one := range list {
		a, err := readAttachment(appendJSON(nil, one), now)
		if err != nil {
			return nil, err
		}
		files = append(files, a)
	}
	return files, nil
}

// touchEvent gives an event another change key, and makes a date of a series an
// exception.
func (t *tx) touchEvent(box *mailbox, e *entity) *entity {
	return t.storeEvent(box, e, e.clone(), []string{"hasAttachments"})
}

func (c *call) createEventAttachment() (*Answer, error) {
	if _, err := c.readObject(); err != nil {
		return nil, err
	}
	a, err := readAttachment(c.body, time.Now().Unix())
	if err != nil {
		return nil, err
	}
	at := &attachmentView{v: &view{box: c.box, immutable: c.prefer.immutable, prefer: c.prefer, call: c}}
	var answer *Answer
	err = c.update(func(t *tx) error {
		e, err := c.eventOf()
		if err != nil {
			return err
		}
		if err := c.matches(e.Seq); err != nil {
			return err
		}
		id := t.attachToEvent(c, e, a)
		if e, err = c.eventOf(); err != nil {
			return err
		}
		m := carrier(c.box, e)
		event := c.idOf(e)
		head := string(appendString([]byte(`"@odata.context":`), c.metadata("events('"+event+"')/attachments/$entity"))) + ","
		answer = c.jsonAnswer(http.StatusCreated, at.append(nil, m, m.Attachments[len(m.Attachments)-1], head))
		answer.Header.Set("Location", c.base+"/v1.0/users('"+c.box.ID+"')/events('"+event+"')/attachments('"+id+"')")
		return nil
	})
	return answer, err
}

func (c *call) deleteEventAttachment() (*Answer, error) {
	err := c.update(func(t *tx) error {
		e, err := c.eventOf()
		if err != nil {
			return err
		}
		before := carrier(c.box, e)
		a, err := c.attachmentNamed(before, c.params["attachment-id"])
		if err != nil {
			return err
		}
		// A date of a series that becomes an exception has copies, in the order of
		// the series'.
		i := slices.Index(before.Attachments, a)
		own := t.touchEvent(c.box, e)
		t.removeEntity(c.box, c.box.in(own.Key, eventAttachment)[i])
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

// createEventUpload opens an upload session.
// https://learn.microsoft.com/graph/api/attachment-createuploadsession
func (c *call) createEventUpload() (*Answer, error) {
	return c.createUpload(uploadRules{
		least: leastUpload, most: mostUpload,
		owner: func() error {
			_, err := c.eventOf()
			return err
		},
		store: func(t *tx, f uploadedFile) (string, error) {
			e, err := c.eventOf()
			if err != nil {
				return "", err
			}
			id := t.attachToEvent(c, e, &attachment{
				Kind: fileKind, Name: f.name, ContentType: firstOf(f.contentType, contentTypeOf(f.name)), ContentID: f.contentID,
				Inline: f.inline, Modified: t.now, Size: len(f.content), Content: newContent(f.content),
			})
			if e, err = c.eventOf(); err != nil {
				return "", err
			}
			return c.base + "/" + uploadPath + "/Users('" + c.box.ID + "')/Events('" + c.idOf(e) + "')/Attachments('" + id + "')", nil
		},
	})
}
