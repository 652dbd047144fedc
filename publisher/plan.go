package publisher

import (
	"context"
	"strings"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// plan is what a command comes to: one request, checked by policy.
type plan struct {
	terms
	op      *catalog.Operation
	mailbox string
	target  catalog.Target // of the call
	call    Call
	big     []attachment // what comes to the item after it is made
}

// plan works out what a message asks for. It has no effect anywhere, and the
// same message gives the same plan as long as the configuration stays. The
// plan that comes with an error tells what was known by then.
func (w *Worker) plan(ctx context.Context, m *Message, def *definition) (*plan, error) {
	p := new(plan)
	if def == nil {
		// Another worker may know it: the command is given up only after a while
		// ([job.unknownFor]).
		err := refuse("publisher_unknown", "there is no publisher %q", clip(m.Publisher))
		if near := nearest(m.Publisher, w.names); near != "" {
			return p, err.WithHint("did you mean %s?", near)
		}
		return p, err.WithHint("the publishers are %s", list(w.names))
	}
	var err error
	if p.terms, err = readTerms(m, def); err != nil {
		return p, err
	}
	if _, err := w.replyTo(m); err != nil {
		return p, err
	}
	r, err := m.read()
	if err != nil {
		return p, err
	}
	if err := onLane(m, &r); err != nil {
		return p, err
	}
	// Policy looks at what the message names before the transform sees it, and
	// at what the transform makes of it after.
	if err := w.resolve(def, p, &r); err != nil {
		return p, err
	}
	if r, err = w.fetch(ctx, m, def, p.terms, r); err != nil {
		return p, err
	}
	base := def.base
	if p.op != nil && p.op.Method == methodDelete {
		base.payload = nil // a publisher of several entities may have one for the others
	}
	if r, err = r.over(base); err != nil {
		return p, err
	}
	if def.RequestTransform != nil {
		if r, err = transform(ctx, def, r); err != nil {
			return p, err
		}
		if err := onLane(m, &r); err != nil {
			return p, err
		}
		if err := w.resolve(def, p, &r); err != nil {
			return p, err
		}
		if r, err = w.fetch(ctx, m, def, p.terms, r); err != nil {
			return p, err
		}
	}
	if err := w.complete(p, def, r); err != nil {
		return p, err
	}
	p.big, err = w.uploader.split(ctx, p, w.now(), m.Received)
	return p, err
}

// resolve checks entity, method and mailbox and writes the completed names back
// into the request.
func (w *Worker) resolve(def *definition, p *plan, r *request) error {
	var err error
	if p.op, err = w.entity(def, r.entity); err != nil {
		return err
	}
	if p.op != nil {
		r.entity = p.op.ID
		if err := methodMatches(p.op, r.method); err != nil {
			return err
		}
	}
	if p.mailbox, err = def.mailbox(p.op, r.mailbox); err != nil {
		return err
	}
	r.mailbox = p.mailbox
	return nil
}

// transform runs the publisher's program over a request. The method is not
// its to choose: it follows from the entity.
func transform(ctx context.Context, def *definition, r request) (request, error) {
	in, err := r.value()
	if err != nil {
		return request{}, err
	}
	out, ok, err := def.RequestTransform.Run(ctx, in)
	if err != nil {
		marked := fault.Of(err)
		return request{}, refuse("transform_failed", "request_transform: %w", err).
			WithHint("%s", orElse(marked.Hint, "try the program with jq on this message"))
	}
	if !ok {
		return request{}, refuse("transform_empty", "request_transform gave no output, so there is nothing to send").
			WithHint("commands cannot be dropped silently; a program that wants none may call error(\"reason\")")
	}
	text, err := encode(out)
	if err != nil {
		return request{}, refuse("transform_failed", "request_transform: encode its output: %w", err)
	}
	return decode("the output of request_transform", text)
}

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}

// complete builds the request, once entity and mailbox are settled.
func (w *Worker) complete(p *plan, def *definition, r request) error {
	if p.op == nil {
		return refuse("entity_missing", "the publisher %s has several entities and the message names none", def.Name).
			WithHint("add entity; %s", def.entitiesHint())
	}
	if p.mailbox == "" {
		return refuse("mailbox_missing", "the message names no mailbox, and the publisher %s allows any", def.Name).
			WithHint(`add mailbox, such as {"mailbox": "ann@contoso.com", …}`)
	}
	named, headers := takeContentType(r.headers)
	header, err := checkHeaders(headers)
	if err != nil {
		return err
	}
	if def.ImmutableIDs {
		header = withImmutableIDs(header)
	}
	content, err := w.content(def, p, r, named)
	if err != nil {
		return err
	}
	params := catalog.Params{Mailbox: p.mailbox, Path: given(r.path), Query: given(r.query)}
	if p.target, err = p.op.Build(params); err != nil {
		return err
	}
	target := &p.target
	if err := checkTarget(p.op, p.mailbox, target.Path); err != nil {
		return err
	}
	p.call = Call{
		Client:    def.Client,
		Mailbox:   p.mailbox,
		Operation: p.op,
		Params:    params,
		Target:    target,
		Method:    strings.ToUpper(p.op.Method),
		Path:      target.Path,
		RawQuery:  target.RawQuery,
		Template:  target.Template,
		Header:    header,
		Body:      content.data, ContentType: content.contentType,
		Batch: def.Batch && p.op.Batches(),
	}
	return nil
}

// content makes the body and holds what is in it against the publisher's policy.
func (w *Worker) content(def *definition, p *plan, r request, named string) (body, error) {
	content, err := bodyOf(p.op, r, named)
	if err != nil {
		return body{}, err
	}
	if err := def.checkMention(p.mailbox, content.mail); err != nil {
		return body{}, err
	}
	if err := def.checkNotifications(p.op, r.payload); err != nil {
		return body{}, err
	}
	if p.op.ID == batchID {
		content.data, err = w.checkBatch(def, r.payload)
	}
	return content, err
}

func given(in map[string]*string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for name, value := range in {
		if value != nil {
			out[name] = *value
		}
	}
	return out
}
