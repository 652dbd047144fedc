package sandbox

import (
	"cmp"
	"slices"
)

// Route is a method on a template, documented or not.
type Route struct{ Method, Path string }

// Routes are all that the sandbox answers, in a fixed order.
func Routes() []Route {
	var all []Route
	graphTable().root.each(func(r *route) { all = append(all, Route{r.method, r.path}) })
	slices.SortFunc(all, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return slices.Compact(all)
}
