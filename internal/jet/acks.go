package jet

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// ackTries is how often an acknowledgment is sent until the server says that
	// it has it, and ackAgain how long after one that was lost the next one is
	// sent; longer each time.
	ackTries = 4
	ackAgain = 250 * time.Millisecond
)

// acks acknowledge messages for good: only an answered acknowledgment survives a
// server that is killed at once. Many are on their way at a time, and nobody waits
// for any of them but end. One that is lost is sent again for a while, because the
// message would come again otherwise.
type acks struct {
	conn   *Conn
	failed func(m jetstream.Msg, err error)
	text   []byte         // of each
	open   sync.WaitGroup // sent, and not answered
}

func newAcks(c *Conn, failed func(m jetstream.Msg, err error)) *acks {
	return &acks{conn: c, failed: failed, text: []byte(ackText)}
}

// ack is an acknowledgment on its way.
type ack struct {
	letter

	acks *acks
	of   jetstream.Msg
	try  int
}

// done acknowledges a message and does not wait for the answer.
func (a *acks) done(m jetstream.Msg) {
	a.open.Add(1)
	one := &ack{acks: a, of: m, try: 1}
	one.to, one.patient, one.m.Subject, one.m.Data = one, true, m.Reply(), a.text
	a.conn.post.send(&one.letter)
}

// answered implements addressee.
func (one *ack) answered(_ *nats.Msg, err error) {
	a := one.acks
	switch {
	case err != nil && one.try < ackTries:
		time.AfterFunc(time.Duration(one.try)*ackAgain, func() {
			one.try++
			a.conn.post.send(&one.letter)
		})
		return
	case err != nil:
		a.failed(one.of, err)
	}
	a.open.Done()
}

// ackText is an acknowledgment.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference#acknowledging-messages
const ackText = "+ACK"

// end waits until every acknowledgment was answered, or given up.
func (a *acks) end() { a.open.Wait() }
