package cli

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestAHangUpOfTheTerminalIsTheEndAndNoReload has a file that is not a terminal
// any more. There is no worker: it must not be asked for anything.
func TestAHangUpOfTheTerminalIsTheEndAndNoReload(t *testing.T) {
	t.Parallel()
	gone, err := os.Create(filepath.Join(t.TempDir(), "terminal"))
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	h := hangups{ch: make(chan os.Signal, 1), terminal: gone}
	h.ch <- syscall.SIGHUP
	ended := false
	follow(t.Context(), nil, nil, h, func() { ended = true })
	if !ended {
		t.Error("it did not end")
	}
	if (hangups{}).isEnd() {
		t.Error("without a terminal it is the end of one")
	}
}
