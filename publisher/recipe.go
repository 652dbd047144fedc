package publisher

import (
	"context"
	"strings"
	"time"

	"outlook-connector/internal/catalog"
)

// How the effect of a command comes once.
//
// A recipe is a row of the table in docs/commands.md: the requests of which an
// operation consists, and for each what may be done when nobody knows whether it
// had its effect. The worker knows no operation by its name; it goes from step
// to step, and the ledger says at which one a command stands.
//
// With [AtMostOnce] and [AtLeastOnce] each operation is the one request that its
// message asks for. With [ExactlyOnce] the operation's class ([catalog.Class])
// chooses the recipe: recipe_mail.go has the mails, the other files named recipe_ have
// the rest by what is done: make, change, place, attach, answer.

// doubt is what may be done with a request of which nobody knows whether it had
// its effect.
type doubt string

const (
	// leave: nothing. The command is uncertain.
	leave doubt = "leave"
	// repeat: make it again, because twice is the same as once, or because the
	// publisher wants it so.
	repeat doubt = "repeat"
	// look: find out.
	look doubt = "look"
)

// recipe is the way of one command.
type recipe struct {
	// steps are its requests in their order. The last one's effect is the
	// command's.
	steps []step
	// marker is what Outlook keeps of the command; "" where nothing does.
	marker marker
	// messageID is the Message-ID that the connector gives the mail; "" where it does
	// not, or the sender does.
	messageID string
	// weaker is why this is not as sure as the publisher's delivery says; "": it is.
	weaker string
	// plain is what to do instead where the client may not make the first step.
	plain *recipe
	// owned says that the item of the steps is one that this command has made, a
	// draft, and that is in nobody's way when it is taken back.
	owned bool
}

// step is one request of a recipe.
type step struct {
	name string
	// doubt is what to do with it when its effect is not known.
	doubt doubt
	// call makes the request; nil: it is the command's own.
	call func(r record) (Call, error)
	// work does the step in several requests instead, see upload.go; nil: call does.
	work func(ctx context.Context, t *turn) (Answer, error)
	// find looks whether it had its effect, for steps with doubt look.
	find func(ctx context.Context, s *seeker) (finding, error)
	// again says that the request may be made once more where find has twice found
	// nothing: its effect is not there, or nobody sees it.
	again bool
	// twice says that nothing must be found twice before it counts, because what is
	// new can be found only after a while.
	twice bool
	// item takes from the answer of what the following steps are about; nil: nothing.
	item func(body []byte) string
	// doubtful says which refusals an earlier request may have caused. Of those the
	// effect is looked for as well.
	doubtful func(rec record, status int, code string) bool
}

// DefaultSettle is how long a look waits, so that what was accepted is where it can
// be found: Exchange takes a sent mail from Drafts to Sent Items some seconds later,
// and its index follows.
// https://learn.microsoft.com/graph/outlook-things-to-know-about-send-mail
const DefaultSettle = 60 * time.Second

// looks is how often nothing must be found before it counts.
const looks = 2

// where is what a look found.
type where int

const (
	nowhere where = iota // nothing of it
	pending              // not done, and to be done
	there                // done
	clashes              // something else has come in between
)

// finding is the result of a look.
type finding struct {
	where where
	// item is the id of what was found.
	item string
	// body is the item, where it was read.
	body []byte
	// final says that with it the whole command is done, whatever steps are left.
	final bool
	// why is a sentence for people where it clashes.
	why string
}

// at returns the step at which a record stands; ok=false where the recipe has no
// such step: the configuration has changed since.
func (r *recipe) at(name string) (int, bool) {
	if name == "" {
		return 0, true
	}
	for i := range r.steps {
		if r.steps[i].name == name {
			return i, true
		}
	}
	return 0, false
}

// stepDirect is the name of the only step of a recipe of one request.
const stepDirect = "request"

// recipe returns the way of a planned command.
func (w *Worker) recipe(p *plan, key string) *recipe {
	switch {
	case len(p.big) > 0:
		return w.uploader.recipe(w, p, p.big, key)
	case p.delivery == ExactlyOnce:
		if r := w.exact(p, key); r != nil {
			return r
		}
	case p.delivery == AtMostOnce && p.op.Class() == catalog.B1:
		if r := w.deleteRecipe(p); r != nil {
			return r // to look is not to repeat
		}
	}
	if inDoubt(p) == repeat {
		return aloneRepeated
	}
	return aloneLeft
}

// The recipes of most commands, which nobody changes.
var (
	aloneLeft     = alone(leave)
	aloneRepeated = alone(repeat)
)

// alone is the recipe of one request that is not looked after.
func alone(d doubt) *recipe { return &recipe{steps: []step{{name: stepDirect, doubt: d}}} }

// direct is the recipe of one request, which is looked after by its class alone.
func direct(p *plan) *recipe { return alone(inDoubt(p)) }

// inDoubt says what may be done with a command's one request.
func inDoubt(p *plan) doubt {
	if p.delivery == AtLeastOnce || repeatable(p.op) {
		return repeat
	}
	return leave
}

// once is a recipe of one request that is looked after.
func once(p *plan, find func(context.Context, *seeker) (finding, error)) *recipe {
	return &recipe{steps: []step{{
		name: stepDirect, doubt: look, find: find, again: true, twice: true,
	}}}
}

