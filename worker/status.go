package worker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"outlook-connector/internal/catalog"
	"outlook-connector/internal/httpd"
	"outlook-connector/publisher"
)

// Status returns a snapshot of the process, for the page and the status
// command. It asks NATS for the dead letters and is safe for concurrent use.
func (w *Worker) Status(ctx context.Context) httpd.Status {
	tokens, now := w.tokens.Status(), w.current()
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
	status.Clients = ClientStatuses(now.config, tokens)
	if now.subscriber != nil {
		for _, f := range now.subscriber.Status() {
			status.Feeds = append(status.Feeds, httpd.FeedStatus{
				Subscription: f.Feed.Subscription, Mailbox: f.Feed.Mailbox, Part: f.Feed.Part, State: f.State(), Phase: f.Phase,
				LastPoll: f.LastPoll, NextPoll: f.NextPoll, Result: f.Result, Lag: f.Lag.Seconds(), Error: f.Error, Hint: f.Hint,
			})
		}
	}
	if now.publisher != nil {
		for _, p := range now.config.Publishers {
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
	if held, ok := w.stock.now(); ok {
		commands, _ := held.consumer(w.conn.Names().PublishStream())
		status.Queue = &httpd.QueueStatus{
			Ready: commands.Pending, Held: uint64(max(commands.Held, 0)), MailboxTails: held.lanes.Lanes, Uncertain: held.uncertain,
			TailCommands: held.lanes.Commands, LongestTail: held.lanes.Longest, LongestTailHas: held.lanes.Most,
		}
	}
	if w.conn.Ready() == nil {
		if counts, err := w.deadLetters(ctx); err == nil {
			status.DeadLetters = counts
		}
	}
	return status
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
