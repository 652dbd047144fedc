package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/config"
)

const compared = `
token_store: {key: "${env:KEY}"}
clients:
  - {name: contoso, tenant: contoso.example, client_id: abc, client_secret: "${env:SECRET}", scopes: [offline_access, Mail.ReadWrite, Mail.Send]}
  - {name: other, tenant: contoso.example, client_id: def, scopes: [offline_access, Mail.Send]}
subscriptions:
  - {name: inbox, client: contoso, entity: mail.message.delta, path: {mailFolder-id: inbox}, mailboxes: [me], every: 30s}
  - {name: drafts, client: contoso, entity: mail.message.delta, path: {mailFolder-id: drafts}, mailboxes: [me]}
publishers:
  - {name: send-mail, client: contoso, entity: mail.message.sendMail, headers: {Prefer: "${env:TEAM:-one}"}}
`

func parsed(t *testing.T, text string, env map[string]string) *config.Config {
	t.Helper()
	c, err := config.Parse(config.Source{File: "c.yaml", Data: []byte(text), LookupEnv: func(name string) (string, bool) {
		switch name {
		case "KEY":
			return strings.Repeat("ab", 32), true
		case "SECRET":
			if env["SECRET"] == "" {
				return "hush", true
			}
		}
		value, ok := env[name]
		return value, ok
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompareNamesWhatIsDifferent(t *testing.T) {
	t.Parallel()
	replace := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(compared) }
	for _, c := range []struct {
		name string
		text string
		env  map[string]string
		want config.Changes
	}{
		{name: "nothing", text: compared},
		{name: "the way it is written", text: replace("every: 30s", "every: 0m30s", "{name: drafts, client: contoso,", "{client: contoso, name: drafts,") + "# and more\n"},
		{
			name: "subscriptions", text: replace("every: 30s", "every: 1m", "name: drafts", "name: sent"),
			want: config.Changes{Subscriptions: config.NameChanges{Added: []string{"sent"}, Changed: []string{"inbox"}, Removed: []string{"drafts"}}},
		},
		{
			name: "what a reference stands for", text: compared, env: map[string]string{"TEAM": "two"},
			want: config.Changes{Publishers: config.NameChanges{Changed: []string{"send-mail"}}},
		},
		{
			name: "a secret of a client", text: compared, env: map[string]string{"SECRET": "another"},
			want: config.Changes{Fixed: []string{"clients[contoso].client_secret"}},
		},
		{
			name: "sections", text: replace("name: other", "name: third", "client_id: abc,", "client_id: abc, limits: {concurrency: 3},") +
				"nats: {url: nats://nats.example:4222, prefix: sales}\nlog: {level: debug}\ntelemetry: {otlp_endpoint: https://collector.example}\n",
			want: config.Changes{Fixed: []string{
				"nats.embedded", "nats.url", "nats.prefix", "clients[third]", "clients[other]", "clients[contoso].limits.concurrency",
				"telemetry.otlp_endpoint", "log.level",
			}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := config.Compare(parsed(t, compared, nil), parsed(t, c.text, c.env))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			if got.None() != cmp.Equal(c.want, config.Changes{}) {
				t.Errorf("None is %v of %+v", got.None(), got)
			}
		})
	}
}
