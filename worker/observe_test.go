package worker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/sandbox"
)

// readyz fetches /readyz.
func (r *running) readyz() (code int, ready bool, conditions map[string]health.Condition) {
	r.w.t.Helper()
	code, body := r.get("/readyz")
	var answer struct {
		Ready      bool
		Conditions []health.Condition
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		r.w.t.Fatalf("readyz: %v\n%s", err, body)
	}
	conditions = make(map[string]health.Condition)
	for _, c := range answer.Conditions {
		conditions[c.Code] = c
	}
	return code, answer.Ready, conditions
}

// TestAMissingGrantIsAConditionButNotUnready: an orchestrator that restarts a
// process for it would not help.
func TestAMissingGrantIsAConditionButNotUnready(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{})).ready()
	code, ready, before := r.readyz()
	grant := before["grant/contoso"]
	if code != http.StatusOK || !ready || grant.OK || grant.Severity != health.Degraded ||
		!strings.Contains(grant.Cause, "contoso") || !strings.Contains(grant.Hint, "outlook-connector auth login contoso") {
		t.Errorf("readyz without a grant: %d %+v", code, before)
	}
	for _, name := range []string{"nats", "nats-server", "feeds"} {
		if c, ok := before[name]; !ok || !c.OK {
			t.Errorf("condition %s: %+v", name, c)
		}
	}
	r.signedIn()
	code, ready, after := r.readyz()
	if grant := after["grant/contoso"]; code != http.StatusOK || !ready || !grant.OK || grant.Cause != "" || grant.Hint != "" {
		t.Errorf("readyz with a grant: %d %+v", code, after)
	}
	if code, body := r.get("/livez"); code != http.StatusOK || !strings.Contains(body, `"1.2.3"`) {
		t.Errorf("livez: %d %s", code, body)
	}
}

func TestStatusAndThePageShowTheWholeProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{publishers: write})).signedIn().primed()
	r.outcome(r.publish("send-mail", nil, "a dead letter"))
	r.done(r.publish("send-mail", nil, mail("hello")))
	got := r.status()
	if got.Version != "1.2.3" || got.NATS != "embedded, "+r.NATSURL() || got.TokenRole != "owner" ||
		!slices.Equal(got.Roles, []string{"subscriber", "publisher", "tokens", "http"}) {
		t.Errorf("status %+v", got)
	}
	if len(got.Clients) != 1 || got.Clients[0].Name != "contoso" || got.Clients[0].State != "ok" || got.Clients[0].Account != ann ||
		got.Clients[0].Granted.IsZero() || got.Clients[0].Expiry.IsZero() || !slices.Contains(got.Clients[0].Scopes, "Mail.Send") {
		t.Errorf("clients %+v", got.Clients)
	}
	if len(got.Feeds) != 1 || got.Feeds[0].Subscription != "inbox" || got.Feeds[0].Mailbox != "me" ||
		got.Feeds[0].LastPoll.IsZero() || got.Feeds[0].Phase != "changes" || got.Feeds[0].Error != "" {
		t.Errorf("feeds %+v", got.Feeds)
	}
	publishers := []httpd.PublisherStatus{
		{
			Name: "send-mail", Client: "contoso", Subject: "outlook.publish.send-mail", Entities: []string{"mail.message.sendMail"},
			Mailboxes: []string{"me"}, Delivery: "at_most_once",
		},
		{
			Name: "write", Client: "contoso", Subject: "outlook.publish.write", Entities: []string{"mail.message.*"},
			Mailboxes: []string{"me"}, Delivery: "at_most_once",
		},
	}
	if diff := cmp.Diff(publishers, got.Publishers); diff != "" {
		t.Errorf("publishers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]uint64{"publish": 1, "event": 0}, got.DeadLetters); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
	code, page := r.get("/")
	if code != http.StatusOK {
		t.Errorf("page: %d", code)
	}
	for _, want := range []string{"1.2.3", "contoso", ann, "Grant access to Outlook", "/oauth/start/contoso", "outlook.publish.write", "inbox", "publish: 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
		}
	}
}

