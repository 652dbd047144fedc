package tokenstore

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

type answers func() (*http.Response, error)

func (a answers) RoundTrip(*http.Request) (*http.Response, error) { return a() }

func TestASpanTellsOfATokenRequestWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	const id = "11111111-2222-4333-8444-555555555555"
	answer := func(status int, body string) answers {
		return func() (*http.Response, error) {
			return &http.Response{
				StatusCode: status, Body: io.NopCloser(strings.NewReader(body)),
				Header: http.Header{"X-Ms-Request-Id": {id}, "Set-Cookie": {"canary-cookie"}},
			}, nil
		}
	}
	for _, row := range []struct {
		name    string
		answer  answers
		failing int64
		want    map[string]string
		status  codes.Code
	}{
		{"a token", answer(200, `{"access_token":"canary-access","refresh_token":"canary-new","expires_in":3600}`), 2, map[string]string{
			"http.response.status_code": "200", "outlook.request_id": id, "http.request.resend_count": "2", "error.type": "",
		}, codes.Unset},
		{"a refusal", answer(400, `{"error":"invalid_grant","error_description":"AADSTS70000: canary-text","trace_id":"`+id+`"}`), 0, map[string]string{
			"http.response.status_code": "400", "error.type": "400", "outlook.error.code": "invalid_grant", "outlook.trace_id": id, "http.request.resend_count": "",
		}, codes.Error},
		{"a code that is none", answer(400, `{"error":"canary code","error_description":"x"}`), 0, map[string]string{
			"error.type": "400", "outlook.error.code": "unreadable_error",
		}, codes.Error},
		{"no answer", func() (*http.Response, error) { return nil, errors.New("canary-proxy") }, 0, map[string]string{
			"http.response.status_code": "", "error.type": "no_answer", "outlook.error.code": "no_answer",
		}, codes.Error},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			spans := tracetest.NewSpanRecorder()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
			c := &Client{
				Name: "contoso", Grant: GrantCode, ClientID: "app", ClientSecret: "canary-secret",
				TokenURL: "https://login.example.com/contoso.example/oauth2/v2.0/token",
			}
			e := newEndpoint(c, row.answer, nil, provider.Tracer("test"))
			e.failing.Store(row.failing)
			ctx, parent := provider.Tracer("test").Start(t.Context(), "poll")
			_, _ = e.refresh(ctx, "canary-refresh", "")
			ended := spans.Ended()
			if len(ended) != 1 {
				t.Fatalf("%d spans", len(ended))
			}
			s := ended[0]
			got := make(map[string]string)
			for _, a := range s.Attributes() {
				got[string(a.Key)] = a.Value.String()
			}
			row.want["http.request.method"], row.want["url.template"] = http.MethodPost, "/{tenant}/oauth2/v2.0/token"
			row.want["server.address"], row.want["outlook.client"], row.want["outlook.grant"] = "login.example.com", "contoso", "refresh_token"
			for key, want := range row.want {
				if got[key] != want {
					t.Errorf("%s is %q, want %q", key, got[key], want)
				}
			}
			if s.Name() != "POST /{tenant}/oauth2/v2.0/token" || s.SpanKind() != trace.SpanKindClient || s.Status().Code != row.status || s.Parent().SpanID() != parent.SpanContext().SpanID() {
				t.Errorf("%s %v %v", s.Name(), s.SpanKind(), s.Status())
			}
			if text := fmt.Sprint(s.Name(), got, s.Status(), s.Events()); strings.Contains(text, "canary") || strings.Contains(text, "contoso.example") {
				t.Errorf("the span tells too much: %s", text)
			}
		})
	}
}
