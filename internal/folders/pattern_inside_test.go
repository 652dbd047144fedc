package folders

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"outlook-connector/internal/fault"
)

// at is the place of a folder: names from the top level down. A name may say
// which well-known folder it is: "Posteingang=inbox".
func at(names ...string) Path {
	var path Path
	for _, name := range names {
		name, known, is := strings.Cut(name, "=")
		path.Names = append(path.Names, Fold(name))
		if is {
			path.Known = append(path.Known, []string{known})
		} else {
			path.Known = append(path.Known, nil)
		}
	}
	return path
}

func TestPatternsChooseFolders(t *testing.T) {
	t.Parallel()
	german, archive := "Posteingang=inbox", "Archiv=archive"
	for _, c := range []struct {
		name     string
		patterns []string
		in, out  []Path
	}{
		{
			"the contract's example",
			[]string{"inbox", "Projects/**", "!Projects/Old"},
			[]Path{at(german), at("Projects"), at("Projects", "A"), at("Projects", "A", "B"), at("projects", "OLDER")},
			[]Path{at(german, "Sub"), at("Projects", "Old"), at("projects", "old", "2019"), at("Other"), at("Other", "Projects"), at(archive)},
		},
		{
			"a level at a time",
			[]string{"Projects/*"},
			[]Path{at("Projects", "A")},
			[]Path{at("Projects"), at("Projects", "A", "B")},
		},
		{
			"below and not itself",
			[]string{"Projects/*/**"},
			[]Path{at("Projects", "A"), at("Projects", "A", "B")},
			[]Path{at("Projects")},
		},
		{
			"any depth before",
			[]string{"**/Invoices"},
			[]Path{at("Invoices"), at("a", "Invoices"), at("a", "b", "invoices")},
			[]Path{at("Invoices", "2019"), at("MyInvoices")},
		},
		{
			"asterisks in a name",
			[]string{"A*b*c"},
			[]Path{at("abc"), at("AxxBxxC"), at("abbcc")},
			[]Path{at("ab"), at("abcd"), at("ac", "b"), at("xabc")},
		},
		{
			"overlapping ends",
			[]string{"ab*ba"},
			[]Path{at("abba"), at("abxba")},
			[]Path{at("aba")},
		},
		{
			"all but some",
			[]string{"**", "!deleteditems", "!*/private", "*/private/shared"},
			[]Path{at("x"), at("x", "private", "shared"), at("x", "y", "private")},
			[]Path{at("Papierkorb=deleteditems"), at("Papierkorb=deleteditems", "x"), at("x", "private"), at("x", "private", "y")},
		},
		{
			"the last one decides",
			[]string{"!a", "**", "!a/b", "a/b/c"},
			[]Path{at("a"), at("a", "b", "c"), at("z")},
			[]Path{at("a", "b"), at("a", "b", "c", "d")},
		},
		{
			"well-known names in any case, and what is displayed so",
			[]string{"INBOX/Orders", "archive"},
			[]Path{at(german, "orders"), at("Inbox", "Orders"), at(archive), at("Archive")},
			[]Path{at("Orders"), at(german), at("Posteingang", "Orders"), at("x", "Inbox", "Orders")},
		},
		{
			"a well-known folder that is not at the top",
			[]string{"conflicts"},
			[]Path{at("Synchronisierungsprobleme=syncissues", "Konflikte=conflicts"), at("Conflicts")},
			[]Path{at("Synchronisierungsprobleme=syncissues"), at("x", "Conflicts")},
		},
		{
			"escaped",
			[]string{`\inbox`, `A\/B`, `\!x`, `a\*b`, `c\\d`, `!in\*`},
			[]Path{at("inbox"), at("A/B"), at("!x"), at("a*b"), at(`c\d`)},
			[]Path{at(german), at("A", "B"), at("axb"), at("x"), at("cd")},
		},
		{
			"the root",
			[]string{"msgfolderroot/x", "MsgFolderRoot/y/**"},
			[]Path{at("x"), at("y"), at("y", "z")},
			[]Path{at("msgfolderroot", "x"), at("x", "y")},
		},
		{
			"cases beyond ASCII",
			[]string{"ÄRGER", "Straße", "\u212Aelvin"},
			[]Path{at("ärger"), at("STRAßE"), at("kelvin"), at("KELVIN")},
			[]Path{at("arger")},
		},
	} {
		p, err := Parse(c.patterns, MailNames)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for _, path := range c.in {
			if !p.Match(path) {
				t.Errorf("%s: %v does not read %v", c.name, c.patterns, path.Names)
			}
		}
		for _, path := range c.out {
			if p.Match(path) {
				t.Errorf("%s: %v reads %v", c.name, c.patterns, path.Names)
			}
		}
	}
}

