package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"outlook-connector/internal/cli"
)

// running is a sandbox that was started with the command.
type running struct {
	t      *testing.T
	client *http.Client
	url    string
	token  string
}

func startSandbox(t *testing.T, flags ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	read, write := io.Pipe()
	var wait sync.WaitGroup
	wait.Go(func() {
		var errs bytes.Buffer
		args := append([]string{"sandbox", "--listen", "127.0.0.1:0", "--output", "json"}, flags...)
		if code := cli.Main(ctx, args, strings.NewReader(""), write, &errs); code != 0 {
			t.Errorf("exit code %d: %s", code, &errs)
		}
		write.Close()
	})
	r := &running{t: t, client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		stop()
		wait.Wait()
	})
	var printed struct {
		URL string `json:"url"`
	}
	if err := json.NewDecoder(read).Decode(&printed); err != nil {
		t.Fatal(err)
	}
	wait.Go(func() { _, _ = io.Copy(io.Discard, read) })
	r.url = printed.URL
	var token struct {
		AccessToken string `json:"access_token"`
	}
	r.ask(http.MethodPost, "/_sandbox/token", `{"upn":"ann@contoso.example","scopes":"Mail.ReadWrite Mail.Send"}`, &token)
	r.token = token.AccessToken
	return r
}

// ask sends a request and reads the answer into a value, if there is one.
func (r *running) ask(method, path, body string, into any) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.token)
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			r.t.Fatalf("%s: %v in %s", path, err, raw)
		}
	}
	return resp
}

func (r *running) is(status int, method, path, body, code string) *http.Response {
	r.t.Helper()
	var answer struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	var into any
	if code != "" {
		into = &answer
	}
	resp := r.ask(method, path, body, into)
	if resp.StatusCode != status || answer.Error.Code != code {
		r.t.Errorf("%s %s: %d %s, want %d %s", method, path, resp.StatusCode, answer.Error.Code, status, code)
	}
	return resp
}

const (
	aMail = `{"message":{"subject":"x","body":{"contentType":"text","content":"x"},"toRecipients":[{"emailAddress":{"address":"ben@contoso.example"}}]}}`
	inbox = "/v1.0/me/mailFolders/inbox/messages"
)

func TestTheSandboxTakesLimitsFromItsFlags(t *testing.T) {
	t.Parallel()
	few := startSandbox(t, "--request-limit", "3/1h", "--messages-per-minute", "1", "--keep", "2")
	few.is(202, "POST", "/v1.0/me/sendMail", aMail, "")
	few.is(429, "POST", "/v1.0/me/sendMail", aMail, "ErrorExceededMessageLimit")
	few.is(200, "GET", inbox, "", "")
	if resp := few.is(429, "GET", inbox, "", "TooManyRequests"); len(resp.Header.Get("Retry-After")) != 4 { // thousands of seconds
		t.Errorf("Retry-After %q", resp.Header.Get("Retry-After"))
	}
	few.is(200, "POST", "/_sandbox/deliver", `{"to":"ann@contoso.example","subject":"{n}","count":5}`, "")
	var boxes []struct {
		Folders map[string]int `json:"folders"`
	}
	few.ask("GET", "/_sandbox/mailboxes", "", &boxes)
	if boxes[0].Folders["inbox"]+boxes[0].Folders["sentitems"] != 2 {
		t.Errorf("%v", boxes[0].Folders)
	}

	small := startSandbox(t, "--upload-limit", "1KB/1m", "--app-limit", "7/1h", "--request-limit", "off", "--delta-lost", "400:resyncRequired")
	big := strings.Replace(aMail, `"x"`, `"`+strings.Repeat("x", 600)+`"`, 1)
	small.is(202, "POST", "/v1.0/me/sendMail", big, "")
	small.is(429, "POST", "/v1.0/me/sendMail", big, "TooManyRequests")
	small.is(400, "GET", "/v1.0/me/mailFolders/inbox/messages/delta?$deltatoken=x", "", "resyncRequired")
	for range 4 {
		small.is(200, "GET", inbox, "", "")
	}
	small.is(429, "GET", inbox, "", "TooManyRequests")
}
