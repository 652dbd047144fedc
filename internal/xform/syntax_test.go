package xform_test

import (
	"errors"
	"strings"
	"testing"

	"outlook-connector/internal/xform"
)

func TestAMistakeIsFoundWithItsPlace(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		src    string
		offset int
		token  string
		text   string
	}{
		{`.a | | .b`, 5, `|`, "unexpected token"},
		{`{"a": }`, 6, `}`, "unexpected token"},
		{`{a: 1`, 5, ``, "ends too early"},
		{``, 0, ``, "missing query"},
		{"# only a comment", 0, ``, "missing query"},
		{`.a | foo(1)`, 5, `foo`, "function not defined: foo/1"},
		{`.foo | foo`, 7, `foo`, "function not defined"},
		{`.a as $x | $y`, 11, `$y`, "variable not defined"},
		{`"abc`, 4, ``, "unterminated string"},
		{`"a\qb"`, 2, `\q`, "invalid escape"},
		{`.a | env.HOME`, 5, `env`, "does not see the environment"},
		{`$ENV.HOME`, 0, `$ENV`, "does not see the environment"},
		{`[inputs]`, 1, `inputs`, "one input"},
		{`.a, input`, 4, `input`, "one input"},
		{`input_filename`, 0, `input_filename`, "no files"},
		{`debug`, 0, `debug`, "nowhere to print"},
		{`.a | debug("x")`, 5, `debug`, "nowhere to print"},
		{`halt`, 0, `halt`, "empty or error"},
		{`if . then halt_error else . end`, 10, `halt_error`, "use error"},
		{`import "a" as a; .`, 0, ``, "no modules"},
		{`include "a"; .`, 0, ``, "no modules"},
		{`"a\(env)"`, 4, `env`, "environment"},
		{`{(env.a): 1}`, 2, `env`, "environment"},
		{`reduce env as $x (.; .)`, 7, `env`, "environment"},
		{`. as [$a, {b: $c}] | $__run`, 21, `$__run`, "variable not defined"},
		{`. as $__run | .`, 5, `$__run`, "taken"},
		{`. as {$__run} | .`, 6, `$__run`, "taken"},
		{`def f($__run): .; f(1)`, 6, `$__run`, "taken"},
		{`{$__run}`, 1, `$__run`, "variable not defined"},
		{`_multiply("a"; 1e9)`, 0, `_multiply`, "function not defined"},
		{`def _xform_pair(a; b; c; d): .; .`, 4, `_xform_pair`, "taken"},
		{`_xform_charge(1; 2)`, 0, `_xform_charge`, "function not defined"},
		{`.größe`, 3, "ö", "unexpected token"},
	} {
		program, err := xform.Compile(row.src)
		bad, ok := errors.AsType[*xform.SyntaxError](err)
		if !ok || program != nil {
			t.Errorf("%s: compiled, or failed with %v", row.src, err)
			continue
		}
		if bad.Offset != row.offset || bad.Token != row.token || !strings.Contains(bad.Error(), row.text) {
			t.Errorf("%s: at %d %q: %s; want at %d %q: %s", row.src, bad.Offset, bad.Token, bad.Text, row.offset, row.token, row.text)
		}
	}
}

func TestNamesThatTheProgramDefinesItselfAreItsOwn(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`def input: 1; input`, `def _one: 1; _one`, `def env: {a: 1}; env.a`, `def add: 1; [2] | add`, `def tojson: 1; tojson`, `def f($env): $env; f(1)`,
	} {
		out, ok, err := compile(t, src).RunJSON(t.Context(), []byte(`{}`))
		if string(out) != "1" || !ok || err != nil {
			t.Errorf("%s: got %s, %v, %v", src, out, ok, err)
		}
	}
}
