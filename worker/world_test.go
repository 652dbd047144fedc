package worker_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
	"outlook-connector/internal/seal"
	"outlook-connector/publisher"
	"outlook-connector/worker"
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
	start      string // of the subscription
	transform  string // of the subscription
	publishers string // more publishers, in YAML
	more       string // more lines, in YAML
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
    query: {$select: "subject,from,receivedDateTime"}
    every: 1s
    start: %s
    transform: '%s'
publishers:
  - name: send-mail
    client: contoso
    entity: mail.message.sendMail
%s
http: {listen: %q}
%s
`, cmp.Or(s.nats, `{embedded: {store_dir: ./nats, listen: "127.0.0.1:0"}}`), cmp.Or(s.tokens, "./tokens.db"), cmp.Or(s.key, "token.key"),
		w.AuthorizeURL(), w.TokenURL(), w.GraphURL(), sandbox.DefaultClientID, s.clients,
		cmp.Or(s.mailboxes, "me"), cmp.Or(s.start, "now"), s.transform, s.publishers, cmp.Or(s.http, freeAddress(w.t)), s.more)
	c, err := config.Parse(config.Source{File: filepath.Join(w.dir, "outlook-connector.yaml"), Data: []byte(text)})
	if err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	return c
}

// running is a worker that was started.
type running struct {
	*worker.Worker
	w *world
}

// start starts a worker and stops it at the end of the test.
func (w *world) start(c *config.Config, change ...func(*worker.Options)) *running {
	w.t.Helper()
	r := w.make(c, change...)
	if err := r.Start(w.t.Context()); err != nil {
		w.t.Fatalf("start: %v", err)
	}
	w.t.Cleanup(r.stop)
	return r
}

func (w *world) make(c *config.Config, change ...func(*worker.Options)) *running {
	w.t.Helper()
	options := worker.Options{Config: c, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(w.t.Output(), nil))}
	for _, f := range change {
		f(&options)
	}
	made, err := worker.New(options)
	if err != nil {
		w.t.Fatal(err)
	}
	return &running{made, w}
}

// stop stops the worker, in vain where it was stopped before.
func (r *running) stop() {
	r.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.w.t.Context()), patience)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		r.w.t.Errorf("stop: %v", err)
	}
}

// condition returns a health condition; the zero value where there is none.
func (r *running) condition(code string) health.Condition {
	for _, c := range r.Conditions(r.w.t.Context()) {
		if c.Code == code {
			return c
		}
	}
	return health.Condition{}
}

// ready waits until the worker is ready.
func (r *running) ready() *running {
	r.w.t.Helper()
	until(r.w.t, "the worker to be ready", func() bool { return health.Ready(r.Conditions(r.w.t.Context())) })
	return r
}

// signedIn waits until the worker is ready and has ann grant access.
func (r *running) signedIn() *running {
	r.w.t.Helper()
	return r.ready().grants()
}

// grants has ann grant access.
func (r *running) grants() *running {
	r.w.t.Helper()
	landing, err := sandbox.SignIn(r.w.t.Context(), r.w.http, r.HTTPURL()+"/oauth/start/contoso", ann)
	if err != nil {
		text := ""
		if landing != nil {
			text = landing.Body
		}
		r.w.t.Fatalf("sign-in: %v\n%s", err, text)
	}
	if landing.Status != http.StatusOK || !strings.Contains(landing.Body, ann) {
		r.w.t.Fatalf("the sign-in ended with %d at %s:\n%s", landing.Status, landing.URL.Redacted(), landing.Body)
	}
	return r
}

// primed waits until the quiet first read of start: now is over, after which
// every mail is an event.
func (r *running) primed() *running {
	r.w.t.Helper()
	until(r.w.t, "the first read of all feeds", func() bool {
		feeds := r.Status(r.w.t.Context()).Feeds
		for _, f := range feeds {
			if f.Phase != "changes" {
				return false
			}
		}
		return len(feeds) > 0
	})
	return r
}

// publish sends a command and returns the id of its outcome.
func (r *running) publish(name string, header jet.Header, body string) string {
	r.w.t.Helper()
	subject, err := r.Conn().Names().Publish(name)
	if err != nil {
		r.w.t.Fatal(err)
	}
	at, err := r.Conn().Commands().Publish(r.w.t.Context(), subject, header, []byte(body))
	if err != nil {
		r.w.t.Fatal(err)
	}
	if key := header["Nats-Msg-Id"]; len(key) > 0 {
		return publisher.ResultID(key[0])
	}
	return fmt.Sprintf("%s-%d", at.Stream, at.Sequence)
}

// outcome waits for the outcome of a command.
func (r *running) outcome(id string) publisher.Outcome {
	r.w.t.Helper()
	ctx, cancel := context.WithTimeout(r.w.t.Context(), patience)
	defer cancel()
	stored, err := r.Conn().Results().Wait(ctx, id)
	if err != nil {
		r.w.t.Fatalf("outcome of %s: %v", id, err)
	}
	var outcome publisher.Outcome
	if err := json.Unmarshal(stored.Data, &outcome); err != nil {
		r.w.t.Fatalf("outcome of %s: %v\n%s", id, err, stored.Data)
	}
	return outcome
}

// done waits for the outcome of a command, which must be done.
func (r *running) done(id string) publisher.Outcome {
	r.w.t.Helper()
	outcome := r.outcome(id)
	if outcome.Outcome != "done" {
		r.w.t.Fatalf("outcome %+v (%+v), want done", outcome, outcome.Error)
	}
	return outcome
}

// dead returns the dead letters of commands.
func (r *running) dead() []publisher.DeadLetter {
	r.w.t.Helper()
	stored, err := r.Conn().DeadLetters().List(r.w.t.Context(), "", 0)
	if err != nil {
		r.w.t.Fatal(err)
	}
	letters := make([]publisher.DeadLetter, len(stored))
	for i, letter := range stored {
		if err := json.Unmarshal(letter.Data, &letters[i]); err != nil {
			r.w.t.Fatalf("dead letter %s: %v", letter.Data, err)
		}
	}
	return letters
}

// held returns how many commands are in the queue, in hand or not.
func (r *running) held() uint64 {
	r.w.t.Helper()
	streams, err := r.Conn().Status(r.w.t.Context())
	if err != nil {
		r.w.t.Fatal(err)
	}
	for _, s := range streams {
		if s.Name == r.Conn().Names().PublishStream() {
			return s.Messages
		}
	}
	r.w.t.Fatal("no stream of commands")
	return 0
}

// events returns the events that are stored, once there are at least n, oldest
// first.
func (r *running) events(n int) []jet.Event {
	r.w.t.Helper()
	var list []jet.Event
	filter, err := r.Conn().Names().Events("", "")
	if err != nil {
		r.w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.w.t.Context(), patience)
	defer cancel()
	// A zero time would mean new events only.
	if err := r.Conn().Events(ctx, filter, time.Unix(1, 0), func(e jet.Event) bool {
		list = append(list, e)
		return len(list) < n
	}); err != nil {
		r.w.t.Fatal(err)
	}
	if len(list) < n {
		r.w.t.Fatalf("%d events came within %s, want %d: %s", len(list), patience, n, subjectsOf(list))
	}
	return list
}

// stored returns how many events are stored now.
func (r *running) stored() int {
	r.w.t.Helper()
	streams, err := r.Conn().Status(r.w.t.Context())
	if err != nil {
		r.w.t.Fatal(err)
	}
	feeds := len(r.Status(r.w.t.Context()).Feeds)
	for _, s := range streams {
		if s.Name == r.Conn().Names().EventsStream() {
			return int(s.Messages) - feeds // one cursor for each
		}
	}
	r.w.t.Fatal("no stream of events")
	return 0
}

// subjectsOf returns the subjects of the mails in events.
func subjectsOf(events []jet.Event) []string {
	subjects := make([]string, len(events))
	for i, e := range events {
		var mail struct{ Subject string }
		if err := json.Unmarshal(e.Data, &mail); err != nil {
			subjects[i] = string(e.Data)
			continue
		}
		subjects[i] = mail.Subject
	}
	return subjects
}

// get fetches a page of the worker.
func (r *running) get(path string) (code int, body string) {
	r.w.t.Helper()
	req, err := http.NewRequestWithContext(r.w.t.Context(), http.MethodGet, r.HTTPURL()+path, http.NoBody)
	if err != nil {
		r.w.t.Fatal(err)
	}
	resp, err := r.w.http.Do(req)
	if err != nil {
		r.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.w.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// status fetches /status.
func (r *running) status() (s httpd.Status) {
	r.w.t.Helper()
	code, body := r.get("/status")
	if err := json.Unmarshal([]byte(body), &s); code != http.StatusOK || err != nil {
		r.w.t.Fatalf("status: %d %v\n%s", code, err, body)
	}
	return s
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
