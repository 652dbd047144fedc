package graph

import (
	"context"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"outlook-connector/internal/fault"
)

// trace makes the span of an attempt that has ended, as a child of the caller's.
// It tells what the request log tells, under the names of the conventions where
// they have one, but url.full, which names the mailbox:
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
func (c *Client) trace(ctx context.Context, e logEntry, err error) {
	attrs := []attribute.KeyValue{
		attribute.String("http.request.method", e.call.method), attribute.String("url.template", e.call.template),
		attribute.String("server.address", c.base.Hostname()), attribute.String("outlook.client", c.name),
		attribute.Int("http.request.body.size", len(e.call.body)), attribute.Int64("http.response.body.size", e.size),
		attribute.String("outlook.client_request_id", e.clientRequestID),
	}
	if e.status != 0 {
		attrs = append(attrs, attribute.Int("http.response.status_code", e.status), attribute.String("outlook.request_id", e.requestID))
	}
	if e.repeat {
		attrs = append(attrs, attribute.Int("http.request.resend_count", 1))
	}
	if mark := fault.Of(err); mark != nil {
		kind := mark.Code
		if e.status >= 400 {
			kind = strconv.Itoa(e.status)
		}
		attrs = append(attrs, attribute.String("error.type", kind),
			attribute.String("outlook.error.code", mark.Code), attribute.String("outlook.error.remedy", mark.Kind.String()))
	}
	_, span := c.tracer.Start(ctx, e.call.method+" "+e.call.template, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(e.started), trace.WithAttributes(attrs...))
	if err != nil {
		span.SetStatus(codes.Error, "") // the text of an error may name the mailbox
	}
	span.End()
}
