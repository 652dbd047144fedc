package worker

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"outlook-connector/internal/fault"
	"outlook-connector/internal/health"
	"outlook-connector/internal/jet"
)

func TestAStreamThatIsNearlyFullIsSaidSo(t *testing.T) {
	t.Parallel()
	w := &Worker{}
	if err := w.fullStreams(); err != nil {
		t.Errorf("before NATS was asked: %v", err)
	}
	w.stock.holds = holdings{at: time.Now(), streams: []jet.StreamStatus{
		{Name: "A", Bytes: 79, MaxBytes: 100}, {Name: "B", Bytes: 1 << 40}, {Name: "C", Bytes: 80, MaxBytes: 100},
	}}
	err := w.fullStreams()
	if err == nil || strings.Contains(err.Error(), "A (") || strings.Contains(err.Error(), "B (") || !strings.Contains(err.Error(), "C (80 % of 100 bytes)") || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	w.stock.holds.at = time.Now().Add(-2 * stockAge)
	if err := w.fullStreams(); err != nil {
		t.Errorf("of an old look: %v", err)
	}
}

func TestUncertainCommandsAreSomebodysBusiness(t *testing.T) {
	t.Parallel()
	w := &Worker{}
	for n, want := range map[int]bool{-1: false, 0: false, 2: true} {
		w.stock.holds = holdings{at: time.Now(), uncertain: n}
		if err := w.uncertainLetters(); (err != nil) != want {
			t.Errorf("%d: %v", n, err)
		}
	}
	for letter, want := range map[string]bool{
		`{"outcome":{"outcome":"uncertain"}}`: true, `{"outcome":{"outcome":"failed"}}`: false, `{"outcome":"uncertain"}`: false, `junk`: false,
	} {
		if got := uncertain([]byte(letter)); got != want {
			t.Errorf("%s: %t", letter, got)
		}
	}
	for subject, want := range map[string]string{"outlook.dlq.publish.p": deadPublish, "x.dlq.event.s.m": deadEvent, "odd": ""} {
		if got := deadKind(subject); got != want {
			t.Errorf("%s is %q", subject, got)
		}
	}
}

func TestADiskIsLowWhereThePartAndTheRoomAreSmall(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		room diskRoom
		low  bool
	}{
		"half free":            {diskRoom{50 << 30, 100 << 30}, false},
		"a tenth, and much":    {diskRoom{100 << 30, 1000 << 30}, false},
		"a tenth, and little":  {diskRoom{1 << 30, 10 << 30}, true},
		"little, and most":     {diskRoom{1 << 30, 2 << 30}, false},
		"nothing":              {diskRoom{0, 10 << 30}, true},
		"a size nobody knows":  {diskRoom{0, 0}, false},
		"just above the limit": {diskRoom{diskLeft, 100 << 30}, false},
	} {
		if err := lowDisks(map[string]diskRoom{"nats": test.room}); (err != nil) != test.low {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := lowDisks(map[string]diskRoom{"tokens": {1 << 20, 10 << 30}}); err == nil || !strings.Contains(err.Error(), "tokens") || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("%v", err)
	}
	if room, ok := roomOf(t.TempDir()); !ok || room.size == 0 || room.free > room.size {
		t.Errorf("%+v %t", room, ok)
	}
	if _, ok := roomOf("/no/such/folder"); ok {
		t.Error("a folder that is not there has room")
	}
}

func TestTheClockIsComparedWithGraphs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var c clock
		var nobody *clock
		nobody.note(time.Now()) // of a client without a worker
		c.note(time.Time{})
		if _, seen := c.now(); seen || c.problem() != nil {
			t.Error("a time was seen")
		}
		c.note(time.Now().Add(-time.Second))
		if skew, seen := c.now(); !seen || skew != time.Second || c.problem() != nil {
			t.Errorf("%v %t", skew, seen)
		}
		c.note(time.Now().Add(5 * time.Minute))
		if err := c.problem(); err == nil || !strings.Contains(err.Error(), "5m0s behind") {
			t.Errorf("%v", err)
		}
		c.note(time.Now().Add(-3 * time.Minute))
		if err := c.problem(); err == nil || !strings.Contains(err.Error(), "3m0s ahead of") || fault.HintOf(err) == "" {
			t.Errorf("%v", err)
		}
		timer := time.NewTimer(skewAge)
		<-timer.C
		if c.problem() != nil {
			t.Error("an old look is believed")
		}
	})
}

func TestAConsequenceCountsAsNothingInTheMetrics(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		c    health.Condition
		want float64
	}{{health.Condition{OK: true}, 0}, {health.Condition{}, 1}, {health.Condition{Because: "nats"}, 0}} {
		if got := failsItself(test.c); got != test.want {
			t.Errorf("%+v: %v", test.c, got)
		}
	}
}
