package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"outlook-connector/config"
	"outlook-connector/internal/catalog"
	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
	"outlook-connector/internal/telemetry"
	"outlook-connector/internal/xform"
	"outlook-connector/subscriber"
)

// feedStream is JetStream as the subscriber sees it: events, cursors, the
// queue of feeds and dead letters.
type feedStream struct {
	conn   *jet.Conn
	tracer trace.Tracer // nil: off
}

var (
	_ subscriber.Stream      = feedStream{}
	_ subscriber.Queue       = feedStream{}
	_ subscriber.DeadLetters = feedStream{}
)

func (s feedStream) cursorSubject(feed subscriber.Feed) (string, error) {
	return s.conn.Names().Cursor(feed.Subscription, feed.Part, feed.Mailbox)
}

func (s feedStream) feedSubject(feed subscriber.Feed) (string, error) {
	return s.conn.Names().Feed(feed.Subscription, feed.Part, feed.Mailbox)
}

// Cursor reads where a feed stands.
func (s feedStream) Cursor(ctx context.Context, feed subscriber.Feed) ([]byte, uint64, error) {
	subject, err := s.cursorSubject(feed)
	if err != nil {
		return nil, 0, err
	}
	return s.conn.Cursor(ctx, subject)
}

// Register makes a feed known to the queue.
func (s feedStream) Register(ctx context.Context, feed subscriber.Feed, data []byte) (known bool, err error) {
	subject, err := s.feedSubject(feed)
	if err != nil {
		return false, err
	}
	return s.conn.Feeds().Add(ctx, subject, data)
}

// Update changes the data of a feed, if it is known.
func (s feedStream) Update(ctx context.Context, feed subscriber.Feed, change func([]byte) ([]byte, error)) error {
	subject, err := s.feedSubject(feed)
	if err != nil {
		return err
	}
	err = s.conn.Feeds().Update(ctx, subject, change)
	if errors.Is(err, jet.ErrNotFound) {
		return nil
	}
	return err
}

// Run polls feeds as they fall due.
func (s feedStream) Run(ctx context.Context, parallel int, poll func(context.Context, subscriber.Feed, []byte) subscriber.Next) error {
	return s.conn.Feeds().Run(ctx, parallel, func(ctx context.Context, subject string, data []byte) jet.Next {
		name, err := s.conn.Names().ParseFeed(subject)
		if err != nil {
			return jet.Next{Drop: true} // nothing that this program registers
		}
		ctx, end := span(ctx, s.tracer, "poll", attribute.String("outlook.subscription", name.Subscription))
		defer end()
		next := poll(ctx, subscriber.Feed{Subscription: name.Subscription, Mailbox: name.Mailbox, Part: name.Part}, data)
		return jet.Next{After: next.After, Drop: next.Drop}
	})
}

// eventLetter is the stored form of an entity that could not become an event.
type eventLetter struct {
	ID           string            `json:"id"`
	Subscription string            `json:"subscription"`
	Mailbox      string            `json:"mailbox"`
	Part         string            `json:"part"`
	Reason       string            `json:"reason"`
	Error        string            `json:"error"`
	Hint         string            `json:"hint,omitempty"`
	DiedAt       time.Time         `json:"died_at"`
	Headers      map[string]string `json:"headers,omitempty"`
	Data         json.RawMessage   `json:"data,omitempty"`
	// DataBase64 are the bytes of what is not JSON.
	DataBase64 []byte `json:"data_base64,omitempty"`
	// DataOmitted is the entity's length where it was too long for a message.
	DataOmitted int `json:"data_omitted,omitempty"`
}

