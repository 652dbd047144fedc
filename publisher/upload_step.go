package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// split takes the large attachments out of a plan, whose call keeps the rest. An
// error of kind Retry says when to look again: a file may still be on its way to
// the part of a cluster that was asked.
func (u *uploader) split(ctx context.Context, p *plan, now, received time.Time) ([]attachment, error) {
	if p.call.ContentType != "" || now.Before(p.notBefore) { // MIME or a picture; what is put off may be stored by then
		return nil, nil
	}
	slim, big, err := splitAttachments(ctx, u.files, p.op, p.call.Body)
	switch {
	case err == nil:
	case errors.Is(err, ErrNoBlob) && now.Before(later(received, p.notBefore).Add(patienceBlob)):
		return nil, waitFor("blob_missing", delayBlob, err)
	default:
		return nil, err
	}
	if p.op.ID == opSendMail && len(big) > 0 {
		body, err := readObject(p.call.Body)
		if err != nil {
			return nil, err
		}
		if string(body[body.name("saveToSentItems")]) == "false" {
			return nil, refuse("not_supported", "large attachments come to a draft, and Outlook keeps a copy of a draft that is sent").
				WithHint("leave saveToSentItems out, or send a link to the file")
		}
	}
	p.call.Body = slim
	return big, nil
}

// recipe is the way of a command with large attachments. A mail is a draft first,
// whatever the delivery: there is no other way to them.
func (u *uploader) recipe(w *Worker, p *plan, big []attachment, key string) *recipe {
	attach := u.step(p, big)
	if place := placeOf(p.op); place != nil && place.self {
		return &recipe{steps: []step{attach}}
	}
	var r *recipe
	switch p.op.Class() {
	case catalog.D1:
		r = w.sendRecipe(p, markerOf(key))
	case catalog.D2:
		r = w.replyRecipe(p, markerOf(key))
	default:
		if p.delivery == ExactlyOnce {
			r = w.exact(p, key)
		}
		if r == nil {
			r = direct(p)
		}
		made := &r.steps[len(r.steps)-1]
		if made.item == nil {
			made.item = itemID
		}
		r.steps = append(r.steps, attach)
		// A mail without its files is in nobody's way when it is taken back; who is
		// invited to an event knows of it.
		r.owned = placeOf(p.op).kind == ofMail
		return r
	}
	r.plain = nil
	r.steps = slices.Insert(r.steps, len(r.steps)-1, attach)
	return r
}

// step is the step of a recipe that adds the large attachments of a command to its
// item: the one that a step before has made, or the one that the command names
// where it is itself about an attachment. It may be made again whatever became of
// it, since it goes on where the record says that it was.
func (u *uploader) step(p *plan, big []attachment) step {
	return step{
		name: stepAttach, doubt: repeat,
		call: func(record) (Call, error) { return Call{}, nil }, // work makes its own
		work: func(ctx context.Context, t *turn) (Answer, error) { return u.work(ctx, t, p, big) },
	}
}

// work makes the requests of the step. The slot of the turn is given back
// meanwhile: each piece takes its own, so that minutes of upload do not stand in
// the way of others.
func (u *uploader) work(ctx context.Context, t *turn, p *plan, big []attachment) (Answer, error) {
	place := placeOf(p.op)
	if place == nil || place.kind == nil {
		return Answer{}, refuse("not_supported", "%s has no attachments", p.op.ID)
	}
	in := uploadWork{
		client: p.call.Client, mailbox: p.mailbox, kind: place.kind, big: big, deadline: t.m.Deadline, log: &t.log,
		params: map[string]string{place.kind.param: t.rec.Item},
	}
	if prefer := p.call.Header["Prefer"]; prefer != "" {
		in.header = map[string]string{"Prefer": prefer}
	}
	if t.def != nil {
		in.settle = t.def.Settle
	}
	if place.self {
		target, err := p.op.Build(p.call.Params)
		if err != nil {
			return Answer{}, err
		}
		in.params[place.kind.param] = target.Params[place.kind.param]
		if within := place.kind.within; within != "" {
			in.params[within] = target.Params[within]
		}
	}
	if len(t.rec.Upload) > 0 {
		if err := json.Unmarshal(t.rec.Upload, &in.state); err != nil {
			return Answer{}, fault.New(fault.Poison, "decode state of upload: %w", err).WithCode("ledger_unreadable")
		}
	}
	in.save = func(ctx context.Context, s uploadState) error {
		text, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("encode state of upload: %w", err)
		}
		next := t.rec
		next.Upload = text
		return t.save(ctx, &next, &t.w.before)
	}
	t.release()
	state, answer, err := u.all(ctx, in)
	if err != nil {
		return answer, err
	}
	if err := in.save(ctx, state); err != nil { // what follows is not to look at the attachments again
		return Answer{}, err
	}
	if !place.self && t.rec.Item != "" {
		if answer.Body, err = encode(map[string]string{"id": t.rec.Item}); err != nil {
			return answer, asFault(err)
		}
	}
	// For the step that follows.
	run := &upload{uploader: u, uploadWork: in}
	release, err := run.slot(ctx)
	if err != nil {
		return Answer{}, err
	}
	t.slot = release
	return answer, nil
}
