package xform

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

const (
	// matchCost is what one match costs beyond its text.
	matchCost = 512
	// scanCost is what one byte of text costs to look at.
	scanCost = 16
	// maxPatterns is how many expressions a program keeps. Expressions are
	// mostly literals; one that takes them from its input must not fill the
	// memory with them.
	maxPatterns = 64
)

// pattern is a compiled regular expression.
type pattern struct {
	re *regexp.Regexp
	// after matches any one character and then the expression, so that an
	// empty match behind that character can be looked for with the character in
	// sight (for \b and the like). It may be nil.
	after *regexp.Regexp
	names []string
}

// patterns are the expressions of one program. They are safe for concurrent use.
type patterns struct {
	mu    sync.Mutex
	known map[[2]string]*pattern
}

func newPatterns() *patterns { return &patterns{known: make(map[[2]string]*pattern)} }

func (p *patterns) compile(expr, flags string) (*pattern, error) {
	key := [2]string{expr, flags}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.known[key]; known != nil {
		return known, nil
	}
	if strings.Trim(flags, "gim") != "" {
		return nil, fmt.Errorf("unsupported regular expression flag: %q", flags)
	}
	source := expr
	if strings.Contains(flags, "i") {
		source = "(?i)" + source
	}
	if strings.Contains(flags, "m") {
		source = "(?s)" + source
	}
	re, err := regexp.Compile(source)
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression: %w", err)
	}
	made := &pattern{re: re, names: re.SubexpNames()}
	made.after, _ = regexp.Compile(`\A(?s:.)(?:` + source + `)`)
	if len(p.known) >= maxPatterns {
		clear(p.known)
	}
	p.known[key] = made
	return made, nil
}

// prepare reads the arguments of all functions here.
func (p *patterns) prepare(b *budget, v any, args []any) (text string, re *pattern, global bool, err error) {
	text, ok := v.(string)
	if !ok {
		return "", nil, false, fmt.Errorf("match cannot be applied to: %s", gojq.Preview(v))
	}
	expr, ok := args[0].(string)
	if !ok {
		return "", nil, false, fmt.Errorf("a regular expression must be a string: %s", gojq.Preview(args[0]))
	}
	flags, ok := args[1].(string)
	if !ok && args[1] != nil {
		return "", nil, false, fmt.Errorf("flags of a regular expression must be a string: %s", gojq.Preview(args[1]))
	}
	if len(expr) > maxDigits {
		return "", nil, false, errors.New("the regular expression is too long")
	}
	if err := b.charge(scanCost*len(text) + matchCost); err != nil {
		return "", nil, false, err
	}
	re, err = p.compile(expr, flags)
	return text, re, strings.Contains(flags, "g"), err
}

// all returns the matches as pairs of byte offsets, the groups included.
func (re *pattern) all(b *budget, text string, global bool) ([][]int, error) {
	if !global {
		if m := re.re.FindStringSubmatchIndex(text); m != nil {
			return [][]int{m}, nil
		}
		return nil, nil
	}
	most := b.work/(matchCost*len(re.names)) + 1
	found := re.re.FindAllStringSubmatchIndex(text, most)
	if err := b.charge(matchCost * len(re.names) * len(found)); err != nil {
		return nil, err
	}
	if re.after == nil {
		return found, nil
	}
	// Go passes over an empty match right behind another one, jq does not: "aab"
	// has for a* the matches "aa", "" and "".
	var all [][]int
	for i, m := range found {
		all = append(all, m)
		end := m[1]
		if m[0] == end || i+1 < len(found) && found[i+1][0] == end {
			continue
		}
		_, size := utf8.DecodeLastRuneInString(text[:end])
		if err := b.charge(matchCost); err != nil {
			return nil, err
		}
		next := re.after.FindStringSubmatchIndex(text[end-size:])
		if next == nil || next[1] != size {
			continue
		}
		for j := range next {
			if next[j] >= 0 {
				next[j] += end - size
			}
		}
		next[0] = end
		all = append(all, next)
	}
	return all, nil
}

// counter turns byte offsets, asked for in rising order, into characters.
type counter struct {
	text        string
	bytes, runs int
}

func (c *counter) at(offset int) int {
	if offset < c.bytes {
		return c.runs - utf8.RuneCountInString(c.text[offset:c.bytes])
	}
	c.runs += utf8.RuneCountInString(c.text[c.bytes:offset])
	c.bytes = offset
	return c.runs
}

// match returns jq's match objects.
func (p *patterns) match(b *budget, v any, args []any) any {
	text, re, global, err := p.prepare(b, v, args)
	if err != nil {
		return err
	}
	found, err := re.all(b, text, global)
	if err != nil {
		return err
	}
	chars := &counter{text: text}
	list := make([]any, len(found))
	for i, m := range found {
		object := span(chars, text, m[0], m[1])
		groups := make([]any, 0, len(re.names)-1)
		for j := 1; j < len(re.names); j++ {
			group := map[string]any{"offset": -1, "length": 0, "string": nil}
			if m[2*j] >= 0 {
				group = span(chars, text, m[2*j], m[2*j+1])
			}
			group["name"] = nil
			if re.names[j] != "" {
				group["name"] = re.names[j]
			}
			groups = append(groups, group)
		}
		object["captures"] = groups
		list[i] = object
	}
	return list
}

func span(chars *counter, text string, from, to int) map[string]any {
	offset := chars.at(from)
	return map[string]any{"offset": offset, "length": utf8.RuneCountInString(text[from:to]), "string": text[from:to]}
}

// test reports whether there is a match.
func (p *patterns) test(b *budget, v any, args []any) any {
	text, re, _, err := p.prepare(b, v, args)
	if err != nil {
		return err
	}
	return re.re.MatchString(text)
}

// sub cuts the text at its matches: for each {before, named}, where named are
// the named groups, and at last {before} with the rest.
func (p *patterns) sub(b *budget, v any, args []any) any {
	text, re, global, err := p.prepare(b, v, args)
	if err != nil {
		return err
	}
	found, err := re.all(b, text, global)
	if err != nil {
		return err
	}
	list := make([]any, 0, len(found)+1)
	at := 0
	for _, m := range found {
		named := make(map[string]any)
		for j, name := range re.names {
			if name == "" {
				continue
			}
			named[name] = nil
			if m[2*j] >= 0 {
				named[name] = text[m[2*j]:m[2*j+1]]
			}
		}
		list = append(list, map[string]any{"before": text[at:m[0]], "named": named})
		at = m[1]
	}
	return append(list, map[string]any{"before": text[at:]})
}

// glue puts the pieces of sub together: the nth result takes the nth
// replacement of each match.
func glue(b *budget, v any, _ []any) any {
	pieces, _ := v.([]any)
	if err := b.weigh(2, v); err != nil {
		return err
	}
	var results []any
	var texts []*strings.Builder
	for i, item := range pieces {
		piece, _ := item.(map[string]any)
		before, _ := piece["before"].(string)
		with, _ := piece["with"].([]any)
		if i == len(pieces)-1 {
			if i == 0 {
				return []any{before}
			}
			for _, t := range texts {
				t.WriteString(before)
				results = append(results, t.String())
			}
			return results
		}
		for n, replacement := range with {
			s, ok := replacement.(string)
			if !ok {
				return fmt.Errorf("the replacement is not a string: %s", gojq.Preview(replacement))
			}
			if n == len(texts) {
				texts = append(texts, new(strings.Builder))
			}
			texts[n].WriteString(before)
			texts[n].WriteString(s)
		}
	}
	return []any{}
}
