package cli_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"outlook-connector/internal/cli"
)

// hook is an output that says what is written to it, while it is written.
type hook func(text string)

func (h hook) Write(p []byte) (int, error) {
	h(string(p))
	return len(p), nil
}

// The moment between the line that it listens and the first event is too short
// for a script to hit every time.
func TestListenIsGivenUpWithoutAnErrorWhileItBegins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "connector.yaml")
	if err := os.WriteFile(file, []byte(`
nats: {embedded: {store_dir: ./nats, listen: 127.0.0.1:0}}
token_store: {path: ./tokens.db, key: 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f}
http: {listen: 127.0.0.1:1} # nothing is there
`), 0o600); err != nil {
		t.Fatal(err)
	}
	worker := exec.Command("outlook-connector", "--config", file, "run", "--roles", "tokens")
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = worker.Process.Signal(syscall.SIGTERM) // it may have failed
		if err := worker.Wait(); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	run := func(ctx context.Context, errOut io.Writer, command string) (code int, out string) {
		var stdout bytes.Buffer
		code = cli.Main(ctx, []string{"--config", file, command}, strings.NewReader(""), &stdout, errOut)
		return code, stdout.String()
	}
	if !eventually(func() bool {
		_, out := run(t.Context(), io.Discard, "status")
		return strings.Contains(out, "OUTLOOK_EVENTS   0 messages")
	}) {
		t.Fatal("the streams were never there")
	}

	for range 3 {
		ctx, interrupt := context.WithCancel(t.Context())
		var said strings.Builder
		code, out := run(ctx, hook(func(text string) {
			said.WriteString(text)
			if strings.HasPrefix(text, "listening on ") {
				interrupt()
			}
		}), "listen")
		interrupt()
		if code != 0 || out != "" || said.String() != "listening on outlook.event.>\n" {
			t.Errorf("exit code %d, output %q, on standard error:\n%s", code, out, said.String())
		}
	}
}
