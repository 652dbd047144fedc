package xform

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/itchyny/gojq"
)

const (
	// guardPrefix begins the names of this package's own functions. Programs
	// cannot use such names.
	guardPrefix = "_xform_"
	// runVariable holds the budget of the run, for those functions.
	runVariable = "$__run"
)

// guards are this package's functions for gojq. Their first argument is always
// the budget.
func guards() []gojq.CompilerOption {
	patterns := newPatterns()
	function := func(name string, arity int, f func(b *budget, v any, args []any) any) gojq.CompilerOption {
		return gojq.WithFunction(guardPrefix+name, arity+1, arity+1, func(v any, args []any) any {
			b, ok := args[0].(*budget)
			if !ok {
				return errors.New("no budget")
			}
			return f(b, v, args[1:])
		})
	}
	// check makes a function that returns its input or an error.
	check := func(name string, arity int, f func(b *budget, v any, args []any) error) gojq.CompilerOption {
		return function(name, arity, func(b *budget, v any, args []any) any {
			if err := f(b, v, args); err != nil {
				return err
			}
			return v
		})
	}
	return []gojq.CompilerOption{
		gojq.WithVariables([]string{runVariable}),
		function("pair", 3, guardPair),
		function("match", 2, patterns.match),
		function("test", 2, patterns.test),
		function("sub", 2, patterns.sub),
		function("glue", 0, glue),
		check("charge", 1, func(b *budget, v any, args []any) error {
			times, _ := gojq.ToInt(args[0])
			return b.weigh(times, v)
		}),
		check("path", 0, guardPath),
		check("search", 1, guardSearch),
		check("split", 1, guardSplit),
		check("join", 1, guardJoin),
		check("transpose", 0, guardTranspose),
		check("digits", 0, func(_ *budget, v any, _ []any) error {
			if s, ok := v.(string); ok && len(s) > maxDigits {
				return errDigits
			}
			return nil
		}),
		gojq.WithFunction(guardPrefix+"key", 0, 0, func(v any, _ []any) any {
			if _, ok := v.([]any); ok {
				return errors.New("an array cannot be a key here; use indices( )")
			}
			return v
		}),
	}
}

// guardPair returns the two operands of an operator as an array.
func guardPair(b *budget, _ any, args []any) any {
	l, r := args[1], args[2]
	var err error
	switch op, _ := args[0].(string); op {
	case "*":
		err = guardProduct(b, l, r)
	case "+":
		err = b.charge(shallow(l) + shallow(r))
	case "-":
		err = guardBoth(b, l, r)
	case "/":
		err = guardSplit(b, l, []any{r})
	default: // comparisons end with the smaller one
		err = b.charge(min(shallow(l), shallow(r)))
		if err == nil && parts(l) > 0 && parts(r) > 0 {
			err = b.weigh(1, l, r)
		}
	}
	if err != nil {
		return err
	}
	return []any{l, r}
}

// shallow is what copying a value costs, without its parts' parts.
func shallow(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case json.Number:
		return len(v)
	case *big.Int:
		return v.BitLen() / 8
	case []any:
		return 16 * len(v)
	case map[string]any:
		return 64 * len(v)
	default:
		return 8
	}
}

// parts counts the elements or members of a value.
func parts(v any) int {
	switch v := v.(type) {
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	default:
		return 0
	}
}

// guardProduct covers numbers (whose digits add up), strings (which are
// repeated) and objects (which are merged at all depths).
func guardProduct(b *budget, l, r any) error {
	if text, ok := r.(string); ok {
		l, r = text, l
	}
	if text, ok := l.(string); ok {
		if n, ok := gojq.ToFloat64(r); ok && n > 0 {
			return b.product(len(text), int(min(n, 1<<40)))
		}
		return nil
	}
	if parts(l) > 0 && parts(r) > 0 {
		return b.weigh(2, l, r)
	}
	if digits := shallow(l) + shallow(r); digits > maxDigits {
		return errDigits
	}
	return b.charge(8)
}

// guardBoth covers the difference of arrays, which compares each with each.
func guardBoth(b *budget, l, r any) error {
	if n, m := parts(l), parts(r); n > 0 && m > 0 {
		size, err := weigh(l, b.work)
		if err != nil {
			return err
		}
		if err := b.weigh(1, r); err != nil {
			return err
		}
		return b.product(size+16*n, m)
	}
	return b.charge(8)
}

// guardSearch covers contains, inside and the index functions.
func guardSearch(b *budget, v any, args []any) error {
	text, ok := v.(string)
	if !ok {
		return guardBoth(b, v, args[0])
	}
	if part, ok := args[0].(string); ok && part != "" {
		return b.charge(2*len(text) + 24*strings.Count(text, part))
	}
	return b.charge(shallow(v) + shallow(args[0]))
}

// guardSplit covers the splitting of a string at a string.
func guardSplit(b *budget, v any, args []any) error {
	text, ok := v.(string)
	sep, both := args[0].(string)
	if !ok || !both {
		return b.charge(8)
	}
	if err := b.charge(2 * len(text)); err != nil {
		return err
	}
	return b.product(strings.Count(text, sep)+1, 34)
}

// guardJoin covers join.
func guardJoin(b *budget, v any, args []any) error {
	if err := b.weigh(2, v); err != nil {
		return err
	}
	return b.product(parts(v), shallow(args[0]))
}

// guardTranspose covers transpose, which fills up short rows.
func guardTranspose(b *budget, v any, _ []any) error {
	rows, _ := v.([]any)
	widest := 0
	for _, row := range rows {
		widest = max(widest, parts(row))
	}
	return b.product(16*len(rows), widest+1)
}

// guardPath covers setting the element of an array that is far behind its end.
func guardPath(b *budget, v any, _ []any) error {
	path, _ := v.([]any)
	if len(path) > maxDepth {
		return errDepth
	}
	cost := 16 * len(path)
	for _, key := range path {
		switch key.(type) {
		case string, map[string]any:
		default:
			if n, ok := gojq.ToInt(key); ok && n > 0 {
				cost += 16 * min(n, 1<<40)
			}
		}
	}
	if err := b.charge(cost); err != nil {
		return fmt.Errorf("an array as long as this index would be: %w", err)
	}
	return nil
}
