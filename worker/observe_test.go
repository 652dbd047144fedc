package worker_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
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
	for _, name := range []string{"nats", "nats-server", "streams", "token-owner"} {
		if c, ok := before[name]; !ok || !c.OK {
			t.Errorf("condition %s: %+v", name, c)
		}
	}
	for _, name := range []string{"feeds/contoso", "publishers/contoso"} {
		until(t, name+" to be shown as a consequence", func() bool {
			_, _, conditions := r.readyz()
			return conditions[name].Because == "grant/contoso"
		})
	}
	if got := health.Summary(r.Conditions(t.Context())); got != "ready, degraded: grant/contoso" {
		t.Errorf("summary: %s", got)
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
	for _, want := range []string{"1.2.3", "contoso", ann, "Grant access to Outlook", "/oauth/start/contoso", "outlook.publish.write", "inbox", "<b>1</b> commands"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
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
