package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"outlook-connector/config"
	"outlook-connector/internal/health"
	"outlook-connector/internal/httpd"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/sandbox"
	"outlook-connector/publisher"
	"outlook-connector/worker"
)

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
	// Not built by the connection's names, which refuse what senders may try.
	at, err := r.Conn().Commands().Publish(r.w.t.Context(), "outlook.publish."+name, header, []byte(body))
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
