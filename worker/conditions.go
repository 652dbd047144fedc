package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/tokenstore"
)

const (
	// credentialSoon is how long before its end a client's credential is a matter
	// for somebody.
	credentialSoon = 14 * 24 * time.Hour
	// streamFull is from which part of its bound a stream is nearly full.
	streamFull = 0.8
	// lateRounds is how many intervals a feed may be behind, lateLeast how long
	// in any case: what comes back by itself is nobody's business.
	lateRounds, lateLeast = 3, time.Minute
)

// addConditions adds what is checked. Each names what it cannot hold without, so
// that one cause is shown as one.
func (w *Worker) addConditions(context.Context) error {
	if server := w.server; server != nil {
		w.checks.Add("nats-server", health.High, func(context.Context) error { return server.Healthy() })
	}
	w.checks.Add("nats", health.High, func(context.Context) error { return w.natsProblem() }, "nats-server")
	w.checks.Add("streams", health.High, func(context.Context) error { return w.streamsProblem() }, "nats")
	w.checks.Add("streams-full", health.Warning, func(context.Context) error { return w.fullStreams() }, "nats")
	w.checks.Add("dead-letters", health.Warning, func(context.Context) error { return w.uncertainLetters() })
	w.checks.Add("disk", health.Warning, func(context.Context) error { return w.diskProblem() })
	w.checks.Add("clock", health.Warning, func(context.Context) error { return w.clock.problem() })
	w.checks.Add("token-owner", health.Degraded, func(context.Context) error { return w.tokens.Problem() }, "nats")
	for _, client := range w.o.Config.Clients {
		w.addClientConditions(client.Name)
	}
	return w.registerMetrics()
}

// addClientConditions adds what is checked of one client.
func (w *Worker) addClientConditions(name string) {
	grant, permissions := "grant/"+name, "permissions/"+name
	w.checks.Add(grant, health.Degraded, func(context.Context) error { return w.grantProblem(name) }, "nats", "token-owner")
	w.checks.Add(permissions, health.Degraded, func(context.Context) error { return w.permissionProblem(name) }, grant)
	w.checks.Add("credential/"+name, health.Warning, func(context.Context) error { return w.credentialProblem(name) }, grant)
	if w.o.has(RoleSubscriber) {
		w.checks.Add("feeds/"+name, health.Degraded, func(context.Context) error { return w.feedsProblem(name) }, "nats", "streams", grant, permissions)
	}
	if w.o.has(RolePublisher) {
		w.checks.Add("publishers/"+name, health.Degraded, func(context.Context) error { return w.publishersProblem(name) }, "nats", "streams", grant, permissions)
	}
}

// natsProblem is the condition of the connection to NATS. A process that joined
// another says that nobody takes the place of that one: this one has neither the
// data folder nor the port.
func (w *Worker) natsProblem() error {
	err := w.conn.Ready()
	if !notConnected(err) {
		return nil
	}
	if !w.joined || fault.Of(err).Code != "not_connected" {
		return err
	}
	return fault.New(fault.Retry, "the process that this one joined is gone, and with it the embedded NATS and the page: %w", err).
		WithCode("host_gone").WithHint("start it again: outlook-connector run; or restart this process, which then takes its place")
}

func notConnected(err error) bool {
	return err != nil && slices.Contains([]string{"not_connected", "nats_auth"}, fault.Of(err).Code)
}

// streamsProblem is the condition of the streams.
func (w *Worker) streamsProblem() error {
	err := w.conn.Ready()
	if notConnected(err) {
		return fault.New(fault.Retry, "not seen without a connection to NATS")
	}
	return err
}

// fullStreams says which streams are close to their bounds.
func (w *Worker) fullStreams() error {
	held, ok := w.stock.now()
	if !ok {
		return nil // nobody knows; that NATS is away has its own condition
	}
	var full []string
	for _, s := range held.streams {
		if s.MaxBytes > 0 && float64(s.Bytes) >= streamFull*float64(s.MaxBytes) {
			full = append(full, fmt.Sprintf("%s (%.0f %% of %d bytes)", s.Name, 100*float64(s.Bytes)/float64(s.MaxBytes), s.MaxBytes))
		}
	}
	if len(full) == 0 {
		return nil
	}
	return fault.New(fault.Retry, "nearly full: %s", some(full)).
		WithHint("give them more room: nats stream edit NAME --max-bytes SIZE; when one is full, its feeds or commands wait")
}

// uncertainLetters says how many commands wait for somebody to look whether they
// had their effect.
func (w *Worker) uncertainLetters() error {
	held, ok := w.stock.now()
	if !ok || held.uncertain <= 0 {
		return nil
	}
	return fault.New(fault.Retry, "%d commands may or may not have had their effect", held.uncertain).
		WithHint("outlook-connector dlq list --outcome uncertain")
}

