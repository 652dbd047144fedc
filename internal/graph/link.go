package graph

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxLink bounds a link in bytes. Graph's are a few hundred to a few thousand.
const maxLink = 16 << 10

// linkRule says which links belong to a feed. A link comes from outside (an
// answer, a stored cursor) and gets the bearer token, so it must lead to the
// configured host and to nothing but the path that the feed asked for.
type linkRule struct {
	origin  origin
	prefix  string     // escaped path of the base, without a slash at the end
	mailbox [][]string // the roots that stand for the mailbox: {"me"}, {"users", "ann@…"}
	rest    []string   // the segments after the root
	base    string     // the configured root, as text
	root    string     // the user as it was asked for: "/me", "/users/ann@…"; empty for others
}

// linkRule derives the rule from the address that a call was built with.
func (c *Client) linkRule(k *call) linkRule {
	segments, ok := linkSegments(k.path)
	rule := linkRule{
		origin: originOf(c.base), prefix: c.base.EscapedPath(), rest: segments,
		base: c.base.Scheme + "://" + c.base.Host + c.base.EscapedPath(),
	}
	if !ok || len(segments) == 0 {
		return rule
	}
	root, names := segments[0], k.aliases
	switch {
	case strings.EqualFold(root, "me"):
		rule.mailbox, rule.rest = [][]string{{"me"}}, segments[1:]
		rule.root, root = "/me", "users"
	case len(segments) > 1 && (strings.EqualFold(root, "users") || strings.EqualFold(root, "groups")):
		names = append([]string{segments[1]}, k.aliases...)
		rule.rest = segments[2:]
		if strings.EqualFold(root, "users") {
			rule.root = "/" + strings.Join(strings.SplitN(k.path, "/", 4)[1:3], "/")
		}
	default:
		return rule
	}
	for _, name := range names {
		rule.mailbox = append(rule.mailbox, []string{root, name})
	}
	return rule
}

// objectID is the mailbox of a link that names a user by object id, in either
// form of addressing.
var objectID = regexp.MustCompile(`^/users(?:/|\(')([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:'\))?(/.*)$`)

// received returns a link as it is to be kept. Asked for a user by name or for
// "me", Graph may write the user's object id, which this client has no way to
// tell from another user's. So the mailbox of such a link is replaced by the
// one that was asked for: whatever id stood there, the link cannot lead out of
// the mailbox.
func (r linkRule) received(link string) string {
	rest, ok := strings.CutPrefix(link, r.base)
	if !ok || r.root == "" {
		return link
	}
	path, query, _ := strings.Cut(rest, "?")
	if found := objectID.FindStringSubmatch(path); found != nil {
		return r.base + r.root + found[2] + "?" + query
	}
	return link
}

// parse returns the link as a URL, or why it is refused. The text of the link
// is not in the error: it may hold an address, and the logs are not for that.
func (r linkRule) parse(link string) (*url.URL, error) {
	if link == "" || len(link) > maxLink {
		return nil, errors.New("link is empty or too long")
	}
	path, query, found := strings.Cut(link, "?")
	for i := range len(path) {
		if b := path[i]; b <= ' ' || b > '~' || b == '\\' || b == '#' {
			return nil, errors.New("link has a character that no path has")
		}
	}
	if !found || query == "" {
		return nil, errors.New("link has no query, so it leads back to the start")
	}
	query, ok := cleanQuery(query)
	if !ok {
		return nil, errors.New("link has a character that no query has")
	}
	u, err := url.Parse(path)
	if err != nil {
		return nil, errors.New("link is not a URL")
	}
	escaped := u.EscapedPath()
	switch {
	case u.Opaque != "" || u.Host == "" || originOf(u) != r.origin:
		return nil, errors.New("link leads to another host")
	case u.User != nil:
		return nil, errors.New("link has a user name")
	case !strings.HasPrefix(escaped, r.prefix+"/"):
		return nil, errors.New("link leads to another API version")
	}
	segments, ok := linkSegments(escaped[len(r.prefix):])
	if !ok || !r.fits(segments) {
		return nil, errors.New("link leads to another mailbox or path")
	}
	u.RawQuery = query
	return u, nil
}

// cleanQuery escapes what may stand in a link though not in a request line.
func cleanQuery(query string) (string, bool) {
	var b strings.Builder
	for i := range len(query) {
		switch ch := query[i]; {
		case ch == '#' || ch < ' ' || ch == 0x7f:
			return "", false
		case ch == ' ' || ch > '~':
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[ch>>4], digits[ch&15]})
		default:
			b.WriteByte(ch)
		}
	}
	return b.String(), true
}

// linkSegments splits an escaped path and writes both ways to address an item
// (mailFolders/ID and mailFolders('ID')) and to name a function (delta,
// delta(), microsoft.graph.delta()) in one way. Graph answers in the other
// form than it was asked, and with the real id for "inbox":
// https://learn.microsoft.com/graph/delta-query-messages
func linkSegments(escaped string) ([]string, bool) {
	var out []string
	for part := range strings.SplitSeq(strings.TrimPrefix(escaped, "/"), "/") {
		segment, err := url.PathUnescape(part)
		if err != nil || segment == "" || segment == "." || segment == ".." || strings.ContainsFunc(segment, isControl) {
			return nil, false
		}
		if name, rest, found := strings.Cut(segment, "('"); found && name != "" && strings.HasSuffix(rest, "')") {
			key := strings.ReplaceAll(strings.TrimSuffix(rest, "')"), "''", "'")
			if key == "" || key == "." || key == ".." {
				return nil, false
			}
			out = append(out, name, key)
			continue
		}
		segment = strings.TrimSuffix(segment, "()")
		out = append(out, strings.TrimPrefix(segment, "microsoft.graph."))
	}
	return out, true
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// fits compares segment by segment, so that neither a longer nor a shorter
// path passes. Graph ignores the case of the fixed ones; that ids are compared
// without it as well can only confuse two items of the same mailbox.
func (r linkRule) fits(segments []string) bool {
	if len(r.mailbox) > 0 {
		root := slices.IndexFunc(r.mailbox, func(root []string) bool {
			return len(segments) >= len(root) && slices.EqualFunc(root, segments[:len(root)], strings.EqualFold)
		})
		if root < 0 {
			return false
		}
		segments = segments[len(r.mailbox[root]):]
	}
	if len(segments) != len(r.rest) {
		return false
	}
	for i, want := range r.rest {
		if strings.EqualFold(want, segments[i]) {
			continue
		}
		if i == 0 || !isFolders(r.rest[i-1]) || !wellKnown(want) || !looksLikeID(segments[i]) {
			return false
		}
	}
	return true
}

func isFolders(segment string) bool {
	return strings.EqualFold(segment, "mailFolders") || strings.EqualFold(segment, "childFolders") ||
		strings.EqualFold(segment, "contactFolders")
}

// wellKnown reports whether a folder is named and not given by its id, so that
// Graph may put the id into its links:
// https://learn.microsoft.com/graph/api/resources/mailfolder
func wellKnown(folder string) bool {
	return folder != "" && len(folder) < 40 && !strings.ContainsFunc(folder, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// looksLikeID accepts the letters of base64 in its URL form.
func looksLikeID(segment string) bool {
	return len(segment) < 1<<10 && !strings.ContainsFunc(segment, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_=+", r)
	})
}
