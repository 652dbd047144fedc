package jet_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/jet"
)

func sendMail(c *jet.Conn) string { return must(c.Names().Publish("send-mail")) }

func TestACommandIsDeliveredUntilItIsDone(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	before := time.Now().Add(-time.Second)
	sent, err := c.Commands().Publish(t.Context(), sendMail(c), jet.Header{"Nats-Msg-Id": {"key-1"}, "Outlook-Expires": {"x"}}, []byte(`{"a":1}`))
	if err != nil || sent != (jet.Published{Stream: "OUTLOOK_PUBLISH", Sequence: 1}) {
		t.Fatalf("%+v, %v", sent, err)
	}
	again, err := c.Commands().Publish(t.Context(), sendMail(c), jet.Header{"Nats-Msg-Id": {"key-1"}}, nil)
	if err != nil || !again.Duplicate || again.Sequence != 1 {
		t.Errorf("the same key again: %+v, %v", again, err)
	}

	deliveries := make(chan jet.Message, 10)
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 4, func(_ context.Context, m jet.Message) jet.Verdict {
			deliveries <- m
			if m.Delivered < 3 {
				return jet.Again(50 * time.Millisecond)
			}
			return jet.Ack()
		})
	})
	for n := uint64(1); n <= 3; n++ {
		m := <-deliveries
		if m.Subject != sendMail(c) || m.Stream != "OUTLOOK_PUBLISH" || m.Sequence != 1 || string(m.Data) != `{"a":1}` ||
			m.Header["Nats-Msg-Id"][0] != "key-1" || m.Header["Outlook-Expires"][0] != "x" || m.Delivered != n || m.Fresh != (n == 1) ||
			m.Received.Before(before) || m.Received.After(time.Now()) {
			t.Errorf("delivery %d: %+v", n, m)
		}
	}
	eventually(t, "the queue is empty", func() bool { return publishStatus(t, c).Messages == 0 })
	if len(deliveries) != 0 {
		t.Errorf("%d deliveries after the verdict", len(deliveries))
	}
}

// TestNobodyKnowsWhoHadACommandBefore stores commands, one of them in a lane, and
// has the server go away for a moment before they are delivered.
func TestNobodyKnowsWhoHadACommandBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	first := func() map[string]bool {
		fresh := map[string]bool{}
		came := make(chan jet.Message, 10)
		stop := background(t, func(ctx context.Context) error {
			return c.Commands().Run(ctx, 4, func(_ context.Context, m jet.Message) jet.Verdict {
				came <- m
				return jet.Ack()
			})
		})
		defer stop()
		for range 2 {
			m := <-came
			fresh[m.Subject] = m.Fresh
		}
		return fresh
	}
	lane := laneOf(c, "ann@contoso.example")
	publish(t, c, sendMail(c), "1")
	publish(t, c, lane, "1")
	if fresh := first(); !fresh[sendMail(c)] || fresh[lane] {
		t.Errorf("fresh are %v, want the one that is in no lane", fresh)
	}
	publish(t, c, sendMail(c), "2")
	publish(t, c, lane, "2")
	w.stop()
	w.start()
	if fresh := first(); fresh[sendMail(c)] || fresh[lane] {
		t.Errorf("fresh are %v after a restart of the server, want none", fresh)
	}
}

func publishStatus(t *testing.T, c *jet.Conn) jet.StreamStatus {
	t.Helper()
	for _, s := range must(c.Status(t.Context())) {
		if s.Name == c.Names().PublishStream() {
			return s
		}
	}
	t.Fatal("no such stream")
	return jet.StreamStatus{}
}

func TestDoneCommandsDoNotComeBackAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	const all = 100
	for i := range all {
		if _, err := c.Commands().Publish(t.Context(), sendMail(c), nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	var handled [all]atomic.Int32
	var done, odd atomic.Int32
	stop := background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 8, func(_ context.Context, m jet.Message) jet.Verdict {
			var i int
			if _, err := fmt.Sscan(string(m.Data), &i); err != nil {
				t.Error(err)
			}
			if i%2 == 1 {
				odd.Add(1)
				return jet.Again(time.Millisecond) // comes again and again
			}
			handled[i].Add(1)
			done.Add(1)
			return jet.Ack()
		})
	})
	eventually(t, "all even ones are done", func() bool { return done.Load() == all/2 })
	stop()
	w.stop()
	w.start()
	odd.Store(0)
	stop = background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 8, func(_ context.Context, m jet.Message) jet.Verdict {
			var i int
			if _, err := fmt.Sscan(string(m.Data), &i); err != nil {
				t.Error(err)
			}
			handled[i].Add(1)
			odd.Add(1)
			return jet.Ack()
		})
	})
	eventually(t, "the queue is empty", func() bool { return publishStatus(t, c).Messages == 0 })
	stop()
	for i := range all {
		if n := handled[i].Load(); n != 1 {
			t.Errorf("command %d was done %d times", i, n)
		}
	}
}

