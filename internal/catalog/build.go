package catalog

import (
	"slices"
	"strings"

	"outlook-connector/internal/fault"
)

// TemplateParam is a path parameter that no operation has of its own: it
// chooses one of the operation's templates where the other parameters fit
// several ({"template": "/me/messages"} for an extended property that could be
// created with six kinds of item). Its value must be one of the operation's
// templates to the letter, so it cannot lead anywhere else.
const TemplateParam = "template"

// Params is what a caller brings to an operation. The zero value suits an
// operation without a mailbox and without parameters.
type Params struct {
	// Mailbox is "me", a user (user principal name or object id), a group's id,
	// or "-" (or empty) for an operation without a mailbox.
	Mailbox string
	// Group says that Mailbox is a group's id. Without it an operation that has
	// both user and group templates takes the user's where they fit, because a
	// bare id does not tell a user from a group; an operation that has only
	// group templates needs no such mark.
	Group bool
	// Path are the path parameters, in the catalogue's spelling ("message-id")
	// or, without regard to case and dashes, in the reference's ("MessageId",
	// and "id" where only one is left). See also [TemplateParam].
	Path map[string]string
	// Query are the query parameters with their plain, unescaped values.
	Query map[string]string
}

// Target is a built request target. Its path cannot lead out of its template.
type Target struct {
	// Path is escaped and begins with a slash; it is relative to …/v1.0.
	Path string
	// RawQuery is escaped, sorted by name, and without the question mark; it may
	// be empty.
	RawQuery string
	// Template is the template that was chosen.
	Template string
	// Params are the path parameters by their names in Template.
	Params map[string]string
}

// String returns path and query as they go into a request.
func (t Target) String() string {
	if t.RawQuery == "" {
		return t.Path
	}
	return t.Path + "?" + t.RawQuery
}

// Build makes the request target of the operation.
//
// With mailbox "me" it takes the /me templates, with any other the /users or
// /groups templates, and among them the one whose parameters are exactly those
// given: mail.message.get with message-id becomes /me/messages/{message-id},
// with mailFolder-id as well /me/mailFolders/{mailFolder-id}/messages/{message-id}.
// Of several the documented go before those that are known in another form
// only, then the shorter ones. Templates that the reference does not document
// are taken only where they have a parameter that no documented one has, or
// where they are asked for by [TemplateParam].
//
// Every error is of kind Poison, with a code (mailbox_refused, path_missing,
// path_unknown, path_refused, path_ambiguous, query_missing, query_refused) and
// a hint that names what is needed.
func (op *Operation) Build(p Params) (Target, error) {
	mailbox, roots, err := op.roots(p)
	if err != nil {
		return Target{}, err
	}
	chosen, err := op.choose(roots, p.Path)
	if err != nil {
		return Target{}, err
	}
	target := Target{Template: chosen.template.path, Params: chosen.values}
	if target.Path, err = op.encodePath(chosen.template, mailbox, chosen.values); err != nil {
		return Target{}, err
	}
	if target.RawQuery, err = op.encodeQuery(chosen.template, p.Query); err != nil {
		return Target{}, err
	}
	return target, nil
}

// roots decides which kinds of template suit the mailbox, the preferred first.
func (op *Operation) roots(p Params) (string, []root, error) {
	has := func(r root) bool {
		return slices.ContainsFunc(op.templates, func(t *template) bool { return t.root == r })
	}
	refuse := func(format string, args ...any) (string, []root, error) {
		return "", nil, fault.New(fault.Poison, "%s: "+format, append([]any{op.ID}, args...)...).WithCode("mailbox_refused")
	}
	none := p.Mailbox == "" || p.Mailbox == "-"
	switch {
	case !op.mailbox && !none:
		return refuse("the operation has no mailbox, %q was given; use \"-\"", clip(p.Mailbox))
	case !op.mailbox:
		return "", []root{rootNone}, nil
	case none:
		return refuse("a mailbox is needed: me, a user or a group's id")
	case strings.EqualFold(p.Mailbox, "me"):
		if p.Group || !has(rootMe) {
			return refuse("the operation works on groups: give the group's id as mailbox instead of \"me\"")
		}
		return "me", []root{rootMe}, nil
	}
	if err := checkMailbox(op.catalog, p.Mailbox); err != nil {
		return refuse("mailbox %q: %w", clip(p.Mailbox), err)
	}
	switch {
	case p.Group && !has(rootGroup):
		return refuse("the operation does not work on groups")
	case p.Group:
		return p.Mailbox, []root{rootGroup}, nil
	// Group ids are object ids; an address can only be a user's.
	case strings.Contains(p.Mailbox, "@") && !has(rootUser):
		return refuse("the operation works on groups: give the group's id as mailbox instead of %q", clip(p.Mailbox))
	case strings.Contains(p.Mailbox, "@"):
		return p.Mailbox, []root{rootUser}, nil
	default:
		return p.Mailbox, []root{rootUser, rootGroup}, nil
	}
}
