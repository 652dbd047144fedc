package graph

import (
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
)

// finisher returns a client and an attempt to tell of.
func finisher(tb testing.TB, o Options) (*Client, logEntry) {
	tb.Helper()
	o.Name, o.BaseURL, o.Tokens = "contoso", "https://graph.example.com", unusedTokens{}
	c, err := New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	// strconv.Itoa allocates from 100 on, which is not what is measured here.
	e := logEntry{call: &call{method: "GET", template: "/me/messages"}, started: time.Now(), status: 99, requestID: "1"}
	c.finish(tb.Context(), e, nil) // the metrics make their series once
	return c, e
}

type unusedTokens struct{ TokenSource }

func TestTracingThatIsOffCostsNoAllocation(t *testing.T) {
	c, e := finisher(t, Options{})
	if n := testing.AllocsPerRun(100, func() { c.finish(t.Context(), e, nil) }); n != 0 {
		t.Errorf("%v allocations for each attempt", n)
	}
	c, e = finisher(t, Options{Tracer: noop.Tracer{}})
	if n := testing.AllocsPerRun(100, func() { c.finish(t.Context(), e, nil) }); n == 0 {
		t.Error("a span was made of nothing: the test looks at the wrong place")
	}
}

func BenchmarkFinish(b *testing.B) {
	for name, o := range map[string]Options{"off": {}, "noop": {Tracer: noop.Tracer{}}} {
		b.Run(name, func(b *testing.B) {
			c, e := finisher(b, o)
			b.ReportAllocs()
			for b.Loop() {
				c.finish(b.Context(), e, nil)
			}
		})
	}
}
