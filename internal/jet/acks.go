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
	open   sync.WaitGroup // sent, and not answered
}

// done acknowledges a message and does not wait for the answer.
func (a *acks) done(m jetstream.Msg) {
	a.open.Add(1)
	a.send(m, 1)
}

// send sends an acknowledgment for the n-th time.
func (a *acks) send(m jetstream.Msg, n int) {
	a.conn.post.send(&nats.Msg{Subject: m.Reply(), Data: []byte(ackText)}, func(_ *nats.Msg, _ time.Time, err error) {
		switch {
		case err != nil && n < ackTries:
			time.AfterFunc(time.Duration(n)*ackAgain, func() { a.send(m, n+1) })
			return
		case err != nil:
			a.failed(m, err)
		}
		a.open.Done()
	})
}

// ackText is an acknowledgment.
// https://docs.nats.io/reference/reference-protocols/nats_api_reference#acknowledging-messages
const ackText = "+ACK"

// end waits until every acknowledgment was answered, or given up.
func (a *acks) end() { a.open.Wait() }
