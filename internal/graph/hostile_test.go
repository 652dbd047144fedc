package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/sandbox"
)

// hostile is a client of the sandbox whose dialer takes every other address to
// a server that writes down all that it is sent. Whatever leaves for the wrong
// place gets there, and is seen.
type hostile struct {
	*world
	box  *sandbox.Sandbox
	host string // of the sandbox
	me   *people
	evil *httptest.Server

	mu       sync.Mutex
	received []string // what the wrong place was sent
	foreign  []string // the addresses that were dialed for it
	wire     []byte   // what the sandbox was sent
}

// heard is a connection to the sandbox whose requests are kept as they are on
// the wire: a server's log has paths that were decoded already.
type heard struct {
	net.Conn
	h *hostile
}

func (c heard) Write(p []byte) (int, error) {
	c.h.mu.Lock()
	c.h.wire = append(c.h.wire, p...)
	c.h.mu.Unlock()
	return c.Conn.Write(p)
}

var requestLine = regexp.MustCompile(`(?m)^([A-Z]+) (.*) HTTP/1\.1\r$`)

// targets returns the request targets that the sandbox was sent since the last
// call, and fails the test where a request named another host.
func (h *hostile) targets(t *testing.T) (list []string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, line := range requestLine.FindAllSubmatch(h.wire, -1) {
		list = append(list, string(line[2]))
	}
	if hosts := bytes.Count(h.wire, []byte("\r\nHost: "+h.host+"\r\n")); hosts != len(list) || hosts != bytes.Count(h.wire, []byte("Host:")) {
		t.Errorf("%d requests and %d times this host in %q", len(list), hosts, h.wire)
	}
	h.wire = nil
	return list
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	box, err := sandbox.New(sandbox.Mailboxes(2))
	if err != nil {
		t.Fatal(err)
	}
	if err := box.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	h := &hostile{box: box, host: strings.TrimPrefix(box.URL(), "http://"), me: &people{t: t, box: box, upn: box.People()[0].UPN}}
	h.evil = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.received = append(h.received, fmt.Sprintf("%s %s %v %s", r.Method, r.URL, r.Header, body))
		_, _ = io.WriteString(w, `{"value":[]}`)
	}))
	t.Cleanup(h.evil.Close)
	h.world = connect(t, box.GraphURL(), func(o *graph.Options) {
		o.Tokens = h.me
		o.HTTP.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != h.host {
				h.mu.Lock()
				h.foreign = append(h.foreign, address)
				h.mu.Unlock()
				return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(h.evil.URL, "http://"))
			}
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return heard{conn, h}, err
		}
	})
	t.Cleanup(h.Close)
	return h
}

// onlyHere fails the test where anything left for another place, or where the
// token is in the log.
func (h *hostile) onlyHere(t *testing.T, what string) {
	t.Helper()
	h.mu.Lock()
	received, foreign := h.received, h.foreign
	h.received, h.foreign = nil, nil
	h.mu.Unlock()
	if len(received)+len(foreign) > 0 {
		t.Errorf("%s: dialed %q, sent %q", what, foreign, received)
	}
	if log := h.log.String(); strings.Contains(log, "Bearer ") || h.me.current != "" && strings.Contains(log, h.me.current) {
		t.Fatalf("%s: a token is in the log: %s", what, log)
	}
}

// clean is onlyHere, and fails where the sandbox got a request for anything but
// the person's own mailbox.
func (h *hostile) clean(t *testing.T, what string) {
	t.Helper()
	h.onlyHere(t, what)
	for _, call := range h.box.Requests() {
		if !strings.HasPrefix(call.Path, "/v1.0/me/") && !strings.HasPrefix(call.Path, "/me/") || strings.Contains(call.Path, "..") {
			t.Fatalf("%s: the sandbox was asked for %s %s", what, call.Method, call.Path)
		}
	}
}

