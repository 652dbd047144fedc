package catalog

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"outlook-connector/internal/fault"
)

// maxQuery is the longest query string, escaped. Servers refuse longer ones
// anyway.
const maxQuery = 16 << 10

// systemOptions are OData's query options that Graph takes and that do not
// continue an earlier read:
// https://learn.microsoft.com/graph/query-parameters
var systemOptions = []string{"$count", "$expand", "$filter", "$format", "$orderby", "$search", "$select", "$skip", "$top"}

var optionRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

// encodeQuery checks the names and values and writes the query string.
func (op *Operation) encodeQuery(t *template, values map[string]string) (string, error) {
	if len(values) == 0 && len(op.RequiredQuery) == 0 {
		return "", nil
	}
	query := make([]given, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		proper, err := op.queryName(name)
		if err != nil {
			return "", op.refuseQuery("%w", err)
		}
		if slices.ContainsFunc(query, func(o given) bool { return o.name == proper }) {
			return "", op.refuseQuery("%s is given twice", proper)
		}
		value := values[name]
		if !usualText(value) && (!utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl)) {
			return "", op.refuseQuery("the value of %s has a control character or is not valid UTF-8", proper)
		}
		query = append(query, given{proper, value})
	}
	for _, name := range op.RequiredQuery {
		if op.needsQuery(t) && !slices.ContainsFunc(query, func(o given) bool { return o.name == name && o.value != "" }) {
			return "", fault.New(fault.Poison, "%s: the query parameter %s is missing", op.ID, name).
				WithCode("query_missing").WithHint("%s needs the query parameters %s", op.ID, strings.Join(op.RequiredQuery, ", "))
		}
	}
	slices.SortFunc(query, func(a, b given) int { return strings.Compare(a.name, b.name) })
	var raw strings.Builder
	for _, o := range query {
		if raw.Len() > 0 {
			raw.WriteByte('&')
		}
		raw.WriteString(o.name)
		raw.WriteByte('=')
		// A plus sign is a space to form decoders and a plus to the rest, so a
		// space is always %20.
		raw.WriteString(strings.ReplaceAll(url.QueryEscape(o.value), "+", "%20"))
	}
	if raw.Len() > maxQuery {
		return "", op.refuseQuery("the query string has %d bytes, the limit is %d", raw.Len(), maxQuery)
	}
	return raw.String(), nil
}

func (op *Operation) refuseQuery(format string, args ...any) error {
	return fault.New(fault.Poison, "%s: query: "+format, append([]any{op.ID}, args...)...).WithCode("query_refused")
}

// queryName returns the proper spelling of a query parameter, or why it is
// refused.
func (op *Operation) queryName(name string) (string, error) {
	folded := strings.ToLower(name)
	switch strings.TrimPrefix(folded, "$") {
	case "skiptoken", "deltatoken":
		// They belong to the links that Graph returns, which are followed as
		// they are: https://learn.microsoft.com/graph/paging
		return "", fmt.Errorf("%s is part of a link that Graph returned and is not set by hand", name)
	}
	for _, list := range [][]string{systemOptions, op.RequiredQuery, op.OptionalQuery} {
		for _, known := range list {
			if strings.EqualFold(known, name) || strings.EqualFold(known, "$"+name) {
				if strings.HasPrefix(known, "$") {
					return strings.ToLower(known), nil
				}
				return known, nil
			}
		}
	}
	if folded == "$id" && slices.ContainsFunc(op.QueryTemplates, func(q string) bool { return strings.HasPrefix(q, "$id=") }) {
		return "$id", nil
	}
	if strings.HasPrefix(name, "$") {
		return "", fmt.Errorf("%q is not a query option of Graph", clip(name))
	}
	if len(name) > 64 || !optionRE.MatchString(name) {
		return "", fmt.Errorf("%q is not a name for a query parameter", clip(name))
	}
	return name, nil
}

// needsQuery reports whether the required query parameters are required of this
// template: all that a page lists, and of the others those that are views of a
// stretch of time.
func (op *Operation) needsQuery(t *template) bool {
	if t.source != extra {
		return true
	}
	return slices.ContainsFunc(t.segs, func(s segment) bool {
		return foldWord(s.text) == "calendarview" || foldWord(s.text) == "instances"
	})
}
