package worker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"outlook-connector/config"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/telemetry"
)

// startTraces comes first and so stops last: the spans of the way down are sent.
func (w *Worker) startTraces(context.Context) error {
	traces, err := telemetry.NewTraces(telemetry.TracesOptions{ //nolint:contextcheck // it outlives the start
		Endpoint: w.o.Config.Telemetry.OTLPEndpoint, Version: w.o.Version, Log: w.log.With("room", "telemetry"),
	})
	if err != nil {
		return configError(err)
	}
	if w.o.tracer = traces.Tracer(); w.o.tracer != nil {
		w.onStop("traces", func(ctx context.Context) error { traces.Stop(ctx); return nil })
	}
	return nil
}

// span begins a piece of work, under which the requests that it makes are shown.
// Without a tracer it does nothing.
func span(ctx context.Context, tracer trace.Tracer, name string, of attribute.KeyValue) (context.Context, func()) {
	if tracer == nil {
		return ctx, func() {}
	}
	ctx, s := tracer.Start(ctx, name, trace.WithAttributes(of))
	return ctx, func() { s.End() }
}

// consumerSpan begins the work on a message. It is linked to the span in which the
// message was sent, and no part of that: a command may wait for hours, and many
// may come of one piece of work.
// https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
func consumerSpan(ctx context.Context, tracer trace.Tracer, name string, m jet.Message, of attribute.KeyValue) (context.Context, func()) {
	if tracer == nil {
		return ctx, func() {}
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(of, attribute.String("messaging.system", "nats"))}
	if sender := telemetry.Sender(m.Header); sender.IsValid() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: sender}))
	}
	ctx, s := tracer.Start(ctx, name, options...)
	return ctx, func() { s.End() }
}

// known is the name of a publisher where there is one of that name: what else
// stands in a subject is the sender's.
func known(c *config.Config, publisher string) string {
	for i := range c.Publishers {
		if c.Publishers[i].Name == publisher {
			return publisher
		}
	}
	return ""
}
