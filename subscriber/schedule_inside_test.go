package subscriber

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

var scheduleStart = time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)

func clockOf(t *testing.T, s Schedule, every time.Duration) clock {
	t.Helper()
	c, err := newClock(s, every)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestASchedulesMistakesAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		schedule Schedule
		every    time.Duration
		want     string
	}{
		"no interval":     {Schedule{}, 0, "every must be positive"},
		"both":            {Schedule{Min: time.Second, Max: time.Minute, Cron: "* * * * *"}, time.Second, "both"},
		"no least":        {Schedule{Max: time.Minute}, time.Second, "must be positive"},
		"no greatest":     {Schedule{Min: time.Minute}, time.Second, "not above the greatest"},
		"the wrong order": {Schedule{Min: time.Minute, Max: time.Second}, time.Second, "not above the greatest"},
		"no cron":         {Schedule{Cron: "every day"}, time.Second, "2 fields"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := newClock(c.schedule, c.every); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestPlainIntervalsSpreadEvenly lets many feeds begin in one moment.
func TestPlainIntervalsSpreadEvenly(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{time.Second, time.Minute, 7 * time.Hour} {
		c := clockOf(t, Schedule{}, every)
		const feeds, polls = 1000, 8
		var after [polls][10]int // by tenths of the interval
		for i := range feeds {
			feed := Feed{Subscription: "s", Mailbox: fmt.Sprint(i)}
			now := scheduleStart
			for n := range polls {
				rest := c.rest(feed, pace{}, now)
				if rest < every*9/10 || rest > every*11/10 {
					t.Fatalf("%s: feed %d waits %s", every, i, rest)
				}
				now = now.Add(rest)
				after[n][now.UnixNano()%int64(every)*10/int64(every)]++
			}
			// At its place it stays, also where a poll is late.
			if rest := c.rest(feed, pace{}, now.Add(every/20)); (rest + every/20 - every).Abs() > time.Microsecond {
				t.Errorf("%s: feed %d leaves its place: %s", every, i, rest)
			}
		}
		for tenth, n := range after[5] {
			if n < 70 || n > 130 {
				t.Errorf("%s: after six polls %d of 1000 feeds are in tenth %d: %v", every, n, tenth, after[5])
			}
		}
		if got := c.longest(scheduleStart); got != every*11/10 {
			t.Errorf("longest is %s", got)
		}
		if got := c.came(pace{}, scheduleStart); got != (pace{}) {
			t.Errorf("a plain interval has a pace: %+v", got)
		}
	}
}

// TestAQuietFeedSlowsDownByAHalf holds the formula against counting.
func TestAQuietFeedSlowsDownByAHalf(t *testing.T) {
	t.Parallel()
	c := clockOf(t, Schedule{Min: 10 * time.Second, Max: 10 * time.Minute}, time.Second)
	for _, first := range []time.Duration{10 * time.Second, 30 * time.Second, 4 * time.Minute} {
		p := pace{At: scheduleStart, Every: first.Milliseconds()}
		now, want := scheduleStart, first
		for poll := range 20 {
			got := c.interval(p, now)
			if math.Abs(float64(got-want)) > float64(2*time.Millisecond) {
				t.Errorf("from %s: after %d quiet polls the interval is %s, want %s", first, poll, got, want)
			}
			now = now.Add(got)
			want = min(want+want/2, 10*time.Minute)
		}
		if c.interval(p, scheduleStart.Add(1000*time.Hour)) != 10*time.Minute {
			t.Errorf("a feed that was quiet for weeks is not at the greatest interval")
		}
	}
	if got := c.interval(pace{}, scheduleStart); got != 10*time.Second {
		t.Errorf("an unknown feed is polled after %s", got)
	}
	if got := c.interval(pace{At: scheduleStart, Every: 20_000}, scheduleStart.Add(-time.Hour)); got != 20*time.Second {
		t.Errorf("with a clock that is behind: %s", got)
	}
}

func TestAFeedToWhichSomethingCameIsPolledTwiceAsOften(t *testing.T) {
	t.Parallel()
	c := clockOf(t, Schedule{Min: 10 * time.Second, Max: 10 * time.Minute}, time.Second)
	p := c.settled(pace{}, scheduleStart)
	if again := c.settled(p, scheduleStart.Add(time.Hour)); again != p {
		t.Errorf("a quiet cursor that is stored loses the pace: %+v", again)
	}
	now := scheduleStart.Add(2 * time.Hour) // as slow as can be
	for _, want := range []time.Duration{5 * time.Minute, 150 * time.Second, 75 * time.Second, 37500 * time.Millisecond} {
		p = c.came(p, now)
		for page := range 3 {
			if q := c.came(p, now.Add(time.Duration(page)*time.Second)); q != p {
				t.Errorf("a further page of the same poll makes it faster: %+v after %+v", q, p)
			}
		}
		got := c.interval(p, now)
		if (got - want).Abs() > 2*time.Millisecond {
			t.Errorf("interval %s, want %s", got, want)
		}
		now = now.Add(got)
	}
	for range 20 {
		p = c.came(p, now)
		now = now.Add(c.interval(p, now))
	}
	if got := c.interval(p, p.At); got != 10*time.Second {
		t.Errorf("a busy feed has the interval %s, want the least", got)
	}
	// What is stored is all there is.
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var read pace
	if err := json.Unmarshal(data, &read); err != nil || !read.At.Equal(p.At) || read.Every != p.Every {
		t.Errorf("%s is read as %+v, %v", data, read, err)
	}
}

// TestACronScheduleMeetsEachMomentOnce polls feeds as a worker does and counts.
func TestACronScheduleMeetsEachMomentOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text         string
		gap, window  time.Duration
		moments      int
		clocksDiffer time.Duration
	}{
		{"* * * * *", time.Minute, 6 * time.Second, 180, 0},
		{"*/10 * * * *", 10 * time.Minute, time.Minute, 50, 4 * time.Second},
		{"0 6 * * *", 24 * time.Hour, time.Minute, 10, 4 * time.Second},
	} {
		clock := clockOf(t, Schedule{Cron: c.text}, time.Second)
		least, most := time.Hour, time.Duration(0)
		for i := range 50 {
			feed := Feed{Subscription: "s", Mailbox: fmt.Sprint(i), Part: "-"}
			now := scheduleStart.Add(17 * time.Second)
			now = now.Add(clock.rest(feed, pace{}, now))
			first := now.Truncate(time.Minute)
			place := now.Sub(first)
			for n := range c.moments {
				if got := now.Sub(first.Add(time.Duration(n) * c.gap)); got != place {
					t.Fatalf("%q, feed %d, poll %d: at its moment + %s, the first one was at + %s", c.text, i, n, got, place)
				}
				// The poll takes its time, and another worker's clock may be behind.
				late := time.Duration(n%7) * 100 * time.Millisecond
				next := clock.rest(feed, pace{}, now.Add(late-c.clocksDiffer*time.Duration(n%2)))
				now = now.Add(late - c.clocksDiffer*time.Duration(n%2) + next)
			}
			least, most = min(least, place), max(most, place)
		}
		if most > c.window || most < c.window*8/10 || least > c.window/5 {
			t.Errorf("%q: 50 feeds between %s and %s after the moment, want them over %s", c.text, least, most, c.window)
		}
		if got := clock.longest(scheduleStart); got != c.gap+cronWindow {
			t.Errorf("%q: longest is %s", c.text, got)
		}
	}
}