// repeatable reports whether an operation leaves things the second time as it did
// the first, for everybody: what sets properties to given values, and what
// deletes by an id. The change of an event is none of them: its guests are told
// each time.
func repeatable(op *catalog.Operation) bool {
	switch op.Class() {
	case catalog.B1, catalog.B2, catalog.F2:
		return true
	default:
		return false
	}
}

// exact is the recipe that a class has for exactly once, nil where it has none:
// what is then promised is what one request can.
func (w *Worker) exact(p *plan, key string) *recipe {
	m := markerOf(key)
	switch p.op.Class() {
	case catalog.D1:
		return w.sendRecipe(p, m)
	case catalog.D2:
		return w.replyRecipe(p, m)
	case catalog.C1:
		return w.createRecipe(p, m)
	case catalog.C2:
		return w.eventRecipe(p, m)
	case catalog.B1:
		return w.deleteRecipe(p)
	case catalog.B2:
		return w.patchRecipe(p)
	case catalog.G4:
		return w.changeRecipe(p, m)
	case catalog.E1:
		return w.moveRecipe(p)
	case catalog.E2:
		return w.copyRecipe(p)
	case catalog.F1:
		return w.attachmentRecipe(p)
	case catalog.G1:
		return w.responseRecipe(p)
	case catalog.G2:
		return w.cancelRecipe(p)
	case catalog.H:
		return w.subscriptionRecipe(p)
	default:
		return nil
	}
}

// Promise says what the delivery of a publisher comes to for one of its entities:
// "" where it is what it says, else in what it is weaker.
func Promise(op *catalog.Operation, delivery Delivery) string {
	if delivery != ExactlyOnce {
		return ""
	}
	switch class := op.Class(); {
	case class == catalog.E2 && op.ID != opCopy, class == catalog.G4 && strings.HasPrefix(op.ID, "extensions."):
		return "its effect cannot be seen afterwards: at most once"
	}
	switch op.Class() {
	case catalog.C3, catalog.J:
		return "Outlook keeps nothing by which a second one could be told from the first: at most once"
	case catalog.D3, catalog.G3:
		return "it sends mail and has no draft: at most once"
	case catalog.I:
		return "a batch is not looked into: at most once"
	default:
		return ""
	}
}

// request makes a call to another operation in the command's mailbox.
func (w *Worker) request(p *plan, id string, path, query map[string]string, body []byte) (Call, error) {
	op, err := w.catalog.Lookup(id)
	if err != nil {
		return Call{}, err
	}
	return p.other(op, path, query, body)
}

// changed is the command's request with a change to the JSON object that it brings;
// without ok it brings none.
func (p *plan) changed(change func(object) error) (call Call, ok bool) {
	if p.call.ContentType != "" {
		return Call{}, false
	}
	body, err := readObject(p.call.Body)
	if err != nil || change(body) != nil {
		return Call{}, false
	}
	text, err := body.text()
	if err != nil {
		return Call{}, false
	}
	call = p.call
	call.Body = text
	return call, true
}

// other is a request to another operation on behalf of the same command.
func (p *plan) other(op *catalog.Operation, path, query map[string]string, body []byte) (Call, error) {
	params := p.call.Params
	params.Path, params.Query = path, query
	target, err := op.Build(params)
	if err != nil {
		return Call{}, err
	}
	if err := checkTarget(op, p.mailbox, target.Path); err != nil {
		return Call{}, err
	}
	call := Call{
		Client: p.call.Client, Mailbox: p.mailbox, Operation: op, Params: params, Method: op.Method,
		Path: target.Path, RawQuery: target.RawQuery, Template: target.Template, Body: body,
	}
	if prefer := p.call.Header["Prefer"]; prefer != "" {
		call.Header = map[string]string{"Prefer": prefer}
	}
	return call, nil
}

// sibling returns the operation that reads what another one writes: the one item,
// or the collection that an item is put into; nil where there is none. Their ids
// are alike: mail.message.update and .get, mail.folder.createChildFolder and
// .listChildFolders.
func (w *Worker) sibling(op *catalog.Operation, list bool) *catalog.Operation {
	stem, action := op.ID, ""
	if i := strings.LastIndexByte(op.ID, '.'); i >= 0 {
		stem, action = op.ID[:i+1], op.ID[i+1:]
	}
	wanted := "get"
	if list {
		what, ok := strings.CutPrefix(action, "create")
		if !ok {
			return nil
		}
		if wanted = "list"; what != "" {
			wanted += what + "s"
		}
	}
	found, err := w.catalog.Lookup(stem + wanted)
	if err != nil || found.Method != methodGet {
		return nil
	}
	return found
}

// pathValue is a path parameter of the command in whatever spelling it was given.
func pathValue(p *plan, name string) string {
	target, err := p.op.Build(p.call.Params)
	if err != nil {
		return ""
	}
	return target.Params[name]
}

// lastOnly are the path parameters of a request for the item alone, without the
// folders in which it was.
func lastOnly(p *plan) map[string]string {
	target, err := p.op.Build(p.call.Params)
	if err != nil {
		return p.call.Params.Path
	}
	for _, name := range []string{paramMessage, paramFolder} {
		if value, ok := target.Params[name]; ok {
			return map[string]string{name: value}
		}
	}
	return p.call.Params.Path
}
