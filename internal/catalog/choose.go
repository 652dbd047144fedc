package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"outlook-connector/internal/fault"
)

// candidate is a template with the values for its parameters.
type candidate struct {
	template *template
	values   map[string]string
	missing  []string
	unused   []string
}

// choose finds the one template whose parameters are those given, and the value
// of each.
func (op *Operation) choose(roots []root, given map[string]string) (*template, map[string]string, error) {
	if t, values := op.quick(roots, given); t != nil {
		return t, values, nil
	}
	c, err := op.search(roots, given)
	return c.template, c.values, err
}

// quick is [Operation.search] for what is usual: a template that has as many
// parameters as are given, each by its own name, and that no other one equals. It
// finds nothing where it takes more than that to tell.
func (op *Operation) quick(roots []root, given map[string]string) (*template, map[string]string) {
	var found *template
	for _, r := range roots {
		for _, t := range op.usual[r] {
			switch {
			case len(t.params) != len(given):
			case found != nil:
				// It may fit by another spelling only, and that is not looked at here.
				if prefer(found, t) == 0 {
					return nil, nil
				}
			case !t.named(given):
				return nil, nil
			default:
				found = t
			}
		}
		if found != nil {
			break
		}
	}
	if found == nil || len(given) == 0 {
		return found, nil
	}
	return found, maps.Clone(given)
}

// named reports whether each parameter is given by its own name. A number may be
// that of a deeper child folder.
func (t *template) named(given map[string]string) bool {
	for _, name := range t.params {
		if _, ok := given[name]; !ok || name[len(name)-1] <= '9' {
			return false
		}
	}
	return true
}

// search tries all templates, in every spelling of the parameters, and says what
// is wrong where none fits.
func (op *Operation) search(roots []root, given map[string]string) (candidate, error) {
	named, wanted := given[TemplateParam]
	if wanted {
		given = maps.Clone(given)
		delete(given, TemplateParam)
		if rootOf(named) == rootGroup && slices.Contains(roots, rootGroup) {
			roots = []root{rootGroup} // the id is a group's, then
		}
	}
	templates := op.candidates(given)
	var tried []candidate
	for _, r := range roots {
		var fits []candidate
		for _, t := range templates {
			if t.root != r || wanted && !sameTemplate(t.path, named) || !wanted && op.hidden(t) {
				continue
			}
			c, err := assign(t, given)
			if err != nil {
				return candidate{}, op.pathError("path_refused", err)
			}
			tried = append(tried, c)
			if len(c.missing) == 0 && len(c.unused) == 0 {
				fits = append(fits, c)
			}
		}
		if len(fits) > 0 {
			return op.best(fits)
		}
	}
	if len(tried) == 0 {
		return candidate{}, op.pathError("path_unknown", fmt.Errorf("there is no template %q for this mailbox", clip(named)))
	}
	return candidate{}, op.misfit(tried)
}

// sameTemplate compares a template that somebody names with one of ours; the
// mailbox is given elsewhere, so its three forms are as good as each other.
func sameTemplate(path, named string) bool {
	rest := func(s string) string {
		for _, prefix := range []string{userPrefix, groupPrefix} {
			if tail, ok := strings.CutPrefix(s, prefix); ok {
				return "/me" + tail
			}
		}
		return s
	}
	return strings.EqualFold(rest(path), rest(named))
}

// hidden reports whether a template is known from the OpenAPI description only
// and asks for nothing that a documented one does not: it would be taken by
// merely forgetting a parameter (/me/messages/delta for a folder's delta).
func (op *Operation) hidden(t *template) bool {
	if t.source != extra {
		return false
	}
	// A kind of mailbox that has no documented template has nothing to be
	// mistaken for.
	if !slices.ContainsFunc(op.templates, func(o *template) bool { return o.root == t.root && o.source != extra }) {
		return false
	}
	return !slices.ContainsFunc(t.params, func(name string) bool { return !slices.Contains(op.PathParams, name) })
}

// maxDepth bounds the child folders in one path; far more than anybody nests.
const maxDepth = 64

// candidates are the operation's templates and, where a deeper child folder is
// named, those of that depth.
func (op *Operation) candidates(given map[string]string) []*template {
	if !op.NestedChildFolders {
		return op.templates
	}
	depth := 0
	for name := range given {
		_, digits, ok := strings.Cut(foldParam(name), "folderid")
		if n, err := strconv.Atoi(digits); ok && err == nil && n <= maxDepth {
			depth = max(depth, n)
		}
	}
	if depth < 2 {
		return op.templates
	}
	all := slices.Clone(op.templates)
	for _, t := range op.templates {
		if deep := t.deepen(depth); deep != nil {
			all = append(all, deep)
		}
	}
	return all
}

