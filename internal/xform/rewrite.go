package xform

import (
	"strings"

	"github.com/itchyny/gojq"
)

// nameError refuses a name in a program.
type nameError struct{ name, text string }

func (e *nameError) Error() string { return e.text }

// refused are functions that reach out of the program, with the reason.
var refused = map[string]string{
	"env":               "a transform does not see the environment",
	"$ENV":              "a transform does not see the environment",
	"input":             "a transform has one input, which is .",
	"inputs":            "a transform has one input, which is .",
	"input_filename":    "a transform has no files",
	"input_line_number": "a transform has no files",
	"get_search_list":   "a transform has no files",
	"modulemeta":        "a transform has no modules",
	"debug":             "a transform has nowhere to print to",
	"stderr":            "a transform has nowhere to print to",
	"halt":              "a transform cannot stop the program; use empty or error",
	"halt_error":        "a transform cannot stop the program; use error",
}

// vet refuses what has no place in a transform. It runs on the program as it
// was written.
func vet(query *gojq.Query) error {
	w := walker{defined: make(map[string]bool)}
	w.definition = func(name string) { w.defined[name] = true }
	w.query(query)
	var bad error
	w = walker{defined: w.defined}
	w.imported = func(string) {
		bad = &nameError{text: "a transform has no modules: import and include are not available"}
	}
	w.name = func(name string) {
		switch reason := refused[name]; {
		case bad != nil || w.defined[name]:
		case reason != "":
			bad = &nameError{name: name, text: name + " is not available: " + reason}
		// Names with an underscore are the inner functions of gojq and of this
		// package, which do not check what they are given.
		case strings.HasPrefix(name, "_"):
			bad = &nameError{name: name, text: "function not defined: " + name}
		case strings.HasPrefix(name, "$__") && name != "$__loc__":
			bad = &nameError{name: name, text: "variable not defined: " + name}
		}
	}
	w.definition = func(name string) {
		if bad == nil && (strings.HasPrefix(name, guardPrefix) || strings.HasPrefix(name, "$__")) {
			bad = &nameError{name: name, text: "the name " + name + " is taken"}
		}
	}
	w.query(query)
	return bad
}

// guarded returns the program with a check before each operation that could
// cost much (see guard.go), and with the checked functions defined before it.
func guarded(query *gojq.Query) (*gojq.Query, error) {
	w := walker{rewrite: guardOperator, key: guardKey}
	w.query(query)
	prelude, err := gojq.Parse(preludeSource + " .")
	if err != nil {
		return nil, err
	}
	w.query(prelude)
	query.FuncDefs = append(prelude.FuncDefs, query.FuncDefs...)
	return query, nil
}

// guardOperator puts the check before an operator. a * b becomes
// _xform_pair($__run; "*"; a; b) | .[0] * .[1], where the function returns its
// two arguments as an array unless they are too much. An assignment becomes a
// call of the function behind it, which the prelude has in a checked form.
func guardOperator(q *gojq.Query) {
	switch q.Op {
	case gojq.OpAssign:
		replace(q, call("_assign", q.Left, q.Right))
	case gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe:
		// Comparing with a scalar ends at once.
		if scalar(q.Left) || scalar(q.Right) {
			return
		}
		fallthrough
	case gojq.OpAdd, gojq.OpSub, gojq.OpMul, gojq.OpDiv:
		if q.Op != gojq.OpMul && (number(q.Left) || number(q.Right)) {
			return
		}
		op := q.Op
		replace(q, &gojq.Query{
			Left:  call(guardPrefix+"pair", call(runVariable), text(op.String()), q.Left, q.Right),
			Op:    gojq.OpPipe,
			Right: &gojq.Query{Left: element("0"), Op: op, Right: element("1")},
		})
	}
}

// replace puts another expression into the place of a query, whose own
// definitions stay in front of it.
func replace(q, with *gojq.Query) {
	with.Meta, with.Imports, with.FuncDefs = q.Meta, q.Imports, q.FuncDefs
	*q = *with
}

// guardKey puts the check into .[key]: an array as key searches, which takes
// the product of both lengths. It stays untouched where the key is a literal.
func guardKey(key *gojq.Query) *gojq.Query {
	if scalar(key) {
		return key
	}
	return &gojq.Query{Left: key, Op: gojq.OpPipe, Right: call(guardPrefix + "key")}
}

func call(name string, args ...*gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: args}}}
}

func text(s string) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeString, Str: &gojq.String{Str: s}}}
}

// element is .[n].
func element(n string) *gojq.Query {
	index := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeNumber, Number: n}}
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIndex, Index: &gojq.Index{Start: index}}}
}

// number reports whether a query is a number in so many words.
func number(q *gojq.Query) bool {
	return q.Term != nil && q.Term.Type == gojq.TermTypeNumber && len(q.Term.SuffixList) == 0 && len(q.Term.Number) < 20
}

// scalar reports whether a query is a value without parts in so many words.
func scalar(q *gojq.Query) bool {
	if q.Term == nil || len(q.Term.SuffixList) > 0 {
		return false
	}
	switch q.Term.Type {
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse:
		return true
	case gojq.TermTypeString:
		return q.Term.Str.Queries == nil
	case gojq.TermTypeNumber:
		return number(q)
	default:
		return false
	}
}
