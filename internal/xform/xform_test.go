package xform_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"reflect"
	"strings"
	"sync"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/xform"
)

const mail = `{
  "@odata.etag": "W/\"CQAAABYAAAA\"", "id": "AAMk=", "subject": "Re: Größe 日本 x", "importance": "high", "isRead": false,
  "size": 12345678901234567890123, "ratio": 0.1000000000000000055511151231257827, "price": 1.10, "count": 3,
  "from": {"emailAddress": {"name": "Ann", "address": "ann@contoso.com"}},
  "toRecipients": [{"emailAddress": {"address": "bob@contoso.com"}}, {"emailAddress": {"address": "eve@fabrikam.com"}}],
  "body": {"contentType": "html", "content": "<p>Hello &amp; <b>good</b>\n morning</p>"},
  "categories": ["red", "blue", "red"], "nothing": null, "receivedDateTime": "2026-01-02T03:04:05Z"
}`

func compile(t *testing.T, src string) *xform.Program {
	t.Helper()
	program, err := xform.Compile(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return program
}

// code returns the code of a Poison error, or a text that equals no code.
func code(err error) string {
	if err == nil {
		return "no error"
	}
	if kind := fault.KindOf(err); kind != fault.Poison {
		return "of kind " + kind.String()
	}
	return fault.Of(err).Code
}

func TestAProgramMapsAndFilters(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`{subject, from: .from.emailAddress.address}`: `{"from":"ann@contoso.com","subject":"Re: Größe 日本 x"}`,
		`select(.importance == "high") | .id`:         `"AAMk="`,
		`select(.importance == "low")`:                ``,
		`empty`:                                       ``,
		`null`:                                        `null`,
		`.body.content |= gsub("<[^>]*>"; "") | .body.content`:       `"Hello &amp; good\n morning"`,
		`del(.body, .toRecipients, .from, ."@odata.etag") | keys[0]`: `"categories"`,
		// Digits of numbers are kept where they are only passed on.
		`{size, ratio, price}`:       `{"price":1.10,"ratio":0.1000000000000000055511151231257827,"size":12345678901234567890123}`,
		`.size + 1`:                  `12345678901234567890124`,
		`.count * 2`:                 `6`,
		`[infinite, -infinite, nan]`: `[1.7976931348623157e+308,-1.7976931348623157e+308,null]`,
		`"<&>\u2028"`:                "\"<&>\u2028\"",
	} {
		out, ok, err := compile(t, src).RunJSON(t.Context(), []byte(mail))
		if err != nil || ok != (want != "") || string(out) != want {
			t.Errorf("%s: got %s, %v, %v; want %s", src, out, ok, err, want)
		}
	}
}

func TestAProgramThatFailsMakesThePoisonErrorThatSaysSo(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ src, code, text string }{
		{`error("no room")`, "transform_failed", "transform: no room"},
		{`error({a: 1})`, "transform_failed", `transform: {"a":1}`},
		{`error(null)`, "transform_failed", "transform: null"},
		{`.subject | .x`, "transform_failed", "expected an object"},
		{`.subject + 1`, "transform_failed", "cannot add"},
		{`error("x" * 10000)`, "transform_failed", "xxx…"},
		{`1, 2`, "transform_results", "more than one result"},
		{`.categories[]`, "transform_results", "more than one result"},
		{`1, error("late")`, "transform_failed", "late"},
		{`repeat(.)`, "transform_results", "more than one result"},
		{`until(false; .)`, "transform_limit", "does the program end?"},
		{`1, (repeat(1) | empty)`, "transform_limit", "does the program end?"},
		{`"x" * 9000000`, "transform_output", "8388608 bytes"},
		{`reduce range(2000) as $i (1; [.])`, "transform_output", "nested deeper"},
		{`try ("x" * 1e9) catch "caught"`, "transform_limit", "more data"},
		{`[.. | try ("x" * 1e9) catch 1] | length`, "transform_limit", "more data"},
	} {
		out, ok, err := compile(t, row.src).RunJSON(t.Context(), []byte(mail))
		if ok || out != nil || code(err) != row.code || !strings.Contains(err.Error(), row.text) || len(err.Error()) > 1000 {
			t.Errorf("%s: got %s, %v, %v (%s); want %s with %q", row.src, out, ok, err, code(err), row.code, row.text)
		}
	}
}

