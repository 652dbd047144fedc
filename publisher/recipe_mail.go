package publisher

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// The recipes of mails. Graph has no key for sending: whatever takes a mail in one
// request sends it twice when it is asked twice. But a draft can be made first,
// marked, and then sent by its id; and a mail that carries a marker is found
// again, in Drafts or where it went. So a mail is sent by two requests, and what
// nobody knows of is looked up and not repeated.
// https://learn.microsoft.com/graph/api/message-send
//
// What it rests on: that Exchange takes one draft once. Two requests to send one
// draft can only meet where a worker was frozen between its last look at the
// clock and the request for longer than things take to settle.

// The steps of mails.
const (
	stepDraft  = "draft"
	stepMark   = "mark"
	stepAttach = "attach"
	stepSend   = "send"
)

// The operations that mails are made of.
const (
	opSendMail    = "mail.message.sendMail"
	opSend        = "mail.message.send"
	opCreate      = "mail.message.create"
	opGet         = "mail.message.get"
	opCopy        = "mail.message.copy"
	opUpdate      = "mail.message.update"
	opDelete      = "mail.message.delete"
	opList        = "mail.message.list"
	opGetFolder   = "mail.folder.get"
	opListInside  = "mail.folder.listMessages"
	paramMessage  = "message-id"
	paramFolder   = "mailFolder-id"
	fieldsOfMail  = "id,isDraft,parentFolderId,internetMessageId"
	foundAtMost   = "10"
	weakerNoCopy  = "saveToSentItems is false: a mail of which no copy is kept cannot be found again, so it is sent at most once"
	weakerNoDraft = "the client may not make drafts (Mail.ReadWrite): mails are sent at most once"
)

// sendRecipe sends a mail: a draft that this command makes, or one that is there.
func (w *Worker) sendRecipe(p *plan, m marker) *recipe {
	if p.op.ID != opSendMail {
		return w.sendDraftRecipe(p, m)
	}
	if p.call.ContentType != "" {
		return w.sendMIMERecipe(p, m)
	}
	body, err := readObject(p.call.Body)
	if err != nil {
		return nil
	}
	if string(body[body.name("saveToSentItems")]) == "false" {
		r := direct(p)
		r.weaker = weakerNoCopy
		return r
	}
	draft := func(record) (Call, error) {
		mail, err := body.within("message")
		if err != nil {
			return Call{}, err
		}
		if err := mail.markMail(m); err != nil {
			return Call{}, err
		}
		text, err := mail.text()
		if err != nil {
			return Call{}, err
		}
		return w.request(p, opCreate, nil, nil, text)
	}
	given := ""
	if mail, err := body.within("message"); err == nil {
		_ = json.Unmarshal(mail[mail.name(memberMessageID)], &given)
	}
	return &recipe{
		marker: m, owned: true, plain: withoutDraft(p), messageID: orElse(given, m.messageID()),
		steps: []step{
			{name: stepDraft, doubt: look, twice: true, call: draft, item: itemID, find: findMail, again: true},
			w.sendStep(p),
		},
	}
}

// sendMIMERecipe sends a mail in MIME, which is marked once it is a draft.
func (w *Worker) sendMIMERecipe(p *plan, m marker) *recipe {
	return &recipe{
		marker: m, owned: true, plain: withoutDraft(p),
		steps: []step{
			{name: stepDraft, doubt: repeat, item: itemID, call: func(record) (Call, error) {
				call, err := w.request(p, opCreate, nil, nil, p.call.Body)
				call.ContentType = p.call.ContentType
				return call, err
			}},
			w.markStep(p, m, false), // it has a Message-ID of its own
			w.sendStep(p),
		},
	}
}

// sendDraftRecipe sends a draft that somebody else has made.
func (w *Worker) sendDraftRecipe(p *plan, m marker) *recipe {
	id := pathValue(p, paramMessage)
	mark := w.markStep(p, m, false)
	mark.item = func([]byte) string { return id }
	mark.call = func(record) (Call, error) { return w.markCall(p, m, id, false) }
	return &recipe{marker: m, plain: withoutDraft(p), steps: []step{mark, w.sendStep(p)}}
}

// replyRecipe sends a reply or a forwarded mail. Outlook makes the draft of it,
// which cannot be marked in the same request: one of which the answer was lost
// stays behind in Drafts, unsent.
// https://learn.microsoft.com/graph/api/message-createreply
func (w *Worker) replyRecipe(p *plan, m marker) *recipe {
	action := p.op.ID[strings.LastIndexByte(p.op.ID, '.')+1:]
	maker := "mail.message.create" + strings.ToUpper(action[:1]) + action[1:]
	return &recipe{
		marker: m, owned: true, plain: withoutDraft(p), messageID: m.messageID(),
		steps: []step{
			{name: stepDraft, doubt: repeat, item: itemID, call: func(record) (Call, error) {
				call, err := w.request(p, maker, p.call.Params.Path, nil, p.call.Body)
				call.ContentType = p.call.ContentType
				return call, err
			}},
			w.markStep(p, m, true),
			w.sendStep(p),
		},
	}
}

