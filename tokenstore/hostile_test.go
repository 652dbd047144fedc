package tokenstore_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"outlook-connector/internal/fault"
)

// TestNoRedirectOfTheSignInServerTakesASecretAlong has a dialer that takes
// every address but the sign-in server's to one that writes down what it gets.
func TestNoRedirectOfTheSignInServerTakesASecretAlong(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var foreign, asked []string
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		foreign = append(foreign, fmt.Sprintf("%s %s %s", r.Method, r.URL, body))
	}))
	defer evil.Close()
	status, location := 0, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		w.Header()["Location"] = []string{location}
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<a href=%q>here</a>`, location)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if address != host {
			mu.Lock()
			foreign = append(foreign, "dialed "+address)
			mu.Unlock()
			address = strings.TrimPrefix(evil.URL, "http://")
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()

	for _, code := range []int{300, 301, 302, 303, 307, 308} {
		for _, place := range []string{
			"https://evil.example/token", "http://evil.example/token", "//evil.example/token", "http://" + host + "@evil.example/", "http://user@" + host + "/token",
			"http://" + host + ".evil.example/", "http://127.0.0.1:1/", "http://localhost:1/", "http://[::1]:1/", "https://" + host + "/token", "http://" + host + "/elsewhere",
			"/elsewhere", "elsewhere", "../x", "?grant_type=x", "", "://", "javascript:alert(1)", "file:///etc/passwd", "http:\\\\evil.example",
		} {
			mu.Lock()
			status, location, asked = code, place, nil
			mu.Unlock()
			_, err := expired(t, server.URL+"/token", transport).Token(t.Context(), clientName, 0)
			failure := wantFault(t, err, fault.Retry, "token_endpoint")
			if text := failure.Error() + failure.Hint; strings.Contains(text, "CANARY") || strings.Contains(text, "evil") {
				t.Errorf("%d to %q: a secret or the place is in the error: %s", code, place, text)
			}
			mu.Lock()
			if len(foreign) > 0 || len(asked) != 1 || asked[0] != "/token" {
				t.Errorf("%d to %q: asked %q, and elsewhere %q", code, place, asked, foreign)
			}
			foreign = nil
			mu.Unlock()
		}
	}
}
