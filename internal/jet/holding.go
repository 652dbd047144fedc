package jet

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// holding is a message that was delivered here and is not answered yet. It is
// asked several times for each message, by who has it in hand, so it takes no lock
// for that.
type holding struct {
	m  jetstream.Msg
	of *holdings
	// since is the moment from which its AckWait counts at the earliest, as the time
	// after the holdings' beginning, or released.
	since atomic.Int64
	at    int // its place among all
}

// released says that a message is not ours any more.
const released = math.MinInt64

// holdings are all messages that are held.
type holdings struct {
	ackWait time.Duration
	began   time.Time

	mu    sync.Mutex
	all   []*holding
	bytes int
}

func newHoldings(ackWait time.Duration) *holdings {
	return &holdings{ackWait: ackWait, began: time.Now()}
}

// add keeps a message alive until its release. asked is when it was asked for: it
// cannot have been delivered before, however long this process was frozen between
// the delivery and now.
func (s *holdings) add(m jetstream.Msg, asked time.Time) *holding {
	h := &holding{m: m, of: s}
	h.since.Store(int64(asked.Sub(s.began)))
	s.mu.Lock()
	defer s.mu.Unlock()
	h.at = len(s.all)
	s.all = append(s.all, h)
	s.bytes += len(m.Data())
	return h
}

// size is how many messages are held, and how long they are together.
func (s *holdings) size() (messages, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.bytes
}

// each calls f with each message that is held. None is released meanwhile: an
// InProgress that overtakes a nak would replace its delay by the AckWait. f reports
// whether the server has heard that it is in hand.
func (s *holdings) each(f func(m jetstream.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.all {
		if now := time.Now(); f(h.m) {
			h.since.Store(int64(now.Sub(s.began)))
		}
	}
}

// deadline returns the moment from which the server may give the message to
// somebody else, as far as this process can know.
func (h *holding) deadline() time.Time {
	since := h.since.Load()
	if since == released {
		return time.Now()
	}
	return h.of.began.Add(time.Duration(since) + h.of.ackWait)
}

// release ends it. It is called once.
func (h *holding) release() {
	s := h.of
	s.mu.Lock()
	defer s.mu.Unlock()
	h.since.Store(released)
	last := len(s.all) - 1
	s.all[h.at] = s.all[last]
	s.all[h.at].at = h.at
	s.all[last] = nil
	s.all = s.all[:last]
	s.bytes -= len(h.m.Data())
}
