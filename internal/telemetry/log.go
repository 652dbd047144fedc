// Package telemetry sets up what the process tells about itself: its log, its
// metrics registry and, where wanted, its traces. It decides formats and levels
// and where things go; what is logged, counted and traced is each room's own
// business.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// Log formats.
const (
	// FormatAuto is text on a terminal and JSON everywhere else.
	FormatAuto = "auto"
	FormatText = "text"
	FormatJSON = "json"
)

// NewLogger returns a logger that writes to w. Level is debug, info, warn or
// error, format one of the Format constants; empty strings mean info and auto.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var min slog.Level
	if level != "" {
		if err := min.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("log level %q: use debug, info, warn or error", level)
		}
	}
	terminal := isTerminal(w)
	switch format {
	case "", FormatAuto:
		format = FormatJSON
		if terminal {
			format = FormatText
		}
	case FormatText, FormatJSON:
	default:
		return nil, fmt.Errorf("log format %q: use auto, text or json", format)
	}
	if format == FormatText {
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: min, TimeFormat: time.TimeOnly, NoColor: !terminal || os.Getenv("NO_COLOR") != "",
		})), nil
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: min, ReplaceAttr: readable})), nil
}

// readable writes durations as 1m2.5s: JSON would have a bare number of
// nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// isTerminal reports whether w is a terminal a person looks at.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
