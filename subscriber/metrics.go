package subscriber

import (
	"errors"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of the contract. Their labels come from closed sets: names
// of the configuration, words for changes and results.
type metrics struct {
	events *prometheus.CounterVec
	polls  *prometheus.CounterVec
}

// newMetrics registers the metrics; a nil registerer is nobody who looks.
func newMetrics(reg prometheus.Registerer, s *Subscriber) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_events_total",
			Help: "Events stored, by subscription and change (created, updated, deleted, changed, snapshot).",
		}, []string{"subscription", "change"}),
		polls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_polls_total",
			Help: "Polls of feeds, by subscription and result (ok, empty, more, busy, skipped, fenced, retired, resting, panic, or the remedy of a failure).",
		}, []string{"subscription", "result"}),
	}
	if reg == nil {
		return m, nil
	}
	lag := &lagCollector{desc: prometheus.NewDesc(
		"outlook_feed_lag_seconds",
		"For how long the feed that is furthest behind in this worker has been so, by subscription.",
		[]string{"subscription"}, nil)}
	err := errors.Join(share(reg, &m.events), share(reg, &m.polls), share(reg, &lag))
	lag.subscriber.Store(s)
	return m, err
}

// share registers a collector, or takes the one that a subscriber before has
// registered: a worker makes another subscriber where its configuration changes,
// and counts on.
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

// lagCollector computes the lag when it is asked for, so that it grows also
// while nothing happens.
type lagCollector struct {
	subscriber atomic.Pointer[Subscriber] // the newest
	desc       *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *lagCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements [prometheus.Collector].
func (c *lagCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.subscriber.Load()
	lag := make(map[string]float64, len(s.subs))
	for name := range s.subs {
		lag[name] = 0
	}
	for _, feed := range s.Status() {
		name := feed.Feed.Subscription
		lag[name] = max(lag[name], feed.Lag.Seconds())
	}
	for name, seconds := range lag {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, seconds, name)
	}
}
