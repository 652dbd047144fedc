package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/httpd"
	"outlook-connector/publisher"
)

// Status returns a snapshot of the process, for the page and the status
// command. It asks NATS for the dead letters and is safe for concurrent use.
func (w *Worker) Status(ctx context.Context) httpd.Status {
	tokens := w.tokens.Status()
	status := httpd.Status{
		Version: w.o.Version, NATS: w.conn.Server().Address, TokenRole: string(tokens.Role), TokenProblem: tokens.Problem, TokenHint: tokens.Hint,
		Conditions: w.checks.List(ctx),
	}
	if tokens.Owner != nil {
		status.TokenOwner = tokens.Owner.String()
	}
	if w.joined {
		status.NATS += ", of the process that this one joined"
	}
	if url := w.NATSURL(); url != "" {
		status.NATS = "embedded, " + url
	}
	for _, role := range w.o.Roles {
		status.Roles = append(status.Roles, string(role))
	}
	status.Clients = ClientStatuses(w.o.Config, tokens)
	if w.subscriber != nil {
		for _, f := range w.subscriber.Status() {
			status.Feeds = append(status.Feeds, httpd.FeedStatus{
				Subscription: f.Feed.Subscription, Mailbox: f.Feed.Mailbox, Part: f.Feed.Part, Phase: f.Phase,
				LastPoll: f.LastPoll, NextPoll: f.NextPoll, Result: f.Result, Lag: f.Lag.Seconds(), Error: f.Error, Hint: f.Hint,
			})
		}
	}
	if w.publisher != nil {
		for _, p := range w.o.Config.Publishers {
			subject, err := w.conn.Names().Publish(p.Name)
			if err != nil {
				continue // the configuration allows no such name
			}
			entities := slices.Clone(p.Entities)
			if p.Entity != "" {
				entities = append([]string{p.Entity}, entities...)
			}
			status.Publishers = append(status.Publishers, httpd.PublisherStatus{
				Name: p.Name, Client: p.Client, Subject: subject, Entities: entities, Mailboxes: p.Mailboxes, Delivery: p.Delivery,
				Weaker: weaker(p.Operations(), publisher.Delivery(p.Delivery)),
			})
		}
	}
	if w.conn.Ready() == nil {
		if counts, err := w.deadLetters(ctx); err == nil {
			status.DeadLetters = counts
		}
	}
	return status
}

// feedsProblem is the health check of the feeds: the first one that failed
// again and again, or for a reason that does not go away by itself.
func (w *Worker) feedsProblem(context.Context) error {
	failing := 0
	var first error
	for _, f := range w.subscriber.Status() {
		// One failure is the weather, and the next poll usually goes through; but
		// what was refused stays so, and a full stream is for somebody to empty.
		lasting := f.Failures > 0 && (f.Kind == fault.Poison || f.Code == "store_full")
		if f.Failures < 2 && !lasting {
			continue
		}
		failing++
		if first == nil {
			first = fault.New(f.Kind, "%s: %s", f.Feed, f.Error).WithHint("%s", f.Hint)
		}
	}
	if failing > 1 {
		return fault.New(fault.Retry, "%d feeds fail, the first is %w", failing, first)
	}
	return first
}

func newDeadLetterGauge(reg prometheus.Registerer) *prometheus.GaugeVec {
	gauge := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "outlook_dead_letters",
		Help: "Stored dead letters by kind: publish (commands) and event (entities).",
	}, []string{"kind"})
	reg.MustRegister(gauge)
	return gauge
}

// weaker says for which operations a delivery promises less than its name, with the
// reason.
func weaker(ops []*catalog.Operation, delivery publisher.Delivery) (sentences []string) {
	const most = 3 // names in a sentence
	why := map[string][]string{}
	for _, op := range ops {
		if reason := publisher.Promise(op, delivery); reason != "" && !op.Reads() {
			why[reason] = append(why[reason], op.ID)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		ids := why[reason]
		named := strings.Join(ids[:min(most, len(ids))], ", ")
		if more := len(ids) - most; more > 0 {
			named += fmt.Sprintf(" and %d more", more)
		}
		sentences = append(sentences, named+": "+reason)
	}
	return sentences
}
