package jet

import (
	"testing"
	"testing/synctest"
	"time"
)

// busy stores so many messages each by itself, a number of them at a time, of
// which one is answered after each interval.
func busy(p *pace, messages, together int, every time.Duration) {
	var sent []time.Time
	send := func() {
		p.begin()
		sent = append(sent, time.Now())
	}
	for range together {
		send()
	}
	for range messages {
		time.Sleep(every)
		p.end(sent[0], true)
		sent = sent[1:]
		send()
	}
	for _, at := range sent {
		p.end(at, false)
	}
}

func TestWhetherABatchIsCheaperIsMeasured(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		if !p.cheaper(16) || p.cheaper(17) {
			t.Error("before anything was measured 16 messages go each by itself, and no more")
		}
		busy(p, 200, 64, 30*time.Microsecond)
		if !p.cheaper(100) {
			t.Errorf("on a server that syncs rarely a hundred go each by itself: %v against %v", p.single, p.batch)
		}
		busy(p, 200, 64, 2*time.Millisecond)
		if p.cheaper(4) {
			t.Errorf("on one that syncs slowly few do: %v against %v", p.single, p.batch)
		}
		for range 100 {
			p.batched(40 * time.Millisecond)
		}
		if !p.cheaper(20) {
			t.Errorf("where batches are dear, too, more do: %v against %v", p.single, p.batch)
		}
		for range 1000 {
			p.batched(5 * time.Millisecond)
		}
		if !p.cheaper(64) {
			t.Errorf("after many batches single messages are not tried again: %v against %v", p.single, p.batch)
		}
	})
}

// TestHowLongOneAloneIsOnItsWayTellsNothing: a server that is far away, or busy,
// is not one for which many cost much.
func TestHowLongOneAloneIsOnItsWayTellsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		busy(p, 200, 64, 30*time.Microsecond)
		was := p.single
		for range 1000 {
			busy(p, 1, 1, 20*time.Millisecond)
		}
		if p.single != was {
			t.Errorf("from %v to %v", was, p.single)
		}
	})
}

func TestMessagesOnTheirWayCountWithThoseToCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		for range 16 {
			p.begin()
		}
		if p.cheaper(1) {
			t.Error("the seventeenth goes by itself")
		}
		p.end(time.Now(), false)
		if p.single != firstSingle || !p.cheaper(1) {
			t.Errorf("one that was given up counts as measured: %v", p.single)
		}
	})
}
