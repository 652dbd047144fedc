package jet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// StreamStatus is what a stream holds.
type StreamStatus struct {
	Name string
	// Missing says that the stream does not exist.
	Missing  bool
	Messages uint64
	Bytes    uint64
	// MaxBytes is the stream's own bound, zero where it has none: the account or
	// the disk bounds it then.
	MaxBytes uint64
	// First is when the oldest message was stored; zero where there is none. Last
	// is the sequence of the newest one ever.
	First     time.Time
	Last      uint64
	Consumers []ConsumerStatus
}

// ConsumerStatus is where a shared consumer stands.
type ConsumerStatus struct {
	Name string
	// Pending were never delivered; Held are delivered and unanswered, those
	// given back with a delay included; Redelivered were delivered more than
	// once; Waiting are pulls that wait for a message.
	Pending     uint64
	Held        int
	Redelivered int
	Waiting     int
}

// Server names what the connection leads to.
type Server struct {
	// Address is as configured, without a password; "(embedded)" for a server
	// in this process.
	Address string
	Name    string
	Version string
}

// Server returns what the connection leads to; Name and Version are empty
// without a connection.
func (c *Conn) Server() Server {
	return Server{Address: c.target(), Name: c.nc.ConnectedServerName(), Version: c.nc.ConnectedServerVersion()}
}

// Status returns what each of the connector's streams holds.
func (c *Conn) Status(ctx context.Context) ([]StreamStatus, error) {
	var list []StreamStatus
	consumers := c.consumerConfigs()
	for _, config := range c.streamConfigs() {
		status := StreamStatus{Name: config.Name}
		err := c.read(ctx, func(ctx context.Context) error {
			stream, err := c.js.Stream(ctx, config.Name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				status.Missing = true
				return nil
			}
			if err != nil {
				return err
			}
			state := stream.CachedInfo().State
			status.Messages, status.Bytes, status.Last = state.Msgs, state.Bytes, state.LastSeq
			status.MaxBytes = uint64(max(stream.CachedInfo().Config.MaxBytes, 0))
			if state.Msgs > 0 {
				status.First = state.FirstTime
			}
			shared, ok := consumers[config.Name]
			if !ok {
				return nil
			}
			consumer, err := stream.Consumer(ctx, shared.Durable)
			if err != nil {
				return err
			}
			info := consumer.CachedInfo()
			status.Consumers = append(status.Consumers, ConsumerStatus{
				Name: info.Name, Pending: info.NumPending, Held: info.NumAckPending, Redelivered: info.NumRedelivered, Waiting: info.NumWaiting,
			})
			return nil
		})
		if err != nil {
			return nil, mark(ctx, err, "look at stream %s", config.Name)
		}
		list = append(list, status)
	}
	return list, nil
}

// counts returns how many messages a stream has by subject.
func (c *Conn) counts(ctx context.Context, stream, filter string) (map[string]uint64, error) {
	var counts map[string]uint64
	err := c.read(ctx, func(ctx context.Context) error {
		s, err := c.stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err == nil {
			counts = info.State.Subjects
		}
		return err
	})
	return counts, err
}