// foreignPlaces are places to which a server in the middle, or a wrong answer,
// could try to lead a client: %s stands for the sandbox's host.
func foreignPlaces() []string {
	return []string{
		"https://evil.example", "http://evil.example", "https://evil.example:8443", "//evil.example",
		"http://%s.evil.example", "http://evil-%s", "http://%s@evil.example", "http://%s:x@evil.example", "http://user@%s", "http://user:x@%s",
		"https://%s", "HTTPS://%s", "http://127.0.0.1:1", "http://127.0.0.1", "http://localhost:1", "http://[::1]:1", "http://0.0.0.0:1",
		"http://2130706433:1", "http://0x7f.1:1", "http://127.1:1", "http://169.254.169.254", "http://[::ffff:127.0.0.1]:1", "http://[fe80::1%%25lo]:1",
		"ftp://%s", "file://", "javascript:", "data:", "http:", "http:/%s", "http:///%s", `http:\\%s`, `http://evil.example\@%s`, "http://%s%%00.evil.example",
		"http://%s%%2f.evil.example", "http://%s.", "http://%s%%09", " http://%s", "http://%s#@evil.example", "http://evil.example#@%s", "http://evil.example?@%s",
		"https://graph.microsoft.com", "https://graph.microsoft.us", "http://ⓔⓥⓘⓛ.example", "http://xn--evil.example",
	}
}

func (h *hostile) place(format string) string {
	return strings.ReplaceAll(strings.ReplaceAll(format, "%s", h.host), "%%", "%")
}

const feedPath = "/v1.0/me/mailFolders/inbox/messages/delta?$skiptoken=x"

func TestNoLinkOfAnAnswerLeadsElsewhere(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	if len(foreignPlaces()) < 40 {
		t.Fatalf("only %d places", len(foreignPlaces()))
	}
	for _, format := range foreignPlaces() {
		link := h.place(format) + feedPath
		for _, kind := range []string{"nextLink", "deltaLink"} {
			body, err := json.Marshal(map[string]any{"value": []any{}, "@odata." + kind: link})
			if err != nil {
				t.Fatal(err)
			}
			h.box.Control(sandbox.Match{Method: http.MethodGet}, sandbox.OtherJSON(string(body)))
			page, _, err := read(t, h.world, delta(t))
			if mark := wantFault(t, err, fault.Retry, false); page != nil || mark.Code != "link_refused" {
				t.Errorf("%s %s: page %+v, %v", kind, link, page, err)
			}
			h.clean(t, kind+" "+link)
		}
		// One that was stored before, in a cursor that somebody could change.
		stored := delta(t)
		stored.Link = link
		_, _, err := read(t, h.world, stored)
		if mark := wantFault(t, err, fault.Resync, false); mark.Code != "link_refused" {
			t.Errorf("stored %s: %v", link, err)
		}
		h.clean(t, "stored "+link)
	}
	// The sandbox's own way to do it, of a page that has a link.
	h.box.ControlN(sandbox.Match{Method: http.MethodGet}, -1, sandbox.ForeignLink("https://graph.example.invalid"))
	_, _, err := read(t, h.world, delta(t))
	if mark := wantFault(t, err, fault.Retry, false); mark.Code != "link_refused" {
		t.Errorf("foreign_link: %v", err)
	}
	h.clean(t, "foreign_link")
}

func TestNoRedirectIsFollowed(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	locations := []string{
		"https://evil.example/v1.0/me/messages", "http://evil.example/", "//evil.example/", "http://%s@evil.example/", "http://127.0.0.1:1/",
		"/v1.0/me/mailFolders/inbox", "/v1.0/users/" + h.box.People()[1].UPN + "/messages", "/beta/me/messages", "../../beta/me", "?x=y", "#x",
		"http://%s/v1.0/me/messages", "https://%s/v1.0/me/messages", "javascript:alert(1)", "", "://",
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, format := range locations {
			location := h.place(format)
			for name, try := range map[string]func() error{
				"a page":  func() error { _, _, err := read(t, h.world, delta(t)); return err },
				"a read":  func() error { _, err := h.Do(t.Context(), readMail(t)); return err },
				"a write": func() error { _, err := h.Do(t.Context(), sendMail(t)); return err },
			} {
				what := fmt.Sprintf("%s, %d to %q", name, status, location)
				before := len(h.box.Requests())
				h.box.Control(sandbox.Match{}, sandbox.Redirect(status, location))
				if err := try(); err == nil {
					t.Errorf("%s: taken for a success", what)
				}
				if made := len(h.box.Requests()) - before; made != 1 {
					t.Errorf("%s: %d requests, want 1", what, made)
				}
				h.clean(t, what)
			}
		}
	}
	for _, effect := range h.box.Effects() {
		if effect.Kind == sandbox.EffectSent {
			t.Errorf("a redirected write had an effect: %+v", effect)
		}
	}
}

