package jet_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"outlook-connector/internal/jet"
)

func laneOf(c *jet.Conn, mailbox string) string {
	return must(c.Names().PublishTo("send-mail", mailbox))
}

func publish(t *testing.T, c *jet.Conn, subject, body string) {
	t.Helper()
	if _, err := c.Commands().Publish(t.Context(), subject, nil, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

// track watches what is done in lanes.
type track struct {
	t *testing.T

	mu      sync.Mutex
	running map[string]int // by subject
	done    map[string][]string
	all     int
}

func newTrack(t *testing.T) *track {
	t.Helper()
	return &track{t: t, running: map[string]int{}, done: map[string][]string{}}
}

func (k *track) begin(subject string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.running[subject]++; k.running[subject] > 1 {
		k.t.Errorf("%d commands of %s run at once", k.running[subject], subject)
	}
}

func (k *track) end(subject, body string, done bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running[subject]--
	if done {
		k.done[subject] = append(k.done[subject], body)
		k.all++
	}
}

func (k *track) finished() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.all
}

func TestCommandsOfALaneAreDoneInOrderByAnyOfTheWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const mailboxes, each = 12, 10
	k := newTrack(t)
	first := w.connect()
	for n := range each {
		for i := range mailboxes {
			publish(t, first, laneOf(first, fmt.Sprintf("user%d@contoso.example", i)), fmt.Sprint(n))
		}
	}
	var by [3]atomic.Int32
	for worker := range by {
		c := w.connect()
		background(t, func(ctx context.Context) error {
			return c.Commands().Run(ctx, 4, func(ctx context.Context, m jet.Message) jet.Verdict {
				k.begin(m.Subject)
				timer := time.NewTimer(rand.N(10 * time.Millisecond))
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
				done := rand.IntN(10) > 0
				k.end(m.Subject, string(m.Data), done)
				if !done {
					return jet.Again(20 * time.Millisecond)
				}
				by[worker].Add(1)
				return jet.Ack()
			})
		})
	}
	eventually(t, "all are done", func() bool { return k.finished() >= mailboxes*each })
	eventually(t, "the stream is empty", func() bool { return publishStatus(t, first).Messages == 0 })
	for subject, bodies := range k.done {
		want := make([]string, each)
		for n := range want {
			want[n] = fmt.Sprint(n)
		}
		if !slices.Equal(bodies, want) {
			t.Errorf("%s was done in the order %v", subject, bodies)
		}
	}
	t.Logf("by worker: %d %d %d", by[0].Load(), by[1].Load(), by[2].Load())
}

func TestACommandThatWaitsHoldsItsLaneAndNobodyElse(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	held, free := laneOf(c, "ann@contoso.example"), laneOf(c, "ben@contoso.example")
	publish(t, c, held, "0")
	publish(t, c, held, "1")
	publish(t, c, free, "0")
	publish(t, c, free, "1")
	publish(t, c, sendMail(c), "0")
	k := newTrack(t)
	var tries atomic.Int32
	open := make(chan struct{})
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 1, func(_ context.Context, m jet.Message) jet.Verdict {
			if m.Subject == held {
				select {
				case <-open:
				default:
					tries.Add(1)
					return jet.Again(300 * time.Millisecond)
				}
			}
			k.begin(m.Subject)
			k.end(m.Subject, string(m.Data), true)
			return jet.Ack()
		})
	})
	eventually(t, "the others are done, and the one was put off twice", func() bool { return k.finished() == 3 && tries.Load() >= 2 })
	close(open)
	eventually(t, "the lane goes on", func() bool { return k.finished() == 5 })
	if got := k.done[held]; !slices.Equal(got, []string{"0", "1"}) {
		t.Errorf("the lane that waited was done in the order %v", got)
	}
}

func TestMoreLanesThanPlacesAreAllServed(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	const mailboxes = 60
	for i := range mailboxes {
		for n := range 2 {
			publish(t, c, laneOf(c, fmt.Sprintf("m%d", i)), fmt.Sprint(n))
		}
	}
	k := newTrack(t)
	var now, most atomic.Int32
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 3, func(_ context.Context, m jet.Message) jet.Verdict {
			n := now.Add(1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			k.begin(m.Subject)
			k.end(m.Subject, string(m.Data), true)
			now.Add(-1)
			return jet.Ack()
		})
	})
	eventually(t, "all are done", func() bool { return k.finished() == 2*mailboxes })
	if most.Load() > 3 {
		t.Errorf("%d at once, with places for 3", most.Load())
	}
}

func TestOneThatStepsAsideLeavesItsPlaceToOthers(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	publish(t, c, sendMail(c), "waits")
	publish(t, c, sendMail(c), "next")
	next := make(chan struct{})
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 1, func(_ context.Context, m jet.Message) jet.Verdict {
			if string(m.Data) == "next" {
				close(next)
				return jet.Ack()
			}
			back, ok := m.Aside()
			if !ok {
				t.Error("no room aside")
				return jet.Ack()
			}
			<-next // it could not come while this one has the place
			back()
			return jet.Ack()
		})
	})
	eventually(t, "both are done", func() bool { return publishStatus(t, c).Messages == 0 })
}

