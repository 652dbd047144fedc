package catalog

import (
	"cmp"
	"slices"
	"strings"
	"unicode"

	"outlook-connector/internal/fault"
)

// Lookup finds an operation by its id or its title, without regard to case; in
// titles the articles a, an, the and the spacing do not matter, and the group
// may be left out ("Send mail" for "Mail - Send mail"). The error lists the ids
// where a title fits several operations, and the nearest ids where it fits
// none. It is of kind Poison, with the code "entity_ambiguous" or
// "entity_unknown".
func (c *Catalog) Lookup(name string) (*Operation, error) {
	trimmed := strings.TrimSpace(name)
	if op := c.byID[strings.ToLower(trimmed)]; op != nil {
		return op, nil
	}
	hits := c.byTitle[foldTitle(trimmed)]
	switch {
	case len(hits) == 1:
		return hits[0], nil
	case len(hits) > 1:
		return nil, fault.New(fault.Poison, "the title %q fits several entities: %s", clip(trimmed), joinIDs(hits)).
			WithCode("entity_ambiguous").
			WithHint("name it by its id, such as %s", hits[0].ID)
	}
	text := "no entity %q in the catalogue"
	args := []any{clip(trimmed)}
	if near := c.near(trimmed); len(near) > 0 {
		text += "; near it: %s"
		args = append(args, joinIDs(near))
	}
	return nil, fault.New(fault.Poison, text, args...).
		WithCode("entity_unknown").
		WithHint("outlook-connector entities%s", c.searchWord(trimmed))
}

// searchWord returns, with a space before it, the longest word of a name for
// which Search finds something, or "".
func (c *Catalog) searchWord(name string) string {
	words := strings.FieldsFunc(clip(name), func(r rune) bool { return !unicode.IsLetter(r) })
	slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
	for _, word := range words {
		if found := c.Search(word); len(found) > 0 && len(found) < len(c.ops)/2 {
			return " " + word
		}
	}
	return ""
}

// Search returns the operations whose id, title, method or documented paths
// contain every word of the pattern, without regard to case; words may hold *
// as in [Catalog.Select]. An empty pattern returns all. The order is that of
// the ids.
func (c *Catalog) Search(pattern string) []*Operation {
	words := strings.Fields(strings.ToLower(pattern))
	var found []*Operation
	for _, op := range c.ops {
		text := strings.ToLower(strings.Join(append([]string{op.ID, op.Title, op.Method}, op.Paths...), "\n"))
		if !slices.ContainsFunc(words, func(word string) bool {
			return !strings.Contains(text, word) && !glob(word, strings.ToLower(op.ID))
		}) {
			found = append(found, op)
		}
	}
	return found
}

// Select returns the operations whose id fits a glob, for policies: * stands
// for any text, dots included, ? for one character, and case does not matter.
// "mail.*" is everything of mail, "calendar.event.*" everything of events. A
// pattern that fits nothing returns nil, which a policy should refuse as a
// slip.
func (c *Catalog) Select(pattern string) []*Operation {
	pattern = strings.ToLower(strings.TrimSpace(pattern))
	var found []*Operation
	for _, op := range c.ops {
		if glob(pattern, strings.ToLower(op.ID)) {
			found = append(found, op)
		}
	}
	return found
}

// glob matches * and ?. It keeps one place to come back to, so that its time
// is the product of the lengths and not exponential.
func glob(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// titleKeys returns the folded spellings under which a title is found: in full
// and without its group.
func titleKeys(title string) []string {
	keys := []string{foldTitle(title)}
	if _, page, ok := strings.Cut(title, " - "); ok {
		keys = append(keys, foldTitle(page))
	}
	return keys
}

// foldTitle drops what does not tell titles apart. The dash between group and
// page is dropped with its spaces, since people type it in several ways.
func foldTitle(title string) string {
	title = strings.NewReplacer("–", " - ", "—", " - ", " -", " - ", "- ", " - ", ":", " : ").Replace(strings.ToLower(title))
	words := strings.Fields(title)
	words = slices.DeleteFunc(words, func(w string) bool {
		return w == "a" || w == "an" || w == "the"
	})
	return strings.Join(words, " ")
}

// near returns up to five operations that somebody may have meant: those whose
// id, title or page is most like the name, the likest first.
func (c *Catalog) near(name string) []*Operation {
	name = clip(strings.ToLower(name))
	type scored struct {
		op    *Operation
		score float64
	}
	var all []scored
	for _, op := range c.ops {
		id, title := strings.ToLower(op.ID), foldTitle(op.Title)
		best := max(similarity(name, id), similarity(foldTitle(name), title))
		for _, key := range titleKeys(op.Title)[1:] {
			best = max(best, similarity(foldTitle(name), key))
		}
		if best >= 0.5 {
			all = append(all, scored{op, best})
		}
	}
	slices.SortStableFunc(all, func(a, b scored) int { return cmp.Compare(b.score, a.score) })
	var ops []*Operation
	for _, s := range all[:min(len(all), 5)] {
		// A near-perfect hit needs no company.
		if len(ops) > 0 && s.score < all[0].score-0.25 {
			break
		}
		ops = append(ops, s.op)
	}
	return ops
}

// similarity is 1 for equal texts and falls to 0 with the number of pairs of
// letters that are not in both (Dice's coefficient), which forgives a swapped
// order of words.
func similarity(a, b string) float64 {
	if a == b {
		return 1
	}
	pairs := make(map[string]int)
	for i := range len(a) - 1 {
		pairs[a[i:i+2]]++
	}
	common := 0
	for i := range len(b) - 1 {
		if pairs[b[i:i+2]] > 0 {
			pairs[b[i:i+2]]--
			common++
		}
	}
	if total := len(a) + len(b) - 2; total > 0 {
		return 2 * float64(common) / float64(total)
	}
	return 0
}

// clip keeps a stranger's text from filling an error message.
func clip(text string) string {
	const most = 120
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

func joinIDs(ops []*Operation) string {
	ids := make([]string, len(ops))
	for i, op := range ops {
		ids[i] = op.ID
	}
	return strings.Join(ids, ", ")
}
