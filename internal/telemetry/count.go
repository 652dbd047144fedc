package telemetry

import (
	"context"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// CountLines returns a logger that does as the given one and counts its lines by
// level, in outlook_log_lines_total: an alert can tell that something is wrong
// without anybody reading the log.
func CountLines(log *slog.Logger, reg prometheus.Registerer) *slog.Logger {
	lines := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "outlook_log_lines_total",
		Help: "Lines of the log, by level (debug, info, warn, error).",
	}, []string{"level"})
	for _, level := range []slog.Level{slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		lines.WithLabelValues(strings.ToLower(level.String()))
	}
	reg.MustRegister(lines)
	return slog.New(&counting{log.Handler(), lines})
}

// counting counts what goes to the next handler.
type counting struct {
	next  slog.Handler
	lines *prometheus.CounterVec
}

func (c *counting) Enabled(ctx context.Context, level slog.Level) bool {
	return c.next.Enabled(ctx, level)
}

func (c *counting) Handle(ctx context.Context, r slog.Record) error {
	c.lines.WithLabelValues(levelOf(r.Level)).Inc()
	return c.next.Handle(ctx, r)
}

func (c *counting) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &counting{c.next.WithAttrs(attrs), c.lines}
}

func (c *counting) WithGroup(name string) slog.Handler {
	return &counting{c.next.WithGroup(name), c.lines}
}

// levelOf is the named level that a level belongs to: a closed set, for a label.
func levelOf(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "error"
	case level >= slog.LevelWarn:
		return "warn"
	case level >= slog.LevelInfo:
		return "info"
	default:
		return "debug"
	}
}
