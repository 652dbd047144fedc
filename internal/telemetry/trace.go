package telemetry

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// tracesPath is where OTLP/HTTP takes traces:
	// https://opentelemetry.io/docs/specs/otlp/#otlphttp-request
	tracesPath = "/v1/traces"
	// exportTimeout bounds the sending of one batch with its repeats. Meanwhile
	// the queue takes 2048 spans; further ones are dropped.
	exportTimeout = 10 * time.Second
	// flushTimeout bounds the last batches at stop.
	flushTimeout = 3 * time.Second
	// tellEvery is how often spans that could not be sent are logged.
	tellEvery = time.Minute
)

// TracesOptions say where traces go.
type TracesOptions struct {
	// Endpoint is the root of an OTLP/HTTP collector, such as
	// "http://127.0.0.1:4318"; /v1/traces is added where it is not there.
	Endpoint string
	// Version is the service's.
	Version string
	// Log is told of spans that could not be sent; it may be nil.
	Log *slog.Logger
}

// Traces are the spans on their way to a collector. They are sent in batches in
// the background; a collector that is slow or away costs spans, never work. The
// nil Traces are off.
type Traces struct {
	provider  *sdktrace.TracerProvider
	batches   sdktrace.SpanProcessor
	out       *exporter
	transport *http.Transport
	end       context.CancelFunc
}

// NewTraces starts the sending; [Traces.Stop] ends it. Without an endpoint it
// returns nil, which is off. It opens no connection.
//
// Headers for the collector, such as its API key, come from
// OTEL_EXPORTER_OTLP_HEADERS, as everywhere with OpenTelemetry.
func NewTraces(o TracesOptions) (*Traces, error) {
	if o.Endpoint == "" {
		return nil, nil //nolint:nilnil // nil is off
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	address := strings.TrimRight(o.Endpoint, "/")
	if !strings.HasSuffix(address, tracesPath) {
		address += tracesPath
	}
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     30 * time.Second,
	}
	life, end := context.WithCancel(context.Background())
	next, err := otlptrace.New(life, otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(address),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		// These two against OTEL_EXPORTER_OTLP_PROTOCOL and _CERTIFICATE, of
		// which the latter would refuse an http address.
		otlptracehttp.WithEncoding(otlptracehttp.EncodingProtobuf),
		otlptracehttp.WithTLSClientConfig(nil),
		otlptracehttp.WithMaxResponseSize(64<<10),
		otlptracehttp.WithHTTPClient(&http.Client{
			Transport: transport, Timeout: exportTimeout,
			// Headers with keys must not follow to another place.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}),
	))
	if err != nil {
		end()
		return nil, fmt.Errorf("traces: %w", err)
	}
	out := &exporter{next: next, life: life, log: log, ended: make(chan struct{})}
	batches := sdktrace.NewBatchSpanProcessor(out, sdktrace.WithExportTimeout(exportTimeout))
	return &Traces{
		provider: sdktrace.NewTracerProvider(
			sdktrace.WithSpanProcessor(batches),
			sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.AlwaysSample())),
			sdktrace.WithResource(resource.NewSchemaless(
				attribute.String("service.name", "outlook-connector"), attribute.String("service.version", o.Version),
			)),
		),
		batches: batches, out: out, transport: transport, end: end,
	}, nil
}

// Tracer returns what makes spans; nil where traces are off.
func (t *Traces) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer("outlook-connector")
}

// Stop sends what is left, as long as ctx and three seconds allow, and drops
// the rest. A collector that is away is no error of the stop; it is logged.
func (t *Traces) Stop(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	// Not the provider's Shutdown: it does nothing at all where ctx has ended.
	_ = t.batches.Shutdown(ctx) // the exporter tells what is lost
	t.end()
	<-t.out.ended
	ctx = context.WithoutCancel(ctx)
	_ = t.provider.Shutdown(ctx) // has no more to do; spans that are made now are nothing
	t.out.tell(ctx, true)
	t.transport.CloseIdleConnections()
}

// exporter sends batches, logs what is lost, and lets go when life ends. It
// keeps its errors from the library, whose handler of errors is global.
type exporter struct {
	next  sdktrace.SpanExporter
	life  context.Context
	log   *slog.Logger
	ended chan struct{}

	mu   sync.Mutex
	lost int   // spans, since it was last told
	last error // why
	told time.Time
}

// ExportSpans sends one batch. It is called for one batch at a time.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.life, cancel)() //nolint:contextcheck // two lives end this: the batch's and the exporter's
	if err := e.next.ExportSpans(ctx, spans); err != nil {
		e.mu.Lock()
		e.lost, e.last = e.lost+len(spans), err
		e.mu.Unlock()
		e.tell(ctx, false)
	}
	return nil
}

// tell logs what was lost, at most once in [tellEvery] where it is not the end.
func (e *exporter) tell(ctx context.Context, last bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lost == 0 || !last && !e.told.IsZero() && time.Since(e.told) < tellEvery {
		return
	}
	// The text has the collector's answer in it, which may be long.
	e.log.WarnContext(ctx, "spans not sent to telemetry.otlp_endpoint", "spans", e.lost, "error", fmt.Sprintf("%.300s", e.last.Error()))
	e.lost, e.told = 0, time.Now()
}

// Shutdown is the last call that the batcher makes.
func (e *exporter) Shutdown(ctx context.Context) error {
	defer close(e.ended)
	return e.next.Shutdown(ctx)
}
