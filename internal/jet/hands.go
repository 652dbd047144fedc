package jet

import (
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"
)

// hands run the work on messages, each in a goroutine. One that has ended its
// message takes the next: a new one for each would have to grow its stack each
// time. There are as many as are needed, of which a bounded number stays.
type hands struct {
	work func(m jetstream.Msg)
	most int32
	next chan jetstream.Msg
	idle atomic.Int32
	all  sync.WaitGroup
}

func newHands(most int, work func(m jetstream.Msg)) *hands {
	return &hands{work: work, most: int32(min(most, 1<<20)), next: make(chan jetstream.Msg)}
}

// give has a message worked on.
func (h *hands) give(m jetstream.Msg) {
	select {
	case h.next <- m:
	default:
		h.all.Go(func() { h.run(m) })
	}
}

func (h *hands) run(m jetstream.Msg) {
	for more := true; more; {
		h.work(m)
		if h.idle.Add(1) > h.most {
			h.idle.Add(-1)
			return
		}
		m, more = <-h.next
		h.idle.Add(-1)
	}
}

// wait waits until all work has ended. Nothing may be given any more.
func (h *hands) wait() {
	close(h.next)
	h.all.Wait()
}
