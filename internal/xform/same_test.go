package xform_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/itchyny/gojq"
)

// The checks in a program must not change what it means: each of these gives
// with them what it gives to gojq alone.
var ordinary = []string{
	`.`, `.subject`, `.a.b.c`, `.["subject"]`, `."@odata.etag"`, `.categories[0]`, `.categories[-1]`, `.categories[1:]`, `.subject[2:4]`, `.categories[.count - 3]`,
	`.[("sub", "ob") + "ject"]?`, `.from["email" + "Address"]`, `.categories | .[length - 1]`, `.nothing[0]`, `try .subject[0] catch .`,
	`.count + 1`, `1 + .count`, `.count - 1`, `.count * 3`, `.count / 2`, `.count % 2`, `-.count`, `.size + .size`, `.size * .size`, `.price + .ratio`, `.count / 0`,
	`"a" + .subject`, `.subject + "z"`, `null + .count`, `.categories + ["x"]`, `.categories - ["red"]`, `.categories - .categories`, `.from + {a: 1}`, `.from * {emailAddress: {name: "x"}}`,
	`"ab" * 3`, `3 * "ab"`, `"ab" * 0`, `"ab" * -1`, `"ab" * 0.5`, `"a,b,c" / ","`, `.subject / ""`, `.count * .categories`, `{} - 1`,
	`.count == 3`, `.count != 3.0`, `.price == 1.1`, `.subject < "S"`, `.categories == ["red", "blue", "red"]`, `.from > .body`, `[.count >= 3, .count <= 2]`, `.nothing == null`,
	`[.categories[] == "red"]`, `[(1, 2) + (10, 20)]`, `[(1, 2) * (10, 20)]`, `[(1, 2) == (1, 2)]`, `[(1, 2) - (10, 20)]`, `[.categories[] < .subject]`,
	`.count += 1`, `.count -= 1`, `.count *= 2`, `.count /= 2`, `.count %= 2`, `.nothing //= 5`, `.categories += ["x"]`, `.subject += "x"`, `.new.deep[1].x = 1`,
	`.count = (1, 2)`, `[.count = (1, 2) | .count]`, `[.count |= (., .)] | length`, `.categories[] |= ascii_upcase`, `.categories[0] |= empty`, `(.count, .price) |= . + 1`, `.. |= (numbers |= 0)`,
	`.categories[1:] = ["x", "y", "z"]`, `.categories[:1] |= map(. + "!")`, `.categories[-1] = "last"`, `.categories[10] = "x" | .categories | length`, `.["a", "b"] = 1 | [.a, .b]`,
	`.toRecipients[] |= .emailAddress.address`, `.toRecipients |= map(select(.emailAddress.address | endswith("contoso.com")))`, `.a += .count`, `.subject.x = 1`, `try (.subject.x |= 1) catch "no"`,
	`first(.categories[]) |= "F"`, `(.categories | first) |= "F"`, `getpath(["from", "emailAddress"]) |= .name`, `.categories |= (.[0] = .[1])`, `limit(1; .categories[]) = "L"`, `recurse(.from?; .emailAddress?) |= .`,
	`reduce .categories[] as $c (""; . + $c)`, `foreach .categories[] as $c (0; . + 1; [$c, .])`, `[foreach .categories[] as $c (0; . + 1; [$c, .])]`, `reduce .categories[] as $c ({}; .[$c] += 1)`,
	`del(.body, .from)`, `del(.categories[0, 2])`, `delpaths([["body"], ["from"]])`, `to_entries | length`, `with_entries(select(.value | type == "string"))`, `map_values(type)`, `[paths] | length`, `[paths(type == "number")]`,
	`pick(.from.emailAddress.name)`, `pick(.categories[1])`, `[tostream] | length`, `fromstream(tostream)`, `[fromstream(1 | truncate_stream([[0], 1], [[1, 0], 2], [[1, 0]], [[1]]))]`, `[.categories | tostream]`,
	`setpath(["a", "b"]; 1)`, `setpath([]; 1)`, `try setpath("a"; 1) catch "no"`, `getpath(["a", "b"])`, `walk(if type == "string" then ascii_downcase else . end)`, `path(..)`, `[path(.categories[])]`,
	`tojson`, `.from | tojson | fromjson`, `tostring`, `.count | tostring`, `.subject | tostring`, `.price | tojson`, `"x\(.count)y\(.from)z\(.subject)"`, `@json "a\(.from)"`, `@html "<\(.body.content)>"`, `@uri "q=\(.subject)"`,
	`.categories | @csv, @tsv, @sh`, `[.categories | @csv, @tsv, @sh]`, `.subject | @base64`, `.subject | @base64 | @base64d`, `.subject | @uri`, `.body.content | @html`, `@text "\(1)"`, `.subject | format("json")`, `[.subject | @json, @text]`,
	`.categories | add`, `add(.categories[])`, `[] | add`, `.categories | join(", ")`, `[1, null, "a", true] | join("-")`, `[[1, [2]], 3] | flatten`, `[[1, [2]], 3] | flatten(1)`, `.categories | sort, unique, reverse, min, max`,
	`[.categories | sort, unique, reverse, min, max]`, `.toRecipients | sort_by(.emailAddress.address)`, `.toRecipients | sort_by(.emailAddress.address, 1)`, `.categories | group_by(.)`, `.categories | unique_by(length)`, `.categories | min_by(length), max_by(length)`,
	`[.categories | min_by(length), max_by(length)]`, `[1, 2, 3] | bsearch(2)`, `.categories | index("red"), rindex("red"), indices("red")`, `[.categories | index("red"), rindex("red"), indices("red")]`, `"a,b, cd, efg" | [indices(", "), index(","), rindex(",")]`, `[0, 1, 2, 1, 2] | indices([1, 2])`,
	`.categories | contains(["re"])`, `["red"] | inside(["red", "x"])`, `"foobar" | contains("bar")`, `{a: [1, {b: 2}]} | contains({a: [{b: 2}]})`, `[.categories[] | IN("red", "x")]`, `IN(.count; 1, 3)`, `INDEX(.toRecipients[]; .emailAddress.address) | keys`, `.categories | INDEX(length)`,
	`[[1, 2], [3]] | transpose`, `keys`, `.from | keys`, `.categories | keys`, `"abc" | explode | implode`, `.subject | ascii_downcase, ascii_upcase`, `[.subject | ascii_downcase, ascii_upcase]`, `"1.50" | tonumber`, `try ("x" | tonumber) catch "no"`, `.subject | split(" ")`, `.subject | split("")`,
	`.receivedDateTime | fromdate | todate`, `.receivedDateTime | strptime("%Y-%m-%dT%H:%M:%SZ") | mktime | strftime("%A")`, `0 | strftime("%Y")`, `.subject | length, utf8bytelength`, `[.subject | length, utf8bytelength]`, `.subject | ltrimstr("Re: ")`, `"  x " | trim, ltrim, rtrim`,
	`any(.categories[]; . == "red")`, `all(.categories[]; . == "red")`, `[.categories[] | select(. != "red")]`, `first(.categories[])`, `last(.categories[])`, `[limit(2; .categories[])]`, `nth(1; .categories[])`, `[range(0; 10; 3)]`, `isempty(empty)`, `[.[] | scalars] | length`, `input_line_number?`,
	`.subject | test("größe"; "i")`, `.subject | test("x$")`, `.subject | [match("[a-z]+"; "g") | [.offset, .length, .string]]`, `.subject | match("(?<first>\\w)(z)?")`, `.subject | capture("(?<tag>[A-Z]e): (?<rest>.*)")`, `.subject | [scan("[a-z]")]`, `.subject | [scan("([a-z])(.)")]`, `.subject | [splits(" +")]`,
	`.subject | split("[: ]+"; null)`, `.subject | sub("e"; "E")`, `.subject | gsub("(?<x>[a-z])"; "<\(.x)>")`, `.body.content | gsub("<[^>]*>"; "")`, `"aab" | gsub("a*"; "-")`, `"aab" | [match("a*"; "g") | [.offset, .string]]`, `"" | gsub("^"; "x")`, `"abc" | gsub(""; "-")`, `"日本語" | [match(""; "g").offset]`,
	`"abab" | gsub("(?<x>a)|(?<y>b)"; "\(.x)\(.y)")`, `"abc" | [sub("(?<x>b)"; "1", "2")]`, `"abab" | [gsub("a"; "1", "2")]`, `"abc" | sub("b"; empty)`, `"abc" | sub("z"; "x")`, `try ("abc" | sub("b"; 1)) catch "no"`, `"a\nb" | test("a.b"; "m")`, `"foo bar foo" | [match(["foo", "g"]).offset]`, `try ("a" | test("(")) catch "no"`,
	`"aXbX" | [match("(?<n>x)|(q)"; "gi") | .captures[] | [.name, .string, .offset]]`, `"foo bar" | gsub("\\bb"; "B")`, `"ab ab" | [match("b\\b|\\b"; "g") | .offset]`, `"xyz" | [match("(?=y)?"; "g")?]`, `try (1 | test("a")) catch "no"`, `try ("a" | test(1)) catch "no"`, `try ("a" | test("a"; "q")) catch "no"`,
	`. as {from: {emailAddress: {$name}}} | $name`, `. as [$a] ?// {count: $a} | $a`, `{a: 1} as {a: $x, $b} | [$x, $b]`, `def f(x): x + x; f(.count)`, `def f($x): $x + $x; f(1, 2)`, `[def f($x): $x + $x; f(1, 2)]`, `def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 10 | fac`, `label $out | 1, break $out, 2`,
	`if .isRead then "seen" elif .count > 2 then "many" else "new" end`, `.isRead and .nothing`, `.isRead or .count`, `.nothing // "default"`, `(.nothing, .count) // 1`, `try error("x") catch .`, `error`, `.a?.b?`, `[.[]?] | length`, `$__loc__`, `{a: (1, 2)}`, `[{a: (1, 2), b: 3}]`, `{(.subject, "k"): 1}`, `{"a\(.count)": 1}`, `{$__loc__}`, `"\("a" + "b")"`,
	`[splits("x")?]`, `ascii`, `tojson | length`, `[.[] | type] | unique`, `getpath(["categories", 0]) = "g"`, `to_entries | from_entries | . == {}`, `env | length`, `builtins | length > 100`, `now | type`, `splits("a"; "b"; "c")`, `@base32d`, `.categories as [$a, $b] | {$a, $b}`, `[.categories | combinations?]`, `[[1, 2], [3, 4]] | [combinations]`, `ltrimstr(1)`, `abs`, `.count | abs`, `toarray`,
}