// TestAnAcknowledgmentWithoutAnAnswerHoldsUpNobodyAndIsSentAgain is about a server
// that does not answer for a while: commands go on, and at the end the run waits
// until the server has said that it has all acknowledgments.
func TestAnAcknowledgmentWithoutAnAnswerHoldsUpNobodyAndIsSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	const all = 5
	for i := range all {
		if _, err := c.Commands().Publish(t.Context(), sendMail(c), nil, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	var began, done atomic.Int32
	var once sync.Once
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- c.Commands().Run(ctx, 8, func(_ context.Context, m jet.Message) jet.Verdict {
			if began.Add(1) < all { // all are here before the server falls silent
				for began.Load() < all {
					runtime.Gosched()
				}
			}
			once.Do(w.mute)
			done.Add(1)
			return jet.Ack()
		})
	}()
	eventually(t, "all are done without an answer", func() bool { return done.Load() == all })
	stop()
	select {
	case err := <-ended:
		t.Errorf("the run ended before the server had answered: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	w.cut()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if left := publishStatus(t, c).Messages; left != 0 || done.Load() != all {
		t.Errorf("%d commands are left, %d were done", left, done.Load())
	}
}

func TestAThrottledCommandHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	for range 50 {
		if _, err := c.Commands().Publish(t.Context(), must(c.Names().Publish("hot")), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Commands().Publish(t.Context(), must(c.Names().Publish("cold")), nil, nil); err != nil {
		t.Fatal(err)
	}
	cold := make(chan struct{})
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 2, func(_ context.Context, m jet.Message) jet.Verdict {
			if strings.HasSuffix(m.Subject, ".hot") {
				return jet.Again(time.Hour)
			}
			close(cold)
			return jet.Ack()
		})
	})
	<-cold
	s := publishStatus(t, c)
	if s.Messages < 50 || len(s.Consumers) != 1 || s.Consumers[0].Name != "publish" {
		t.Errorf("status %+v", s)
	}
	eventually(t, "all hot ones are held", func() bool { return publishStatus(t, c).Consumers[0].Held == 50 })
}

func TestARunningCommandMayFinishWithinTheGrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.Grace = time.Minute })
	if _, err := c.Commands().Publish(t.Context(), sendMail(c), nil, nil); err != nil {
		t.Fatal(err)
	}
	started, finish := make(chan struct{}), make(chan struct{})
	stop := background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 1, func(ctx context.Context, _ jet.Message) jet.Verdict {
			close(started)
			<-finish
			if ctx.Err() != nil {
				t.Error("its context ended before the grace was over")
			}
			return jet.Ack()
		})
	})
	<-started
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
		t.Error("stopped while a command runs")
	case <-time.After(100 * time.Millisecond):
	}
	close(finish)
	<-stopped
	if n := publishStatus(t, c).Messages; n != 0 {
		t.Errorf("%d commands left: the answer was lost in the stop", n)
	}
}

func TestAfterTheGraceTheContextEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect(func(o *jet.Options) { o.Grace = 50 * time.Millisecond; o.AckWait = time.Minute })
	if _, err := c.Commands().Publish(t.Context(), sendMail(c), nil, nil); err != nil {
		t.Fatal(err)
	}
	started := make(chan struct{})
	stop := background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 1, func(ctx context.Context, _ jet.Message) jet.Verdict {
			close(started)
			<-ctx.Done()
			return jet.Again(time.Millisecond)
		})
	})
	<-started
	stop()
	came := make(chan struct{})
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 1, func(context.Context, jet.Message) jet.Verdict { close(came); return jet.Ack() })
	})
	<-came
}

func TestACommandThatTheStreamDoesNotTakeIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	_, err := c.Commands().Publish(t.Context(), "outlook.elsewhere", nil, nil)
	if fault.Of(err).Code != "no_stream" || fault.HintOf(err) == "" {
		t.Errorf("got %v (%q)", err, fault.HintOf(err))
	}
	_, err = c.Commands().Publish(t.Context(), sendMail(c), nil, make([]byte, 2<<20))
	if fault.KindOf(err) != fault.Poison || fault.Of(err).Code != "too_large" {
		t.Errorf("too large: %v", err)
	}
}

func TestTheDeadlineOfACommandMovesOnWhileItIsKeptAlive(t *testing.T) {
	t.Parallel()
	const ackWait = 600 * time.Millisecond
	c := newWorld(t).connect(func(o *jet.Options) { o.AckWait = ackWait })
	if _, err := c.Commands().Publish(t.Context(), sendMail(c), nil, []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	type seen struct{ asked, first, later time.Time }
	handled := make(chan seen, 1)
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 1, func(_ context.Context, m jet.Message) jet.Verdict {
			s := seen{asked: time.Now(), first: m.Deadline()}
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for range ticker.C {
				if s.later = m.Deadline(); s.later.After(s.first) || time.Since(s.asked) > 5*time.Second {
					break
				}
			}
			handled <- s
			return jet.Ack()
		})
	})
	s := <-handled
	if s.first.After(s.asked.Add(ackWait)) || s.first.Before(s.asked.Add(-2*time.Second)) {
		t.Errorf("deadline %s after the delivery, AckWait is %s", s.first.Sub(s.asked), ackWait)
	}
	if !s.later.After(s.first) {
		t.Error("the deadline stood still although the command was kept alive")
	}
}
