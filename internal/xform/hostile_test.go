package xform_test

import (
	"encoding/json"
	"runtime"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/xform"
)

// hostile are programs that would take all the time or all the memory there is.
var hostile = []string{
	// Loops that gojq can be stopped in.
	`until(false; .)`,
	`def f: f; f`,
	`def f: 1 + f; f`,
	`def f: [f]; f`,
	`[range(1e12)]`,
	`[repeat(1)]`,
	`range(0; 1; 0)`,
	`range(1e9) | empty`,
	`., (repeat(1) | empty)`,
	`last(range(1e12))`,
	`reduce range(1e12) as $i (0; . + $i)`,
	`[limit(1e9; repeat("x"))] | length`,
	`first(range(1e12) | select(. < 0))`,
	`try repeat(1) catch . | empty`,
	`label $out | foreach range(1e12) as $i (0; .; if $i < 0 then break $out else empty end)`,
	`[[range(20)] | combinations(20)] | length`,
	`[paths(..)] | until(false; . + [1])`,
	// Single instructions that want everything at once.
	`"a" * 1e9`,
	`1e9 * "a"`,
	`"a" * .n`,
	`. as {$n} | "a" | . *= $n`,
	`reduce range(60) as $i ("x"; . + .)`,
	`reduce range(60) as $i ("x"; "\(.)\(.)")`,
	`reduce range(60) as $i ("x"; . += .)`,
	`reduce range(60) as $i ("x"; [., .] | add)`,
	`reduce range(60) as $i ("x"; [., .] | join("y"))`,
	`reduce range(60) as $i ([1]; . + .)`,
	`reduce range(60) as $i (10; . * .) | . * .`,
	`reduce range(60) as $i (10; . *= .)`,
	`reduce range(60) as $i (1; [., .]) | tojson`,
	`reduce range(60) as $i (1; [., .]) | tostring`,
	`reduce range(60) as $i (1; [., .]) | @text`,
	`reduce range(60) as $i (1; [., .]) | @html`,
	`reduce range(60) as $i (1; [., .]) | "\(.)"`,
	`reduce range(60) as $i (1; [., .]) | flatten`,
	`reduce range(60) as $i (1; [., .]) | error`,
	`reduce range(60) as $i (1; [., .]) | . == (reduce range(60) as $i (1; [., .]))`,
	`(reduce range(60) as $i (1; [., .])) as $x | [$x, $x] | sort`,
	`(reduce range(60) as $i (1; [., .])) as $x | [$x, $x] | unique | length`,
	`(reduce range(60) as $i (1; [., .])) as $x | [$x] | contains([$x])`,
	`(reduce range(60) as $i (1; [., .])) as $x | $x | inside($x)`,
	`(reduce range(60) as $i (1; [., .])) as $x | $x | IN($x, (reduce range(60) as $i (1; [., .])))`,
	`(reduce range(60) as $i (1; {a: ., b: .})) as $x | $x * $x`,
	`reduce range(60) as $i (1; [., .])`,
	`reduce range(1e6) as $i (1; [.])`,
	`reduce range(1e6) as $i (1; [.]) | tojson`,
	`reduce range(1e6) as $i (1; [.]) | . == [.]`,
	`.x[5e8] = 1`,
	`.x[.big] = 1`,
	`.x[5e8] |= 1`,
	`.x[5e8] += 1`,
	`setpath(["x", 500000000]; 1)`,
	`null | [pick(.[500000000])]`,
	`[fromstream([[500000000], 1], [[500000000]])]`,
	`[range(100000)] as $x | $x - $x`,
	`[range(100000) | 0] as $x | $x | .[$x[50000:]]`,
	`[range(100000) | 0] as $x | $x | indices($x[50000:])`,
	`[[range(100000)], (range(100000) | [])] | transpose | length`,
	`[limit(100000; repeat("x" * 100000))] | add`,
	`[range(100000)] | join("x" * 100000)`,
	`[limit(10000; repeat("x" * 1000000 | ascii_downcase))]`,
	`"x" * 30000000 | explode`,
	`"x" * 30000000 | split("") | length`,
	`"x" * 30000000 / "x" | length`,
	`"[1" + ",1" * 10000000 + "]" | fromjson | length`,
	`"1" * 10000000 | tonumber`,
	`"[" * 10000000 | fromjson`,
	`"x" * 3000000 | [match("";"g")] | length`,
	`"x" * 3000000 | gsub("";"yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")`,
	`"x" * 60000000 | test("(x+x+)+y")`,
	`"ab" * 500000 | gsub("a";"bb")`,
	`"x" * 10000000 | test("x" * 900)`,
	`"x" * 10000000 | @base64 | @base64 | @base64 | @uri`,
	`now | strftime("%c" * 10000000)`,
	`"x" * 40000000 | [limit(1e6; repeat(length))] | length`,
	`"x" * 40000000 | [limit(1e6; repeat(.[1:]))] | length`,
}

func TestHostileProgramsEndSoonAndSmall(t *testing.T) {
	// Not parallel: the test measures time and memory.
	input := map[string]any{"n": json.Number("1000000000"), "big": 500_000_000, "text": "hello"}
	base := heap()
	// The race detector makes everything some ten times slower, and is there to
	// find races: it gets less of each.
	limits, longest := xform.Limits{}, time.Second
	if raceEnabled {
		limits, longest = xform.Limits{Steps: 100_000, Work: 8 << 20}, 5*time.Second
	}
	for _, src := range hostile {
		program, err := limits.Compile(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		runtime.GC()
		stop, peak := make(chan struct{}), make(chan uint64)
		go func() {
			var most uint64
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					peak <- max(most, heap())
					return
				case <-tick.C:
					most = max(most, heap())
				}
			}
		}()
		start := time.Now()
		out, ok, err := program.Run(t.Context(), input)
		took := time.Since(start)
		close(stop)
		used := int64(<-peak) - int64(base)
		if kind := fault.KindOf(err); err == nil && size(out) > 1<<20 || err != nil && kind != fault.Poison {
			t.Errorf("%s: gave %d bytes, %v of kind %v; want a small result or a Poison error", src, size(out), err, kind)
		}
		t.Logf("%6d ms %5d MiB  %s  ok %v err %.80s", took.Milliseconds(), used>>20, src, ok, text(err))
		if took > longest {
			t.Errorf("%s: took %s", src, took)
		}
		if used > 128<<20 {
			t.Errorf("%s: %d MiB", src, used>>20)
		}
	}
	// The next message is none the worse for it.
	program, err := xform.Compile(".text")
	if err != nil {
		t.Fatal(err)
	}
	if out, ok, err := program.Run(t.Context(), input); out != "hello" || !ok || err != nil {
		t.Errorf("afterwards: %v, %v, %v", out, ok, err)
	}
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func size(v any) int {
	data, err := json.Marshal(v)
	if err != nil {
		return 1 << 30
	}
	return len(data)
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), "transform: ")
}
