package telemetry_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"outlook-connector/internal/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func traces(t *testing.T, endpoint string, log io.Writer) *telemetry.Traces {
	t.Helper()
	to, err := telemetry.NewTraces(telemetry.TracesOptions{Endpoint: endpoint, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func TestNoEndpointIsOff(t *testing.T) {
	t.Parallel()
	to := traces(t, "", t.Output())
	if to.Tracer() != nil {
		t.Error("there is a tracer")
	}
	to.Stop(t.Context())
}

func TestThePathOfTracesIsAddedOnce(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		paths []string
	)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		paths = append(paths, r.URL.Path)
	}))
	t.Cleanup(server.Close)
	for _, path := range []string{"", "/", "/otlp", "/v1/traces", "/otlp/v1/traces"} {
		to := traces(t, server.URL+path, t.Output())
		_, span := to.Tracer().Start(t.Context(), "work")
		span.End()
		to.Stop(t.Context())
	}
	want := []string{"/v1/traces", "/v1/traces", "/otlp/v1/traces", "/v1/traces", "/otlp/v1/traces"}
	if !slices.Equal(paths, want) {
		t.Errorf("%v, want %v", paths, want)
	}
}

func TestTheCollectorsHeadersDoNotFollowToAnotherPlace(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority(t))
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a request with the key %q went elsewhere", r.Header.Get("api-key"))
	}))
	t.Cleanup(elsewhere.Close)
	var key, kind string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, kind = r.Header.Get("api-key"), r.Header.Get("Content-Type")
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	var log bytes.Buffer
	to := traces(t, server.URL, &log)
	_, span := to.Tracer().Start(t.Context(), "work")
	span.End()
	to.Stop(t.Context())
	if kind != "application/x-protobuf" {
		t.Errorf("content type %q", kind)
	}
	if key != "canary" || !strings.Contains(log.String(), "spans=1") || strings.Contains(log.String(), "canary") {
		t.Errorf("key %q, log %s", key, log.String())
	}
}

// authority writes a certificate into a file.
func authority(t *testing.T) string {
	t.Helper()
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestStopEndsInTimeWithACollectorThatHangs(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	for name, patience := range map[string]time.Duration{"no time is left": 0, "a moment is left": 100 * time.Millisecond, "time is left": time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			to := traces(t, server.URL, &log)
			began := time.Now()
			for range 5000 { // more than the queue takes
				_, span := to.Tracer().Start(t.Context(), "work")
				span.End()
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("the spans held work up for %v", took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began = time.Now()
			to.Stop(ctx)
			if took := time.Since(began); took > 6*time.Second {
				t.Errorf("it took %v", took)
			}
			if n := strings.Count(log.String(), "spans not sent"); n < 1 || n > 2 {
				t.Errorf("it was told %d times: %s", n, log.String())
			}
			_, late := to.Tracer().Start(t.Context(), "late")
			late.End()
			to.Stop(t.Context()) // a second one does nothing
		})
	}
}
