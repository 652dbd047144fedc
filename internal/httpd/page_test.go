package httpd_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
)

// full is the status of a worker that runs, with many feeds.
func full(feeds int) httpd.Status {
	now := time.Now()
	s := httpd.Status{
		Version: "test", Roles: []string{"subscriber", "publisher", "tokens", "http"}, NATS: "nats://a", TokenRole: "owner",
		Clients:     []httpd.ClientStatus{{Name: "contoso", State: "ok", Account: "ann@contoso.example"}, {Name: "daemon", State: "ok", Grant: "client_credentials"}},
		Publishers:  []httpd.PublisherStatus{{Name: "p", Client: "contoso", Subject: "outlook.publish.p", Entities: []string{"mail.message.*"}, Delivery: "exactly_once", Weaker: []string{"some"}}},
		DeadLetters: map[string]uint64{"publish": 3, "event": 1}, Queue: &httpd.QueueStatus{Ready: 7, Held: 2, MailboxTails: 1, Uncertain: 2},
		Conditions: []health.Condition{
			{Code: "feeds/contoso", Severity: health.Degraded, Cause: "2 feeds fail", Because: "nats", Since: now},
			{Code: "nats", Severity: health.High, Cause: "no connection", Hint: "start the NATS server", Since: now.Add(-time.Minute)},
			{Code: "streams", Severity: health.High, OK: true},
		},
	}
	for i := range feeds {
		f := httpd.FeedStatus{Subscription: "inbox", Mailbox: fmt.Sprintf("user%05d@contoso.example", i), Part: "caadbcffec903811", State: "ok", Phase: "changes", LastPoll: now.Add(-time.Minute), NextPoll: now.Add(time.Minute)}
		switch i {
		case 77:
			f.State, f.Error, f.Lag = "failing", "<b>the newer trouble</b>", 10
		case 7777:
			f.State, f.Error, f.Hint, f.Lag = "failing", "the older trouble", "outlook-connector auth login contoso", 5000
		case 5000:
			f.LastPoll = now.Add(-time.Hour)
		}
		s.Feeds = append(s.Feeds, f)
	}
	return s
}

func showing(t *testing.T, status httpd.Status) setup {
	t.Helper()
	return start(t, func(o *httpd.Options) { o.Status = func(context.Context) httpd.Status { return status } })
}

func TestThePageOfTenThousandFeedsIsSmallAndShowsTheWorstFirst(t *testing.T) {
	t.Parallel()
	s := showing(t, full(10_000))
	code, body, _ := s.get(t, "/", nil)
	if code != 200 || len(body) > 40<<10 {
		t.Errorf("page: %d, %d bytes", code, len(body))
	}
	last := -1
	for _, want := range []string{"the older trouble", "the newer trouble", "user05000@", "user00000@", "1–25 of 10000", "more →"} {
		at := strings.Index(body, want)
		if at <= last {
			t.Errorf("%q is at %d, after something at %d", want, at, last)
		}
		last = at
	}
	if strings.Contains(body, "<b>the newer") || strings.Contains(body, "caadbcff") {
		t.Error("an error is not escaped, or the hash of an only feed is shown")
	}
	_, body, _ = s.get(t, "/?from=9975", nil)
	if !strings.Contains(body, "9976–10000 of 10000") || strings.Contains(body, "more →") || !strings.Contains(body, `href="/?from=9950#feeds"`) {
		t.Error("the last page is not the last")
	}
	_, body, _ = s.get(t, "/?find=USER0007+failing", nil)
	if !strings.Contains(body, "1–1 of 1") || !strings.Contains(body, "user00077@") {
		t.Error("a feed is not found by its mailbox and state")
	}
	for _, odd := range []string{"/?from=-1", "/?from=999999", "/?from=x", "/?find=%3Cscript%3Ealert(1)%3C/script%3E"} {
		code, body, _ := s.get(t, odd, nil)
		if code != 200 || strings.Contains(body, "<script>") {
			t.Errorf("%s: %d", odd, code)
		}
	}
}

