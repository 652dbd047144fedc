package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
)

func TestStatusShowsOneCauseTheWorstFeedsAndTheQueue(t *testing.T) {
	t.Parallel()
	p := &httpd.Status{
		Version: "1.2.3", Publishers: []httpd.PublisherStatus{{Subject: "outlook.publish.p"}},
		Queue: &httpd.QueueStatus{Ready: 7, Held: 2, MailboxTails: 1},
		Conditions: []health.Condition{
			{Code: "feeds/contoso", Severity: health.Degraded, Cause: "a feed fails", Because: "grant/contoso"},
			{Code: "grant/contoso", Severity: health.Degraded, Cause: "no grant", Hint: "outlook-connector auth login contoso"},
			{Code: "nats", Severity: health.High, OK: true},
		},
	}
	for i := range 10_000 {
		f := httpd.FeedStatus{Subscription: "inbox", Mailbox: fmt.Sprintf("user%05d", i), State: "ok"}
		if i == 9_876 {
			f.State, f.Error = "failing", "the trouble"
		}
		p.Feeds = append(p.Feeds, f)
	}
	var out bytes.Buffer
	if err := (&app{out: &out}).printOverview(overview{Process: p}); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"ready, degraded: grant/contoso\n", "FEEDS\n  inbox  user09876  ", "the trouble", "and 9900 more", "commands: 7 ready, 2 in hand or put off, 1 mailboxes in order",
		"because of grant/contoso", "no grant   Try: outlook-connector auth login contoso",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("status does not show %q", want)
		}
	}
	if strings.Contains(text, "a feed fails") || strings.Count(text, "\n") > 150 {
		t.Errorf("status shows a consequence as a cause, or %d lines", strings.Count(text, "\n"))
	}
}