func TestTheChecksDoNotChangeWhatAProgramMeans(t *testing.T) {
	t.Parallel()
	dec := json.NewDecoder(bytes.NewReader([]byte(mail)))
	dec.UseNumber()
	var input any
	if err := dec.Decode(&input); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, src := range ordinary {
		query, err := gojq.Parse(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		plain, err := gojq.Compile(query)
		if err != nil || src == `env | length` {
			// What gojq does not know, we need not know either.
			continue
		}
		var want []byte
		results := 0
		failed := ""
		for iter := plain.Run(input); ; {
			v, ok := iter.Next()
			if !ok {
				break
			}
			if err, bad := v.(error); bad {
				failed = err.Error()
				break
			}
			results++
			if want, err = gojq.Marshal(v); err != nil {
				t.Fatal(err)
			}
		}
		ran++
		out, ok, err := compile(t, src).RunJSON(t.Context(), []byte(mail))
		switch {
		case failed != "":
			if code(err) != "transform_failed" && code(err) != "transform_results" {
				t.Errorf("%s: gojq fails with %q, we give %s, %v", src, failed, out, err)
			}
		case results == 0:
			if ok || err != nil {
				t.Errorf("%s: gojq gives nothing, we give %s, %v", src, out, err)
			}
		case results > 1:
			if code(err) != "transform_results" {
				t.Errorf("%s: gojq gives %d results, we give %s, %v", src, results, out, err)
			}
		case err != nil || !bytes.Equal(out, want):
			t.Errorf("%s: gojq gives %s, we give %s, %v", src, want, out, err)
		}
	}
	t.Logf("%d programs", ran)
}
