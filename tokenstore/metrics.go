package tokenstore

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Results of a refresh, the values of the label of that name.
const (
	resultOK            = "ok"
	resultTransient     = "transient"
	resultThrottled     = "throttled"
	resultRefused       = "refused"
	resultNeedsReauth   = "needs_reauth"
	resultAdministrator = "administrator"
	resultNotSaved      = "not_saved"
)

// Metrics are the metrics of this package. One value serves a [Keeper] and a
// [Remote] of the same process, one after the other or both at once.
type Metrics struct {
	refreshes *prometheus.CounterVec
	left      *prometheus.Desc

	mu     sync.Mutex
	expiry map[string]time.Time
}

// NewMetrics registers the metrics; a nil registerer leaves them unregistered.
// It panics where they are registered already, as a mistake in the wiring.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		refreshes: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "outlook_token_refreshes_total",
			Help: "Refreshes of access tokens, by what came of them.",
		}, []string{"client", "result"}),
		left: prometheus.NewDesc("outlook_token_expiry_seconds",
			"Seconds until the access token at hand expires; negative when it has expired.", []string{"client"}, nil),
		expiry: make(map[string]time.Time),
	}
	if reg != nil {
		reg.MustRegister(m)
	}
	return m
}

// Describe is for the registry.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.left }

// Collect is for the registry. The time left is worked out when somebody asks:
// a gauge that is set when a token arrives would stand still until the next.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for client, expiry := range m.expiry {
		ch <- prometheus.MustNewConstMetric(m.left, prometheus.GaugeValue, time.Until(expiry).Seconds(), client)
	}
}

func (m *Metrics) refreshed(client, result string) {
	m.refreshes.WithLabelValues(client, result).Inc()
}

// expires notes when the client's token expires; the zero time means that there
// is none.
func (m *Metrics) expires(client string, expiry time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if expiry.IsZero() {
		delete(m.expiry, client)
		return
	}
	m.expiry[client] = expiry
}
