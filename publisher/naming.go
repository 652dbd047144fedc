package publisher

import (
	"context"
	"log/slog"
)

// naming is a job as a handler that says in each line which command it is about.
// Most commands have no line at all, and so nothing is made before one is written.
type naming job

// Enabled reports whether lines of a level are written.
func (n *naming) Enabled(ctx context.Context, level slog.Level) bool {
	return n.w.log.Handler().Enabled(ctx, level)
}

// Handle writes a line.
func (n *naming) Handle(ctx context.Context, r slog.Record) error {
	return n.named().Handle(ctx, r)
}

// WithAttrs returns a handler whose lines have more.
func (n *naming) WithAttrs(attrs []slog.Attr) slog.Handler { return n.named().WithAttrs(attrs) }

// WithGroup returns a handler whose lines have a group.
func (n *naming) WithGroup(name string) slog.Handler { return n.named().WithGroup(name) }

func (n *naming) named() slog.Handler {
	return n.w.log.Handler().WithAttrs([]slog.Attr{slog.String("publisher", n.label), slog.String("id", n.who.id)})
}
