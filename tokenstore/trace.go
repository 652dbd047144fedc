package tokenstore

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// requestSpan is what is told about one request to the sign-in server.
type requestSpan struct {
	grantType, address string
	got                *response
	refused            *refusal
	took               time.Duration
	sent, retry        int64
}

// trace makes the span of a request that has ended, as a child of the caller's,
// with what the request log tells:
// https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span
func (e *endpoint) trace(ctx context.Context, r requestSpan) {
	template := pathTemplate(r.address)
	attrs := []attribute.KeyValue{
		attribute.String("http.request.method", http.MethodPost), attribute.String("url.template", template),
		attribute.String("outlook.client", e.client.Name), attribute.String("outlook.grant", shortGrant(r.grantType)),
		attribute.Int64("http.request.body.size", r.sent),
	}
	if r.retry > 0 {
		attrs = append(attrs, attribute.Int64("http.request.resend_count", r.retry))
	}
	if u, err := url.Parse(r.address); err == nil {
		attrs = append(attrs, attribute.String("server.address", u.Hostname()))
	}
	kind := "no_answer"
	if r.got != nil {
		attrs = append(attrs, attribute.Int("http.response.status_code", r.got.status), attribute.Int("http.response.body.size", len(r.got.body)))
		if id := r.got.header.Get("x-ms-request-id"); guid.MatchString(id) {
			attrs = append(attrs, attribute.String("outlook.request_id", id))
		}
		if kind = "unusable"; r.got.status >= 300 {
			kind = strconv.Itoa(r.got.status)
		}
	}
	if r.refused != nil {
		attrs = append(attrs, attribute.String("error.type", kind), attribute.String("outlook.error.code", cmp.Or(r.refused.code, kind)),
			attribute.String("outlook.trace_id", r.refused.trace), attribute.String("outlook.correlation_id", r.refused.corr))
	}
	ended := time.Now()
	_, span := e.tracer.Start(ctx, http.MethodPost+" "+template, trace.WithSpanKind(trace.SpanKindClient),
		trace.WithTimestamp(ended.Add(-r.took)), trace.WithAttributes(attrs...))
	if r.refused != nil && !r.refused.waits() {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(ended))
}
