// Package folders understands the patterns by which a configuration names mail
// and contact folders. It is a leaf: the configuration is checked by it, and the
// subscriber matches folders with it.
package folders

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"outlook-connector/internal/fault"
)

// Bounds of folder patterns: far above what a person writes.
const (
	maxPatterns   = 256
	maxPatternLen = 1024
)

// MailNames are the well-known names of mail folders: the same in every
// mailbox, whatever its language. msgfolderroot, the place of the top-level
// folders, may only begin a path.
// https://learn.microsoft.com/graph/api/resources/mailfolder
var MailNames = []string{
	"archive", "clutter", "conflicts", "conversationhistory", "deleteditems", "drafts", "inbox", "junkemail",
	"localfailures", Root, "outbox", "recoverableitemsdeletions", "scheduled", "searchfolders", "sentitems",
	"serverfailures", "syncissues",
}

// ContactNames is the one well-known name of a contact folder: the default one.
var ContactNames = []string{"contacts"}

// Root is the well-known name of the place of the top-level folders.
const Root = "msgfolderroot"

// Patterns say which folders of a mailbox are read. A pattern is a path of
// display names, from the top level of the mailbox, without regard to case:
//
//	inbox          the folder with this well-known name, in any language
//	inbox/Orders   a folder below it
//	Projects       a top-level folder by its display name
//	Projects/*     the folders right below Projects; * is any text in a name
//	Projects/**    Projects and all folders below it; ** is any number of levels
//	!Projects/Old  not this folder, nor any below it
//
// The last pattern that says something about a folder decides. A backslash
// takes the next character as it is: "A\/B" is a name with a slash, "\inbox" a
// folder that is displayed as "inbox", "\!x" a name that begins with an
// exclamation mark. A well-known name also means a top-level folder that is
// displayed under it: who writes "Archive" may mean the folder that is seen.
//
// Search folders show mails of other folders, so they are read only where a
// pattern without wildcards names them.
type Patterns struct {
	rules []patternRule
	// Known are the well-known names in use, whose ids must be asked for.
	Known []string
}

// patternRule is one pattern.
type patternRule struct {
	exclude bool
	// known is the well-known name that the first level is, or "".
	known  string
	levels []pathLevel
	// plain says that the pattern has no wildcard.
	plain bool
}

// pathLevel is what stands between two slashes.
type pathLevel struct {
	// any is "**": any number of levels, also none.
	any bool
	// runs are the texts between the asterisks, folded.
	runs []string
}

// Path is where a folder stands: the folded display names from the top
// level down, and the well-known names of those of its places that have one.
type Path struct {
	Names []string
	// Known[i] are the well-known names of the folder Names[i].
	Known [][]string
	// Root are the well-known names of what is above the top level.
	Root []string
	// Search says that it is a search folder.
	Search bool
}

// Names returns the well-known names of the folders that a path parameter stands
// for, nil where it stands for none that patterns name.
func Names(param string) []string {
	switch param {
	case "mailFolder-id":
		return MailNames
	case "contactFolder-id":
		return ContactNames
	default:
		return nil
	}
}

// Check says what is wrong with one pattern; names are the well-known ones.
func Check(pattern string, names []string) error {
	_, err := parse(pattern, names)
	return err
}

// Parse reads patterns; names are the well-known ones.
func Parse(patterns, names []string) (*Patterns, error) {
	var problems []error
	p := &Patterns{}
	includes := false
	for _, pattern := range patterns {
		rule, err := parse(pattern, names)
		if err != nil {
			problems = append(problems, fmt.Errorf("folder pattern %q: %w", pattern, err))
			continue
		}
		includes = includes || !rule.exclude
		p.rules = append(p.rules, rule)
		if rule.known != "" && !slices.Contains(p.Known, rule.known) {
			p.Known = append(p.Known, rule.known)
		}
	}
	switch {
	case len(patterns) > maxPatterns:
		problems = append(problems, fmt.Errorf("%d folder patterns are more than %d: name what they have in common with * or **", len(patterns), maxPatterns))
	case len(problems) == 0 && !includes:
		problems = append(problems, errors.New(`no pattern includes a folder: begin with "**" for all, or with "inbox"`))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fault.New(fault.Poison, "%w", err).WithCode("bad_folders").
			WithHint(`a pattern is a path of folder names: inbox, "Projects/*", "Projects/**", "!Projects/Old"; a slash within a name is written \/`)
	}
	slices.Sort(p.Known)
	return p, nil
}

