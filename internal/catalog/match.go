package catalog

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// route is one template of one operation.
type route struct {
	op       *Operation
	template *template
}

// Match returns the operations that a method and a path stand for, in the order
// of their ids. The path is relative to …/v1.0, a query string is ignored, and
// it may be a template ("/me/messages/{message-id}") or concrete
// ("/me/messages/AAMk…"). Segments match without regard to case; delta, delta()
// and microsoft.graph.delta are the same; child folders may be nested to any
// depth where the operation allows it. Where a fixed word and a parameter both
// fit (…/messages/delta), the word wins, as it does in Graph. Several
// operations may share a path.
//
// A path that is not in plain form (empty or dot segments, an encoded slash, a
// host) matches nothing.
func (c *Catalog) Match(method, path string) []*Operation {
	path, _, _ = strings.Cut(path, "?")
	words, ok := plainSegments(path)
	if !ok {
		return nil
	}
	short := collapseChildFolders(words)
	var best []bool
	var found []*Operation
	for _, r := range c.routes[strings.ToUpper(method)] {
		try := words
		if r.op.NestedChildFolders {
			try = short
		}
		fixed, fits := r.template.matches(try)
		if !fits {
			continue
		}
		switch order := moreFixed(fixed, best); {
		case found == nil || order > 0:
			best, found = fixed, []*Operation{r.op}
		case order == 0 && found[len(found)-1] != r.op:
			found = append(found, r.op)
		}
	}
	return found
}

// plainSegments splits a path that has nothing in it but segments.
func plainSegments(path string) ([]string, bool) {
	rest, ok := strings.CutPrefix(path, "/")
	if !ok || strings.ContainsAny(rest, "#\\") {
		return nil, false
	}
	words := strings.Split(rest, "/")
	for i, word := range words {
		plain, err := url.PathUnescape(word)
		if err != nil || plain == "" || onlyDots(plain) || strings.ContainsAny(plain, "/\\") || !utf8.ValidString(plain) {
			return nil, false
		}
		words[i] = plain
	}
	return words, true
}

// collapseChildFolders leaves one childFolders/{id} of any number in a row.
func collapseChildFolders(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		n := len(out)
		if n >= 2 && i+1 < len(words) && strings.EqualFold(words[i], "childFolders") && strings.EqualFold(out[n-2], "childFolders") {
			out[n-1] = words[i+1]
			i++
			continue
		}
		out = append(out, words[i])
	}
	return out
}

// matches compares segment by segment and says which were fixed words.
func (t *template) matches(words []string) (fixed []bool, ok bool) {
	if len(words) != len(t.segs) {
		return nil, false
	}
	fixed = make([]bool, len(words))
	for i, seg := range t.segs {
		placeholder := pieceRE.FindString(words[i]) == words[i]
		switch {
		case seg.fixed():
			if foldWord(seg.text) != foldWord(words[i]) {
				return nil, false
			}
			fixed[i] = true
		case seg.call != nil:
			if !sameCall(seg.text, words[i]) {
				return nil, false
			}
			fixed[i] = true
		case placeholder:
			// A template matches only templates, and a mailbox only a mailbox.
			if seg.mailbox != (words[i] == "{user-id}" || words[i] == "{group-id}") {
				return nil, false
			}
		}
	}
	return fixed, true
}

// sameCall compares the names of two function calls with arguments.
func sameCall(want, got string) bool {
	name, _, _ := strings.Cut(want, "(")
	other, rest, called := strings.Cut(got, "(")
	return called && strings.HasSuffix(rest, ")") && len(rest) > 1 && foldWord(name) == foldWord(other)
}

// moreFixed compares two matches by the first segment in which only one is a
// fixed word.
func moreFixed(a, b []bool) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] && !b[i]:
			return 1
		case !a[i] && b[i]:
			return -1
		}
	}
	return 0
}

// learnWords notes which fixed words may follow each beginning of a template,
// so that a value is not taken for one of them.
func (c *Catalog) learnWords(t *template) {
	for _, seg := range t.segs {
		if !seg.fixed() {
			continue
		}
		if c.words[seg.at] == nil {
			c.words[seg.at] = make(map[string]bool)
		}
		word := foldWord(seg.text)
		c.words[seg.at][word] = true
		c.literal[word] = true
		c.longest = max(c.longest, len(word))
	}
}

// shape extends the beginning of a template by a segment. The three kinds of
// mailbox have one shape, since what is a word below one is a word below all.
func shape(at string, seg segment) string {
	switch {
	case seg.mailbox:
		return "/me"
	case seg.param != "":
		return at + "/{}"
	default:
		return at + "/" + foldWord(seg.text)
	}
}
