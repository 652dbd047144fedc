package jet

import (
	"bytes"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// postLook is how often is looked for answers that will not come any more.
const postLook = 250 * time.Millisecond

// post sends messages of which each is answered. Those that come at the same time
// go out together, and who waits for an answer needs neither a timer nor a
// subscription of its own. It begins with the first message.
type post struct {
	conn  *Conn
	begin sync.Once
	ready error // why it could not begin
	sub   *nats.Subscription

	prefix string // of the subjects of the answers
	out    *outbox
	all    sync.WaitGroup

	mu     sync.Mutex
	last   uint64
	open   map[uint64]*letter
	closed bool
}

// letter is a message of which the server has said nothing yet. Neither it nor
// what it has may be changed before its answer is there.
type letter struct {
	m  nats.Msg
	to addressee
	// patient says that nothing but the letter's own end waits for the answer, so that
	// under load it may wait longer for others that leave with it.
	patient bool

	number  uint64
	sent    time.Time // zero: it is in the outbox
	session uint64    // the connection over which it was sent
}

// addressee takes the answer to its letter, or why there will be none. It is
// called once for each time that the letter is sent, and must not wait for
// anything.
type addressee interface {
	answered(m *nats.Msg, err error)
}

func newPost(c *Conn) *post {
	return &post{conn: c, out: newOutbox(), open: map[uint64]*letter{}}
}

// send sends a letter, soon.
func (p *post) send(one *letter) {
	p.begin.Do(p.start)
	p.mu.Lock()
	if p.ready != nil || p.closed {
		p.mu.Unlock()
		one.to.answered(nil, nats.ErrConnectionClosed)
		return
	}
	p.last++
	var reply [96]byte
	one.number, one.sent = p.last, time.Time{}
	one.m.Reply = string(strconv.AppendUint(append(reply[:0], p.prefix...), one.number, 36))
	p.open[one.number] = one
	p.mu.Unlock()
	p.out.put(one)
}

func (p *post) start() {
	p.prefix = p.conn.nc.NewInbox() + "."
	if p.sub, p.ready = p.conn.nc.Subscribe(p.prefix+"*", p.answered); p.ready == nil {
		p.all.Go(func() { p.out.run(p.flush, p.giveUp) })
	}
}

// close ends it. What has no answer yet gets none.
func (p *post) close() {
	p.begin.Do(func() { p.ready = nats.ErrConnectionClosed })
	p.mu.Lock()
	was := p.closed
	p.closed = true
	open := p.open
	p.open = map[uint64]*letter{}
	p.mu.Unlock()
	if was || p.sub == nil {
		return
	}
	close(p.out.stop)
	p.all.Wait()
	_ = p.sub.Unsubscribe() // fails only with the connection
	for _, one := range open {
		one.to.answered(nil, nats.ErrConnectionClosed)
	}
}

// flush sends a group of letters: the client puts them into its buffer, which is
// written once.
func (p *post) flush(group []*letter) {
	session, now := p.conn.current(p.conn.nc).number, time.Now()
	p.mu.Lock()
	for _, one := range group {
		one.sent, one.session = now, session
	}
	p.mu.Unlock()
	for _, one := range group {
		number := one.number // with the answer the letter is its sender's again
		if err := p.conn.nc.PublishMsg(&one.m); err != nil {
			p.end(number, nil, err)
		}
	}
}

// end gives a letter its answer.
func (p *post) end(number uint64, m *nats.Msg, err error) {
	p.mu.Lock()
	one := p.open[number]
	delete(p.open, number)
	p.mu.Unlock()
	if one != nil {
		one.to.answered(m, err)
	}
}

// answered takes an answer.
func (p *post) answered(m *nats.Msg) {
	number, err := strconv.ParseUint(m.Subject[len(p.prefix):], 36, 64)
	if err != nil {
		return // not one of ours
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		p.end(number, nil, jetstream.ErrNoStreamResponse)
		return
	}
	p.end(number, m, nil)
}

// giveUp ends what went over a connection that is lost, and what takes too long.
// Nothing is sent meanwhile.
func (p *post) giveUp() {
	session := p.conn.current(p.conn.nc).number
	lost, late := map[uint64]error{}, time.Now().Add(-p.conn.o.Timeout)
	p.mu.Lock()
	for number, one := range p.open {
		switch {
		case one.sent.IsZero():
		case one.session != session:
			lost[number] = errLost
		case one.sent.Before(late):
			lost[number] = errNoAnswer
		}
	}
	p.mu.Unlock()
	for number, err := range lost {
		p.end(number, nil, err)
	}
}

// storedAt reads the answer to a message for a stream.
func storedAt(data []byte) (uint64, error) {
	if seq, ok := plainAck(data); ok {
		return seq, nil
	}
	var ack struct {
		jetstream.PubAck
		Error *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(data, &ack); {
	case err != nil || ack.Error == nil && ack.Stream == "":
		return 0, jetstream.ErrInvalidJSAck
	case ack.Error != nil:
		return 0, ack.Error
	default:
		return ack.Sequence, nil
	}
}

// plainAck reads an answer as the server writes most of them, {"stream":"S",
// "seq":1}; all others are not ok.
func plainAck(data []byte) (uint64, bool) {
	rest, ok := bytes.CutPrefix(data, []byte(`{"stream":"`))
	if !ok {
		return 0, false
	}
	_, rest, ok = bytes.Cut(rest, []byte(`",`))
	if !ok {
		return 0, false
	}
	digits, ok := bytes.CutPrefix(bytes.TrimLeft(rest, " "), []byte(`"seq":`))
	if !ok {
		return 0, false
	}
	digits, ok = bytes.CutSuffix(digits, []byte("}"))
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(string(digits), 10, 64)
	return seq, err == nil && seq > 0
}
