package sandbox

// Messages: list, get, create a draft, update, delete, move, copy,
// permanentDelete. A DELETE moves to Deleted Items, and from there removes. Each
// write changes the etag; If-Match is checked. Subject, body and addresses may
// change in drafts only.
// https://learn.microsoft.com/graph/api/resources/message
//
// Attachments, replies and MIME content are in files of their own (mail_*.go,
// mime*.go). Left out: the 412 that comes without If-Match, which a fault can make.

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// folderOf finds the folder that the path names, by id or well-known name. It
// needs the lock.
func (c *call) folderOf(name string) (*folder, error) {
	if f := c.box.wellKnown[strings.ToLower(name)]; f != nil {
		return f, nil
	}
	id, ok := parseID(name)
	if !ok {
		return nil, errIDMalformed()
	}
	f := c.box.folders[id.key]
	if id.kind != idFolder || id.mailbox != c.box.ID || f == nil {
		return nil, errItemNotFound()
	}
	return f, nil
}

// messageOf finds the message that the path names. It needs the lock.
func (c *call) messageOf() (*message, error) {
	id, ok := parseID(c.params["message-id"])
	if !ok {
		return nil, errIDMalformed()
	}
	m := c.box.messages[id.key]
	if m == nil || id.mailbox != c.box.ID {
		return nil, errItemNotFound()
	}
	switch id.kind {
	case idImmutable:
	case idOrdinary:
		if id.gen != m.Gen { // moved since
			return nil, errItemNotFound()
		}
	default:
		return nil, errIDMalformed()
	}
	if len(c.chain) > 0 {
		f, err := c.folderAt()
		if err != nil {
			return nil, err
		}
		if !c.box.holds(f, m) {
			return nil, errItemNotFound()
		}
	}
	return m, nil
}

// matches checks If-Match against the current change key.
func (c *call) matches(seq int64) error {
	want := c.header.Get("If-Match")
	if want == "" || want == "*" || want == etag(seq) || strings.Trim(want, `"`) == changeKey(seq) {
		return nil
	}
	return newError(http.StatusPreconditionFailed, "ErrorIrresolvableConflict",
		"The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.")
}

func (c *call) listMessages() (*Answer, error) {
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	if c.query.search != "" {
		return c.searchMessages(v)
	}
	f, err := parseFilter(c.query.filter, c.messageFields())
	if err != nil {
		return nil, err
	}
	if err := checkOrder(c.query.orderby, f, messageFields()); err != nil {
		return nil, err
	}
	newestFirst := len(c.query.orderby) == 0 ||
		len(c.query.orderby) == 1 && strings.EqualFold(c.query.orderby[0].property, "receivedDateTime") && c.query.orderby[0].desc
	size, what := c.pageSize(), "messages"
	var page []*message
	total, more := 0, false
	c.read(func(*state) {
		all := c.box.byTime
		if len(c.chain) > 0 {
			var in *folder
			if in, err = c.folderAt(); err != nil {
				return
			}
			all, what = c.box.messagesIn(in), "mailFolders('"+makeID(idFolder, c.box.ID, in.Key, 0)+"')/messages"
		}
		page, total, more = pick(all, f.test, c.query, newestFirst, size)
	})
	if err != nil {
		return nil, err
	}
	b := appendString([]byte(`{"@odata.context":`), c.metadata(what))
	if c.query.count {
		b = strconv.AppendInt(append(b, `,"@odata.count":`...), int64(total), 10)
	}
	b = append(b, `,"value":[`...)
	for i, m := range page {
		if i > 0 {
			b = append(b, ',')
		}
		b = v.append(b, m, "")
	}
	b = append(b, ']')
	if more {
		b = appendString(append(b, `,"@odata.nextLink":`...), c.nextLink(c.query.skip+len(page)))
	}
	return c.jsonAnswer(http.StatusOK, append(b, '}')), nil
}