// Put stores an entity that could not become an event.
func (s feedStream) Put(ctx context.Context, letter subscriber.DeadLetter) error {
	subject, err := s.conn.Names().DeadEvent(letter.Feed.Subscription, letter.Feed.Mailbox)
	if err != nil {
		return err
	}
	stored := eventLetter{
		ID: letter.ID, Subscription: letter.Feed.Subscription, Mailbox: letter.Feed.Mailbox, Part: letter.Feed.Part,
		Reason: letter.Code, Error: letter.Reason, Hint: letter.Hint, DiedAt: time.Now().UTC(), Headers: letter.Header,
	}
	if json.Valid(letter.Body) {
		stored.Data = letter.Body
	} else {
		stored.DataBase64 = letter.Body
	}
	err = s.bury(ctx, subject, stored)
	if fault.KindOf(err) == fault.Poison && len(letter.Body) > 0 {
		// Larger than the server takes. The feed must go on, so the letter goes
		// without the entity: its id is in the headers, and Graph still has it.
		stored.Data, stored.DataBase64, stored.DataOmitted = nil, nil, len(letter.Body)
		err = s.bury(ctx, subject, stored)
	}
	return err
}

func (s feedStream) bury(ctx context.Context, subject string, letter eventLetter) error {
	body, err := json.Marshal(letter)
	if err != nil {
		return fault.New(fault.Poison, "encode dead letter: %w", err)
	}
	header := jet.Header{}
	telemetry.Inject(ctx, header)
	return s.conn.DeadLetters().Put(ctx, subject, letter.ID, header, body)
}

func headerOf(values map[string]string) jet.Header {
	header := make(jet.Header, len(values))
	all := make([]string, 0, len(values)) // one array in place of one for each
	for name, value := range values {
		all = append(all, value)
		header[name] = all[len(all)-1 : len(all) : len(all)]
	}
	return header
}

// subscriptions resolves the configured subscriptions.
func subscriptions(c *config.Config) ([]subscriber.Subscription, error) {
	out := make([]subscriber.Subscription, 0, len(c.Subscriptions))
	var problems []error
	for i := range c.Subscriptions {
		sub, err := subscription(c, &c.Subscriptions[i])
		if err != nil {
			problems = append(problems, fmt.Errorf("subscription %s: %w", c.Subscriptions[i].Name, err))
			continue
		}
		out = append(out, sub)
	}
	return out, errors.Join(problems...)
}

func subscription(c *config.Config, s *config.Subscription) (subscriber.Subscription, error) {
	op, err := catalog.Default().Lookup(s.Entity)
	if err != nil {
		return subscriber.Subscription{}, err
	}
	sub := subscriber.Subscription{
		Name: s.Name, Client: s.Client, Operation: op, Mode: subscriber.Mode(s.Mode),
		Mailboxes: s.Mailboxes.List, Members: subscriber.Members{Group: s.Mailboxes.Group, Users: s.Mailboxes.Users},
		Path: s.Path, Folders: s.Folders, Query: s.Query, Headers: s.Headers, Payload: s.Payload, RequestSource: s.RequestTransform,
		OnePage: !s.Paginate, Every: s.Every.Fixed.Std(), Start: subscriber.Start{All: s.Start.All, From: s.Start.At},
		Schedule: subscriber.Schedule{Min: s.Every.Min.Std(), Max: s.Every.Max.Std(), Cron: s.Cron},
		Changes:  s.Changes, TTL: s.TTL.Std(), ImmutableIDs: s.ImmutableIDs,
		Hydrate: s.Hydrate, Attachments: subscriber.Attachments(s.Attachments), MIME: s.MIME,
	}
	if !op.NeedsMailbox() {
		sub.Mailboxes = nil // the configuration has "-"
	}
	if s.Window != nil {
		sub.Window = subscriber.Window{Back: s.Window.Back.Std(), Ahead: s.Window.Ahead.Std(), Step: s.Window.Step.Std()}
	}
	if client := c.Client(s.Client); client != nil {
		sub.Tenant = client.Tenant
	}
	var problems []error
	if sub.RequestTransform, err = compile(s.RequestTransform); err != nil {
		problems = append(problems, fmt.Errorf("request_transform: %w", err))
	}
	if sub.Transform, err = compile(s.Transform); err != nil {
		problems = append(problems, fmt.Errorf("transform: %w", err))
	}
	return sub, errors.Join(problems...)
}

// compile compiles a jq program; "" is none.
func compile(source string) (*xform.Program, error) {
	if source == "" {
		return nil, nil //nolint:nilnil // no program is a good answer here
	}
	return xform.Compile(source)
}