// assign gives the values to a template's parameters: by exact name, then by
// folded name, then "id" to the one that is left.
func assign(t *template, given map[string]string) (candidate, error) {
	c := candidate{template: t, values: make(map[string]string, len(t.params))}
	if len(given) == 0 {
		c.missing = slices.Clone(t.params)
		return c, nil
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		at := slices.Index(t.params, name)
		if at < 0 {
			at = slices.IndexFunc(t.params, func(p string) bool { return foldParam(p) == foldParam(name) })
		}
		if at < 0 {
			c.unused = append(c.unused, name)
			continue
		}
		if _, twice := c.values[t.params[at]]; twice {
			return c, fmt.Errorf("the parameter %s is given twice", t.params[at])
		}
		c.values[t.params[at]] = given[name]
	}
	for _, name := range t.params {
		if _, ok := c.values[name]; !ok {
			c.missing = append(c.missing, name)
		}
	}
	id := slices.IndexFunc(c.unused, func(name string) bool { return foldParam(name) == "id" })
	if id >= 0 && len(c.missing) == 1 {
		c.values[c.missing[0]] = given[c.unused[id]]
		c.missing, c.unused = nil, slices.Delete(c.unused, id, id+1)
	}
	return c, nil
}

// prefer orders templates that fit equally well: the preferred first.
func prefer(a, b *template) int {
	return cmp.Or(int(a.source)-int(b.source), len(a.segs)-len(b.segs), b.own-a.own)
}

// best takes the preferred one of the templates that fit.
func (op *Operation) best(fits []candidate) (candidate, error) {
	rank := func(a, b candidate) int { return prefer(a.template, b.template) }
	if len(fits) > 1 {
		slices.SortStableFunc(fits, rank)
	}
	if len(fits) == 1 || rank(fits[0], fits[1]) < 0 {
		return fits[0], nil
	}
	var paths []string
	for _, f := range fits {
		if rank(fits[0], f) == 0 {
			paths = append(paths, f.template.path)
		}
	}
	err := fault.New(fault.Poison, "%s: the path parameters fit several templates: %s", op.ID, strings.Join(paths, ", "))
	return candidate{}, err.WithCode("path_ambiguous").
		WithHint("choose one with the path parameter %s, such as %q", TemplateParam, paths[0])
}

// ownNames counts the parameters that stand behind their own collection, as
// {event-id} does in …/events/{event-id} and not in …/calendarView/{event-id}.
func (t *template) ownNames() int {
	n := 0
	for i := 1; i < len(t.segs); i++ {
		stem, _, _ := strings.Cut(t.segs[i].param, "-")
		if stem != "" && strings.EqualFold(t.segs[i-1].text, stem+"s") {
			n++
		}
	}
	return n
}

// misfit says what is wrong with the parameters, by the template that comes
// nearest.
func (op *Operation) misfit(tried []candidate) error {
	nearest := slices.MinFunc(tried, func(a, b candidate) int {
		if diff := len(a.unused) - len(b.unused); diff != 0 {
			return diff
		}
		if diff := len(a.missing) - len(b.missing); diff != 0 {
			return diff
		}
		return int(a.template.source) - int(b.template.source)
	})
	path := nearest.template.path
	if len(nearest.unused) > 0 {
		name := nearest.unused[0]
		known := slices.ContainsFunc(tried, func(c candidate) bool { return !slices.Contains(c.unused, name) })
		switch folded := foldParam(name); {
		case folded == "userid" || folded == "groupid":
			return op.pathError("path_unknown", fmt.Errorf("%q is not a path parameter here", clip(name))).
				WithHint("give the user or the group as mailbox")
		case known || folded == "id":
			return op.pathError("path_unknown", fmt.Errorf("the path parameter %q is too much for %s", clip(name), path)).
				WithHint("%s", op.takes(tried))
		default:
			return op.pathError("path_unknown", fmt.Errorf("there is no path parameter %q", clip(name))).
				WithHint("%s", op.takes(tried))
		}
	}
	return op.pathError("path_missing", fmt.Errorf("%s needs the path parameter %s", path, strings.Join(nearest.missing, ", "))).
		WithHint("%s", op.takes(tried))
}

// takes lists the sets of parameters that would do.
func (op *Operation) takes(tried []candidate) string {
	var sets []string
	for _, c := range tried {
		set := strings.Join(c.template.params, " + ")
		if set == "" {
			set = "no path parameter"
		}
		if !slices.Contains(sets, set) {
			sets = append(sets, set)
		}
	}
	slices.SortStableFunc(sets, func(a, b string) int { return len(a) - len(b) })
	return "give " + strings.Join(sets, ", or ")
}

func (op *Operation) pathError(code string, err error) *fault.Error {
	return fault.New(fault.Poison, "%s: %w", op.ID, err).WithCode(code)
}
