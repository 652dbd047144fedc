package worker

import (
	"testing"

	"go.opentelemetry.io/otel/trace"
)

func TestASpanGoesIntoHeadersOfItsOwn(t *testing.T) {
	t.Parallel()
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1},
	}))
	traced, plain := jsonHeader(ctx), jsonHeader(t.Context())
	if len(traced["traceparent"]) != 1 || len(traced["content-type"]) != 1 {
		t.Errorf("with a span: %v", traced)
	}
	if len(plain) != 1 || len(plain["content-type"]) != 1 {
		t.Errorf("without one: %v", plain)
	}
}
