package publisher

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// unknownPublisher is the label of messages for which there is no publisher: a
// sender's slips must not become label values.
const unknownPublisher = "unknown"

type metrics struct {
	commands *prometheus.CounterVec
	panics   *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	looks    *prometheus.CounterVec

	rows map[string]*row // by publisher
}

// row are the metrics of one publisher.
type row struct {
	done, failed, uncertain, panics, looks prometheus.Counter

	duration prometheus.Observer
	inFlight prometheus.Gauge
}

// ended is the counter of an end.
func (r *row) ended(outcome string) prometheus.Counter {
	switch state(outcome) {
	case stateDone:
		return r.done
	case stateFailed:
		return r.failed
	default:
		return r.uncertain
	}
}

// newMetrics makes the metrics, with a row for each publisher from the start,
// and registers them; a nil registerer leaves them unregistered.
func newMetrics(reg prometheus.Registerer, publishers []string) (*metrics, error) {
	m := &metrics{
		rows: make(map[string]*row, len(publishers)+1),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_commands_total",
			Help: "Commands that ended, by publisher and outcome (done, failed, uncertain).",
		}, []string{"publisher", "outcome"}),
		panics: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_command_panics_total",
			Help: "Panics while a command was handled.",
		}, []string{"publisher"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "outlook_command_duration_seconds",
			Help:    "Time from when a command was due (its arrival, or its Outlook-Not-Before) to its outcome.",
			Buckets: []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200, 86400},
		}, []string{"publisher"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "outlook_commands_in_flight",
			Help: "Commands that this process has in hand.",
		}, []string{"publisher"}),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_command_looks_total",
			Help: "Looks into mailboxes for the effect of requests of unknown end.",
		}, []string{"publisher"}),
	}
	if reg != nil {
		err := errors.Join(share(reg, &m.commands), share(reg, &m.panics), share(reg, &m.duration), share(reg, &m.inFlight), share(reg, &m.looks))
		if err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	for _, name := range append([]string{unknownPublisher}, publishers...) {
		m.rows[name] = &row{
			done:      m.commands.WithLabelValues(name, string(stateDone)),
			failed:    m.commands.WithLabelValues(name, string(stateFailed)),
			uncertain: m.commands.WithLabelValues(name, string(stateUncertain)),
			panics:    m.panics.WithLabelValues(name),
			looks:     m.looks.WithLabelValues(name),
			duration:  m.duration.WithLabelValues(name),
			inFlight:  m.inFlight.WithLabelValues(name),
		}
	}
	return m, nil
}

// share registers a collector, or takes the one that a publisher before has
// registered: a worker makes another where its configuration changes, and counts
// on.
func share[C prometheus.Collector](reg prometheus.Registerer, collector *C) error {
	err := reg.Register(*collector)
	if taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if same, ok := taken.ExistingCollector.(C); ok {
			*collector = same
			return nil
		}
	}
	return err
}
