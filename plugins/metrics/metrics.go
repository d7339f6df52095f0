// Package metrics is a local plugin: it shows the node's figures to Prometheus at /metrics, on the operator's listener.
//
// It measures nothing itself. The node counts and hands its figures over as facts; what the Go runtime and the process say
// of themselves is added. It keeps no registry but its own, so that several nodes in one process do not meet.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weft/plugins"
)

// Path is where the figures are.
const Path = "/metrics"

// MaxScrapes bounds the requests served at once; one more is told to come again.
const MaxScrapes = 4

// Maker names the plugin and opens it. It has no settings.
func Maker() plugins.Maker { return plugins.Maker{Name: "metrics", Open: open} }

func open(h plugins.Host) (plugins.Plugin, error) {
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		facts{h.Facts},
	} {
		if err := registry.Register(c); err != nil {
			return plugins.Plugin{}, fmt.Errorf("register: %w", err)
		}
	}
	page := handler(registry, h.Log)
	return plugins.Plugin{HTTP: plugins.Routes{List: []plugins.Route{{
		Method: http.MethodGet, Path: Path, Auth: plugins.AuthOperator, AnyQuery: true,
		Serve: func(w http.ResponseWriter, r *http.Request) error { page.ServeHTTP(w, r); return nil },
	}}}}, nil
}

// handler serves what can be gathered even if one figure cannot, and logs that one.
func handler(registry *prometheus.Registry, log *slog.Logger) http.Handler {
	options := promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: MaxScrapes}
	if log != nil {
		options.ErrorLog = slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	}
	return promhttp.HandlerFor(registry, options)
}

// facts collects the node's figures. They are asked for at each scrape, so nothing is described before.
type facts struct{ read func() []plugins.Fact }

// Describe implements prometheus.Collector.
func (facts) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (f facts) Collect(out chan<- prometheus.Metric) {
	for _, fact := range f.read() {
		out <- metric(fact)
	}
}

func metric(f plugins.Fact) prometheus.Metric {
	var names, values []string
	if name, value, ok := strings.Cut(f.Label, "="); ok {
		names, values = []string{name}, []string{value}
	}
	kind := prometheus.GaugeValue
	if f.Counter {
		kind = prometheus.CounterValue
	}
	desc := prometheus.NewDesc(f.Name, f.Help, names, nil)
	m, err := prometheus.NewConstMetric(desc, kind, f.Value, values...)
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
