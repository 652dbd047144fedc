package catalog

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxValue is the longest path value in bytes. Graph's ids have some 150.
const maxValue = 1 << 10

// encodePath puts the values into the template and checks the result.
func (op *Operation) encodePath(t *template, mailbox string, values map[string]string) (string, error) {
	path := make([]byte, 0, 256) // more than nearly all have
	for i := range t.segs {
		seg := &t.segs[i]
		path = append(path, '/')
		switch {
		case seg.mailbox:
			path = append(path, escape(mailbox)...)
		case seg.param != "":
			if err := op.catalog.checkValue(values[seg.param], seg.at); err != nil {
				return "", op.pathError("path_refused", fmt.Errorf("path parameter %s: %w", seg.param, err))
			}
			path = append(path, escape(values[seg.param])...)
		case seg.call != nil:
			for _, p := range seg.call {
				if p.param == "" {
					path = append(path, p.text...)
					continue
				}
				if err := checkArgument(values[p.param]); err != nil {
					return "", op.pathError("path_refused", fmt.Errorf("path parameter %s: %w", p.param, err))
				}
				path = append(path, escape(quoted(values[p.param]))...)
			}
		default:
			path = append(path, seg.text...)
		}
	}
	text := string(path)
	if err := t.verify(text, mailbox, values); err != nil {
		return "", op.pathError("path_refused", err)
	}
	return text, nil
}

// verify reads the built path as a server would and compares it with the
// template. The checks before it should leave it nothing to find: it is there
// for the case that they do not.
func (t *template) verify(path, mailbox string, values map[string]string) error {
	if !plainPath(path) {
		return errors.New("the built path is more than a path")
	}
	rest := path
	for i := range t.segs {
		if rest == "" {
			return fmt.Errorf("the built path has %d segments, its template has %d", i, len(t.segs))
		}
		word := rest[1:]
		if end := strings.IndexByte(word, '/'); end >= 0 {
			word = word[:end]
		}
		rest = rest[1+len(word):]
		got, err := url.PathUnescape(word)
		if err != nil {
			return fmt.Errorf("segment %d: %w", i+1, err)
		}
		if got != t.segs[i].filled(mailbox, values) {
			return fmt.Errorf("segment %d of the built path is not what was asked for", i+1)
		}
	}
	if rest != "" {
		return fmt.Errorf("the built path has more segments than its template, which has %d", len(t.segs))
	}
	return nil
}

// filled is what the segment says with its values.
func (s *segment) filled(mailbox string, values map[string]string) string {
	switch {
	case s.mailbox:
		return mailbox
	case s.param != "":
		return values[s.param]
	case s.call == nil:
		return s.text
	}
	var text strings.Builder
	for _, p := range s.call {
		if p.param != "" {
			text.WriteString(quoted(values[p.param]))
		} else {
			text.WriteString(p.text)
		}
	}
	return text.String()
}

// plainPath reports whether a text is a path that begins with a slash and has
// nothing in it but what may stand in one as it is, or is escaped: then nobody
// takes a part of it for a host, a query or a fragment.
// https://www.rfc-editor.org/rfc/rfc3986#section-3.3
func plainPath(path string) bool {
	if path == "" || path[0] != '/' || strings.HasPrefix(path, "//") {
		return false
	}
	for i := range len(path) {
		if b := path[i]; (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && strings.IndexByte("-._~!$&'()*+,;=:@/%", b) < 0 {
			return false
		}
	}
	return true
}

// quoted doubles the quotes of an OData string literal, so that a value cannot
// end it: https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html
func quoted(value string) string { return strings.ReplaceAll(value, "'", "''") }

// escape encodes a value as one path segment. The plus sign is encoded too,
// since some servers read it as a space.
func escape(value string) string {
	return strings.ReplaceAll(url.PathEscape(value), "+", "%2B")
}

// checkText refuses what has no place in any path value.
func checkText(value string) error {
	if usualText(value) {
		return nil
	}
	switch {
	case value == "":
		return errors.New("the value is empty")
	case len(value) > maxValue:
		return fmt.Errorf("the value has %d bytes, the limit is %d", len(value), maxValue)
	case !utf8.ValidString(value):
		return errors.New("the value is not valid UTF-8")
	case strings.TrimSpace(value) != value:
		return errors.New("the value begins or ends with a space")
	case strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errors.New("the value has a control or invisible character")
	}
	return nil
}

// usualText reports whether a value is short and of visible ASCII alone.
func usualText(value string) bool {
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return false
		}
	}
	return value != "" && len(value) <= maxValue
}

