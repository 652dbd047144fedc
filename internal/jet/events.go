package jet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Event is a stored event as a listener sees it.
type Event struct {
	Subject  string
	Sequence uint64
	Time     time.Time
	// Header is without what only the batch needed.
	Header Header
	Data   []byte
}

// Events calls f with each event that matches a filter of [Names.Events], in
// the order of the stream, from a time on and then as they come; a zero time
// means only new ones. It ends with nil when f returns false or ctx ends. It
// leaves nothing behind in NATS, and starts again by itself where the server
// did.
func (c *Conn) Events(ctx context.Context, filter string, since time.Time, f func(Event) bool) error {
	config := jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}, DeliverPolicy: jetstream.DeliverNewPolicy}
	if !since.IsZero() {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	var iterator jetstream.MessagesContext
	err := c.do(ctx, func(ctx context.Context) error {
		consumer, err := c.js.OrderedConsumer(ctx, c.names.EventsStream(), config)
		if err == nil {
			iterator, err = consumer.Messages()
		}
		return err
	})
	if err != nil {
		return mark(ctx, err, "listen to %s", filter)
	}
	defer iterator.Stop()
	for {
		m, err := iterator.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil // told to stop
		}
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			continue // the iterator makes a new consumer behind the last message
		}
		if err != nil {
			return mark(ctx, err, "listen to %s", filter)
		}
		meta, err := m.Metadata()
		if err != nil {
			return mark(ctx, err, "listen to %s", filter)
		}
		e := Event{Subject: m.Subject(), Sequence: meta.Sequence.Stream, Time: meta.Timestamp, Header: stripped(m.Headers()), Data: m.Data()}
		if !f(e) {
			return nil
		}
	}
}
