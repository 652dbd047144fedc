package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"outlook-connector/config"
)

// secretive has a secret in every place that takes one, and in places that a
// person might misuse.
const secretive = `
nats: {url: "nats://worker:` + canary + `@a.example.com:4222, tls://` + canary + `@b.example.com"}
token_store: {key: "` + key + `", previous_keys: ["` + earlierKey + `"]}
http: {credential: "${env:NOT_SET:-` + canary + `-` + canary + `}"}
clients:
  - name: contoso
    tenant: contoso.onmicrosoft.com
    client_id: app
    client_secret: ` + canary + `
    scopes: [offline_access, Mail.Send]
publishers:
  - name: send-mail
    client: contoso
    entity: mail.message.sendMail
    payload: {message: {subject: "${env:CONTOSO_SECRET}", flags: [1, "x ${env:CONTOSO_SECRET}"]}}
    headers: {Prefer: "${env:CONTOSO_SECRET}"}
    request_transform: '. + {a: "${env:CONTOSO_SECRET}"}'
`

// earlierKey is a key that key replaced.
const earlierKey = "f1e2d3c4b5a697887968574635241302f1e2d3c4b5a697887968574635241302"

func TestNoSecretComesOut(t *testing.T) {
	t.Parallel()
	c := mustParse(t, secretive)
	shown, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"nats://«redacted»@a.example.com:4222,tls://«redacted»@b.example.com", "client_secret: «redacted»", "${env:CONTOSO_SECRET}",
	} {
		if !bytes.Contains(shown, []byte(want)) {
			t.Errorf("config show lacks %q:\n%s", want, shown)
		}
	}
	if got := c.NATS.URL.Reveal(); !strings.Contains(got, canary) {
		t.Errorf("Reveal = %q", got)
	}
	if got := c.NATS.URL.List(); len(got) != 2 || got[1] != "tls://"+canary+"@b.example.com" {
		t.Errorf("List = %q", got)
	}

	outputs := map[string]string{"config show": string(shown)}
	// The typed secrets are safe in every form; free text that a ${…} brought in
	// is a payload like any other and only Show knows where it came from.
	c.Publishers = nil
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		outputs[format] = fmt.Sprintf(format, c)
		outputs[format+" of a value"] = fmt.Sprintf(format, *c)
		outputs[format+" of nats"] = fmt.Sprintf(format, c.NATS)
		outputs[format+" of a client"] = fmt.Sprintf(format, c.Clients[0])
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	outputs["json"] = string(encoded)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("loaded", "config", c, "url", c.NATS.URL, "secret", c.Clients[0].ClientSecret)
	slog.New(slog.NewTextHandler(&log, nil)).Info("loaded", "config", *c, "url", c.NATS.URL, "secret", c.Clients[0].ClientSecret)
	outputs["slog"] = log.String()
	for name, output := range outputs {
		if strings.Contains(output, canary) || strings.Contains(output, key) || strings.Contains(output, earlierKey) {
			t.Errorf("%s gives a secret away:\n%s", name, output)
		}
	}
}

func TestShowGivesTheEffectiveConfiguration(t *testing.T) {
	t.Parallel()
	c := mustParse(t, contoso+`
subscriptions:
  - name: inbox
    client: contoso
    entity: "Mail - message: delta"
    path: {mailFolder-id: inbox}
    every: ${env:EVERY}
    start: 2026-01-01T00:00:00Z
publishers:
  - name: send-mail
    client: contoso
    entity: mail.message.sendMail
    payload: {a: 1.50, b: null, c: [true, "true", 0x10], d: {}}
`)
	got, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/show.yaml")
	if err != nil && !*update {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("testdata/show.yaml", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("config show (-want +got):\n%s", diff)
	}
}

// TestWhatIsShownLoadsAgain holds that Show leaves nothing out and writes every
// value in the form that the file takes.
func TestWhatIsShownLoadsAgain(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/good/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	first, err := config.Parse(source("everything.yaml", data))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := first.Show()
	if err != nil {
		t.Fatal(err)
	}
	// Only the secrets have to be put back.
	again := strings.NewReplacer(
		"key: «redacted»", "key: "+key,
		"previous_keys: [«redacted»]", "previous_keys: ["+strings.Repeat("a1", 32)+"]",
		"credential: «redacted»", "credential: "+canary+"-and-more",
		"client_secret: «redacted»", "client_secret: "+canary,
		"«redacted»@", "worker:"+canary+"@",
	).Replace(string(shown))
	second, err := config.Parse(source("everything.yaml", []byte(again)))
	if err != nil {
		t.Fatalf("%v\n%s", err, again)
	}
	reshown, err := second.Show()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(shown), string(reshown)); diff != "" {
		t.Errorf("a second time it is shown differently (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(first.Publishers, second.Publishers); diff != "" {
		t.Errorf("publishers differ (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(first.Subscriptions, second.Subscriptions); diff != "" {
		t.Errorf("subscriptions differ (-first +second):\n%s", diff)
	}
	if first.Clients[0].ClientSecret != second.Clients[0].ClientSecret || first.NATS.Prefix != second.NATS.Prefix {
		t.Error("clients or nats differ")
	}
}
