package worker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"outlook-connector/config"
	"outlook-connector/internal/health"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
	"outlook-connector/worker"
)

// application makes the client one for which nobody has to sign in.
func application(c *config.Config) {
	client := &c.Clients[0]
	client.Grant, client.ClientID, client.ClientSecret = "client_credentials", "daemon", seal.Secret("hush hush")
	client.Scopes = []string{client.BaseURL[:strings.LastIndexByte(client.BaseURL, '/')] + "/.default"}
	c.Subscriptions[0].Mailboxes.List = []string{ann}
	c.Publishers[0].Mailboxes = []string{ann}
}

// TestTheOrderOfStartsDoesNotMatter has a process for each role, and NATS, start
// in several orders. Each says what it waits for and none gives up.
func TestTheOrderOfStartsDoesNotMatter(t *testing.T) {
	t.Parallel()
	const nats = "nats"
	for _, order := range [][]string{
		{"tokens", nats, "subscriber", "publisher", "http"},
		{"publisher", "subscriber", "http", "tokens", nats},
		{nats, "http", "publisher", "subscriber", "tokens"},
		{"subscriber", nats, "publisher", "tokens", "http"},
	} {
		t.Run(strings.Join(order, " "), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox.Apps(sandbox.App{ClientID: "daemon", Secret: "hush hush", Roles: []string{"Mail.ReadWrite", "Mail.Send"}}))
			address := freeAddress(t)
			running := map[string]*running{}
			for i, role := range order {
				if role == nats {
					w.startNATS(address)
					continue
				}
				c := w.config(setting{nats: external(address), tokens: fmt.Sprintf("./%s.db", role)})
				application(c)
				r := w.start(c, func(o *worker.Options) { o.Roles = []worker.Role{worker.Role(role)} })
				running[role] = r
				if i < slices.Index(order, nats) {
					if got := r.condition("nats"); got.OK || got.Severity != health.High || !strings.Contains(got.Cause, address) || got.Hint == "" {
						t.Errorf("%s without NATS: %+v", role, got)
					}
				}
			}
			for role, r := range running {
				r.ready()
				select {
				case err := <-r.Failed():
					t.Errorf("%s gave up: %v", role, err)
				default:
				}
			}
			running["subscriber"].primed()
			w.deliver("from outside")
			if got := subjectsOf(running["http"].events(1)); got[0] != "from outside" {
				t.Errorf("events %q", got)
			}
			id := running["http"].publish("send-mail", nil, mail("in any order"))
			running["publisher"].done(id)
			once(t, "mails", []string{"in any order"}, w.sent())
			for role, want := range map[string]string{"tokens": "owner", "subscriber": "client", "publisher": "client", "http": "client"} {
				if got := running[role].Status(t.Context()).TokenRole; got != want {
					t.Errorf("%s is the %s of the tokens, want %s", role, got, want)
				}
			}
			if code, ready, conditions := running["http"].readyz(); code != 200 || !ready {
				t.Errorf("readyz: %d %+v", code, conditions)
			}
		})
	}
}