func TestInputsThatAreRefused(t *testing.T) {
	t.Parallel()
	program := compile(t, ".")
	for _, data := range []string{
		``, ` `, `{`, `{"a":1} {}`, `1 2`, `{"a":}`, `nan`, strings.Repeat("[", 2000) + strings.Repeat("]", 2000),
		`[` + strings.Repeat("1", 1001) + `]`, `"` + strings.Repeat("x", 8<<20) + `"`,
	} {
		if out, ok, err := program.RunJSON(t.Context(), []byte(data)); code(err) != "transform_input" || ok || out != nil {
			t.Errorf("%.20s… of %d bytes: got %.20s, %v, %v", data, len(data), out, ok, err)
		}
	}
	for _, value := range []any{int64(1), []string{"a"}, map[string]string{}, struct{}{}, map[string]any{"a": []any{uint8(1)}}} {
		if out, ok, err := program.Run(t.Context(), value); code(err) != "transform_input" || ok || out != nil {
			t.Errorf("%T: got %v, %v, %v", value, out, ok, err)
		}
	}
}

func TestRunTakesPlainValuesAndLeavesThemAlone(t *testing.T) {
	t.Parallel()
	input := map[string]any{
		"i": 1, "f": 1.5, "b": big.NewInt(7), "n": json.Number("1.50"), "s": "x", "t": true, "z": nil, "nan": math.NaN(),
		"list": []any{1, map[string]any{"deep": []any{"a"}}},
	}
	before, err := json.Marshal(input["list"])
	if err != nil {
		t.Fatal(err)
	}
	out, ok, err := compile(t, `.list[1].deep[0] = "changed" | .list += [.n] | .n`).Run(t.Context(), input)
	if err != nil || !ok || out != json.Number("1.50") {
		t.Errorf("got %v, %v, %v", out, ok, err)
	}
	out, ok, err = compile(t, `[.nan, .i, .b]`).Run(t.Context(), input)
	if want := []any{nil, 1, input["b"]}; err != nil || !ok || !reflect.DeepEqual(out, want) {
		t.Errorf("got %v, %v, %v; want %v", out, ok, err, want)
	}
	if after, err := json.Marshal(input["list"]); err != nil || string(after) != string(before) {
		t.Errorf("the input became %s, %v", after, err)
	}
	if f, ok := input["nan"].(float64); !ok || !math.IsNaN(f) {
		t.Errorf("the input's NaN became %v", input["nan"])
	}
}

func TestAProgramRunsInManyGoroutinesAtOnce(t *testing.T) {
	t.Parallel()
	program := compile(t, `.subject | [match("[a-z]+"; "gi").string] | join("-") | gsub("e"; "E")`)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if out, ok, err := program.RunJSON(t.Context(), []byte(mail)); string(out) != `"RE-Gr-E-x"` || !ok || err != nil {
					t.Errorf("got %s, %v, %v", out, ok, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestACancelledRunIsNoFailureOfTheMessage(t *testing.T) {
	t.Parallel()
	cause := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, ok, err := compile(t, `.`).Run(ctx, 1)
	if ok || !errors.Is(err, cause) || fault.KindOf(err) != fault.Unknown {
		t.Errorf("got %v, %v of kind %v", ok, err, fault.KindOf(err))
	}
}

func TestLimitsCanBeSet(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		limits xform.Limits
		src    string
		code   string
	}{
		{xform.Limits{Input: 10}, `1`, "transform_input"},
		{xform.Limits{Output: 10}, `.`, "transform_output"},
		{xform.Limits{Output: 10}, `"\u0001\u0001"`, "transform_output"},
		{xform.Limits{Steps: 10}, `[range(10)]`, "transform_limit"},
		{xform.Limits{Work: 10}, `"x" * 11`, "transform_limit"},
		{xform.Limits{Time: 1, Steps: 1 << 40}, `[range(100000)] | length`, "transform_limit"},
		{xform.Limits{Input: 1000, Output: 1000, Steps: 1000, Work: 1000}, `.a`, "no error"},
	} {
		program, err := row.limits.Compile(row.src)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := program.RunJSON(t.Context(), []byte(`{"a": "0123456789"}`)); code(err) != row.code {
			t.Errorf("%s within %+v: %v, want %s", row.src, row.limits, err, row.code)
		}
	}
}

func BenchmarkMap(b *testing.B) {
	program, err := xform.Compile(`{id, subject, from: .from.emailAddress.address, to: [.toRecipients[].emailAddress.address], preview: .body.content, seen: .isRead}`)
	if err != nil {
		b.Fatal(err)
	}
	var value any
	if err := json.Unmarshal([]byte(mail), &value); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := program.Run(b.Context(), value); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	program, err := xform.Compile(`select(.importance == "high" and (.isRead | not) and (.from.emailAddress.address | endswith("@contoso.com")))`)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := program.RunJSON(b.Context(), []byte(mail)); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := xform.Compile(`{id, subject}`); err != nil {
			b.Fatal(err)
		}
	}
}
