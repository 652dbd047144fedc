package sandbox

// Acts: what the owner of a mailbox does in Outlook itself, many at a time, for
// tests that need a busy life. An act is written as the request to Graph that
// does the same, and means the same; but no application makes it, so no
// permission, limit or control function is asked, and neither the log of requests
// nor the counts have it. The answer lists every write that came of the act, in
// all mailboxes, in the order in which it was made: a ledger of the truth.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Act is one thing that somebody does in a mailbox.
type Act struct {
	// Mailbox is the UPN or object id of who does it.
	Mailbox string `json:"mailbox"`
	// Method and Path are those of the request, the path below the mailbox, such
	// as messages/AAMk…/move, with a query where there is one.
	Method string `json:"method"`
	Path   string `json:"path"`
	// Body is the request's, as JSON.
	Body json.RawMessage `json:"body,omitempty"`
}

// Acted is what became of an act.
type Acted struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body,omitempty"`
	Writes []Write         `json:"writes,omitempty"`
}

// Write is one write of the store.
type Write struct {
	// Seq grows with each write of the sandbox.
	Seq     int64  `json:"seq"`
	Mailbox string `json:"mailbox"` // UPN
	// What is the type: message, mailFolder, event, contact, todoTask, …
	What string `json:"what"`
	// ID is the immutable one. ChangeKey is what the item has after the write;
	// empty where it is gone or its type has none.
	ID        string `json:"id"`
	ChangeKey string `json:"change_key,omitempty"`
	// In is the id of the folder, calendar or list where it lies, or lay when it
	// went; From is where it was before a move.
	In   string `json:"in,omitempty"`
	From string `json:"from,omitempty"`
	Gone bool   `json:"gone,omitempty"`
	// Name is the display name of a mail folder.
	Name string `json:"name,omitempty"`
}

// update is that of the sandbox; an act sees what is written.
func (c *call) update(fn func(t *tx) error) error { return c.updateSeen(fn, c.saw) }

// Act does one thing after the other and says what became of each.
func (s *Sandbox) Act(acts ...Act) []Acted {
	done := make([]Acted, 0, len(acts))
	for _, a := range acts {
		done = append(done, s.act(a))
	}
	return done
}

func (s *Sandbox) act(a Act) (done Acted) {
	target, err := url.Parse("http://sandbox.invalid/v1.0/users/" + url.PathEscape(a.Mailbox) + "/" + strings.TrimPrefix(a.Path, "/"))
	if err != nil {
		return Acted{Status: http.StatusBadRequest, Body: appendJSON(nil, err.Error())}
	}
	header := http.Header{"Content-Type": {"application/json"}, "Prefer": {`IdType="ImmutableId"`}}
	r := &http.Request{
		Method: strings.ToUpper(a.Method), URL: target, Header: header, Host: target.Host,
		Body: io.NopCloser(bytes.NewReader(a.Body)), ContentLength: int64(len(a.Body)),
	}
	c := &call{Sandbox: s, id: newGUID(), header: header, path: target.EscapedPath(), request: r, base: "http://" + target.Host}
	c.clientID = c.id
	c.saw = func(w Write) { done.Writes = append(done.Writes, w) }
	answer, err := c.actOut(r)
	if err != nil {
		ge, ok := errors.AsType[*graphError](err)
		if !ok {
			ge = newError(http.StatusInternalServerError, "ErrorInternalServerError", "%v", err)
		}
		answer = ge.answer(c.id, c.clientID, time.Now())
	}
	done.Status = answer.Status
	if json.Valid(answer.Body) {
		done.Body = answer.Body
	}
	return done
}

// actOut is the part of graph that is left where nobody asks for leave.
func (c *call) actOut(r *http.Request) (*Answer, error) {
	segs, args, err := splitPath(c.path)
	if err != nil {
		return nil, err
	}
	if c.route, err = c.find(c, r.Method, segs, args, &Call{}); err != nil {
		return nil, err
	}
	if c.box, err = c.boxOf(c, c.route.directory); err != nil {
		return nil, err
	}
	c.token = delegated(c.box.Person, "", nil)
	if c.query, err = parseQuery(r.URL.RawQuery); err != nil {
		return nil, err
	}
	c.prefer = parsePrefer(r.Header)
	if c.body, err = readBody(r); err != nil {
		return nil, err
	}
	return c.route.handle(c)
}

// written tells of a record, before it is applied, as a write of the store. ok is
// false for what is no item.
func (st *state) written(r record) (w Write, ok bool) {
	box := st.byName[r.Box]
	if box == nil {
		return w, false
	}
	w.Mailbox = box.UPN
	if f := r.Folder; f != nil || r.NoFolder != 0 {
		w.What, w.Seq, w.Gone = folderKind, r.Seq, f == nil
		key := r.NoFolder
		if f == nil {
			f = &box.folders[key].folderRecord
		} else {
			key, w.Seq = f.Key, f.Seq
		}
		w.ID, w.In, w.Name = makeID(idFolder, box.ID, key, 0), makeID(idFolder, box.ID, f.Parent, 0), f.Name
		return w, true
	}
	h, ok := st.happens(r)
	if !ok {
		return w, false
	}
	w.Gone = h.what == "deleted"
	switch {
	case h.message != nil:
		w.What, w.Seq, w.ID = "message", h.message.Seq, makeID(idImmutable, box.ID, h.message.Key, 0)
	default:
		w.What, w.Seq, w.ID = h.entity.Type, h.entity.Seq, entityID(box, h.entity, true)
	}
	w.In, w.From = box.place(h.in), box.place(h.from)
	if w.From == w.In {
		w.From = ""
	}
	switch {
	case r.Drop != nil:
		w.Seq = r.Drop.Seq
	case r.NoEntity != nil:
		w.Seq = r.NoEntity.Seq
	case h.message != nil || typeNamed(h.entity.Type).etag:
		w.ChangeKey = changeKey(w.Seq)
	}
	return w, true
}

// place is the id of what something lies in.
func (b *mailbox) place(key uint64) string {
	switch {
	case b.folders[key] != nil:
		return makeID(idFolder, b.ID, key, 0)
	case b.entities[key] != nil:
		return entityID(b, b.entities[key], true)
	}
	return ""
}

func (s *Sandbox) controlAct(r *http.Request) (any, error) {
	in, err := readControl[struct {
		Acts []Act `json:"acts"`
	}](r)
	if err == nil && len(in.Acts) == 0 {
		err = fmt.Errorf("acts is missing: a list of mailbox, method, path and body")
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"acts": s.Act(in.Acts...)}, nil
}
