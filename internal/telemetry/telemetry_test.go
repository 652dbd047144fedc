package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"outlook-connector/internal/seal"
	"outlook-connector/internal/telemetry"
)

func TestLogIsJSONWhereNobodyWatches(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "", "")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("hidden")
	log.Info("shown", "secret", seal.Secret("canary-1"), "again_in", 1500*time.Millisecond)

	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("not one JSON line: %v\n%s", err, out.String())
	}
	if line["msg"] != "shown" || line["again_in"] != "1.5s" || strings.Contains(out.String(), "canary-1") {
		t.Errorf("log line: %s", out.String())
	}
}

func TestTextFormatOnRequest(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, "debug", "text")
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("shown", "n", 3)
	if got := out.String(); !strings.Contains(got, "DBG shown n=3") || strings.Contains(got, "\x1b[") {
		t.Errorf("text line: %q", got)
	}
}

func TestWrongLevelAndFormatSayWhatIsAllowed(t *testing.T) {
	t.Parallel()
	if _, err := telemetry.NewLogger(&bytes.Buffer{}, "loud", ""); err == nil || !strings.Contains(err.Error(), "debug, info, warn or error") {
		t.Errorf("level: %v", err)
	}
	if _, err := telemetry.NewLogger(&bytes.Buffer{}, "", "xml"); err == nil || !strings.Contains(err.Error(), "auto, text or json") {
		t.Errorf("format: %v", err)
	}
}

func TestRegistryIsCleanAndSaysUp(t *testing.T) {
	t.Parallel()
	reg := telemetry.NewRegistry("1.2.3")
	problems, err := testutil.GatherAndLint(reg, "outlook_up")
	if err != nil || len(problems) != 0 {
		t.Errorf("lint: %v %v", err, problems)
	}
	if n, err := testutil.GatherAndCount(reg, "outlook_up"); err != nil || n != 1 {
		t.Errorf("outlook_up: %d %v", n, err)
	}
}

func TestLinesAreCountedByLevelAndStillWritten(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	base, err := telemetry.NewLogger(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	reg := telemetry.NewRegistry("1.2.3")
	log := telemetry.CountLines(base, reg).With("room", "test").WithGroup("more")
	log.Debug("hidden")
	log.Info("one")
	log.Warn("two", "n", 1)
	log.Warn("three")
	log.Log(t.Context(), slog.LevelError+2, "four")
	want := "# HELP outlook_log_lines_total Lines of the log, by level (debug, info, warn, error).\n# TYPE outlook_log_lines_total counter\n" +
		"outlook_log_lines_total{level=\"error\"} 1\noutlook_log_lines_total{level=\"info\"} 1\noutlook_log_lines_total{level=\"warn\"} 2\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "outlook_log_lines_total"); err != nil {
		t.Error(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 4 || !strings.Contains(got, `"room":"test","more":{"n":1}`) {
		t.Errorf("log:\n%s", got)
	}
}
