package cli

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"outlook-connector/config"
	"outlook-connector/worker"
)

// lookEvery is how often the configuration file is looked at. What is different
// must be so twice in a row, so a change is taken after two to four seconds.
const lookEvery = 2 * time.Second

// hangups are SIGHUP: the wish that the configuration is read again, or the end
// of the terminal in which the program was started. Windows has no such signal.
type hangups struct {
	ch chan os.Signal
	// terminal is where the program was started; nil where there is none, or the
	// program is to outlive it (nohup).
	terminal *os.File
}

func catchHangups(in io.Reader) hangups {
	h := hangups{ch: make(chan os.Signal, 1)}
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) && !signal.Ignored(syscall.SIGHUP) {
		h.terminal = file
	}
	signal.Notify(h.ch, syscall.SIGHUP)
	return h
}

func (h hangups) stop() { signal.Stop(h.ch) }

// isEnd reports whether the terminal has gone.
func (h hangups) isEnd() bool { return h.terminal != nil && !term.IsTerminal(int(h.terminal.Fd())) }

// follow has the worker take its configuration anew when it has changed, or on
// SIGHUP, until ctx ends. It calls end where the terminal has gone.
func follow(ctx context.Context, w *worker.Worker, file *config.Watcher, h hangups, end func()) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.ch:
			if h.isEnd() {
				end()
				return
			}
		case <-look.C:
			if !file.Changed() {
				continue
			}
		}
		_ = w.Reload(ctx, file.Load) // logged, and in the conditions
	}
}
