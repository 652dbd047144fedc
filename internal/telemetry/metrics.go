package telemetry

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// NewRegistry returns a registry of its own (never the library's global one)
// that already holds the process and Go collectors and outlook_up.
func NewRegistry(version string) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "outlook_up",
		Help:        "1 while the process runs; the version is a label.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	up.Set(1)
	reg.MustRegister(
		up,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return reg
}
