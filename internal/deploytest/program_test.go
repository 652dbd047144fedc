package deploytest_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
)

// The paths that probes and scrapers ask for are served, and without a credential.
func TestProbesAndScrapersAreAnsweredWithoutACredential(t *testing.T) {
	t.Parallel()
	s, err := httpd.Listen(t.Context(), httpd.Options{
		Listen: "127.0.0.1:0", Credential: "a-credential-that-nobody-gives", Checks: new(health.Checks),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "# metrics") }),
		Status:  func(context.Context) httpd.Status { return httpd.Status{} }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		resp, err := http.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	_ = s.Stop(t.Context())
	if err := <-served; err != nil {
		t.Error(err)
	}
}

var metricName = regexp.MustCompile(`\boutlook_[a-z0-9_]+\b`)

// Every metric that rules, dashboards, the chart and the pages name stands in the program's
// source: alone, or without the prefix that some rooms put before their names.
func TestEveryMetricThatIsNamedExists(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for _, folder := range []string{"internal", "publisher", "subscriber", "tokenstore", "worker"} {
		for _, file := range files(t, folder) {
			if strings.HasSuffix(file, ".go") && !strings.HasSuffix(file, "_test.go") {
				source.WriteString(read(t, file))
			}
		}
	}
	text := source.String()
	exists := func(name string) bool {
		return strings.Contains(text, `"`+name+`"`) || strings.Contains(text, `"`+strings.TrimPrefix(name, "outlook_")+`"`)
	}
	seen := 0
	for _, file := range append(files(t, "deploy"), files(t, "docs/operate")...) {
		for _, name := range metricName.FindAllString(read(t, file), -1) {
			seen++
			base := name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				base = strings.TrimSuffix(base, suffix)
			}
			if !exists(name) && !exists(base) {
				t.Errorf("%s: there is no metric %s", file, name)
			}
		}
	}
	if seen == 0 {
		t.Error("no metric was looked at")
	}
}

var (
	fence   = regexp.MustCompile("(?s)```(?:sh|console)?\n(.*?)```")
	link    = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)\s]*)?\)`)
	command = regexp.MustCompile(`(?m)^\s*(?:\$ )?(?:sudo )?(?:[A-Z_]+=\S+ )?(?:\./|.* /)?outlook-connector ([a-z].*)$`)
	inline  = regexp.MustCompile("`outlook-connector ([a-z][^`…]*)`")
	comment = regexp.MustCompile(`\s+#.*$|\s*[|>&;\\].*$`)
)

// Pages name commands, flags and other pages; those are there.
func TestThePagesNameWhatIsThere(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, file := range files(t, "docs/operate") {
		if filepath.Ext(file) != ".md" {
			continue
		}
		text := read(t, file)
		for _, match := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(file), match[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
		for _, match := range inline.FindAllStringSubmatch(text, -1) {
			seen++
			runs(t, strings.Fields(match[1])...)
		}
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			for _, match := range command.FindAllStringSubmatch(block[1], -1) {
				line := comment.ReplaceAllString(match[1], "")
				if words := strings.Fields(line); len(words) > 0 {
					seen++
					runs(t, words...)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d commands were looked at", seen)
	}
}
