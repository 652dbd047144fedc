package jet

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// sized is a message of which only its length is asked.
type sized struct {
	jetstream.Msg

	bytes int
}

func (m sized) Data() []byte { return make([]byte, m.bytes) }

func TestADeadlineMovesOnWhileTheServerHearsOfTheMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const ackWait = 30 * time.Second
		s := newHoldings(ackWait)
		asked := time.Now()
		time.Sleep(5 * time.Second)
		heard, unheard := s.add(sized{bytes: 10}, asked), s.add(sized{bytes: 200}, time.Now())
		if !heard.deadline().Equal(asked.Add(ackWait)) {
			t.Errorf("%v after it was asked for, want %v", heard.deadline().Sub(asked), ackWait)
		}
		before := unheard.deadline()
		time.Sleep(time.Second)
		s.each(func(m jetstream.Msg) bool { return len(m.Data()) == 10 })
		if !heard.deadline().Equal(time.Now().Add(ackWait)) || !unheard.deadline().Equal(before) {
			t.Errorf("%v and %v", time.Until(heard.deadline()), time.Until(unheard.deadline()))
		}
		heard.release()
		time.Sleep(time.Second)
		if !heard.deadline().Equal(time.Now()) {
			t.Errorf("a message that is not ours is due in %v", time.Until(heard.deadline()))
		}
		if messages, bytes := s.size(); messages != 1 || bytes != 200 {
			t.Errorf("%d messages of %d bytes", messages, bytes)
		}
	})
}

func TestMessagesAreReleasedInAnyOrder(t *testing.T) {
	t.Parallel()
	s := newHoldings(time.Second)
	var all []*holding
	for i := range 6 {
		all = append(all, s.add(sized{bytes: 1 << i}, time.Now()))
	}
	for i, at := range []int{0, 5, 2, 3, 1, 4} {
		all[at].release()
		seen := 0
		s.each(func(m jetstream.Msg) bool { seen += len(m.Data()); return true })
		if messages, bytes := s.size(); messages != 5-i || bytes != seen {
			t.Fatalf("%d messages of %d bytes, seen %d", messages, bytes, seen)
		}
	}
}