// checkArgument refuses what has no place in a function's argument; these are
// times and names only.
func checkArgument(value string) error {
	if strings.ContainsAny(value, `/\%`) {
		return errors.New("the value has a slash or a percent sign")
	}
	return checkText(value)
}

// checkValue refuses values that could be read as anything but one segment of
// the kind that the template means. at is the shape of the template before it.
//
// A slash is allowed only in what looks like base64, which some of Graph's ids
// are, and no part of it may be a word of the API; it is sent as %2F. A server
// that decodes it too early then meets an id that does not exist.
func (c *Catalog) checkValue(value, at string) error {
	if err := checkText(value); err != nil {
		return err
	}
	if strings.HasPrefix(value, "$") {
		return errors.New("the value begins with $, which is a command to Graph")
	}
	if c.isWord(value, at) {
		return fmt.Errorf("%q is a word of the API in this place, not an id", clip(value))
	}
	if err := checkDecoded(value); err != nil {
		return err
	}
	if !strings.Contains(value, "/") {
		return nil
	}
	if !base64RE.MatchString(value) {
		return errors.New("the value has a slash and is no base64 id")
	}
	for part := range strings.SplitSeq(value, "/") {
		if part == "" || c.literal[foldWord(part)] {
			return errors.New("the value is a path, not an id")
		}
	}
	return nil
}

// isWord reports whether Graph would take the value for something that is not
// an id: a fixed word of a template, with or without parentheses, or a type
// name, which casts a collection. Of the words only inbox is an id as well, and
// of the type names only that of an open extension, which its ids may carry:
// https://learn.microsoft.com/graph/api/opentypeextension-get
func (c *Catalog) isWord(value, at string) bool {
	name, _, _ := strings.Cut(value, "(")
	if len(name) > c.longest && usualText(name) && !typed(name) {
		return false // as nearly all ids
	}
	word := foldWord(name)
	if c.words[at][word] {
		return word != "inbox"
	}
	return word != strings.ToLower(name) && !strings.HasPrefix(word, "opentypeextension.") && !strings.Contains(value, "@")
}

// typed reports whether a word has a prefix that [foldWord] takes away.
func typed(name string) bool {
	const long, short = "microsoft.graph.", "graph."
	return len(name) >= len(long) && strings.EqualFold(name[:len(long)], long) ||
		len(name) >= len(short) && strings.EqualFold(name[:len(short)], short)
}

var base64RE = regexp.MustCompile(`^[A-Za-z0-9+/_-]+=*$`)

// checkDecoded refuses dot segments and backslashes, and separators that only
// decoding brings to light: somebody behind us may decode once too often.
func checkDecoded(value string) error {
	if !strings.ContainsAny(value, `/\%`) && !onlyDots(value) {
		return nil // there is nothing to decode
	}
	slashes := strings.Count(value, "/")
	for range 8 {
		for part := range strings.SplitSeq(value, "/") {
			if onlyDots(part) {
				return errors.New("the value has a dot segment")
			}
		}
		if strings.Contains(value, `\`) {
			return errors.New("the value has a backslash")
		}
		if strings.Count(value, "/") != slashes {
			return errors.New("the value has an encoded slash")
		}
		plain, err := url.PathUnescape(value)
		if err != nil || plain == value {
			return nil
		}
		if checkText(plain) != nil {
			return errors.New("the value has an encoded control character")
		}
		value = plain
	}
	return errors.New("the value is encoded too many times over")
}

// onlyDots reports whether a segment is made of dots and spaces alone: servers
// take dots for "here" or "one up", some of them after dropping the spaces.
func onlyDots(word string) bool { return word != "" && strings.Trim(word, ". ") == "" }

// checkMailbox refuses what can be neither a user principal name nor an object
// id.
func checkMailbox(c *Catalog, mailbox string) error {
	if strings.Contains(mailbox, "/") {
		return errors.New("the value has a slash")
	}
	return c.checkValue(mailbox, "/users")
}
