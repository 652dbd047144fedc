package subscriber

import (
	"errors"
	"sync/atomic"
	"time"

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
		[]string{"subscription"}, nil), interval: prometheus.NewDesc(
		"outlook_feed_interval_seconds",
		"The longest wait between two polls of a feed that its schedule has now, by subscription.",
		[]string{"subscription"}, nil), feeds: prometheus.NewDesc(
		"outlook_feeds",
		"Feeds that this worker knows, by subscription and state, as far as it polled them itself: ok, failing, paused, unpolled.",
		[]string{"subscription", "state"}, nil)}
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

// lagCollector computes the state of the feeds when it is asked for, so that the
// lag grows also while nothing happens.
type lagCollector struct {
	subscriber atomic.Pointer[Subscriber] // the newest
	desc       *prometheus.Desc
	interval   *prometheus.Desc
	feeds      *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (c *lagCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.desc
	ch <- c.interval
	ch <- c.feeds
}

// Collect implements [prometheus.Collector].
func (c *lagCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.subscriber.Load()
	now := time.Now()
	type row struct {
		lag    float64
		states map[string]int
	}
	rows := make(map[string]*row, len(s.subs))
	for name, sub := range s.subs {
		rows[name] = &row{states: map[string]int{stateOK: 0, stateFailing: 0, statePaused: 0, stateUnpolled: 0}}
		ch <- prometheus.MustNewConstMetric(c.interval, prometheus.GaugeValue, sub.clock.longest(now).Seconds(), name)
	}
	for _, feed := range s.Status() {
		r := rows[feed.Feed.Subscription]
		if r == nil {
			continue
		}
		r.lag = max(r.lag, feed.Lag.Seconds())
		r.states[feed.State()]++
	}
	for name, r := range rows {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, r.lag, name)
		for state, n := range r.states {
			ch <- prometheus.MustNewConstMetric(c.feeds, prometheus.GaugeValue, float64(n), name, state)
		}
	}
}

// The states of a feed, as a label.
const (
	stateOK       = "ok"
	stateFailing  = "failing"
	statePaused   = "paused"
	stateUnpolled = "unpolled"
)

// State sums a feed up in a word, the label of outlook_feeds: ok, failing, paused, or
// unpolled (by this worker). One whose failure is so old that another worker
// must have it by now is none of ours.
func (f FeedStatus) State() string {
	switch {
	case f.Result == resultPaused:
		return statePaused
	case f.Failures > 0 && f.Lag > 0:
		return stateFailing
	case f.LastPoll.IsZero():
		return stateUnpolled
	default:
		return stateOK
	}
}
