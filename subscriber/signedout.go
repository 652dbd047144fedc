package subscriber

import (
	"log/slog"
	"sync"

	"outlook-connector/internal/fault"
)

// signedOut are the clients of which feeds fail because nobody has signed in.
// One feed of a client says so in the log for all of them: ten thousand lines
// would hide what else is wrong. Its zero value has none; it is safe for
// concurrent use.
type signedOut struct {
	mu      sync.Mutex
	clients map[string]bool
}

// fails returns the level at which a feed's new failure is logged.
func (o *signedOut) fails(client string, err error) slog.Level {
	if fault.KindOf(err) != fault.Reauth {
		return slog.LevelWarn
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.clients[client] {
		return slog.LevelDebug
	}
	if o.clients == nil {
		o.clients = make(map[string]bool)
	}
	o.clients[client] = true
	return slog.LevelWarn
}

// recovers returns the level at which it is logged that a feed works again that
// failed with err.
func (o *signedOut) recovers(client string, err error) slog.Level {
	if fault.KindOf(err) != fault.Reauth {
		return slog.LevelInfo
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.clients[client] {
		return slog.LevelDebug
	}
	delete(o.clients, client)
	return slog.LevelInfo
}