func TestSearchFoldersAreReadByNameAlone(t *testing.T) {
	t.Parallel()
	unread := at("Search", "Unread")
	unread.Search = true
	for _, c := range []struct {
		patterns []string
		want     bool
	}{
		{[]string{"**"}, false},
		{[]string{"Search/*"}, false},
		{[]string{"Search/Unread"}, true},
		{[]string{"Search/Unread", "!**"}, false},
	} {
		p, err := Parse(append(c.patterns, "x"), MailNames)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(unread); got != c.want {
			t.Errorf("%v reads a search folder: %v", c.patterns, got)
		}
	}
}

func TestContactFoldersStandBelowTheDefaultOne(t *testing.T) {
	t.Parallel()
	p, err := Parse([]string{"Contacts/Friends", "Work"}, ContactNames)
	if err != nil {
		t.Fatal(err)
	}
	friends, work := at("Friends"), at("Work")
	friends.Root, work.Root = []string{"contacts"}, []string{"contacts"}
	if !p.Match(friends) || !p.Match(work) || p.Match(at("Friends")) || p.Match(at("Kontakte=contacts")) {
		t.Error("folders below the default one are not what they are")
	}
}

func TestWrongPatternsSayWhatIsWrong(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"":                                   "names no folder",
		"!":                                  "names no folder",
		"/a":                                 "slash too many",
		"a/":                                 "slash too many",
		"a//b":                               "slash too many",
		`a\`:                                 "ends with a backslash",
		"a**":                                "alone between slashes",
		"***":                                "alone between slashes",
		"a\nb":                               "control character",
		"a\xff":                              "not UTF-8",
		"msgfolderroot":                      "holds folders",
		strings.Repeat("a", maxPatternLen+1): "longer than",
		"!a":                                 "no pattern includes",
	} {
		_, err := Parse([]string{pattern}, MailNames)
		if err == nil || !strings.Contains(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	if _, err := Parse(make([]string, maxPatterns+1), MailNames); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("too many: %v", err)
	}
	both := []string{"a//b", "c**"}
	if _, err := Parse(both, MailNames); err == nil || !strings.Contains(err.Error(), "a//b") || !strings.Contains(err.Error(), "c**") {
		t.Errorf("not all problems at once: %v", err)
	}
}

// TestPatternsAgreeWithRegularExpressions holds the matching against another way
// to say the same.
func TestPatternsAgreeWithRegularExpressions(t *testing.T) {
	t.Parallel()
	level := rapid.SampledFrom([]string{"a", "b", "ab", "*", "a*", "*b", "a*b", "**", "*a*", "B"})
	pattern := rapid.Custom(func(t *rapid.T) string {
		levels := rapid.SliceOfN(level, 1, 4).Draw(t, "levels")
		return rapid.SampledFrom([]string{"", "!"}).Draw(t, "exclude") + strings.Join(levels, "/")
	})
	name := rapid.SampledFrom([]string{"a", "b", "ab", "aab", "ba", "A"})
	rapid.Check(t, func(t *rapid.T) {
		patterns := append([]string{"z"}, rapid.SliceOfN(pattern, 1, 5).Draw(t, "patterns")...)
		names := rapid.SliceOfN(name, 1, 5).Draw(t, "names")
		p, err := Parse(patterns, MailNames)
		if err != nil {
			t.Fatal(err)
		}
		want := false
		for _, pattern := range patterns {
			rest, exclude := strings.CutPrefix(pattern, "!")
			if expression(rest, exclude).MatchString(strings.Join(names, "/") + "/") {
				want = !exclude
			}
		}
		if got := p.Match(at(names...)); got != want {
			t.Fatalf("%q on %q: %v", patterns, names, got)
		}
	})
}

func expression(pattern string, below bool) *regexp.Regexp {
	var text strings.Builder
	text.WriteString("(?i)^")
	for level := range strings.SplitSeq(pattern, "/") {
		if level == "**" {
			text.WriteString("([^/]+/)*")
			continue
		}
		text.WriteString(strings.ReplaceAll(regexp.QuoteMeta(level), `\*`, "[^/]*") + "/")
	}
	if !below {
		text.WriteString("$")
	}
	return regexp.MustCompile(text.String())
}

func FuzzFolderPatterns(f *testing.F) {
	for _, seed := range []string{"inbox", "Projects/**", "!a/*", `\inbox`, `a\/b`, "***", "K/ſ"} {
		f.Add(seed, "Projects", "Old")
	}
	f.Fuzz(func(t *testing.T, pattern, top, name string) {
		p, err := Parse([]string{"**", pattern}, MailNames)
		if err != nil {
			if fault.HintOf(err) == "" {
				t.Fatalf("%q: no hint", pattern)
			}
			return
		}
		p.Match(at(top, name))
		// What is escaped whole means itself.
		if top == "" || strings.ContainsFunc(top, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' || r > 0x7f }) || len(top) > 400 {
			return
		}
		var escaped strings.Builder
		for _, r := range top {
			escaped.WriteString(`\` + string(r))
		}
		literal, err := Parse([]string{escaped.String()}, MailNames)
		if err != nil {
			t.Fatal(err)
		}
		if path := (Path{Names: []string{Fold(top)}, Known: [][]string{nil}}); !literal.Match(path) {
			t.Fatalf("%q does not match itself", top)
		}
	})
}