// pick chooses one page from messages in ascending order of time. Newest first
// without a filter costs no more than the page.
func pick(all []*message, test condition[*message], q query, newestFirst bool, size int) (page []*message, total int, more bool) {
	if newestFirst && test == nil {
		total = len(all)
		for i := total - 1 - q.skip; i >= 0 && len(page) < size; i-- {
			page = append(page, all[i])
		}
		return page, total, q.skip+len(page) < total && len(page) > 0
	}
	var found []*message
	for _, m := range slices.Backward(all) {
		if test == nil || test(m) {
			found = append(found, m)
		}
	}
	if !newestFirst {
		by := compareBy(q.orderby, messageFields())
		slices.SortStableFunc(found, func(a, b *message) int { return cmp.Or(by(a, b), cmp.Compare(a.Key, b.Key)) })
	}
	total = len(found)
	from := min(q.skip, total)
	to := min(from+size, total)
	return found[from:to], total, to < total
}

func (c *call) getMessage() (*Answer, error) {
	v, err := c.view()
	if err != nil {
		return nil, err
	}
	var m *message
	c.read(func(*state) { m, err = c.messageOf() })
	if err != nil {
		return nil, err
	}
	return c.oneMessage(http.StatusOK, v, m), nil
}

func (c *call) oneMessage(status int, v *view, m *message) *Answer {
	head := string(appendString([]byte(`"@odata.context":`), c.metadata("messages/$entity"))) + ","
	a := c.jsonAnswer(status, v.append(nil, m, head))
	a.Header.Set("ETag", etag(m.Seq))
	if status == http.StatusCreated {
		a.Header.Set("Location", c.base+"/v1.0/users('"+c.box.ID+"')/messages('"+v.id(m)+"')")
	}
	return a
}

// newMessage is a draft as it is before a client says anything.
func newMessage() *message {
	return &message{
		IsDraft: true, IsRead: true, Importance: "normal", Inference: "focused",
		Body: itemBody{ContentType: "text"}, Flag: followUp{FlagStatus: "notFlagged"},
	}
}

// write puts the members of a body into a message and lists their names.
func writeMessage(m *message, obj map[string]json.RawMessage, draft bool) ([]string, error) {
	var touched []string
	for _, name := range slices.Sorted(maps.Keys(obj)) { // so that the same body is refused for the same reason
		raw := obj[name]
		p := propertyNamed(name)
		var write func(*message, json.RawMessage) error
		if p != nil {
			write = p.write
		}
		if name == "attachments" {
			write = writeAttachments
		}
		switch {
		case strings.Contains(name, "@odata."):
			continue // an annotation
		case name == "id":
			continue
		case p == nil:
			return nil, errBody("The property '%s' does not exist on type 'Microsoft.OutlookServices.Message'. Make sure to only use property names that are defined by the type or mark the type as open type.", name)
		case write == nil:
			continue
		case p.draft && !draft:
			return nil, newError(http.StatusBadRequest, "ErrorInvalidPropertySet",
				"The property '%s' can be changed while the message is a draft only.", name)
		}
		if err := write(m, raw); err != nil {
			return nil, err
		}
		touched = append(touched, p.name)
		if name == "body" {
			touched = append(touched, "bodyPreview")
		}
	}
	return touched, nil
}

