package telemetry

import (
	"context"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Inject writes the span of ctx into the headers of a NATS message, as
// traceparent and, where there is one, tracestate. Without a span it writes
// nothing. https://www.w3.org/TR/trace-context/
func Inject(ctx context.Context, header map[string][]string) {
	propagation.TraceContext{}.Inject(ctx, natsHeader(header))
}

// Sender returns the span that a message's headers name. It is not valid where
// they name none, or what they say is none.
func Sender(header map[string][]string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), natsHeader(header))
	return trace.SpanContextFromContext(ctx)
}

// natsHeader are a message's headers. NATS tells names apart by case, and HTTP's
// carrier would write Traceparent; senders with that one are understood.
// https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-4.md
type natsHeader map[string][]string

var _ propagation.TextMapCarrier = natsHeader{}

// Get returns the first value of a name in any case, the exact one before others.
func (h natsHeader) Get(key string) string {
	if values := h[key]; len(values) > 0 {
		return values[0]
	}
	for name, values := range h {
		if strings.EqualFold(name, key) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// Set replaces a value.
func (h natsHeader) Set(key, value string) { h[key] = []string{value} }

// Keys returns the names.
func (h natsHeader) Keys() []string {
	keys := make([]string, 0, len(h))
	for name := range h {
		keys = append(keys, name)
	}
	return keys
}