func TestFeedsOfOneMailboxAreToldApart(t *testing.T) {
	t.Parallel()
	status := full(1)
	status.Feeds = append(status.Feeds, status.Feeds[0])
	status.Feeds[1].Part = "0123456789abcdef"
	_, body, _ := showing(t, status).get(t, "/", nil)
	if !strings.Contains(body, "caadbcff<") || !strings.Contains(body, "01234567<") {
		t.Error("two feeds of a mailbox look the same")
	}
}

func TestThePageShowsOneCauseWithItsConsequences(t *testing.T) {
	t.Parallel()
	_, body, _ := showing(t, full(1)).get(t, "/", nil)
	for _, want := range []string{
		"Not ready", "1 of 3 conditions hold", "no connection", "start the NATS server", "Because of it: feeds/contoso", "because of nats",
		"for 1 min", "<b>2</b> of them uncertain", "weaker: some", "an application of its own",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	if n := strings.Count(body, `<article class="cause`); n != 1 {
		t.Errorf("%d causes", n)
	}
	_, body, _ = showing(t, httpd.Status{Version: "test", Clients: full(0).Clients}).get(t, "/", nil)
	if strings.Contains(body, "Feeds") || !strings.Contains(body, "contoso") {
		t.Error("where no worker runs there are only clients")
	}
}

func TestThePageNeedsNothingFromElsewhereAndNothingInline(t *testing.T) {
	t.Parallel()
	s := showing(t, full(50))
	_, body, header := s.get(t, "/", nil)
	csp := header.Get("Content-Security-Policy")
	if strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("CSP %q", csp)
	}
	if regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|javascript:|src="(https?:)?//|href="(https?:)?//`).MatchString(body) {
		t.Error("the page has something inline, or from elsewhere")
	}
	for _, m := range regexp.MustCompile(`<th(\s[^>]*)?>`).FindAllString(body, -1) {
		if !strings.Contains(m, "scope=") {
			t.Errorf("%s has no scope", m)
		}
	}
	for path, kind := range map[string]string{"/style.css": "text/css", "/script.js": "text/javascript", "/icon.svg": "image/svg+xml"} {
		code, asset, header := s.get(t, path, nil)
		if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), kind) || strings.Contains(asset, "http:") && path != "/icon.svg" || strings.Contains(asset, "https:") {
			t.Errorf("%s: %d %s", path, code, header.Get("Content-Type"))
		}
		if !strings.Contains(body, `"`+path+`"`) {
			t.Errorf("the page does not use %s", path)
		}
	}
}

// TestColoursAreTellable computes the contrast of text and ground, which must be at
// least 4.5: https://www.w3.org/TR/WCAG22/#contrast-minimum
func TestColoursAreTellable(t *testing.T) {
	t.Parallel()
	_, css, _ := start(t, nil).get(t, "/style.css", nil)
	light, rest, ok := strings.Cut(css, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("there is no dark scheme")
	}
	dark, _, _ := strings.Cut(rest, "\n}\n")
	for scheme, text := range map[string]string{"light": light, "dark": dark} {
		colour := make(map[string]string)
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{3,6})`).FindAllStringSubmatch(text, -1) {
			colour[m[1]] = m[2]
		}
		for _, pair := range [][2]string{
			{"ink", "page"},
			{"ink", "card"},
			{"soft", "page"},
			{"soft", "card"},
			{"soft", "row"},
			{"soft", "dim-bg"},
			{"ink", "dim-bg"},
			{"blue", "page"},
			{"blue", "card"},
			{"blue", "row"},
			{"blue-ink", "blue"},
			{"good", "good-bg"},
			{"good", "page"},
			{"bad", "bad-bg"},
			{"bad", "card"},
			{"bad", "page"},
			{"warn", "warn-bg"},
			{"warn", "card"},
		} {
			if got := contrast(t, colour[pair[0]], colour[pair[1]]); got < 4.5 {
				t.Errorf("%s: %s on %s is %.2f", scheme, pair[0], pair[1], got)
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func luminance(t *testing.T, hex string) (sum float64) {
	t.Helper()
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	if len(hex) != 6 {
		t.Fatalf("no colour: %q", hex)
	}
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
