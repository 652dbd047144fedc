package xform

import (
	"strings"

	"github.com/itchyny/gojq"
)

// walker visits every part of a program. Each of its functions may be nil.
type walker struct {
	defined    map[string]bool
	name       func(name string)               // a function or a variable is used
	definition func(name string)               // a function or a variable is defined
	imported   func(path string)               // a module is imported
	rewrite    func(q *gojq.Query)             // after the parts of a query
	key        func(q *gojq.Query) *gojq.Query // the key of .[key]
}

func (w *walker) query(q *gojq.Query) {
	if q == nil {
		return
	}
	for _, im := range q.Imports {
		if w.imported != nil {
			w.imported(im.ImportPath + im.IncludePath)
		}
	}
	for _, def := range q.FuncDefs {
		if w.definition != nil {
			w.definition(def.Name)
			for _, arg := range def.Args {
				w.definition(arg)
			}
		}
		w.query(def.Body)
	}
	w.term(q.Term)
	w.query(q.Left)
	w.query(q.Right)
	w.patterns(q.Patterns)
	if w.rewrite != nil && q.Term == nil {
		w.rewrite(q)
	}
}

func (w *walker) queries(list ...*gojq.Query) {
	for _, q := range list {
		w.query(q)
	}
}

func (w *walker) term(t *gojq.Term) {
	if t == nil {
		return
	}
	w.index(t.Index)
	if t.Func != nil {
		if w.name != nil {
			w.name(t.Func.Name)
		}
		w.queries(t.Func.Args...)
	}
	if t.Object != nil {
		for _, member := range t.Object.KeyVals {
			if w.name != nil && strings.HasPrefix(member.Key, "$") {
				w.name(member.Key) // {$name} is short for {name: $name}
			}
			w.text(member.KeyString)
			w.queries(member.KeyQuery, member.Val)
		}
	}
	if t.Array != nil {
		w.query(t.Array.Query)
	}
	if t.Unary != nil {
		w.term(t.Unary.Term)
	}
	w.text(t.Str)
	if t.If != nil {
		w.queries(t.If.Cond, t.If.Then, t.If.Else)
		for _, elif := range t.If.Elif {
			w.queries(elif.Cond, elif.Then)
		}
	}
	if t.Try != nil {
		w.queries(t.Try.Body, t.Try.Catch)
	}
	if t.Reduce != nil {
		w.queries(t.Reduce.Query, t.Reduce.Start, t.Reduce.Update)
		w.patterns(t.Reduce.Patterns)
	}
	if t.Foreach != nil {
		w.queries(t.Foreach.Query, t.Foreach.Start, t.Foreach.Update, t.Foreach.Extract)
		w.patterns(t.Foreach.Patterns)
	}
	if t.Label != nil {
		w.query(t.Label.Body)
	}
	w.query(t.Query)
	for _, suffix := range t.SuffixList {
		w.index(suffix.Index)
	}
}

func (w *walker) index(x *gojq.Index) {
	if x == nil {
		return
	}
	w.text(x.Str)
	w.queries(x.Start, x.End)
	if w.key != nil && x.Start != nil && !x.IsSlice {
		x.Start = w.key(x.Start)
	}
}

func (w *walker) text(s *gojq.String) {
	if s != nil {
		w.queries(s.Queries...)
	}
}

func (w *walker) patterns(list []*gojq.Pattern) {
	for _, p := range list {
		if p == nil {
			continue
		}
		if w.definition != nil && p.Name != "" {
			w.definition(p.Name)
		}
		w.patterns(p.Array)
		for _, member := range p.Object {
			if w.definition != nil && strings.HasPrefix(member.Key, "$") {
				w.definition(member.Key)
			}
			w.text(member.KeyString)
			w.query(member.KeyQuery)
			w.patterns([]*gojq.Pattern{member.Val})
		}
	}
}
