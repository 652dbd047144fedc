package publisher

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
)

// canonicalHeader is the usual spelling of a request header that a message or a
// publisher may set; "" where it is none of these. Everything else is refused: a
// message could otherwise carry another token, or a header at which some HTTP
// transport decides to repeat a POST by itself.
func canonicalHeader(name string) string {
	switch strings.ToLower(name) {
	case "consistencylevel":
		return "ConsistencyLevel"
	case "if-match":
		return "If-Match"
	case "if-none-match":
		return "If-None-Match"
	case "prefer":
		return "Prefer"
	default:
		return ""
	}
}

// maxHeader bounds a header's value.
const maxHeader = 2 << 10

// checkHeaders brings names into canonical form.
func checkHeaders(headers map[string]*string) (map[string]string, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	names := make([]string, 0, 8)
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names) // of several that are refused, the same is always told
	out := make(map[string]string, len(headers))
	for _, name := range names {
		value := headers[name]
		canonical := canonicalHeader(name)
		switch {
		case value == nil:
			continue
		case strings.EqualFold(name, "idempotency-key"), strings.EqualFold(name, "x-idempotency-key"):
			return nil, refuse("header_not_allowed", "the request header %q is not allowed", name).
				WithHint("Graph knows no such key; name the command by the NATS header %s", headerMsgID)
		case canonical == "":
			return nil, refuse("header_not_allowed", "the request header %q is not allowed", clip(name)).
				WithHint("only ConsistencyLevel, If-Match, If-None-Match, Prefer and Content-Type may be set")
		case len(*value) > maxHeader || strings.ContainsFunc(*value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			return nil, refuse("header_not_allowed", "the value of the request header %s is too long or has control characters", canonical)
		}
		if _, twice := out[canonical]; twice {
			return nil, refuse("header_not_allowed", "the request header %s is there twice", canonical)
		}
		out[canonical] = *value
	}
	return out, nil
}

// takeContentType takes the header that says what a body is out of the others, which
// are left as they were: it is the body's business ([bodyOf]).
func takeContentType(headers map[string]*string) (named string, others map[string]*string) {
	others = headers
	for name, value := range headers {
		if !strings.EqualFold(name, headerContentType) {
			continue
		}
		if len(others) == len(headers) {
			others = maps.Clone(headers)
		}
		delete(others, name)
		if value != nil {
			named = *value
		}
	}
	return named, others
}

// immutableIDs asks for ids that an item keeps when it is moved, so that the id in
// an outcome is that of the events. https://learn.microsoft.com/graph/outlook-immutable-id
const immutableIDs = `IdType="ImmutableId"`

// onlyImmutableIDs are the headers of a request that asks for nothing else. Nobody
// changes them.
var onlyImmutableIDs = map[string]string{"Prefer": immutableIDs}

// withImmutableIDs adds that to the preferences, unless they say something about
// ids themselves. The headers are those of [checkHeaders] for this very request.
func withImmutableIDs(headers map[string]string) map[string]string {
	if len(headers) == 0 {
		return onlyImmutableIDs
	}
	switch prefer := headers["Prefer"]; {
	case prefer == "":
		headers["Prefer"] = immutableIDs
	case !strings.Contains(strings.ToLower(prefer), "idtype"):
		headers["Prefer"] = prefer + ", " + immutableIDs
	}
	return headers
}

// checkOperation says why an operation cannot be done by a message, or nil.
func checkOperation(op *catalog.Operation) error {
	if op.Method == methodGet {
		return refuse("entity_not_writable", "%s only reads; a publisher writes", op.ID).
			WithHint("read it by a subscription, or by outlook-connector call %s", op.ID)
	}
	return nil
}

// entity finds the operation that a request names, among those allowed. With
// nothing named it is the publisher's only one, or nil.
func (w *Worker) entity(def *definition, named string) (*catalog.Operation, error) {
	named = strings.TrimSpace(named)
	if named == "" {
		return def.sole, nil
	}
	if op := def.allowed[named]; op != nil {
		return op, nil // as it is mostly spelled
	}
	op, err := w.catalog.Lookup(named)
	if err != nil {
		return nil, err
	}
	if err := checkOperation(op); err != nil {
		return nil, err
	}
	if allowed := def.allowed[op.ID]; allowed != nil {
		return allowed, nil
	}
	return nil, refuse("entity_not_allowed", "the publisher %s may not do %s", def.Name, op.ID).
		WithHint("%s", def.entitiesHint())
}

// entitiesHint lists what may be named, as far as a sentence can.
func (d *definition) entitiesHint() string {
	const most = 8
	ids := slices.Sorted(maps.Keys(d.allowed))
	if len(ids) > most {
		return "it may do " + strings.Join(ids[:most], ", ") + " and others; see its entities in the configuration"
	}
	return "it may do " + list(ids)
}

// maxMailbox is the longest name of a mailbox in bytes. An address has at most
// 64 before its @ and 255 after it
// (https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1), and an id is shorter.
const maxMailbox = 64 + 1 + 255

// mailbox checks the mailbox that a request names and completes it. An
// operation without a mailbox has "-"; op may be nil while it is not known.
func (d *definition) mailbox(op *catalog.Operation, named string) (string, error) {
	// First of all: the name goes into the ledger and the outcome, which are
	// bounded, and where any mailbox is allowed nothing else looks at it.
	if len(named) > maxMailbox {
		return "", refuse("mailbox_refused", "the mailbox %q has %d bytes; a mailbox has at most %d", clip(named), len(named), maxMailbox).
			WithHint("give an address such as ann@contoso.com, or the id of a user")
	}
	named = strings.ToLower(strings.TrimSpace(named))
	if op != nil && !op.NeedsMailbox() {
		if named != "" && named != "-" {
			return "", refuse("mailbox_not_allowed", "%s has no mailbox; %q was given", op.ID, clip(named)).
				WithHint("leave mailbox out")
		}
		return "-", nil
	}
	if named == "" {
		if len(d.Mailboxes) == 0 || d.Mailboxes[0] == "*" {
			return "", nil
		}
		return d.Mailboxes[0], nil
	}
	if !d.any && !d.mailboxes[named] {
		return "", refuse("mailbox_not_allowed", "the publisher %s may not use the mailbox %q", d.Name, clip(named)).
			WithHint("it may use those listed as its mailboxes in the configuration")
	}
	return named, nil
}

// checkTarget makes sure that a built path lies in the mailbox that policy
// looked at. The catalogue keeps that by itself; this is the second lock on
// the door behind which one sender could act as another.
func checkTarget(op *catalog.Operation, mailbox, path string) error {
	if !op.NeedsMailbox() {
		return nil
	}
	root, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	id, _, _ := strings.Cut(rest, "/")
	switch {
	case mailbox == "me" && root == "me":
		return nil
	case mailbox != "me" && (root == "users" || root == "groups"):
		if owner, err := url.PathUnescape(id); err == nil && strings.EqualFold(owner, mailbox) {
			return nil
		}
	}
	return refuse("mailbox_not_allowed", "the path does not lie in the mailbox %q", clip(mailbox))
}

// methodMatches checks the method that a request names.
func methodMatches(op *catalog.Operation, named string) *fault.Error {
	if named == "" || strings.EqualFold(named, op.Method) {
		return nil
	}
	return refuse("method_not_allowed", "%s is done by %s, not by %s", op.ID, op.Method, clip(strings.ToUpper(named))).
		WithHint("leave method out")
}