// withoutDraft is how a mail goes where no draft can be made.
func withoutDraft(p *plan) *recipe {
	r := direct(p)
	r.weaker = weakerNoDraft
	return r
}

// markStep marks the draft of the step before. A draft of the command's own gets
// the Message-ID as well.
func (w *Worker) markStep(p *plan, m marker, own bool) step {
	return step{name: stepMark, doubt: repeat, call: func(r record) (Call, error) { return w.markCall(p, m, r.Item, own) }}
}

func (w *Worker) markCall(p *plan, m marker, id string, own bool) (Call, error) {
	mail := object{}
	if err := mail.mark(m); err != nil {
		return Call{}, err
	}
	if own {
		if err := mail.set(memberMessageID, m.messageID()); err != nil {
			return Call{}, err
		}
	}
	text, err := mail.text()
	if err != nil {
		return Call{}, err
	}
	return w.request(p, opUpdate, map[string]string{paramMessage: id}, nil, text)
}

// sendStep sends the draft. Once the request was made, only a look says whether it
// may be made again: a draft that is still there after things have settled was
// not sent. That the draft is not there any more may mean that it was.
func (w *Worker) sendStep(p *plan) step {
	return step{
		name: stepSend, doubt: look, twice: true, find: findMail,
		call: func(r record) (Call, error) {
			return w.request(p, opSend, map[string]string{paramMessage: r.Item}, nil, nil)
		},
		doubtful: func(_ record, status int, _ string) bool { return status == statusNotFound },
	}
}

// giveUp ends a command whose time is over, and takes back a draft of its own that
// nobody will send. For that it needs a slot, and waits for one a while longer.
func (j *job) giveUp(ctx context.Context, p *plan, r *recipe, end ending) (Verdict, bool) {
	if end.state != stateFailed || !r.owned || !j.rec.Draft || j.rec.Item == "" {
		return j.finish(ctx, end)
	}
	over := j.giveUpAt(p)
	if !p.expires.IsZero() && p.expires.Before(over) {
		over = p.expires
	}
	t := &turn{job: j, p: p, r: r}
	release, wait, ok := j.w.slots.Take(ctx, p.call.Client, p.mailbox)
	switch {
	case ok:
		t.slot = release
		defer t.release()
	case j.w.now().Before(over.Add(patienceLook)):
		if wait <= 0 {
			wait = j.w.spread(delayBusy)
		}
		return Again(min(wait, maxDelay)), true
	}
	v, ok := t.finish(ctx, end)
	if ok {
		t.discard(ctx, t.rec.Item)
	}
	return v, ok
}

// findMail looks for the mail that carries the command's marker: sent, or still a
// draft.
func findMail(ctx context.Context, s *seeker) (finding, error) {
	found, err := s.mails(ctx, s.marker.filter())
	if err == nil && len(found) == 0 {
		found, err = s.mails(ctx, "internetMessageId eq '"+s.marker.messageID()+"'")
	}
	if err != nil {
		return finding{}, err
	}
	var draft mailFound
	for _, mail := range found {
		switch {
		case !mail.Draft:
			return finding{where: there, item: mail.ID, final: true}, nil // also where a restored ledger knows nothing of it
		case s.step.name == stepSend && s.recipe.owned && mail.ID != s.rec.Item:
			// One that was made too late. Only the one whose id was written down may be
			// sent, else two were.
		case draft.ID == "" || mail.ID == s.rec.Item:
			draft = mail
		}
	}
	if draft.ID == "" {
		return finding{}, nil
	}
	// What a person has thrown away is not sent.
	if bin, err := s.folder(ctx, deletedItems); err != nil || draft.Folder == bin {
		return finding{}, err
	}
	if s.step.name == stepDraft {
		return finding{where: there, item: draft.ID}, nil
	}
	return finding{where: pending, item: draft.ID}, nil
}

// mailFound is what a look reads of a mail.
type mailFound struct {
	ID        string    `json:"id"`
	Draft     bool      `json:"isDraft"`
	Folder    string    `json:"parentFolderId"`
	MessageID string    `json:"internetMessageId"`
	Created   time.Time `json:"createdDateTime"`
}

// mails lists the mails of the whole mailbox that a filter finds.
func (s *seeker) mails(ctx context.Context, filter string) ([]mailFound, error) {
	call, err := s.w.request(s.plan, opList, nil, map[string]string{"$filter": filter, "$select": fieldsOfMail, "$top": foundAtMost}, nil)
	if err != nil {
		return nil, err
	}
	var all []mailFound
	_, err = s.among(ctx, call, func(text []byte) bool {
		var mail mailFound
		if json.Unmarshal(text, &mail) == nil {
			all = append(all, mail)
		}
		return false
	})
	return all, err
}
