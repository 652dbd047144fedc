package publisher

import (
	"context"
	"log/slog"
)

// naming is a handler that says in each line which command it is about. Most
// commands have no line at all, and so it is made only for one that is written.
type naming struct {
	slog.Handler

	j *job
}

// Handle writes a line.
func (n naming) Handle(ctx context.Context, r slog.Record) error {
	return n.named().Handle(ctx, r)
}

// WithAttrs returns a handler whose lines have more.
func (n naming) WithAttrs(attrs []slog.Attr) slog.Handler { return n.named().WithAttrs(attrs) }

// WithGroup returns a handler whose lines have a group.
func (n naming) WithGroup(name string) slog.Handler { return n.named().WithGroup(name) }

func (n naming) named() slog.Handler {
	return n.Handler.WithAttrs([]slog.Attr{slog.String("publisher", n.j.label), slog.String("id", n.j.who.id)})
}
