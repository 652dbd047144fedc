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

const (
	// corkFrom is how many messages must be on their way for others to wait for
	// company, and corkFor how long they do. Each write to the connection, and each
	// read at the other end, costs as much as a few messages; without load nobody
	// waits.
	corkFrom = 16
	corkFor  = 500 * time.Microsecond
	// postLook is how often is looked for answers that will not come any more.
	postLook = 250 * time.Millisecond
)

// post sends messages of which each is answered. Those that come at the same time
// go out together, and who waits for an answer needs neither a timer nor a
// subscription of its own. It begins with the first message.
type post struct {
	conn  *Conn
	begin sync.Once
	ready error // why it could not begin
	sub   *nats.Subscription

	prefix string // of the subjects of the answers
	wake   chan struct{}
	stop   chan struct{}
	all    sync.WaitGroup

	mu     sync.Mutex
	last   uint64
	queue  []*letter
	open   map[uint64]*letter
	closed bool
}

// letter is a message of which the server has said nothing yet.
type letter struct {
	number  uint64
	m       *nats.Msg
	sent    time.Time // zero: it is in the queue
	session uint64    // the connection over which it was sent
	answer  answerFunc
}

// answerFunc takes the answer to a message that was sent then, or why there will
// be none. It is called once, and must not wait for anything.
type answerFunc func(m *nats.Msg, sent time.Time, err error)

func newPost(c *Conn) *post {
	return &post{conn: c, wake: make(chan struct{}, 1), stop: make(chan struct{}), open: map[uint64]*letter{}}
}

// send sends a message, soon. Neither it nor its header may be changed before the
// answer is there.
func (p *post) send(m *nats.Msg, answer answerFunc) {
	p.begin.Do(p.start)
	p.mu.Lock()
	if p.ready != nil || p.closed {
		p.mu.Unlock()
		answer(nil, time.Time{}, nats.ErrConnectionClosed)
		return
	}
	p.last++
	one := &letter{number: p.last, m: m, answer: answer}
	m.Reply = p.prefix + strconv.FormatUint(one.number, 36)
	p.open[one.number] = one
	p.queue = append(p.queue, one)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (p *post) start() {
	p.prefix = p.conn.nc.NewInbox() + "."
	if p.sub, p.ready = p.conn.nc.Subscribe(p.prefix+"*", p.answered); p.ready == nil {
		p.all.Go(p.run)
	}
}

// close ends it. What has no answer yet gets none.
func (p *post) close() {
	p.begin.Do(func() { p.ready = nats.ErrConnectionClosed })
	p.mu.Lock()
	was := p.closed
	p.closed = true
	open := p.open
	p.open, p.queue = map[uint64]*letter{}, nil
	p.mu.Unlock()
	if was || p.sub == nil {
		return
	}
	close(p.stop)
	p.all.Wait()
	_ = p.sub.Unsubscribe() // fails only with the connection
	for _, one := range open {
		one.answer(nil, one.sent, nats.ErrConnectionClosed)
	}
}

func (p *post) run() {
	ticker := time.NewTicker(postLook)
	defer ticker.Stop()
	cork := time.NewTimer(time.Hour)
	defer cork.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-ticker.C:
			p.giveUp()
		case <-p.wake:
			if p.busy() {
				cork.Reset(corkFor)
				select {
				case <-cork.C:
				case <-p.stop:
					return
				}
			}
			p.flush()
		}
	}
}

// busy reports whether there is company to wait for.
func (p *post) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) >= corkFrom
}

// flush sends what is in the queue.
func (p *post) flush() {
	session, now := p.conn.current(p.conn.nc).number, time.Now()
	p.mu.Lock()
	queue := p.queue
	p.queue = nil
	for _, one := range queue {
		one.sent, one.session = now, session
	}
	p.mu.Unlock()
	for _, one := range queue {
		if err := p.conn.nc.PublishMsg(one.m); err != nil {
			p.end(one.number, nil, err)
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
		one.answer(m, one.sent, err)
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
func (p *post) giveUp() {
	session := p.conn.current(p.conn.nc).number
	lost, late := map[uint64]bool{}, time.Now().Add(-p.conn.o.Timeout)
	p.mu.Lock()
	for number, one := range p.open {
		switch {
		case one.sent.IsZero():
		case one.session != session:
			lost[number] = true
		case one.sent.Before(late):
			lost[number] = false
		}
	}
	p.mu.Unlock()
	for number, lost := range lost {
		if lost {
			p.end(number, nil, errLost)
		} else {
			p.end(number, nil, errNoAnswer)
		}
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
	_, rest, ok = bytes.Cut(rest, []byte(`"`))
	if !ok {
		return 0, false
	}
	digits, ok := bytes.CutPrefix(bytes.ReplaceAll(rest, []byte(" "), nil), []byte(`,"seq":`))
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
