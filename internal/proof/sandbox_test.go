//go:build unix

package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"testing"
	"time"

	"outlook-connector/internal/sandbox"
)

// graph is the sandbox as a process, and its control port: the outside world
// and the witness. The types of its answers are the sandbox's own.
type graph struct {
	*process
	client *http.Client

	URL          string   `json:"url"`
	BaseURL      string   `json:"base_url"`
	AuthorizeURL string   `json:"authorize_url"`
	TokenURL     string   `json:"token_url"`
	ClientID     string   `json:"client_id"`
	People       []string `json:"people"`
}

// startGraph starts the sandbox on a free port, with its state in a folder.
func startGraph(t *testing.T, dir, logs string, people int, more ...string) *graph {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	g := &graph{client: &http.Client{Transport: transport, Timeout: 20 * time.Second}}
	g.process = spawn(t, dir, logs, "sandbox", append([]string{
		"sandbox", "--output", "json",
		"--listen", "127.0.0.1:0", "--mailboxes", fmt.Sprint(people), "--store-dir", "sandbox",
	}, more...)...)
	until(t, 20*time.Second, 10*time.Millisecond, "the sandbox's addresses", func() bool {
		g.alive()
		text, err := os.ReadFile(g.stdout)
		return err == nil && json.Unmarshal(text, g) == nil && g.URL != ""
	})
	return g
}

// control asks the control port and decodes its answer into v.
func (g *graph) control(ctx context.Context, method, path string, body, v any) error {
	var reader io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, g.URL+"/_sandbox/"+path, reader)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("sandbox %s %s: %s: %s", method, path, resp.Status, text)
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(text, v)
}

// must is control for what has to work.
func (g *graph) must(method, path string, body, v any) {
	g.t.Helper()
	if err := g.control(g.t.Context(), method, path, body, v); err != nil {
		g.t.Fatal(err)
	}
}

// deliver puts one mail into an inbox, as the outside world does.
func (g *graph) deliver(ctx context.Context, to, subject string) error {
	return g.control(ctx, http.MethodPost, "deliver", map[string]any{"to": to, "subject": subject, "body": "From outside."}, nil)
}

// effects returns everything that was done through Graph.
func (g *graph) effects() (list []sandbox.Effect) {
	g.t.Helper()
	g.must(http.MethodGet, "effects", nil, &list)
	return list
}

// requests returns the log of requests, those that ended with no reader
// included.
func (g *graph) requests() (list []sandbox.Call) {
	g.t.Helper()
	g.must(http.MethodGet, "requests", nil, &list)
	return list
}

// stored returns the mails in a folder.
func (g *graph) stored(mailbox, folder string) (list []sandbox.Stored) {
	g.t.Helper()
	g.must(http.MethodGet, "messages?"+url.Values{"mailbox": {mailbox}, "folder": {folder}}.Encode(), nil, &list)
	return list
}

func (g *graph) stats() (s sandbox.Stats) {
	g.t.Helper()
	g.must(http.MethodGet, "stats", nil, &s)
	return s
}

// slow makes each request of a kind take its time, as Graph's do. It is where
// kills find something in flight.
func (g *graph) slow(method, route string, d time.Duration) {
	g.t.Helper()
	g.must(http.MethodPost, "faults", map[string]any{
		"match": map[string]string{"method": method, "route": route},
		"fault": map[string]string{"kind": "delay", "delay": d.String()}, "count": -1,
	}, nil)
}

// expireTokens ends all access tokens, so that the next request needs a refresh
// with what is in the token store.
func (g *graph) expireTokens() {
	g.t.Helper()
	g.must(http.MethodPost, "expire-tokens", nil, nil)
}
