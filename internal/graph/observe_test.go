package graph_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"outlook-connector/internal/graph"
)

func TestMetricsAndLogTellWhatWasDoneAndNothingSecret(t *testing.T) {
	t.Parallel()
	n := 0
	w := serve(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("request-id", "req-1")
		switch n++; n {
		case 1:
			rw.WriteHeader(http.StatusUnauthorized)
		case 2:
			rw.Header().Set("Set-Cookie", "secret")
			_, _ = fmt.Fprint(rw, `{"subject":"private"}`)
		default:
			// An answer that echoes what it was sent.
			rw.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(rw, "failed with %s", r.Header.Get("Authorization"))
		}
	}, nil)
	req := readMail(t)
	req.Mailbox = "ann@contoso.com"
	if _, err := w.Do(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Do(t.Context(), req); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("error %v", err)
	}
	for range 5 {
		w.TakeSlot(t.Context(), "me")
	}
	log := w.log.String()
	for _, secret := range []string{canary, "ann@contoso.com", "AAMk", "private", "Set-Cookie", "Authorization"} {
		if strings.Contains(log, secret) {
			t.Errorf("%q is in the log:\n%s", secret, log)
		}
	}
	lines := strings.Split(strings.TrimSpace(log), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines for three attempts:\n%s", len(lines), log)
	}
	for _, part := range []string{
		`"msg":"graph request"`, `"client":"contoso"`, `"method":"GET"`, `"path":"/users/{user-id}/messages/{message-id}"`,
		`"status":200`, `"ms":`, `"request_id":"req-1"`, `"client_request_id":"`, `"retry":true`, `"body_bytes":21`,
	} {
		if !strings.Contains(lines[1], part) {
			t.Errorf("%s is not in the line of the second attempt: %s", part, lines[1])
		}
	}
	err := testutil.GatherAndCompare(w.registry, strings.NewReader(`
# HELP outlook_graph_requests_total HTTP requests to Microsoft Graph, by status code, or not_sent or no_answer where there was none.
# TYPE outlook_graph_requests_total counter
outlook_graph_requests_total{client="contoso",code="200",method="GET"} 1
outlook_graph_requests_total{client="contoso",code="401",method="GET"} 1
outlook_graph_requests_total{client="contoso",code="500",method="GET"} 1
# HELP outlook_graph_retries_total Requests to Microsoft Graph that have to be made again, by reason.
# TYPE outlook_graph_retries_total counter
outlook_graph_retries_total{client="contoso",reason="unauthorized"} 1
outlook_graph_retries_total{client="contoso",reason="unavailable"} 1
`), "outlook_graph_requests_total", "outlook_graph_retries_total")
	if err != nil {
		t.Error(err)
	}
	if count, err := testutil.GatherAndCount(w.registry, "outlook_graph_request_duration_seconds", "outlook_throttle_wait_seconds_total"); err != nil || count != 2 {
		t.Errorf("%d series, %v", count, err)
	}
	if problems, err := testutil.GatherAndLint(w.registry); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	// A second client of the same registry shares the metrics.
	connect(t, "https://graph.microsoft.com", func(o *graph.Options) { o.Name, o.Registerer = "other", w.registry })
}