// grantProblem is the condition of a client's grant.
func (w *Worker) grantProblem(client string) error {
	if c, ok := w.tokenStatus(client); ok && c.Condition != tokenstore.ConditionOK && c.Condition != tokenstore.ConditionUnknown {
		return fault.New(fault.Reauth, "%s", c.Text).WithHint("%s", c.Hint)
	}
	return nil
}

// credentialProblem says that a client's certificate ends soon.
func (w *Worker) credentialProblem(client string) error {
	c, ok := w.tokenStatus(client)
	if !ok || c.CredentialEnds.IsZero() {
		return nil
	}
	left := time.Until(c.CredentialEnds)
	if left > credentialSoon {
		return nil
	}
	text := fmt.Sprintf("the %s of client %s ends on %s, in %.0f days", c.Credential, client, c.CredentialEnds.Format(time.DateOnly), left.Hours()/24)
	if left <= 0 {
		text = fmt.Sprintf("the %s of client %s ended on %s", c.Credential, client, c.CredentialEnds.Format(time.DateOnly))
	}
	return fault.New(fault.Reauth, "%s", text).
		WithHint("make a new one, upload it to the app registration, then replace the file; the old one is good until it ends")
}

func (w *Worker) tokenStatus(client string) (tokenstore.ClientStatus, bool) {
	for _, c := range w.tokens.Status().Clients {
		if c.Client == client {
			return c, true
		}
	}
	return tokenstore.ClientStatus{}, false
}

// feedsProblem is the condition of a client's feeds: the first one that failed
// again and again, or for a reason that does not go away by itself, or that is
// late.
func (w *Worker) feedsProblem(client string) error {
	g := w.current()
	if g.subscriber == nil {
		return nil
	}
	ours := make(map[string]bool)
	for _, s := range g.config.Subscriptions {
		ours[s.Name] = s.Client == client
	}
	failing, late := 0, 0
	var first, latest error
	for _, f := range g.subscriber.Status() {
		if !ours[f.Feed.Subscription] {
			continue
		}
		// One failure is the weather, and the next poll usually goes through; but
		// what was refused stays so, as does a missing grant, and a full stream is for
		// somebody to empty.
		lasting := f.Failures > 0 && (f.Kind == fault.Poison || f.Kind == fault.Reauth || f.Code == "store_full")
		switch {
		case f.Failures >= 2 || lasting:
			failing++
			if first == nil {
				first = fault.New(f.Kind, "%s: %s", f.Feed, f.Error).WithHint("%s", f.Hint)
			}
		case f.Lag > max(lateRounds*f.Every, lateLeast):
			late++
			if latest == nil {
				latest = fault.New(fault.Retry, "%s has been polled for %s without an end", f.Feed, f.Lag.Round(time.Second)).
					WithHint("see how Graph answers: outlook_graph_request_duration_seconds, or log_requests: true of the client")
			}
		}
	}
	switch {
	case failing > 1:
		return fault.New(fault.Retry, "%d feeds fail, the first is %w", failing, first)
	case failing == 1:
		return first
	case late > 1:
		return fault.New(fault.Retry, "%d feeds are late, the first is %w", late, latest)
	default:
		return latest
	}
}

// publishersProblem is the condition of a client's publishers: their commands wait
// while there is no token.
func (w *Worker) publishersProblem(client string) error {
	g := w.current()
	if g.publisher == nil {
		return nil
	}
	var names []string
	for _, p := range g.config.Publishers {
		if p.Client == client {
			names = append(names, p.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := w.grantProblem(client); err != nil {
		return fault.New(fault.Reauth, "the commands of %s wait: %w", some(names), err)
	}
	return nil
}

const (
	// skewMost is how far our clock may be from Graph's: beyond it tokens and
	// deadlines are misjudged. skewAge is how long a look at Graph's is good.
	skewMost, skewAge = 2 * time.Minute, 15 * time.Minute
)

// clock compares our clock with the one in Graph's answers. The zero value has not
// seen one.
type clock struct {
	mu   sync.Mutex
	skew time.Duration // positive: ours is ahead
	seen time.Time
}

// note takes the time of an answer that has just come. An answer takes a moment,
// and its time is in whole seconds: a small skew means nothing.
func (c *clock) note(theirs time.Time) {
	if c == nil || theirs.IsZero() {
		return
	}
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew, c.seen = now.Sub(theirs), now
}

// now returns the skew, where it was seen lately.
func (c *clock) now() (time.Duration, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.skew, !c.seen.IsZero() && time.Since(c.seen) < skewAge
}

func (c *clock) problem() error {
	skew, seen := c.now()
	if !seen || skew.Abs() <= skewMost {
		return nil
	}
	than := "ahead of"
	if skew < 0 {
		than = "behind"
	}
	return fault.New(fault.Retry, "the clock of this machine is %s %s Microsoft Graph's", skew.Abs().Round(time.Second), than).
		WithHint("set it: timedatectl set-ntp true")
}