func TestALaneGoesOnAfterTheWorkerAndAfterTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const all = 6
	ackWait := func(o *jet.Options) { o.AckWait = time.Second }
	c := w.connect(ackWait)
	lane := laneOf(c, "ann@contoso.example")
	for n := range all {
		publish(t, c, lane, fmt.Sprint(n))
	}
	k := newTrack(t)
	second := make(chan struct{})
	run := func(c *jet.Conn, until int) func() {
		return background(t, func(ctx context.Context) error {
			return c.Commands().Run(ctx, 2, func(ctx context.Context, m jet.Message) jet.Verdict {
				if k.finished() == until {
					close(second)
					<-ctx.Done() // it dies with this one in hand
					return jet.Again(time.Millisecond)
				}
				k.begin(m.Subject)
				k.end(m.Subject, string(m.Data), true)
				return jet.Ack()
			})
		})
	}
	stop := run(c, 2)
	<-second
	stop()
	second = make(chan struct{})
	other := w.connect(ackWait)
	stop = run(other, 4)
	<-second
	w.stop()
	stop()
	w.start()
	run(w.connect(ackWait), -1)
	eventually(t, "all are done", func() bool { return k.finished() == all })
	if got := k.done[lane]; !slices.Equal(got, []string{"0", "1", "2", "3", "4", "5"}) {
		t.Errorf("done in the order %v", got)
	}
}

func TestAnIdleLaneHasNoConsumerAfterAWhile(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	publish(t, c, laneOf(c, "ann@contoso.example"), "0")
	background(t, func(ctx context.Context) error {
		return c.Commands().Run(ctx, 1, func(context.Context, jet.Message) jet.Verdict { return jet.Ack() })
	})
	eventually(t, "it is done", func() bool { return publishStatus(t, c).Messages == 0 })
	js := must(jetstream.New(c.NATS()))
	stream := must(js.Stream(t.Context(), c.Names().PublishStream()))
	lanes := stream.ListConsumers(t.Context())
	found := 0
	for info := range lanes.Info() {
		if info.Config.FilterSubject != laneOf(c, "ann@contoso.example") {
			continue
		}
		found++
		if info.Config.MaxAckPending != 1 || info.Config.InactiveThreshold <= 0 || info.Config.InactiveThreshold > 5*time.Minute {
			t.Errorf("the lane's consumer: %+v", info.Config)
		}
	}
	if found != 1 {
		t.Errorf("%d consumers of the lane", found)
	}
}

func TestWhatIsPutOffStaysSoOverARestartOfTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.connect()
	const all, lanes = 300, 10
	for i := range all {
		publish(t, c, sendMail(c), fmt.Sprint(i))
	}
	for i := range lanes {
		publish(t, c, laneOf(c, fmt.Sprintf("m%d", i)), "first")
		publish(t, c, laneOf(c, fmt.Sprintf("m%d", i)), "second")
	}
	var delivered atomic.Int32
	run := func() func() {
		return background(t, func(ctx context.Context) error {
			return c.Commands().Run(ctx, 16, func(_ context.Context, m jet.Message) jet.Verdict {
				delivered.Add(1)
				if string(m.Data) == "last" {
					return jet.Ack()
				}
				return jet.Again(time.Hour)
			})
		})
	}
	stop := run()
	eventually(t, "all are put off", func() bool { return delivered.Load() == all+lanes })
	stop()
	w.stop()
	w.start()
	run()
	publish(t, c, sendMail(c), "last")
	publish(t, c, laneOf(c, "other"), "last")
	eventually(t, "new ones are done", func() bool { return publishStatus(t, c).Messages == all+2*lanes })
	timer := time.NewTimer(2 * time.Second) // longer than the server takes to look at what is pending
	defer timer.Stop()
	<-timer.C
	if n := delivered.Load(); n != all+lanes+2 {
		t.Errorf("%d deliveries, want %d: what was put off came early", n, all+lanes+2)
	}
}

func TestLanesAreCounted(t *testing.T) {
	t.Parallel()
	c := newWorld(t).connect()
	if all, err := c.Lanes(t.Context()); err != nil || all != (jet.LaneCounts{}) {
		t.Errorf("%+v, %v; want nothing", all, err)
	}
	publish(t, c, laneOf(c, "ben@contoso.com"), "1")
	for range 3 {
		publish(t, c, laneOf(c, "ann@contoso.com"), "1")
	}
	publish(t, c, must(c.Names().Publish("send-mail")), "beside")
	want := jet.LaneCounts{Lanes: 2, Commands: 4, Longest: laneOf(c, "ann@contoso.com"), Most: 3}
	if all, err := c.Lanes(t.Context()); err != nil || all != want {
		t.Errorf("%+v, %v; want %+v", all, err, want)
	}
}