// parse reads one pattern.
func parse(pattern string, names []string) (patternRule, error) {
	rule := patternRule{plain: true}
	text := pattern
	if rest, exclude := strings.CutPrefix(text, "!"); exclude {
		rule.exclude, text = true, rest
	}
	switch {
	case text == "":
		return rule, errors.New("it names no folder")
	case len(text) > maxPatternLen:
		return rule, fmt.Errorf("it is longer than %d bytes", maxPatternLen)
	case !utf8.ValidString(text):
		return rule, errors.New("it is not UTF-8")
	case strings.ContainsFunc(text, unicode.IsControl):
		return rule, errors.New("it has a control character")
	}
	levels, err := splitLevels(text)
	if err != nil {
		return rule, err
	}
	for i, level := range levels {
		parsed, err := level.parse()
		if err != nil {
			return rule, err
		}
		if i == 0 && !level.escaped && len(parsed.runs) == 1 && slices.Contains(names, parsed.runs[0]) {
			rule.known = parsed.runs[0]
		}
		rule.plain = rule.plain && !parsed.any && len(parsed.runs) == 1
		rule.levels = append(rule.levels, parsed)
	}
	if rule.known == Root {
		// Every path begins there.
		rule.known, rule.levels = "", rule.levels[1:]
		if len(rule.levels) == 0 {
			return rule, errors.New(Root + ` holds folders and no mails: "**" means all folders`)
		}
	}
	return rule, nil
}

// rawLevel is what stands between two slashes, with the places of the asterisks
// that are wildcards.
type rawLevel struct {
	text    []rune
	stars   []int
	escaped bool
}

// splitLevels cuts a pattern at the slashes that are not escaped.
func splitLevels(text string) ([]rawLevel, error) {
	levels := []rawLevel{{}}
	escaped := false
	for _, r := range text {
		at := &levels[len(levels)-1]
		switch {
		case escaped:
			escaped = false
			at.text = append(at.text, r)
		case r == '\\':
			escaped, at.escaped = true, true
		case r == '/':
			levels = append(levels, rawLevel{})
		default:
			if r == '*' {
				at.stars = append(at.stars, len(at.text))
			}
			at.text = append(at.text, r)
		}
	}
	if escaped {
		return nil, errors.New(`it ends with a backslash, which takes the character behind it as it is: write \\ for one backslash`)
	}
	for _, level := range levels {
		if len(level.text) == 0 {
			return nil, errors.New("it has a slash too many: a path neither begins nor ends with one")
		}
	}
	return levels, nil
}

func (l rawLevel) parse() (pathLevel, error) {
	if len(l.stars) == 2 && len(l.text) == 2 {
		return pathLevel{any: true}, nil
	}
	level := pathLevel{}
	from := 0
	for i, star := range l.stars {
		if i > 0 && star == l.stars[i-1]+1 {
			return level, errors.New("** stands for whole levels and is alone between slashes; within a name it is *")
		}
		level.runs = append(level.runs, Fold(string(l.text[from:star])))
		from = star + 1
	}
	level.runs = append(level.runs, Fold(string(l.text[from:])))
	return level, nil
}

// Match reports whether the folder is to be read.
func (p *Patterns) Match(path Path) bool {
	in := false
	for i := range p.rules {
		rule := &p.rules[i]
		if rule.exclude == in && rule.about(path) {
			in = !rule.exclude
		}
	}
	return in
}

// about reports whether the pattern says something about the folder.
func (r *patternRule) about(path Path) bool {
	if path.Search && !r.exclude && !r.plain {
		return false
	}
	if r.fits(r.levels, path.Names) {
		return true
	}
	if r.known == "" {
		return false
	}
	if slices.Contains(path.Root, r.known) && r.fits(r.levels[1:], path.Names) {
		return true
	}
	for i, known := range path.Known {
		if slices.Contains(known, r.known) && r.fits(r.levels[1:], path.Names[i+1:]) {
			return true
		}
	}
	return false
}

// fits matches levels with names; an exclude also fits where it matches a folder
// above.
func (r *patternRule) fits(levels []pathLevel, names []string) bool {
	// reach[i] says that the levels so far match the first i names.
	reach := make([]bool, len(names)+1)
	reach[0] = true
	for _, level := range levels {
		if level.any {
			for i := range names {
				reach[i+1] = reach[i+1] || reach[i]
			}
			continue
		}
		for i := len(names); i > 0; i-- {
			reach[i] = reach[i-1] && level.matches(names[i-1])
		}
		reach[0] = false
	}
	if r.exclude {
		return slices.Contains(reach, true)
	}
	return reach[len(names)]
}

// matches matches a folded name with a level.
func (l pathLevel) matches(name string) bool {
	last := len(l.runs) - 1
	if last == 0 {
		return name == l.runs[0]
	}
	rest, ok := strings.CutPrefix(name, l.runs[0])
	if !ok || len(rest) < len(l.runs[last]) || !strings.HasSuffix(rest, l.runs[last]) {
		return false
	}
	rest = rest[:len(rest)-len(l.runs[last])]
	for _, run := range l.runs[1:last] {
		at := strings.Index(rest, run) // the first place leaves the most for the others
		if at < 0 {
			return false
		}
		rest = rest[at+len(run):]
	}
	return true
}

// Fold makes names that differ by case alone the same: each rune becomes the
// smallest of those that case folding makes equal, as in [strings.EqualFold].
func Fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			least = min(least, other)
		}
		return unicode.ToLower(least)
	}, name)
}
