package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// logBridge gives the server's log lines to slog. Notices are the server
// talking about itself (some thirty lines at each start), hence debug level.
type logBridge struct {
	log   *slog.Logger
	fatal chan string // the first fatal line; the server expects the process to end after it
}

func (b *logBridge) line(level slog.Level, format string, args []any) {
	ctx := context.Background() // the server has none
	if b.log.Enabled(ctx, level) {
		b.log.Log(ctx, level, "embedded nats", "text", fmt.Sprintf(format, args...))
	}
}

// plaintext is the server's warning about a password in its options that is
// not hashed. Ours is made by us, is never in a configuration file, and has to
// lie beside the server in clear for those who may connect.
const plaintext = "Plaintext passwords detected"

func (b *logBridge) Noticef(format string, args ...any) { b.line(slog.LevelDebug, format, args) }
func (b *logBridge) Warnf(format string, args ...any) {
	if !strings.HasPrefix(format, plaintext) {
		b.line(slog.LevelWarn, format, args)
	}
}
func (b *logBridge) Errorf(format string, args ...any) { b.line(slog.LevelError, format, args) }
func (b *logBridge) Debugf(format string, args ...any) { b.line(slog.LevelDebug, format, args) }
func (b *logBridge) Tracef(format string, args ...any) { b.line(slog.LevelDebug, format, args) }

// Fatalf does not end the process, which the server's own logger would do:
// Start returns the text as its error.
func (b *logBridge) Fatalf(format string, args ...any) {
	b.line(slog.LevelError, format, args)
	select {
	case b.fatal <- fmt.Sprintf(format, args...):
	default:
	}
}