func (c *call) createMessage() (*Answer, error) {
	v, err := c.viewOf(nil, "")
	if err != nil {
		return nil, err
	}
	m := newMessage()
	var extensions []*entity
	if c.isMIME() {
		if c.params["mailFolder-id"] != "" {
			return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "MIME content is taken at /messages only.")
		}
		if err = readMIME(m, c.body); err != nil {
			return nil, err
		}
	} else {
		obj, err := c.readObject()
		if err != nil {
			return nil, err
		}
		if extensions, err = takeExtensions(obj); err != nil {
			return nil, err
		}
		if len(extensions) > 0 { // the answer shows what came with the message
			if v, err = c.viewOf(nil, "extensions"); err != nil {
				return nil, err
			}
		}
		if _, err := writeMessage(m, obj, true); err != nil {
			return nil, err
		}
		m.readFlags()
	}
	err = c.update(func(t *tx) error {
		f := c.box.wellKnown["drafts"]
		if len(c.chain) > 0 {
			var err error
			if f, err = c.folderAt(); err != nil {
				return err
			}
		}
		if err := refuseSearchFolder(f); err != nil {
			return err
		}
		c.signAs(m)
		t.thread(c.box, m)
		t.addMessage(c.box, f.Key, m)
		t.putExtensions(c.box, m.Key, extensions)
		t.note(c, EffectCreated, m, v.id(m), "message")
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.oneMessage(http.StatusCreated, v, m), nil
}

// signAs fills in what the service sets on a message that a client writes.
func (c *call) signAs(m *message) {
	self := &recipient{address{c.box.Name(), c.box.UPN}}
	if m.From == nil {
		m.From = self
	}
	if m.Sender == nil {
		m.Sender = self
	}
	if m.InternetID == "" {
		m.InternetID = newInternetID()
	}
}

func newInternetID() string {
	return "<" + strings.ToUpper(strings.ReplaceAll(newGUID(), "-", "")) + "@" + DefaultDomain + ">"
}

func (c *call) updateMessage() (*Answer, error) {
	v, err := c.viewOf(nil, "")
	if err != nil {
		return nil, err
	}
	obj, err := c.readObject()
	if err != nil {
		return nil, err
	}
	var m *message
	err = c.update(func(t *tx) error {
		old, err := c.messageOf()
		if err != nil {
			return err
		}
		if err := c.matches(old.Seq); err != nil {
			return err
		}
		fresh := *old
		touched, err := writeMessage(&fresh, obj, old.IsDraft)
		if err != nil {
			return err
		}
		if topic(fresh.Subject) != topic(old.Subject) { // another topic is another conversation
			fresh.Conversation = makeID(0x10, c.box.ID, t.newKey(), 0)
			touched = append(touched, "conversationId")
		}
		m = &fresh
		t.saveMessage(c.box, m, touched...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.oneMessage(http.StatusOK, v, m), nil
}

func (c *call) deleteMessage() (*Answer, error) {
	return c.remove(false)
}

func (c *call) permanentDeleteMessage() (*Answer, error) {
	return c.remove(true)
}

func (c *call) remove(forGood bool) (*Answer, error) {
	err := c.update(func(t *tx) error {
		m, err := c.messageOf()
		if err != nil {
			return err
		}
		if err := c.matches(m.Seq); err != nil {
			return err
		}
		bin := c.box.wellKnown["deleteditems"]
		if forGood || c.inside(m.Folder, bin) {
			t.dropMessage(c.box, m)
			return nil
		}
		t.move(c.box, m, bin)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Answer{Status: http.StatusNoContent}, nil
}

// inside says whether the folder is the other one or below it.
func (c *call) inside(key uint64, top *folder) bool {
	for range len(c.box.folders) {
		if key == top.Key {
			return true
		}
		f := c.box.folders[key]
		if f == nil {
			return false
		}
		key = f.Parent
	}
	return false
}

func (t *tx) move(box *mailbox, m *message, to *folder) *message {
	if m.Folder == to.Key {
		return m
	}
	moved := *m
	moved.Folder = to.Key
	t.saveMessage(box, &moved)
	return &moved
}

func (c *call) moveMessage() (*Answer, error) {
	return c.transfer("move", func(t *tx, m *message, to *folder) *message { return t.move(c.box, m, to) })
}

func (c *call) copyMessage() (*Answer, error) {
	return c.transfer("copy", func(t *tx, m *message, to *folder) *message {
		fresh := t.duplicate(c.box, m, to.Key)
		v := view{box: c.box, immutable: c.prefer.immutable}
		t.note(c, EffectCreated, fresh, v.id(fresh), "message")
		return fresh
	})
}

func (c *call) transfer(action string, do func(t *tx, m *message, to *folder) *message) (*Answer, error) {
	v, err := c.viewOf(nil, "")
	if err != nil {
		return nil, err
	}
	params, err := c.readParameters(action, "destinationId")
	if err != nil {
		return nil, err
	}
	var dest string
	if raw, ok := params["destinationId"]; !ok || readValue(raw, "Edm.String", &dest) != nil || dest == "" {
		return nil, newError(http.StatusBadRequest, "ErrorInvalidRequest", "The parameter 'destinationId' is required.")
	}
	var m *message
	err = c.update(func(t *tx) error {
		old, err := c.messageOf()
		if err != nil {
			return err
		}
		to, err := c.folderOf(dest)
		if err != nil {
			return err
		}
		if err := refuseSearchFolder(to); err != nil {
			return err
		}
		m = do(t, old, to)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c.oneMessage(http.StatusCreated, v, m), nil
}

// decodeBase64 reads base64 that may be broken over lines, as MIME clients send
// it.
func decodeBase64(b []byte) ([]byte, error) {
	clean := strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == ' ' {
			return -1
		}
		return r
	}, string(b))
	return base64.StdEncoding.DecodeString(clean)
}
