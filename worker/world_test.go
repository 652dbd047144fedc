package worker_test

import (
	"cmp"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"outlook-connector/config"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
)

// ann is who signs in, ben whom she writes to.
const (
	ann = "ann@contoso.example"
	ben = "ben@contoso.example"
)

// world is a machine: a folder, a sandbox and the workers that a test starts in
// it. All parts are real.
type world struct {
	*sandbox.Sandbox
	t    *testing.T
	dir  string
	http *http.Client
}

func newWorld(t *testing.T, opts ...sandbox.Option) *world {
	t.Helper()
	graph, err := sandbox.New(opts...)
	if err != nil {
		t.Fatal(err)
	}
	if err := graph.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	w := &world{Sandbox: graph, t: t, dir: t.TempDir(), http: &http.Client{Transport: transport, Timeout: patience}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := w.Close(); err != nil { // of the sandbox that runs by then
			t.Errorf("close sandbox: %v", err)
		}
	})
	w.writeKey("token.key")
	return w
}

func (w *world) writeKey(name string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), []byte(seal.NewKeyText().Reveal()), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// setting is what the configurations of the tests differ in. The zero value is
// an embedded NATS in the folder "nats" on a free port, and HTTP on another.
type setting struct {
	nats       string // the section, in YAML
	http       string // the address
	tokens     string // the path of the token store
	key        string // the name of the key's file
	clients    string // more clients, in YAML
	mailboxes  string // of the subscription
	selected   string // of the subscription
	start      string // of the subscription
	transform  string // of the subscription
	publishers string // more publishers, in YAML
	// delivery is that of send-mail; "" is at_most_once, of which each command is
	// one request.
	delivery string
	more     string // more lines, in YAML
}

// config parses a configuration as a user would write it.
func (w *world) config(s setting) *config.Config {
	w.t.Helper()
	text := fmt.Sprintf(`
nats: %s
token_store: {path: %s, key: "${file:./%s}"}
clients:
  - name: contoso
    tenant: contoso.example
    authorize_url: %q
    token_url: %q
    base_url: %q
    client_id: %q
    scopes: [openid, profile, offline_access, Mail.ReadWrite, Mail.Send, Mail.ReadWrite.Shared]
%s
subscriptions:
  - name: inbox
    client: contoso
    entity: mail.message.delta
    path: {mailFolder-id: inbox}
    mailboxes: [%s]
    query: {$select: %q}
    every: 1s
    start: %s
    transform: '%s'
publishers:
  - name: send-mail
    client: contoso
    entity: mail.message.sendMail
    delivery: %s
%s
http: {listen: %q}
%s
`, cmp.Or(s.nats, `{embedded: {store_dir: ./nats, listen: "127.0.0.1:0"}}`), cmp.Or(s.tokens, "./tokens.db"), cmp.Or(s.key, "token.key"),
		w.AuthorizeURL(), w.TokenURL(), w.GraphURL(), sandbox.DefaultClientID, s.clients,
		cmp.Or(s.mailboxes, "me"), cmp.Or(s.selected, "subject,from,receivedDateTime"), cmp.Or(s.start, "now"), s.transform, cmp.Or(s.delivery, "at_most_once"), s.publishers, cmp.Or(s.http, freeAddress(w.t)), s.more)
	c, err := config.Parse(config.Source{File: filepath.Join(w.dir, "outlook-connector.yaml"), Data: []byte(text)})
	if err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// deliver puts mails into ann's inbox, as the outside world does.
func (w *world) deliver(subjects ...string) {
	w.t.Helper()
	for _, subject := range subjects {
		if _, err := w.Deliver(sandbox.Mail{To: []string{ann}, Subject: subject, Body: "From outside."}); err != nil {
			w.t.Fatal(err)
		}
	}
}

// calls returns the finished requests for a route, "" for any.
func (w *world) calls(method, route string) (list []sandbox.Call) {
	for _, c := range w.Requests() {
		if c.Method == method && (route == "" || strings.EqualFold(c.Route, route)) {
			list = append(list, c)
		}
	}
	return list
}

// The routes that the workers of these tests use.
const (
	routeDelta = "/me/mailFolders/{mailFolder-id}/messages/delta"
	routeSend  = "/me/sendMail"
	routeToken = "/{tenant}/oauth2/v2.0/token"
)

// quietRounds waits for more rounds of polls to end, in which anything that is
// told twice would show.
func (w *world) quietRounds(n int) {
	w.t.Helper()
	before := len(w.calls(http.MethodGet, routeDelta))
	until(w.t, fmt.Sprintf("%d more polls", n), func() bool { return len(w.calls(http.MethodGet, routeDelta)) >= before+n })
}

// sent returns the subjects of the mails that Graph accepted to send.
func (w *world) sent() (subjects []string) {
	for _, e := range w.Effects() {
		if e.Kind == sandbox.EffectSent {
			subjects = append(subjects, e.Subject)
		}
	}
	return subjects
}

// mail is a command that sends a mail to ben.
func mail(subject string) string {
	return fmt.Sprintf(`{"payload":{"message":{"subject":%q,"body":{"content":"It works."},"toRecipients":[{"emailAddress":{"address":%q}}]}}}`, subject, ben)
}
