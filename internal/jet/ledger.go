package jet

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/fault"
)

// Ledger keeps one record for each command: how far it came. Get it with
// [Conn.Ledger].
type Ledger struct{ conn *Conn }

// Ledger returns the ledger.
func (c *Conn) Ledger() *Ledger { return &Ledger{c} }

// Load returns a record and its sequence, nil and 0 where there is none. It
// reads from the leader, so the record is never old.
func (l *Ledger) Load(ctx context.Context, id string) ([]byte, uint64, error) {
	subject, err := l.conn.names.Ledger(id)
	if err != nil {
		return nil, 0, err
	}
	msg, err := l.conn.last(ctx, l.conn.names.LedgerStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, mark(ctx, err, "load ledger record %s", id)
	}
	return msg.Data, msg.Sequence, nil
}

// Save stores a record in place of the one with sequence after (zero: where
// there is none) and returns its sequence. [ErrConflict] (kind Retry) says that
// the record is another by now. Any other error leaves open whether it was
// saved: load it again. Records that are saved at the same time share a batch
// where that is cheaper.
func (l *Ledger) Save(ctx context.Context, id string, record []byte, after uint64) (uint64, error) {
	subject, err := l.conn.names.Ledger(id)
	if err != nil {
		return 0, err
	}
	seq, err := l.conn.ledger.do(newWrite(ctx, nil, Msg{Subject: subject, Data: record}, after)) //nolint:contextcheck // the write has ours
	if errors.Is(err, ErrFenced) {
		return 0, &fault.Error{Kind: fault.Retry, Code: "conflict", Err: ErrConflict}
	}
	if err != nil {
		return seq, mark(ctx, err, "save ledger record %s", id)
	}
	return seq, nil
}

// Results keeps the outcome of each command for 72 hours. Get it with
// [Conn.Results].
type Results struct{ conn *Conn }

// Results returns the outcomes.
func (c *Conn) Results() *Results { return &Results{c} }

// Outcome is a stored outcome.
type Outcome struct {
	Header Header
	Data   []byte
	Time   time.Time
}

// Put stores an outcome. Another one of the same command replaces it. Outcomes
// that are stored at the same time share a batch where that is cheaper.
func (r *Results) Put(ctx context.Context, id string, header Header, data []byte) error {
	return r.Begin(ctx, id, header, data)()
}

// Begin begins to store an outcome, as [Results.Put] does. What it returns is called
// once, and waits until it is stored or ctx ends. What was given to it may not be
// changed before.
func (r *Results) Begin(ctx context.Context, id string, header Header, data []byte) (stored func() error) {
	subject, err := r.conn.names.Result(id)
	if err != nil {
		return func() error { return err }
	}
	w := newWrite(ctx, nil, Msg{Subject: subject, Header: header, Data: data}, 0)
	w.loose = true
	r.conn.results.begin(w)
	return func() error {
		if _, err := r.conn.results.end(w); err != nil { //nolint:contextcheck // w has ours
			return mark(ctx, err, "store outcome of %s", id)
		}
		return nil
	}
}

// Get returns an outcome; [ErrNotFound] says that there is none (yet).
func (r *Results) Get(ctx context.Context, id string) (Outcome, error) {
	subject, err := r.conn.names.Result(id)
	if err != nil {
		return Outcome{}, err
	}
	msg, err := r.conn.last(ctx, r.conn.names.ResultStream(), subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Outcome{}, fault.New(fault.Retry, "outcome of %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return Outcome{}, mark(ctx, err, "read outcome of %s", id)
	}
	return Outcome{Header: stripped(msg.Header), Data: msg.Data, Time: msg.Time}, nil
}

// Wait returns an outcome as soon as there is one. Only ctx and errors that no
// waiting cures end it earlier.
func (r *Results) Wait(ctx context.Context, id string) (Outcome, error) {
	subject, err := r.conn.names.Result(id)
	if err != nil {
		return Outcome{}, err
	}
	// The live copy wakes us; the stored one is what counts. Asking again from
	// time to time covers a copy that was missed while reconnecting.
	came := make(chan *nats.Msg, 1)
	sub, err := r.conn.nc.ChanSubscribe(subject, came)
	if err != nil {
		return Outcome{}, mark(ctx, err, "wait for outcome of %s", id)
	}
	defer sub.Unsubscribe() //nolint:errcheck // fails only with the connection
	ticker := time.NewTicker(2 * time.Second)
	defer ticker.Stop()
	for {
		outcome, err := r.Get(ctx, id)
		if err == nil || fault.KindOf(err) == fault.Fatal || ctx.Err() != nil {
			return outcome, err
		}
		select {
		case <-came:
			// The copy is sent while the message is being stored.
			if wait(ctx, nil, 5*time.Millisecond) != nil {
				return Outcome{}, mark(ctx, ctx.Err(), "wait for outcome of %s", id)
			}
		case <-ticker.C:
		case <-ctx.Done():
			return Outcome{}, mark(ctx, ctx.Err(), "wait for outcome of %s", id)
		}
	}
}

// Reply sends a copy of an outcome to a subject that the sender asked for. It
// is sent once, to whoever listens. Which subjects may be asked for is the
// caller's to check; subjects of the server and of the connector are refused.
func (c *Conn) Reply(ctx context.Context, subject string, header Header, data []byte) error {
	if err := checkTokens(subject); err != nil {
		return err
	}
	if strings.HasPrefix(subject, "$") || strings.HasPrefix(subject, c.names.subject("")) {
		return badSubject("%q is no subject to reply to", subject)
	}
	m := Msg{Subject: subject, Header: header, Data: data}.nats()
	return mark(ctx, c.nc.PublishMsg(m), "reply to %s", subject)
}
