package examples_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/cli"
	"outlook-connector/internal/seal"
)

// output collects what a running demo prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startDemo runs the demo and returns its NATS address once it is up.
func startDemo(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var out output
	code := make(chan int, 1)
	go func() {
		code <- cli.Main(ctx, []string{"demo", "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0"}, strings.NewReader(""), &out, &out)
	}()
	t.Cleanup(func() {
		cancel()
		if got := <-code; got != 0 {
			t.Errorf("demo ended with %d:\n%s", got, out.String())
		}
	})
	address := regexp.MustCompile(`nats://127\.0\.0\.1:\d+`)
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(time.Minute); ; {
		if strings.Contains(out.String(), "It stays up") {
			return address.FindString(out.String())
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("the demo does not come up:\n%s", out.String())
		}
	}
}

// program builds an example and returns how to run it.
func program(t *testing.T, name string) func(args ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name)
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./"+name).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, binary, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return string(out)
	}
}

func TestProgramsSendAndReceive(t *testing.T) {
	t.Parallel()
	server := startDemo(t)
	send, consume := program(t, "send-mail"), program(t, "consume-inbox")

	if got := send("-server", server, "-subject", "From an example", "-key", "example-1"); !strings.HasPrefix(got, "done 202") {
		t.Errorf("send-mail: %s", got)
	}
	if got := send("-server", server, "-subject", "From an example", "-key", "example-1"); !strings.HasPrefix(got, "done 202") {
		t.Errorf("send-mail with the same key: %s", got)
	}
	if got := send("-server", server, "-subject", "Another", "-key", "example-2"); !strings.HasPrefix(got, "done 202") {
		t.Errorf("send-mail: %s", got)
	}
	// The demo's own mail, then ours: once, though it was published twice.
	got := consume("-server", server, "-count", "3")
	for _, want := range []string{`"Hello from NATS" from ann@contoso.example`, `"From an example"`, `"Another"`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("consume-inbox: want one %s in\n%s", want, got)
		}
	}
}

func TestConfigurationsLoad(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(config.Source{File: file, Data: text, LookupEnv: func(name string) (string, bool) {
			if name == "TOKEN_KEY" {
				return seal.NewKeyText().Reveal(), true
			}
			return "value-of-" + strings.ToLower(strings.ReplaceAll(name, "_", "-")) + ".example", true
		}}); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// TestReadmeShowsWhatTheDemoPrints keeps README's first block and the program
// alike: the same lines, but for ports, ids and times.
func TestReadmeShowsWhatTheDemoPrints(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, found := strings.Cut(string(readme), "```console\n$ go run ./cmd/outlook-connector demo --once\n")
	if !found {
		t.Fatal("README has no demo block")
	}
	block, _, _ = strings.Cut(block, "```")

	var out bytes.Buffer
	args := []string{"demo", "--once", "--nats", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	if code := cli.Main(t.Context(), args, strings.NewReader(""), &out, io.Discard); code != 0 {
		t.Fatalf("demo --once ended with %d", code)
	}
	if got, want := normal(out.String()), normal(block); got != want {
		t.Errorf("the demo prints\n%s\nbut README shows\n%s", got, want)
	}
}

// TestConfigurationsOfTheDocsLoad loads the configurations that the pages show.
func TestConfigurationsOfTheDocsLoad(t *testing.T) {
	t.Parallel()
	const client = `clients: [{name: contoso, tenant: contoso.onmicrosoft.com, client_id: 00000000-0000-0000-0000-000000000000,` +
		` scopes: [offline_access, Mail.ReadWrite, Calendars.Read, MailboxSettings.Read]}]` + "\n"
	for file, before := range map[string]string{"../README.md": "", "../docs/subscriptions.md": client} {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(page), "```yaml\n")[1:]
		if len(blocks) == 0 {
			t.Fatalf("%s has no configuration", file)
		}
		for _, block := range blocks {
			block, _, _ = strings.Cut(block, "```")
			if strings.HasPrefix(block, "  - ") {
				block = "subscriptions:\n" + block
			}
			if _, err := config.Parse(config.Source{
				File: file, Data: []byte(before + block),
				LookupEnv: func(string) (string, bool) { return "value", true },
				ReadFile:  func(string) ([]byte, error) { return []byte(seal.NewKeyText().Reveal()), nil },
			}); err != nil {
				t.Errorf("%v", err)
			}
		}
	}
}

func normal(text string) string {
	for pattern, name := range map[string]string{
		`127\.0\.0\.1:\d+`:              "ADDRESS",
		`[0-9a-f]{8}(-[0-9a-f]{4,12})+`: "UUID",
		`…[A-Za-z0-9_=-]{12}`:           "ITEM",
		`\d\d:\d\d:\d\d`:                "TIME",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, name)
	}
	return strings.TrimSpace(text)
}