// metricNames are the contract's, with their labels: dashboards rely on them. A
// change here is a change that users must be told of.
var metricNames = map[string]string{
	"outlook_events_total":                   "change subscription",
	"outlook_polls_total":                    "result subscription",
	"outlook_feed_lag_seconds":               "subscription",
	"outlook_commands_total":                 "outcome publisher",
	"outlook_command_duration_seconds":       "publisher",
	"outlook_commands_in_flight":             "publisher",
	"outlook_command_looks_total":            "publisher",
	"outlook_command_panics_total":           "publisher",
	"outlook_graph_requests_total":           "client code method",
	"outlook_graph_request_duration_seconds": "client method",
	"outlook_graph_retries_total":            "client reason",
	"outlook_throttle_wait_seconds_total":    "client",
	"outlook_slots_held":                     "client",
	"outlook_slots_lost_total":               "client",
	"outlook_slot_takes_total":               "client result",
	"outlook_token_expiry_seconds":           "client",
	"outlook_token_refreshes_total":          "client result",
	"outlook_dead_letters":                   "kind",
	"outlook_up":                             "version",
}

var (
	sample = regexp.MustCompile(`(?m)^(outlook_[a-z_]+?)(?:_bucket|_sum|_count)?(?:\{([^}]*)\})? `)
	label  = regexp.MustCompile(`([a-z_]+)="`)
)

func TestMetricsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.start(w.config(setting{mailboxes: "me, " + ben, publishers: write})).signedIn().primed()
	// Something of everything: a dead letter, an event, a refresh, and a mailbox
	// that is left alone for a while, which polls notice.
	r.outcome(r.publish("send-mail", nil, "a dead letter"))
	r.outcome(r.publish("A-slip-of-the-pen", nil, mail("to nobody")))
	w.deliver("an event")
	r.events(1)
	w.ExpireAccessTokens()
	w.Control(sandbox.Match{Method: http.MethodPost, Route: routeSend}, sandbox.FailBefore(429, "TooManyRequests", "1"))
	r.done(r.publish("send-mail", nil, mail("at last")))

	code, text := r.get("/metrics")
	if code != http.StatusOK {
		t.Fatalf("metrics: %d", code)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	got := make(map[string]string)
	for _, m := range sample.FindAllStringSubmatch(text, -1) {
		var labels []string
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				labels = append(labels, l[1])
			}
		}
		slices.Sort(labels)
		got[m[1]] = strings.Join(labels, " ")
	}
	if diff := cmp.Diff(metricNames, got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	for _, secret := range []string{"@", "contoso.example", "slip-of", `"me"`, "OUTLOOK_PUBLISH-", "AAMk"} {
		if strings.Contains(text, secret) {
			t.Errorf("the metrics contain %q", secret)
		}
	}
	series := 0
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			series++
		}
	}
	if series == 0 || series >= 2000 {
		t.Errorf("%d series", series)
	}
	for _, want := range []string{
		`outlook_commands_total{outcome="done",publisher="send-mail"} 1`,
		`outlook_commands_total{outcome="failed",publisher="send-mail"} 1`,
		`outlook_commands_total{outcome="failed",publisher="unknown"} 1`,
		`outlook_events_total{change="created",subscription="inbox"} 1`,
		`outlook_graph_requests_total{client="contoso",code="429",method="POST"} 1`,
		`outlook_graph_retries_total{client="contoso",reason="throttled"} 1`,
		`outlook_token_refreshes_total{client="contoso",result="ok"} 1`,
		`outlook_up{version="1.2.3"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("the metrics do not have %s:\n%s", want, theirs(text, want))
		}
	}
}

// theirs returns the samples of the metric of a line.
func theirs(text, line string) string {
	name, _, _ := strings.Cut(line, "{")
	var found []string
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, name+"{") {
			found = append(found, l)
		}
	}
	return fmt.Sprint(found)
}
