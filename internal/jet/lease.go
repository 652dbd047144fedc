package jet

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// leaseTimeout bounds one request about the lease: what is not renewed within
// ten seconds is not used.
const leaseTimeout = 3 * time.Second

// TokenLease is the record by which processes agree on the owner of the tokens.
// Get it with [Conn.TokenLease]. It is kept for ever, by one message on a stream
// of its own: how long ago it was stored says whether its owner lives, and an
// expiry by the server would take the epoch with it. Its methods may be called
// at the same time, and fail at once where there is no connection.
type TokenLease struct{ conn *Conn }

// TokenLease returns the lease of this prefix.
func (c *Conn) TokenLease() TokenLease { return TokenLease{c} }

// Load returns the record with its revision, zero where there is none, and its
// age by the server's clock. It makes the stream where it is missing and may be
// made.
func (l TokenLease) Load(ctx context.Context) (record []byte, revision uint64, age time.Duration, err error) {
	c := l.conn
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	if !c.nc.IsConnected() {
		return nil, 0, 0, mark(ctx, errNotConnected, "read the lease of the token owner")
	}
	name := c.names.TokenStream()
	m, err := c.last(ctx, name, c.names.tokenOwner())
	if c.o.ManageStreams && (errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrNoStreamResponse)) {
		// The roles that make all streams start after this one.
		if err = c.makeTokenStream(ctx); err == nil {
			m, err = c.last(ctx, name, c.names.tokenOwner())
		}
	}
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, 0, nil
	}
	if err != nil {
		return nil, 0, 0, mark(ctx, err, "read the lease of the token owner")
	}
	var now time.Time
	err = c.read(ctx, func(ctx context.Context) error {
		stream, err := c.stream(ctx, name)
		if err != nil {
			return err
		}
		info, err := stream.Info(ctx)
		if err == nil {
			now = info.TimeStamp
		}
		return err
	})
	if err != nil {
		return nil, 0, 0, mark(ctx, err, "read the server's clock")
	}
	return m.Data, m.Sequence, max(0, now.Sub(m.Time)), nil
}

func (c *Conn) makeTokenStream(ctx context.Context) error {
	for _, want := range c.streamConfigs() {
		if want.Name == c.names.TokenStream() {
			_, err := c.step(ctx, want.Name, func(ctx context.Context) ([]string, error) { return c.ensureStream(ctx, want) })
			return err
		}
	}
	return nil
}

// Store replaces the record with a revision, zero where there is none.
// [ErrConflict] says that there is another one; any other error leaves open
// whether it was stored.
func (l TokenLease) Store(ctx context.Context, record []byte, after uint64) (revision uint64, err error) {
	c := l.conn
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	if !c.nc.IsConnected() {
		return 0, mark(ctx, errNotConnected, "renew the lease of the token owner")
	}
	m := Msg{Subject: c.names.tokenOwner(), Data: record}
	ack, err := c.publish(ctx, m.nats(), jetstream.WithExpectStream(c.names.TokenStream()),
		jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	switch {
	case wrongSequence(err):
		return 0, mark(ctx, ErrConflict, "renew the lease of the token owner")
	case err != nil:
		return 0, mark(ctx, err, "renew the lease of the token owner")
	}
	return ack.Sequence, nil
}

// Watch calls changed, one call at a time, with every record that is stored from
// now on while the connection lasts, until stop is called.
func (l TokenLease) Watch(changed func(record []byte)) (stop func(), err error) {
	sub, err := l.conn.nc.Subscribe(l.conn.names.tokenOwner(), func(m *nats.Msg) { changed(m.Data) })
	if err != nil {
		return nil, mark(context.Background(), err, "watch the lease of the token owner")
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only with the connection
}
