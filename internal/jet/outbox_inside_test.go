package jet

import (
	"testing"
	"testing/synctest"
	"time"
)

// sending runs an outbox for the time of f, and returns how long each message
// waited and how many went out together each time. after is called with each
// group, too; it may be nil.
func sending(t *testing.T, f func(o *outbox), after func(group []*letter)) (waits []time.Duration, groups []int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o, ended := newOutbox(), make(chan struct{})
		go func() {
			defer close(ended)
			o.run(func(group []*letter) {
				for _, one := range group {
					waits = append(waits, time.Since(one.sent))
				}
				groups = append(groups, len(group))
				if after != nil {
					after(group)
				}
			}, func() {})
		}()
		f(o)
		time.Sleep(2 * corkFor)
		close(o.stop)
		<-ended
	})
	return waits, groups
}

// steadily puts so many messages into an outbox, one after each interval. sent is
// when it was put there.
func steadily(o *outbox, messages int, every time.Duration) {
	for range messages {
		o.put(&letter{sent: time.Now()})
		time.Sleep(every)
	}
}

func longest(waits []time.Duration) (most time.Duration) {
	for _, wait := range waits {
		most = max(most, wait)
	}
	return most
}

func TestWithoutLoadNoMessageWaits(t *testing.T) {
	t.Parallel()
	waits, groups := sending(t, func(o *outbox) {
		steadily(o, 600, time.Second/600)
		time.Sleep(time.Second)
		steadily(o, 4, 10*time.Microsecond) // and one quickly after the other
	}, nil)
	if len(waits) != 604 || longest(waits) != 0 {
		t.Errorf("%d messages in %d groups, one of which waited %v", len(waits), len(groups), longest(waits))
	}
}

func TestUnderLoadMessagesShareWritesAndWaitOnlyAMoment(t *testing.T) {
	t.Parallel()
	waits, groups := sending(t, func(o *outbox) { steadily(o, 10_000, 150*time.Microsecond) }, nil)
	if len(waits) != 10_000 || len(groups) > 1_000 || longest(waits) > corkFor {
		t.Errorf("%d messages in %d groups, one of which waited %v", len(waits), len(groups), longest(waits))
	}
}

func TestThePatientWaitLongerForOthersButNobodyElseWaitsForThem(t *testing.T) {
	t.Parallel()
	var patient, urgent time.Duration
	waits, groups := sending(t, func(o *outbox) {
		for n := range 10_000 {
			o.put(&letter{sent: time.Now(), patient: n < 5000 || n%40 != 0})
			time.Sleep(150 * time.Microsecond)
		}
	}, func(group []*letter) {
		for _, one := range group {
			if wait := time.Since(one.sent); one.patient {
				patient = max(patient, wait)
			} else {
				urgent = max(urgent, wait)
			}
		}
	})
	if patient <= corkFor || patient > corkPatient || urgent > corkFor {
		t.Errorf("a patient message waited %v, another one %v", patient, urgent)
	}
	if len(waits) != 10_000 || len(groups) > 600 {
		t.Errorf("%d messages in %d groups", len(waits), len(groups))
	}
}

func TestAfterTheLoadNoMessageWaits(t *testing.T) {
	t.Parallel()
	waits, _ := sending(t, func(o *outbox) {
		steadily(o, 1000, 150*time.Microsecond)
		time.Sleep(2 * corkFor)
		steadily(o, 100, 2*corkFor)
	}, nil)
	if late := longest(waits[1000:]); late != 0 {
		t.Errorf("one of those that came later waited %v", late)
	}
}

func TestEnoughMessagesWaitForNoMore(t *testing.T) {
	t.Parallel()
	waits, groups := sending(t, func(o *outbox) {
		steadily(o, 1000, 150*time.Microsecond)
		steadily(o, 10*corkEnough, 10*time.Microsecond)
	}, nil)
	if most := longest(waits[1000+corkEnough : len(waits)-corkEnough]); most > corkEnough*10*time.Microsecond {
		t.Errorf("%d groups, and one waited %v", len(groups), most)
	}
}

// Callers who send again as soon as they have their answers only lose by a wait:
// there is nobody else to come.
func TestWhereAllWaitForAnswersAlreadyNobodyWaitsForMore(t *testing.T) {
	t.Parallel()
	const callers, rounds, answer = 8, 1000, 100 * time.Microsecond
	var took time.Duration
	var answers chan int
	waits, _ := sending(t, func(o *outbox) {
		answers = make(chan int, callers)
		began := time.Now()
		for range callers {
			o.put(&letter{sent: time.Now()})
		}
		for left := callers * (rounds - 1); left > 0; {
			n := <-answers
			time.Sleep(answer)
			for range n {
				o.put(&letter{sent: time.Now()})
			}
			left -= n
		}
		took = time.Since(began)
	}, func(group []*letter) { answers <- len(group) })
	// How many are sent together is the scheduler's choice, so that there are some
	// rounds more; if each waited, it would take twenty times as long.
	if len(waits) < callers*rounds || took > rounds*answer*3 {
		t.Errorf("%d messages in %v, which is %v each round", len(waits), took, took/rounds)
	}
}
