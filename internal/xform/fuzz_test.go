package xform_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/xform"
)

// FuzzRun looks for programs that break out of the promise of the package: that
// panic, that do not end, or that fail in an unmarked way. It runs on its seeds
// with every test; search for more with
//
//	go test ./internal/xform -run '^$' -fuzz FuzzRun
func FuzzRun(f *testing.F) {
	for _, src := range ordinary {
		f.Add(src, mail)
	}
	for _, src := range []string{`. as [$a`, `"\(`, `{`, `.. |= (`, `@`, `$`, "\x00", "\xff", `."\ud800"`} {
		f.Add(src, `{"a": [1, "\ud800", -0, 1e999, {"b": null}]}`)
	}
	f.Fuzz(func(t *testing.T, src, input string) {
		start := time.Now()
		program, err := xform.Limits{Steps: 20_000, Work: 1 << 20}.Compile(src)
		if err != nil {
			bad, ok := errors.AsType[*xform.SyntaxError](err)
			if !ok || bad.Offset < 0 || bad.Offset > len(src) || bad.Offset+len(bad.Token) > len(src) || bad.Text == "" {
				t.Errorf("%q: %#v", src, err)
			}
			return
		}
		out, ok, err := program.RunJSON(t.Context(), []byte(input))
		if err != nil && (fault.KindOf(err) != fault.Poison || fault.Of(err).Code == "transform_panic") {
			t.Errorf("%q of %q: %v", src, input, err)
		}
		if ok && !json.Valid(out) {
			t.Errorf("%q of %q gave %q, which is no JSON", src, input, out)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%q of %q took %s", src, input, took)
		}
	})
}
