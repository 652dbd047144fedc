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
	// Params are the path parameters by their names in Template; nil where it has
	// none.
	Params map[string]string

	from origin
}

// origin is of what a target was built, and what it was then.
type origin struct {
	op                       *Operation
	mailbox                  string
	group                    bool
	params, query            []given
	path, rawQuery, template string
}

// Fits reports whether [Operation.Build] made the target of just this operation
// with these parameters, and nobody changed it since: then there is no need to
// build it again. A target that was put together by hand fits nothing, and so
// does nil.
func (t *Target) Fits(op *Operation, p Params) bool {
	return t != nil && op != nil && t.from.op == op && t.from.mailbox == p.Mailbox && t.from.group == p.Group &&
		t.Path == t.from.path && t.RawQuery == t.from.rawQuery && t.Template == t.from.template &&
		same(t.from.params, p.Path) && same(t.from.query, p.Query)
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
	template, values, err := op.choose(roots.list[:roots.n], p.Path)
	if err != nil {
		return Target{}, err
	}
	path, err := op.encodePath(template, mailbox, values)
	if err != nil {
		return Target{}, err
	}
	query, err := op.encodeQuery(template, p.Query)
	if err != nil {
		return Target{}, err
	}
	return Target{
		Path: path, RawQuery: query, Template: template.path, Params: values,
		from: origin{
			op: op, mailbox: p.Mailbox, group: p.Group, params: copied(p.Path), query: copied(p.Query),
			path: path, rawQuery: query, template: template.path,
		},
	}, nil
}

// given is a parameter that was given, by the name that it was given by.
type given struct{ name, value string }

// copied is a copy of a map that the caller may go on to change.
func copied(in map[string]string) []given {
	if len(in) == 0 {
		return nil
	}
	out := make([]given, 0, len(in))
	for name, value := range in {
		out = append(out, given{name, value})
	}
	return out
}

// same reports whether a map is that of which a copy was made.
func same(all []given, in map[string]string) bool {
	return len(all) == len(in) && !slices.ContainsFunc(all, func(g given) bool {
		value, ok := in[g.name]
		return !ok || value != g.value
	})
}

// preference are one or two kinds of template, the preferred first.
type preference struct {
	list [2]root
	n    int
}

func only(r root) preference { return preference{list: [2]root{r}, n: 1} }

// has reports whether there is a template of a kind.
func (op *Operation) has(r root) bool { return op.kinds[r] }

// roots decides which kinds of template suit the mailbox, the preferred first.
func (op *Operation) roots(p Params) (string, preference, error) {
	none := p.Mailbox == "" || p.Mailbox == "-"
	switch {
	case !op.mailbox && !none:
		return op.refuseMailbox("the operation has no mailbox, %q was given; use \"-\"", clip(p.Mailbox))
	case !op.mailbox:
		return "", only(rootNone), nil
	case none:
		return op.refuseMailbox("a mailbox is needed: me, a user or a group's id")
	case strings.EqualFold(p.Mailbox, "me"):
		if p.Group || !op.has(rootMe) {
			return op.refuseMailbox("the operation works on groups: give the group's id as mailbox instead of \"me\"")
		}
		return "me", only(rootMe), nil
	}
	if err := checkMailbox(op.catalog, p.Mailbox); err != nil {
		return op.refuseMailbox("mailbox %q: %w", clip(p.Mailbox), err)
	}
	// Group ids are object ids; an address can only be a user's.
	address := strings.Contains(p.Mailbox, "@")
	switch {
	case p.Group && !op.has(rootGroup):
		return op.refuseMailbox("the operation does not work on groups")
	case p.Group:
		return p.Mailbox, only(rootGroup), nil
	case address && !op.has(rootUser):
		return op.refuseMailbox("the operation works on groups: give the group's id as mailbox instead of %q", clip(p.Mailbox))
	case address:
		return p.Mailbox, only(rootUser), nil
	default:
		return p.Mailbox, preference{list: [2]root{rootUser, rootGroup}, n: 2}, nil
	}
}

func (op *Operation) refuseMailbox(format string, args ...any) (string, preference, error) {
	err := fault.New(fault.Poison, "%s: "+format, append([]any{op.ID}, args...)...).WithCode("mailbox_refused")
	return "", preference{}, err
}
