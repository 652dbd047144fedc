package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"outlook-connector/config"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/graph"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/telemetry"
	"outlook-connector/publisher"
)

// commandStream is JetStream as the publisher sees it: the ledger, outcomes
// and dead letters.
type commandStream struct {
	conn *jet.Conn
}

var (
	_ publisher.Journal  = commandStream{}
	_ publisher.Outcomes = commandStream{}
)

// Load reads a ledger record.
func (s commandStream) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	return s.conn.Ledger().Load(ctx, key)
}

// Save stores a ledger record with compare-and-set.
func (s commandStream) Save(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	seq, err := s.conn.Ledger().Save(ctx, key, data, revision)
	if errors.Is(err, jet.ErrConflict) {
		return 0, fmt.Errorf("%w: %w", publisher.ErrConflict, err)
	}
	return seq, err
}

// Begin begins to store an outcome.
func (s commandStream) Begin(ctx context.Context, id string, body []byte) (stored func() error) {
	return s.conn.Results().Begin(ctx, id, jsonHeader(ctx), body)
}

// Told reads a stored outcome.
func (s commandStream) Told(ctx context.Context, id string) ([]byte, error) {
	stored, err := s.conn.Results().Get(ctx, id)
	if errors.Is(err, jet.ErrNotFound) {
		return nil, nil
	}
	return stored.Data, err
}

// Reply sends a copy of an outcome to the subject that the sender asked for.
func (s commandStream) Reply(ctx context.Context, subject string, body []byte) error {
	return s.conn.Reply(ctx, subject, jsonHeader(ctx), body)
}

// Dead stores a dead letter.
func (s commandStream) Dead(ctx context.Context, name string, letter publisher.DeadLetter) error {
	subject, err := s.conn.Names().DeadCommand(name)
	if err != nil {
		return err
	}
	body, err := letter.Encode()
	if err != nil {
		return fault.New(fault.Poison, "encode dead letter: %w", err)
	}
	return s.conn.DeadLetters().Put(ctx, subject, letter.DedupeID, jsonHeader(ctx), body)
}

// plainJSON are the headers of a JSON message that comes from no span. Every such
// message has these very ones, so nobody may change them; package jet copies them.
var plainJSON = jet.Header{"content-type": {"application/json"}}

// jsonHeader are the headers of a JSON message, with the span that it comes from.
func jsonHeader(ctx context.Context) jet.Header {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return plainJSON
	}
	header := maps.Clone(plainJSON)
	telemetry.Inject(ctx, header)
	return header
}

// runCommands hands the queue's messages to the publisher of a generation until
// ctx ends, and then waits for those in hand. work is the context of these; it
// does not end with ctx.
func (w *Worker) runCommands(ctx, work context.Context, g *generation) error {
	lobby := newLobby(mailboxDoors{w.outlook}, g.publisher.Begun())
	// What only waits need not go on until the end of the work.
	waiting, cancel := context.WithCancel(work)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return w.conn.Commands().Run(ctx, g.parallel, func(_ context.Context, m jet.Message) jet.Verdict {
		return w.runCommand(work, waiting, g, lobby, m)
	})
}

// runCommand carries out one command when its turn has come. waiting ends before
// the work does.
func (w *Worker) runCommand(ctx, waiting context.Context, g *generation, lobby *lobby, m jet.Message) jet.Verdict {
	name, mailbox, err := w.conn.Names().ParsePublish(m.Subject)
	if err != nil {
		name, mailbox = m.Subject, "" // the publisher says that there is none of that name
	}
	command := publisher.Message{
		Publisher: name, Mailbox: mailbox, Subject: m.Subject, Stream: m.Stream, Sequence: m.Sequence,
		Header: m.Header, Data: m.Data, Received: m.Received, Fresh: m.Fresh, Deadline: m.Deadline,
	}
	glance, ok := g.publisher.Glance(ctx, &command)
	pass, wait := lobby.enter(waiting, name, m, glance, ok)
	if pass == nil {
		return jet.Again(wait)
	}
	defer pass.giveBack()
	ctx, end := consumerSpan(pass.with(ctx), w.o.tracer, "command", m, attribute.String("outlook.publisher", known(g.config, name)))
	defer end()
	verdict := g.publisher.Handle(ctx, command)
	return jet.Verdict{Done: verdict.Ack, After: verdict.After}
}

// answerOf returns what is known of an answer that was an error.
func answerOf(err error) publisher.Answer {
	answered, ok := errors.AsType[*graph.Error](err)
	if !ok {
		return publisher.Answer{}
	}
	return publisher.Answer{
		Status: answered.Status, RequestID: answered.RequestID, ClientRequestID: answered.ClientRequestID,
	}
}

// publishers resolves the configured publishers. parallel is how many commands
// they may have in hand together.
func publishers(c *config.Config) (out []publisher.Publisher, parallel int, err error) {
	var problems []error
	for _, p := range c.Publishers {
		resolved := publisher.Publisher{
			Name: p.Name, Client: p.Client, Entities: p.Operations(), Mailboxes: p.Mailboxes,
			Path: p.Path, Query: p.Query, Headers: p.Headers,
			Delivery: publisher.Delivery(p.Delivery), GiveUpAfter: p.GiveUpAfter.Std(), Settle: p.Settle.Std(), InFlight: p.InFlight,
			ImmutableIDs: p.ImmutableIDs, Batch: p.Batch,
			Policy: publisher.Policy{
				Recipients: p.Limits.Recipients, From: p.Limits.From, NotificationHosts: p.Limits.NotificationHosts,
			},
		}
		if len(p.Payload) > 0 {
			if resolved.Payload, err = json.Marshal(p.Payload); err != nil {
				problems = append(problems, fmt.Errorf("publisher %s: payload: %w", p.Name, err))
			}
		}
		if resolved.RequestTransform, err = compile(p.RequestTransform); err != nil {
			problems = append(problems, fmt.Errorf("publisher %s: request_transform: %w", p.Name, err))
		}
		out = append(out, resolved)
		parallel += publisher.InHand(p.InFlight)
	}
	return out, max(parallel, 1), errors.Join(problems...)
}

// ledgerAge is how long a ledger record must be kept: longer than a command
// can wait and be tried.
func ledgerAge(c *config.Config) time.Duration {
	longest := publisher.DefaultGiveUpAfter
	for _, p := range c.Publishers {
		longest = max(longest, p.GiveUpAfter.Std())
	}
	return publisher.MaxNotBefore + longest + 7*24*time.Hour
}

// blobAge is how long a large body must be kept: longer than an event that
// refers to it, or a dead letter.
func blobAge(c *config.Config) time.Duration {
	longest := 30 * 24 * time.Hour // of a dead letter
	for _, s := range c.Subscriptions {
		longest = max(longest, s.TTL.Std())
	}
	return longest + 7*24*time.Hour
}
