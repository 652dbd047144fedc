package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// root says whose mailbox a template works on.
type root int

const (
	rootNone  root = iota // no mailbox: /places, /subscriptions, /users
	rootMe                // /me/…
	rootUser              // /users/{user-id}/…
	rootGroup             // /groups/{group-id}/…

	roots = iota // how many there are
)

// source says how a template is known; the order is that of preference.
type source int

const (
	documented source = iota // on the page of the reference
	derived                  // the other of the two forms /me and /users/{user-id}
	extra                    // in the OpenAPI description only
)

const (
	userPrefix  = "/users/{user-id}"
	groupPrefix = "/groups/{group-id}"
)

// template is a parsed path template.
type template struct {
	path   string // as in the file
	root   root
	source source
	segs   []segment
	params []string // in order of use, without the mailbox's own
	own    int      // see [template.ownNames]
}

// segment is what stands between two slashes: a fixed word, one parameter, or
// a function call with parameters inside quotes.
type segment struct {
	text    string // fixed word as printed, or the whole segment of a call
	param   string // the parameter, where the segment is one
	mailbox bool   // the parameter is the mailbox
	call    []piece
	at      string // the shape of the template before it, see [shape]
}

// piece is a part of a function call.
type piece struct {
	text  string
	param string // where set, text is empty
}

var pieceRE = regexp.MustCompile(`\{[^{}]*\}`)

// parseTemplate reads a template such as "/users/{user-id}/messages".
func parseTemplate(path string, from source) (*template, error) {
	words, ok := strings.CutPrefix(path, "/")
	if !ok || words == "" {
		return nil, fmt.Errorf("template %q does not begin with a slash and a word", path)
	}
	t := &template{path: path, source: from, root: rootOf(path)}
	at := ""
	for i, word := range strings.Split(words, "/") {
		seg := segment{text: word}
		switch {
		case word == "":
			return nil, fmt.Errorf("template %q has an empty segment", path)
		case !strings.ContainsAny(word, "{}"):
		case pieceRE.FindString(word) == word:
			seg = segment{param: word[1 : len(word)-1]}
			seg.mailbox = i == 1 && (t.root == rootUser || t.root == rootGroup)
		default:
			seg.call = parseCall(word)
		}
		seg.at = at
		at = shape(at, seg)
		t.segs = append(t.segs, seg)
		for _, name := range seg.names() {
			if slices.Contains(t.params, name) {
				return nil, fmt.Errorf("template %q has the parameter %s twice", path, name)
			}
			t.params = append(t.params, name)
		}
	}
	t.own = t.ownNames()
	return t, nil
}

func parseCall(word string) []piece {
	var pieces []piece
	at := 0
	for _, hit := range pieceRE.FindAllStringIndex(word, -1) {
		pieces = append(pieces, piece{text: word[at:hit[0]]}, piece{param: word[hit[0]+1 : hit[1]-1]})
		at = hit[1]
	}
	return append(pieces, piece{text: word[at:]})
}

// names returns the parameters of the segment that a caller gives by name.
func (s segment) names() []string {
	if s.param != "" && !s.mailbox {
		return []string{s.param}
	}
	var names []string
	for _, p := range s.call {
		if p.param != "" {
			names = append(names, p.param)
		}
	}
	return names
}

// fixed reports whether the segment is a plain word.
func (s segment) fixed() bool { return s.param == "" && s.call == nil }

// rootOf returns whose mailbox a template works on.
func rootOf(path string) root {
	switch {
	case path == "/me" || strings.HasPrefix(path, "/me/"):
		return rootMe
	case path == userPrefix || strings.HasPrefix(path, userPrefix+"/"):
		return rootUser
	case path == groupPrefix || strings.HasPrefix(path, groupPrefix+"/"):
		return rootGroup
	default:
		return rootNone
	}
}

// otherUserForm returns the /users form of a /me template and the other way
// round, "" for any other. "me" is the signed-in user and has the members of
// any other user, so each form stands for both, though many pages print one:
// https://learn.microsoft.com/graph/api/resources/user
func otherUserForm(path string) string {
	switch rootOf(path) {
	case rootMe:
		return userPrefix + strings.TrimPrefix(path, "/me")
	case rootUser:
		return "/me" + strings.TrimPrefix(path, userPrefix)
	default:
		return ""
	}
}

// childFolderRE finds the first child folder of a template.
var childFolderRE = regexp.MustCompile(`/childFolders/\{([A-Za-z]+-id)1\}`)

// deepen returns the template with its child folder repeated until {…-id<n>},
// or nil where it has no child folder.
func (t *template) deepen(n int) *template {
	hit := childFolderRE.FindStringSubmatchIndex(t.path)
	if hit == nil {
		return nil
	}
	var more strings.Builder
	for i := 2; i <= n; i++ {
		fmt.Fprintf(&more, "/childFolders/{%s%d}", t.path[hit[2]:hit[3]], i)
	}
	deep, err := parseTemplate(t.path[:hit[1]]+more.String()+t.path[hit[1]:], t.source)
	if err != nil {
		return nil
	}
	return deep
}

// foldWord brings the spellings of a fixed word together: letter case does not
// matter to Graph, and a function may be written delta, delta() or
// microsoft.graph.delta.
func foldWord(word string) string {
	word = strings.TrimSuffix(strings.ToLower(word), "()")
	if short, ok := strings.CutPrefix(word, "microsoft.graph."); ok {
		return short
	}
	return strings.TrimPrefix(word, "graph.")
}

// foldParam brings the spellings of a parameter's name together.
func foldParam(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "")
	return strings.ReplaceAll(name, "_", "")
}