// TestAMomentThatHasBegunIsNotMissed: a feed whose place is still to come is
// polled at it, and not at the next moment.
func TestAMomentThatHasBegunIsNotMissed(t *testing.T) {
	t.Parallel()
	clock := clockOf(t, Schedule{Cron: "0 * * * *"}, time.Second)
	for i := range 50 {
		feed := Feed{Subscription: "s", Mailbox: fmt.Sprint(i)}
		place := time.Duration(feed.spread() * float64(time.Minute))
		got := clock.rest(feed, pace{}, scheduleStart.Add(time.Second))
		want := place - time.Second
		if want <= cronSlack { // it counts as polled
			want += time.Hour
		}
		if (got - want).Abs() > time.Millisecond {
			t.Errorf("feed %d with its place %s after the hour waits %s, want %s", i, place, got, want)
		}
	}
}

// once is a schedule of one moment.
type once time.Time

func (o once) Next(after time.Time) time.Time {
	if moment := time.Time(o); moment.After(after) {
		return moment
	}
	return time.Time{}
}

func TestACronScheduleWithoutAnotherMomentRests(t *testing.T) {
	t.Parallel()
	if got := cronRest(once(scheduleStart), Feed{}, scheduleStart.Add(time.Hour)); got != cronNever {
		t.Errorf("after its only moment: %s", got)
	}
	if got := cronRest(once(scheduleStart), Feed{}, scheduleStart.Add(-time.Hour)); got < time.Hour || got > time.Hour+cronWindow {
		t.Errorf("before its only moment: %s", got)
	}
}

func TestPausedFeedsComeBackSeldom(t *testing.T) {
	t.Parallel()
	for n, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 5 * time.Minute, 5 * time.Minute} {
		if got := pausedRest(n); got < want*9/10 || got > want*11/10 {
			t.Errorf("visit %d: %s, want about %s", n, got, want)
		}
	}
	if got := pausedRest(1 << 40); got > 11*pausedWait/10 || got < 9*pausedWait/10 {
		t.Errorf("after very many visits: %s", got)
	}
}

func TestManyFeedsAreRegisteredLessOften(t *testing.T) {
	t.Parallel()
	if got := registerWait(100); got != registerEvery {
		t.Errorf("100 feeds: %s", got)
	}
	if got := registerWait(100_000); got != 500*time.Second {
		t.Errorf("100,000 feeds: %s", got)
	}
}