func TestNoParameterLeadsElsewhere(t *testing.T) {
	t.Parallel()
	h := newHostile(t)
	other := h.box.People()[1].UPN
	texts := []string{
		"..", ".", "", "../..", "../../users/" + other + "/messages", "..%2f..%2fusers%2f" + other, "%2e%2e", "%2e%2e%2f", `..\..`, "a/../../b", "/etc/passwd",
		"//evil.example", "https://evil.example/", "http://evil.example@" + h.host, "@evil.example", "x?a=b", "x#a", "x;a=b", "x&$filter=y", "x\r\nHost: evil.example", "x\nEvil: 1",
		"x\x00", "x y", "\u2044evil", "\uff0f\uff0fevil", "x')/users('" + other, "x'", "('x')", "$value", "$batch", "me", "x%00", "x%0d%0aEvil: 1", "%", "%zz", "~", "*",
		"' or 1 eq 1", "..;/", "./x", "x/.", "x/..", strings.Repeat("a/", 600), strings.Repeat("../", 50),
	}
	if len(texts) < 40 {
		t.Fatalf("only %d texts", len(texts))
	}
	sent := 0
	for _, text := range texts {
		for name, change := range map[string]func(*graph.Request){
			"an id":        func(r *graph.Request) { r.Path["message-id"] = text },
			"a link":       func(r *graph.Request) { r.Link = text },
			"a header":     func(r *graph.Request) { r.Headers = map[string]string{"Prefer": text} },
			"a query":      func(r *graph.Request) { r.Query = map[string]string{"$select": text} },
			"a query name": func(r *graph.Request) { r.Query = map[string]string{text: "x"} },
			"a header name": func(r *graph.Request) {
				r.Headers = map[string]string{text: "https://evil.example"}
			},
			"an alias": func(r *graph.Request) { r.Aliases = []string{text} },
			"a mailbox": func(r *graph.Request) {
				if text != "me" && text != "" { // which is the person's own
					r.Mailbox = text
				}
			},
		} {
			what := fmt.Sprintf("%s %q", name, text[:min(len(text), 40)])
			req := readMail(t)
			change(&req)
			_, err := h.Do(t.Context(), req)
			// Whatever the text is, it is one segment of the path, or the request
			// is not sent.
			want := "/v1.0/me/messages/"
			if req.Mailbox != "me" {
				want = "/v1.0/users/" // an odd name, and nobody's
			}
			for _, target := range h.targets(t) {
				sent++
				path, _, _ := strings.Cut(target, "?")
				if !strings.HasPrefix(path, want) || strings.Count(path, "/") != strings.Count(want, "/")+map[bool]int{true: 0, false: 2}[req.Mailbox == "me"] ||
					strings.Contains(path, "/..") || strings.Contains(path, "/./") || req.Mailbox != "me" && err == nil {
					t.Errorf("%s: sent to %s, %v", what, target, err)
				}
			}
			h.onlyHere(t, what)
		}
	}
	if sent < 40 {
		t.Errorf("only %d requests were sent: the test does not test", sent)
	}
}

func TestARequestIDThatIsNoneIsNotRepeated(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"b1f6d9a2-6f0e-4f3a-9a51-1d2f3c4b5a69": "b1f6d9a2-6f0e-4f3a-9a51-1d2f3c4b5a69", "req-1": "req-1", "": "",
		"Bearer " + canary: "", "a b": "", strings.Repeat("a", 41): "", canary + "/x": "",
	} {
		w := serve(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("request-id", id)
			rw.WriteHeader(http.StatusForbidden)
		}, nil)
		_, err := w.Do(t.Context(), readMail(t))
		answer, ok := errors.AsType[*graph.Error](err)
		if !ok || answer.RequestID != want {
			t.Errorf("%q became %+v", id, answer)
		}
		if id != "" && want == "" && strings.Contains(w.log.String()+err.Error(), id) {
			t.Errorf("%q is in the log or the error", id)
		}
	}
}
