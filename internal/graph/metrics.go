package graph

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/fault"
)

// metrics are shared by all clients of a registry; each has its name in the
// label client.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	retries  *prometheus.CounterVec

	mu    sync.RWMutex
	known map[ending]series
}

// ending is what the labels of a request are made of: the status, or the code of
// the error where there is none. There are as many of them as the metric has
// series.
type ending struct {
	client, method, code string
	status               int
}

// series are the metrics of an ending. To look them up by their labels takes longer
// than to count.
type series struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

// of returns the metrics of an ending.
func (m *metrics) of(e ending) series {
	m.mu.RLock()
	found, ok := m.known[e]
	m.mu.RUnlock()
	if ok {
		return found
	}
	code := e.code
	if e.status != 0 {
		code = strconv.Itoa(e.status)
	}
	found = series{requests: m.requests.WithLabelValues(e.client, e.method, code), duration: m.duration.WithLabelValues(e.client, e.method)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[e] = found
	return found
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		known: make(map[ending]series),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_graph_requests_total",
			Help: "HTTP requests to Microsoft Graph, by status code, or not_sent or no_answer where there was none.",
		}, []string{"client", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "outlook_graph_request_duration_seconds",
			Help:    "Time of HTTP requests to Microsoft Graph, body included.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"client", "method"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_graph_retries_total",
			Help: "Requests to Microsoft Graph that have to be made again, by reason.",
		}, []string{"client", "reason"}),
	}
	if reg == nil {
		return m, nil
	}
	err := errors.Join(
		share(reg, &m.requests), share(reg, &m.duration), share(reg, &m.retries),
	)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// limitMetrics are those of one limiter. Its label client is the name of one of
// the clients with its app id.
type limitMetrics struct {
	waited func(seconds float64)
	held   prometheus.Gauge
	takes  *prometheus.CounterVec
	lost   prometheus.Counter
}

func newLimitMetrics(reg prometheus.Registerer, client string) (*limitMetrics, error) {
	wait := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outlook_throttle_wait_seconds_total",
		Help: "Time that requests were put off because their mailbox was busy or throttled.",
	}, []string{"client"})
	held := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "outlook_slots_held",
		Help: "Slots of mailboxes that this process holds.",
	}, []string{"client"})
	takes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outlook_slot_takes_total",
		Help: "Attempts to take a slot from NATS: taken, busy (others have all), closed (the server lost them, there is a wait), error.",
	}, []string{"client", "result"})
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outlook_slots_lost_total",
		Help: "Slots that could not be renewed in time.",
	}, []string{"client"})
	if reg != nil {
		if err := errors.Join(share(reg, &wait), share(reg, &held), share(reg, &takes), share(reg, &lost)); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return &limitMetrics{
		waited: wait.WithLabelValues(client).Add, held: held.WithLabelValues(client), lost: lost.WithLabelValues(client),
		takes: takes.MustCurryWith(prometheus.Labels{"client": client}),
	}, nil
}

// share registers a collector, or takes the one that another client of the
// same registry has registered.
func share[C prometheus.Collector](reg prometheus.Registerer, collector *C) error {
	err := reg.Register(*collector)
	if err == nil {
		return nil
	}
	if taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := taken.ExistingCollector.(C); ok {
			*collector = same
			return nil
		}
	}
	return err
}

// logEntry is what is told about one attempt.
type logEntry struct {
	call            *call
	started         time.Time
	status          int
	requestID       string
	clientRequestID string
	batch           string // of the batch whose part it is: its client-request-id
	repeat          bool
	size            int64
}

// finish counts an attempt and, where wanted, traces and logs it: the path's template and
// not the path, and neither headers nor bodies.
func (c *Client) finish(ctx context.Context, e logEntry, err error) {
	took := time.Since(e.started)
	mark := fault.Of(err)
	end := ending{client: c.name, method: e.call.method, status: e.status}
	if e.status == 0 {
		end.code = mark.Code
	}
	counted := c.metrics.of(end)
	counted.requests.Inc()
	counted.duration.Observe(took.Seconds())
	if mark != nil && mark.Kind == fault.Retry && !fault.Stopped(ctx, err) {
		c.metrics.retries.WithLabelValues(c.name, retryReason(e.status)).Inc()
	}
	if c.tracer != nil {
		c.trace(ctx, e, err)
	}
	if !c.logRequests {
		return
	}
	attrs := []slog.Attr{
		slog.String("client", c.name), slog.String("method", e.call.method), slog.String("path", e.call.template),
		slog.Int("status", e.status), slog.Int64("ms", took.Milliseconds()), slog.String("request_id", e.requestID),
		slog.String("client_request_id", e.clientRequestID), slog.Bool("retry", e.repeat),
		slog.Int("sent_bytes", len(e.call.body)), slog.Int64("body_bytes", e.size),
	}
	if e.batch != "" {
		attrs = append(attrs, slog.String("batch", e.batch))
	}
	if mark != nil {
		attrs = append(attrs, slog.String("code", mark.Code), slog.String("remedy", mark.Kind.String()))
	}
	c.log.LogAttrs(ctx, slog.LevelInfo, "graph request", attrs...)
}

// retryReason is a closed set: it is a label.
func retryReason(status int) string {
	switch {
	case status == 0:
		return "network"
	case status == 429:
		return "throttled"
	case status == 409 || status == 412:
		return "conflict"
	case status == 408 || status == 504:
		return "timeout"
	case status >= 500:
		return "unavailable"
	case status >= 200 && status < 300:
		return "body"
	default:
		return "other"
	}
}
