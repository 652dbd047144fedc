package jet

import (
	"sync"
	"sync/atomic"
)

// hands run the work on messages, each in a goroutine. One that has ended its
// message takes the next: a new one for each would have to grow its stack each
// time. There are as many as are needed, of which a bounded number stays.
type hands struct {
	work func(h *holding)
	most int32
	next chan *holding
	idle atomic.Int32
	all  sync.WaitGroup
}

func newHands(most int, work func(h *holding)) *hands {
	return &hands{work: work, most: int32(min(most, 1<<20)), next: make(chan *holding)}
}

// give has a message worked on.
func (h *hands) give(one *holding) {
	select {
	case h.next <- one:
	default:
		h.all.Go(func() { h.run(one) })
	}
}

func (h *hands) run(one *holding) {
	for more := true; more; {
		h.work(one)
		if h.idle.Add(1) > h.most {
			h.idle.Add(-1)
			return
		}
		one, more = <-h.next
		h.idle.Add(-1)
	}
}

// wait waits until all work has ended. Nothing may be given any more.
func (h *hands) wait() {
	close(h.next)
	h.all.Wait()
}
