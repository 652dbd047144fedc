package tokenstore_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/sandbox"
)

// logged returns the lines of the request log.
func (e *entra) logged(t *testing.T) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for line := range strings.Lines(e.out.String()) {
		if strings.Contains(line, `"msg":"sign-in request"`) {
			lines = append(lines, jsonOf(t, []byte(line)))
		}
	}
	return lines
}

func TestTheRequestLogNamesEveryRequestToTheSignInServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := deviceClient()
		c.LogRequests = true
		e := newEntra(t, c)
		flow := e.beginDevice(t)
		if _, err := e.poll(t, flow); err != nil {
			t.Fatal(err)
		}
		e.enter(t, flow, "accept")
		if _, err := e.poll(t, flow); err != nil {
			t.Fatal(err)
		}
		e.ControlN(sandbox.Match{Route: tokenRoute}, 2, sandbox.FailToken("temporarily_unavailable", 90033))
		after(2 * time.Hour)
		wantFault(t, e.noToken(t), fault.Retry, "temporarily_unavailable")
		after(time.Minute)
		wantFault(t, e.noToken(t), fault.Retry, "temporarily_unavailable")
		after(time.Minute)
		e.token(t)
		type entry struct {
			path, grant, code string
			status, retry     float64
		}
		want := []entry{
			{"/{tenant}/oauth2/v2.0/devicecode", "device_authorization", "", 200, 0},
			{"/{tenant}/oauth2/v2.0/token", "device_code", "authorization_pending", 400, 0},
			{"/{tenant}/oauth2/v2.0/token", "device_code", "", 200, 0},
			{"/{tenant}/oauth2/v2.0/token", "refresh_token", "temporarily_unavailable", 503, 0},
			{"/{tenant}/oauth2/v2.0/token", "refresh_token", "temporarily_unavailable", 503, 1},
			{"/{tenant}/oauth2/v2.0/token", "refresh_token", "", 200, 2},
		}
		lines := e.logged(t)
		if len(lines) != len(want) {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), len(want), e.out)
		}
		for i, line := range lines {
			code, _ := line["code"].(string)
			got := entry{line["path"].(string), line["grant"].(string), code, line["status"].(float64), line["retry"].(float64)}
			if got != want[i] {
				t.Errorf("line %d: %+v, want %+v", i, got, want[i])
			}
			if line["client"] != clientName || line["method"] != http.MethodPost || len(line["request_id"].(string)) != 36 || line["sent_bytes"].(float64) < 50 || line["body_bytes"].(float64) < 50 {
				t.Errorf("line %d: %v", i, line)
			}
			if code != "" && (len(line["trace_id"].(string)) != 36 || len(line["correlation_id"].(string)) != 36) {
				t.Errorf("line %d has no ids for support: %v", i, line)
			}
		}
		if text, err := json.Marshal(lines); err != nil || strings.Contains(string(text), "AADSTS") || strings.Contains(string(text), flow.UserCode) {
			t.Errorf("the log repeats bodies: %s", text)
		}
	})
}

func TestWithoutLogRequestsNothingIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := secretDaemon()
		c.LogRequests = false
		e := newEntra(t, c)
		e.token(t)
		if lines := e.logged(t); len(lines) != 0 {
			t.Errorf("%v", lines)
		}
	})
}
